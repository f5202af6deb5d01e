//! Records as JSON. Whatever cannot be read back, or is impossible, is as good as not there: it is
//! read from the store.

use domain::signup::Signup;
use records::signup_record::SignupRecord;

pub(crate) fn encode(signup: &Signup) -> Option<String> {
    serde_json::to_string(&SignupRecord::from(signup)).ok()
}

pub(crate) fn decode(text: &str) -> Option<Signup> {
    let record: SignupRecord = serde_json::from_str(text).ok()?;
    record.parse().ok()
}

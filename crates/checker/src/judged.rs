//! FROZEN_ONCE, where it begins: who finished, how much and when, held against the stored events.

use crate::{
    freeze::is_finisher,
    report::{Findings, Invariant},
    rows::{Contest, Done, Signup},
};

/// True once everybody was judged, so that no event changes anything any more.
pub(crate) fn is_judged(contest: &Contest) -> bool {
    contest.frozen_at.is_some()
}

/// Holds one signup of a judged contest against the events.
pub(crate) fn judged(
    contest: &Contest,
    signup: &Signup,
    done: Option<&Done>,
    findings: &mut Findings,
) {
    let id = &signup.signup_id;
    let (quantity, met_at) = done.map_or((0, None), |done| (done.quantity, done.met_at));
    if signup.state == "missed" {
        findings.expect(Invariant::FrozenOnce, met_at.is_none(), || {
            format!(
                "{id} missed the target, by its events it did {quantity} and met it at {met_at:?}"
            )
        });
    }
    if !is_finisher(&signup.state) {
        return;
    }
    // Where the weight does not depend on it, what was done is as of the moment at which it was
    // first seen to be enough.
    let is_final = matches!(contest.rule.as_str(), "by_score" | "early_bird" | "lucky");
    let right = met_at.is_some()
        && if is_final {
            signup.quantity == Some(quantity) && signup.met_at == met_at
        } else {
            signup.quantity.is_some_and(|done| done <= quantity)
        };
    findings.expect(Invariant::FrozenOnce, right, || {
        format!(
            "{id} finished with {:?} at {:?}, by its events it did {quantity} and met the target at {met_at:?}",
            signup.quantity, signup.met_at
        )
    });
}

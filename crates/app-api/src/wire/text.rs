//! Texts on the wire: times and titles.

use domain::time::UnixMillis;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A time as it comes in.
pub(super) fn parse_time(text: &str) -> Result<UnixMillis, &'static str> {
    let invalid = "must be an RFC 3339 time in the years 0 to 9999 of UTC";
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| invalid)?;
    // An offset can lead out of the years that can be written.
    let time = time.checked_to_offset(UtcOffset::UTC).ok_or(invalid)?;
    let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
    if !(0..=9_999).contains(&time.year()) {
        return Err(invalid);
    }
    i64::try_from(millis).map(UnixMillis).map_err(|_| invalid)
}

/// The longest title, in characters.
const TITLE_MAX: usize = 100;

/// True for what can be shown among other texts: something to be seen, and nothing that breaks
/// the line or turns the direction of what stands around it.
pub(super) fn is_title(text: &str) -> bool {
    is_shown(text, TITLE_MAX, |_| false)
}

/// The same for what may have lines of its own.
pub(super) fn is_note(text: &str, longest: usize) -> bool {
    is_shown(text, longest, |c| matches!(c, '\n' | '\r' | '\t'))
}

fn is_shown(text: &str, longest: usize, may_be: fn(char) -> bool) -> bool {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_blank = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
            )
    };
    (1..=longest).contains(&text.chars().count())
        && !text
            .chars()
            .any(|c| (c.is_control() && !may_be(c)) || turns(c))
        && !text.chars().all(is_blank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rfc3339;

    #[test]
    fn a_time_that_is_taken_can_be_sent_back() {
        for text in [
            "2026-05-04T12:00:00Z",
            "2026-05-04t12:00:00.123456789+08:00",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999Z",
        ] {
            let at = parse_time(text).expect("a time");
            assert_eq!(parse_time(&rfc3339(at)), Ok(at), "{text}");
        }
        for text in [
            "",
            "2026-05-04",
            "2026-05-04T12:00:00",
            "2026-02-30T12:00:00Z",
            "9999-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00+00:01",
            "1746360000",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_title_is_seen_and_harms_nothing_around_it() {
        let long = "题".repeat(TITLE_MAX);
        for text in ["a", " 开宝箱 ", "👨‍👩‍👧", "عربي", &long] {
            assert!(is_title(text), "{text:?}");
        }
        let longer = format!("{long}x");
        for text in [
            "",
            " ",
            "\u{3000}\u{200b}",
            "a\nb",
            "a\0",
            "a\u{202e}b",
            "\u{2066}a",
            &longer,
        ] {
            assert!(!is_title(text), "{text:?}");
        }
    }
}

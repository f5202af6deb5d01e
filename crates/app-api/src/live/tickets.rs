//! A ticket as a browser holds it. It stands in an address, which logs and histories keep; so it is
//! good once and briefly, and is kept as a hash alone.

use ports::tickets::TicketHash;
use sha2::{Digest, Sha256};

/// How long a ticket is good, in milliseconds.
pub(super) const TTL_MS: i64 = 60_000;
/// Random bytes in a ticket; it is written with two digits for each.
const RANDOM: usize = 32;

/// A new ticket, and what it is kept as.
///
/// # Errors
/// The operating system has no random numbers.
pub(super) fn new() -> Result<(String, TicketHash), getrandom::Error> {
    let mut bytes = [0; RANDOM];
    getrandom::fill(&mut bytes)?;
    let ticket: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let kept_as = hash(&ticket);
    Ok((ticket, kept_as))
}

/// What a ticket is kept as; none for what cannot be one, which nobody has to be asked about.
pub(super) fn kept_as(ticket: &str) -> Option<TicketHash> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_ticket = ticket.len() == 2 * RANDOM && ticket.bytes().all(is_digit);
    is_ticket.then(|| hash(ticket))
}

fn hash(ticket: &str) -> TicketHash {
    TicketHash(Sha256::digest(ticket.as_bytes()).into())
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;

    #[test]
    fn tickets_differ_and_are_found_by_their_hash() {
        let (one, hash_of_one) = new().expect("random numbers");
        let (other, hash_of_other) = new().expect("random numbers");
        assert_ne!((&one, hash_of_one), (&other, hash_of_other));
        assert_eq!(kept_as(&one), Some(hash_of_one));
        assert_eq!(kept_as(&other), Some(hash_of_other));
        let hash: String = hash_of_one.0.iter().map(|it| format!("{it:02x}")).collect();
        assert_ne!(one, hash, "who reads what is kept has no ticket");
    }

    #[test]
    fn nobody_is_asked_about_what_cannot_be_a_ticket() {
        let (ticket, _) = new().expect("random numbers");
        let (upper, short) = ("A".repeat(64), &ticket[1..]);
        let long = format!("{ticket}0");
        for other in [
            "",
            "x",
            &upper,
            short,
            &long,
            &"g".repeat(64),
            &"ö".repeat(32),
        ] {
            assert_eq!(kept_as(other), None, "{other}");
        }
    }
}

//! A place as a member of a sorted set whose scores are all 0: sorted by its bytes, members stand in
//! the order of the leaderboard. Packed into a score they would not: a double has 53 bits.

use domain::{ids::SignupId, time::UnixMillis};
use ports::leaderboard::Place;
use uuid::Uuid;

/// Times before 1970 stand before those after it.
const SIGN: u64 = 1 << 63;

/// The most first, then the earliest, then by signup id.
pub(crate) fn member(place: &Place) -> String {
    format!(
        "{:016x}{:016x}{}{}",
        u64::MAX - place.quantity,
        place.reached_at.0.cast_unsigned() ^ SIGN,
        place.signup_id.0.simple(),
        place.user_id
    )
}

/// The place of a member; none for what is no member of ours.
pub(crate) fn place(rank: u64, member: &str) -> Option<Place> {
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let quantity = u64::MAX - number(member.get(0..16)?)?;
    let reached_at = (number(member.get(16..32)?)? ^ SIGN).cast_signed();
    let signup_id = SignupId(Uuid::try_parse(member.get(32..64)?).ok()?);
    Some(Place {
        rank,
        user_id: member.get(64..)?.parse().ok()?,
        signup_id,
        quantity,
        reached_at: UnixMillis(reached_at),
    })
}

/// The places of members that stand one after the other; none where one is no member of ours.
pub(crate) fn all(first_rank: u64, members: &[String]) -> Option<Vec<Place>> {
    (first_rank..)
        .zip(members)
        .map(|(rank, member)| place(rank, member))
        .collect()
}

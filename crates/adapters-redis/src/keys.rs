//! The names of keys. What one script touches shares a hash tag, so that it is in one slot of a
//! cluster (hazard D6). Ids have no braces, so none of them can leave its tag (hazard J12).

use domain::ids::{ContestId, UserId};

/// Record and tombstone of a viewer: spread by viewer.
pub(crate) fn record(contest: ContestId, user: &UserId) -> Vec<String> {
    let tag = format!("guafen:record:{{{contest}:{user}}}");
    vec![format!("{tag}:value"), format!("{tag}:dropped")]
}

/// Numbers and unique keys of one part of a tally, each with the epoch of both as its marker; and
/// what is being built.
pub(crate) fn tally(contest: ContestId, shards: u16, shard: u16) -> Vec<String> {
    // The number of parts is in the name: after it was changed, all parts are built anew.
    let tag = format!("guafen:tally:{shards}:{{{contest}:{shard}}}");
    [
        "numbers",
        "unique",
        "building",
        "building-numbers",
        "building-unique",
    ]
    .map(|part| format!("{tag}:{part}"))
    .into()
}

/// Marker, ranking and members, and the same that are being built.
pub(crate) fn ranking(contest: ContestId) -> Vec<String> {
    let tag = format!("guafen:ranking:{{{contest}}}");
    [
        "marker",
        "places",
        "members",
        "building",
        "building-places",
        "building-members",
    ]
    .map(|part| format!("{tag}:{part}"))
    .into()
}

/// A pool of the past.
pub(crate) fn past_pool(contest: ContestId) -> String {
    format!("guafen:pool:{{{contest}}}")
}

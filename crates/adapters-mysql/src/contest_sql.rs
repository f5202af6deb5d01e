//! The statements about contests.

use sql_core::{
    contest_record::{ContestRecord, LegRecord},
    mysql::{NOW_MS, keys},
};
use std::sync::LazyLock;

/// The columns that a commit may change, in the order in which they are bound.
pub(crate) const CHANGING: [&str; 25] = [
    "title",
    "updated_at",
    "phase",
    "cancel_reason",
    "close_position",
    "frozen_at",
    "fees",
    "rake",
    "pool",
    "guarantee_return",
    "finishers",
    "weight_sum",
    "sheet_after",
    "sheet_before",
    "sheet_lines",
    "sheet_prizes",
    "sheet_sha256",
    "claimable_at",
    "stopped_since",
    "stopped_ms",
    "claims_off_since",
    "stops_counted_until",
    "accepted_gap",
    "wake_at",
    "version",
];

pub(crate) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let columns = ContestRecord::COLUMNS;
    let marks = vec!["?"; columns.split(',').count() + 1].join(", ");
    format!("INSERT INTO contest ({columns}, wake_at) VALUES ({marks})")
});

/// What a decision is checked against; the row stays locked until it is written.
pub(crate) const LOCK: &str = "SELECT version, fence FROM contest WHERE contest_id = ? FOR UPDATE";

pub(crate) static COMMIT: LazyLock<String> = LazyLock::new(|| {
    let set: Vec<_> = CHANGING
        .iter()
        .map(|column| format!("{column} = ?"))
        .collect();
    format!(
        "UPDATE contest SET {}, fence = ? WHERE contest_id = ?",
        set.join(", ")
    )
});

/// A leg's amount is written once; only what became of it changes.
pub(crate) const LEGS: &str = "INSERT INTO contest_leg (contest_id, leg, order_id, amount, outcome, position, applied_at) \
     SELECT UNHEX(REPLACE(j.contest_id, '-', '')), j.leg, UNHEX(j.order_id), j.amount, j.outcome, j.position, \
            j.applied_at \
     FROM JSON_TABLE(?, '$[*]' COLUMNS (contest_id CHAR(36) PATH '$.contest_id', leg VARCHAR(16) PATH '$.leg', \
       order_id CHAR(32) PATH '$.order_id', amount BIGINT PATH '$.amount', outcome VARCHAR(16) PATH '$.outcome', \
       position BIGINT PATH '$.position', applied_at BIGINT PATH '$.applied_at')) AS j \
     ON DUPLICATE KEY UPDATE outcome = VALUES(outcome), position = VALUES(position), \
       applied_at = VALUES(applied_at)";

pub(crate) const HISTORY: &str =
    "INSERT INTO contest_history (contest_id, version, phase, at) VALUES (?, ?, ?, ?)";

/// Contests with their legs: one statement, so that they fit together. A contest has a row for each
/// leg, and one where it has none.
fn select(rest: &str) -> String {
    let columns = |table: &str, of: &str| {
        let columns: Vec<_> = of
            .split(',')
            .map(|column| format!("{table}.{}", column.trim()))
            .collect();
        columns.join(", ")
    };
    format!(
        "SELECT {}, {} FROM {rest} LEFT JOIN contest_leg FORCE INDEX (PRIMARY) \
         ON contest_leg.contest_id = c.contest_id",
        columns("c", ContestRecord::COLUMNS),
        columns("contest_leg", LegRecord::COLUMNS),
    )
}

/// The versions of contests of some ids. A contest never changes without its version.
pub(crate) fn versions(number: usize) -> String {
    let marks = keys::marks(1, number);
    format!(
        "SELECT contest_id, version FROM contest FORCE INDEX (PRIMARY) WHERE contest_id IN ({marks})"
    )
}

/// Contests of some ids.
pub(crate) fn get_many(number: usize) -> String {
    let marks = keys::marks(1, number);
    select(&format!(
        "(SELECT * FROM contest WHERE contest_id IN ({marks})) AS c"
    ))
}

pub(crate) static AWAKE: LazyLock<String> = LazyLock::new(|| {
    select(&format!(
        "(SELECT * FROM contest FORCE INDEX (contest_awake) WHERE wake_at <= {NOW_MS} \
         ORDER BY wake_at LIMIT ?) AS c"
    )) + " ORDER BY c.wake_at, c.contest_id"
});

/// The visible contests before an id, of a room, of some phases, opened or not: each of the last
/// three only if it is asked for. Newest first, along an index of what is asked for, so that nobody
/// walks past what others asked for; what is bound, and in which order, [`Listed`] says.
pub(crate) fn list(in_room: bool, phases: usize, opened: Option<bool>) -> String {
    let mut rules = vec!["contest_id < ?"];
    if in_room {
        rules.push("room_id = ?");
    }
    rules.push("phase NOT IN ('preparing', 'funding')");
    let now = match opened {
        Some(true) => format!("signup_opens_at <= {NOW_MS}"),
        Some(false) => format!("signup_opens_at > {NOW_MS}"),
        None => "TRUE".to_owned(),
    };
    rules.push(&now);
    let of = |index: &str, what: &str, more: &str| {
        format!(
            "(SELECT {what} FROM contest FORCE INDEX ({index}) WHERE {}{more} \
             ORDER BY contest_id DESC LIMIT ?)",
            rules.join(" AND ")
        )
    };
    let page = match Listed::of(in_room, phases) {
        Listed::Straight if in_room => {
            let more = match phases {
                0 => String::new(),
                _ => format!(" AND phase IN ({})", keys::marks(1, phases)),
            };
            of("contest_of_room", "*", &more)
        }
        Listed::Straight => of("PRIMARY", "*", ""),
        // One walk a phase, then the first of all.
        Listed::EachPhase => {
            let of_phase = of("contest_of_phase", "contest_id", " AND phase = ?");
            let walks = vec![of_phase; keys::padded(phases)].join(" UNION ");
            format!(
                "(SELECT contest.* FROM (SELECT contest_id FROM ({walks}) AS of_phase \
                 ORDER BY contest_id DESC LIMIT ?) AS page \
                 STRAIGHT_JOIN contest FORCE INDEX (PRIMARY) ON contest.contest_id = page.contest_id)"
            )
        }
    };
    select(&format!("{page} AS c")) + " ORDER BY c.contest_id DESC"
}

/// How [`list`] walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Once: what it begins before, the room if there is one, the phases, how many.
    Straight,
    /// Once a phase: what it begins before, the phase, how many; and at last how many of all.
    EachPhase,
}

impl Listed {
    pub(crate) const fn of(in_room: bool, phases: usize) -> Self {
        if in_room || phases == 0 {
            Self::Straight
        } else {
            Self::EachPhase
        }
    }
}

/// In which of some states there are signups, and whether any of them is provisional. Each is one
/// look into an index.
pub(crate) fn presence(states: &[&'static str]) -> String {
    let looks: Vec<_> = states
        .iter()
        .map(|state| {
            format!(
                "SELECT '{state}' AS state FROM DUAL WHERE EXISTS (SELECT 1 FROM signup \
                 FORCE INDEX (signup_state) WHERE contest_id = ? AND state = '{state}')"
            )
        })
        .collect();
    format!(
        "{} UNION ALL SELECT 'provisional' FROM DUAL WHERE EXISTS (SELECT 1 FROM signup \
         FORCE INDEX (signup_provisional) WHERE contest_id = ? AND is_provisional = 1)",
        looks.join(" UNION ALL ")
    )
}

pub(crate) const CENSUS: &str = "SELECT \
     CAST(COALESCE(SUM(state IN ('initialized', 'paid', 'in_progress') \
                       OR (state = 'completed' AND weight IS NULL)), 0) AS SIGNED), \
     CAST(COALESCE(SUM(state = 'completed' AND weight IS NOT NULL), 0) AS SIGNED), \
     CAST(COALESCE(SUM(IF(state = 'completed', weight, 0)), 0) AS CHAR), \
     CAST(COALESCE(SUM(IF(state IN ('completed', 'missed'), fee, 0)), 0) AS SIGNED), \
     CAST(COALESCE(SUM(IF(state = 'refunding', COALESCE(moved, fee), 0)), 0) AS SIGNED) \
     FROM signup FORCE INDEX (PRIMARY) WHERE contest_id = ?";

pub(crate) const COUNTS: &str = "SELECT state, CAST(COUNT(*) AS SIGNED), CAST(SUM(COALESCE(moved, fee)) AS SIGNED), \
     CAST(COALESCE(SUM(prize), 0) AS SIGNED) FROM signup FORCE INDEX (PRIMARY) WHERE contest_id = ? GROUP BY state";

pub(crate) const FINISHERS: &str = "SELECT signup_id, user_id, weight FROM signup FORCE INDEX (signup_state) \
     WHERE contest_id = ? AND state = 'completed' AND signup_id > ? AND weight IS NOT NULL \
     ORDER BY signup_id LIMIT ?";

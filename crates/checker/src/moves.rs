//! FORWARD_ONLY: the moves of domain.md's tables, and histories held against them.

/// How a history breaks the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// There is none.
    Empty,
    /// It starts in another state than the first.
    Start(String),
    /// A move that the table does not list.
    Move(String, String),
    /// A version is missing before this one.
    Gap(i64),
    /// It ends elsewhere than the row.
    End {
        /// What the history ends with.
        history: String,
        /// What the row says.
        row: String,
    },
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "has no history"),
            Self::Start(state) => write!(f, "starts as {state}"),
            Self::Move(from, to) => write!(f, "went from {from} to {to}"),
            Self::Gap(version) => write!(f, "has no history line for a version before {version}"),
            Self::End { history, row } => {
                write!(f, "its history ends with {history}, the row says {row}")
            }
        }
    }
}

/// One line of a history.
pub(crate) struct Line {
    /// The row's version that it was written with.
    pub(crate) version: i64,
    /// The state or phase that was entered, or kept.
    pub(crate) state: String,
}

/// The states that may follow a signup's state.
pub(crate) fn signup_may_become(state: &str) -> &'static [&'static str] {
    match state {
        "initialized" => &["paid", "expired", "refunding"],
        "paid" => &["in_progress", "refunding"],
        "in_progress" => &["completed", "missed", "refunding"],
        "completed" => &["claiming", "forfeited", "refunding"],
        "claiming" => &["shared"],
        "missed" | "expired" => &["refunding"],
        "refunding" => &["refunded"],
        _ => &[],
    }
}

/// The phases that may follow a contest's stored phase.
pub(crate) fn contest_may_become(phase: &str) -> &'static [&'static str] {
    match phase {
        "preparing" => &["funding", "cancelling"],
        "funding" => &["draft", "cancelling"],
        "draft" => &["running", "cancelling"],
        "running" => &["judging", "cancelling"],
        // Without winners there is no list to write.
        "judging" => &["listing", "claimable", "cancelling"],
        "listing" => &["claimable"],
        "claimable" => &["closed"],
        "cancelling" => &["cancelled"],
        _ => &[],
    }
}

/// Holds a history, in order, against a table. A line may repeat the state before it: a write need
/// not change the state.
pub(crate) fn follow(
    lines: &[Line],
    first: &str,
    table: fn(&str) -> &'static [&'static str],
    row: (&str, i64),
) -> Result<(), Broken> {
    let (Some(start), Some(end)) = (lines.first(), lines.last()) else {
        return Err(Broken::Empty);
    };
    if start.state != first {
        return Err(Broken::Start(start.state.clone()));
    }
    if start.version != 1 {
        return Err(Broken::Gap(start.version));
    }
    for pair in lines.windows(2) {
        let [from, to] = pair else { continue };
        if from.state != to.state && !table(&from.state).contains(&to.state.as_str()) {
            return Err(Broken::Move(from.state.clone(), to.state.clone()));
        }
        if to.version - from.version > 1 {
            return Err(Broken::Gap(to.version));
        }
    }
    let (state, version) = row;
    if end.state != state || end.version != version {
        let history = format!("{} at version {}", end.state, end.version);
        return Err(Broken::End {
            history,
            row: format!("{state} at version {version}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(states: &[(i64, &str)]) -> Vec<Line> {
        states
            .iter()
            .map(|(version, state)| Line {
                version: *version,
                state: (*state).to_owned(),
            })
            .collect()
    }

    fn signup(states: &[(i64, &str)], row: (&str, i64)) -> Result<(), Broken> {
        follow(&lines(states), "initialized", signup_may_become, row)
    }

    #[test]
    fn the_main_line_is_followed() {
        let main = [
            (1, "initialized"),
            (2, "paid"),
            (2, "in_progress"),
            (3, "in_progress"),
            (4, "completed"),
        ];
        assert_eq!(signup(&main, ("completed", 4)), Ok(()));
    }

    #[test]
    fn every_break_is_named() {
        assert_eq!(signup(&[], ("paid", 1)), Err(Broken::Empty));
        assert_eq!(
            signup(&[(1, "paid")], ("paid", 1)),
            Err(Broken::Start("paid".into()))
        );
        assert_eq!(
            signup(&[(2, "initialized")], ("initialized", 2)),
            Err(Broken::Gap(2))
        );
        assert_eq!(
            signup(&[(1, "initialized"), (2, "completed")], ("completed", 2)),
            Err(Broken::Move("initialized".into(), "completed".into()))
        );
        assert_eq!(
            signup(&[(1, "initialized"), (3, "paid")], ("paid", 3)),
            Err(Broken::Gap(3))
        );
        assert!(matches!(
            signup(&[(1, "initialized")], ("paid", 1)),
            Err(Broken::End { .. })
        ));
        assert!(matches!(
            signup(&[(1, "initialized")], ("initialized", 2)),
            Err(Broken::End { .. })
        ));
    }

    #[test]
    fn ends_lead_nowhere() {
        for state in [
            "shared",
            "forfeited",
            "refunded",
            "closed",
            "cancelled",
            "nonsense",
        ] {
            assert!(signup_may_become(state).is_empty());
            assert!(contest_may_become(state).is_empty());
        }
    }
}

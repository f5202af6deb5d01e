//! What a verification of published data says: right, or which line breaks which rule.

use serde::Serialize;
use std::fmt;

/// The most faults that are kept with their detail.
pub const FAULTS_MAX: usize = 100;

/// One rule that one line breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The line, from 1; 0 where no line can be named.
    pub line: u64,
    /// A stable name of the rule.
    pub rule: &'static str,
    /// What stands there and what must.
    pub detail: String,
}

/// All faults: the first of them, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// How many.
    pub total: u64,
    /// The first, at most [`FAULTS_MAX`].
    pub first: Vec<Fault>,
}

impl Faults {
    /// True if nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// True if this rule is broken somewhere among the first.
    #[must_use]
    pub fn has(&self, rule: &str) -> bool {
        self.first.iter().any(|fault| fault.rule == rule)
    }

    pub(crate) fn add(&mut self, line: u64, rule: &'static str, detail: impl Into<String>) {
        self.total += 1;
        if self.first.len() < FAULTS_MAX {
            self.first.push(Fault {
                line,
                rule,
                detail: detail.into(),
            });
        }
    }

    /// Takes the faults that were found elsewhere.
    pub(crate) fn extend(&mut self, other: Self) {
        self.total += other.total;
        let room = FAULTS_MAX.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }

    /// Notes a fault unless both are the same.
    pub(crate) fn compare<T: PartialEq + fmt::Display>(
        &mut self,
        line: u64,
        rule: &'static str,
        found: &T,
        must: &T,
    ) {
        if found != must {
            self.add(line, rule, format!("is {found}, must be {must}"));
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Fault { line, rule, detail } in &self.first {
            match line {
                0 => writeln!(f, "WRONG  {rule}: {detail}")?,
                line => writeln!(f, "WRONG  line {line}, {rule}: {detail}")?,
            }
        }
        let more = self.total.saturating_sub(self.first.len() as u64);
        if more > 0 {
            writeln!(f, "WRONG  and {more} more")?;
        }
        Ok(())
    }
}

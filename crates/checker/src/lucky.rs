//! The lucky split, derived from its published description: commitment and weights.

use crate::{sheet, verdict::Faults};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fmt::{self, Write as _},
    io::{self, BufRead},
};

/// What a published draw is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    secret: Vec<u8>,
    position: u64,
}

/// A lucky weight is 1 to this.
pub const WEIGHT_MAX: u64 = 100;

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// True for 64 lower-case hexadecimal digits.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Draw {
    /// The draw of a secret, 64 lower-case hexadecimal digits, and the position at which the
    /// pool was closed to fees; none if it is not such a secret.
    #[must_use]
    pub fn new(secret: &str, position: u64) -> Option<Self> {
        if !is_digest(secret) {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(secret.get(at..at + 2)?, 16).ok();
        let secret: Option<Vec<u8>> = (0..secret.len()).step_by(2).map(byte).collect();
        Some(Self {
            secret: secret?,
            position,
        })
    }

    /// SHA-256 of the secret's 32 bytes, which was published before signups opened.
    #[must_use]
    pub fn commitment(&self) -> String {
        hex(&Sha256::digest(&self.secret))
    }

    /// 1 + (first 8 bytes, big-endian, of HMAC-SHA256(secret, "contest\nuser\nposition\n")) mod
    /// 100.
    #[must_use]
    pub fn weight(&self, contest: &str, user: &str) -> u64 {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)
            .expect("HMAC takes keys of any length, by its definition");
        mac.update(format!("{contest}\n{user}\n{}\n", self.position).as_bytes());
        let digest = mac.finalize().into_bytes();
        let head = digest
            .iter()
            .take(8)
            .fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
        1 + head % WEIGHT_MAX
    }
}

/// What a verification of a draw found.
#[derive(Clone, Debug, Serialize)]
pub struct LuckyReport {
    /// True if nothing is wrong.
    pub right: bool,
    /// The contest.
    pub contest_id: String,
    /// What was published before signups opened.
    pub commitment: String,
    /// What was published after the freeze.
    pub secret: String,
    /// The position at which the pool was closed to fees.
    pub position: u64,
    /// How many weights were computed again.
    pub weights: u64,
    /// What is wrong.
    pub faults: Faults,
}

impl fmt::Display for LuckyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "contest     {}", self.contest_id)?;
        writeln!(f, "commitment  {}", self.commitment)?;
        writeln!(f, "secret      {}", self.secret)?;
        writeln!(f, "position    {}", self.position)?;
        writeln!(f, "weights     {}", self.weights)?;
        if self.right {
            writeln!(
                f,
                "right: the secret is the one committed to, and it gives each weight"
            )
        } else {
            self.faults.fmt(f)
        }
    }
}

/// Why there is nothing to verify.
#[derive(Debug, thiserror::Error)]
pub enum LuckyError {
    /// It is not what the API answers.
    #[error("{what} is not what the API answers: {source}")]
    Json {
        /// Which document.
        what: &'static str,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// The contest's rule is another one.
    #[error("the contest is {0}, not lucky: there is no draw to verify")]
    NotLucky(String),
    /// Nothing has been revealed.
    #[error("the contest is not settled yet: its secret is published after the freeze")]
    NotFrozen,
    /// Nothing in the data has a weight.
    #[error("no weight in what was given: only finishers have one")]
    NoWeights,
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

#[derive(Deserialize)]
struct ContestAnswer {
    contest_id: String,
    payout: PayoutAnswer,
    settlement: Option<SettlementAnswer>,
}

#[derive(Deserialize)]
struct PayoutAnswer {
    rule: String,
    commitment: Option<String>,
}

#[derive(Deserialize)]
struct SettlementAnswer {
    #[serde(default)]
    position: u64,
    // Only a lucky contest has one.
    #[serde(default)]
    secret: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SignupAnswer {
    Page { items: Vec<FinisherAnswer> },
    One(FinisherAnswer),
}

#[derive(Deserialize)]
struct FinisherAnswer {
    contest_id: String,
    user_id: String,
    weight: Option<u64>,
}

/// A lucky contest as it was published.
#[derive(Debug)]
pub struct Published {
    draw: Option<Draw>,
    report: LuckyReport,
}

impl Published {
    /// From the answer to `GET /v1/contests/{id}`; checks the secret against the commitment.
    ///
    /// # Errors
    /// When it is something else, or nothing has been revealed yet.
    pub fn parse(contest: &str) -> Result<Self, LuckyError> {
        let what = "the contest";
        let answer: ContestAnswer =
            serde_json::from_str(contest).map_err(|source| LuckyError::Json { what, source })?;
        let ContestAnswer {
            contest_id,
            payout: PayoutAnswer { rule, commitment },
            settlement,
        } = answer;
        if rule != "lucky" {
            return Err(LuckyError::NotLucky(rule));
        }
        let SettlementAnswer { position, secret } = settlement.ok_or(LuckyError::NotFrozen)?;
        let draw = Draw::new(&secret, position);
        let commitment = commitment.unwrap_or_default();
        let mut faults = Faults::default();
        match &draw {
            Some(draw) => faults.compare(0, "commitment", &commitment, &draw.commitment()),
            None => faults.add(0, "secret", "is not 64 lower-case hexadecimal digits"),
        }
        let report = LuckyReport {
            right: false,
            contest_id,
            commitment,
            secret,
            position,
            weights: 0,
            faults,
        };
        Ok(Self { draw, report })
    }

    /// Takes one signup, or a page of them, as the API answers it. Those without a weight did not
    /// finish.
    ///
    /// # Errors
    /// When it is something else.
    pub fn take_signups(&mut self, signups: &str) -> Result<(), LuckyError> {
        let what = "the signup";
        let answer =
            serde_json::from_str(signups).map_err(|source| LuckyError::Json { what, source })?;
        let finishers = match answer {
            SignupAnswer::Page { items } => items,
            SignupAnswer::One(one) => vec![one],
        };
        for finisher in &finishers {
            self.take(finisher);
        }
        Ok(())
    }

    fn take(&mut self, finisher: &FinisherAnswer) {
        let Some(weight) = finisher.weight else {
            return;
        };
        let Self { draw, report } = self;
        report.weights += 1;
        let user = &finisher.user_id;
        if finisher.contest_id != report.contest_id {
            let other = &finisher.contest_id;
            report
                .faults
                .add(0, "contest", format!("{user} signed up in {other}"));
        }
        let must = draw
            .as_ref()
            .map(|draw| draw.weight(&report.contest_id, user));
        if must != Some(weight) {
            let must = must.map_or("unknown".to_owned(), |must| must.to_string());
            let detail = format!("of {user} is {weight}, must be {must}");
            report.faults.add(0, "weight", detail);
        }
    }

    /// Takes the settlement sheet, and verifies the whole of it on the way.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take_sheet(&mut self, reader: impl BufRead) -> Result<(), LuckyError> {
        let sheet = sheet::verify(reader, None)?;
        let report = &mut self.report;
        report.weights += u64::try_from(sheet.finishers).unwrap_or(u64::MAX);
        let faults = &mut report.faults;
        faults.compare(0, "contest", &sheet.contest_id, &report.contest_id);
        faults.compare(0, "position", &sheet.position, &report.position);
        let secret = sheet.secret.unwrap_or_default();
        faults.compare(0, "secret", &secret, &report.secret);
        faults.extend(sheet.faults);
        Ok(())
    }

    /// What was found.
    ///
    /// # Errors
    /// When there was nothing to hold against the draw.
    pub fn finish(self) -> Result<LuckyReport, LuckyError> {
        let mut report = self.report;
        report.right = report.faults.is_empty();
        if report.right && report.weights == 0 {
            return Err(LuckyError::NoWeights);
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with Python's hmac and hashlib, not with any code of ours.
    #[test]
    fn the_published_vectors() {
        let draw = Draw::new(&"07".repeat(32), 1_234).expect("a secret");
        assert_eq!(
            draw.commitment(),
            "4bb06f8e4e3a7715d201d573d0aa423762e55dabd61a2c02278fa56cc6d294e0"
        );
        let contest = "0198c9f2-0000-7000-8000-00000000000a";
        let weights = ["ann", "bob", "cat"].map(|user| draw.weight(contest, user));
        assert_eq!(weights, [80, 93, 3]);
        assert_eq!(Draw::new(&"0A".repeat(32), 1), None);
        assert_eq!(Draw::new("07", 1), None);
    }

    /// Over 10^6 draws each of the 100 weights comes as often as chance allows: chi-square with 99
    /// degrees of freedom is above 180 once in some 10^6 runs.
    #[test]
    fn weights_are_uniform() {
        const DRAWS: u64 = 1_000_000;
        let fresh = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| since.as_nanos());
        let seed = std::env::var("GUAFEN_SEED").unwrap_or_else(|_| fresh.to_string());
        println!("seed {seed}");
        let secret = hex(&Sha256::digest(&seed));
        let mut counts = [0_u64; 100];
        // Viewers of many contests, each with a secret and a position of its own.
        for contest in 0..100_u64 {
            let secret = hex(&Sha256::digest(format!("{secret}/{contest}")));
            let draw = Draw::new(&secret, 17 * contest + 5).expect("a secret");
            for user in 0..DRAWS / 100 {
                let weight = draw.weight(&format!("contest-{contest}"), &format!("user-{user}"));
                let index = usize::try_from(weight - 1).expect("small");
                counts[index] += 1;
            }
        }
        let expected = 10_000_i64;
        let squares = counts.iter().map(|count| {
            let off = i64::try_from(*count).expect("small") - expected;
            off * off
        });
        let chi_square = squares.sum::<i64>() / expected;
        println!("chi-square {chi_square} for 99 degrees of freedom");
        assert!(counts.iter().all(|count| *count > 0));
        // Too even is as suspicious as too uneven.
        assert!((40..180).contains(&chi_square), "seed {seed}: {chi_square}");
    }
}

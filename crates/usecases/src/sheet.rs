//! The settlement sheet as a text that anybody can check: a header with the frozen numbers, one
//! line for each finisher in signup-id order, and the SHA-256 of all that as its last line.
//!
//! The text follows from stored rows that never change, so it is the same whenever it is written;
//! its digest is kept when the sheet is complete, and published.

use crate::{Contests, Failure, hold::Hold};
use domain::{
    contest::Contest,
    digest::Digest,
    ids::SignupId,
    settlement::{SheetLine, Totals},
    time::UnixMillis,
};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use time::{OffsetDateTime, macros::format_description};

/// The lines of one page.
const PAGE: usize = 1_000;

/// A time as it is published: RFC 3339, UTC, with milliseconds.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000);
    time.ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| at.0.to_string())
}

/// The sheet, part by part: memory stays flat whatever the number of finishers.
#[derive(Debug)]
pub struct SheetText {
    next: Next,
    hash: Sha256,
    sealed: Option<Digest>,
}

#[derive(Debug)]
enum Next {
    Header,
    Lines(Option<SignupId>),
    Trailer,
    Nothing,
}

impl SheetText {
    /// The sheet of a contest from its beginning. `sealed` is the digest that was kept, which the
    /// last line repeats; without one it is the digest of what was read.
    #[must_use]
    pub fn new(sealed: Option<Digest>) -> Self {
        Self {
            next: Next::Header,
            hash: Sha256::new(),
            sealed,
        }
    }

    /// The digest of all parts so far, the last line apart.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::new(self.hash.clone().finalize().into())
    }

    fn trailer(&self) -> String {
        let digest = self.sealed.unwrap_or_else(|| self.digest());
        format!("# sha256: {digest}\n")
    }
}

impl Contests {
    /// The next part of the sheet of a contest whose numbers are frozen; none at its end, and none
    /// at all before the freeze.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn sheet_part(
        &self,
        contest: &Contest,
        text: &mut SheetText,
    ) -> Result<Option<String>, Failure> {
        let part = match text.next {
            Next::Header if contest.phase.frozen().is_none() => return Ok(None),
            Next::Header => {
                text.next = Next::Lines(None);
                header(contest)
            }
            Next::Lines(after) => {
                let page = self.ports.contests.sheet(contest.id, after, PAGE).await?;
                text.next = page
                    .next
                    .map_or(Next::Trailer, |next| Next::Lines(Some(next)));
                page.items.iter().map(line).collect()
            }
            Next::Trailer => {
                text.next = Next::Nothing;
                return Ok(Some(text.trailer()));
            }
            Next::Nothing => return Ok(None),
        };
        text.hash.update(part.as_bytes());
        Ok(Some(part))
    }

    /// The digest of the sheet as it stands in the store; none if another node is at the contest.
    pub(crate) async fn digest(
        &self,
        contest: &Contest,
        hold: &mut Option<Hold>,
    ) -> Result<Option<Digest>, Failure> {
        let mut text = SheetText::new(None);
        while !matches!(text.next, Next::Trailer) {
            if !self.keep(hold).await? {
                return Ok(None);
            }
            self.sheet_part(contest, &mut text).await?;
        }
        Ok(Some(text.digest()))
    }
}

fn header(contest: &Contest) -> String {
    let Some((totals, frozen_at)) = contest.phase.frozen() else {
        return String::new();
    };
    let Totals {
        fees,
        rake,
        pool,
        guarantee_return,
        finishers,
        weight_sum,
    } = *totals.get();
    let terms = &contest.terms;
    let mut text = format!(
        "# guafen settlement sheet 1\n\
         # contest_id: {}\n\
         # rule: {}\n\
         # remainder: {}\n\
         # fees: {fees}\n\
         # guarantee: {}\n\
         # carry: {}\n\
         # rake_bps: {}\n\
         # rake: {rake}\n\
         # pool: {pool}\n\
         # guarantee_return: {guarantee_return}\n\
         # finishers: {finishers}\n\
         # weight_sum: {weight_sum}\n\
         # frozen_at: {}\n",
        contest.id,
        terms.rule.name(),
        terms.remainder.name(),
        terms.guaranteed_pool,
        terms.carry(),
        terms.rake_bps.get(),
        rfc3339(frozen_at),
    );
    if let Some(closed) = contest.phase.credits_closed() {
        let _ = writeln!(text, "# position: {}", closed.position.0);
    }
    // Where the books do not balance because an operator has said so, the sheet says by how much.
    if contest.stops.accepted != 0 {
        let _ = writeln!(text, "# accepted_gap: {}", contest.stops.accepted);
    }
    if let Some(secret) = contest.secret {
        let _ = writeln!(text, "# commitment: {}", secret.commitment());
        let _ = writeln!(text, "# secret: {}", secret.reveal());
    }
    text.push_str("signup_id,user_id,weight,before,prize\n");
    text
}

/// Ids have no comma, quote or line end, so nothing has to be quoted.
fn line(line: &SheetLine) -> String {
    let SheetLine {
        finisher,
        before,
        prize,
    } = line;
    format!(
        "{},{},{},{before},{prize}\n",
        finisher.signup_id,
        finisher.user_id,
        finisher.weight.get()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_published_with_milliseconds() {
        assert_eq!(rfc3339(UnixMillis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            rfc3339(UnixMillis(1_800_000_000_007)),
            "2027-01-15T08:00:00.007Z"
        );
    }
}

//! A settlement sheet, verified from nothing but its text: every number is computed again by the
//! published rules. One pass, in flat memory, whatever the number of finishers.
//!
//! Names in a sheet (contest, viewers, time) follow from nothing in it: that they are the ones that
//! were settled is what the published hash says, so compare that too.

use crate::{
    lucky::{Draw, WEIGHT_MAX, hex, is_digest},
    verdict::Faults,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    fmt,
    io::{self, BufRead, Read},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// The first line.
pub const TITLE: &str = "# guafen settlement sheet 1";
/// The line above the finishers.
pub const COLUMNS: &str = "signup_id,user_id,weight,before,prize";
/// The longest line that is read.
const LINE_MAX: u64 = 4_096;
/// The most coins of one amount.
const COINS_MAX: u128 = (1 << 53) - 1;

/// What a sheet says and what is wrong with it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SheetReport {
    /// True if nothing is wrong.
    pub right: bool,
    /// The contest.
    pub contest_id: String,
    /// Its rule.
    pub rule: String,
    /// The position at which the pool was closed to fees.
    pub position: u64,
    /// Lucky alone: the secret of the draw, 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The pool, in coins.
    pub pool: u128,
    /// Lines of finishers.
    pub finishers: u128,
    /// Their prizes, in coins.
    pub prizes: u128,
    /// SHA-256 of every byte above the last line, computed here.
    pub sha256: String,
    /// What is wrong.
    pub faults: Faults,
}

impl fmt::Display for SheetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "contest    {}", self.contest_id)?;
        writeln!(f, "rule       {}", self.rule)?;
        writeln!(f, "pool       {}", self.pool)?;
        writeln!(f, "finishers  {}", self.finishers)?;
        writeln!(f, "prizes     {}", self.prizes)?;
        writeln!(f, "sha256     {}", self.sha256)?;
        if self.right {
            writeln!(f, "right: every number follows from the rules")
        } else {
            self.faults.fmt(f)
        }
    }
}

/// Verifies a sheet; `published` is the hash that the API answers as `sheet_sha256`.
///
/// # Errors
/// When it cannot be read. What is wrong with it is no error but part of the report.
pub fn verify(reader: impl BufRead, published: Option<&str>) -> io::Result<SheetReport> {
    let mut pass = Pass {
        reader,
        line: 0,
        hash: Sha256::new(),
        faults: Faults::default(),
    };
    let mut report = SheetReport::default();
    let whole = pass.run(&mut report)?;
    report.sha256 = hex(&pass.hash.finalize());
    report.faults = pass.faults;
    if let (true, Some(published)) = (whole, published) {
        let published = published.to_ascii_lowercase();
        report
            .faults
            .compare(0, "published_sha256", &report.sha256, &published);
    }
    report.right = report.faults.is_empty();
    Ok(report)
}

struct Pass<R> {
    reader: R,
    line: u64,
    hash: Sha256,
    faults: Faults,
}

/// The header: each value with its line.
struct Header {
    rule: String,
    contest_id: String,
    remainder: String,
    fees: u128,
    guarantee: u128,
    carry: u128,
    rake_bps: u128,
    rake: (u64, u128),
    pool: (u64, u128),
    guarantee_return: (u64, u128),
    finishers: (u64, u128),
    weight_sum: (u64, u128),
    position: u64,
    secret: Option<String>,
    draw: Option<Draw>,
}

/// A number in its only spelling: digits, no sign, no leading zero.
fn number(text: &str) -> Option<u128> {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_user(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A time in its only spelling: RFC 3339, UTC, with milliseconds.
pub(crate) fn rfc3339(at_ms: i64) -> Option<String> {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000)
        .ok()?
        .format(format)
        .ok()
}

fn is_time(text: &str) -> bool {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    let millis =
        parsed.and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok());
    millis.and_then(rfc3339).is_some_and(|again| again == text)
}

/// ⌊amount · part / whole⌋.
fn part(amount: u128, part: u128, whole: u128) -> Option<u128> {
    amount.checked_mul(part)?.checked_div(whole)
}

impl Header {
    /// The prize of a finisher with `before` ahead of it.
    fn prize(&self, before: u128, weight: u128) -> Option<u128> {
        let (pool, whole) = (self.pool.1, self.weight_sum.1);
        if self.remainder == "spread" {
            let upto = part(pool, before.checked_add(weight)?, whole)?;
            upto.checked_sub(part(pool, before, whole)?)
        } else {
            part(pool, weight, whole)
        }
    }

    fn check(&self, faults: &mut Faults) {
        let rake = match self.finishers.1 {
            0 => 0,
            _ => self.fees * self.rake_bps / 10_000,
        };
        let compare = |faults: &mut Faults, rule, (line, found): (u64, u128), must: u128| {
            faults.compare(line, rule, &found, &must);
        };
        compare(faults, "rake", self.rake, rake);
        let earned = self.fees + self.carry - rake;
        let pool = earned.max(self.guarantee);
        compare(faults, "pool", self.pool, pool);
        let back = earned + self.guarantee - pool;
        compare(faults, "guarantee_return", self.guarantee_return, back);
        if self.rule == "by_fee" && self.weight_sum.1 > self.fees {
            let (line, sum) = self.weight_sum;
            let fees = self.fees;
            faults.add(
                line,
                "weight_sum",
                format!("is {sum}, more than the fees of {fees}"),
            );
        }
    }

    fn check_weight(&self, line: u64, user: &str, weight: u128, faults: &mut Faults) {
        let range = |max: u128, faults: &mut Faults| {
            if !(1..=max).contains(&weight) {
                faults.add(line, "weight", format!("is {weight}, must be 1 to {max}"));
            }
        };
        match (self.rule.as_str(), &self.draw) {
            ("equal", _) => faults.compare(line, "weight", &weight, &1),
            ("lucky", Some(draw)) => {
                let must = u128::from(draw.weight(&self.contest_id, user));
                faults.compare(line, "weight", &weight, &must);
            }
            ("lucky", None) => range(u128::from(WEIGHT_MAX), faults),
            ("early_bird", _) => range(1_000, faults),
            _ => range(u128::from(u64::MAX), faults),
        }
    }
}

/// The running sums of the finishers.
#[derive(Default)]
struct Sums {
    last_id: String,
    weights: u128,
    prizes: u128,
    count: u128,
}

/// A header line that makes all that follows meaningless.
struct Unreadable;

impl<R: BufRead> Pass<R> {
    /// The next line without its end; none at the end of the file. What is no line is noted.
    fn next(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let mut limited = self.reader.by_ref().take(LINE_MAX);
        if limited.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if bytes.pop() != Some(b'\n') {
            self.faults.add(
                self.line,
                "form",
                format!("does not end with a line feed within {LINE_MAX} bytes"),
            );
            return Ok(None);
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => {
                self.faults.add(self.line, "form", "is not UTF-8");
                Ok(None)
            }
        }
    }

    fn take(&mut self, text: &str) {
        self.hash.update(text);
        self.hash.update("\n");
    }

    /// The next line, which must be exactly this.
    fn literal(&mut self, must: &str) -> io::Result<Result<(), Unreadable>> {
        let found = self.next()?;
        if found.as_deref() == Some(must) {
            self.take(must);
            return Ok(Ok(()));
        }
        self.faults
            .add(self.line.max(1), "form", format!("must be {must:?}"));
        Ok(Err(Unreadable))
    }

    /// The value of the next line, which must be `# key: value`.
    fn value(
        &mut self,
        key: &str,
        what: &str,
        fits: impl Fn(&str) -> bool,
    ) -> io::Result<Result<String, Unreadable>> {
        let found = self.next()?;
        let value = found
            .as_deref()
            .and_then(|line| line.strip_prefix("# "))
            .and_then(|line| line.strip_prefix(key))
            .and_then(|line| line.strip_prefix(": "))
            .filter(|value| fits(value));
        match (value, &found) {
            (Some(value), Some(line)) => {
                let value = value.to_owned();
                self.take(line);
                Ok(Ok(value))
            }
            _ => {
                self.faults.add(
                    self.line.max(1),
                    "form",
                    format!("must be \"# {key}: \" and {what}"),
                );
                Ok(Err(Unreadable))
            }
        }
    }

    fn amount(&mut self, key: &str, max: u128) -> io::Result<Result<(u64, u128), Unreadable>> {
        let fits = |text: &str| number(text).is_some_and(|number| number <= max);
        let text = self.value(key, &format!("a whole number up to {max}"), fits)?;
        let line = self.line;
        Ok(text.map(|text| (line, number(&text).unwrap_or(0))))
    }

    fn header(&mut self) -> io::Result<Result<Header, Unreadable>> {
        macro_rules! read {
            ($call:expr) => {
                match $call? {
                    Ok(value) => value,
                    Err(unreadable) => return Ok(Err(unreadable)),
                }
            };
        }
        let one_of = |choices: &'static [&'static str]| move |text: &str| choices.contains(&text);
        read!(self.literal(TITLE));
        let contest_id = read!(self.value("contest_id", "an id", is_uuid));
        let rules = &["equal", "by_fee", "by_score", "early_bird", "lucky"];
        let rule = read!(self.value("rule", "a rule", one_of(rules)));
        let remainders = &["spread", "platform", "rollover"];
        let remainder = read!(self.value("remainder", "a remainder", one_of(remainders)));
        let fees = read!(self.amount("fees", COINS_MAX)).1;
        let guarantee = read!(self.amount("guarantee", COINS_MAX)).1;
        let carry = read!(self.amount("carry", COINS_MAX)).1;
        let rake_bps = read!(self.amount("rake_bps", 10_000)).1;
        let rake = read!(self.amount("rake", COINS_MAX));
        let pool = read!(self.amount("pool", COINS_MAX));
        let guarantee_return = read!(self.amount("guarantee_return", COINS_MAX));
        let finishers = read!(self.amount("finishers", u128::from(u64::MAX)));
        let weight_sum = read!(self.amount("weight_sum", u128::MAX));
        read!(self.value("frozen_at", "a UTC time with milliseconds", is_time));
        let position = read!(self.amount("position", u128::from(u64::MAX))).1;
        let position = u64::try_from(position).unwrap_or(u64::MAX);
        let (mut draw, mut revealed) = (None, None);
        if rule == "lucky" {
            let commitment = read!(self.value("commitment", "64 hex digits", is_digest));
            let line = self.line;
            let secret = read!(self.value("secret", "64 hex digits", is_digest));
            draw = Draw::new(&secret, position);
            if let Some(draw) = &draw {
                self.faults
                    .compare(line, "commitment", &commitment, &draw.commitment());
            }
            revealed = Some(secret);
        }
        read!(self.literal(COLUMNS));
        let header = Header {
            rule,
            contest_id,
            remainder,
            fees,
            guarantee,
            carry,
            rake_bps,
            rake,
            pool,
            guarantee_return,
            finishers,
            weight_sum,
            position,
            secret: revealed,
            draw,
        };
        Ok(Ok(header))
    }

    /// True if the last line was reached, so that the hash is of the whole.
    fn run(&mut self, report: &mut SheetReport) -> io::Result<bool> {
        let Ok(header) = self.header()? else {
            return Ok(false);
        };
        header.check(&mut self.faults);
        report.contest_id.clone_from(&header.contest_id);
        report.rule.clone_from(&header.rule);
        report.position = header.position;
        report.secret.clone_from(&header.secret);
        report.pool = header.pool.1;
        let mut sums = Sums::default();
        let sealed = loop {
            let Some(line) = self.next()? else {
                self.faults.add(
                    self.line,
                    "form",
                    "must be followed by \"# sha256: \" and a hash",
                );
                break None;
            };
            if let Some(hash) = line.strip_prefix("# sha256: ") {
                break Some(hash.to_owned());
            }
            self.take(&line);
            self.finisher(&header, &line, &mut sums);
        };
        report.finishers = sums.count;
        report.prizes = sums.prizes;
        self.sums(&header, &sums);
        let Some(sealed) = sealed else {
            return Ok(false);
        };
        let computed = hex(&self.hash.clone().finalize());
        self.faults.compare(self.line, "sha256", &sealed, &computed);
        let mut rest = [0];
        if self.reader.read(&mut rest)? > 0 {
            self.faults.add(
                self.line + 1,
                "form",
                "must not be there: the hash ends the sheet",
            );
        }
        Ok(true)
    }

    fn finisher(&mut self, header: &Header, text: &str, sums: &mut Sums) {
        let line = self.line;
        let fields: Vec<&str> = text.split(',').collect();
        let parsed = match fields.as_slice() {
            [id, user, weight, before, prize] if is_uuid(id) && is_user(user) => {
                match (number(weight), number(before), number(prize)) {
                    (Some(weight), Some(before), Some(prize)) => {
                        Some((*id, *user, weight, before, prize))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        let Some((id, user, weight, before, prize)) = parsed else {
            self.faults.add(
                line,
                "form",
                format!("must be {COLUMNS}, two ids and three whole numbers"),
            );
            return;
        };
        let faults = &mut self.faults;
        if id <= sums.last_id.as_str() {
            let last = &sums.last_id;
            faults.add(line, "order", format!("{id} must come after {last}"));
        }
        id.clone_into(&mut sums.last_id);
        header.check_weight(line, user, weight, faults);
        faults.compare(line, "before", &before, &sums.weights);
        match header.prize(sums.weights, weight) {
            Some(must) => faults.compare(line, "prize", &prize, &must),
            None => faults.add(line, "prize", "cannot be computed from these weights"),
        }
        sums.count += 1;
        sums.weights = sums.weights.saturating_add(weight);
        sums.prizes = sums.prizes.saturating_add(prize);
    }

    fn sums(&mut self, header: &Header, sums: &Sums) {
        let faults = &mut self.faults;
        let (line, finishers) = header.finishers;
        faults.compare(line, "finishers", &finishers, &sums.count);
        let (line, weight_sum) = header.weight_sum;
        faults.compare(line, "weight_sum", &weight_sum, &sums.weights);
        let (line, pool) = header.pool;
        let spread = header.remainder == "spread" && sums.count > 0;
        if sums.prizes > pool || (spread && sums.prizes < pool) {
            let prizes = sums.prizes;
            faults.add(
                line,
                "prizes",
                format!("add up to {prizes}, the pool is {pool}"),
            );
        }
    }
}

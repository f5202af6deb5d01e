//! A contest to be created: everything that is wrong with it is said at once.

use super::text::{is_title, parse_time};
use crate::{
    extract::{Faults, parse_id},
    openapi::vocabulary,
    problem::{FaultCode, Problem},
};
use domain::{
    ids::TaskKind,
    money::Coins,
    payout::Rule,
    terms::{BasisPoints, ClaimMode, NoWinner, Remainder, Task, Terms, Unclaimed},
    time::UnixMillis,
};
use serde::Deserialize;
use utoipa::ToSchema;

/// A contest to be created. Its terms never change afterwards.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewContest)]
pub(crate) struct NewContest {
    /// What it is called.
    #[schema(value_type = vocabulary::Title)]
    title: String,
    /// The room whose events count.
    #[schema(value_type = vocabulary::RoomId)]
    room_id: String,
    /// What a viewer pays to sign up, in coins.
    #[schema(minimum = 1, maximum = 1_000_000_000_u64)]
    fee: u64,
    /// What has to be done.
    task: TaskBody,
    /// How the pool is split.
    payout: PayoutBody,
    /// What a viewer may choose to pay, in coins: 1 to 10 amounts, each once, `fee` among them.
    #[schema(min_items = 1, max_items = 10)]
    fee_tiers: Option<Vec<u64>>,
    /// The platform's part of the fees, in hundredths of a percent.
    #[schema(minimum = 0, maximum = 10_000, default = 0)]
    rake_bps: Option<u16>,
    /// What the pool holds at least, in coins.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_u64, default = 0)]
    guaranteed_pool: Option<u64>,
    /// Who starts the payment of a prize; `manual` where it is left out.
    #[schema(value_type = Option<vocabulary::ClaimMode>)]
    claim_mode: Option<String>,
    /// Where the pool goes when nobody finishes; `refund` where it is left out.
    #[schema(value_type = Option<vocabulary::NoWinner>)]
    no_winner: Option<String>,
    /// Not supported yet: leave it out.
    min_signups: Option<u64>,
    /// Not supported yet: leave it out.
    max_signups: Option<u64>,
    /// How long after `tasks_end_at` events may still arrive, in seconds.
    #[schema(minimum = 0, maximum = 3_600, default = 1)]
    grace_s: Option<u32>,
    /// Only `false` is supported yet.
    leave_allowed: Option<bool>,
    /// Where the coins go that do not divide; `spread` where it is left out.
    #[schema(value_type = Option<vocabulary::Remainder>)]
    remainder: Option<String>,
    /// Where prizes go that nobody claims; `pay` where it is left out.
    #[schema(value_type = Option<vocabulary::Unclaimed>)]
    unclaimed: Option<String>,
    /// From then on viewers can sign up.
    #[schema(value_type = vocabulary::AnyTime)]
    signup_opens_at: String,
    /// From then on nobody can sign up. In the future, and after `signup_opens_at`.
    #[schema(value_type = vocabulary::AnyTime)]
    signup_closes_at: String,
    /// From then on nothing counts. Not before `signup_closes_at`.
    #[schema(value_type = vocabulary::AnyTime)]
    tasks_end_at: String,
    /// The earliest end of the time to claim. After `tasks_end_at`, and at most 366 days after `signup_opens_at`.
    #[schema(value_type = vocabulary::AnyTime)]
    claim_closes_at: String,
}

/// What has to be done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTask)]
struct TaskBody {
    #[schema(value_type = vocabulary::TaskKind)]
    kind: String,
    /// How much has to be done.
    #[schema(minimum = 1, maximum = 1_000_000_000_u64)]
    target: u64,
}

/// How the pool is to be split.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPayout)]
struct PayoutBody {
    #[schema(value_type = vocabulary::Rule)]
    rule: String,
}

fn choice<T: Copy>(
    faults: &mut Faults,
    pointer: &str,
    text: Option<&str>,
    default: T,
    named: fn(&str) -> Option<T>,
) -> T {
    let Some(text) = text else { return default };
    named(text).unwrap_or_else(|| {
        faults.push(
            pointer,
            FaultCode::UnknownValue,
            format!("{text:?} is not one of the values"),
        );
        default
    })
}

impl NewContest {
    /// Title and terms, or everything that is wrong with them.
    pub(crate) fn parse(self) -> Result<(String, Terms), Problem> {
        let mut faults = Faults::default();
        self.refuse_what_is_not_supported(&mut faults);
        let rule = choice(
            &mut faults,
            "/payout/rule",
            Some(&self.payout.rule),
            Rule::Equal,
            Rule::named,
        );
        if !is_title(&self.title) {
            faults.push(
                "/title",
                FaultCode::OutOfRange,
                "must be 1 to 100 characters, one of them visible, without control characters",
            );
        }
        let mut time = |pointer: &str, text: &str| {
            faults
                .check(pointer, FaultCode::InvalidTime, parse_time(text))
                .unwrap_or(UnixMillis(0))
        };
        let windows = [
            time("/signup_opens_at", &self.signup_opens_at),
            time("/signup_closes_at", &self.signup_closes_at),
            time("/tasks_end_at", &self.tasks_end_at),
            time("/claim_closes_at", &self.claim_closes_at),
        ];
        let coins = |faults: &mut Faults, pointer: &str, amount: u64| {
            faults
                .check(pointer, FaultCode::OutOfRange, Coins::new(amount))
                .unwrap_or(Coins::ZERO)
        };
        let fee = coins(&mut faults, "/fee", self.fee);
        let fee_tiers = self.tiers(&mut faults);
        let guaranteed_pool = coins(
            &mut faults,
            "/guaranteed_pool",
            self.guaranteed_pool.unwrap_or(0),
        );
        let rake_bps = BasisPoints::new(self.rake_bps.unwrap_or(0)).unwrap_or_else(|| {
            faults.push(
                "/rake_bps",
                FaultCode::OutOfRange,
                "must be from 0 to 10000",
            );
            BasisPoints::ZERO
        });
        let claim_mode = choice(
            &mut faults,
            "/claim_mode",
            self.claim_mode.as_deref(),
            ClaimMode::Manual,
            ClaimMode::named,
        );
        let no_winner = choice(
            &mut faults,
            "/no_winner",
            self.no_winner.as_deref(),
            NoWinner::Refund,
            NoWinner::named,
        );
        let remainder = choice(
            &mut faults,
            "/remainder",
            self.remainder.as_deref(),
            Remainder::Spread,
            Remainder::named,
        );
        let unclaimed = choice(
            &mut faults,
            "/unclaimed",
            self.unclaimed.as_deref(),
            Unclaimed::Pay,
            Unclaimed::named,
        );
        let room_id = faults.check("/room_id", FaultCode::InvalidId, parse_id(&self.room_id));
        let kind: Option<TaskKind> = faults.check(
            "/task/kind",
            FaultCode::InvalidId,
            parse_id(&self.task.kind),
        );
        faults.finish()?;
        let (Some(room_id), Some(kind)) = (room_id, kind) else {
            return Err(Problem::invalid(Vec::new()));
        };
        let [
            signup_opens_at,
            signup_closes_at,
            tasks_end_at,
            claim_closes_at,
        ] = windows;
        let terms = Terms {
            room_id,
            fee,
            fee_tiers,
            task: Task {
                kind,
                target: self.task.target,
            },
            rule,
            rake_bps,
            guaranteed_pool,
            series: None,
            claim_mode,
            no_winner,
            remainder,
            unclaimed,
            grace_ms: i64::from(self.grace_s.unwrap_or(1)) * 1_000,
            signup_opens_at,
            signup_closes_at,
            tasks_end_at,
            claim_closes_at,
        };
        match terms.check() {
            Ok(terms) => Ok((self.title, terms)),
            Err(broken) => {
                let mut faults = Faults::default();
                for term in broken {
                    faults.push(
                        &format!("/{}", term.field),
                        FaultCode::of_rule(term.code),
                        term.rule,
                    );
                }
                Err(faults
                    .finish()
                    .err()
                    .unwrap_or_else(|| Problem::invalid(Vec::new())))
            }
        }
    }

    /// The tiers; a list that is there must not be empty.
    fn tiers(&self, faults: &mut Faults) -> Vec<Coins> {
        let Some(amounts) = &self.fee_tiers else {
            return Vec::new();
        };
        if amounts.is_empty() {
            let rule = "must be 1 to 10 amounts from 1 to 1000000000";
            faults.push("/fee_tiers", FaultCode::OutOfRange, rule);
        }
        let coins = amounts.iter().enumerate().filter_map(|(index, amount)| {
            let pointer = format!("/fee_tiers/{index}");
            faults.check(&pointer, FaultCode::OutOfRange, Coins::new(*amount))
        });
        coins.collect()
    }

    fn refuse_what_is_not_supported(&self, faults: &mut Faults) {
        let asked = [
            ("/min_signups", self.min_signups.is_some()),
            ("/max_signups", self.max_signups.is_some()),
            ("/leave_allowed", self.leave_allowed == Some(true)),
        ];
        for (pointer, _) in asked.into_iter().filter(|(_, asked)| *asked) {
            faults.push(pointer, FaultCode::NotSupportedYet, "is not supported yet");
        }
    }
}

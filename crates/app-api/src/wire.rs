//! What goes over the wire. Requests refuse unknown fields; times are RFC 3339 UTC with
//! milliseconds; coins are integers.

use crate::{extract::Faults, problem::Problem};
use domain::{
    contest::Contest,
    ids::TaskKind,
    money::Coins,
    order::Leg,
    payout::Rule,
    settlement::{Frozen, Totals},
    terms::{BasisPoints, ClaimMode, NoWinner, Remainder, Task, Terms, Unclaimed},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use usecases::{Pool, Seen};

mod events;
mod report;
mod settlement;

pub(crate) use events::{EventBody, Recorded, parse_events};
pub(crate) use report::{FindingView, ReportView};
pub(crate) use settlement::{LeaderboardView, OwnPlaceView, SheetView};
pub(crate) use usecases::sheet::rfc3339;

fn parse_time(text: &str) -> Result<UnixMillis, &'static str> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "must be an RFC 3339 time")?;
    let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(millis)
        .map(UnixMillis)
        .map_err(|_| "must be an RFC 3339 time")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewContest {
    title: String,
    room_id: String,
    fee: u64,
    task: TaskBody,
    payout: PayoutBody,
    fee_tiers: Option<Vec<u64>>,
    rake_bps: Option<u16>,
    guaranteed_pool: Option<u64>,
    claim_mode: Option<String>,
    no_winner: Option<String>,
    min_signups: Option<u64>,
    max_signups: Option<u64>,
    grace_s: Option<u32>,
    leave_allowed: Option<bool>,
    remainder: Option<String>,
    unclaimed: Option<String>,
    signup_opens_at: String,
    signup_closes_at: String,
    tasks_end_at: String,
    claim_closes_at: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskBody {
    kind: String,
    target: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayoutBody {
    rule: String,
}

/// The longest title, in characters.
const TITLE_MAX: usize = 100;

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
            "unknown_value",
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
        let characters = self.title.chars().count();
        if !(1..=TITLE_MAX).contains(&characters) || self.title.chars().any(char::is_control) {
            faults.push(
                "/title",
                "out_of_range",
                "must be 1 to 100 characters without control characters",
            );
        }
        let mut time = |pointer: &str, text: &str| {
            faults
                .check(pointer, "invalid_time", parse_time(text))
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
                .check(pointer, "out_of_range", Coins::new(amount))
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
            faults.push("/rake_bps", "out_of_range", "must be from 0 to 10000");
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
        let room_id = faults.check("/room_id", "invalid_id", self.room_id.parse());
        let kind: Option<TaskKind> =
            faults.check("/task/kind", "invalid_id", self.task.kind.parse());
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
                    faults.push(&format!("/{}", term.field), term.code, term.rule);
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
            faults.push("/fee_tiers", "out_of_range", rule);
        }
        let coins = amounts.iter().enumerate().filter_map(|(index, amount)| {
            let pointer = format!("/fee_tiers/{index}");
            faults.check(&pointer, "out_of_range", Coins::new(*amount))
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
            faults.push(pointer, "not_supported_yet", "is not supported yet");
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ContestView {
    contest_id: String,
    title: String,
    room_id: String,
    fee: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fee_tiers: Vec<u64>,
    task: TaskView,
    payout: PayoutView,
    rake_bps: u16,
    guaranteed_pool: u64,
    claim_mode: &'static str,
    no_winner: &'static str,
    remainder: &'static str,
    unclaimed: &'static str,
    grace_s: i64,
    signup_opens_at: String,
    signup_closes_at: String,
    tasks_end_at: String,
    claim_closes_at: String,
    pub(crate) phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settlement: Option<SettlementView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims_end_at: Option<String>,
    created_at: String,
}

#[derive(Serialize)]
struct TaskView {
    kind: String,
    target: u64,
}

#[derive(Serialize)]
struct PayoutView {
    rule: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commitment: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct SettlementView {
    pool: u64,
    rake: u64,
    finishers: u64,
    weight_sum: u128,
    frozen_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl ContestView {
    pub(crate) fn new(contest: &Contest, now: UnixMillis) -> Self {
        use domain::contest::Phase;
        let terms = &contest.terms;
        let cancel_reason = match &contest.phase {
            Phase::Cancelling(reason, _) | Phase::Cancelled(reason, _) => Some(reason.name()),
            _ => None,
        };
        Self {
            contest_id: contest.id.to_string(),
            title: contest.title.clone(),
            room_id: terms.room_id.to_string(),
            fee: terms.fee.get(),
            fee_tiers: terms.fee_tiers.iter().map(|tier| tier.get()).collect(),
            task: TaskView {
                kind: terms.task.kind.to_string(),
                target: terms.task.target,
            },
            payout: PayoutView {
                rule: terms.rule.name(),
                commitment: contest.secret.map(|secret| secret.commitment().to_string()),
            },
            rake_bps: terms.rake_bps.get(),
            guaranteed_pool: terms.guaranteed_pool.get(),
            claim_mode: terms.claim_mode.name(),
            no_winner: terms.no_winner.name(),
            remainder: terms.remainder.name(),
            unclaimed: terms.unclaimed.name(),
            grace_s: terms.grace_ms / 1_000,
            signup_opens_at: rfc3339(terms.signup_opens_at),
            signup_closes_at: rfc3339(terms.signup_closes_at),
            tasks_end_at: rfc3339(terms.tasks_end_at),
            claim_closes_at: rfc3339(terms.claim_closes_at),
            phase: contest.public_phase(now).name(),
            cancel_reason,
            settlement: contest
                .phase
                .frozen()
                .map(|(totals, at)| SettlementView::new(contest, totals, at)),
            claims_end_at: contest.claims_end_at().map(rfc3339),
            created_at: rfc3339(contest.created_at),
        }
    }
}

impl SettlementView {
    /// The secret of a lucky split is told here, after the freeze, and nowhere before.
    fn new(contest: &Contest, totals: &Frozen<Totals>, frozen_at: UnixMillis) -> Self {
        let Totals {
            pool,
            rake,
            finishers,
            weight_sum,
            ..
        } = *totals.get();
        Self {
            pool: pool.get(),
            rake: rake.get(),
            finishers,
            weight_sum,
            frozen_at: rfc3339(frozen_at),
            position: contest
                .phase
                .credits_closed()
                .map(|closed| closed.position.0),
            secret: contest.secret.map(|secret| secret.reveal().to_string()),
        }
    }
}

/// The body of a signup: the choice of a fee, where there is one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignUpBody {
    pub(crate) fee_tier: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct SignupView {
    signup_id: String,
    contest_id: String,
    user_id: String,
    state: &'static str,
    fee: u64,
    fee_order_id: String,
    task: ProgressView,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prize: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_order_id: Option<String>,
    version: u64,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct ProgressView {
    kind: String,
    target: u64,
    done: u64,
}

impl SignupView {
    pub(crate) fn new(seen: &Seen) -> Self {
        let Seen {
            contest,
            signup,
            done,
        } = seen;
        let prize = signup.state.prize();
        let claim_order = Leg::Prize(signup.contest_id, signup.user_id.clone()).order_id();
        Self {
            signup_id: signup.id.to_string(),
            contest_id: signup.contest_id.to_string(),
            user_id: signup.user_id.to_string(),
            state: signup.state.kind().name(),
            fee: signup.fee.get(),
            fee_order_id: signup.fee_order().to_string(),
            task: ProgressView {
                kind: contest.terms.task.kind.to_string(),
                target: contest.terms.task.target,
                done: *done,
            },
            weight: signup.state.weight().map(domain::payout::Weight::get),
            prize: prize.map(Coins::get),
            claim_order_id: prize.map(|_| claim_order.to_string()),
            version: signup.version,
            created_at: rfc3339(signup.created_at),
            updated_at: rfc3339(signup.updated_at),
        }
    }
}

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct PoolView {
    amount: u64,
    source: &'static str,
    as_of: String,
    finishers: u64,
    estimated_prize: u64,
}

impl From<Pool> for PoolView {
    fn from(
        Pool {
            amount,
            finishers,
            estimated_prize,
            as_of,
        }: Pool,
    ) -> Self {
        Self {
            amount: amount.get(),
            source: "funds",
            as_of: rfc3339(as_of),
            finishers,
            estimated_prize: estimated_prize.get(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantBody {
    pub(crate) amount: u64,
    pub(crate) grant_id: String,
}

#[derive(Serialize)]
pub(crate) struct SandboxAccount {
    pub(crate) user_id: String,
    pub(crate) balance: i64,
}

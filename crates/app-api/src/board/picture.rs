//! What the board shows of one contest, as of one look.

use super::{Board, checks::Checked};
use crate::live::{
    hub::{Look, Source, frame},
    snapshot::{Counted, pace},
};
use domain::{
    contest::{Contest, LegOutcome, Phase, PublicPhase},
    ids::{ContestId, SignupId},
    money::Coins,
    order::OwnLeg,
    signup::{Signup, StateKind},
    time::UnixMillis,
};
use ports::{
    contests::{ContestFilter, StateCount},
    funds::FundsError,
    store::PAGE_MAX,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use usecases::{Failure, count};
use uuid::Uuid;

/// The shortest time between two looks.
const PACE: Duration = Duration::from_millis(300);
/// The longest time between two events, and between looks for a newer contest.
const FRESH: Duration = Duration::from_secs(2);
/// How long to wait when something does not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Lines of the feed.
const FEED: usize = 15;
/// The most signups that are looked through for the feed; of a larger contest only the latest.
const FEED_LOOK: usize = 2 * PAGE_MAX;
/// How far back the latest go, in milliseconds.
const LATEST_MS: i64 = 10_000;

/// The states of the main line, in its order, and the exits.
pub(crate) const MAIN_LINE: [StateKind; 6] = [
    StateKind::Initialized,
    StateKind::Paid,
    StateKind::InProgress,
    StateKind::Completed,
    StateKind::Claiming,
    StateKind::Shared,
];
pub(crate) const EXITS: [StateKind; 5] = [
    StateKind::Missed,
    StateKind::Forfeited,
    StateKind::Expired,
    StateKind::Refunding,
    StateKind::Refunded,
];

/// One line of the funnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// Signups in this state now.
    pub(crate) here: u64,
    /// Signups that are known to have come this far.
    pub(crate) reached: u64,
}

/// Coins in and out of the pool account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Money {
    pub(crate) fees: u64,
    pub(crate) guarantee: u64,
    pub(crate) carry: u64,
    pub(crate) prizes: u64,
    pub(crate) refunds: u64,
    pub(crate) rake: u64,
    /// Sweep, rollover and what of the guarantee was not needed.
    pub(crate) returned: u64,
    /// What the funds system says is in the account.
    pub(crate) left: u64,
    /// Prizes that are decided and not paid.
    pub(crate) to_pay: u64,
    /// In the account already, while no row says so yet; none once a contest is over.
    pub(crate) moving_in: u64,
    /// Out of it already, likewise.
    pub(crate) moving_out: u64,
}

impl Money {
    /// What came in.
    pub(crate) const fn total_in(&self) -> u64 {
        self.fees + self.guarantee + self.carry + self.moving_in
    }

    /// What went out, and what is left.
    pub(crate) const fn total_out(&self) -> u64 {
        self.prizes + self.refunds + self.rake + self.returned + self.left + self.moving_out
    }

    /// Rows and ledger are read one after the other, and coins move before their rows say so: what
    /// lies between them is on its way. When all is over nothing is, and a difference stays one.
    const fn with_what_moves(self, is_over: bool) -> Self {
        if is_over {
            return self;
        }
        Self {
            moving_in: self.total_out().saturating_sub(self.total_in()),
            moving_out: self.total_in().saturating_sub(self.total_out()),
            ..self
        }
    }
}

/// One line of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Move {
    pub(crate) user: String,
    pub(crate) state: &'static str,
    #[serde(skip)]
    pub(crate) kind: StateKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prize: Option<u64>,
    pub(crate) at_ms: i64,
}

/// The whole picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Picture {
    pub(crate) contest_id: String,
    pub(crate) phase: &'static str,
    #[serde(skip)]
    pub(crate) public_phase: PublicPhase,
    /// When this phase began, and when it ends as far as is known.
    pub(crate) phase_from_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phase_to_ms: Option<i64>,
    pub(crate) pool: u64,
    pub(crate) is_frozen: bool,
    pub(crate) signups: u64,
    pub(crate) finishers: u64,
    pub(crate) estimated_prize: u64,
    pub(crate) funnel: BTreeMap<&'static str, Step>,
    pub(crate) money: Money,
    pub(crate) feed: Vec<Move>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checks: Option<Arc<Checked>>,
}

#[derive(Serialize)]
struct Event<'a> {
    server_ms: i64,
    /// The newest contest there is.
    newest: Option<String>,
    #[serde(flatten)]
    picture: Option<&'a Picture>,
}

/// How many signups have come at least as far as `state`, of those of whom it is known.
fn reached(counts: &[StateCount], state: StateKind) -> u64 {
    use StateKind::{
        Claiming, Completed, Expired, Forfeited, InProgress, Initialized, Missed, Paid, Shared,
    };
    match state {
        Initialized => count(counts, StateKind::ALL),
        Paid => counts
            .iter()
            .filter(|count| !matches!(count.state, Initialized | Expired))
            .map(|count| count.signups)
            .sum(),
        InProgress => count(
            counts,
            &[InProgress, Completed, Claiming, Shared, Missed, Forfeited],
        ),
        Completed => count(counts, &[Completed, Claiming, Shared, Forfeited]),
        Claiming => count(counts, &[Claiming, Shared]),
        exit => count(counts, &[exit]),
    }
}

fn coins(counts: &[StateCount], of: fn(&StateCount) -> Coins, states: &[StateKind]) -> u64 {
    let wanted = counts.iter().filter(|count| states.contains(&count.state));
    wanted.map(|count| of(count).get()).sum()
}

fn money(contest: &Contest, counts: &[StateCount], left: u64) -> Money {
    let applied = |leg: OwnLeg| {
        let leg = contest.legs.get(&leg);
        leg.filter(|leg| matches!(leg.outcome, LegOutcome::Applied(_)))
            .map_or(0, |leg| leg.amount.get())
    };
    let paid: Vec<_> = StateKind::ALL
        .iter()
        .copied()
        .filter(|state| state.is_paid())
        .collect();
    let prizes = coins(counts, |count| count.prizes, &[StateKind::Shared]);
    let decided = match &contest.phase {
        Phase::Listing(_, totals, ..) => totals.get().pool.get(),
        Phase::Claimable(settlement) => settlement.prizes.get(),
        _ => 0,
    };
    Money {
        fees: coins(counts, |count| count.fees, &paid),
        guarantee: applied(OwnLeg::Guarantee),
        carry: applied(OwnLeg::Carry),
        prizes,
        refunds: coins(counts, |count| count.fees, &[StateKind::Refunded]),
        rake: applied(OwnLeg::Rake),
        returned: applied(OwnLeg::GuaranteeReturn)
            + applied(OwnLeg::Sweep)
            + applied(OwnLeg::Rollover),
        left,
        to_pay: decided.saturating_sub(prizes),
        ..Money::default()
    }
    .with_what_moves(contest.phase.kind().is_terminal())
}

/// When the phase that people see began, and when it ends as far as is known.
fn bounds(contest: &Contest, phase: PublicPhase) -> (UnixMillis, Option<UnixMillis>) {
    let terms = &contest.terms;
    match phase {
        PublicPhase::Draft => (contest.created_at, Some(terms.signup_opens_at)),
        PublicPhase::Open => (terms.signup_opens_at, Some(terms.signup_closes_at)),
        PublicPhase::Running => (terms.signup_closes_at, Some(terms.settles_at())),
        PublicPhase::Settling => (terms.settles_at(), None),
        PublicPhase::Claimable => {
            let from = match &contest.phase {
                Phase::Claimable(settlement) => settlement.claimable_at,
                _ => contest.updated_at,
            };
            (from, contest.claims_end_at())
        }
        PublicPhase::Closed | PublicPhase::Cancelling | PublicPhase::Cancelled => {
            (contest.updated_at, None)
        }
    }
}

impl Board {
    /// The newest contest that viewers may see.
    pub(crate) async fn newest(&self) -> Result<Option<ContestId>, Failure> {
        let filter = ContestFilter::default();
        let page = self
            .contests
            .ports()
            .contests
            .list(&filter, None, 1)
            .await?;
        Ok(page.items.first().map(|contest| contest.id))
    }

    /// What is shown of a contest; the checks are added by whoever has them.
    pub(crate) async fn picture(&self, contest: &Contest) -> Result<(Picture, u64), Failure> {
        let ports = self.contests.ports();
        let counted = Counted::of(&self.contests, contest).await?;
        let counts = &counted.counts;
        let left = match ports.funds.balance(&contest.pool_account()).await {
            Ok(balance) => u64::try_from(balance.amount).unwrap_or(0),
            Err(FundsError::UnknownAccount(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        let signups = count(counts, StateKind::ALL);
        let now = ports.clock.now();
        let public_phase = contest.public_phase(now);
        let (from, to) = bounds(contest, public_phase);
        let step = |state: &StateKind| {
            let step = Step {
                here: count(counts, &[*state]),
                reached: reached(counts, *state),
            };
            (state.name(), step)
        };
        let picture = Picture {
            contest_id: contest.id.to_string(),
            phase: public_phase.name(),
            public_phase,
            phase_from_ms: from.0,
            phase_to_ms: to.map(|to| to.0),
            pool: counted.pool.amount.get(),
            is_frozen: contest.phase.frozen().is_some(),
            signups,
            finishers: reached(counts, StateKind::Completed),
            estimated_prize: counted.pool.estimated_prize.get(),
            funnel: StateKind::ALL.iter().map(step).collect(),
            money: money(contest, counts, left),
            feed: self.feed(contest.id, signups, now).await?,
            checks: None,
        };
        Ok((picture, signups))
    }

    /// The latest moves. A contest of many signups is not read through for them: then it is the
    /// latest signups whose moves are shown.
    async fn feed(
        &self,
        id: ContestId,
        signups: u64,
        now: UnixMillis,
    ) -> Result<Vec<Move>, Failure> {
        let all = usize::try_from(signups).is_ok_and(|signups| signups <= FEED_LOOK);
        let mut after = (!all).then(|| made_at(now.plus(-LATEST_MS)));
        let mut found: Vec<Signup> = Vec::new();
        for _ in 0..FEED_LOOK / PAGE_MAX {
            let signups = &self.contests.ports().signups;
            let page = signups.page(id, &[], after, PAGE_MAX).await?;
            found.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.sort_by(|one, other| {
            let key = |signup: &Signup| (signup.updated_at, signup.id);
            key(other).cmp(&key(one))
        });
        let moves = found.iter().take(FEED).map(|signup| {
            let kind = signup.state.kind();
            Move {
                user: signup.user_id.to_string(),
                state: kind.name(),
                kind,
                prize: signup.state.prize().map(Coins::get),
                at_ms: signup.updated_at.0,
            }
        });
        Ok(moves.collect())
    }
}

/// The smallest id that a signup made at `at` could have: ids carry their time.
fn made_at(at: UnixMillis) -> SignupId {
    let millis = u128::try_from(at.0).unwrap_or(0) & ((1 << 48) - 1);
    SignupId(Uuid::from_u128(millis << 80))
}

/// Looks at one contest for the board, or, without one, for the first that there is.
pub(crate) struct BoardSource {
    board: Arc<Board>,
    id: Option<ContestId>,
    sent: Option<(Picture, Option<ContestId>, Instant)>,
    checks: Option<Arc<Checked>>,
    checking: JoinSet<Arc<Checked>>,
}

impl BoardSource {
    pub(crate) fn new(board: Arc<Board>, id: Option<ContestId>) -> Self {
        Self {
            board,
            id,
            sent: None,
            checks: None,
            checking: JoinSet::new(),
        }
    }

    /// Takes what the check beside found, and has it begin anew.
    fn check(&mut self, id: ContestId, signups: u64) {
        while let Some(done) = self.checking.try_join_next() {
            match done {
                Ok(checked) => self.checks = Some(checked),
                Err(crash) => tracing::error!(
                    error = &crash as &dyn std::error::Error,
                    "a check of the board's contest crashed"
                ),
            }
        }
        if self.checking.is_empty() {
            let board = Arc::clone(&self.board);
            self.checking
                .spawn(async move { board.checks.of(id, signups).await });
        }
    }

    async fn try_look(&mut self, watched: usize) -> Result<Look, Failure> {
        let started = Instant::now();
        let newest = self.board.newest().await?;
        let now = self.board.contests.ports().clock.now();
        let contest = match self.id {
            Some(id) => self.board.contests.visible(id).await?,
            None => None,
        };
        let picture = match &contest {
            Some(contest) => {
                let (mut picture, signups) = self.board.picture(contest).await?;
                self.check(contest.id, signups);
                picture.checks.clone_from(&self.checks);
                Some(picture)
            }
            None => None,
        };
        let is_stale = match (&self.sent, &picture) {
            (Some((sent, then, at)), Some(picture)) => {
                sent != picture || *then != newest || at.elapsed() >= FRESH
            }
            _ => true,
        };
        let event = Event {
            server_ms: now.0,
            newest: newest.map(|id| id.to_string()),
            picture: picture.as_ref(),
        };
        let event = if is_stale {
            let json = serde_json::to_string(&event).ok();
            json.map(|json| frame(self.board.ids.next(now.0), &json))
        } else {
            None
        };
        let least = match picture {
            Some(picture) => {
                let is_over = matches!(
                    picture.public_phase,
                    PublicPhase::Closed | PublicPhase::Cancelled
                );
                if event.is_some() {
                    self.sent = Some((picture, newest, Instant::now()));
                }
                if is_over { FRESH } else { PACE }
            }
            None => FRESH / 2,
        };
        Ok(Look {
            event,
            again: Some(pace(started.elapsed(), watched, least)),
        })
    }
}

impl Source for BoardSource {
    async fn look(&mut self, watched: usize) -> Look {
        self.try_look(watched).await.unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the board could not be filled"
            );
            Look {
                event: None,
                again: Some(AFTER_FAILURE),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_fills_the_gap_until_all_is_over() {
        let paying = Money {
            fees: 100,
            prizes: 30,
            left: 57,
            ..Money::default()
        };
        let moving = paying.with_what_moves(false);
        assert_eq!((moving.moving_in, moving.moving_out), (0, 13));
        let charging = Money { left: 90, ..paying }.with_what_moves(false);
        assert_eq!((charging.moving_in, charging.moving_out), (20, 0));
        for money in [moving, charging] {
            assert_eq!(money.total_in(), money.total_out());
        }
        let over = paying.with_what_moves(true);
        assert_ne!(over.total_in(), over.total_out());
    }

    #[test]
    fn ids_begin_with_their_time() {
        let at = UnixMillis(1_700_000_000_123);
        let id = made_at(at).to_string();
        assert_eq!(id, "018bcfe5-687b-0000-0000-000000000000");
        assert!(made_at(at.plus(1)) > made_at(at));
    }
}

//! The loop around `due` and `apply`: take the step that is due, perform it through a port, apply
//! the fact, save it, until nothing is due or the outside world has to be waited for.
//!
//! What follows from one another without moving money shares one commit. Before money moves, the
//! row that says so is committed; so a crash on any line leaves a row from which anybody can go
//! on.

use crate::{Contests, Failure};
use domain::{
    contest::Contest,
    due::{Step, due, wake_at, window},
    effects::effects,
    finding::FindingClass,
    judge::{self, Progress},
    settlement::SheetLine,
    signup::{Claimant, Fact, FeeTry, Signup, State, StateKind},
    switch::Switch,
    time::Window,
    transfer::{Position, Transfer},
};
use ports::{
    failpoint::{self, Failpoint},
    leases::Lease,
    signups::SignupCommit,
    store::Committed,
    tasks::Assigned,
};

/// The most steps of one drive. Every signup rests after fewer; more is a bug.
const STEPS_MAX: usize = 32;

/// How far a drive goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until nothing is due.
    Rest,
    /// The same, and a question without an answer changes nothing: it is asked again at the next
    /// pass, and the row's own time to be taken up is not put off.
    Swept,
    /// The same, but money that has not been sent is not sent: a read must not charge anybody.
    MoneyMoves,
    /// Until the task is assigned: a new signup has nothing to be read yet.
    Enrolled,
}

/// What a drive is given: answers that were read for many signups at once, and the lease under which it
/// is done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefetched {
    /// What was found of the fee's order, and where.
    pub(crate) fee: Option<(Option<Transfer>, Position)>,
    /// The progress.
    pub(crate) progress: Option<Progress>,
    /// None where somebody asked for it.
    pub(crate) under: Option<Lease>,
}

impl Prefetched {
    /// No answers, under a lease.
    pub(crate) fn under(lease: Option<&Lease>) -> Self {
        Self {
            under: lease.cloned(),
            ..Self::default()
        }
    }
}

/// Where a drive ended.
#[derive(Clone, Debug)]
pub(crate) struct Driven {
    /// The signup as last saved.
    pub(crate) signup: Signup,
    /// The progress, if it was read on the way.
    pub(crate) progress: Option<Progress>,
    /// True if the last change came outside its window and was not saved.
    pub(crate) is_outside_window: bool,
}

/// A signup on its way: as it was last saved, and as it is becoming.
struct Journey {
    saved: Signup,
    current: Signup,
    trail: Vec<StateKind>,
    window: Window,
}

impl Journey {
    fn new(signup: Signup) -> Self {
        Self {
            saved: signup.clone(),
            current: signup,
            trail: Vec::new(),
            window: Window::ALWAYS,
        }
    }

    fn apply(&mut self, fact: Fact, contest: &Contest) -> Result<(), Failure> {
        let limits = window(&fact, contest);
        let next = self.current.clone().apply(fact)?;
        if next.state.kind() != self.current.state.kind() {
            self.trail.push(next.state.kind());
        }
        self.window = Window {
            not_before: self.window.not_before.max(limits.not_before),
            before: match (self.window.before, limits.before) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
        };
        self.current = next;
        Ok(())
    }

    /// Goes on from the row as another left it. A refusal that stands there may be older than what
    /// was learnt here: then the order is looked up again, or a viewer who was charged would be
    /// told that they were not.
    fn overtaken(self, fresh: Signup, contest: &Contest) -> Result<Self, Failure> {
        let lost = self.current;
        let mut journey = Self::new(fresh);
        if is_refused(&journey.current) && !is_refused(&lost) {
            journey.apply(Fact::FeeUnknown, contest)?;
        } else if is_parked(&journey.current) && !is_parked(&lost) {
            journey.apply(Fact::PaymentUnknown, contest)?;
        }
        Ok(journey)
    }

    /// True if a reader would see something else than what is saved.
    fn is_unsaved(&self) -> bool {
        self.current.clone().recalled() != self.saved.clone().recalled()
    }
}

/// What became of saving.
enum Saved {
    Yes,
    OutsideWindow(Box<Signup>),
    Overtaken(Box<Signup>),
}

impl Contests {
    /// Drives a signup. `asked` is what somebody asks for, a fact like any other.
    pub(crate) async fn drive(
        &self,
        contest: &Contest,
        signup: Signup,
        asked: Option<Fact>,
        until: Until,
        mut prefetched: Prefetched,
    ) -> Result<Driven, Failure> {
        let mut journey = Journey::new(signup);
        let mut progress = None;
        if let Some(fact) = asked {
            journey.apply(fact, contest)?;
        }
        // True once the outside world has to be waited for.
        let mut waits = false;
        // True where the state that was entered must be durable before anybody is asked again.
        let mut entered = false;
        for _ in 0..STEPS_MAX {
            let is_enrolled =
                until == Until::Enrolled && journey.current.state.kind() == StateKind::InProgress;
            let step = due(&journey.current, contest, self.ports.clock.now());
            let stops = waits
                || is_enrolled
                || step == Step::Rest
                // A prize is forfeited by a sweep alone: before it was counted how long claims were off.
                || (until != Until::Swept && step == Step::Decide(Fact::ClaimsEnded))
                || (until == Until::MoneyMoves && step.moves_money());
            if (stops || entered || step.moves_money()) && journey.is_unsaved() {
                match self.save(contest, &mut journey, &prefetched).await? {
                    Saved::Yes => {}
                    Saved::OutsideWindow(signup) => return Ok(outside(*signup, progress)),
                    Saved::Overtaken(fresh) => {
                        (waits, entered) = (false, false);
                        journey = journey.overtaken(*fresh, contest)?;
                        continue;
                    }
                }
            }
            if stops {
                return Ok(Driven {
                    signup: journey.current,
                    progress,
                    is_outside_window: false,
                });
            }
            let before = journey.current.clone();
            // To count what was only asked as a try would put the compensation off for as long as
            // somebody keeps asking, and write a row each time.
            let is_noted = step.moves_money() || matches!(until, Until::Rest | Until::Enrolled);
            match self
                .perform(contest, &before, step, &mut prefetched, &mut progress)
                .await?
            {
                Some(fact) if !is_noted && fact.is_unanswered() => waits = true,
                Some(fact) => {
                    waits = fact.says_wait();
                    journey.apply(fact, contest)?;
                    waits |= journey.current == before;
                }
                None => waits = true,
            }
            entered = journey.current.state.kind() != before.state.kind()
                && !self.ours_comes_next(contest, &journey.current);
        }
        Err(Failure::Contended(journey.saved.id.to_string()))
    }

    /// True if the next step is ours and idempotent, so that its fact may share the commit.
    fn ours_comes_next(&self, contest: &Contest, signup: &Signup) -> bool {
        match due(signup, contest, self.ports.clock.now()) {
            Step::AssignTask | Step::Decide(_) => true,
            Step::Rest
            | Step::ChargeFee
            | Step::LookUpFee
            | Step::ReadProgress
            | Step::DrawPrize
            | Step::Pay
            | Step::LookUpPayment => false,
        }
    }

    /// Performs a step; none where there is nothing to apply.
    async fn perform(
        &self,
        contest: &Contest,
        signup: &Signup,
        step: Step,
        prefetched: &mut Prefetched,
        seen: &mut Option<Progress>,
    ) -> Result<Option<Fact>, Failure> {
        if step.moves_money() {
            failpoint::pass(Failpoint::PaymentDue);
        }
        let fact = match step {
            Step::Rest => None,
            Step::Decide(fact) => Some(fact),
            Step::ChargeFee => Some(self.charge(contest, signup).await),
            Step::LookUpFee => Some(match prefetched.fee.take() {
                Some((found, position)) => self.fee_answer(contest, signup, found, position).await,
                None => self.look_up_fee(contest, signup).await,
            }),
            Step::AssignTask => Some(match self.ports.tasks.assign(contest, signup).await {
                Assigned::Assigned => Fact::TaskAssigned,
                Assigned::NotSent | Assigned::Unknown => Fact::TaskUnanswered,
            }),
            Step::ReadProgress => {
                let progress = match prefetched.progress.take() {
                    Some(progress) => Some(progress),
                    None => self.ask_progress(contest, signup).await,
                };
                *seen = progress;
                progress.map(|progress| judge::progress(contest, signup, progress))
            }
            Step::DrawPrize if self.is_on_for(Switch::AutomaticPayout, contest).is_err() => None,
            Step::DrawPrize => Some(
                self.draw_prize(contest, signup, Claimant::House, None)
                    .await?,
            ),
            Step::Pay => self.pay(signup).await,
            Step::LookUpPayment => self.look_up_payment(signup).await,
        };
        match &fact {
            Some(Fact::FeeApplied(_) | Fact::FeeRefused(_)) => {
                failpoint::pass(Failpoint::FeeAnswered)
            }
            Some(Fact::PaymentApplied(_) | Fact::PaymentRefused(_)) => {
                failpoint::pass(Failpoint::PaymentAnswered);
            }
            _ => {}
        }
        Ok(fact)
    }

    /// The progress; none while nobody can say it. The viewer's row stands all the same.
    async fn ask_progress(&self, contest: &Contest, signup: &Signup) -> Option<Progress> {
        let asked = std::slice::from_ref(signup);
        let answer = self.ports.tasks.progress(contest, asked).await;
        let mut progress = answer
            .inspect_err(|error| {
                tracing::warn!(
                    signup.id = %signup.id, contest.id = %contest.id,
                    error = error as &dyn std::error::Error, "the progress cannot be read"
                );
            })
            .ok()?;
        progress.pop()
    }

    /// The finisher's line of the sheet. Every finisher of a claimable contest has one: a line that
    /// was read already is the line, and one that was not there may have been written since.
    pub(crate) async fn draw_prize(
        &self,
        contest: &Contest,
        signup: &Signup,
        claimant: Claimant,
        read: Option<SheetLine>,
    ) -> Result<Fact, Failure> {
        let line = match read {
            Some(line) => Some(line),
            None => {
                let lines = &self.ports.contests;
                lines.sheet_line(contest.id, signup.id).await?
            }
        };
        match line {
            Some(line) => {
                failpoint::pass(Failpoint::PrizeDrawn);
                Ok(Fact::PrizeDrawn(line, claimant))
            }
            None => {
                let evidence = "completed, but not on the settlement sheet".to_owned();
                self.raise(
                    FindingClass::Stuck,
                    contest.id,
                    signup.id.to_string(),
                    evidence.clone(),
                )
                .await;
                Err(Failure::Books(evidence))
            }
        }
    }

    async fn save(
        &self,
        contest: &Contest,
        journey: &mut Journey,
        given: &Prefetched,
    ) -> Result<Saved, Failure> {
        let Journey {
            saved,
            current,
            trail,
            window,
        } = journey;
        let mut trail = std::mem::take(trail);
        if trail.is_empty() {
            // Every write has its line of history, also one that only records how a try ended.
            trail.push(current.state.kind());
        }
        let was_parked = is_parked(saved);
        current.updated_at = self.ports.clock.now();
        let commit = SignupCommit {
            expected: saved.version,
            window: std::mem::take(window),
            signup: current.clone(),
            trail,
            wake_at: wake_at(current, self.ports.clock.now()),
            effects: effects(Some(saved), current),
            under: given.under.clone(),
        };
        match self.ports.signups.commit(commit).await? {
            Committed::Applied => {
                failpoint::pass(Failpoint::SignupCommitted);
                current.version = saved.version + 1;
                *saved = current.clone();
                self.drop_record(contest, saved).await;
                if is_parked(saved) && !was_parked {
                    self.raise_parked(saved).await;
                }
                if was_parked && !is_parked(saved) {
                    self.withdraw(FindingClass::Stuck, saved.contest_id, &saved.id.to_string())
                        .await;
                }
                Ok(Saved::Yes)
            }
            Committed::GuardFailed => {
                let Some(fresh) = self.ports.signups.get(saved.id).await? else {
                    return Err(Failure::Gone(saved.id.to_string()));
                };
                Ok(if fresh.version == saved.version {
                    Saved::OutsideWindow(Box::new(fresh))
                } else {
                    Saved::Overtaken(Box::new(fresh))
                })
            }
            Committed::Missing => Err(Failure::Gone(saved.id.to_string())),
            Committed::Fenced => Err(Failure::Fenced),
        }
    }
}

fn is_refused(signup: &Signup) -> bool {
    matches!(signup.state, State::Initialized(FeeTry::Refused(_)))
}

fn is_parked(signup: &Signup) -> bool {
    signup.parked().is_some()
}

fn outside(signup: Signup, progress: Option<Progress>) -> Driven {
    Driven {
        signup,
        progress,
        is_outside_window: true,
    }
}

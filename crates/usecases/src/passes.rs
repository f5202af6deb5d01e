//! Passes over contests: which of them is driven, by whom, and when it is looked at again. What a
//! step does is in [`crate::settle`].

use crate::{
    Contests, Failure,
    crash::caught,
    hold::Hold,
    settle::{Stepped, Turn},
};
use domain::{
    contest::{Contest, Phase},
    finding::FindingClass,
    ids::ContestId,
    lifecycle::{ContestStep, due},
    time::UnixMillis,
};
use futures_util::{StreamExt, stream};
use ports::findings::FindingFilter;

/// The most contests of one round: more than a deployment has under way. A round takes all of them,
/// so that those that only wait cannot stand in the way of others (hazard H12).
const ROUND_MAX: usize = 100_000;
/// The most contests that one round drives at once.
const CONTESTS_AT_ONCE: usize = 4;
/// The most steps of one pass; a contest that needs more goes on in the next.
const STEPS_MAX: usize = 10_000;
/// How long a contest that cannot go on, or only waits for viewers, is left alone, at first and at
/// most, in milliseconds.
const PACE_MS: (i64, i64) = (500, 5_000);

/// How a pass over a contest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Nothing is due before this time, or before somebody acts.
    Rests(Option<UnixMillis>),
    /// Something outside has to be waited for.
    Waits,
    /// Another node is at it.
    Elsewhere,
}

/// How long a contest may wait for something outside until a person is called, in milliseconds.
const STUCK_MS: i64 = 600_000;
/// What the finding about it is about.
pub(crate) const CONTEST: &str = "contest";

impl Contests {
    /// Drives every contest whose time has come and that nobody of this process is at; how many.
    ///
    /// # Errors
    /// [`Failure::Store`] when they cannot be listed. A contest that fails does not stop the
    /// others.
    pub async fn run_contests(&self) -> Result<usize, Failure> {
        let passes = self.due_contests().await?;
        Ok(stream::iter(passes)
            .map(|contest| self.pass(contest))
            .buffer_unordered(CONTESTS_AT_ONCE)
            .count()
            .await)
    }

    /// The contests whose time has come and that nobody of this process is at. From now on they are
    /// left alone: each must be passed.
    pub(crate) async fn due_contests(&self) -> Result<Vec<Contest>, Failure> {
        let mut awake = self.ports.contests.awake(ROUND_MAX).await?;
        let now = self.ports.clock.now();
        self.contest_pace.held(now);
        // However long its pass takes.
        let until = UnixMillis(i64::MAX);
        awake.retain(|contest| self.contest_pace.take(contest.id, now, until));
        Ok(awake)
    }

    /// Drives one of the [`Self::due_contests`] for as long as it goes on.
    pub(crate) async fn pass(&self, contest: Contest) {
        let id = contest.id;
        let at_latest = match caught(self.run_leased(&contest)).await {
            Ok(Pass::Rests(at)) => {
                self.waiting.over(id);
                at
            }
            Ok(Pass::Elsewhere) => {
                self.waiting.over(id);
                None
            }
            Ok(Pass::Waits) => {
                self.tell_if_stuck(&contest).await;
                None
            }
            Err(error) => {
                self.tell_if_stuck(&contest).await;
                tracing::warn!(
                    contest.id = %id, error = &error as &dyn std::error::Error,
                    "a contest could not go on; it is tried again"
                );
                None
            }
        };
        let now = self.ports.clock.now();
        self.contest_pace.wait(id, now, PACE_MS, at_latest);
    }

    /// Calls a person for a contest that has been waiting for long.
    async fn tell_if_stuck(&self, contest: &Contest) {
        let id = contest.id;
        if self.waiting.since(id, self.ports.clock.now()) < STUCK_MS {
            return;
        }
        // One whose cause is told already calls nobody twice.
        let filter = FindingFilter::open_of(id);
        let told = self.ports.findings.list(filter, None, 1).await;
        if told.is_ok_and(|open| !open.items.is_empty()) {
            return;
        }
        // With its phase: who resolves this one says nothing about a later one.
        let phase = contest.phase.kind().name();
        let evidence = format!("no step has been possible for ten minutes while it was {phase}");
        self.raise(FindingClass::Stuck, id, CONTEST.to_owned(), evidence)
            .await;
    }

    /// Drives one contest that was found awake, unless another node is at it.
    async fn run_leased(&self, contest: &Contest) -> Result<Pass, Failure> {
        let id = contest.id;
        if contest.stops.is_stopped() && self.review_stop(id).await? {
            return Ok(Pass::Waits);
        }
        let mut contest = contest.clone();
        let is_claimable = matches!(contest.phase, Phase::Claimable(_));
        if is_claimable && self.count_claims_off(id).await? {
            contest = match self.ports.contests.get(id).await? {
                Some(contest) => contest,
                None => return Err(Failure::Gone(id.to_string())),
            };
        }
        for _ in 0..STEPS_MAX {
            match self.next_step(&contest).await? {
                // One that only waits costs no lease.
                (_, ContestStep::Rest(until)) => return Ok(Pass::Rests(until)),
                (_, ContestStep::Sweep(states)) => {
                    match self.sweep_shared(&contest, states).await? {
                        // Whoever is at the rest may be stuck with it.
                        None | Some(Stepped::Stuck) => return Ok(Pass::Waits),
                        Some(Stepped::On | Stepped::Overtaken) => {
                            self.contest_pace.moved(id);
                            self.waiting.over(id);
                        }
                    }
                }
                _ => {
                    let Some(hold) = self.lease(format!("contest/{id}")).await? else {
                        return Ok(Pass::Elsewhere);
                    };
                    let mut hold = Some(hold);
                    let outcome = self.run_steps(id, &mut hold).await;
                    if let Some(hold) = hold {
                        self.let_go(hold).await;
                    }
                    if let Some(pass) = outcome? {
                        return Ok(pass);
                    }
                }
            }
            contest = match self.ports.contests.get(id).await? {
                Some(contest) => contest,
                None => return Err(Failure::Gone(id.to_string())),
            };
        }
        Ok(Pass::Waits)
    }

    /// Drives one contest until nothing is due or something has to be waited for, because somebody
    /// asked for it: whoever else is at it, two at once do no harm.
    ///
    /// # Errors
    /// [`Failure`]; the contest goes on from where it is at the next pass.
    pub async fn run_contest(&self, id: ContestId) -> Result<Pass, Failure> {
        self.count_claims_off(id).await?;
        // Without a lease nothing is left to be shared.
        Ok(self.run_steps(id, &mut None).await?.unwrap_or(Pass::Waits))
    }

    /// The step that is due, and the store's time by which it is.
    async fn next_step(&self, contest: &Contest) -> Result<(UnixMillis, ContestStep), Failure> {
        let now = self.ports.contests.now().await?;
        let presence = self.ports.contests.presence(contest.id).await?;
        let step = due(contest, presence, now);
        Ok((now, self.unless_switched_off(contest, step, now)))
    }

    /// Takes step after step; none where a sweep is due that others can share: under a lease of the whole
    /// contest they could not.
    async fn run_steps(
        &self,
        id: ContestId,
        hold: &mut Option<Hold>,
    ) -> Result<Option<Pass>, Failure> {
        // The version at which the last step was overtaken.
        let mut overtaken = None;
        for _ in 0..STEPS_MAX {
            if !self.keep(hold).await? {
                return Ok(Some(Pass::Elsewhere));
            }
            let Some(contest) = self.ports.contests.get(id).await? else {
                return Err(Failure::Gone(id.to_string()));
            };
            let (now, step) = self.next_step(&contest).await?;
            let version = contest.version;
            let turn = Turn {
                contest,
                now,
                under: hold.as_ref().map(Hold::lease).cloned(),
            };
            let stepped = match step {
                ContestStep::Rest(until) => return Ok(Some(Pass::Rests(until))),
                ContestStep::Sweep(_) if hold.is_some() => return Ok(None),
                step => self.take(turn, step, hold).await?,
            };
            match stepped {
                Stepped::On => {
                    self.contest_pace.moved(id);
                    self.waiting.over(id);
                    overtaken = None;
                }
                // Nobody has overtaken who changed nothing: the lease is older than what was
                // written, or two reads do not agree. To try at once would never end.
                Stepped::Overtaken if overtaken == Some(version) => {
                    tracing::error!(
                        contest.id = %id, contest.version = version,
                        "a step was refused twice though nothing has changed; it is tried again later"
                    );
                    return Ok(Some(Pass::Waits));
                }
                Stepped::Overtaken => overtaken = Some(version),
                Stepped::Stuck => return Ok(Some(Pass::Waits)),
            }
        }
        Ok(Some(Pass::Waits))
    }
}

//! The freeze override: an operator says, by naming findings and with a reason, that a contest whose books
//! do not balance is settled all the same.

use crate::{
    Contests, Failure,
    drive::{Prefetched, Until},
    payments::within,
    read::Seen,
    settle::{BOOKS, LEFT, Stepped, Turn},
};
use domain::{
    contest::{Contest, ContestFact, Phase, PublicPhase},
    finding::FindingClass,
    ids::ContestId,
    judge,
    lifecycle::{ContestStep, due},
    settlement::gap,
    signup::{Fact, Signup, State, StateKind},
};
use ports::{
    findings::{Finding, Resolution},
    funds::coins,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The most findings that one override names.
pub const FINDINGS_MAX: usize = 1_000;
/// The signups of one page.
const PAGE: usize = 1_000;
/// The most times that it is tried again because the contest changed meanwhile.
const TRIES_MAX: usize = 16;

/// What became of an override.
#[derive(Clone, Debug)]
pub enum Overridden {
    /// It holds.
    Yes(Accepted),
    /// There is no such contest.
    NoContest,
    /// Nothing is to be overridden in this phase.
    NotSettling(PublicPhase),
    /// This one is no finding of the contest.
    NoFinding(Uuid),
    /// This one is no longer true.
    Settled(Finding),
    /// The pool holds so many coins more than the rows allow, below zero less, and not what was expected.
    GapIs(i64),
}

/// What an override decided.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The contest after it.
    pub contest: Contest,
    /// The signups that were blocked, as they are now.
    pub signups: Vec<Seen>,
    /// What it named, as it is now.
    pub findings: Vec<Finding>,
}

/// Whether a finding says that the pool account holds something else than it should.
fn is_of_pool(finding: &Finding, contest: &Contest) -> bool {
    finding.class == FindingClass::PoolDiffers
        && (is_of_freeze(finding) || finding.subject == contest.pool_account().to_string())
}

/// Whether a freeze or a close has found it.
fn is_of_freeze(finding: &Finding) -> bool {
    [BOOKS, LEFT].contains(&finding.subject.as_str())
}

impl Contests {
    /// Overrides the freeze. The signups that the findings are about, and that were blocked, are decided:
    /// what really moved goes back. If a finding says that the pool differs, what it holds more than the
    /// rows allow, or less, is accepted as it is now: the pool is split from the smaller of the two, and
    /// what is too much leaves with the sweep. Where the operator says what it is `expected` to be, nothing
    /// else is accepted. The findings are resolved with the operator's words; those of a freeze or a close
    /// stay open where it is not known yet how far the pool is off, because fees are on their way back.
    ///
    /// # Errors
    /// [`Failure`]; what was decided until then stays, and a repeat goes on from there.
    pub async fn override_freeze(
        &self,
        id: ContestId,
        named: &[Uuid],
        expected: Option<i64>,
        resolution: &Resolution,
    ) -> Result<Overridden, Failure> {
        let Some(contest) = self.ports.contests.get(id).await? else {
            return Ok(Overridden::NoContest);
        };
        if !matches!(
            contest.phase,
            Phase::Judging(_) | Phase::Cancelling(_, Some(_))
        ) {
            let now = self.ports.contests.now().await?;
            return Ok(Overridden::NotSettling(contest.public_phase(now)));
        }
        let mut findings = Vec::with_capacity(named.len());
        for id in named.iter().collect::<BTreeSet<_>>() {
            match self.ports.findings.finding(*id).await? {
                Some(found) if found.contest_id == contest.id => findings.push(found),
                _ => return Ok(Overridden::NoFinding(*id)),
            }
        }
        // What a person has resolved may still stand in the way; what is no longer true does not.
        let is_over = |one: &&Finding| one.settled_at.is_some() && one.resolution.is_none();
        if let Some(settled) = findings.iter().find(is_over) {
            return Ok(Overridden::Settled(settled.clone()));
        }
        let mut signups = Vec::new();
        for finding in &findings {
            signups.extend(self.unblock(&contest, finding).await?);
        }
        let gap = if findings.iter().any(|finding| is_of_pool(finding, &contest)) {
            self.gap_of(id).await?
        } else {
            None
        };
        if let (Some(gap), Some(expected)) = (gap, expected)
            && gap != expected
        {
            return Ok(Overridden::GapIs(gap));
        }
        // First who and why, which a repeat finds, then what: nothing is accepted that has no name.
        for finding in &mut findings {
            let waits = finding.class == FindingClass::PoolDiffers
                && (!is_of_pool(finding, &contest) || gap.is_none() && is_of_freeze(finding));
            if waits {
                continue;
            }
            self.ports.findings.resolve(finding.id, resolution).await?;
            if let Some(settled) = self.ports.findings.finding(finding.id).await? {
                *finding = settled;
            }
        }
        if let Some(gap) = gap {
            self.accept_gap(id, gap, resolution).await?;
        }
        self.review_stop(id).await?;
        let contest = self.ports.contests.get(id).await?.unwrap_or(contest);
        Ok(Overridden::Yes(Accepted {
            contest,
            signups,
            findings,
        }))
    }

    /// Decides the signup that a finding blocks, if it does.
    async fn unblock(&self, contest: &Contest, finding: &Finding) -> Result<Option<Seen>, Failure> {
        let Some(signup) = self.blocked(contest, finding).await? else {
            return Ok(None);
        };
        let order = signup.fee_order();
        // As of now, credits being closed: whatever stands there stands there for ever.
        let fact = match self.look_up(&[order]).await?.found.pop().flatten() {
            Some(found) if found.content == signup.fee_content() => Fact::FeeApplied(found.receipt),
            Some(found) => judge::fee_override(&signup, &found),
            // Nothing did: the sweep decides it.
            None => return Ok(None),
        };
        let until = Until::Rest;
        let driven = self
            .drive(contest, signup, Some(fact), until, Prefetched::default())
            .await?;
        if matches!(driven.signup.state, State::Initialized(_)) {
            // Somebody else wrote the row meanwhile: the caller comes again.
            return Err(Failure::Contended(driven.signup.id.to_string()));
        }
        Ok(Some(Seen::new(contest.clone(), driven)))
    }

    /// The undecided signup whose fee a finding is about.
    async fn blocked(
        &self,
        contest: &Contest,
        finding: &Finding,
    ) -> Result<Option<Signup>, Failure> {
        let is_it = |signup: &Signup| {
            matches!(signup.state, State::Initialized(_))
                && finding.subject == signup.fee_order().to_string()
        };
        if let Some(user) = &finding.user_id {
            let found = self.ports.signups.find(contest.id, user).await?;
            return Ok(found.filter(is_it));
        }
        // It names nobody: few are undecided by now.
        let mut after = None;
        loop {
            let states = [StateKind::Initialized];
            let signups = &self.ports.signups;
            let page = signups.page(contest.id, &states, after, PAGE).await?;
            if let Some(found) = page.items.into_iter().find(is_it) {
                return Ok(Some(found));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(None),
            }
        }
    }

    /// Accepts that the pool is off by so much.
    async fn accept_gap(
        &self,
        id: ContestId,
        gap: i64,
        resolution: &Resolution,
    ) -> Result<(), Failure> {
        for _ in 0..TRIES_MAX {
            let Some(contest) = self.ports.contests.get(id).await? else {
                return Err(Failure::Gone(id.to_string()));
            };
            if gap == contest.stops.accepted {
                return Ok(());
            }
            let now = self.ports.contests.now().await?;
            let turn = Turn {
                contest,
                now,
                under: None,
            };
            let fact = ContestFact::GapAccepted(gap);
            if let Stepped::On = self.save_contest(turn, fact, Vec::new()).await? {
                tracing::error!(
                    contest.id = %id, gap, by = %resolution.by, reason = resolution.note,
                    "an operator has overridden that the pool differs"
                );
                return Ok(());
            }
        }
        Err(Failure::Contended(id.to_string()))
    }

    /// What the pool holds more than the rows allow, below zero less; none while that is not known.
    async fn gap_of(&self, id: ContestId) -> Result<Option<i64>, Failure> {
        let Some(contest) = &self.ports.contests.get(id).await? else {
            return Err(Failure::Gone(id.to_string()));
        };
        // A fee whose row was lost is its viewer's, and goes back: it is no part of what is accepted.
        if self.adopt_orphans(contest).await? > 0 {
            return Ok(None);
        }
        let account = contest.pool_account();
        let range = |error: domain::money::CoinsOutOfRange| Failure::Books(error.to_string());
        if matches!(contest.phase, Phase::Judging(_)) {
            let census = self.ports.contests.census(contest.id).await?;
            let balance = within(self.ports.funds.balance(&account)).await?;
            let held = coins(&balance)
                .ok_or_else(|| Failure::Books(format!("{account} is below zero")))?;
            return gap(&contest.terms, &census, held).map_err(range);
        }
        // Cancelling: everything that goes back has gone, and this is left.
        let now = self.ports.contests.now().await?;
        let presence = self.ports.contests.presence(contest.id).await?;
        let unstopped = Contest {
            stops: domain::stops::Stops {
                since: None,
                ..contest.stops
            },
            ..contest.clone()
        };
        if due(&unstopped, presence, now) != ContestStep::Close {
            return Ok(None);
        }
        let balance = within(self.ports.funds.balance(&account)).await?;
        // The sweep is fixed once.
        let is_swept = contest.legs.contains_key(&domain::order::OwnLeg::Sweep);
        Ok((!is_swept).then_some(balance.amount))
    }
}

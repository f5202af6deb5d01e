//! The freeze override: an operator says, by naming findings and with a reason, that a contest whose books
//! do not balance is settled all the same.

use crate::{
    Contests, Failure,
    drive::{Prefetched, Until},
    payments::within,
    read::Seen,
    settle::{Stepped, Turn},
};
use domain::{
    contest::{Contest, ContestFact, Phase, PublicPhase},
    finding::FindingClass,
    ids::ContestId,
    judge,
    lifecycle::{ContestStep, due},
    settlement::gap,
    signup::{Fact, State},
};
use ports::{
    findings::{Finding, Resolution},
    funds::coins,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The most findings that one override names.
pub const FINDINGS_MAX: usize = 1_000;
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
    /// This one was settled before.
    Settled(Finding),
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

impl Contests {
    /// Overrides the freeze. The signups that the findings are about, and that were blocked, are decided:
    /// what really moved goes back. If a finding says that the pool differs, what it holds more than the
    /// rows allow, or less, is accepted as it is now: the pool is split from the smaller of the two, and
    /// what is too much leaves with the sweep. The findings are resolved with the operator's words.
    ///
    /// # Errors
    /// [`Failure`]; what was decided until then stays, and a repeat goes on from there.
    pub async fn override_freeze(
        &self,
        id: ContestId,
        named: &[Uuid],
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
        if let Some(settled) = findings.iter().find(|one| one.settled_at.is_some()) {
            return Ok(Overridden::Settled(settled.clone()));
        }
        let mut signups = Vec::new();
        for finding in &findings {
            signups.extend(self.unblock(&contest, finding).await?);
        }
        let differs = |finding: &Finding| finding.class == FindingClass::PoolDiffers;
        if findings.iter().any(differs) {
            self.accept_gap(id, resolution).await?;
        }
        for finding in &mut findings {
            self.ports.findings.resolve(finding.id, resolution).await?;
            if let Some(settled) = self.ports.findings.finding(finding.id).await? {
                *finding = settled;
            }
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
        let Some(user) = &finding.user_id else {
            return Ok(None);
        };
        let Some(signup) = self.ports.signups.find(contest.id, user).await? else {
            return Ok(None);
        };
        let order = signup.fee_order();
        if !matches!(signup.state, State::Initialized(_)) || finding.subject != order.to_string() {
            return Ok(None);
        }
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
        Ok(Some(Seen::new(contest.clone(), driven)))
    }

    /// Accepts what the pool holds beyond the rows, or lacks, once nothing is undecided.
    async fn accept_gap(&self, id: ContestId, resolution: &Resolution) -> Result<(), Failure> {
        for _ in 0..TRIES_MAX {
            let Some(contest) = self.ports.contests.get(id).await? else {
                return Err(Failure::Gone(id.to_string()));
            };
            let now = self.ports.contests.now().await?;
            let Some(gap) = self.gap_of(&contest).await? else {
                return Ok(());
            };
            if gap == contest.stops.accepted {
                return Ok(());
            }
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
    async fn gap_of(&self, contest: &Contest) -> Result<Option<i64>, Failure> {
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

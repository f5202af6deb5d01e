//! What becomes of the differences that a reconciliation has found: each is a finding, and those that
//! can be are repaired, within limits.

use crate::{
    Contests, Failure,
    drive::{Prefetched, Until},
    reconcile::{Bounds, Compared},
    settle::{Stepped, Turn},
};
use domain::{
    contest::{Contest, ContestFact},
    finding::{FindingClass, RepairOutcome},
    ids::{ContestId, UserId},
    notice::NoticeKind,
    order::{Account, OrderId},
    reconcile::{Difference, Repair, booked},
    switch::Switch,
};
use ports::{
    findings::{Finding, FindingFilter, Raised},
    funds::{FundsError, TransferOutcome},
    reconciliations::LoggedRepair,
    store::StoreError,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The findings of one page.
const PAGE: usize = 1_000;
/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// The most times that a stop is tried again because the contest changed meanwhile.
const TRIES_MAX: usize = 16;

/// How the reconciliation is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciling {
    /// How far one comparison goes.
    pub bounds: Bounds,
    /// What one run may repair by itself; none: nothing (the kill switch).
    pub limits: Option<Limits>,
    /// How often the log of a pool account is read on, in milliseconds.
    pub tail_every_ms: i64,
    /// How long after all rows of a contest were looked up at the funds system this begins again, in
    /// milliseconds.
    pub walk_every_ms: i64,
    /// How long after its end a contest's log is still read, in milliseconds.
    pub watched_ms: i64,
}

impl Default for Reconciling {
    fn default() -> Self {
        Self {
            bounds: Bounds::default(),
            limits: Some(Limits::default()),
            tail_every_ms: 30_000,
            walk_every_ms: 600_000,
            watched_ms: 7 * 24 * 3_600_000,
        }
    }
}

/// How much one run repairs by itself. Where more is to be repaired, nothing is: then the log or the
/// database is wrong as a whole, and a person is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most repairs.
    pub repairs: u64,
    /// The most coins that they may move.
    pub coins: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            repairs: 1_000,
            coins: 1_000_000,
        }
    }
}

impl Limits {
    /// What is left after some repairs.
    #[must_use]
    pub const fn less(self, repairs: u64, coins: u64) -> Self {
        Self {
            repairs: self.repairs.saturating_sub(repairs),
            coins: self.coins.saturating_sub(coins),
        }
    }
}

/// What a reconciliation of one contest came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// What differed.
    pub compared: Compared,
    /// The findings that say so, those included that were open before.
    pub findings: Vec<Uuid>,
    /// The orders whose difference was repaired.
    pub repaired: Vec<OrderId>,
    /// The coins that the repairs may have moved.
    pub coins: u64,
    /// True where more was to be repaired than a run may.
    pub is_over_limits: bool,
}

/// On whose behalf repairs are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behalf {
    /// The run.
    pub(crate) run: Option<Uuid>,
    /// The operator.
    pub(crate) by: Option<UserId>,
}

/// A difference and the finding that says it.
type Told = (Difference, Raised);

impl Contests {
    /// Reconciles one contest: writes findings down, settles those that are no longer true, and repairs
    /// what can be repaired within `limits`; without limits nothing is repaired.
    ///
    /// # Errors
    /// [`Failure`] where either side could not be read. A repair that fails leaves its finding open.
    pub async fn reconcile(
        &self,
        id: ContestId,
        bounds: Bounds,
        limits: Option<Limits>,
    ) -> Result<Reconciled, Failure> {
        self.reconcile_for(id, bounds, limits, &Behalf::default())
            .await
    }

    pub(crate) async fn reconcile_for(
        &self,
        id: ContestId,
        bounds: Bounds,
        limits: Option<Limits>,
        behalf: &Behalf,
    ) -> Result<Reconciled, Failure> {
        let compared = self.compare(id, bounds).await?;
        let mut findings: Vec<Uuid> = self.tell_of_pool(id, &compared).await?;
        let told = if compared.is_cut {
            // It is the log or the database that is wrong, not one viewer after the other.
            Vec::new()
        } else {
            self.tell(id, compared.differences.clone()).await?
        };
        findings.extend(told.iter().map(|(_, raised)| raised.id));
        if !compared.is_cut {
            self.settle_what_is_gone(id, &told).await?;
        }
        // Before anything is repaired: what is wrong with the books may be wrong with the repairs.
        self.review_stop(id).await?;
        let mended = self.mend_within(id, &told, limits, behalf).await?;
        Ok(Reconciled {
            is_over_limits: mended.is_over_limits || (compared.is_cut && limits.is_some()),
            compared,
            findings,
            repaired: mended.repaired,
            coins: mended.coins,
        })
    }

    /// Says of each difference that it is there.
    ///
    /// # Errors
    /// [`Failure::Store`] where one could not be written down: it must be looked at again.
    pub(crate) async fn tell(
        &self,
        contest: ContestId,
        differences: Vec<Difference>,
    ) -> Result<Vec<Told>, Failure> {
        let mut told = Vec::with_capacity(differences.len());
        for one in differences {
            let (subject, evidence) = (one.order.to_string(), one.to_string());
            let user = one.user.as_ref();
            let raised = self
                .raise_about(user, one.class, contest, subject, evidence)
                .await
                .ok_or_else(unwritten)?;
            told.push((one, raised));
        }
        Ok(told)
    }

    /// Stops payouts of a contest while its pool is not explained or something was paid twice, and lets
    /// them go on once no finding says so; true if that changed.
    pub(crate) async fn review_stop(&self, id: ContestId) -> Result<bool, Failure> {
        // Before a stop or its end: up to there is counted then, and nothing before it would be any more.
        self.count_claims_off(id).await?;
        for _ in 0..TRIES_MAX {
            let Some(contest) = self.ports.contests.get(id).await? else {
                return Ok(false);
            };
            if contest.phase.kind().is_terminal() {
                return Ok(false);
            }
            let stopping = self.finding_that_stops(&contest).await?;
            let fact = match (&stopping, contest.stops.is_stopped()) {
                (Some(_), false) => ContestFact::PayoutsStopped,
                (None, true) => ContestFact::PayoutsResumed,
                _ => return Ok(false),
            };
            let now = self.ports.contests.now().await?;
            let turn = Turn {
                contest,
                now,
                under: None,
            };
            if let Stepped::On = self.save_contest(turn, fact, Vec::new()).await? {
                match stopping {
                    Some(finding) => tracing::error!(
                        contest.id = %id, finding.id = %finding, "payouts are stopped"
                    ),
                    None => tracing::info!(contest.id = %id, "payouts go on"),
                }
                return Ok(true);
            }
        }
        Err(Failure::Contended(id.to_string()))
    }

    async fn finding_that_stops(&self, contest: &Contest) -> Result<Option<Uuid>, Failure> {
        let account = contest.pool_account().to_string();
        let stops = |finding: &Finding| match finding.class {
            FindingClass::DuplicateTransfer => true,
            FindingClass::PoolDiffers => finding.subject == account,
            _ => false,
        };
        let mut after = None;
        loop {
            let filter = FindingFilter::open_of(contest.id);
            let open = self.ports.findings.list(filter, after, PAGE).await?;
            if let Some(found) = open.items.iter().find(|finding| stops(finding)) {
                return Ok(Some(found.id));
            }
            match open.next {
                Some(next) => after = Some(next),
                None => return Ok(None),
            }
        }
    }

    /// Says whether the pool account holds what rows and differences explain.
    async fn tell_of_pool(
        &self,
        contest: ContestId,
        compared: &Compared,
    ) -> Result<Vec<Uuid>, Failure> {
        let account = Account::Pool(contest).to_string();
        let evidence = if compared.is_cut {
            // With its numbers: who resolves this one says nothing about the next.
            format!(
                "{} rows and {} transfers differ in more than is looked at: one side is wrong as a whole",
                compared.rows, compared.transfers
            )
        } else if compared.pool.is_explained() {
            self.withdraw(FindingClass::PoolDiffers, contest, &account)
                .await;
            return Ok(Vec::new());
        } else {
            let gap = compared.pool.gap();
            tracing::error!(contest.id = %contest, pool = %compared.pool, "a pool is not explained");
            // The same for as long as the difference is, whatever is paid meanwhile.
            let (coins, how) = (gap.unsigned_abs(), if gap < 0 { "less" } else { "more" });
            format!("the account holds {coins} coins {how} than rows and differences explain")
        };
        let raised = self
            .raise_about(None, FindingClass::PoolDiffers, contest, account, evidence)
            .await
            .ok_or_else(unwritten)?;
        Ok(vec![raised.id])
    }

    /// Settles findings of a comparison that no longer finds them.
    async fn settle_what_is_gone(&self, contest: ContestId, told: &[Told]) -> Result<(), Failure> {
        let seen: BTreeSet<(FindingClass, String)> = told
            .iter()
            .map(|(one, _)| (one.class, one.order.to_string()))
            .collect();
        let mut after = None;
        loop {
            let filter = FindingFilter::open_of(contest);
            let open = self.ports.findings.list(filter, after, PAGE).await?;
            for finding in open.items {
                // What a comparison tells is about an order; what is stuck, others tell.
                let is_ours = finding.class != FindingClass::Stuck
                    && finding.subject.parse::<OrderId>().is_ok();
                let key = (finding.class, finding.subject);
                if is_ours && !seen.contains(&key) {
                    self.withdraw(key.0, contest, &key.1).await;
                }
            }
            match open.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Repairs what nobody need be asked about, if all of it is within `limits`.
    pub(crate) async fn mend_within(
        &self,
        id: ContestId,
        told: &[Told],
        limits: Option<Limits>,
        behalf: &Behalf,
    ) -> Result<Mended, Failure> {
        let mut mended = Mended::default();
        let Some(limits) = limits else {
            return Ok(mended);
        };
        // As it is now: what was told may have stopped its payouts.
        let Some(contest) = &self.ports.contests.get(id).await? else {
            return Err(Failure::Gone(id.to_string()));
        };
        // What a person asks for is not by itself.
        let is_asked_for = behalf.by.is_some();
        if !is_asked_for && self.is_on_for(Switch::AutomaticRepair, contest).is_err() {
            return Ok(mended);
        }
        let may_pay = !contest.stops.is_stopped();
        let repairs: Vec<(&Difference, Uuid, &Repair)> = told
            .iter()
            // What a person has resolved was settled in a way of their own.
            .filter(|(_, finding)| finding.is_open)
            .filter_map(|(one, finding)| Some((one, finding.id, one.repair.as_ref()?)))
            .filter(|(.., repair)| repair.is_automatic() && (may_pay || repair.coins().is_zero()))
            .collect();
        let coins: u64 = repairs
            .iter()
            .map(|(.., repair)| repair.coins().get())
            .sum();
        if repairs.len() as u64 > limits.repairs || coins > limits.coins {
            tracing::error!(
                contest.id = %contest.id, repairs = repairs.len(), coins,
                limits.repairs, limits.coins,
                "more is to be repaired than one run may: nothing is, and a person has to look"
            );
            mended.is_over_limits = true;
            self.tell_that_repairs_stopped(id).await;
            return Ok(mended);
        }
        for (difference, finding, repair) in repairs {
            let made = self
                .mend_logged(contest, difference, finding, repair, behalf)
                .await;
            match &made {
                Ok(RepairOutcome::Done) => mended.repaired.push(difference.order),
                Ok(RepairOutcome::Needless | RepairOutcome::Failed) => continue,
                Err(error) => tracing::warn!(
                    contest.id = %contest.id, order = %difference.order,
                    error = error as &dyn std::error::Error,
                    "it is not known how a repair ended; its finding stays"
                ),
            }
            // What may have moved is spent, whether or not anybody knows.
            mended.coins += repair.coins().get();
        }
        Ok(mended)
    }

    /// Calls a person, once an hour for a contest.
    async fn tell_that_repairs_stopped(&self, contest: ContestId) {
        let now = self.ports.clock.now();
        if !self.alarm_pace.take(contest, now, now.plus(HOUR_MS)) {
            return;
        }
        let stopped = NoticeKind::RepairsStopped;
        if let Err(error) = self.ports.notices.add(stopped, contest).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "nobody could be told that repairs stopped"
            );
        }
    }

    /// Writes a repair down, makes it, and writes down how it ended. One whose end is not written was
    /// made or not: the next comparison sees what is left.
    ///
    /// # Errors
    /// [`Failure`] where that is not known.
    pub(crate) async fn mend_logged(
        &self,
        contest: &Contest,
        difference: &Difference,
        finding: Uuid,
        repair: &Repair,
        behalf: &Behalf,
    ) -> Result<RepairOutcome, Failure> {
        let records = &self.ports.reconciliations;
        let logged = LoggedRepair {
            id: self.ports.ids.next(),
            finding_id: finding,
            run_id: behalf.run,
            by: behalf.by.clone(),
            contest_id: contest.id,
            order_id: difference.order,
            what: repair.to_string(),
            evidence: difference.to_string(),
            coins: repair.coins(),
            begun_at: self.ports.clock.now(),
            ended: None,
        };
        records.begin_repair(&logged).await?;
        // Without an answer nobody knows how it ended, and the log must not say that it failed.
        let outcome = self.mend(contest, difference, repair).await?;
        records.end_repair(logged.id, outcome).await?;
        if outcome != RepairOutcome::Failed {
            let subject = difference.order.to_string();
            self.withdraw(difference.class, contest.id, &subject).await;
        }
        Ok(outcome)
    }

    /// Repairs a difference by the paths that everything takes.
    ///
    /// # Errors
    /// [`Failure`] where it is not known how it ended.
    async fn mend(
        &self,
        contest: &Contest,
        difference: &Difference,
        repair: &Repair,
    ) -> Result<RepairOutcome, Failure> {
        let done = |is_done| {
            if is_done {
                RepairOutcome::Done
            } else {
                RepairOutcome::Needless
            }
        };
        match repair {
            Repair::Apply(fact, _) => {
                let Some(user) = &difference.user else {
                    return Ok(RepairOutcome::Needless);
                };
                let Some(row) = self.ports.signups.find(contest.id, user).await? else {
                    return Ok(RepairOutcome::Needless);
                };
                // Somebody else may have recorded it since.
                if booked(&row).any(|said| said.order == difference.order) {
                    return Ok(RepairOutcome::Needless);
                }
                let before = row.version;
                let fact = Some(fact.clone());
                let driven = self
                    .drive(contest, row, fact, Until::Rest, Prefetched::default())
                    .await;
                match driven {
                    Ok(driven) => Ok(done(driven.signup.version > before)),
                    // The row has become another since it was judged.
                    Err(Failure::Transition(_)) => Ok(RepairOutcome::Failed),
                    Err(error) => Err(error),
                }
            }
            Repair::PayAgain(..) if contest.stops.is_stopped() => Ok(RepairOutcome::Failed),
            Repair::PayAgain(leg, content) => {
                match self.transfer(leg.clone(), content.clone(), None).await {
                    TransferOutcome::Applied(_) => Ok(RepairOutcome::Done),
                    TransferOutcome::Refused(_)
                    | TransferOutcome::Conflict
                    | TransferOutcome::NotSent => Ok(RepairOutcome::Failed),
                    TransferOutcome::Unknown => {
                        Err(FundsError::unavailable("the transfer was not answered").into())
                    }
                }
            }
            Repair::Restore(..) => match &difference.theirs {
                Some(fee) => self.adopt(contest, fee).await.map(done),
                None => Ok(RepairOutcome::Needless),
            },
        }
    }
}

fn unwritten() -> StoreError {
    StoreError::unavailable("a finding could not be written")
}

/// What was repaired of one contest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mended {
    /// The orders.
    pub(crate) repaired: Vec<OrderId>,
    /// The coins that may have moved.
    pub(crate) coins: u64,
    /// True where more was to be repaired than is allowed.
    pub(crate) is_over_limits: bool,
}

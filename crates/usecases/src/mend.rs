//! What becomes of the differences that a reconciliation has found: each is a finding, and those that
//! can be are repaired, within limits.

use crate::{
    Contests, Failure,
    drive::{Prefetched, Until},
    reconcile::{Bounds, Compared},
};
use domain::{
    contest::Contest,
    finding::FindingClass,
    ids::ContestId,
    order::OrderId,
    reconcile::{Difference, Repair},
};
use ports::{findings::FindingFilter, funds::TransferOutcome};
use std::collections::BTreeSet;

/// The findings of one page.
const PAGE: usize = 1_000;

/// The classes that a comparison of rows and log tells, each about an order.
const COMPARED: [FindingClass; 9] = [
    FindingClass::FeeUnrecorded,
    FindingClass::FeeMissing,
    FindingClass::AmountDiffers,
    FindingClass::OrphanTransfer,
    FindingClass::DuplicateTransfer,
    FindingClass::PrizeUnrecorded,
    FindingClass::PrizeMissing,
    FindingClass::RefundUnrecorded,
    FindingClass::RefundMissing,
];

/// How much one run repairs by itself. Where more is to be repaired, nothing is: then the log or the
/// database is wrong as a whole, and a person is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most repairs.
    pub repairs: usize,
    /// The most coins that they may move.
    pub coins: u64,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// What differed.
    pub compared: Compared,
    /// The orders whose difference was repaired.
    pub repaired: Vec<OrderId>,
    /// True where more was to be repaired than a run may.
    pub is_over_limits: bool,
}

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
        let Some(contest) = self.ports.contests.get(id).await? else {
            return Err(Failure::Gone(id.to_string()));
        };
        let compared = self.compare(&contest, bounds).await?;
        self.write_down(&contest, &compared).await?;
        let mut reconciled = Reconciled {
            compared,
            repaired: Vec::new(),
            is_over_limits: false,
        };
        let Some(limits) = limits else {
            return Ok(reconciled);
        };
        let differences = &reconciled.compared.differences;
        let repairs: Vec<(&Difference, &Repair)> = differences
            .iter()
            .filter_map(|one| Some((one, one.repair.as_ref()?)))
            .filter(|(_, repair)| repair.is_automatic())
            .collect();
        let coins = repairs.iter().map(|(_, repair)| repair.coins().get());
        let is_over = repairs.len() > limits.repairs || coins.sum::<u64>() > limits.coins;
        if is_over || reconciled.compared.is_cut {
            reconciled.is_over_limits = true;
            return Ok(reconciled);
        }
        for (difference, repair) in repairs {
            match self.mend(&contest, difference, repair).await {
                Ok(true) => {
                    let subject = difference.order.to_string();
                    self.withdraw(difference.class, id, &subject).await;
                    reconciled.repaired.push(difference.order);
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(
                    contest.id = %id, order = %difference.order,
                    error = &error as &dyn std::error::Error, "a repair failed; its finding stays"
                ),
            }
        }
        Ok(reconciled)
    }

    /// Raises what was found, and settles what is no longer true.
    async fn write_down(&self, contest: &Contest, compared: &Compared) -> Result<(), Failure> {
        for one in &compared.differences {
            self.raise(
                one.class,
                contest.id,
                one.order.to_string(),
                one.to_string(),
            )
            .await;
        }
        let account = contest.pool_account().to_string();
        if compared.is_cut {
            let evidence = format!(
                "rows and log differ in more than is looked at: {} rows, {} transfers",
                compared.rows, compared.transfers
            );
            self.raise(FindingClass::PoolDiffers, contest.id, account, evidence)
                .await;
            return Ok(());
        }
        if compared.pool.is_explained() {
            self.withdraw(FindingClass::PoolDiffers, contest.id, &account)
                .await;
        } else {
            let evidence = compared.pool.to_string();
            self.raise(FindingClass::PoolDiffers, contest.id, account, evidence)
                .await;
        }
        let seen: BTreeSet<(FindingClass, String)> = compared
            .differences
            .iter()
            .map(|one| (one.class, one.order.to_string()))
            .collect();
        let mut after = None;
        loop {
            let filter = FindingFilter::open_of(contest.id);
            let open = self.ports.findings.list(filter, after, PAGE).await?;
            for finding in open.items {
                let is_ours =
                    COMPARED.contains(&finding.class) && finding.subject.parse::<OrderId>().is_ok();
                let key = (finding.class, finding.subject);
                if is_ours && !seen.contains(&key) {
                    self.withdraw(key.0, contest.id, &key.1).await;
                }
            }
            match open.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Repairs a difference by the paths that everything takes; true if that is done.
    async fn mend(
        &self,
        contest: &Contest,
        difference: &Difference,
        repair: &Repair,
    ) -> Result<bool, Failure> {
        match repair {
            Repair::Apply(fact) => {
                let Some(user) = &difference.user else {
                    return Ok(false);
                };
                let Some(row) = self.ports.signups.find(contest.id, user).await? else {
                    return Ok(false);
                };
                let before = row.version;
                let fact = Some(fact.clone());
                let driven = self
                    .drive(contest, row, fact, Until::Rest, Prefetched::default())
                    .await?;
                Ok(driven.signup.version > before)
            }
            Repair::PayAgain(leg, content) => {
                let outcome = self.transfer(leg.clone(), content.clone(), None).await;
                Ok(matches!(outcome, TransferOutcome::Applied(_)))
            }
            Repair::Restore(..) => match &difference.theirs {
                Some(fee) => self.adopt(contest, fee).await,
                None => Ok(false),
            },
        }
    }
}

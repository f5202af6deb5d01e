//! Runs of the reconciliation over whole contests: asked for, kept, and carried on by whoever is there.

use crate::{
    Contests, Failure,
    crash::caught,
    mend::{Behalf, Reconciled},
};
use domain::{
    contest::PhaseKind,
    ids::{ContestId, UserId},
};
use ports::{
    contests::ContestFilter,
    reconciliations::{Run, Scope, Totals},
    store::Committed,
};
use uuid::Uuid;

/// The contests of one page.
const PAGE: usize = 100;
/// The most open runs of one round.
const RUNS_MAX: usize = 16;

/// What a run is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which contests.
    pub scope: Scope,
    /// Who asks; none for the end of a contest.
    pub by: Option<UserId>,
    /// Whether nothing is to be repaired.
    pub is_dry: bool,
}

impl Contests {
    /// Writes down that contests are to be reconciled: whoever is there does it. None where one
    /// contest is asked for that does not exist.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn ask_for_run(&self, asked: Asked) -> Result<Option<Run>, Failure> {
        self.begin(self.ports.ids.next(), asked).await
    }

    /// Writes a run down and carries it on to its end in this process, by this process' limits: no other
    /// can take it up before. None as above.
    ///
    /// # Errors
    /// [`Failure`]; what was written down is carried on by whoever is there.
    pub async fn run_here(&self, asked: Asked) -> Result<Option<Run>, Failure> {
        let id = self.ports.ids.next();
        let Some(hold) = self.lease(lease_of(id)).await? else {
            return Err(Failure::Contended(lease_of(id)));
        };
        let work = async {
            if self.begin(id, asked).await?.is_none() {
                return Ok(None);
            }
            self.run_to_its_end(id).await?;
            Ok(self.ports.reconciliations.run(id).await?)
        };
        self.holding(hold, work).await
    }

    async fn begin(&self, id: Uuid, asked: Asked) -> Result<Option<Run>, Failure> {
        let Asked { scope, by, is_dry } = asked;
        if let Some(contest) = scope.contest()
            && self.ports.contests.get(contest).await?.is_none()
        {
            return Ok(None);
        }
        let run = Run {
            id,
            scope,
            asked_by: by,
            is_dry,
            asked_at: self.ports.clock.now(),
            ended_at: None,
            after: None,
            totals: Totals::default(),
            version: 1,
        };
        self.ports.reconciliations.begin_run(&run).await?;
        Ok(Some(run))
    }

    /// Carries on every run that has not ended and that no other node is at; how many.
    ///
    /// # Errors
    /// [`Failure`]; the run goes on from where it is at the next round.
    pub async fn carry_on_runs(&self) -> Result<usize, Failure> {
        let open = self.ports.reconciliations.open_runs(RUNS_MAX).await?;
        let mut carried = 0;
        for run in open {
            match caught(self.carry_on(run.id)).await {
                Ok(is_ours) => carried += usize::from(is_ours),
                // The others must not wait for it.
                Err(error) => tracing::error!(
                    run.id = %run.id, error = &error as &dyn std::error::Error,
                    "a reconciliation stopped; it is carried on"
                ),
            }
        }
        Ok(carried)
    }

    /// Carries a run on to its end; false if another node is at it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn carry_on(&self, id: Uuid) -> Result<bool, Failure> {
        let Some(hold) = self.lease(lease_of(id)).await? else {
            return Ok(false);
        };
        self.holding(hold, self.run_to_its_end(id)).await
    }

    async fn run_to_its_end(&self, id: Uuid) -> Result<bool, Failure> {
        // Also contests that nobody sees yet, once they have an account.
        let mut phases = PhaseKind::ALL.to_vec();
        phases.retain(|phase| *phase != PhaseKind::Preparing);
        let filter = ContestFilter {
            phases,
            ..ContestFilter::default()
        };
        loop {
            let Some(run) = self.ports.reconciliations.run(id).await? else {
                return Err(Failure::Gone(format!("reconciliation {id}")));
            };
            if run.ended_at.is_some() {
                return Ok(true);
            }
            let before = run.after.or_else(|| above(run.scope.to));
            let page = match run.scope.contest() {
                Some(_) if run.after.is_some() => Vec::new(),
                Some(one) => vec![one],
                None => {
                    let page = self.ports.contests.list(&filter, before, PAGE).await?;
                    page.items.iter().map(|contest| contest.id).collect()
                }
            };
            let mut page: Vec<ContestId> = page;
            page.retain(|contest| *contest >= run.scope.from);
            if page.is_empty() {
                let ended = Run {
                    ended_at: Some(self.ports.clock.now()),
                    ..run
                };
                self.ports.reconciliations.advance_run(&ended, &[]).await?;
                return Ok(true);
            }
            let mut run = run;
            for contest in page {
                let Some(further) = self.run_one(run, contest).await? else {
                    // Somebody else carries it on.
                    return Ok(false);
                };
                run = further;
            }
        }
    }

    /// Reconciles one contest of a run; none if another was faster.
    async fn run_one(&self, run: Run, contest: ContestId) -> Result<Option<Run>, Failure> {
        let limits = self.reconciling.limits.filter(|_| !run.is_dry);
        let limits = limits.map(|limits| limits.less(run.totals.repaired, run.totals.coins));
        let behalf = Behalf {
            run: Some(run.id),
            by: run.asked_by.clone(),
        };
        let reconciled = self
            .reconcile_for(contest, self.reconciling.bounds, limits, &behalf)
            .await;
        let (totals, findings) = match &reconciled {
            Ok(reconciled) => (totals(reconciled), reconciled.findings.as_slice()),
            Err(error) => {
                tracing::error!(
                    contest.id = %contest, run.id = %run.id, error = error as &dyn std::error::Error,
                    "a contest could not be reconciled"
                );
                let failed = Totals {
                    failed: 1,
                    ..Totals::default()
                };
                (failed, [].as_slice())
            }
        };
        let further = Run {
            after: Some(contest),
            totals: run.totals.plus(totals),
            ..run
        };
        let records = &self.ports.reconciliations;
        let committed = records.advance_run(&further, findings).await?;
        Ok((committed == Committed::Applied).then(|| Run {
            version: further.version + 1,
            ..further
        }))
    }
}

fn lease_of(run: Uuid) -> String {
    format!("reconciliation/{run}")
}

fn totals(reconciled: &Reconciled) -> Totals {
    Totals {
        contests: 1,
        failed: 0,
        signups: reconciled.compared.rows,
        transfers: reconciled.compared.transfers,
        differences: reconciled.findings.len() as u64,
        repaired: reconciled.repaired.len() as u64,
        coins: reconciled.coins,
        over_limits: u64::from(reconciled.is_over_limits),
    }
}

/// The smallest id above this one; none above the last.
fn above(id: ContestId) -> Option<ContestId> {
    let next = id.0.as_u128().checked_add(1)?;
    Some(ContestId(Uuid::from_u128(next)))
}

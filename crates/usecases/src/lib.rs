//! The flows of a contest: one drive loop, and thin entrances to it.
//!
//! [`drive`] is the only place in which the outside world is asked for a signup and its answer is
//! applied; a viewer's request, a client's retry, settling, compensation and repair all run it.
//! [`settle`] is the same loop for the contest itself.

mod admin;
mod audit;
pub mod background;
mod claim;
mod compensate;
mod counted;
mod crash;
mod drive;
pub mod experiments;
mod funnel;
mod guard;
mod hold;
pub mod mend;
mod notify;
mod orphans;
pub mod overrides;
mod pace;
mod passes;
mod payments;
mod read;
pub mod reconcile;
mod relay;
pub mod runs;
mod sandbox;
mod settle;
pub mod sheet;
mod shown;
mod sign_up;
mod sweep;
mod switches;
pub mod verdict;
mod watch;

pub use admin::{Cancelled, Created, ParkedOutcome, Settled};
pub use claim::Claimed;
pub use funnel::VariantFunnel;
pub use passes::Pass;
pub use read::{Own, Pool, Report, Seen, count};
pub use sandbox::Granted;
pub use shown::{Rebuilt, Shown};
pub use sign_up::SignedUp;
pub use switches::{FRESH_MS, Known};

use counted::Counted;
use domain::{
    contest::PhaseError,
    finding::FindingClass,
    ids::{ContestId, SignupId, UserId},
    signup::TransitionError,
};
use experiments::Lab;
use mend::Reconciling;
use pace::{Pace, Waiting};
use ports::{
    contests::ContestRepository,
    experiments::{Experiments, Judge},
    findings::{Finding, Findings, Raised},
    funds::{ANSWER_MS_MAX, Capabilities, Funds, FundsError},
    leaderboard::Leaderboard,
    leases::Leases,
    notices::{Notices, Receiver},
    reconciliations::Reconciliations,
    signups::SignupRepository,
    store::StoreError,
    switches::SwitchSettings,
    system::{Clock, IdSource},
    tasks::{TaskEvents, Tasks},
};
use relay::Place;
use shown::{Flights, REBUILDS_MAX, Recent};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use switches::Panel;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// How long a call of the funds system may take before its outcome counts as unknown.
pub const FUNDS_DEADLINE: Duration = Duration::from_millis(ANSWER_MS_MAX);

/// Everything that is needed from outside.
#[derive(Clone)]
#[expect(missing_docs, reason = "the ports say what they are")]
pub struct Ports {
    pub contests: Arc<dyn ContestRepository>,
    pub signups: Arc<dyn SignupRepository>,
    pub tasks: Arc<dyn Tasks>,
    pub events: Arc<dyn TaskEvents>,
    pub findings: Arc<dyn Findings>,
    pub reconciliations: Arc<dyn Reconciliations>,
    pub notices: Arc<dyn Notices>,
    pub switches: Arc<dyn SwitchSettings>,
    pub experiments: Arc<dyn Experiments>,
    /// None where the numbers of experiments stop nothing by themselves.
    pub judge: Option<Arc<dyn Judge>>,
    /// None where nobody outside is told anything.
    pub receiver: Option<Arc<dyn Receiver>>,
    pub leaderboard: Arc<dyn Leaderboard>,
    pub funds: Arc<dyn Funds>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub leases: Arc<dyn Leases>,
    /// None in the embedded default, whose store is as near as a cache would be.
    pub shown: Option<Shown>,
}

/// The flows.
pub struct Contests {
    ports: Ports,
    contest_pace: Pace<ContestId>,
    signup_pace: Pace<SignupId>,
    rebuild_pace: Pace<ContestId>,
    /// Contests that cannot go on.
    waiting: Waiting<ContestId>,
    /// Places for rebuilds that are under way.
    rebuilds: Arc<Semaphore>,
    recent: Recent,
    flights: Flights,
    counted: Counted,
    relay_place: Place,
    reconciling: Reconciling,
    panel: Panel,
    lab: Lab,
    /// Contests of which a person was called because more is to be repaired than may be.
    alarm_pace: Pace<ContestId>,
    /// What the watch has repaired in this hour.
    watched: Mutex<watch::Spent>,
    /// Who this process is to the others that share the store.
    node: Uuid,
}

/// Why a flow could not be carried through. What had begun is finished by the compensation.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store did not answer, or holds an impossible row.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The funds system did not answer a question.
    #[error("the funds system failed")]
    Funds(#[from] FundsError),
    /// A fact came that the signup's state does not allow: a bug, or rows changed by hand.
    #[error("a signup cannot change as asked")]
    Transition(#[from] TransitionError),
    /// A fact came that the contest's phase does not allow.
    #[error("a contest cannot change as asked")]
    Phase(#[from] PhaseError),
    /// The row that was being driven is gone.
    #[error("the row of {0} is gone")]
    Gone(String),
    /// Others kept changing the same row.
    #[error("{0} kept changing")]
    Contended(String),
    /// A bug of ours: it panicked, and nothing else did.
    #[error("it crashed: {0}")]
    Crashed(String),
    /// Another has taken the lease under which it was done, and goes on with it.
    #[error("another node has taken it over")]
    Fenced,
    /// Numbers that must agree do not; the finding says which.
    #[error("the books do not agree: {0}")]
    Books(String),
}

/// A funds system that lacks what safety needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the funds system lacks {0}, without which a late fee could not be told from none")]
pub struct UnsafeFunds(pub &'static str);

impl Contests {
    /// The flows over these ports.
    ///
    /// # Errors
    /// [`UnsafeFunds`] when the funds system cannot promise what the flows stand on.
    pub fn new(ports: Ports) -> Result<Self, UnsafeFunds> {
        let Capabilities {
            close_credits,
            closed_position: _,
            linearizable_lookup,
            orders_for_ever,
        } = ports.funds.capabilities();
        let needed = [
            (close_credits, "close_credits"),
            (linearizable_lookup, "a linearizable look-up"),
            (orders_for_ever, "order ids that are remembered for ever"),
        ];
        match needed.into_iter().find(|(has, _)| !has) {
            Some((_, what)) => Err(UnsafeFunds(what)),
            None => Ok(Self {
                node: ports.ids.next(),
                ports,
                contest_pace: Pace::default(),
                signup_pace: Pace::default(),
                rebuild_pace: Pace::default(),
                waiting: Waiting::default(),
                rebuilds: Arc::new(Semaphore::new(REBUILDS_MAX)),
                recent: Recent::default(),
                flights: Flights::default(),
                counted: Counted::default(),
                relay_place: Place::default(),
                reconciling: Reconciling::default(),
                panel: Panel::default(),
                lab: Lab::default(),
                alarm_pace: Pace::default(),
                watched: Mutex::default(),
            }),
        }
    }

    /// The same flows, reconciled by these settings.
    #[must_use]
    pub const fn reconciled(mut self, settings: Reconciling) -> Self {
        self.reconciling = settings;
        self
    }

    /// The ports, for reads that need no flow.
    #[must_use]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Writes a finding down. A finding that cannot be written is logged: it is raised again when
    /// the difference is seen again.
    async fn raise(
        &self,
        class: FindingClass,
        contest: ContestId,
        subject: String,
        evidence: String,
    ) {
        self.raise_about(None, class, contest, subject, evidence)
            .await;
    }

    /// Writes a finding about a viewer down; the one that says it, old or new, if it could be
    /// written.
    async fn raise_about(
        &self,
        user: Option<&UserId>,
        class: FindingClass,
        contest: ContestId,
        subject: String,
        evidence: String,
    ) -> Option<Raised> {
        let finding = Finding {
            id: self.ports.ids.next(),
            class,
            contest_id: contest,
            subject,
            user_id: user.cloned(),
            evidence,
            found_at: self.ports.clock.now(),
            settled_at: None,
            resolution: None,
        };
        let raised = self.ports.findings.raise(&finding).await;
        // Once: what stays open is seen again at every pass.
        if !raised.as_ref().is_ok_and(|raised| !raised.is_new) {
            let Finding {
                subject, evidence, ..
            } = &finding;
            tracing::error!(
                finding.class = class.name(), contest.id = %contest, finding.subject = subject, evidence, "finding"
            );
        }
        raised
            .inspect_err(|error| {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "a finding could not be written"
                );
            })
            .ok()
    }

    /// Settles a finding that is no longer true, if there is one.
    async fn withdraw(&self, class: FindingClass, contest: ContestId, subject: &str) {
        if let Err(error) = self.ports.findings.settle(class, contest, subject).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a finding could not be settled"
            );
        }
    }
}

//! Ports that are watched: every call is counted under `Port::method`, and can be made to fail, to
//! hang until its budget, or to wait for the test.

use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{ContestId, SignupId, UserId},
    judge::Progress,
    lifecycle::Presence,
    order::{Account, OrderId},
    settlement::{Advisory, Census, Finisher, SheetLine},
    signup::{Signup, StateKind},
    time::UnixMillis,
    transfer::{CreditsClosed, Position},
};
use ports::{
    contests::{
        ContestCommit, ContestFilter, ContestRepository, CreationKey, Inserted, StateCount,
    },
    funds::{
        Balance, Capabilities, Funds, FundsError, Lookup, TransferOutcome, TransferPage,
        TransferRequest,
    },
    leaderboard::{Leaderboard, Place},
    leases::{HeldLease, Lease, Leases},
    outbox::{Outbox, OutboxEntry},
    shown::{
        Cached, Count, Counted, Epoch, Filled, Neighbourhood, PastPool, PastPools, Ranking,
        RecordCache, ShownError, Tallies, Tally,
    },
    signups::{Enrolled, SignupCommit, SignupRepository},
    store::{Committed, Page, StoreError},
    tasks::{Assigned, Tasks},
};
use std::{
    collections::BTreeMap,
    future::{Future, pending},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;

/// How long a call that hangs is waited for, on the runtime's clock, as an adapter would.
const BUDGET: Duration = Duration::from_millis(50);
/// How long a test waits for a call.
const BOUND: Duration = Duration::from_secs(60);

/// Where calls wait for the test.
pub struct Gate {
    arrived: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            arrived: Semaphore::new(0),
            open: Semaphore::new(0),
        })
    }

    async fn wait(&self) {
        self.arrived.add_permits(1);
        if let Ok(permit) = self.open.acquire().await {
            permit.forget();
        }
    }

    /// Waits until one more call waits here.
    pub async fn reached(&self) {
        let arrived = tokio::time::timeout(BOUND, self.arrived.acquire()).await;
        let arrived = arrived.expect("a call comes here");
        arrived.expect("never closed").forget();
    }

    /// Lets one call through.
    pub fn let_one(&self) {
        self.open.add_permits(1);
    }

    /// Lets all through, from now on.
    pub fn open(&self) {
        self.open.close();
    }
}

/// What happens to a call.
#[derive(Clone)]
enum Plan {
    Fails,
    Panics,
    Hangs,
    /// One of so many fails, by this dice.
    Sometimes(u64, Arc<Dice>),
    WaitsBefore(Arc<Gate>),
    WaitsAfter(Arc<Gate>),
}

/// Whose calls: the beginning of `Port::method`, and what its arguments say.
struct Rule {
    name: &'static str,
    about: String,
    plan: Plan,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<&'static str, u64>,
    rules: Vec<Rule>,
}

/// What is known of a node's calls, and what is to happen to them.
#[derive(Default)]
pub struct Watch(Mutex<State>);

impl Watch {
    /// The calls so far of methods that begin so.
    pub fn calls(&self, name: &str) -> u64 {
        let state = self.state();
        let of = state
            .calls
            .iter()
            .filter(|(method, _)| method.starts_with(name));
        of.map(|(_, calls)| calls).sum()
    }

    /// From now on these calls fail.
    pub fn fail(&self, name: &'static str) {
        self.rule(name, "", Plan::Fails);
    }

    /// The same for those whose arguments name `about`.
    pub fn fail_about(&self, name: &'static str, about: &str) {
        self.rule(name, about, Plan::Fails);
    }

    /// From now on these calls panic, as a bug in them would.
    pub fn crash(&self, name: &'static str) {
        self.rule(name, "", Plan::Panics);
    }

    /// The same for those whose arguments name `about`.
    pub fn crash_about(&self, name: &'static str, about: &str) {
        self.rule(name, about, Plan::Panics);
    }

    /// From now on these calls are given up after a while without an answer.
    pub fn hang(&self, name: &'static str) {
        self.rule(name, "", Plan::Hangs);
    }

    /// From now on one of `sides` of these calls fails.
    pub fn fail_sometimes(&self, name: &'static str, sides: u64, dice: &Arc<Dice>) {
        self.rule(name, "", Plan::Sometimes(sides, Arc::clone(dice)));
    }

    /// From now on these calls wait before they are carried out.
    pub fn hold_before(&self, name: &'static str) -> Arc<Gate> {
        self.hold_before_about(name, "")
    }

    /// The same for those whose arguments name `about`.
    pub fn hold_before_about(&self, name: &'static str, about: &str) -> Arc<Gate> {
        let gate = Gate::new();
        self.rule(name, about, Plan::WaitsBefore(Arc::clone(&gate)));
        gate
    }

    /// From now on the answers of these calls wait.
    pub fn hold_after(&self, name: &'static str) -> Arc<Gate> {
        self.hold_after_about(name, "")
    }

    /// The same for those whose arguments name `about`.
    pub fn hold_after_about(&self, name: &'static str, about: &str) -> Arc<Gate> {
        let gate = Gate::new();
        self.rule(name, about, Plan::WaitsAfter(Arc::clone(&gate)));
        gate
    }

    /// From now on nothing happens to any call.
    pub fn heal(&self) {
        self.state().rules.clear();
    }

    fn rule(&self, name: &'static str, about: &str, plan: Plan) {
        let about = about.to_owned();
        self.state().rules.push(Rule { name, about, plan });
    }

    fn begin(&self, name: &'static str, arguments: impl Fn() -> String) -> Option<Plan> {
        let mut state = self.state();
        *state.calls.entry(name).or_default() += 1;
        let fits = |rule: &&Rule| {
            name.starts_with(rule.name)
                && (rule.about.is_empty() || arguments().contains(&rule.about))
        };
        state.rules.iter().find(fits).map(|rule| rule.plan.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn around<T, F: Future<Output = T>>(
    plan: Option<Plan>,
    failed: impl FnOnce() -> T,
    call: F,
) -> T {
    match plan {
        None => call.await,
        Some(Plan::Fails) => failed(),
        Some(Plan::Panics) => panic!("a bug, for the test"),
        Some(Plan::Hangs) => {
            let _ = tokio::time::timeout(BUDGET, pending::<()>()).await;
            failed()
        }
        Some(Plan::Sometimes(sides, dice)) if dice.roll(sides) == 0 => failed(),
        Some(Plan::Sometimes(..)) => call.await,
        Some(Plan::WaitsBefore(gate)) => {
            gate.wait().await;
            call.await
        }
        Some(Plan::WaitsAfter(gate)) => {
            let answer = call.await;
            gate.wait().await;
            answer
        }
    }
}

/// A source of random numbers that tells its seed; `GUAFEN_SEED` asks for one.
pub struct Dice(Mutex<u64>);

impl Dice {
    pub fn cast() -> Arc<Self> {
        let asked = std::env::var("GUAFEN_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        let seed = asked.unwrap_or(since.as_nanos() as u64);
        println!("GUAFEN_SEED={seed}");
        Arc::new(Self(Mutex::new(seed)))
    }

    /// A number from 0 to below `sides` (SplitMix64).
    pub fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// A port of which every call is watched.
pub struct Watched<T> {
    inner: Arc<T>,
    watch: Arc<Watch>,
}

impl<T> Watched<T> {
    pub fn new(inner: &Arc<T>, watch: &Arc<Watch>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            watch: Arc::clone(watch),
        })
    }
}

fn store<T>() -> Result<T, StoreError> {
    Err(StoreError::unavailable("the test says so"))
}

fn shown<T>() -> Result<T, ShownError> {
    Err(ShownError::unavailable("the test says so"))
}

fn funds<T>() -> Result<T, FundsError> {
    Err(FundsError::unavailable("the test says so"))
}

/// Passes each listed method on through the watch.
macro_rules! watched {
    ($port:ident { $(
        async fn $method:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty => $failed:expr;
    )+ } $($more:item)*) => {
        #[async_trait]
        impl<T: $port> $port for Watched<T> {
            $(
                async fn $method(&self $(, $argument: $kind)*) -> $answer {
                    let name = concat!(stringify!($port), "::", stringify!($method));
                    let plan = self.watch.begin(name, || format!("{:?}", ($(&$argument,)*)));
                    let call = $port::$method(&*self.inner $(, $argument)*);
                    around(plan, $failed, call).await
                }
            )+
            $($more)*
        }
    };
}

watched! { ContestRepository {
    async fn now(&self) -> Result<UnixMillis, StoreError> => store;
    async fn insert(&self, contest: &Contest) -> Result<bool, StoreError> => store;
    async fn insert_once(&self, contest: &Contest, key: &CreationKey) -> Result<Inserted, StoreError> => store;
    async fn get(&self, id: ContestId) -> Result<Option<Contest>, StoreError> => store;
    async fn list(&self, filter: &ContestFilter, after: Option<ContestId>, limit: usize) -> Result<Page<Contest, ContestId>, StoreError> => store;
    async fn commit(&self, commit: ContestCommit) -> Result<Committed, StoreError> => store;
    async fn awake(&self, limit: usize) -> Result<Vec<Contest>, StoreError> => store;
    async fn presence(&self, id: ContestId) -> Result<Presence, StoreError> => store;
    async fn census(&self, id: ContestId) -> Result<Census, StoreError> => store;
    async fn counts(&self, id: ContestId) -> Result<Vec<StateCount>, StoreError> => store;
    async fn finishers(&self, id: ContestId, after: Option<SignupId>, limit: usize) -> Result<Vec<Finisher>, StoreError> => store;
    async fn sheet_line(&self, id: ContestId, signup: SignupId) -> Result<Option<SheetLine>, StoreError> => store;
    async fn sheet(&self, id: ContestId, after: Option<SignupId>, limit: usize) -> Result<Page<SheetLine, SignupId>, StoreError> => store;
} }

watched! { SignupRepository {
    async fn enroll(&self, signup: &Signup, wake_at: Option<UnixMillis>) -> Result<Enrolled, StoreError> => store;
    async fn restore(&self, signup: &Signup) -> Result<Enrolled, StoreError> => store;
    async fn find(&self, contest: ContestId, user: &UserId) -> Result<Option<Signup>, StoreError> => store;
    async fn find_to_claim(&self, contest: ContestId, user: &UserId) -> Result<Option<(Signup, Option<SheetLine>)>, StoreError> => store;
    async fn get(&self, id: SignupId) -> Result<Option<Signup>, StoreError> => store;
    async fn commit(&self, commit: SignupCommit) -> Result<Committed, StoreError> => store;
    async fn awake(&self, limit: usize) -> Result<Vec<Signup>, StoreError> => store;
    async fn page(&self, contest: ContestId, states: &[StateKind], after: Option<SignupId>, limit: usize) -> Result<Page<Signup, SignupId>, StoreError> => store;
    async fn range_end(&self, contest: ContestId, after: Option<SignupId>, rows: usize) -> Result<Option<SignupId>, StoreError> => store;
    async fn of_user(&self, user: &UserId, after: Option<SignupId>, limit: usize) -> Result<Page<Signup, SignupId>, StoreError> => store;
    async fn parked(&self, after: Option<SignupId>, limit: usize) -> Result<Page<Signup, SignupId>, StoreError> => store;
} }

watched! { Leaderboard {
    async fn top(&self, contest: &Contest, limit: usize) -> Result<Vec<Place>, StoreError> => store;
    async fn place_of(&self, contest: &Contest, user: &UserId) -> Result<Option<Place>, StoreError> => store;
    async fn standings(&self, contest: &Contest, users: &[UserId]) -> Result<Vec<Place>, StoreError> => store;
    async fn page(&self, contest: &Contest, after: Option<SignupId>, limit: usize) -> Result<Page<Place, SignupId>, StoreError> => store;
} }

watched! { Leases {
    async fn take(&self, name: &str, owner: uuid::Uuid, for_ms: i64) -> Result<Option<Lease>, StoreError> => store;
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> => store;
    async fn held(&self, limit: usize) -> Result<Vec<HeldLease>, StoreError> => store;
} }

watched! { Tasks {
    async fn assign(&self, contest: &Contest, signup: &Signup) -> Assigned => || Assigned::Unknown;
    async fn progress(&self, contest: &Contest, signups: &[Signup]) -> Result<Vec<Progress>, StoreError> => store;
} }

watched! { Outbox {
    async fn take(&self, after: Option<u64>, limit: usize) -> Result<Vec<OutboxEntry>, StoreError> => store;
    async fn done(&self, sequences: &[u64]) -> Result<(), StoreError> => store;
} }

watched! { Funds {
    async fn open_account(&self, account: &Account) -> Result<(), FundsError> => funds;
    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome => || TransferOutcome::NotSent;
    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> => funds;
    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> => funds;
    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> => funds;
    async fn list(&self, account: &Account, after: Position, limit: usize) -> Result<TransferPage, FundsError> => funds;
}
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

watched! { RecordCache {
    async fn get(&self, contest: ContestId, user: &UserId) -> Result<Option<Cached>, ShownError> => shown;
    async fn drop_record(&self, contest: &Contest, user: &UserId, version: u64) -> Result<(), ShownError> => shown;
}
    async fn fill<'a>(
        &self,
        contest: &Contest,
        user: &UserId,
        signup: Option<&'a Signup>,
    ) -> Result<Filled, ShownError> {
        let arguments = || format!("{contest:?} {user}");
        let plan = self.watch.begin("RecordCache::fill", arguments);
        around(plan, shown, self.inner.fill(contest, user, signup)).await
    }
}

watched! { Tallies {
    async fn count(&self, contest: &Contest, counts: &[Count]) -> Result<Counted, ShownError> => shown;
    async fn read(&self, contest: &Contest) -> Result<Option<Advisory<Tally>>, ShownError> => shown;
    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> => shown;
    async fn put(&self, contest: &Contest, epoch: Epoch, counts: &[Count]) -> Result<bool, ShownError> => shown;
    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError> => shown;
    async fn forget(&self, contest: &Contest) -> Result<(), ShownError> => shown;
} }

watched! { Ranking {
    async fn put(&self, contest: &Contest, places: &[Place]) -> Result<bool, ShownError> => shown;
    async fn top(&self, contest: &Contest, limit: usize) -> Result<Option<Vec<Place>>, ShownError> => shown;
    async fn place_of(&self, contest: &Contest, user: &UserId, around: usize) -> Result<Option<Option<Neighbourhood>>, ShownError> => shown;
    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> => shown;
    async fn build(&self, contest: &Contest, epoch: Epoch, places: &[Place]) -> Result<bool, ShownError> => shown;
    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError> => shown;
} }

watched! { PastPools {
    async fn get(&self, contest: ContestId) -> Result<Option<PastPool>, ShownError> => shown;
    async fn put(&self, contest: &Contest, pool: PastPool) -> Result<(), ShownError> => shown;
} }

//! What an adapter brings to the suites of the store, and what the cases share.
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::samples::{HOUR, contest_in, signup_id, signup_in};
use domain::{
    contest::{Contest, PhaseKind},
    effects::Effect,
    ids::UserId,
    signup::{Signup, State},
    time::{UnixMillis, Window},
};
use ports::{
    contests::{ContestCommit, ContestRepository},
    experiments::Experiments,
    findings::Findings,
    leaderboard::Leaderboard,
    notices::Notices,
    outbox::Outbox,
    reconciliations::Reconciliations,
    signups::{Enrolled, SignupCommit, SignupRepository},
    store::{Committed, Page},
    switches::SwitchSettings,
    tasks::{TaskEvents, Tasks},
};
use std::{future::Future, sync::Arc, time::Duration};

/// A store under test. Every case opens one of its own, empty.
pub trait StoreFixture: Sized + Send + Sync + 'static {
    /// A new, empty store whose outbox keeps `effects` alone.
    fn open(effects: &'static [Effect]) -> impl Future<Output = Self>;

    /// The same store after a crash: nothing is flushed or closed first.
    fn reopen(self) -> impl Future<Output = Self>;

    /// Comes back when the store's clock shows `at`, which is at most seconds ahead. Adapters
    /// whose clock can be set, set it; others look at it until then.
    fn reach(&self, at: UnixMillis) -> impl Future<Output = ()> {
        let contests = self.contests();
        async move {
            let reached = async {
                let mut ticks = tokio::time::interval(Duration::from_millis(20));
                while contests.now().await.expect("the store's clock") < at {
                    ticks.tick().await;
                }
            };
            let bound = Duration::from_secs(30);
            tokio::time::timeout(bound, reached)
                .await
                .expect("the time comes within the bound");
        }
    }

    /// The contests.
    fn contests(&self) -> Arc<dyn ContestRepository>;
    /// The signups.
    fn signups(&self) -> Arc<dyn SignupRepository>;
    /// The task system on top of the stored events.
    fn tasks(&self) -> Arc<dyn Tasks>;
    /// Where events go.
    fn events(&self) -> Arc<dyn TaskEvents>;
    /// The leaderboard.
    fn leaderboard(&self) -> Arc<dyn Leaderboard>;
    /// The findings.
    fn findings(&self) -> Arc<dyn Findings>;
    /// The reconciliation's own records.
    fn reconciliations(&self) -> Arc<dyn Reconciliations>;
    /// What somebody outside is to be told; the store keeps it.
    fn notices(&self) -> Arc<dyn Notices>;
    /// What operators have switched off.
    fn switches(&self) -> Arc<dyn SwitchSettings>;
    /// Experiments.
    fn experiments(&self) -> Arc<dyn Experiments>;
    /// The outbox.
    fn outbox(&self) -> Arc<dyn Outbox>;
}

/// The store's clock.
pub(crate) async fn now<F: StoreFixture>(store: &F) -> UnixMillis {
    store.contests().now().await.expect("the store's clock")
}

/// Inserts a contest.
pub(crate) async fn insert<F: StoreFixture>(store: &F, contest: &Contest) {
    assert!(
        store.contests().insert(contest).await.expect("inserted"),
        "the id is new"
    );
}

/// A draft whose signups are open.
pub(crate) async fn open_contest<F: StoreFixture>(store: &F) -> Contest {
    let contest = contest_in(PhaseKind::Draft, now(store).await);
    insert(store, &contest).await;
    contest
}

/// A contest as it is stored.
pub(crate) async fn stored<F: StoreFixture>(store: &F, contest: &Contest) -> Contest {
    store
        .contests()
        .get(contest.id)
        .await
        .expect("read")
        .expect("the contest is there")
}

/// A commit of what `contest` says, decided on its version, at any time, without lines.
pub(crate) fn decided(contest: &Contest) -> ContestCommit {
    let (expected, window, lines) = (contest.version, Window::ALWAYS, Vec::new());
    ContestCommit {
        expected,
        window,
        contest: contest.clone(),
        lines,
        notices: Vec::new(),
        under: None,
    }
}

/// Moves a contest into a phase of that kind; as it is stored afterwards.
pub(crate) async fn enter<F: StoreFixture>(
    store: &F,
    contest: &Contest,
    kind: PhaseKind,
) -> Contest {
    let at = now(store).await;
    let contest = Contest {
        phase: contest_in(kind, at).phase,
        ..stored(store, contest).await
    };
    let answer = store.contests().commit(decided(&contest)).await;
    assert_eq!(answer.expect("committed"), Committed::Applied);
    stored(store, &contest).await
}

/// A new signup of a viewer, as a caller makes it.
pub(crate) fn new_signup(contest: &Contest, user: UserId, now: UnixMillis) -> Signup {
    Signup::new(signup_id(), contest.id, user, contest.terms.fee, now)
}

/// Inserts a row in any state, whatever the contest's phase, that was last written an hour ago; as
/// it reads back.
pub(crate) async fn put<F: StoreFixture>(
    store: &F,
    contest: &Contest,
    user: UserId,
    state: State,
) -> Signup {
    let signup = signup_in(state, contest, user, now(store).await.plus(-HOUR));
    let answer = store.signups().restore(&signup).await.expect("restored");
    assert_eq!(answer, Enrolled::Inserted);
    signup.recalled()
}

/// A signup as it is stored.
pub(crate) async fn row<F: StoreFixture>(store: &F, signup: &Signup) -> Signup {
    store
        .signups()
        .get(signup.id)
        .await
        .expect("read")
        .expect("the signup is there")
}

/// A commit of `state` for a signup, decided on its version, at any time, with nothing else.
pub(crate) fn decision(signup: &Signup, state: State) -> SignupCommit {
    let signup = Signup {
        state,
        ..signup.clone()
    };
    SignupCommit {
        expected: signup.version,
        window: Window::ALWAYS,
        trail: vec![signup.state.kind()],
        signup,
        wake_at: None,
        effects: Vec::new(),
        under: None,
    }
}

/// Writes a decision that must apply; the row as it is stored afterwards.
pub(crate) async fn apply<F: StoreFixture>(store: &F, commit: SignupCommit) -> Signup {
    let signup = commit.signup.clone();
    let answer = store.signups().commit(commit).await.expect("committed");
    assert_eq!(answer, Committed::Applied);
    row(store, &signup).await
}

/// Runs all of them at once, each as a task of its own; their answers in order.
pub(crate) async fn at_once<T, Fut>(calls: impl IntoIterator<Item = Fut>) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.expect("no call panics"));
    }
    answers
}

/// Inserts contests, all at once.
pub(crate) async fn insert_all<F: StoreFixture>(store: &F, contests: &[Contest]) {
    let calls = contests.iter().cloned().map(|contest| {
        let contests = store.contests();
        async move { contests.insert(&contest).await.expect("an answer") }
    });
    assert!(at_once(calls).await.into_iter().all(|is_new| is_new));
}

/// As [`put`], all at once; their ids rise in the given order.
pub(crate) async fn put_all<F: StoreFixture>(
    store: &F,
    wanted: impl IntoIterator<Item = (&Contest, UserId, State)>,
) -> Vec<Signup> {
    let time = now(store).await.plus(-HOUR);
    let made: Vec<Signup> = wanted
        .into_iter()
        .map(|(contest, user, state)| signup_in(state, contest, user, time))
        .collect();
    let calls = made.clone().into_iter().map(|signup| {
        let signups = store.signups();
        async move { signups.restore(&signup).await.expect("an answer") }
    });
    let answers = at_once(calls).await;
    assert!(answers.iter().all(|answer| *answer == Enrolled::Inserted));
    made.into_iter().map(Signup::recalled).collect()
}

/// As [`apply`], all at once.
pub(crate) async fn apply_all<F: StoreFixture>(
    store: &F,
    commits: impl IntoIterator<Item = SignupCommit>,
) -> Vec<Signup> {
    let calls = commits.into_iter().map(|commit| {
        let (signups, id) = (store.signups(), commit.signup.id);
        async move {
            let answer = signups.commit(commit).await.expect("an answer");
            assert_eq!(answer, Committed::Applied);
            signups
                .get(id)
                .await
                .expect("read")
                .expect("the signup is there")
        }
    });
    at_once(calls).await
}

/// The items of all pages from the first one on; fails when they do not come to an end.
pub(crate) async fn all_pages<T, K: Copy>(
    limit: usize,
    mut page_after: impl AsyncFnMut(Option<K>) -> Page<T, K>,
) -> Vec<T> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = page_after(after).await;
        assert!(page.items.len() <= limit, "at most {limit}");
        assert!(
            page.next.is_none() || !page.items.is_empty(),
            "an empty page ends the list"
        );
        found.extend(page.items);
        assert!(found.len() <= 10_000, "pages repeat themselves");
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

//! The in-memory store passes the suite of every port of a store, and keeps the edges that only a
//! clock that can be set can show.
#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_memory::{
    faults::{Fault, Faults},
    store::{FaultyStore, MemoryStore},
    system::ManualClock,
};
use contract_tests::{
    fixture::StoreFixture,
    samples::{contest_in, signup_id, state, user},
};
use domain::{
    contest::{Contest, PhaseKind},
    effects::Effect,
    signup::{Signup, StateKind},
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
    store::{Committed, StoreError},
    switches::SwitchSettings,
    tasks::{Assigned, TaskEvents, Tasks},
    tickets::{Given, OWN_TICKETS_MAX, TICKETS_OF_USER_MAX, TicketHash, Tickets},
};
use std::sync::Arc;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

struct Memory {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
}

impl StoreFixture for Memory {
    async fn open(effects: &'static [Effect]) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock), effects));
        Self { clock, store }
    }

    async fn reopen(self) -> Self {
        // It lives as long as the value: there is nothing that a crash could take from it.
        self
    }

    async fn reach(&self, at: UnixMillis) {
        self.clock.set(at);
    }

    fn contests(&self) -> Arc<dyn ContestRepository> {
        Arc::clone(&self.store) as _
    }

    fn signups(&self) -> Arc<dyn SignupRepository> {
        Arc::clone(&self.store) as _
    }

    fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::clone(&self.store) as _
    }

    fn events(&self) -> Arc<dyn TaskEvents> {
        Arc::clone(&self.store) as _
    }

    fn leaderboard(&self) -> Arc<dyn Leaderboard> {
        Arc::clone(&self.store) as _
    }

    fn findings(&self) -> Arc<dyn Findings> {
        Arc::clone(&self.store) as _
    }

    fn reconciliations(&self) -> Arc<dyn Reconciliations> {
        Arc::clone(&self.store) as _
    }

    fn notices(&self) -> Arc<dyn Notices> {
        Arc::clone(&self.store) as _
    }

    fn switches(&self) -> Arc<dyn SwitchSettings> {
        Arc::clone(&self.store) as _
    }

    fn experiments(&self) -> Arc<dyn Experiments> {
        Arc::clone(&self.store) as _
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::clone(&self.store) as _
    }
}

contract_tests::store_suite!(Memory);
contract_tests::leases_suite!(Memory, |memory| memory.store.clone());
contract_tests::tickets_suite!(Memory, |memory| memory.store.clone());

/// The same store through a wrapper that does nothing passes too.
mod without_faults {
    use super::*;

    struct Wrapped(Memory, Arc<FaultyStore>);

    impl StoreFixture for Wrapped {
        async fn open(effects: &'static [Effect]) -> Self {
            let memory = Memory::open(effects).await;
            let faulty = FaultyStore::new(Arc::clone(&memory.store), Arc::default());
            Self(memory, Arc::new(faulty))
        }

        async fn reopen(self) -> Self {
            self
        }

        async fn reach(&self, at: UnixMillis) {
            self.0.reach(at).await;
        }

        fn contests(&self) -> Arc<dyn ContestRepository> {
            Arc::clone(&self.1) as _
        }

        fn signups(&self) -> Arc<dyn SignupRepository> {
            Arc::clone(&self.1) as _
        }

        fn tasks(&self) -> Arc<dyn Tasks> {
            Arc::clone(&self.1) as _
        }

        fn events(&self) -> Arc<dyn TaskEvents> {
            Arc::clone(&self.1) as _
        }

        fn leaderboard(&self) -> Arc<dyn Leaderboard> {
            Arc::clone(&self.1) as _
        }

        fn findings(&self) -> Arc<dyn Findings> {
            Arc::clone(&self.1) as _
        }

        fn reconciliations(&self) -> Arc<dyn Reconciliations> {
            Arc::clone(&self.1) as _
        }

        fn notices(&self) -> Arc<dyn Notices> {
            Arc::clone(&self.1) as _
        }

        fn switches(&self) -> Arc<dyn SwitchSettings> {
            Arc::clone(&self.1) as _
        }

        fn experiments(&self) -> Arc<dyn Experiments> {
            Arc::clone(&self.1) as _
        }

        fn outbox(&self) -> Arc<dyn Outbox> {
            self.0.outbox()
        }
    }

    contract_tests::store_suite!(Wrapped);
}

fn new_signup(contest: &Contest, name: &str) -> Signup {
    Signup::new(signup_id(), contest.id, user(name), contest.terms.fee, NOW)
}

async fn with_draft() -> (Memory, Contest) {
    let memory = Memory::open(Effect::ALL).await;
    let contest = contest_in(PhaseKind::Draft, NOW);
    assert!(memory.contests().insert(&contest).await.expect("inserted"));
    (memory, contest)
}

// hazard: B6
// hazard: B7
#[tokio::test]
async fn signups_are_open_from_the_first_moment_to_just_before_the_last() {
    let (memory, contest) = with_draft().await;
    let (opens_at, closes_at) = (
        contest.terms.signup_opens_at,
        contest.terms.signup_closes_at,
    );
    let moments = [
        (opens_at.plus(-1), Enrolled::NotOpen),
        (opens_at, Enrolled::Inserted),
        (closes_at.plus(-1), Enrolled::Inserted),
        (closes_at, Enrolled::NotOpen),
    ];
    for (number, (at, expected)) in moments.into_iter().enumerate() {
        memory.clock.set(at);
        let signup = new_signup(&contest, &format!("viewer-{number}"));
        let answer = memory
            .signups()
            .enroll(&signup, None)
            .await
            .expect("an answer");
        assert_eq!(answer, expected, "moment {number}");
    }
}

// hazard: B11
#[tokio::test]
async fn a_window_is_open_from_its_first_moment_to_just_before_its_last() {
    let (memory, contest) = with_draft().await;
    let (from, until) = (NOW.plus(10), NOW.plus(20));
    let window = Window {
        not_before: Some(from),
        before: Some(until),
    };
    let mut version = 1;
    for (at, expected) in [
        (from.plus(-1), Committed::GuardFailed),
        (from, Committed::Applied),
        (until.plus(-1), Committed::Applied),
        (until, Committed::GuardFailed),
    ] {
        memory.clock.set(at);
        let (lines, contest) = (Vec::new(), contest.clone());
        let commit = ContestCommit {
            expected: version,
            window,
            contest,
            lines,
            notices: Vec::new(),
            under: None,
        };
        let answer = memory.contests().commit(commit).await.expect("an answer");
        assert_eq!(answer, expected);
        version += u64::from(answer == Committed::Applied);
    }
}

#[tokio::test]
async fn sleepers_wake_at_their_very_moment() {
    let (memory, contest) = with_draft().await;
    let signup = new_signup(&contest, "ann");
    memory
        .signups()
        .enroll(&signup, Some(NOW.plus(10)))
        .await
        .expect("an answer");
    for (at, count) in [(9, 0), (10, 1)] {
        memory.clock.set(NOW.plus(at));
        assert_eq!(memory.signups().awake(9).await.expect("read").len(), count);
    }
    for (at, count) in [(-1, 0), (0, 1)] {
        memory.clock.set(contest.terms.signup_closes_at.plus(at));
        assert_eq!(memory.contests().awake(9).await.expect("read").len(), count);
    }
}

#[tokio::test]
async fn history_has_every_state_and_phase_that_was_entered() {
    let (memory, contest) = with_draft().await;
    let signup = new_signup(&contest, "ann");
    memory
        .signups()
        .enroll(&signup, None)
        .await
        .expect("an answer");
    let mut commit = SignupCommit {
        expected: 1,
        window: Window::ALWAYS,
        signup: Signup {
            state: state(StateKind::InProgress, NOW),
            ..signup.clone()
        },
        trail: vec![StateKind::Paid, StateKind::InProgress],
        wake_at: None,
        effects: Vec::new(),
        under: None,
    };
    let answer = memory
        .signups()
        .commit(commit.clone())
        .await
        .expect("an answer");
    assert_eq!(answer, Committed::Applied);
    // What was refused was not entered.
    let answer = memory
        .signups()
        .commit(commit.clone())
        .await
        .expect("an answer");
    assert_eq!(answer, Committed::GuardFailed);
    (commit.expected, commit.trail) = (2, vec![StateKind::Missed]);
    memory.signups().commit(commit).await.expect("an answer");
    let id = signup.id;
    let states = [
        (id, 1, StateKind::Initialized),
        (id, 2, StateKind::Paid),
        (id, 2, StateKind::InProgress),
        (id, 3, StateKind::Missed),
    ];
    assert_eq!(memory.store.signup_history(), states);

    let running = contest_in(PhaseKind::Running, NOW).phase;
    let contest = Contest {
        phase: running,
        ..contest
    };
    let (window, lines, id) = (Window::ALWAYS, Vec::new(), contest.id);
    let commit = ContestCommit {
        expected: 1,
        window,
        contest,
        lines,
        notices: Vec::new(),
        under: None,
    };
    memory.contests().commit(commit).await.expect("an answer");
    let phases = [(id, 1, PhaseKind::Draft), (id, 2, PhaseKind::Running)];
    assert_eq!(memory.store.contest_history(), phases);
    assert_eq!(memory.store.all_contests().len(), 1);
}

// hazard: F9
#[tokio::test]
async fn a_row_can_be_lost_and_restored() {
    let (memory, contest) = with_draft().await;
    let signup = new_signup(&contest, "ann");
    memory
        .signups()
        .enroll(&signup, None)
        .await
        .expect("an answer");
    let lost = memory.store.delete_signup(contest.id, &signup.user_id);
    assert_eq!(lost, Some(signup.clone().recalled()));
    assert_eq!(
        memory.store.delete_signup(contest.id, &signup.user_id),
        None
    );
    assert_eq!(memory.store.all_signups(), []);
    assert_eq!(memory.store.signup_history(), []);
    assert_eq!(memory.signups().get(signup.id).await.expect("read"), None);
    let again = new_signup(&contest, "ann");
    let answer = memory.signups().restore(&again).await.expect("an answer");
    assert_eq!(answer, Enrolled::Inserted);
    assert_eq!(memory.store.all_signups(), [again.recalled()]);
}

#[tokio::test]
async fn one_counter_numbers_the_calls_of_all_ports() {
    let (memory, contest) = with_draft().await;
    let faults = Arc::new(Faults::default());
    let faulty = FaultyStore::new(Arc::clone(&memory.store), Arc::clone(&faults));
    let ann = new_signup(&contest, "ann");
    faults.arm(1, Fault::After);
    assert_eq!(
        ContestRepository::now(&faulty)
            .await
            .expect("the first call"),
        NOW
    );
    let lost = faulty.enroll(&ann, None).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))));
    // It was carried out all the same.
    let answer = faulty.enroll(&ann, None).await.expect("an answer");
    assert_eq!(answer, Enrolled::Existing(ann.clone().recalled()));
    faults.arm(0, Fault::Before);
    assert_eq!(faulty.assign(&contest, &ann).await, Assigned::Unknown);
    faults.arm(0, Fault::Twice);
    let bob = new_signup(&contest, "bob");
    let answer = faulty.enroll(&bob, None).await.expect("an answer");
    assert_eq!(answer, Enrolled::Existing(bob.recalled()));
    assert_eq!(faults.calls(), 5);
    faults.disarm();
    assert_eq!(faulty.assign(&contest, &ann).await, Assigned::Assigned);
}

#[tokio::test]
async fn the_tickets_of_a_process_are_bounded_and_go_with_time() {
    let memory = Memory::open(&[]).await;
    let give = async |number: u32, name: &str| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        let ticket = TicketHash(hash);
        let given = memory.store.give(ticket, &user(name), 60_000).await;
        given.expect("an answer")
    };
    let max = u32::try_from(OWN_TICKETS_MAX).expect("a few");
    for number in 0..max {
        let name = format!("viewer-{}", number / TICKETS_OF_USER_MAX);
        assert!(matches!(give(number, &name).await, Given::Until(_)));
    }
    assert_eq!(give(max, "ann").await, Given::Full);
    memory.clock.advance(59_999);
    assert_eq!(give(max, "ann").await, Given::Full);
    memory.clock.advance(1);
    assert!(matches!(give(max, "ann").await, Given::Until(_)));
}

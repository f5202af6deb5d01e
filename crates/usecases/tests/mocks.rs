//! Rare answers, forced by mocks; and the seed's own test: N claims at once against a funds
//! system that is itself idempotent add once.

mod world;

use async_trait::async_trait;
use domain::{
    contest::PhaseKind,
    finding::FindingClass,
    judge::Progress,
    money::Coins,
    order::{Account, Leg, OrderId},
    signup::StateKind,
    time::UnixMillis,
    transfer::{Content, Position, Receipt, Refusal, Transfer},
};
use mockall::predicate::always;
use ports::{
    contests::MockContestRepository,
    findings::MockFindings,
    funds::{Capabilities, Funds, FundsError, Lookup, MockFunds, TransferOutcome, TransferRequest},
    signups::MockSignupRepository,
    store::StoreError,
    tasks::{Assigned, MockTaskEvents, MockTasks},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use usecases::{Claimed, Contests, Failure, Ports, SignedUp, UnsafeFunds};
use world::{START, World, coins, terms, user};

const ALL: Capabilities = Capabilities {
    close_credits: true,
    closed_position: true,
    linearizable_lookup: true,
    orders_for_ever: true,
};

/// A funds mock that promises everything.
fn funds() -> MockFunds {
    let mut funds = MockFunds::new();
    funds.expect_capabilities().return_const(ALL);
    funds
}

/// Claims at once, all by one viewer, against a funds mock whose transfers add once for an order,
/// as the real one's do.
async fn claims_at_once(claims: usize) {
    let world = Arc::new(World::new());
    let process = world.process();
    world.grant("ann", 100);
    let contest = world.create(&process, terms()).await;
    world.sign_up(&process, contest, "ann").await;
    world.finish("ann").await;
    world.at(START.plus(121_000));
    world.settle_down(&process).await;

    let added: Arc<Mutex<BTreeMap<OrderId, Transfer>>> = Arc::default();
    let mut mock = funds();
    let book = Arc::clone(&added);
    mock.expect_transfer()
        .with(always())
        .returning(move |request| {
            let mut book = book.lock().expect("a lock");
            let position = Position(1_000 + book.len() as u64);
            let receipt = Receipt {
                position,
                applied_at: START,
            };
            TransferOutcome::Applied(
                book.entry(request.order_id)
                    .or_insert_with(|| transfer(request, receipt))
                    .clone(),
            )
        });
    let book = Arc::clone(&added);
    mock.expect_lookup().returning(move |orders| {
        let book = book.lock().expect("a lock");
        let found = orders
            .iter()
            .map(|order| book.get(order).cloned())
            .collect();
        Ok(Lookup {
            found,
            position: Position(2_000),
            at: START,
        })
    });
    let process = Arc::new(world.process_with(Arc::new(mock)));
    let calls: Vec<_> = (0..claims)
        .map(|_| {
            let process = Arc::clone(&process);
            tokio::spawn(async move { process.claim(contest, &user("ann")).await })
        })
        .collect();
    for call in calls {
        let claimed = call.await.expect("a task").expect("an answer");
        let Claimed::Yes(seen) = claimed else {
            panic!("{claimed:?}")
        };
        assert_eq!(
            (seen.signup.state.kind(), seen.signup.state.prize()),
            (StateKind::Shared, Some(coins(10)))
        );
    }
    let added = added.lock().expect("a lock");
    assert_eq!(added.len(), 1, "one prize");
    assert!(added.contains_key(&Leg::Prize(contest, user("ann")).order_id()));
    let shared = world
        .store
        .signup_history()
        .iter()
        .filter(|(.., state)| *state == StateKind::Shared)
        .count();
    assert_eq!(shared, 1, "recorded once");
}

fn transfer(request: &TransferRequest, receipt: Receipt) -> Transfer {
    Transfer {
        order_id: request.order_id,
        content: request.content.clone(),
        receipt,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_claims_at_once_add_once() {
    claims_at_once(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_claims_at_once_add_once() {
    claims_at_once(1_000).await;
}

#[test]
fn a_funds_system_without_what_safety_needs_is_refused() {
    let lacking = [
        (
            Capabilities {
                close_credits: false,
                ..ALL
            },
            "close_credits",
        ),
        (
            Capabilities {
                linearizable_lookup: false,
                ..ALL
            },
            "a linearizable look-up",
        ),
        (
            Capabilities {
                orders_for_ever: false,
                ..ALL
            },
            "order ids that are remembered for ever",
        ),
    ];
    for (capabilities, what) in lacking {
        let mut mock = MockFunds::new();
        mock.expect_capabilities().return_const(capabilities);
        let world = World::new();
        let ports = Ports {
            funds: Arc::new(mock),
            ..world.process().ports().clone()
        };
        assert_eq!(Contests::new(ports).err(), Some(UnsafeFunds(what)));
    }
}

/// A world where ann, with coins, meets a contest and a funds system that answers a transfer so.
async fn charged_with(
    answer: impl Fn(&TransferRequest) -> TransferOutcome + Send + 'static,
    found: impl Fn(&[OrderId]) -> Result<Lookup, FundsError> + Send + 'static,
) -> (World, domain::ids::ContestId, SignedUp) {
    let world = World::new();
    let contest = world.create(&world.process(), terms()).await;
    let mut mock = funds();
    mock.expect_transfer().returning(answer);
    mock.expect_lookup().returning(found);
    let signed_up = world
        .process_with(Arc::new(mock))
        .sign_up(contest, &user("ann"), None)
        .await
        .expect("an answer");
    (world, contest, signed_up)
}

fn nothing(orders: &[OrderId]) -> Result<Lookup, FundsError> {
    Ok(Lookup {
        found: vec![None; orders.len()],
        position: Position(1),
        at: START,
    })
}

// hazard: A1, A14
#[tokio::test]
async fn an_unanswered_fee_is_neither_paid_nor_refused() {
    for outcome in [TransferOutcome::Unknown, TransferOutcome::NotSent] {
        let (world, contest, signed_up) = charged_with(move |_| outcome.clone(), nothing).await;
        assert!(matches!(signed_up, SignedUp::Pending(_)), "{signed_up:?}");
        assert_eq!(world.state(contest, "ann"), StateKind::Initialized);
    }
}

#[tokio::test]
async fn each_refusal_of_a_fee_has_its_answer() {
    for refusal in Refusal::ALL.iter().copied() {
        let (_, _, signed_up) =
            charged_with(move |_| TransferOutcome::Refused(refusal), nothing).await;
        let fits = match refusal {
            Refusal::InsufficientBalance | Refusal::UnknownAccount | Refusal::AccountClosed => {
                matches!(signed_up, SignedUp::InsufficientFunds(_))
            }
            Refusal::ClosedToCredits => matches!(signed_up, SignedUp::Closed),
            Refusal::PastNotAfter => matches!(signed_up, SignedUp::Pending(_)),
            Refusal::BalanceLimit => matches!(signed_up, SignedUp::PoolFull(_)),
        };
        assert!(fits, "{refusal:?}: {signed_up:?}");
    }
}

// hazard: A13
#[tokio::test]
async fn an_echo_of_something_else_is_an_alarm_and_never_a_success() {
    let foreign = |request: &TransferRequest| Transfer {
        order_id: request.order_id,
        content: Content {
            amount: coins(1),
            ..request.content.clone()
        },
        receipt: Receipt {
            position: Position(1),
            applied_at: START,
        },
    };
    let stored: Arc<Mutex<Option<Transfer>>> = Arc::default();
    let keep = Arc::clone(&stored);
    let (world, contest, signed_up) = charged_with(
        move |request| {
            *keep.lock().expect("a lock") = Some(foreign(request));
            TransferOutcome::Applied(foreign(request))
        },
        move |_| {
            let found = vec![stored.lock().expect("a lock").clone()];
            Ok(Lookup {
                found,
                position: Position(2),
                at: START,
            })
        },
    )
    .await;
    assert!(matches!(signed_up, SignedUp::Pending(_)), "{signed_up:?}");
    assert_eq!(world.state(contest, "ann"), StateKind::Initialized);
    let findings = world
        .process()
        .ports()
        .findings
        .list(ports::findings::FindingFilter::open_of(contest), None, 10)
        .await
        .expect("findings")
        .items;
    assert_eq!(
        findings
            .iter()
            .map(|finding| finding.class)
            .collect::<Vec<_>>(),
        [FindingClass::AmountDiffers]
    );
}

// hazard: A13
#[tokio::test]
async fn a_lookup_about_other_orders_is_no_answer() {
    let (world, contest, signed_up) = charged_with(
        |_| TransferOutcome::Conflict,
        |_| {
            let content = Content {
                from: Account::User(user("bob")),
                to: Account::User(user("cai")),
                amount: Coins::MAX,
            };
            let receipt = Receipt {
                position: Position(1),
                applied_at: START,
            };
            let other = Transfer {
                order_id: OrderId([7; 16]),
                content,
                receipt,
            };
            Ok(Lookup {
                found: vec![Some(other)],
                position: Position(2),
                at: START,
            })
        },
    )
    .await;
    assert!(matches!(signed_up, SignedUp::Pending(_)), "{signed_up:?}");
    assert_eq!(world.state(contest, "ann"), StateKind::Initialized);
}

// hazard: A3
#[tokio::test]
async fn a_stale_not_found_never_expires_a_signup() {
    let world = World::new();
    world.grant("ann", 100);
    let process = world.process();
    let contest = world.create(&process, terms()).await;
    let mut mute = funds();
    mute.expect_transfer()
        .returning(|_| TransferOutcome::Unknown);
    mute.expect_lookup().returning(nothing);
    mute.expect_close_credits().returning(|_| {
        Ok(domain::transfer::CreditsClosed {
            position: Position(50),
        })
    });
    let process = world.process_with(Arc::new(mute));
    let pending = process
        .sign_up(contest, &user("ann"), None)
        .await
        .expect("an answer");
    assert!(matches!(pending, SignedUp::Pending(_)));
    world.at(START.plus(60_500));
    for _ in 0..3 {
        process.run_contest(contest).await.expect("a pass");
        world.clock.advance(1_000);
    }
    assert_eq!(world.phase(contest), PhaseKind::Running);
    assert_eq!(
        world.state(contest, "ann"),
        StateKind::Initialized,
        "answered at position 1, closed at 50"
    );
}

/// A store that fails: nothing was decided, the caller is told so.
#[tokio::test]
async fn a_store_that_fails_decides_nothing() {
    let world = World::new();
    let contest = world.create(&world.process(), terms()).await;
    let known = world.contest(contest);
    let mut contests = MockContestRepository::new();
    contests
        .expect_get()
        .returning(move |_| Ok(Some(known.clone())));
    let mut signups = MockSignupRepository::new();
    signups
        .expect_enroll()
        .times(1)
        .returning(|_, _| Err(StoreError::unavailable("cut off")));
    let mut silent = funds();
    silent.expect_transfer().never();
    let ports = Ports {
        contests: Arc::new(contests),
        signups: Arc::new(signups),
        tasks: Arc::new(MockTasks::new()),
        events: Arc::new(MockTaskEvents::new()),
        findings: Arc::new(MockFindings::new()),
        funds: Arc::new(silent),
        ..world.process().ports().clone()
    };
    let process = Contests::new(ports).expect("a safe funds system");
    let failed = process.sign_up(contest, &user("ann"), None).await;
    assert!(
        matches!(failed, Err(Failure::Store(StoreError::Unavailable(_)))),
        "{failed:?}"
    );
}

/// A task system that does not answer leaves the signup paid, and is asked again later.
#[tokio::test]
async fn an_unanswered_assignment_is_tried_again() {
    let world = World::new();
    world.grant("ann", 100);
    let contest = world.create(&world.process(), terms()).await;
    let mut tasks = MockTasks::new();
    tasks
        .expect_assign()
        .times(1)
        .return_const(Assigned::Unknown);
    let ports = Ports {
        tasks: Arc::new(tasks),
        ..world.process().ports().clone()
    };
    let process = Contests::new(ports).expect("a safe funds system");
    let signed_up = process
        .sign_up(contest, &user("ann"), None)
        .await
        .expect("an answer");
    assert!(
        matches!(signed_up, SignedUp::Yes(_)),
        "paid is paid: {signed_up:?}"
    );
    assert_eq!(world.state(contest, "ann"), StateKind::Paid);
    world.clock.advance(10_000);
    assert_eq!(world.process().compensate().await.expect("a round"), 1);
    assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
}

/// A task system that is not complete yet decides nothing about those who did not finish.
#[tokio::test]
async fn nobody_is_judged_before_the_task_system_is_complete() {
    let world = World::new();
    world.grant("ann", 100);
    let process = world.process();
    let contest = world.create(&process, terms()).await;
    world.sign_up(&process, contest, "ann").await;
    let complete = Arc::new(Mutex::new(UnixMillis(0)));
    let mut tasks = MockTasks::new();
    let until = Arc::clone(&complete);
    tasks.expect_progress().returning(move |_, signups| {
        let complete_until = *until.lock().expect("a lock");
        Ok(vec![
            Progress {
                quantity: 0,
                met_at: None,
                complete_until
            };
            signups.len()
        ])
    });
    let ports = Ports {
        tasks: Arc::new(tasks),
        ..process.ports().clone()
    };
    let process = Contests::new(ports).expect("a safe funds system");
    world.at(START.plus(130_000));
    process.run_contest(contest).await.expect("a pass");
    assert_eq!(
        (world.phase(contest), world.state(contest, "ann")),
        (PhaseKind::Judging, StateKind::InProgress)
    );
    *complete.lock().expect("a lock") = terms().tasks_end_at;
    world.clock.advance(1_000);
    process.run_contest(contest).await.expect("a pass");
    assert_eq!(world.phase(contest), PhaseKind::Cancelled);
    world.check();
}

/// A funds system that hangs is not waited for longer than its deadline.
#[tokio::test(start_paused = true)]
async fn a_hanging_funds_system_is_an_unknown_outcome() {
    struct Hangs;

    #[async_trait]
    impl Funds for Hangs {
        fn capabilities(&self) -> Capabilities {
            ALL
        }
        async fn open_account(&self, _: &Account) -> Result<(), FundsError> {
            std::future::pending().await
        }
        async fn transfer(&self, _: &TransferRequest) -> TransferOutcome {
            std::future::pending().await
        }
        async fn lookup(&self, _: &[OrderId]) -> Result<Lookup, FundsError> {
            std::future::pending().await
        }
        async fn close_credits(
            &self,
            _: &Account,
        ) -> Result<domain::transfer::CreditsClosed, FundsError> {
            std::future::pending().await
        }
        async fn balance(&self, _: &Account) -> Result<ports::funds::Balance, FundsError> {
            std::future::pending().await
        }
        async fn list(
            &self,
            _: &Account,
            _: Position,
            _: usize,
        ) -> Result<ports::funds::TransferPage, FundsError> {
            std::future::pending().await
        }
    }

    let world = World::new();
    let contest = world.create(&world.process(), terms()).await;
    let process = world.process_with(Arc::new(Hangs));
    let pending = process
        .sign_up(contest, &user("ann"), None)
        .await
        .expect("an answer");
    assert!(matches!(pending, SignedUp::Pending(_)), "{pending:?}");
    world.at(START.plus(61_000));
    assert!(matches!(
        process.run_contest(contest).await,
        Err(Failure::Funds(FundsError::Unavailable(_)))
    ));
}

/// Asking again and again while the funds system is away does not put the repair off.
#[tokio::test]
async fn a_read_without_an_answer_changes_nothing() {
    let world = World::new();
    world.grant("ann", 100);
    let contest = world.create(&world.process(), terms()).await;
    let mut mute = funds();
    mute.expect_transfer()
        .returning(|_| TransferOutcome::Unknown);
    mute.expect_lookup()
        .times(5)
        .returning(|_| Err(FundsError::unavailable("away")));
    let process = world.process_with(Arc::new(mute));
    let pending = process.sign_up(contest, &user("ann"), None).await;
    assert!(matches!(pending, Ok(SignedUp::Pending(_))), "{pending:?}");
    let before = world.signup(contest, "ann");
    for _ in 0..5 {
        let seen = process
            .read(contest, &user("ann"))
            .await
            .expect("an answer");
        assert_eq!(seen.map(|seen| seen.signup), before);
    }
    assert_eq!(world.signup(contest, "ann"), before);
    // The second try is due a few seconds after the first, as if nobody had asked.
    world.clock.advance(6_000);
    assert_eq!(world.process().compensate().await.expect("a round"), 1);
    assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
}

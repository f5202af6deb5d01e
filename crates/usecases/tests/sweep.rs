//! For every port call of every flow: it fails before, fails after, is answered twice, hangs, or
//! the process crashes before or after it. Then a new process recovers, and the end is the same to
//! the coin as without the fault.

mod world;

use adapters_memory::faults::Fault;
use domain::{
    contest::PhaseKind,
    ids::ContestId,
    money::Coins,
    terms::{ClaimMode, Terms, Unclaimed},
};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use usecases::Contests;
use world::{START, World, coins, terms, user};

/// A flow that is swept: what comes before it, and the flow itself.
struct Flow {
    name: &'static str,
    terms: fn() -> Terms,
    /// Brings the world to where the flow begins, without faults.
    before: for<'a> fn(&'a World, &'a Contests, ContestId) -> Step<'a>,
    /// The flow. Its answers do not matter: whoever calls may be gone.
    flow: for<'a> fn(&'a Contests, ContestId) -> Step<'a>,
    /// How the contest must end, and what ann and bob must hold then, whatever went wrong.
    ends: fn(Outcome) -> bool,
}

type Step<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    phase: PhaseKind,
    ann: i64,
    bob: i64,
}

const fn outcome(phase: PhaseKind, ann: i64, bob: i64) -> Outcome {
    Outcome { phase, ann, bob }
}

/// Bob is in and has finished; ann has coins.
fn bob_finished<'a>(world: &'a World, process: &'a Contests, contest: ContestId) -> Step<'a> {
    Box::pin(async move {
        world.sign_up(process, contest, "bob").await;
        world.finish("bob").await;
    })
}

/// Both are in and have finished.
fn both_finished<'a>(world: &'a World, process: &'a Contests, contest: ContestId) -> Step<'a> {
    Box::pin(async move {
        bob_finished(world, process, contest).await;
        world.sign_up(process, contest, "ann").await;
        world.finish("ann").await;
    })
}

/// Both are in; only bob has finished; the tasks are over.
fn tasks_over<'a>(world: &'a World, process: &'a Contests, contest: ContestId) -> Step<'a> {
    Box::pin(async move {
        bob_finished(world, process, contest).await;
        world.sign_up(process, contest, "ann").await;
        world.at(START.plus(121_000));
    })
}

/// Prizes can be claimed.
fn claimable<'a>(world: &'a World, process: &'a Contests, contest: ContestId) -> Step<'a> {
    Box::pin(async move {
        both_finished(world, process, contest).await;
        world.at(START.plus(121_000));
        world.settle_down(process).await;
        assert_eq!(world.phase(contest), PhaseKind::Claimable);
    })
}

/// Nobody has claimed, and the window is over.
fn claims_over<'a>(world: &'a World, process: &'a Contests, contest: ContestId) -> Step<'a> {
    Box::pin(async move {
        claimable(world, process, contest).await;
        world.at(START.plus(200_000));
    })
}

/// Both are in, a guarantee lies in the pool, and the contest has been cancelled.
fn cancelled<'a>(world: &'a World, process: &'a Contests, contest: ContestId) -> Step<'a> {
    Box::pin(async move {
        both_finished(world, process, contest).await;
        process.cancel(contest).await.expect("a cancel");
    })
}

fn guaranteed() -> Terms {
    Terms {
        guaranteed_pool: coins(30),
        ..terms()
    }
}

fn automatic() -> Terms {
    Terms {
        claim_mode: ClaimMode::Automatic,
        guaranteed_pool: coins(31),
        ..terms()
    }
}

fn forfeiting() -> Terms {
    Terms {
        unclaimed: Unclaimed::Platform,
        ..terms()
    }
}

const FLOWS: &[Flow] = &[
    Flow {
        name: "sign up",
        terms,
        before: bob_finished,
        flow: |process, contest| {
            Box::pin(async move { drop(process.sign_up(contest, &user("ann"), None).await) })
        },
        // She is in and misses the task, or she was never charged.
        ends: |end| {
            end == outcome(PhaseKind::Closed, 90, 110)
                || end == outcome(PhaseKind::Closed, 100, 100)
        },
    },
    Flow {
        name: "read with repair",
        terms,
        before: both_finished,
        flow: |process, contest| {
            Box::pin(async move { drop(process.read(contest, &user("ann")).await) })
        },
        ends: |end| end == outcome(PhaseKind::Closed, 100, 100),
    },
    Flow {
        name: "claim",
        terms,
        before: claimable,
        flow: |process, contest| {
            Box::pin(async move { drop(process.claim(contest, &user("ann")).await) })
        },
        ends: |end| end == outcome(PhaseKind::Closed, 100, 100),
    },
    Flow {
        name: "settle",
        terms: guaranteed,
        before: tasks_over,
        flow: |process, contest| Box::pin(async move { drop(process.run_contest(contest).await) }),
        ends: |end| end == outcome(PhaseKind::Closed, 90, 120),
    },
    Flow {
        name: "settle and pay automatically",
        terms: automatic,
        before: |world, process, contest| {
            Box::pin(async move {
                both_finished(world, process, contest).await;
                world.at(START.plus(121_000));
            })
        },
        flow: |process, contest| Box::pin(async move { drop(process.run_contest(contest).await) }),
        ends: |end| {
            end == outcome(PhaseKind::Closed, 106, 105)
                || end == outcome(PhaseKind::Closed, 105, 106)
        },
    },
    Flow {
        name: "pay what was not claimed",
        terms,
        before: claims_over,
        flow: |process, contest| Box::pin(async move { drop(process.run_contest(contest).await) }),
        ends: |end| end == outcome(PhaseKind::Closed, 100, 100),
    },
    Flow {
        name: "take back what was not claimed",
        terms: forfeiting,
        before: claims_over,
        flow: |process, contest| Box::pin(async move { drop(process.run_contest(contest).await) }),
        ends: |end| end == outcome(PhaseKind::Closed, 90, 90),
    },
    Flow {
        name: "cancel",
        terms: guaranteed,
        before: both_finished,
        flow: |process, contest| {
            Box::pin(async move {
                if process.cancel(contest).await.is_ok() {
                    drop(process.run_contest(contest).await);
                }
            })
        },
        // Cancelled, or nobody heard the operator: two fees of 10, a guaranteed pool of 30.
        ends: |end| {
            end == outcome(PhaseKind::Cancelled, 100, 100)
                || end == outcome(PhaseKind::Closed, 105, 105)
        },
    },
    Flow {
        name: "refund",
        terms: guaranteed,
        before: cancelled,
        flow: |process, contest| Box::pin(async move { drop(process.run_contest(contest).await) }),
        ends: |end| end == outcome(PhaseKind::Cancelled, 100, 100),
    },
    Flow {
        name: "settle where a row was lost",
        terms,
        before: |world, process, contest| {
            Box::pin(async move {
                bob_finished(world, process, contest).await;
                world.sign_up(process, contest, "ann").await;
                world
                    .store
                    .delete_signup(contest, &user("ann"))
                    .expect("a row");
                world.at(START.plus(121_000));
            })
        },
        flow: |process, contest| Box::pin(async move { drop(process.run_contest(contest).await) }),
        ends: |end| end == outcome(PhaseKind::Closed, 100, 100),
    },
    Flow {
        name: "no winners",
        terms,
        before: |world, process, contest| {
            Box::pin(async move {
                world.sign_up(process, contest, "ann").await;
                world.sign_up(process, contest, "bob").await;
                world.at(START.plus(121_000));
            })
        },
        flow: |process, contest| Box::pin(async move { drop(process.run_contest(contest).await) }),
        ends: |end| end == outcome(PhaseKind::Cancelled, 100, 100),
    },
];

async fn prepared(flow: &Flow) -> (World, ContestId) {
    let world = World::new();
    let process = world.process();
    world.grant("ann", 100);
    world.grant("bob", 100);
    let contest = world.create(&process, (flow.terms)()).await;
    (flow.before)(&world, &process, contest).await;
    (world, contest)
}

/// Runs the flow with a fault at its `at`-th call; false if it ended before that call.
async fn interrupted(flow: &Flow, at: u64, fault: Fault) -> bool {
    let (world, contest) = prepared(flow).await;
    let process = world.faulty_process();
    world.faults.arm(at, fault);
    let first = world.faults.calls();
    // A flow that hangs is ended with its process; paused time passes at once.
    tokio::select! {
        () = (flow.flow)(&process, contest) => {}
        () = world.faults.crashed() => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => {}
    }
    let reached = world.faults.calls() - first > at;
    world.faults.disarm();
    drop(process);
    recovered(flow, &world, contest, &format!("call {at}, {fault:?}")).await;
    reached
}

async fn recovered(flow: &Flow, world: &World, contest: ContestId, what: &str) {
    let process = world.process();
    world.to_the_end(&process).await;
    let end = outcome(world.phase(contest), world.held("ann"), world.held("bob"));
    assert!(
        (flow.ends)(end),
        "{}, {what}: {end:?}\n{:#?}",
        flow.name,
        world.signups(contest)
    );
    let open = process
        .ports()
        .findings
        .list(ports::findings::FindingFilter::open_of(contest), None, 10)
        .await
        .expect("findings")
        .items;
    assert!(open.is_empty(), "{}, {what}: {open:?}", flow.name);
    world.check();
}

// hazard: A4, A5, A6, A7, A8, G1, B12
#[tokio::test(start_paused = true)]
async fn every_call_of_every_flow_may_go_wrong() {
    let mut runs = 0;
    for flow in FLOWS {
        let (world, contest) = prepared(flow).await;
        (flow.flow)(&world.process(), contest).await;
        recovered(flow, &world, contest, "without a fault").await;
        let mut calls = 0;
        for fault in Fault::ALL {
            let mut at = 0;
            while interrupted(flow, at, fault).await {
                at += 1;
                runs += 1;
                assert!(at < 1_000, "{} does not end", flow.name);
            }
            calls = calls.max(at);
        }
        assert!(calls > 2, "{} makes only {calls} calls", flow.name);
        println!(
            "{}: {calls} calls, each with {} faults",
            flow.name,
            Fault::ALL.len()
        );
    }
    println!("{runs} runs");
}

/// Opening a contest is swept apart: its id is not known before.
#[tokio::test(start_paused = true)]
async fn every_call_of_opening_a_contest_may_go_wrong() {
    for fault in Fault::ALL {
        for at in 0.. {
            let world = World::new();
            let process = world.faulty_process();
            world.faults.arm(at, fault);
            tokio::select! {
                _ = process.create("swept".to_owned(), guaranteed(), None) => {}
                () = world.faults.crashed() => {}
                () = tokio::time::sleep(Duration::from_secs(60)) => {}
            }
            let reached = world.faults.calls() > at;
            world.faults.disarm();
            let process = world.process();
            world.settle_down(&process).await;
            for contest in world.store.all_contests() {
                assert_eq!(
                    contest.phase.kind(),
                    PhaseKind::Draft,
                    "call {at}, {fault:?}"
                );
                assert_eq!(world.balance(&contest.pool_account()), 30);
            }
            world.to_the_end(&process).await;
            world.check();
            if !reached {
                break;
            }
        }
    }
}

/// Two processes at once, each with faults of its own, do no harm to one another.
#[tokio::test]
async fn two_processes_at_once_do_no_harm() {
    let world = Arc::new(World::new());
    let names: Vec<String> = (0..40).map(|number| format!("viewer-{number}")).collect();
    for name in &names {
        world.grant(name, 10);
    }
    let nodes = [Arc::new(world.process()), Arc::new(world.process())];
    let contest = world.create(&nodes[0], terms()).await;
    let calls = names.iter().flat_map(|name| {
        nodes
            .iter()
            .cycle()
            .take(6)
            .map(move |node| (name.clone(), node))
    });
    let calls: Vec<_> = calls
        .map(|(name, node)| {
            let node = Arc::clone(node);
            tokio::spawn(async move { node.sign_up(contest, &user(&name), None).await })
        })
        .collect();
    for call in calls {
        call.await.expect("a task").expect("an answer");
    }
    assert_eq!(world.signups(contest).len(), names.len());
    for name in names.iter().step_by(2) {
        world.finish(name).await;
    }
    world.at(START.plus(121_000));
    for _ in 0..4 {
        let (one, other) =
            tokio::join!(nodes[0].run_contest(contest), nodes[1].run_contest(contest));
        one.expect("a pass");
        other.expect("a pass");
    }
    let claims: Vec<_> = names
        .iter()
        .flat_map(|name| {
            nodes
                .iter()
                .map(move |node| (name.clone(), Arc::clone(node)))
        })
        .map(|(name, node)| tokio::spawn(async move { node.claim(contest, &user(&name)).await }))
        .collect();
    for claim in claims {
        claim.await.expect("a task").expect("an answer");
    }
    world.to_the_end(&nodes[0]).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    let held: i64 = names.iter().map(|name| world.held(name)).sum();
    assert_eq!(held, 400);
    assert_eq!(Coins::try_from(world.held(&names[0])), Ok(coins(20)));
    world.check();
}

//! The clauses of the tasks port over real gRPC, and what becomes of answers that fail or cannot
//! be true.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;
#[cfg(feature = "python")]
mod python;

use adapters_tasks::{BreakerState, GrpcTasks, Settings, SetupError, proto};
use common::Served;
use contract_tests::samples::{contest_in, receipt, signup_in, user};
use domain::{
    contest::{Contest, PhaseKind},
    signup::{FeeTry, Signup, State},
    time::UnixMillis,
};
use ports::tasks::{Assigned, PROGRESS_MAX, Tasks};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{net::TcpListener, time::timeout};
use tonic::{Code, Status};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// Where events come from.
trait Feed {
    fn happened(&mut self, user: &str, kind: &str, quantity: u64, at: i64);
    fn complete(&mut self, until: i64);
}

impl Feed for &Served {
    fn happened(&mut self, user: &str, kind: &str, quantity: u64, at: i64) {
        self.system.happened(user, kind, quantity, at);
    }

    fn complete(&mut self, until: i64) {
        self.system.complete(until);
    }
}

fn open(url: &str) -> GrpcTasks {
    GrpcTasks::open(&Settings::new("tasks", url)).expect("a client")
}

fn running(target: u64) -> Contest {
    let mut contest = contest_in(PhaseKind::Running, NOW);
    contest.terms.task.target = target;
    contest
}

fn paid(contest: &Contest, name: &str) -> Signup {
    let mut fee = receipt(5, NOW);
    fee.applied_at = contest.terms.signup_opens_at.plus(1_000);
    signup_in(State::InProgress(fee), contest, user(name), NOW)
}

/// Every clause of the port, against whatever stands behind `url`.
async fn clauses(url: &str, mut feed: impl Feed) {
    let (tasks, contest) = (open(url), running(10));
    let kind = contest.terms.task.kind.to_string();
    let (ann, bob) = (paid(&contest, "ann"), paid(&contest, "bob"));
    let from = contest.terms.signup_opens_at.plus(1_000);
    let until = contest.terms.tasks_end_at;
    // 1: idempotent by signup id; other content under it is not taken.
    for _ in 0..3 {
        assert_eq!(tasks.assign(&contest, &ann).await, Assigned::Assigned);
    }
    let mut other = ann.clone();
    other.user_id = user("eve");
    assert_eq!(tasks.assign(&contest, &other).await, Assigned::Unknown);
    // 2 and 3: from the fee up to the end, in event time, whatever the order of arrival.
    for (quantity, at) in [
        (100, from.plus(-1)),
        (4, until.plus(-1)),
        (6, from.plus(5)),
        (100, until),
        (3, from),
    ] {
        feed.happened("ann", &kind, quantity, at.0);
    }
    feed.happened("ann", "another_kind", 100, from.0);
    feed.happened("bob", &kind, 9, from.0);
    feed.complete(from.0);
    let unpaid = signup_in(
        State::Initialized(FeeTry::NotSent),
        &contest,
        user("ann"),
        NOW,
    );
    let all = [bob, ann, unpaid];
    let told = tasks.progress(&contest, &all).await.expect("an answer");
    let seen: Vec<_> = told.iter().map(|one| (one.quantity, one.met_at)).collect();
    assert_eq!(
        seen,
        [(9, None), (13, Some(until.plus(-1))), (0, None)],
        "in the order of the question"
    );
    assert!(told.iter().all(|one| one.complete_until == from));
    // 4: final once it says so.
    feed.complete(until.0);
    let last = tasks.progress(&contest, &all).await.expect("an answer");
    assert!(last.iter().all(|one| one.complete_until == until));
    assert_eq!(
        tasks.progress(&contest, &all).await.expect("an answer"),
        last
    );
    // The largest question, the empty one, and one that is too large.
    let many = vec![all[0].clone(); PROGRESS_MAX];
    let told = tasks.progress(&contest, &many).await.expect("an answer");
    assert_eq!(told.len(), PROGRESS_MAX);
    assert_eq!(tasks.progress(&contest, &[]).await.expect("an answer"), []);
    let more = vec![all[0].clone(); PROGRESS_MAX + 1];
    assert!(tasks.progress(&contest, &more).await.is_err());
}

// hazard: B5, B18
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clauses_hold_over_grpc() {
    let served = Served::new().await;
    clauses(&served.url(), &served).await;
}

#[cfg(feature = "python")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clauses_hold_against_a_server_written_in_python_from_the_proto() {
    let server = python::Server::start();
    let url = server.url.clone();
    timeout(Duration::from_secs(60), clauses(&url, server))
        .await
        .expect("within a minute");
}

// hazard: A13, J11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_true_is_not_believed() {
    type Bend = fn(&mut proto::ProgressResponse);
    let bends: [(&str, Bend); 8] = [
        ("too few", |told| {
            told.progress.pop();
        }),
        ("too many", |told| {
            told.progress.push(proto::Progress::default())
        }),
        ("another order", |told| told.progress.reverse()),
        ("no complete_until", |told| {
            told.progress[0].complete_until_unix_ms = None;
        }),
        ("met without the quantity", |told| {
            told.progress[0].met_at_unix_ms = Some(NOW.0);
        }),
        ("the quantity without met", |told| {
            told.progress[0].quantity = 10
        }),
        ("met before paying", |told| {
            told.progress[0].quantity = 10;
            told.progress[0].met_at_unix_ms = Some(0);
        }),
        ("met after the end", |told| {
            told.progress[0].quantity = 10;
            told.progress[0].met_at_unix_ms = Some(i64::MAX);
        }),
    ];
    let served = Served::new().await;
    let (tasks, contest) = (open(&served.url()), running(10));
    let signups = [paid(&contest, "ann"), paid(&contest, "bob")];
    assert!(tasks.progress(&contest, &signups).await.is_ok());
    for (name, bend) in bends {
        *served.system.bend.lock().expect("a lock") = Some(Box::new(bend));
        let answer = tasks.progress(&contest, &signups).await;
        assert!(answer.is_err(), "{name}: {answer:?}");
    }
    *served.system.misnames.lock().expect("a lock") = true;
    let outcome = tasks.assign(&contest, &signups[0]).await;
    assert_eq!(outcome, Assigned::Unknown);
}

// hazard: A14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_and_not_answered_is_unknown_whatever_the_code() {
    let served = Served::new().await;
    let contest = running(10);
    let ann = paid(&contest, "ann");
    for code in (1..=16).map(Code::from_i32) {
        let tasks = open(&served.url());
        *served.system.status.lock().expect("a lock") = Some(Status::new(code, "a test"));
        assert_eq!(
            tasks.assign(&contest, &ann).await,
            Assigned::Unknown,
            "{code:?}"
        );
        assert!(
            tasks
                .progress(&contest, std::slice::from_ref(&ann))
                .await
                .is_err()
        );
    }
}

// hazard: A14, A19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_listens_for_was_not_sent_and_opens_the_breaker() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let (tasks, contest) = (open(&format!("http://{address}")), running(10));
    let ann = paid(&contest, "ann");
    for _ in 0..5 {
        assert_eq!(tasks.assign(&contest, &ann).await, Assigned::NotSent);
    }
    assert_eq!(tasks.breaker(), BreakerState::Open);
    assert_eq!(tasks.assign(&contest, &ann).await, Assigned::NotSent);
}

// hazard: A1, A19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_given_up_at_the_deadline() {
    // It accepts and says nothing: the message may have left, or may still wait here.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let settings = Settings {
        deadline_ms: 300,
        in_flight_max: 4,
        ..Settings::new("tasks", url)
    };
    let tasks = Arc::new(GrpcTasks::open(&settings).expect("a client"));
    let contest = running(10);
    let ann = paid(&contest, "ann");
    let asks: Vec<_> = (0..20)
        .map(|_| {
            let (tasks, contest, ann) = (Arc::clone(&tasks), contest.clone(), ann.clone());
            tokio::spawn(async move { tasks.assign(&contest, &ann).await })
        })
        .collect();
    for ask in asks {
        let end = timeout(Duration::from_secs(10), ask).await.expect("an end");
        assert_ne!(end.expect("an outcome"), Assigned::Assigned);
    }
    drop(listener);
}

// hazard: G9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_in_an_outage_are_a_tenth_at_most() {
    let served = Served::new().await;
    let settings = Settings {
        // So that the breaker does not spare the server.
        breaker_failures: u32::MAX,
        ..Settings::new("tasks", served.url())
    };
    let tasks = GrpcTasks::open(&settings).expect("a client");
    let contest = running(10);
    let ann = [paid(&contest, "ann")];
    *served.system.status.lock().expect("a lock") = Some(Status::unavailable("an outage"));
    for _ in 0..100 {
        assert!(tasks.progress(&contest, &ann).await.is_err());
    }
    let calls = served.system.calls.load(Ordering::SeqCst);
    assert!((105..=110).contains(&calls), "{calls} calls");
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_its_rule() {
    let rule = |settings: &Settings| match GrpcTasks::open(settings) {
        Err(error @ SetupError::Rule { .. }) => error.to_string(),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was taken"),
    };
    let plain = Settings::new("tasks", "http://127.0.0.1:1");
    let tls = Settings::new("tasks", "https://127.0.0.1:1");
    for (settings, said) in [
        (Settings::new("tasks", "127.0.0.1:1"), "tasks.url must be"),
        (tls, "tasks.ca_file must name"),
        (
            Settings {
                ca_file: Some("ca.pem".into()),
                ..plain.clone()
            },
            "tasks.ca_file is for an https url",
        ),
        (
            Settings {
                deadline_ms: 0,
                ..plain
            },
            "tasks.deadline_ms must be above 0",
        ),
    ] {
        let text = rule(&settings);
        assert!(text.starts_with(said), "{text}");
    }
}

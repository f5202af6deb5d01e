//! What the client makes of a funds system that fails, lies, lags or is slow, and of a line that
//! is cut.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_funds::{BreakerState, GrpcFunds, Settings, SetupError, proto};
use common::{
    Served, ask, connect, memory,
    proxy::{Line, Proxy},
    settings,
    stub::{Stub, applied, as_of},
    until, user,
};
use domain::{order::OrderId, transfer::Position};
use ports::funds::{Funds, FundsError, TransferOutcome};
use proto::transfer_outcome::Outcome;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, time::timeout};
use tonic::{Code, Status};

const WAIT: Duration = Duration::from_secs(20);

fn told(outcome: Outcome) -> proto::TransferOutcome {
    proto::TransferOutcome {
        outcome: Some(outcome),
    }
}

fn failing(stub: &Stub, code: Code) {
    *stub.script.status.lock().expect("a lock") = Some(Status::new(code, "a test"));
}

fn healed(stub: &Stub) {
    *stub.script.status.lock().expect("a lock") = None;
}

// hazard: A14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_code_says_what_was_sent_is_unknown_and_not_sent_again() {
    let stub = Stub::new().await;
    for code in (1..=16).map(Code::from_i32) {
        healed(&stub);
        let client = connect(&settings(&stub.url())).await;
        failing(&stub, code);
        let before = stub.script.calls();
        let outcome = client.transfer(&ask(1, &user("ann"), 5)).await;
        assert_eq!(outcome, TransferOutcome::Unknown, "{code:?}");
        assert_eq!(stub.script.calls(), before + 1, "{code:?}");
        let read = client.balance(&user("ann")).await;
        assert!(matches!(read, Err(FundsError::Unavailable(_))), "{code:?}");
    }
}

// hazard: A14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_listens_for_was_not_sent() {
    let served = Served::new(memory()).await;
    let client = connect(&settings(&served.url())).await;
    let ann = user("ann");
    client.open_account(&ann).await.expect("an account");
    served.stop().await;
    for order in 1..4 {
        let outcome = client.transfer(&ask(order, &ann, 5)).await;
        assert_eq!(outcome, TransferOutcome::NotSent);
    }
}

// hazard: A14, A1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_nobody_has_stops_the_start() {
    let quick = Settings {
        start_ms: 300,
        ..settings("http://nobody.invalid:1")
    };
    let error = GrpcFunds::connect(&quick).await.err().expect("no client");
    assert!(matches!(error, SetupError::NoAnswer { .. }), "{error:?}");
    assert!(error.to_string().contains("funds.url"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_tells_what_failed_and_not_that_the_breaker_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let quick = Settings {
        start_ms: 500,
        breaker_failures: 1,
        breaker_open_ms: 60_000,
        ..settings(&url)
    };
    let error = GrpcFunds::connect(&quick).await.err().expect("no client");
    let said = error.to_string();
    assert!(said.contains("refused"), "{said}");
    assert!(!said.contains("breaker"), "{said}");
}

// hazard: A1, A6, A8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_line_is_unknown_and_the_look_up_tells() {
    let served = Served::new(memory()).await;
    let proxy = Proxy::new(served.address).await;
    let client = connect(&settings(&proxy.url())).await;
    let ann = user("ann");
    client.open_account(&ann).await.expect("an account");
    for (order, line, applies) in [(1, Line::CutRequests, false), (2, Line::CutAnswers, true)] {
        let request = ask(order, &ann, 5);
        until(async || {
            proxy.set(line);
            let outcome = client.transfer(&request).await;
            proxy.set(Line::Pass);
            // The connection is made anew by itself.
            until(async || client.lookup(&[]).await.is_ok()).await;
            let lookup = client.lookup(&[request.order_id]).await;
            let found = lookup.expect("an answer").found;
            if outcome == TransferOutcome::NotSent {
                // The connection's own ping was cut before the request left: then it never came.
                assert!(found[0].is_none(), "{line:?}");
                return false;
            }
            assert_eq!(outcome, TransferOutcome::Unknown);
            assert_eq!(found[0].is_some(), applies, "{line:?}");
            true
        })
        .await;
        let again = client.transfer(&request).await;
        assert!(matches!(again, TransferOutcome::Applied(_)), "{again:?}");
    }
    let balance = client.balance(&ann).await.expect("a balance").amount;
    assert_eq!(balance, 10, "each applied once");
}

// hazard: A1, A19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_line_ends_at_the_deadline_and_heals() {
    let served = Served::new(memory()).await;
    let proxy = Proxy::new(served.address).await;
    let short = Settings {
        deadline_ms: 300,
        breaker_open_ms: 50,
        ..settings(&proxy.url())
    };
    let client = connect(&short).await;
    let ann = user("ann");
    client.open_account(&ann).await.expect("an account");
    proxy.set(Line::Stall);
    let begun = Instant::now();
    let outcome = client.transfer(&ask(1, &ann, 5)).await;
    assert_eq!(outcome, TransferOutcome::Unknown);
    assert!(begun.elapsed() >= Duration::from_millis(290));
    assert!(begun.elapsed() < Duration::from_secs(5));
    proxy.set(Line::Pass);
    // The stalled connection is given up by its pings, and a new one made.
    until(async || client.lookup(&[]).await.is_ok()).await;
    proxy.delay(Duration::from_millis(30));
    let late = client.transfer(&ask(1, &ann, 5)).await;
    assert!(matches!(late, TransferOutcome::Applied(_)), "{late:?}");
}

// hazard: A13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_not_ours_is_a_conflict_and_half_a_record_is_unknown() {
    let stub = Stub::new().await;
    let client = connect(&settings(&stub.url())).await;
    type Bend = fn(&mut proto::Transfer);
    let table: [(&str, Bend, TransferOutcome); 7] = [
        (
            "order",
            |t| t.order_id = "f".repeat(32),
            TransferOutcome::Conflict,
        ),
        (
            "from",
            |t| t.from = "user/eve".to_owned(),
            TransferOutcome::Conflict,
        ),
        (
            "to",
            |t| t.to = "user/eve".to_owned(),
            TransferOutcome::Conflict,
        ),
        ("amount", |t| t.amount += 1, TransferOutcome::Conflict),
        (
            "spelling",
            |t| t.to = "User/ann".to_owned(),
            TransferOutcome::Conflict,
        ),
        (
            "nothing",
            |t| *t = proto::Transfer::default(),
            TransferOutcome::Conflict,
        ),
        ("position", |t| t.position = 0, TransferOutcome::Unknown),
    ];
    for (name, bend, expected) in table {
        *stub.script.transfer.lock().expect("a lock") = Some(Box::new(move |order| {
            let mut outcome = applied(order, 3);
            if let Some(Outcome::Applied(transfer)) = &mut outcome.outcome {
                bend(transfer);
            }
            Some(outcome)
        }));
        let outcome = client.transfer(&ask(1, &user("ann"), 5)).await;
        assert_eq!(outcome, expected, "{name}");
    }
    let refused = |reason: i32| told(Outcome::Refused(reason));
    for (outcome, expected) in [
        (
            told(Outcome::Conflict(proto::Conflict {})),
            TransferOutcome::Conflict,
        ),
        (
            told(Outcome::Unknown(proto::Unknown {})),
            TransferOutcome::Unknown,
        ),
        (
            told(Outcome::Invalid(proto::Invalid::default())),
            TransferOutcome::NotSent,
        ),
        (refused(0), TransferOutcome::Unknown),
        (refused(99), TransferOutcome::Unknown),
        (
            proto::TransferOutcome { outcome: None },
            TransferOutcome::Unknown,
        ),
    ] {
        *stub.script.transfer.lock().expect("a lock") =
            Some(Box::new(move |_| Some(outcome.clone())));
        assert_eq!(client.transfer(&ask(1, &user("ann"), 5)).await, expected);
    }
    *stub.script.transfer.lock().expect("a lock") = Some(Box::new(|_| None));
    let missing = client.transfer(&ask(1, &user("ann"), 5)).await;
    assert_eq!(missing, TransferOutcome::Unknown, "no outcome at all");
}

// hazard: A13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_that_found_something_else_is_no_answer() {
    let stub = Stub::new().await;
    let client = connect(&settings(&stub.url())).await;
    let order = ask(1, &user("ann"), 5).order_id;
    let answer = |bend: fn(&mut proto::LookupResponse)| {
        *stub.script.lookup.lock().expect("a lock") = Some(Box::new(move |asked: &[String]| {
            let stored = |id: &String| proto::Transfer {
                order_id: id.clone(),
                from: "platform/issuing".to_owned(),
                to: "user/ann".to_owned(),
                amount: 5,
                position: 3,
                applied_at_unix_ms: 1_000,
            };
            let found = asked.iter().map(|id| proto::Found {
                transfer: Some(stored(id)),
            });
            let mut told = proto::LookupResponse {
                found: found.collect(),
                as_of: Some(as_of(3)),
            };
            bend(&mut told);
            told
        }));
    };
    answer(|_| {});
    let found = client.lookup(&[order]).await.expect("an answer").found;
    assert_eq!(found[0].as_ref().map(|found| found.order_id), Some(order));
    type Bend = fn(&mut proto::LookupResponse);
    let bends: [(&str, Bend); 6] = [
        ("another order", |told| {
            told.found[0].transfer.as_mut().expect("one").order_id = "f".repeat(32);
        }),
        ("no amount", |told| {
            told.found[0].transfer.as_mut().expect("one").amount = 0;
        }),
        ("too few", |told| told.found.clear()),
        ("too many", |told| told.found.push(proto::Found::default())),
        ("no position", |told| told.as_of = None),
        ("stale", |told| told.as_of = Some(as_of(2))),
    ];
    for (name, bend) in bends {
        answer(bend);
        let answer = client.lookup(&[order]).await;
        assert!(answer.is_err(), "{name}: {answer:?}");
    }
}

// hazard: A3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_from_before_what_was_seen_is_no_answer() {
    let stub = Stub::new().await;
    let client = connect(&settings(&stub.url())).await;
    let ann = user("ann");
    let held = |as_of| {
        let held = proto::Held { amount: 5, as_of };
        *stub.script.balance.lock().expect("a lock") = proto::BalanceResponse {
            outcome: Some(proto::balance_response::Outcome::Held(held)),
        };
    };
    let page = |closed_position| {
        let page = proto::Page {
            transfers: Vec::new(),
            closed_position,
        };
        *stub.script.list.lock().expect("a lock") = proto::ListResponse {
            outcome: Some(proto::list_response::Outcome::Page(page)),
        };
    };
    *stub.script.transfer.lock().expect("a lock") = Some(Box::new(|order| Some(applied(order, 7))));
    held(Some(as_of(6)));
    assert!(client.balance(&ann).await.is_ok(), "nothing later was seen");
    client.transfer(&ask(1, &ann, 5)).await;
    for (position, is_taken) in [(Some(6), false), (None, false), (Some(7), true)] {
        held(position.map(as_of));
        assert_eq!(client.balance(&ann).await.is_ok(), is_taken, "{position:?}");
        page(position);
        let listed = client.list(&ann, Position(0), 10).await;
        assert_eq!(listed.is_ok(), is_taken, "{position:?}");
    }
    let closed = |position| {
        let closed = proto::CreditsClosed { position };
        *stub.script.close.lock().expect("a lock") = proto::CloseCreditsResponse {
            outcome: Some(proto::close_credits_response::Outcome::Closed(closed)),
        };
    };
    closed(None);
    assert!(client.close_credits(&ann).await.is_err());
    closed(Some(2));
    assert!(
        client.close_credits(&ann).await.is_ok(),
        "the first position, however old"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_member_does_not_spoil_its_batch() {
    let stub = Stub::new().await;
    let client = Arc::new(connect(&settings(&stub.url())).await);
    *stub.script.delay.lock().expect("a lock") = Duration::from_millis(50);
    *stub.script.transfer.lock().expect("a lock") = Some(Box::new(|order| {
        Some(if order.amount == 13 {
            told(Outcome::Conflict(proto::Conflict {}))
        } else {
            applied(order, 3)
        })
    }));
    let all: Vec<_> = (1..=40)
        .map(|number| {
            let client = Arc::clone(&client);
            let request = ask(number, &user("ann"), number);
            tokio::spawn(async move { (number, client.transfer(&request).await) })
        })
        .collect();
    for one in all {
        let (number, outcome) = one.await.expect("an end");
        let is_right = match outcome {
            TransferOutcome::Conflict => number == 13,
            TransferOutcome::Applied(transfer) => {
                number != 13 && transfer.content.amount.get() == number
            }
            _ => false,
        };
        assert!(is_right, "{number}");
    }
    let batches = stub.script.batches.lock().expect("a lock").clone();
    assert!(batches.len() <= 8, "they travelled together: {batches:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_is_answered_though_no_more_calls_are_taken() {
    let stub = Stub::new().await;
    let narrow = Settings {
        in_flight_max: 1,
        ..settings(&stub.url())
    };
    let client = Arc::new(connect(&narrow).await);
    *stub.script.delay.lock().expect("a lock") = Duration::from_secs(2);
    let asking = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.transfer(&ask(1, &user("ann"), 1)).await }
    });
    until(async || stub.script.calls() == 1).await;
    *stub.script.delay.lock().expect("a lock") = Duration::ZERO;
    assert!(client.lookup(&[]).await.is_err(), "no place");
    client.probe().await.expect("it answers");
    assert!(!asking.is_finished(), "there was no place meanwhile");
    assert!(matches!(
        asking.await.expect("an end"),
        TransferOutcome::Applied(_)
    ));
}

// hazard: A19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_meets_a_bounded_number_of_calls() {
    let stub = Stub::new().await;
    let bounded = Settings {
        in_flight_max: 50,
        deadline_ms: 2_000,
        ..settings(&stub.url())
    };
    let client = Arc::new(connect(&bounded).await);
    *stub.script.delay.lock().expect("a lock") = Duration::from_millis(500);
    let all: Vec<_> = (1..=500)
        .map(|number| {
            let client = Arc::clone(&client);
            let request = ask(number, &user("ann"), 1);
            tokio::spawn(async move {
                let begun = Instant::now();
                (client.transfer(&request).await, begun.elapsed())
            })
        })
        .collect();
    let (mut applied, mut turned_away) = (0, 0);
    for one in all {
        match one.await.expect("an end") {
            (TransferOutcome::Applied(_), _) => applied += 1,
            (TransferOutcome::NotSent, time) => {
                assert!(time < Duration::from_millis(400), "at once, not {time:?}");
                turned_away += 1;
            }
            (other, _) => panic!("{other:?}"),
        }
    }
    assert_eq!((applied, turned_away), (50, 450));
    let most = stub.script.open_max.load(Ordering::SeqCst);
    assert!(most <= 4, "{most} batches at once");
    // Reads are turned away alike, and the seats come back.
    assert!(client.lookup(&[]).await.is_ok());
}

// hazard: A19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_breaker_opens_tries_one_call_and_closes() {
    let stub = Stub::new().await;
    let quick = Settings {
        breaker_failures: 3,
        breaker_open_ms: 200,
        ..settings(&stub.url())
    };
    let client = connect(&quick).await;
    failing(&stub, Code::Unavailable);
    for order in 1..=3 {
        let outcome = client.transfer(&ask(order, &user("ann"), 1)).await;
        assert_eq!(outcome, TransferOutcome::Unknown);
    }
    assert_eq!(client.breaker(), BreakerState::Open);
    let before = stub.script.calls();
    let kept = client.transfer(&ask(4, &user("ann"), 1)).await;
    assert_eq!(kept, TransferOutcome::NotSent, "it stayed here");
    assert_eq!(stub.script.calls(), before);
    // After its time one call goes, and its failure keeps the others here.
    let mut outcomes = Vec::new();
    until(async || {
        outcomes.push(client.transfer(&ask(4, &user("ann"), 1)).await);
        stub.script.calls() > before
    })
    .await;
    assert_eq!(outcomes.pop(), Some(TransferOutcome::Unknown), "the probe");
    assert!(
        outcomes
            .iter()
            .all(|kept| *kept == TransferOutcome::NotSent)
    );
    assert_eq!(client.breaker(), BreakerState::Open);
    let kept = client.transfer(&ask(4, &user("ann"), 1)).await;
    assert_eq!(kept, TransferOutcome::NotSent);
    assert_eq!(stub.script.calls(), before + 1);
    healed(&stub);
    until(async || {
        let outcome = client.transfer(&ask(4, &user("ann"), 1)).await;
        matches!(outcome, TransferOutcome::Applied(_))
    })
    .await;
    assert_eq!(stub.script.calls(), before + 2);
    assert_eq!(client.breaker(), BreakerState::Closed);
}

// hazard: G9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_in_an_outage_are_a_tenth_at_most_and_no_transfer_is_among_them() {
    let stub = Stub::new().await;
    let counted = Settings {
        // So that the breaker does not spare the server.
        breaker_failures: u32::MAX,
        ..settings(&stub.url())
    };
    let client = connect(&counted).await;
    failing(&stub, Code::Unavailable);
    for order in 1..=100 {
        client.transfer(&ask(order, &user("ann"), 1)).await;
    }
    assert_eq!(stub.script.calls(), 100);
    for _ in 0..100 {
        assert!(client.lookup(&[OrderId([1; 16])]).await.is_err());
    }
    let calls = stub.script.calls();
    assert!((205..=220).contains(&calls), "{calls} calls for 200");
}

// hazard: G1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_goes_on_when_its_caller_is_gone() {
    let stub = Stub::new().await;
    let client = connect(&settings(&stub.url())).await;
    *stub.script.delay.lock().expect("a lock") = Duration::from_millis(200);
    let request = ask(1, &user("ann"), 1);
    let gone = timeout(Duration::from_millis(50), client.transfer(&request)).await;
    assert!(gone.is_err());
    until(async || stub.script.ended.load(Ordering::SeqCst) == 1).await;
    assert_eq!(stub.script.calls(), 1);
    assert_eq!(client.breaker(), BreakerState::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capabilities_are_those_that_were_told() {
    let stub = Stub::new().await;
    let told = connect(&settings(&stub.url())).await.capabilities();
    assert!(told.close_credits && told.closed_position && told.linearizable_lookup);
    assert!(!told.orders_for_ever);
}

// hazard: A19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_accepts_and_says_nothing_stops_the_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let quick = Settings {
        start_ms: 300,
        deadline_ms: 100,
        ..settings(&url)
    };
    let ended = timeout(WAIT, GrpcFunds::connect(&quick))
        .await
        .expect("an end");
    assert!(matches!(ended, Err(SetupError::NoAnswer { .. })));
    drop(listener);
}

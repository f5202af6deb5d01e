//! Whoever gives a call up, whenever: nothing stays open, and everybody else goes on.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use adapters_mysql::MysqlStore;
use contract_tests::samples;
use domain::{
    contest::{Contest, PhaseKind},
    signup::{Signup, State},
};
use ports::{
    contests::{ContestFilter, ContestRepository},
    findings::{FindingFilter, Findings},
    leaderboard::Leaderboard,
    leases::Leases,
    outbox::Outbox,
    signups::{Enrolled, SignupRepository},
    tasks::{TaskEvents, Tasks},
};
use sqlx::AssertSqlSafe;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};
use support::{Engine, Nodes, decision, event, phase, signup, until};
use tokio::sync::Mutex;
use uuid::Uuid;

const BOUND: Duration = Duration::from_secs(15);
/// No call is polled more often than that before it completes.
const POLLS_MAX: usize = 200;

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls a call up to `polls` times, each when it was woken, and gives it up then; whether it was
/// complete.
async fn cancelled_after(polls: usize, mut call: Call) -> bool {
    let mut left = polls;
    let polling = poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        if call.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        if left == 0 {
            return Poll::Ready(false);
        }
        Poll::Pending
    });
    let waited = tokio::time::timeout(BOUND, polling).await;
    waited.expect("a call is woken")
}

macro_rules! calls {
    ($(($store:ident, $contest:ident, $row:ident) $name:literal => $call:expr;)+) => {
        [$(($name, |$store: MysqlStore, $contest: Contest, $row: Signup| -> Call {
            Box::pin(async move {
                let _ = (&$store, &$contest, &$row);
                let _ = $call.await;
            })
        }),)+]
    };
}

type Make = fn(MysqlStore, Contest, Signup) -> Call;

fn all_calls() -> Vec<(&'static str, Make)> {
    let calls: [(&'static str, Make); 27] = calls! {
        (s, c, r) "now" => s.now();
        (s, c, r) "insert" => ContestRepository::insert(&s, &Contest { id: samples::contest_id(), ..c.clone() });
        (s, c, r) "get" => ContestRepository::get(&s, c.id);
        (s, c, r) "list" => ContestRepository::list(&s, &ContestFilter::default(), None, 10);
        (s, c, r) "commit contest" => ContestRepository::commit(&s, phase(&c, PhaseKind::Draft));
        (s, c, r) "awake contests" => ContestRepository::awake(&s, 10);
        (s, c, r) "presence" => s.presence(c.id);
        (s, c, r) "census" => s.census(c.id);
        (s, c, r) "counts" => s.counts(c.id);
        (s, c, r) "finishers" => s.finishers(c.id, None, 10);
        (s, c, r) "sheet line" => s.sheet_line(c.id, r.id);
        (s, c, r) "sheet" => s.sheet(c.id, None, 10);
        (s, c, r) "enroll" => s.enroll(&signup(&c, &format!("new-{}", Uuid::now_v7().simple())), None);
        (s, c, r) "restore" => s.restore(&signup(&c, &format!("new-{}", Uuid::now_v7().simple())));
        (s, c, r) "find" => s.find(c.id, &r.user_id);
        (s, c, r) "get signup" => SignupRepository::get(&s, r.id);
        (s, c, r) "commit signup" => SignupRepository::commit(&s, decision(&r, State::InProgress(samples::receipt(5, c.created_at))));
        (s, c, r) "awake signups" => SignupRepository::awake(&s, 10);
        (s, c, r) "page" => SignupRepository::page(&s, c.id, &[], None, 10);
        (s, c, r) "of user" => s.of_user(&r.user_id, None, 10);
        (s, c, r) "parked" => s.parked(None, 10);
        (s, c, r) "progress" => s.progress(&c, std::slice::from_ref(&r));
        (s, c, r) "record" => s.record(&"game".parse().expect("a sender"), &[event(&c, &Uuid::now_v7().to_string(), "ann", c.terms.signup_opens_at)]);
        (s, c, r) "top" => s.top(&c, 10);
        (s, c, r) "take" => Leases::take(&s, "work", r.id.0, 1_000);
        (s, c, r) "open findings" => Findings::list(&s, FindingFilter::default(), None, 10);
        (s, c, r) "due" => Outbox::take(&s, None, 10);
    };
    calls.into()
}

/// How long `innodb_trx` must be left alone before it shows anything new: InnoDB keeps what it
/// showed last for whoever asks within 100 ms, and each who asks begins these anew.
const REST: Duration = Duration::from_millis(150);

/// Whether no connection of the schema is in a transaction. MySQL fails to tell while a statement
/// with bytes in it is running.
async fn is_quiet(nodes: &Nodes) -> bool {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut ticks = tokio::time::interval(REST);
    ticks.tick().await;
    ticks.tick().await;
    let query = format!(
        "SELECT COUNT(*) FROM information_schema.innodb_trx AS t \
         JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id \
         WHERE p.db = '{}' AND p.id <> CONNECTION_ID()",
        nodes.schema.name()
    );
    let mut connection = nodes.schema.connect().await;
    let open: Result<i64, _> = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&mut connection)
        .await;
    open.is_ok_and(|open| open == 0)
}

/// The question itself is asked well: it sees a transaction that stays open.
async fn an_open_transaction_is_seen<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let mut connection = nodes.schema.connect().await;
    let id = contest.id.0.simple();
    let lock = format!("SELECT 1 FROM contest WHERE contest_id = UNHEX('{id}') FOR UPDATE");
    for statement in ["BEGIN", lock.as_str()] {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .expect("a statement");
    }
    assert!(!is_quiet(&nodes).await);
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut connection)
        .await
        .expect("a statement");
    until(BOUND, "it is over", async || {
        is_quiet(&nodes).await.then_some(())
    })
    .await;
}

// hazard: G1
async fn every_call_may_be_given_up_at_any_point<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let mut number = 0;
    for (name, make) in all_calls() {
        for polls in 1..=POLLS_MAX {
            number += 1;
            let row = signup(&contest, &format!("row-{number}"));
            if name == "commit signup" {
                let answer = nodes.of(1).enroll(&row, None).await.expect("an answer");
                assert_eq!(answer, Enrolled::Inserted);
            }
            let now = ContestRepository::get(&nodes.of(1), contest.id)
                .await
                .expect("read");
            let call = make(nodes.of(0), now.expect("there"), row);
            let is_complete = cancelled_after(polls, call).await;
            // Another caller's write, on both nodes; seen by a connection that is neither's.
            for node in 0..2 {
                let next = signup(&contest, &format!("next-{number}-{node}"));
                let store = nodes.of(node);
                let answer = store.enroll(&next, None);
                let answer = tokio::time::timeout(BOUND, answer).await;
                let answer = answer.unwrap_or_else(|_| panic!("{name}, {polls} polls: stuck"));
                assert_eq!(
                    answer.expect("an answer"),
                    Enrolled::Inserted,
                    "{name}, {polls}"
                );
                let id = next.id.0.simple();
                let there = format!("SELECT COUNT(*) FROM signup WHERE signup_id = UNHEX('{id}')");
                assert_eq!(
                    nodes.count(&there).await,
                    1,
                    "{name}, {polls} polls: not committed"
                );
            }
            if is_complete {
                break;
            }
            assert!(polls < POLLS_MAX, "{name} does not complete");
        }
        // A transaction that was left open stays so for longer than this waits.
        until(BOUND, name, async || is_quiet(&nodes).await.then_some(())).await;
    }
}

on_both!(
    an_open_transaction_is_seen,
    every_call_may_be_given_up_at_any_point
);

//! What a shared server does to those who share it, provoked one by one. Whoever holds a lock in
//! somebody's way here is a session of the test's own, so that nothing depends on luck.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use adapters_mysql::{MysqlError, MysqlStore, Settings, migrate};
use contract_tests::samples;
use domain::{
    contest::PhaseKind,
    effects::Effect,
    signup::{Signup, State, StateKind},
};
use ports::{
    contests::{ContestFilter, ContestRepository},
    findings::{FindingFilter, Findings},
    leaderboard::Leaderboard,
    leases::Leases,
    outbox::Outbox,
    signups::{Enrolled, SignupRepository},
    store::Committed,
    tasks::{EventOutcome, TaskEvents, Tasks},
};
use sql_core::mysql::{
    self as session,
    schema::{self, Later, Step},
};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use support::{Engine, Nodes, Schema, at_once, decision, event, open_at, signup, until};
use test_support::{Proxy, mysql_server, mysql_server_with};
use tokio::sync::Mutex;

/// In what time something must come.
const BOUND: Duration = Duration::from_secs(90);
/// Due as soon as it is saved.
const EFFECTS: &[Effect] = &[Effect::CountFinisher];

async fn run(connection: &mut MySqlConnection, statement: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statement.into()))
        .execute(connection)
        .await
        .expect("a statement");
}

/// A session that is in a transaction of its own.
async fn holding(nodes: &Nodes, statements: &[String]) -> MySqlConnection {
    let mut other = nodes.schema.connect().await;
    run(
        &mut other,
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )
    .await;
    run(&mut other, "BEGIN").await;
    for statement in statements {
        run(&mut other, statement.as_str()).await;
    }
    other
}

fn history_of(signup: &Signup) -> String {
    let id = signup.id.0.simple();
    format!("INSERT INTO signup_history VALUES (UNHEX('{id}'), 1, 0, 'initialized', 0)")
}

/// How long InnoDB must be left alone before it shows anything new of its transactions.
const REST: Duration = Duration::from_millis(150);

/// The transactions of the schema that wait for a lock.
async fn waiting(nodes: &Nodes) -> Vec<String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut ticks = tokio::time::interval(REST);
    ticks.tick().await;
    ticks.tick().await;
    let mut connection = nodes.schema.connect().await;
    let version: String = sqlx::query_scalar("SELECT VERSION()")
        .fetch_one(&mut connection)
        .await
        .expect("a version");
    // MySQL's innodb_trx fails while a statement with bytes in it is running.
    let waits = if version.contains("MariaDB") {
        "SELECT CAST(t.trx_id AS CHAR) FROM information_schema.innodb_trx AS t \
         JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id \
         WHERE t.trx_state = 'LOCK WAIT' AND p.db"
    } else {
        "SELECT CAST(w.requesting_engine_transaction_id AS CHAR) FROM performance_schema.data_lock_waits AS w \
         JOIN performance_schema.threads AS t ON t.thread_id = w.requesting_thread_id WHERE t.processlist_db"
    };
    let query = format!("{waits} = '{}'", nodes.schema.name());
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(&mut connection)
        .await
        .expect("who waits")
}

/// The one that waits, when there is one that is not `known`.
async fn waiter(nodes: &Nodes, known: Option<&String>) -> String {
    until(BOUND, "somebody waits", async || {
        let waiting = waiting(nodes).await;
        waiting.into_iter().find(|id| Some(id) != known)
    })
    .await
}

async fn is_there_once(nodes: &Nodes, signup: &Signup) {
    let id = signup.id.0.simple();
    for table in ["signup", "signup_history"] {
        let count = format!("SELECT COUNT(*) FROM {table} WHERE signup_id = UNHEX('{id}')");
        assert_eq!(nodes.count(&count).await, 1, "{table}");
    }
}

// hazard: F4 — 1205 rolls the statement back and nothing else
async fn a_wait_that_was_given_up_takes_the_whole_transaction_with_it_which_is_run_again<
    E: Engine,
>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let new = signup(&contest, "ann");
    // In the way of the second of the transaction's writes.
    let mut other = holding(&nodes, &[history_of(&new)]).await;
    let (store, asked) = (nodes.of(0), new.clone());
    let call = tokio::spawn(async move { store.enroll(&asked, None).await });
    let first = waiter(&nodes, None).await;
    let second = waiter(&nodes, Some(&first)).await;
    assert_ne!(first, second, "a new transaction");
    run(&mut other, "ROLLBACK").await;
    let answer = call.await.expect("no panic").expect("an answer");
    assert_eq!(answer, Enrolled::Inserted);
    is_there_once(&nodes, &new).await;
}

// hazard: F4 — 1213
async fn a_transaction_that_a_deadlock_ended_is_run_again<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let new = signup(&contest, "ann");
    // Whoever has written more is let live.
    let much: Vec<_> = (0..2_000)
        .map(|n| format!("(UNHEX('{n:032x}'), 1, 0, 'initialized', 0)"))
        .collect();
    let much = format!("INSERT INTO signup_history VALUES {}", much.join(", "));
    let mut other = holding(&nodes, &[much, history_of(&new)]).await;
    let deadlocks = "SELECT CAST(count AS SIGNED) FROM information_schema.innodb_metrics \
                     WHERE name = 'lock_deadlocks'";
    let before = nodes.count(deadlocks).await;
    let (store, asked) = (nodes.of(0), new.clone());
    let call = tokio::spawn(async move { store.enroll(&asked, None).await });
    let first = waiter(&nodes, None).await;
    // It waits for us; now we wait for it.
    let id = new.id.0.simple();
    let circle = format!("SELECT 1 FROM signup WHERE signup_id = UNHEX('{id}') FOR UPDATE");
    run(&mut other, circle).await;
    waiter(&nodes, Some(&first)).await;
    assert!(nodes.count(deadlocks).await > before, "a deadlock");
    run(&mut other, "ROLLBACK").await;
    let answer = call.await.expect("no panic").expect("an answer");
    assert_eq!(answer, Enrolled::Inserted);
    is_there_once(&nodes, &new).await;
}

fn held_event() -> String {
    "INSERT INTO task_event VALUES ('game', 'held', 'bob', 'room', 'kind', 1, 0, 0)".to_owned()
}

// hazard: F3
async fn what_a_transaction_has_looked_through_can_be_added_to<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let at = nodes.of(0).now().await.expect("the clock");
    let mut other = holding(&nodes, &[held_event()]).await;
    let event = event(&contest, "held", "ann", at);
    let store = nodes.of(0);
    let call = tokio::spawn(async move {
        let sender = "game".parse().expect("a sender");
        store.record(&sender, &[event]).await
    });
    // It has locked the contests of its room, and waits for the event. With a lock on the gaps
    // between them as well, it would have to end before there could be another contest.
    until(BOUND, "a contest beside it", async || {
        let waits = waiter(&nodes, None).await;
        let another = samples::contest_in(PhaseKind::Draft, at);
        assert_eq!(another.terms.room_id, contest.terms.room_id);
        let inserted = nodes.of(1).insert(&another).await.expect("an answer");
        assert!(inserted);
        waiting(&nodes).await.contains(&waits).then_some(())
    })
    .await;
    run(&mut other, "ROLLBACK").await;
    let outcomes = call.await.expect("no panic").expect("an answer");
    assert_eq!(outcomes, [EventOutcome::Accepted]);
}

// hazard: F6
async fn those_who_write_to_one_contest_do_not_wait_for_each_other<E: Engine>() {
    let nodes = Nodes::open::<E>(EFFECTS).await;
    let contest = nodes.contest().await;
    let at = nodes.of(0).now().await.expect("the clock");
    let bob = signup(&contest, "bob");
    let answer = nodes.of(0).enroll(&bob, None).await.expect("an answer");
    assert_eq!(answer, Enrolled::Inserted);
    // What a writer holds: the contest, shared; its viewer's rows, alone.
    let (id, his) = (contest.id.0.simple(), bob.id.0.simple());
    let other = holding(
        &nodes,
        &[
            format!("SELECT 1 FROM contest WHERE contest_id = UNHEX('{id}') LOCK IN SHARE MODE"),
            format!(
                "SELECT 1 FROM signup WHERE contest_id = UNHEX('{id}') AND signup_id = UNHEX('{his}') FOR UPDATE"
            ),
            held_event(),
            format!(
                "INSERT INTO outbox (effect, contest_id, signup_id, user_id, version, due_at) \
                 VALUES ('count_finisher', UNHEX('{id}'), UNHEX('{his}'), 'bob', 2, 0)"
            ),
        ],
    )
    .await;
    for (number, name) in ["ann", "cat"].into_iter().enumerate() {
        let store = nodes.of(number);
        let new = signup(&contest, name);
        let answer = store.enroll(&new, None).await.expect("an answer");
        assert_eq!(answer, Enrolled::Inserted, "{name}");
        let mut commit = decision(&new, State::InProgress(samples::receipt(5, at)));
        commit.effects = EFFECTS.to_vec();
        let answer = SignupRepository::commit(&store, commit).await;
        assert_eq!(answer.expect("an answer"), Committed::Applied, "{name}");
        let sender = "game".parse().expect("a sender");
        let event = event(&contest, name, name, at);
        let outcomes = store.record(&sender, &[event]).await.expect("an answer");
        assert_eq!(outcomes, [EventOutcome::Accepted], "{name}");
    }
    drop(other);
}

// hazard: F7
async fn an_effect_that_was_numbered_early_and_committed_late_is_not_passed_over<E: Engine>() {
    let nodes = Nodes::open::<E>(EFFECTS).await;
    let contest = nodes.contest().await;
    let at = nodes.of(0).now().await.expect("the clock");
    let (id, late) = (contest.id.0.simple(), samples::signup_id().0.simple());
    let early = format!(
        "INSERT INTO outbox (effect, contest_id, signup_id, user_id, version, due_at) \
         SELECT effect, UNHEX('{id}'), UNHEX('{late}'), 'bob', 2, 0 FROM (SELECT '{}' AS effect) AS e",
        EFFECTS[0].name()
    );
    let mut other = holding(&nodes, &[early]).await;
    let new = signup(&contest, "ann");
    let store = nodes.of(0);
    let answer = store.enroll(&new, None).await.expect("an answer");
    assert_eq!(answer, Enrolled::Inserted);
    let mut commit = decision(&new, State::InProgress(samples::receipt(5, at)));
    commit.effects = EFFECTS.to_vec();
    let answer = SignupRepository::commit(&store, commit).await;
    assert_eq!(answer.expect("an answer"), Committed::Applied);
    let first = Outbox::take(&store, None, 10).await.expect("read");
    let [later] = &first[..] else {
        panic!("what is not committed is not there: {first:?}")
    };
    assert_eq!(later.user_id.as_str(), "ann");
    store.done(&[later.sequence]).await.expect("removed");
    run(&mut other, "COMMIT").await;
    let behind = Outbox::take(&store, Some(later.sequence), 10);
    assert_eq!(behind.await.expect("read"), [], "a walk has passed it");
    let second = Outbox::take(&store, None, 10).await.expect("read");
    let [late] = &second[..] else {
        panic!("one is left: {second:?}")
    };
    assert_eq!(late.user_id.as_str(), "bob");
    assert!(late.sequence < later.sequence, "it had the earlier number");
}

// hazard: H12
async fn an_entry_that_cannot_be_read_does_not_hide_the_others<E: Engine>() {
    let nodes = Nodes::open::<E>(EFFECTS).await;
    let contest = nodes.contest().await;
    let id = contest.id.0.simple();
    let readable = EFFECTS[0].name();
    let rows = [
        ("nobody", "of another version"),
        ("nobody", "of another version"),
        ("ann", readable),
        ("not a user!", readable),
        ("bob", readable),
        ("nobody", "of another version"),
    ];
    let rows =
        rows.map(|(user, effect)| format!("('{effect}', UNHEX('{id}'), NULL, '{user}', 1, 0)"));
    let rows = rows.join(", ");
    let mut connection = nodes.schema.connect().await;
    run(
        &mut connection,
        format!(
            "INSERT INTO outbox (effect, contest_id, signup_id, user_id, version, due_at) VALUES {rows}"
        ),
    )
    .await;
    let store = nodes.of(0);
    let mut after = None;
    for expected in [Some("ann"), Some("bob"), None] {
        let page = Outbox::take(&store, after, 1).await.expect("read");
        let user = page.first().map(|entry| entry.user_id.as_str());
        assert_eq!(user, expected);
        after = page.first().map(|entry| entry.sequence);
    }
    let all = Outbox::take(&store, None, 2).await.expect("read");
    assert_eq!(
        all.len(),
        2,
        "a page is full where there is enough to fill it"
    );
}

/// As many events as a sender may post, many times at once: no statement has more marks than a
/// server takes.
// hazard: I4
async fn large_posts_of_one_sender_are_taken_together<E: Engine>() {
    let nodes = Nodes::open::<E>(EFFECTS).await;
    let contest = nodes.contest().await;
    let at = nodes.of(0).now().await.expect("the clock");
    let posts: Vec<Vec<_>> = (0..20)
        .map(|post| {
            let one = |n| {
                event(
                    &contest,
                    &format!("event-{post}-{n}"),
                    &format!("user-{n}"),
                    at,
                )
            };
            (0..1_000).map(one).collect()
        })
        .collect();
    for expected in [EventOutcome::Accepted, EventOutcome::Duplicate] {
        let calls = posts.iter().map(|events| {
            let (store, events) = (nodes.of(0), events.clone());
            async move {
                let sender = "game".parse().expect("a sender");
                store.record(&sender, &events).await
            }
        });
        for outcomes in at_once(calls.collect::<Vec<_>>()).await {
            let outcomes = outcomes.expect("an answer");
            assert_eq!(outcomes.len(), 1_000);
            assert!(outcomes.iter().all(|outcome| *outcome == expected));
        }
    }
    let kept = "SELECT COUNT(*) FROM task_progress";
    assert_eq!(nodes.count(kept).await, 20_000);
}

// hazard: F4
async fn only_who_needs_a_locked_row_waits_for_it<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let settings = Settings {
        writers: 1,
        weak_durability: true,
        ..Settings::new(nodes.schema.url(), &[])
    };
    let store = MysqlStore::open(settings).await.expect("an open store");
    let rows: Vec<_> = (0..51)
        .map(|number| signup(&contest, &format!("user-{number}")))
        .collect();
    for row in &rows {
        let enrolled = store.enroll(row, None).await.expect("an answer");
        assert_eq!(enrolled, Enrolled::Inserted);
    }
    let (id, blocked) = (contest.id.0.simple(), rows[25].id);
    let his = blocked.0.simple();
    let lock = format!(
        "SELECT 1 FROM signup WHERE contest_id = UNHEX('{id}') AND signup_id = UNHEX('{his}') FOR UPDATE"
    );
    let mut other = holding(&nodes, &[lock]).await;
    let commit = |row: &Signup| {
        let state = State::InProgress(samples::receipt(5, contest.created_at));
        let (store, decided) = (store.clone(), decision(row, state));
        async move {
            let id = decided.signup.id;
            (id, SignupRepository::commit(&store, decided).await)
        }
    };
    let began = Instant::now();
    let calls = rows.iter().map(&commit).collect::<Vec<_>>();
    for (id, answer) in at_once(calls).await {
        if id == blocked {
            answer.expect_err("it is locked");
        } else {
            assert_eq!(answer.expect("an answer"), Committed::Applied);
        }
    }
    // Two seconds the batch, twice two seconds who is behind the lock.
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(12), "{waited:?}");
    run(&mut other, "ROLLBACK").await;
    let (_, answer) = commit(&rows[25]).await;
    assert_eq!(answer.expect("an answer"), Committed::Applied);
}

// hazard: H4
async fn a_contest_that_is_locked_keeps_nobody_from_a_lease<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let store = nodes.of(0);
    let id = contest.id.0.simple();
    let lock = format!("SELECT 1 FROM contest WHERE contest_id = UNHEX('{id}') FOR UPDATE");
    let mut other = holding(&nodes, &[lock]).await;
    let deciding = {
        let (store, decided) = (store.clone(), support::phase(&contest, PhaseKind::Running));
        tokio::spawn(async move { ContestRepository::commit(&store, decided).await })
    };
    until(BOUND, "it waits", async || {
        (!waiting(&nodes).await.is_empty()).then_some(())
    })
    .await;
    for number in 0..8 {
        let name = format!("work-{number}");
        let lease = Leases::take(&store, &name, contest.id.0, 1_000).await;
        let lease = lease.expect("an answer").expect("a lease");
        store.release(&lease).await.expect("given back");
    }
    store.probe().await.expect("it writes");
    assert!(!deciding.is_finished(), "the contest is locked still");
    run(&mut other, "ROLLBACK").await;
    let decided = deciding.await.expect("no panic");
    assert_eq!(decided.expect("an answer"), Committed::Applied);
}

// hazard: E4, F8
async fn a_replica_is_refused<E: Engine>() {
    let server = mysql_server_with(E::ENGINE, &["--read-only=1"]).await;
    let server = server.expect("a server");
    let database = server.database().await.expect("a schema");
    let url = database.url().to_owned();
    let migrated = migrate(&url).await.expect_err("nothing is changed there");
    assert!(matches!(migrated, MysqlError::ReadOnly), "{migrated:?}");
    let opened = MysqlStore::open(Settings::new(url, &[])).await;
    let refused = opened.err().expect("nothing is read there");
    assert!(matches!(refused, MysqlError::ReadOnly), "{refused:?}");
    assert!(refused.to_string().contains("read-only"), "{refused}");
}

// hazard: F11
async fn times_are_utc_wherever_the_server_thinks_it_is<E: Engine>() {
    let server = mysql_server_with(E::ENGINE, &["--default-time-zone=+13:00"]).await;
    let server = server.expect("a server");
    let database = server.database().await.expect("a schema");
    migrate(database.url()).await.expect("migrated");
    let store = open_at(database.url().to_owned(), &[]).await;
    let ours = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let theirs = store.now().await.expect("the clock").0;
    let ours = i64::try_from(ours.as_millis()).expect("milliseconds");
    assert!((theirs - ours).abs() < 60_000, "{theirs} here is {ours}");
    // Windows are judged by that clock: signups of this contest are open now and not for long.
    let contest = support::open_contest(&store).await;
    let answer = store.enroll(&signup(&contest, "ann"), None).await;
    assert_eq!(answer.expect("an answer"), Enrolled::Inserted);
}

// hazard: F1, F3, F11
async fn a_session_that_is_not_as_it_was_told_to_be_is_refused<E: Engine>() {
    let schema = Schema::create::<E>().await;
    let options = session::options(&schema.url()).expect("an address");
    let mut session = session::connect(&options).await.expect("a session");
    session::assured(&mut session)
        .await
        .expect("as it was told");
    for (setting, statement) in [
        ("time_zone", "SET time_zone = '+01:00'"),
        (
            "transaction_isolation",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        ),
    ] {
        let mut session = session::connect(&options).await.expect("a session");
        run(&mut session, statement).await;
        let error = session::assured(&mut session).await.expect_err("refused");
        // Every connection is looked at for what decisions stand on.
        let is_heard = session::heard(&mut session).await.is_ok();
        assert_eq!(is_heard, setting == "time_zone");
        let is_named = matches!(&error, MysqlError::Session(name, _) if *name == setting);
        assert!(is_named, "{error:?}");
    }
}

const ONE: Step = (1, "one", "CREATE TABLE x (a INT)");
const TWO: Step = (2, "two", "ALTER TABLE x ADD COLUMN b INT");

// hazard: F13
async fn a_step_that_waits_for_a_table_gives_up_and_lets_the_others_on<E: Engine>() {
    let schema = Schema::create::<E>().await;
    let url = schema.url();
    schema::migrate(&url, &[ONE], Later::Refuse)
        .await
        .expect("migrated");
    let mut other = schema.connect().await;
    run(&mut other, "BEGIN").await;
    run(&mut other, "SELECT * FROM x").await;
    // While the step waits, everybody else who comes to the table waits behind it.
    let given_up = schema::migrate(&url, &[ONE, TWO], Later::Refuse).await;
    let error = given_up.expect_err("somebody has the table");
    assert!(format!("{error:?}").contains("1205"), "{error:?}");
    let mut reader = schema.connect().await;
    run(&mut reader, "SELECT * FROM x").await;
    run(&mut other, "ROLLBACK").await;
}

// hazard: F14
async fn a_transaction_whose_writer_was_cut_off_ends_by_itself<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let url = nodes.schema.url();
    let address = url.rsplit('@').next().expect("an address");
    let address = address.split('/').next().expect("IP and port");
    let address: SocketAddr = address.parse().expect("IP and port");
    let proxy = Proxy::start(address).await.expect("a proxy");
    let store = open_at(proxy.through(&url), &[]).await;
    store.probe().await.expect("it writes");
    let new = signup(&contest, "ann");
    let mut other = holding(&nodes, &[history_of(&new)]).await;
    let asked = new.clone();
    let call = tokio::spawn(async move { store.enroll(&asked, None).await });
    waiter(&nodes, None).await;
    // In the middle of its transaction nobody hears of it again, and the server of no end.
    proxy.stall();
    run(&mut other, "ROLLBACK").await;
    let again = signup(&contest, "ann");
    let answer = until(BOUND, "its locks are gone", async || {
        nodes.of(0).enroll(&again, None).await.ok()
    })
    .await;
    assert_eq!(answer, Enrolled::Inserted, "and with them what it wrote");
    is_there_once(&nodes, &again).await;
    proxy.cut_now();
    call.await
        .expect("no panic")
        .expect_err("nobody knows what became of it");
}

// hazard: G4
async fn no_call_needs_a_second_connection_while_it_has_one<E: Engine>() {
    let nodes = Nodes::open::<E>(EFFECTS).await;
    let contest = nodes.contest().await;
    let row = signup(&contest, "ann");
    let enrolled = nodes.of(0).enroll(&row, None).await.expect("an answer");
    assert_eq!(enrolled, Enrolled::Inserted);
    let settings = Settings {
        readers: 1,
        writers: 1,
        weak_durability: true,
        ..Settings::new(nodes.schema.url(), EFFECTS)
    };
    let store = MysqlStore::open(settings).await.expect("an open store");
    // Alone, and then all at once on the one connection.
    for at_a_time in [1, 8] {
        let calls = (0..at_a_time).map(|number| {
            let (s, c, r) = (store.clone(), contest.clone(), row.clone());
            async move {
                s.now().await.expect("now");
                ContestRepository::get(&s, c.id).await.expect("get");
                let all = ContestFilter::default();
                ContestRepository::list(&s, &all, None, 10)
                    .await
                    .expect("list");
                ContestRepository::awake(&s, 10).await.expect("awake");
                s.presence(c.id).await.expect("presence");
                s.census(c.id).await.expect("census");
                s.counts(c.id).await.expect("counts");
                s.finishers(c.id, None, 10).await.expect("finishers");
                s.sheet_line(c.id, r.id).await.expect("sheet line");
                s.sheet(c.id, None, 10).await.expect("sheet");
                s.find(c.id, &r.user_id).await.expect("find");
                SignupRepository::get(&s, r.id).await.expect("get");
                SignupRepository::awake(&s, 10).await.expect("awake");
                let states = [StateKind::Initialized, StateKind::Paid];
                let page = SignupRepository::page(&s, c.id, &states, None, 10).await;
                page.expect("page");
                s.of_user(&r.user_id, None, 10).await.expect("of user");
                s.parked(None, 10).await.expect("parked");
                let rows = std::slice::from_ref(&r);
                s.progress(&c, rows).await.expect("progress");
                s.top(&c, 10).await.expect("top");
                s.place_of(&c, &r.user_id).await.expect("place");
                let users = std::slice::from_ref(&r.user_id);
                s.standings(&c, users).await.expect("standings");
                Leaderboard::page(&s, &c, None, 10).await.expect("places");
                let open = FindingFilter::default();
                Findings::list(&s, open, None, 10).await.expect("findings");
                Outbox::take(&s, None, 10).await.expect("due");
                // Of a row that is not there, so that it is looked for elsewhere too.
                let gone = signup(&c, &format!("gone-{at_a_time}-{number}"));
                let state = State::InProgress(samples::receipt(5, c.created_at));
                let answer = SignupRepository::commit(&s, decision(&gone, state)).await;
                assert_eq!(answer.expect("an answer"), Committed::Missing);
            }
        });
        at_once(calls.collect::<Vec<_>>()).await;
    }
}

on_both!(
    a_wait_that_was_given_up_takes_the_whole_transaction_with_it_which_is_run_again,
    a_transaction_that_a_deadlock_ended_is_run_again,
    what_a_transaction_has_looked_through_can_be_added_to,
    those_who_write_to_one_contest_do_not_wait_for_each_other,
    an_effect_that_was_numbered_early_and_committed_late_is_not_passed_over,
    an_entry_that_cannot_be_read_does_not_hide_the_others,
    large_posts_of_one_sender_are_taken_together,
    only_who_needs_a_locked_row_waits_for_it,
    a_contest_that_is_locked_keeps_nobody_from_a_lease,
    a_replica_is_refused,
    times_are_utc_wherever_the_server_thinks_it_is,
    a_session_that_is_not_as_it_was_told_to_be_is_refused,
    a_step_that_waits_for_a_table_gives_up_and_lets_the_others_on,
    a_transaction_whose_writer_was_cut_off_ends_by_itself,
    no_call_needs_a_second_connection_while_it_has_one,
);

/// As many statements as the driver keeps prepared on a connection that reads; one more, and it
/// prepares each of them again and again.
const KEPT: i64 = 100;
/// Likewise on a writer's.
const WRITER_KEEPS: i64 = sql_core::mysql::WRITER_STATEMENTS as i64;
/// How many a MySQL server keeps for all who use it, unless it is told otherwise.
const SERVER_KEEPS: i64 = 16_382;
/// Nodes and reconcilers that shall be able to share a server.
const NODES: i64 = 10;

// hazard: G6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_statements_are_prepared_whatever_is_asked_for() {
    let nodes = Nodes::open::<support::Mysql>(EFFECTS).await;
    let contest = nodes.contest().await;
    let store = MysqlStore::open(Settings {
        weak_durability: true,
        ..Settings::new(nodes.schema.url(), EFFECTS)
    })
    .await
    .expect("an open store");
    let at = store.now().await.expect("the clock");
    let sender = "game".parse().expect("a sender");
    // By one writer, and by one reader after another: ever more rows at once.
    for number in 1..=150_u64 {
        let named = |n: u64| format!("user-{n}");
        let events: Vec<_> = (0..number)
            .map(|n| event(&contest, &format!("{number}-{n}"), &named(n), at))
            .collect();
        let outcomes = store.record(&sender, &events).await.expect("an answer");
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == EventOutcome::Accepted)
        );
        let users: Vec<_> = (0..number).map(|n| samples::user(&named(n))).collect();
        store.standings(&contest, &users).await.expect("standings");
        let sequences: Vec<_> = (0..number).map(|n| 1_000_000 + n).collect();
        store.done(&sequences).await.expect("removed");
        let calls = (0..number % 20).map(|n| {
            let (store, contest) = (store.clone(), contest.clone());
            async move {
                let new = signup(&contest, &format!("viewer-{number}-{n}"));
                store.enroll(&new, None).await.expect("an answer");
                let commit = decision(&new, State::InProgress(samples::receipt(5, at)));
                SignupRepository::commit(&store, commit)
                    .await
                    .expect("an answer");
            }
        });
        at_once(calls.collect::<Vec<_>>()).await;
    }
    let prepared = format!(
        "SELECT CAST(MAX(s.count_star) AS SIGNED) \
         FROM performance_schema.events_statements_summary_by_thread_by_event_name AS s \
         JOIN performance_schema.threads AS t ON t.thread_id = s.thread_id \
         WHERE t.processlist_db = '{}' AND s.event_name = 'statement/com/Prepare'",
        nodes.schema.name()
    );
    let most = nodes.count(&prepared).await;
    assert!(
        (20..=WRITER_KEEPS).contains(&most),
        "{most} on one connection"
    );
    let usual = Settings::new("", &[]);
    let writers = i64::try_from(usual.writers).expect("a number");
    // Besides the writers': two that decide, one for leases, and one that reads in batches.
    let connections = i64::from(usual.readers) + 4;
    let statements = connections * KEPT + writers * WRITER_KEEPS;
    assert!(
        statements * NODES <= SERVER_KEEPS,
        "{statements} statements of a node"
    );
}

async fn cipher(connection: &mut MySqlConnection) -> String {
    let (_, cipher): (String, String) = sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        .fetch_one(connection)
        .await
        .expect("an answer");
    cipher
}

// hazard: G7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_told_over_tls_or_not_at_all() {
    let server = mysql_server(test_support::Engine::Mysql).await;
    let server = server.expect("a server");
    let database = server.database().await.expect("a schema");
    let mut root = MySqlConnection::connect(database.url())
        .await
        .expect("a session");
    run(
        &mut root,
        "CREATE USER ann IDENTIFIED WITH caching_sha2_password BY 'secret'",
    )
    .await;
    run(&mut root, "GRANT ALL ON *.* TO ann").await;
    let url = |rest: &str| {
        let url = database.url().replace("root@", "ann:secret@");
        session::options(&format!("{url}{rest}")).expect("an address")
    };
    // The server asks for the password itself, once; without TLS it is not told.
    for _ in 0..2 {
        let bare = session::connect(&url("?ssl-mode=DISABLED")).await;
        let error = bare.expect_err("it is not told");
        assert!(
            !format!("{error:?} {error}").contains("secret"),
            "{error:?}"
        );
    }
    for rest in ["", "?ssl-mode=REQUIRED"] {
        let mut session = session::connect(&url(rest)).await.expect("by TLS");
        assert!(cipher(&mut session).await.starts_with("TLS_"), "{rest}");
    }
    // From then on the server knows it again by a digest that is of no use to who listens.
    let mut bare = session::connect(&url("?ssl-mode=DISABLED"))
        .await
        .expect("by the digest");
    assert_eq!(cipher(&mut bare).await, "");
    run(&mut root, "FLUSH PRIVILEGES").await;
    let bare = session::connect(&url("?ssl-mode=DISABLED")).await;
    bare.expect_err("it has forgotten the digest");
    // Whom we speak to is looked at where we are told how.
    let data: String = sqlx::query_scalar("SELECT @@datadir")
        .fetch_one(&mut root)
        .await
        .expect("an answer");
    let known = format!("?ssl-mode=VERIFY_CA&ssl-ca={data}ca.pem");
    let mut session = session::connect(&url(&known)).await.expect("it is known");
    assert!(cipher(&mut session).await.starts_with("TLS_"));
    let strange = session::connect(&url("?ssl-mode=VERIFY_CA")).await;
    strange.expect_err("signed by nobody whom the world knows");
    let wrong = database.url().replace("root@", "ann:wrong@");
    let wrong = session::options(&wrong).expect("an address");
    let error = session::connect(&wrong)
        .await
        .expect_err("another password");
    assert!(format!("{error:?}").contains("Access denied"), "{error:?}");
}

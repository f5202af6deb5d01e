//! Every statement is understood by both servers, and none of them reads a whole table.
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    contest_sql, enroll, events, experiments, exposures, findings, leaderboard, leases, migrate,
    notices, outbox, reconciliations, sheet, signup_sql, switches, tickets,
};
use domain::signup::StateKind;
use sql_core::mysql as session;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, Row, SqlSafeStr};

const SERVERS: [&str; 2] = ["GUAFEN_TEST_MYSQL_URL", "GUAFEN_TEST_MARIADB_URL"];
/// The one contest with many signups.
const CONTEST: &str = "UNHEX('00000000000000000000000000000001')";

async fn run(connection: &mut MySqlConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .expect("an answer");
}

/// How many rows a statement inserts.
const CHUNK: usize = 2_000;

/// How many signups there are: as many as `GUAFEN_PLANS_SIGNUPS` says.
fn signups() -> usize {
    let asked = std::env::var("GUAFEN_PLANS_SIGNUPS");
    asked.map_or(CHUNK, |number| number.parse().expect("a number"))
}

const TABLES: &str = "signup, task_event, task_progress, lease, contest, sheet_line, outbox, finding, \
     event_ticket, event_ticket_window, reconciliation, reconciliation_finding, repair, watch, notice, switch_change, experiment, experiment_change, exposure";

/// With enough rows that a scan would cost more than an index; a tenth of them in one contest. What
/// the server knows of them is that there are none: so it is while a room fills.
async fn filled(connection: &mut MySqlConnection) {
    for table in TABLES.split(", ") {
        run(
            connection,
            format!("ALTER TABLE {table} STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0"),
        )
        .await;
    }
    counted(connection).await;
    let values = |first: usize, row: fn(usize) -> String| {
        let rows: Vec<_> = (first..first + CHUNK).map(row).collect();
        rows.join(", ")
    };
    for first in (0..signups()).step_by(CHUNK) {
        let signups = values(first, |n| {
            let contest = n % 10 + 1;
            let (state, parked) = [
                ("in_progress", "NULL"),
                ("completed", "NULL"),
                ("refunding", "1"),
            ][if n % 50 == 0 { 2 } else { n % 2 }];
            format!(
                "(UNHEX('{contest:032x}'), UNHEX('{n:032x}'), 'user-{n}', 10, UNHEX('{n:032x}'), '{state}', \
                 0, {n}, 5, 1, 1, 1, {n}, {parked}, NULL)"
            )
        });
        run(
            connection,
            format!(
                "INSERT INTO signup (contest_id, signup_id, user_id, fee, fee_order_id, state, tries, paid_at, \
                 weight, version, created_at, updated_at, wake_at, is_parked, is_provisional) VALUES {signups}"
            ),
        )
        .await;
        let progress = values(first, |n| {
            let contest = n % 10 + 1;
            format!("(UNHEX('{contest:032x}'), 'user-{n}', {n}, 'game', 'event-{n}', 1)")
        });
        run(
            connection,
            format!(
                "INSERT INTO task_progress (contest_id, user_id, occurred_at, sender_id, event_id, quantity) \
                 VALUES {progress}"
            ),
        )
        .await;
        let events = values(first, |n| {
            format!("('game', 'event-{n}', 'user-{n}', 'room', 'kind', 1, {n}, {n})")
        });
        run(
            connection,
            format!(
                "INSERT INTO task_event (sender_id, event_id, user_id, room_id, kind, quantity, occurred_at, \
                 received_at) VALUES {events}"
            ),
        )
        .await;
    }
    filled_once(connection).await;
    // The time of a few of them has come.
    let end = |n: usize| {
        if n.is_multiple_of(50) {
            1
        } else {
            9_000_000_000_000_u64
        }
    };
    let rows: Vec<_> = (0..CHUNK)
        .map(|n| format!("(UNHEX('{n:064x}'), 'user-{n}', {})", end(n)))
        .collect();
    run(
        connection,
        format!("{} VALUES {}", tickets::TICKET, rows.join(", ")),
    )
    .await;
    let rows: Vec<_> = (0..CHUNK)
        .map(|n| format!("('user-{n}', 1, {})", end(n)))
        .collect();
    run(
        connection,
        format!("{} VALUES {}", tickets::WINDOW, rows.join(", ")),
    )
    .await;
}

/// The values of a row by its number.
type OfNumber = fn(usize) -> String;

/// The tables of which it matters less how many rows they have: [`CHUNK`] each.
async fn filled_once(connection: &mut MySqlConnection) {
    let tables: [(&str, OfNumber); 5] = [
        ("lease (name, owner, fence, ends_at)", |n| {
            format!("('work-{n}', UNHEX('{n:032x}'), 1, {n})")
        }),
        (
            "contest (contest_id, title, room_id, fee, task_kind, task_target, rule, rake_bps, guaranteed_pool, \
             carry, claim_mode, no_winner, remainder, unclaimed, grace_ms, signup_opens_at, signup_closes_at, \
             tasks_end_at, claim_closes_at, phase, version, created_at, updated_at, wake_at)",
            |n| {
                // Most are over; a room has one in fifty.
                let id = n + 1;
                let phase = if n % 10 == 0 { "running" } else { "closed" };
                let room = n % 50;
                format!(
                    "(UNHEX('{id:032x}'), 'title', 'room-{room}', 10, 'kind', 1, 'equal', 0, 0, 0, 'manual', \
                     'refund', 'spread', 'pay', 0, {n}, {n}, {n}, {n}, '{phase}', 1, {n}, {n}, {n})"
                )
            },
        ),
        (
            "sheet_line (contest_id, signup_id, user_id, weight, weight_before, prize)",
            |n| {
                let contest = n % 10 + 1;
                format!("(UNHEX('{contest:032x}'), UNHEX('{n:032x}'), 'user-{n}', 1, '{n}', 1)")
            },
        ),
        (
            "outbox (effect, contest_id, signup_id, user_id, version, due_at)",
            |n| {
                let contest = n % 10 + 1;
                format!("('rank', UNHEX('{contest:032x}'), NULL, 'user-{n}', 1, {n})")
            },
        ),
        (
            "finding (finding_id, class, contest_id, subject, evidence, found_at, settled_at, is_open)",
            |n| {
                let contest = n % 10 + 1;
                let (settled, open) = if n % 10 == 0 {
                    ("NULL", "1")
                } else {
                    ("1", "NULL")
                };
                format!(
                    "(UNHEX('{n:032x}'), 'class', UNHEX('{contest:032x}'), 'subject-{n}', '', {n}, {settled}, {open})"
                )
            },
        ),
    ];
    for (table, row) in tables.into_iter().chain(notes()) {
        let rows: Vec<_> = (0..CHUNK).map(row).collect();
        run(
            connection,
            format!("INSERT INTO {table} VALUES {}", rows.join(", ")),
        )
        .await;
    }
}

type Rows = (&'static str, fn(usize) -> String);

/// What the reconciliation writes down.
fn notes() -> [Rows; 9] {
    [
        (
            "switch_change (sequence, name, scope, enabled, changed_by, reason, changed_at)",
            |n| {
                let (name, room) = (["claims", "signups"][n % 2], n % 50);
                format!("({n} + 1, '{name}', 'room/room-{room}', 0, 'olga', 'r', {n})")
            },
        ),
        (
            "experiment (name, salt, definition, ramp, status, stopped, version, created_at, updated_at)",
            |n| {
                let status = if n % 100 == 0 { "running" } else { "ended" };
                format!("('e-{n}', 's', '{{}}', 1, '{status}', '{{}}', 1, {n}, {n})")
            },
        ),
        (
            "experiment_change (name, version, action, reason, ramp, changed_at)",
            |n| {
                let name = n % 10;
                format!("('e-{name}', {n} + 1, 'ramped', 'r', 1, {n})")
            },
        ),
        (
            "exposure (experiment, unit, contest_id, user_id, variant, met_at)",
            |n| {
                let (name, contest) = (n % 10, n % 10 + 1);
                format!("('e-{name}', 'user-{n}', UNHEX('{contest:032x}'), 'user-{n}', 'a', {n})")
            },
        ),
        (
            "notice (kind, contest_id, created_at, tries, due_at)",
            |n| format!("('kind', UNHEX('{n:032x}'), {n}, 0, {n})"),
        ),
        (
            "reconciliation (run_id, from_contest, to_contest, is_dry, asked_at, ended_at, contests, failed, \
             signups, transfers, differences, repaired, repaired_coins, over_limits, version)",
            |n| {
                let ended = if n % 50 == 0 { "NULL" } else { "1" };
                format!(
                    "(UNHEX('{n:032x}'), UNHEX('{n:032x}'), UNHEX('{n:032x}'), 0, {n}, {ended}, 1, 0, 1, 1, 0, 0, 0, 0, 1)"
                )
            },
        ),
        ("reconciliation_finding (run_id, finding_id)", |n| {
            let run = n % 10 + 1;
            format!("(UNHEX('{run:032x}'), UNHEX('{n:032x}'))")
        }),
        (
            "repair (repair_id, finding_id, contest_id, order_id, what, evidence, coins, begun_at)",
            |n| {
                let finding = n / 2;
                format!(
                    "(UNHEX('{n:032x}'), UNHEX('{finding:032x}'), UNHEX('{n:032x}'), UNHEX('{n:032x}'), '', '', 1, {n})"
                )
            },
        ),
        ("watch (contest_id, position, walk_at, due_at)", |n| {
            format!("(UNHEX('{n:032x}'), 0, 0, {n})")
        }),
    ]
}

async fn counted(connection: &mut MySqlConnection) {
    run(connection, format!("ANALYZE TABLE {TABLES}")).await;
}

/// A statement and what stands for its question marks, in their order; the last for all that
/// follow.
struct Case {
    name: &'static str,
    statement: String,
    values: Vec<&'static str>,
}

fn case(name: &'static str, statement: impl Into<String>, values: &[&'static str]) -> Case {
    Case {
        name,
        statement: statement.into(),
        values: values.to_vec(),
    }
}

const JSON: &str = r#"'[{"n": 0, "contest_id": "00000000000000000000000000000001", "user_id": "user-1", "paid_at": 0}]'"#;
const USER: &str = "'user-10'";
const ID: &str = "UNHEX('0000000000000000000000000000000a')";
const ZERO: &str = "UNHEX('00000000000000000000000000000000')";
const TICKET: &str = "UNHEX('000000000000000000000000000000000000000000000000000000000000000a')";
const OTHER_TICKET: &str =
    "UNHEX('000000000000000000000000000000000000000000000000000000000000000b')";
const LAST: &str = "UNHEX('ffffffffffffffffffffffffffffffff')";

/// A statement of so many rows with all its marks.
fn insert(head: &str, columns: usize, tail: &str) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("{head} VALUES {row}, {row} {tail}")
}

fn lists() -> Vec<Case> {
    let newest = |name, in_room, phases, opened, values: &[&'static str]| {
        case(name, contest_sql::list(in_room, phases, opened), values)
    };
    let all = |name, of_contest, open, values: &[&'static str]| {
        case(name, findings::list(of_contest, open), values)
    };
    vec![
        newest("contests", false, 0, None, &[LAST, "10"]),
        newest("contests opened", false, 0, Some(true), &[LAST, "10"]),
        newest(
            "contests of a room",
            true,
            0,
            None,
            &[LAST, "'room-0'", "10"],
        ),
        newest(
            "contests of a room and phases",
            true,
            2,
            Some(false),
            &[LAST, "'room-0'", "'running'", "'closed'", "10"],
        ),
        newest(
            "contests of a phase",
            false,
            1,
            None,
            &[LAST, "'running'", "10"],
        ),
        newest(
            "contests of phases",
            false,
            2,
            None,
            &[LAST, "'running'", "10", LAST, "'closed'", "10", "10"],
        ),
        all("findings", false, None, &[ZERO, "10"]),
        all("open findings", false, Some(true), &[ZERO, "10"]),
        all("settled findings", false, Some(false), &[ZERO, "10"]),
        all("findings of a contest", true, None, &[ZERO, CONTEST, "10"]),
        all(
            "open findings of a contest",
            true,
            Some(true),
            &[ZERO, CONTEST, "10"],
        ),
        case("what is open", findings::OPEN, &[]),
        case("leases looked at", leases::look(2), &["'work'", "'other'"]),
        case("notices", notices::DUE.as_str(), &["10"]),
        case(
            "the open one",
            findings::OPEN_ONE,
            &[CONTEST, "'class'", "'subject-5'"],
        ),
        case(
            "the last of a kind",
            findings::LAST,
            &[CONTEST, "'class'", "'subject-5'"],
        ),
        case(
            "runs",
            reconciliations::select_runs(reconciliations::RUNS),
            &[LAST, "10"],
        ),
        case(
            "open runs",
            reconciliations::select_runs(reconciliations::OPEN_RUNS),
            &["10"],
        ),
        case(
            "run findings",
            reconciliations::RUN_FINDINGS.as_str(),
            &[ID, ZERO, "10"],
        ),
        case("repairs", reconciliations::REPAIRS.as_str(), &[ID]),
        case("watched", reconciliations::WATCHED.as_str(), &["10"]),
        case(
            "switch history",
            switches::HISTORY.as_str(),
            &["'claims'", "99999", "10"],
        ),
        case(
            "switch changes",
            switches::changes_in(2),
            &["'claims'", "'everything'", "'room/room-5'", "10"],
        ),
        case("experiments", experiments::LIST.as_str(), &["'e-5'", "10"]),
        case("experiments that run", experiments::RUNNING.as_str(), &[]),
        case(
            "experiment changes",
            experiments::CHANGES.as_str(),
            &["'e-5'", "99999", "10"],
        ),
        case(
            "outcomes",
            experiments::OUTCOMES.as_str(),
            &[
                "'e-5'", "'user-5'", CONTEST, "'user-5'", "'user-5'", CONTEST, "'user-5'", "10",
            ],
        ),
        case("exposed", experiments::EXPOSED, &[CONTEST]),
        case(
            "counts by variants",
            experiments::COUNTS_BY_VARIANTS,
            &[CONTEST],
        ),
    ]
}

fn writes() -> Vec<Case> {
    let one = &["1"];
    vec![
        case("LOCK", contest_sql::LOCK, &[CONTEST]),
        case(
            "COMMIT",
            contest_sql::COMMIT.as_str(),
            &[vec!["1"; contest_sql::CHANGING.len() + 1], vec![CONTEST]].concat(),
        ),
        case("LEGS", contest_sql::LEGS, &[JSON]),
        case("sheet INSERT", sheet::INSERT, &[JSON]),
        case("sheet lines", sheet::lines(2), &[CONTEST, ID, CONTEST, ID]),
        case("outbox delete", outbox::delete(2), &["5", "6"]),
        case("events INSERT", events::INSERT, &[JSON]),
        case("PROGRESS_ROWS", events::PROGRESS_ROWS, &[JSON]),
        case(
            "signup INSERT",
            insert(&signup_sql::INSERT, 27, signup_sql::STAYS),
            one,
        ),
        case(
            "CHANGES",
            insert(&signup_sql::INSERT, 27, &signup_sql::CHANGES),
            one,
        ),
        case("HISTORY", insert(signup_sql::HISTORY, 5, ""), one),
        case("OUTBOX", insert(signup_sql::OUTBOX, 6, ""), one),
        case(
            "exposures INSERT",
            insert(exposures::INSERT, 6, exposures::STAYS),
            one,
        ),
    ]
}

fn cases() -> Vec<Case> {
    let states: Vec<_> = StateKind::ALL.iter().map(|state| state.name()).collect();
    let reads = vec![
        case(
            "find_many",
            signup_sql::find_many(2),
            &[CONTEST, USER, CONTEST, "'user-20'"],
        ),
        case(
            "find_many_to_claim",
            signup_sql::find_many_to_claim(2),
            &[CONTEST, USER, CONTEST, "'user-20'"],
        ),
        case(
            "ids_of_many",
            signup_sql::ids_of_many(2),
            &[CONTEST, USER, CONTEST, "'user-20'"],
        ),
        case(
            "lock",
            signup_sql::lock(2),
            &[CONTEST, ID, CONTEST, CONTEST],
        ),
        case("GET", signup_sql::GET.as_str(), &[ID]),
        case("AWAKE", signup_sql::AWAKE.as_str(), &["10"]),
        case("RANGE_END", signup_sql::RANGE_END, &[CONTEST, ZERO, "10"]),
        case("PAGE", signup_sql::PAGE.as_str(), &[CONTEST, ZERO, "10"]),
        case(
            "PAGE_OF_STATE",
            signup_sql::PAGE_OF_STATE.as_str(),
            &[CONTEST, "'completed'", ZERO, "10"],
        ),
        case("OF_USER", signup_sql::OF_USER.as_str(), &[USER, LAST, "10"]),
        case(
            "PARKED_ROWS",
            signup_sql::PARKED_ROWS.as_str(),
            &[ZERO, "10"],
        ),
        case("presence", contest_sql::presence(&states), &[CONTEST]),
        case("CENSUS", contest_sql::CENSUS, &[CONTEST]),
        case("COUNTS", contest_sql::COUNTS, &[CONTEST]),
        case("FINISHERS", contest_sql::FINISHERS, &[CONTEST, ZERO, "10"]),
        case("versions", contest_sql::versions(2), &[CONTEST, ID]),
        case("get_many", contest_sql::get_many(2), &[CONTEST, ID]),
        case("contests AWAKE", contest_sql::AWAKE.as_str(), &["10"]),
        case("by_id", enroll::by_id(2), &[CONTEST, ID]),
        case(
            "by_room",
            enroll::by_room(2),
            &["'room-0'", "'kind'", "'room-0'", "'other'", "5"],
        ),
        case(
            "stored",
            events::stored_sql(2),
            &["'game'", "'event-1'", "'game'", "'event-2'"],
        ),
        case(
            "PROGRESS",
            events::PROGRESS.as_str(),
            &["3", JSON, "100000"],
        ),
        case("sheet PAGE", sheet::PAGE, &[CONTEST, ZERO, "10"]),
        case("outbox TAKE", outbox::TAKE.as_str(), &["5", "10"]),
        case("TAKE", leases::TAKE.as_str(), &["'work-1'", ID, "1000"]),
        case("ticket TAKE", tickets::TAKE.as_str(), &[TICKET]),
        case("ticket owners", tickets::owners(2), &[TICKET, OTHER_TICKET]),
        case("tickets asked", tickets::asked(2), &[USER, "'user-20'"]),
        case("PAST_TICKETS", tickets::PAST_TICKETS.as_str(), &["512"]),
        case("PAST_WINDOWS", tickets::PAST_WINDOWS.as_str(), &["512"]),
        case(
            "remove_tickets",
            tickets::remove_tickets(2),
            &[TICKET, OTHER_TICKET],
        ),
        case(
            "remove_windows",
            tickets::remove_windows(2),
            &[USER, "'user-20'"],
        ),
        case(
            "standings",
            leaderboard::standings(2),
            &["100000", CONTEST, USER, "'user-20'"],
        ),
        case(
            "places PAGE",
            leaderboard::PAGE.as_str(),
            &["100000", CONTEST, ZERO, "10"],
        ),
        case(
            "PLACES",
            leaderboard::PLACES.as_str(),
            &["100000", CONTEST, "NULL", "NULL", "10"],
        ),
    ];
    [reads, lists(), writes()].into_iter().flatten().collect()
}

#[tokio::test]
async fn both_servers_prepare_every_statement_and_scan_no_table() {
    for variable in SERVERS {
        let base = std::env::var(variable).expect("the variable names a server");
        let name = format!("store_plans_{}", std::process::id());
        let mut outside = MySqlConnection::connect(&base).await.expect("a server");
        run(&mut outside, format!("CREATE DATABASE {name}")).await;
        let url = format!("{base}/{name}");
        migrate(&url).await.expect("a migrated database");
        let options = session::options(&url).expect("an address");
        let mut connection = session::connect(&options).await.expect("a connection");
        if variable == "GUAFEN_TEST_MYSQL_URL" {
            let classic = "SET SESSION explain_format = 'TRADITIONAL'";
            run(&mut connection, classic.to_owned()).await;
        }
        filled(&mut connection).await;
        let mut wrong = scans(variable, &mut connection).await;
        counted(&mut connection).await;
        wrong.extend(scans(variable, &mut connection).await);
        run(&mut outside, format!("DROP DATABASE {name}")).await;
        assert!(wrong.is_empty(), "{variable}: {wrong:#?}");
    }
}

/// What reads more than it should.
async fn scans(variable: &str, connection: &mut MySqlConnection) -> Vec<String> {
    let mut wrong = Vec::new();
    for Case {
        name,
        statement,
        values,
    } in cases()
    {
        (&mut *connection)
            .prepare(AssertSqlSafe(statement.clone()).into_sql_str())
            .await
            .unwrap_or_else(|error| panic!("{variable}: {name}: {error}"));
        let mut explain = "EXPLAIN ".to_owned();
        for (place, part) in statement.split('?').enumerate() {
            if place > 0 {
                explain.push_str(values[(place - 1).min(values.len() - 1)]);
            }
            explain.push_str(part);
        }
        let rows = sqlx::raw_sql(AssertSqlSafe(explain))
            .fetch_all(&mut *connection)
            .await
            .unwrap_or_else(|error| panic!("{variable}: {name}: {error}"));
        for row in rows {
            let table: String = row.get::<Option<_>, _>("table").unwrap_or_default();
            let access: String = row.get::<Option<_>, _>("type").unwrap_or_default();
            let key: String = row.get::<Option<_>, _>("key").unwrap_or_default();
            let extra: String = row.get::<Option<_>, _>("Extra").unwrap_or_default();
            let kind: String = row.get::<Option<_>, _>("select_type").unwrap_or_default();
            // `j` is the parameter, `<…>` what another row of the plan comes to; `c` is that
            // too. The target of an insert is listed as if it were read.
            let is_small = table.starts_with('<') || table == "j" || kind == "INSERT";
            // A page that is sorted first, or grouped, is made of all that is behind it.
            let is_page = name == "places PAGE" || ["contest", "finding"].contains(&table.as_str());
            if is_page && (extra.contains("filesort") || extra.contains("temporary")) {
                wrong.push(format!("{name} collects all of {table}: {extra}"));
            }
            // Each viewer's events by themselves, never those of a whole contest for each viewer.
            let is_wide = table == "p" && !["ref", "eq_ref"].contains(&access.as_str());
            if is_wide || ["ALL", "index"].contains(&access.as_str()) && !is_small {
                wrong.push(format!("{name} scans {table} by {access} {key}"));
            }
        }
    }
    wrong
}

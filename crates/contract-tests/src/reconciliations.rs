//! The suite of [`ports::reconciliations::Reconciliations`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, all_pages, at_once, insert, now},
    samples::{CROWD, contest_id, contest_in, signup_id},
};
use domain::{
    contest::PhaseKind,
    finding::{FindingClass, RepairOutcome},
    ids::ContestId,
    money::Coins,
    order::OrderId,
    time::UnixMillis,
    transfer::Position,
};
use ports::{
    findings::Finding,
    reconciliations::{LoggedRepair, Run, Scope, Totals, Watch},
    store::Committed,
};
use uuid::Uuid;

crate::suite::suite! { reconciliations_suite in reconciliations:
    a_run_reads_back_whole_and_begins_once,
    a_run_is_advanced_from_the_version_it_was_read_at,
    of_many_that_advance_a_run_one_does,
    a_run_has_what_it_found_each_once,
    open_runs_are_the_oldest_first_and_all_of_them_the_newest,
    a_repair_is_written_before_and_its_outcome_once,
    a_contest_is_watched_from_its_insertion_on,
    who_waits_longest_is_looked_at_first,
    a_contest_that_is_watched_no_more_stays_so,
    the_records_survive_a_crash,
}

fn run(scope: Scope, at: UnixMillis) -> Run {
    Run {
        id: Uuid::now_v7(),
        scope,
        asked_by: None,
        is_dry: false,
        asked_at: at,
        ended_at: None,
        after: None,
        totals: Totals::default(),
        version: 1,
    }
}

async fn begin<F: StoreFixture>(store: &F, run: &Run) -> bool {
    let records = store.reconciliations();
    records.begin_run(run).await.expect("an answer")
}

async fn advance<F: StoreFixture>(store: &F, run: &Run, findings: &[Uuid]) -> Committed {
    let records = store.reconciliations();
    records.advance_run(run, findings).await.expect("an answer")
}

async fn read<F: StoreFixture>(store: &F, id: Uuid) -> Option<Run> {
    store.reconciliations().run(id).await.expect("read")
}

async fn watch<F: StoreFixture>(store: &F, contest: ContestId) -> Option<Watch> {
    store.reconciliations().watch(contest).await.expect("read")
}

// clause 1
async fn a_run_reads_back_whole_and_begins_once<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    for (scope, asked_by, is_dry) in [
        (Scope::ALL, None, false),
        (Scope::one(contest_id()), Some("olga"), true),
    ] {
        let run = Run {
            asked_by: asked_by.map(|by| by.parse().expect("a user")),
            is_dry,
            ..run(scope, time)
        };
        assert_eq!(read(&store, run.id).await, None);
        assert!(begin(&store, &run).await);
        assert_eq!(read(&store, run.id).await, Some(run.clone()));
        let other = Run {
            is_dry: !is_dry,
            ..run.clone()
        };
        assert!(!begin(&store, &other).await, "a repeat");
        assert_eq!(read(&store, run.id).await, Some(run));
    }
}

// clause 1
async fn a_run_is_advanced_from_the_version_it_was_read_at<F: StoreFixture>(store: F) {
    let first = run(Scope::ALL, now(&store).await);
    assert_eq!(advance(&store, &first, &[]).await, Committed::Missing);
    assert!(begin(&store, &first).await);
    let further = Run {
        ended_at: Some(first.asked_at.plus(77)),
        after: Some(contest_id()),
        totals: Totals {
            contests: 1,
            failed: 2,
            signups: 3,
            transfers: 4,
            differences: 5,
            repaired: 6,
            coins: 8,
            over_limits: 7,
        },
        ..first.clone()
    };
    assert_eq!(advance(&store, &further, &[]).await, Committed::Applied);
    let stored = Run {
        version: 2,
        ..further.clone()
    };
    assert_eq!(read(&store, first.id).await, Some(stored.clone()));
    assert_eq!(advance(&store, &first, &[]).await, Committed::GuardFailed);
    assert_eq!(read(&store, first.id).await, Some(stored));
}

// clause 1
async fn of_many_that_advance_a_run_one_does<F: StoreFixture>(store: F) {
    let one = run(Scope::ALL, now(&store).await);
    assert!(begin(&store, &one).await);
    let calls = (0..CROWD).map(|_| {
        let (records, one) = (store.reconciliations(), one.clone());
        async move { records.advance_run(&one, &[]).await.expect("an answer") }
    });
    let answers = at_once(calls).await;
    let applied = answers
        .iter()
        .filter(|answer| **answer == Committed::Applied);
    assert_eq!(applied.count(), 1);
    assert_eq!(read(&store, one.id).await.map(|run| run.version), Some(2));
}

async fn found<F: StoreFixture>(store: &F, subject: &str) -> Finding {
    let finding = Finding {
        id: Uuid::now_v7(),
        class: FindingClass::FeeMissing,
        contest_id: contest_id(),
        subject: subject.to_owned(),
        evidence: "nothing there".to_owned(),
        found_at: now(store).await,
        settled_at: None,
        user_id: Some("ann".parse().expect("a user")),
        resolution: None,
    };
    let raised = store.findings().raise(&finding).await.expect("an answer");
    assert!(raised.is_new);
    finding
}

// clause 1
async fn a_run_has_what_it_found_each_once<F: StoreFixture>(store: F) {
    let (one, other) = (
        run(Scope::ALL, now(&store).await),
        run(Scope::ALL, now(&store).await),
    );
    assert!(begin(&store, &one).await && begin(&store, &other).await);
    let mut all = Vec::new();
    for number in 0..7 {
        all.push(found(&store, &format!("viewer-{number}")).await);
    }
    let ids: Vec<Uuid> = all.iter().map(|finding| finding.id).collect();
    assert_eq!(advance(&store, &one, &ids[..4]).await, Committed::Applied);
    let second = Run {
        version: 2,
        ..one.clone()
    };
    assert_eq!(
        advance(&store, &second, &ids[2..]).await,
        Committed::Applied
    );
    // Who was too late has found nothing.
    assert_eq!(advance(&store, &second, &ids).await, Committed::GuardFailed);
    assert_eq!(advance(&store, &other, &ids[..1]).await, Committed::Applied);
    for limit in [1, 3, 7, 8, usize::MAX] {
        let page = async |after| {
            let records = store.reconciliations();
            let page = records.run_findings(one.id, after, limit).await;
            page.expect("read")
        };
        assert_eq!(all_pages(limit, page).await, all);
    }
    let records = store.reconciliations();
    let of_other = records.run_findings(other.id, None, 10).await;
    assert_eq!(of_other.expect("read").items, all[..1]);
}

// clause 2
async fn open_runs_are_the_oldest_first_and_all_of_them_the_newest<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let mut all = Vec::new();
    for number in 0..6 {
        let run = run(Scope::ALL, time);
        assert!(begin(&store, &run).await);
        if number % 2 == 0 {
            let ended = Run {
                ended_at: Some(time),
                ..run.clone()
            };
            assert_eq!(advance(&store, &ended, &[]).await, Committed::Applied);
        }
        all.push(run.id);
    }
    let open = store.reconciliations().open_runs(2).await.expect("read");
    assert_eq!(
        open.iter().map(|run| run.id).collect::<Vec<_>>(),
        [all[1], all[3]]
    );
    all.reverse();
    for limit in [1, 4, 6, 7] {
        let page = async |after| {
            let page = store.reconciliations().runs(after, limit).await;
            page.expect("read")
        };
        let found = all_pages(limit, page).await;
        assert_eq!(found.iter().map(|run| run.id).collect::<Vec<_>>(), all);
    }
}

fn repair(finding: Uuid, at: UnixMillis) -> LoggedRepair {
    LoggedRepair {
        id: Uuid::now_v7(),
        finding_id: finding,
        run_id: None,
        by: None,
        contest_id: contest_id(),
        order_id: OrderId([7; 16]),
        what: "paid again".to_owned(),
        evidence: "here 10, there '9' 差异 \"\n\\".to_owned(),
        coins: Coins::try_from(10_i64).expect("coins"),
        begun_at: at,
        ended: None,
    }
}

// clause 3
async fn a_repair_is_written_before_and_its_outcome_once<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let finding = Uuid::now_v7();
    let first = repair(finding, time);
    let second = LoggedRepair {
        run_id: Some(Uuid::now_v7()),
        by: Some("olga".parse().expect("a user")),
        ..repair(finding, time)
    };
    let elsewhere = repair(Uuid::now_v7(), time);
    let records = store.reconciliations();
    for one in [&first, &second, &elsewhere] {
        records.begin_repair(one).await.expect("an answer");
    }
    let changed = LoggedRepair {
        what: "otherwise".to_owned(),
        ..first.clone()
    };
    records.begin_repair(&changed).await.expect("an answer");
    let read = records.repairs(finding).await.expect("read");
    assert_eq!(read, [first.clone(), second.clone()]);
    let earliest = now(&store).await;
    for outcome in [RepairOutcome::Done, RepairOutcome::Failed] {
        records
            .end_repair(first.id, outcome)
            .await
            .expect("an answer");
    }
    records
        .end_repair(Uuid::now_v7(), RepairOutcome::Done)
        .await
        .expect("no error");
    let read = records.repairs(finding).await.expect("read");
    let (at, outcome) = read[0].ended.expect("it ended");
    assert!((earliest..=now(&store).await).contains(&at));
    assert_eq!(outcome, RepairOutcome::Done);
    assert_eq!(read[1], second);
}

async fn inserted<F: StoreFixture>(store: &F) -> ContestId {
    let contest = contest_in(PhaseKind::Draft, now(store).await);
    insert(store, &contest).await;
    contest.id
}

// clauses 4 and 5
async fn a_contest_is_watched_from_its_insertion_on<F: StoreFixture>(store: F) {
    let before = now(&store).await;
    let contest = inserted(&store).await;
    let fresh = watch(&store, contest).await.expect("it is watched");
    assert_eq!(
        (fresh.position, fresh.walked, fresh.final_run),
        (Position(0), None, None)
    );
    assert!(fresh.due_at <= now(&store).await && fresh.due_at >= before);
    let moved = Watch {
        position: Position(77),
        walked: Some(signup_id()),
        walk_at: fresh.walk_at.plus(5),
        due_at: fresh.due_at.plus(6),
        final_run: Some(Uuid::now_v7()),
        ..fresh
    };
    let records = store.reconciliations();
    records.save_watch(&moved).await.expect("an answer");
    assert_eq!(watch(&store, contest).await, Some(moved));
    let nobody = Watch {
        contest_id: contest_id(),
        ..moved
    };
    records.save_watch(&nobody).await.expect("an answer");
    assert_eq!(watch(&store, nobody.contest_id).await, None);
}

// clause 4
async fn who_waits_longest_is_looked_at_first<F: StoreFixture>(store: F) {
    let records = store.reconciliations();
    let mut contests = Vec::new();
    for _ in 0..5 {
        contests.push(inserted(&store).await);
    }
    let time = now(&store).await;
    for (contest, wait) in contests
        .iter()
        .zip([-3_000, -1_000, 3_600_000, -2_000, -4_000])
    {
        let fresh = watch(&store, *contest).await.expect("it is watched");
        let due = Watch {
            due_at: time.plus(wait),
            ..fresh
        };
        records.save_watch(&due).await.expect("an answer");
    }
    let listed = async |limit| -> Vec<ContestId> {
        let due = records.watched(limit).await.expect("read");
        due.iter().map(|watch| watch.contest_id).collect()
    };
    let order = [contests[4], contests[0], contests[3], contests[1]];
    assert_eq!(listed(3).await, order[..3]);
    assert_eq!(listed(usize::MAX).await, order);
}

// clauses 4 and 5
async fn a_contest_that_is_watched_no_more_stays_so<F: StoreFixture>(store: F) {
    let contest = inserted(&store).await;
    let records = store.reconciliations();
    let fresh = watch(&store, contest).await.expect("it is watched");
    for _ in 0..2 {
        records.unwatch(contest).await.expect("an answer");
        assert_eq!(watch(&store, contest).await, None);
        records.save_watch(&fresh).await.expect("an answer");
    }
    assert_eq!(watch(&store, contest).await, None);
    assert_eq!(records.watched(10).await.expect("read"), []);
}

async fn the_records_survive_a_crash<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let contest = inserted(&store).await;
    let one = run(Scope::one(contest), time);
    assert!(begin(&store, &one).await);
    let finding = found(&store, "viewer").await;
    assert_eq!(
        advance(&store, &one, &[finding.id]).await,
        Committed::Applied
    );
    let mending = repair(finding.id, time);
    let records = store.reconciliations();
    records.begin_repair(&mending).await.expect("an answer");
    let seen = Watch {
        position: Position(3),
        ..watch(&store, contest).await.expect("it is watched")
    };
    records.save_watch(&seen).await.expect("an answer");

    let store = store.reopen().await;
    let advanced = Run { version: 2, ..one };
    assert_eq!(read(&store, advanced.id).await, Some(advanced.clone()));
    let records = store.reconciliations();
    let page = records.run_findings(advanced.id, None, 10).await;
    assert_eq!(page.expect("read").items, std::slice::from_ref(&finding));
    assert_eq!(records.repairs(finding.id).await.expect("read"), [mending]);
    assert_eq!(watch(&store, contest).await, Some(seen));
}

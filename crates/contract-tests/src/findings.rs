//! The suite of [`ports::findings::Findings`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, all_pages, at_once, now},
    samples::{CROWD, contest_id},
};
use domain::{finding::FindingClass, ids::ContestId, time::UnixMillis};
use ports::findings::{Finding, FindingFilter, OpenFindings, Raised, Resolution, Resolved};
use uuid::Uuid;

crate::suite::suite! { findings_suite in findings:
    a_finding_reads_back_whole_in_every_class,
    the_same_finding_is_open_once,
    of_many_that_see_the_same_one_writes_it_down,
    settling_closes_the_open_one_and_no_other,
    what_was_settled_can_be_found_again_and_nothing_is_deleted,
    a_list_is_oldest_first_each_once,
    a_list_is_narrowed_by_contest_and_by_what_became_of_them,
    findings_survive_a_crash,
    whoever_raises_what_is_open_is_told_which_one_it_is,
    a_person_settles_one_finding_once_with_a_note,
    what_settled_by_itself_is_not_a_persons_word,
    what_a_person_has_resolved_is_raised_again_only_if_it_looks_otherwise,
    what_is_open_is_counted_by_class_with_the_oldest,
}

fn finding(class: FindingClass, contest: ContestId, subject: &str, at: UnixMillis) -> Finding {
    Finding {
        id: Uuid::now_v7(),
        class,
        contest_id: contest,
        subject: subject.to_owned(),
        evidence: "here 10, there '9' 差异 \"\n\\".to_owned(),
        found_at: at,
        settled_at: None,
        user_id: (subject == "ann").then(|| "ann".parse().expect("a user")),
        resolution: None,
    }
}

/// True if it is new, and then it is the one that was raised.
async fn raise<F: StoreFixture>(store: &F, finding: &Finding) -> bool {
    let raised = raised(store, finding).await;
    assert!(!raised.is_new || raised.id == finding.id);
    raised.is_new
}

async fn raised<F: StoreFixture>(store: &F, finding: &Finding) -> Raised {
    store.findings().raise(finding).await.expect("an answer")
}

async fn resolve<F: StoreFixture>(store: &F, id: Uuid, resolution: &Resolution) -> Resolved {
    let findings = store.findings();
    findings.resolve(id, resolution).await.expect("an answer")
}

fn word(by: &str, note: &str) -> Resolution {
    Resolution {
        by: by.parse().expect("a user"),
        note: note.to_owned(),
    }
}

fn of(contest: ContestId, open_only: bool) -> FindingFilter {
    FindingFilter {
        contest: Some(contest),
        open: open_only.then_some(true),
    }
}

async fn listed<F: StoreFixture>(store: &F, contest: ContestId, open_only: bool) -> Vec<Finding> {
    let page = store
        .findings()
        .list(of(contest, open_only), None, 999)
        .await
        .expect("read");
    assert_eq!(page.next, None);
    page.items
}

/// Field by field, and without `..`: a new field has to be compared here too.
fn assert_same(read: &Finding, written: &Finding) {
    let Finding {
        id,
        class,
        contest_id,
        subject,
        evidence,
        found_at,
        settled_at,
        user_id,
        resolution,
    } = read;
    assert_eq!(*user_id, written.user_id);
    assert_eq!(*id, written.id);
    assert_eq!(*class, written.class);
    assert_eq!(*contest_id, written.contest_id);
    assert_eq!(*subject, written.subject);
    assert_eq!(*evidence, written.evidence);
    assert_eq!(*found_at, written.found_at);
    assert_eq!(*settled_at, written.settled_at);
    assert_eq!(*resolution, written.resolution);
}

async fn a_finding_reads_back_whole_in_every_class<F: StoreFixture>(store: F) {
    let (contest, time) = (contest_id(), now(&store).await);
    assert_eq!(listed(&store, contest, false).await, []);
    for &class in FindingClass::ALL {
        let one = finding(class, contest, "subject", time.plus(-7));
        assert!(raise(&store, &one).await, "{}", class.name());
        let all = listed(&store, contest, true).await;
        assert_same(all.last().expect("the newest"), &one);
    }
    assert_eq!(
        listed(&store, contest, false).await.len(),
        FindingClass::ALL.len()
    );
}

// clause 1
async fn the_same_finding_is_open_once<F: StoreFixture>(store: F) {
    let (contest, time) = (contest_id(), now(&store).await);
    let first = finding(FindingClass::Stuck, contest, "ann", time);
    assert!(raise(&store, &first).await);
    assert!(!raise(&store, &first).await, "a repeat");
    let again = Finding {
        evidence: "newer".to_owned(),
        ..finding(FindingClass::Stuck, contest, "ann", time.plus(9))
    };
    assert!(!raise(&store, &again).await, "seen again");
    assert_eq!(listed(&store, contest, false).await, [first]);
    // What differs in class, contest or (by a byte) subject is another one.
    let other_contest = contest_id();
    let others = [
        finding(FindingClass::FeeMissing, contest, "ann", time),
        finding(FindingClass::Stuck, other_contest, "ann", time),
        finding(FindingClass::Stuck, contest, "Ann", time),
        finding(FindingClass::Stuck, contest, "ann ", time),
        finding(FindingClass::Stuck, contest, "", time),
    ];
    for other in &others {
        assert!(raise(&store, other).await, "{other:?}");
    }
    assert_eq!(listed(&store, contest, true).await.len(), 5);
    assert_eq!(
        listed(&store, other_contest, true).await,
        [others[1].clone()]
    );
}

// clause 1
async fn of_many_that_see_the_same_one_writes_it_down<F: StoreFixture>(store: F) {
    let (contest, time) = (contest_id(), now(&store).await);
    let calls = (0..CROWD).map(|_| {
        let findings = store.findings();
        let one = finding(FindingClass::PoolDiffers, contest, "pool", time);
        async move { (findings.raise(&one).await.expect("an answer").is_new, one) }
    });
    let answers = at_once(calls).await;
    let new: Vec<_> = answers
        .into_iter()
        .filter(|(is_new, _)| *is_new)
        .map(|(_, one)| one)
        .collect();
    assert_eq!(new.len(), 1);
    assert_eq!(listed(&store, contest, false).await, new);
}

// clause 2
async fn settling_closes_the_open_one_and_no_other<F: StoreFixture>(store: F) {
    let (contest, other_contest, time) = (contest_id(), contest_id(), now(&store).await);
    let all = [
        finding(FindingClass::Stuck, contest, "ann", time),
        finding(FindingClass::Stuck, contest, "Ann", time),
        finding(FindingClass::FeeMissing, contest, "ann", time),
    ];
    let elsewhere = finding(FindingClass::Stuck, other_contest, "ann", time);
    for one in all.iter().chain([&elsewhere]) {
        assert!(raise(&store, one).await);
    }
    let settle = async |class, subject| {
        store
            .findings()
            .settle(class, contest, subject)
            .await
            .expect("an answer");
    };
    // Nothing like that is open: no error, and nothing changes.
    settle(FindingClass::RefundMissing, "ann").await;
    settle(FindingClass::Stuck, "bob").await;
    assert_eq!(listed(&store, contest, true).await, all);
    let earliest = now(&store).await;
    settle(FindingClass::Stuck, "ann").await;
    let latest = now(&store).await;
    assert_eq!(listed(&store, contest, true).await, all[1..]);
    assert_eq!(listed(&store, other_contest, true).await, [elsewhere]);
    let read = listed(&store, contest, false).await;
    let settled_at = read[0].settled_at.expect("settled");
    assert!(
        (earliest..=latest).contains(&settled_at),
        "the store's own time"
    );
    let settled = Finding {
        settled_at: Some(settled_at),
        ..all[0].clone()
    };
    assert_eq!(read, [settled, all[1].clone(), all[2].clone()]);
    // Settling it again moves nothing.
    settle(FindingClass::Stuck, "ann").await;
    assert_eq!(listed(&store, contest, false).await, read);
}

// clause 3
async fn what_was_settled_can_be_found_again_and_nothing_is_deleted<F: StoreFixture>(store: F) {
    let (contest, time) = (contest_id(), now(&store).await);
    let mut ids = Vec::new();
    for round in 0..4 {
        let one = finding(
            FindingClass::TallyDiffers,
            contest,
            "tally",
            time.plus(round),
        );
        assert!(raise(&store, &one).await, "round {round}");
        assert!(!raise(&store, &one).await, "a repeat");
        ids.push(one.id);
        let open = std::slice::from_ref(&one);
        assert_eq!(listed(&store, contest, true).await, open);
        let findings = store.findings();
        let settled = findings.settle(one.class, contest, "tally").await;
        settled.expect("an answer");
        assert_eq!(listed(&store, contest, true).await, []);
        // A repeat that comes after it was settled is no new finding.
        assert!(!raise(&store, &one).await, "a late repeat");
        assert_eq!(listed(&store, contest, true).await, []);
    }
    let all = listed(&store, contest, false).await;
    assert_eq!(all.iter().map(|one| one.id).collect::<Vec<_>>(), ids);
    assert!(all.iter().all(|one| one.settled_at.is_some()));
}

async fn a_list_is_oldest_first_each_once<F: StoreFixture>(store: F) {
    let (contest, other_contest, time) = (contest_id(), contest_id(), now(&store).await);
    let mut all = Vec::new();
    for number in 0..11 {
        let one = finding(
            FindingClass::Stuck,
            contest,
            &format!("viewer-{number}"),
            time,
        );
        assert!(raise(&store, &one).await);
        let other = finding(
            FindingClass::Stuck,
            other_contest,
            &format!("viewer-{number}"),
            time,
        );
        assert!(raise(&store, &other).await);
        all.push(one);
    }
    for number in [0, 4, 5, 10] {
        let subject = format!("viewer-{number}");
        let settled = store
            .findings()
            .settle(FindingClass::Stuck, contest, &subject)
            .await;
        settled.expect("an answer");
    }
    for (open_only, expected) in [(true, 7), (false, 11)] {
        for limit in [1, 2, expected, expected + 1, usize::MAX] {
            let page = async |after| {
                store
                    .findings()
                    .list(of(contest, open_only), after, limit)
                    .await
                    .expect("read")
            };
            let found = all_pages(limit, page).await;
            assert_eq!(found.len(), expected, "limit {limit}");
            assert!(found.is_sorted_by_key(|one| one.id));
            assert!(!open_only || found.iter().all(|one| one.settled_at.is_none()));
        }
    }
}

async fn a_list_is_narrowed_by_contest_and_by_what_became_of_them<F: StoreFixture>(store: F) {
    let (ours, other, time) = (contest_id(), contest_id(), now(&store).await);
    for (contest, subject) in [(ours, "ann"), (other, "ann"), (ours, "bob"), (other, "bob")] {
        assert!(
            raise(
                &store,
                &finding(FindingClass::Stuck, contest, subject, time)
            )
            .await
        );
    }
    for contest in [ours, other] {
        let findings = store.findings();
        let settled = findings.settle(FindingClass::Stuck, contest, "bob").await;
        settled.expect("an answer");
    }
    for (contest, open, wanted) in [
        (None, None, &["ann", "ann", "bob", "bob"][..]),
        (None, Some(true), &["ann", "ann"]),
        (None, Some(false), &["bob", "bob"]),
        (Some(ours), None, &["ann", "bob"]),
        (Some(ours), Some(true), &["ann"]),
        (Some(ours), Some(false), &["bob"]),
        (Some(contest_id()), None, &[]),
    ] {
        let filter = FindingFilter { contest, open };
        let page = async |after| {
            let page = store.findings().list(filter, after, 3).await;
            page.expect("read")
        };
        let found = all_pages(3, page).await;
        let subjects: Vec<_> = found.iter().map(|one| one.subject.as_str()).collect();
        assert_eq!(subjects, wanted, "{filter:?}");
        assert!(contest.is_none() || found.iter().all(|one| Some(one.contest_id) == contest));
    }
}

// clause 1
async fn whoever_raises_what_is_open_is_told_which_one_it_is<F: StoreFixture>(store: F) {
    let (contest, time) = (contest_id(), now(&store).await);
    let first = finding(FindingClass::Stuck, contest, "ann", time);
    assert!(raise(&store, &first).await);
    let again = finding(FindingClass::Stuck, contest, "ann", time.plus(9));
    let known = Raised {
        id: first.id,
        is_new: false,
        is_open: true,
    };
    assert_eq!(raised(&store, &again).await, known);
    assert_eq!(raised(&store, &first).await, known);
    let read = store.findings().finding(first.id).await.expect("read");
    assert_eq!(read.as_ref(), Some(&first));
    let absent = store.findings().finding(again.id).await.expect("read");
    assert_eq!(absent, None);
}

// clause 4
async fn a_person_settles_one_finding_once_with_a_note<F: StoreFixture>(store: F) {
    let (contest, time) = (contest_id(), now(&store).await);
    let one = finding(FindingClass::FeeMissing, contest, "ann", time);
    let other = finding(FindingClass::FeeMissing, contest, "bob", time);
    assert!(raise(&store, &one).await && raise(&store, &other).await);
    let said = word("olga", "paid by hand, 差异 'closed' \"\n\\");
    let earliest = now(&store).await;
    let Resolved::Yes(settled) = resolve(&store, one.id, &said).await else {
        panic!("it was open");
    };
    let settled_at = settled.settled_at.expect("settled");
    assert!((earliest..=now(&store).await).contains(&settled_at));
    let wanted = Finding {
        settled_at: Some(settled_at),
        resolution: Some(said.clone()),
        ..one.clone()
    };
    assert_same(&settled, &wanted);
    assert_eq!(
        listed(&store, contest, false).await,
        [wanted.clone(), other]
    );
    // The same word again is the same answer; another one comes too late, and changes nothing.
    assert_eq!(
        resolve(&store, one.id, &said).await,
        Resolved::Yes(wanted.clone())
    );
    let late = resolve(&store, one.id, &word("oleg", "no")).await;
    assert_eq!(late, Resolved::Before(wanted));
    assert_eq!(
        resolve(&store, Uuid::now_v7(), &said).await,
        Resolved::Missing
    );
    let store = store.reopen().await;
    let read = store.findings().finding(one.id).await.expect("read");
    assert_eq!(read.and_then(|read| read.resolution), Some(said));
}

// clause 4
async fn what_settled_by_itself_is_not_a_persons_word<F: StoreFixture>(store: F) {
    let (contest, time) = (contest_id(), now(&store).await);
    let one = finding(FindingClass::Stuck, contest, "ann", time);
    assert!(raise(&store, &one).await);
    let settled = store.findings().settle(one.class, contest, "ann").await;
    settled.expect("an answer");
    let late = resolve(&store, one.id, &word("olga", "mine")).await;
    let Resolved::Before(read) = late else {
        panic!("{late:?}");
    };
    assert_eq!(read.resolution, None);
    // It is new when it comes back, however much it looks the same.
    let back = finding(FindingClass::Stuck, contest, "ann", time.plus(5));
    assert!(raise(&store, &back).await);
}

// clause 4
async fn what_a_person_has_resolved_is_raised_again_only_if_it_looks_otherwise<F: StoreFixture>(
    store: F,
) {
    let (contest, time) = (contest_id(), now(&store).await);
    let one = finding(FindingClass::AmountDiffers, contest, "order", time);
    assert!(raise(&store, &one).await);
    let resolved = resolve(&store, one.id, &word("olga", "agreed with finance")).await;
    assert!(matches!(resolved, Resolved::Yes(_)));
    let same = finding(FindingClass::AmountDiffers, contest, "order", time.plus(5));
    let known = Raised {
        id: one.id,
        is_new: false,
        is_open: false,
    };
    assert_eq!(raised(&store, &same).await, known);
    assert_eq!(listed(&store, contest, true).await, []);
    let worse = Finding {
        evidence: "here 10, there 11".to_owned(),
        ..finding(FindingClass::AmountDiffers, contest, "order", time.plus(6))
    };
    assert!(raise(&store, &worse).await);
    // The person's word was about what came before.
    let settled = store.findings().settle(one.class, contest, "order").await;
    settled.expect("an answer");
    let back = finding(FindingClass::AmountDiffers, contest, "order", time.plus(7));
    assert!(raise(&store, &back).await);
    assert_eq!(listed(&store, contest, true).await, [back]);
}

// clause 5
async fn what_is_open_is_counted_by_class_with_the_oldest<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    assert_eq!(store.findings().open().await.expect("counted"), []);
    for (class, subject, age) in [
        (FindingClass::Stuck, "ann", 5),
        (FindingClass::FeeMissing, "ann", 3),
        (FindingClass::Stuck, "bob", 9),
        (FindingClass::OrphanTransfer, "eve", 7),
    ] {
        let one = finding(class, contest_id(), subject, time.plus(-age));
        assert!(raise(&store, &one).await);
        if class == FindingClass::OrphanTransfer {
            resolve(&store, one.id, &word("olga", "known")).await;
        }
    }
    let open = |class, findings, age: i64| OpenFindings {
        class,
        findings,
        oldest: time.plus(-age),
    };
    assert_eq!(
        store.findings().open().await.expect("counted"),
        [
            open(FindingClass::FeeMissing, 1, 3),
            open(FindingClass::Stuck, 2, 9)
        ]
    );
}

async fn findings_survive_a_crash<F: StoreFixture>(store: F) {
    let (contest, time) = (contest_id(), now(&store).await);
    for subject in ["ann", "bob"] {
        assert!(
            raise(
                &store,
                &finding(FindingClass::Stuck, contest, subject, time)
            )
            .await
        );
    }
    store
        .findings()
        .settle(FindingClass::Stuck, contest, "ann")
        .await
        .expect("an answer");
    let before = listed(&store, contest, false).await;

    let store = store.reopen().await;
    assert_eq!(listed(&store, contest, false).await, before);
    assert!(!raise(&store, &finding(FindingClass::Stuck, contest, "bob", time)).await);
    assert!(raise(&store, &finding(FindingClass::Stuck, contest, "ann", time)).await);
}

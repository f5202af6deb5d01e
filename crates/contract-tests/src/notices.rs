//! The suite of [`ports::notices::Notices`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, decided, now, open_contest},
    samples::contest_id,
};
use domain::{finding::FindingClass, notice::NoticeKind};
use ports::{
    findings::{Finding, Resolution},
    notices::Notice,
    store::Committed,
};
use uuid::Uuid;

crate::suite::suite! { notices_suite in notices:
    a_finding_is_told_when_it_is_raised_and_when_it_is_settled,
    a_change_of_a_contest_is_told_with_it_or_not_at_all,
    a_notice_stays_until_it_was_told,
    one_that_is_put_off_waits_and_others_go_on,
    notices_survive_a_crash,
}

async fn due<F: StoreFixture>(store: &F) -> Vec<Notice> {
    store.notices().due(100).await.expect("read")
}

async fn kinds<F: StoreFixture>(store: &F) -> Vec<(NoticeKind, Option<Uuid>)> {
    let due = due(store).await;
    assert!(due.is_sorted_by_key(|notice| notice.sequence));
    due.iter()
        .map(|notice| (notice.kind, notice.finding_id))
        .collect()
}

async fn finding<F: StoreFixture>(store: &F, subject: &str) -> Finding {
    Finding {
        id: Uuid::now_v7(),
        class: FindingClass::FeeMissing,
        contest_id: contest_id(),
        subject: subject.to_owned(),
        user_id: None,
        evidence: "nothing there".to_owned(),
        found_at: now(store).await,
        settled_at: None,
        resolution: None,
    }
}

// clause 1
async fn a_finding_is_told_when_it_is_raised_and_when_it_is_settled<F: StoreFixture>(store: F) {
    use NoticeKind::{FindingRaised, FindingSettled};
    let (one, other) = (finding(&store, "ann").await, finding(&store, "bob").await);
    let findings = store.findings();
    for finding in [&one, &one, &other] {
        findings.raise(finding).await.expect("an answer");
    }
    let mut told = vec![
        (FindingRaised, Some(one.id)),
        (FindingRaised, Some(other.id)),
    ];
    assert_eq!(kinds(&store).await, told);
    for _ in 0..2 {
        let settled = findings.settle(one.class, one.contest_id, "ann").await;
        settled.expect("an answer");
    }
    told.push((FindingSettled, Some(one.id)));
    assert_eq!(kinds(&store).await, told);
    let word = Resolution {
        by: "olga".parse().expect("a user"),
        note: "known".to_owned(),
    };
    for _ in 0..2 {
        findings.resolve(other.id, &word).await.expect("an answer");
    }
    told.push((FindingSettled, Some(other.id)));
    assert_eq!(kinds(&store).await, told);
    let first = &due(&store).await[0];
    assert_eq!(first.contest_id, one.contest_id);
    assert_eq!(first.tries, 0);
    assert!(first.created_at <= now(&store).await);
}

// clause 1
async fn a_change_of_a_contest_is_told_with_it_or_not_at_all<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let mut commit = decided(&contest);
    commit.notices = vec![NoticeKind::PayoutsStopped, NoticeKind::Closed];
    let mut stale = commit.clone();
    stale.expected += 1;
    let refused = store.contests().commit(stale).await.expect("an answer");
    assert_eq!(refused, Committed::GuardFailed);
    assert_eq!(kinds(&store).await, []);
    let applied = store.contests().commit(commit).await.expect("an answer");
    assert_eq!(applied, Committed::Applied);
    assert_eq!(
        kinds(&store).await,
        [
            (NoticeKind::PayoutsStopped, None),
            (NoticeKind::Closed, None)
        ]
    );
    assert_eq!(due(&store).await[1].contest_id, contest.id);
}

// clause 2
async fn a_notice_stays_until_it_was_told<F: StoreFixture>(store: F) {
    for kind in NoticeKind::ALL {
        let added = store.notices().add(*kind, contest_id()).await;
        added.expect("an answer");
    }
    let all = due(&store).await;
    let told: Vec<_> = all.iter().map(|notice| notice.kind).collect();
    assert_eq!(told, NoticeKind::ALL);
    assert_eq!(due(&store).await, all);
    assert_eq!(store.notices().due(2).await.expect("read"), all[..2]);
    for _ in 0..2 {
        let gone = store.notices().told(all[1].sequence).await;
        gone.expect("an answer");
    }
    let mut left = all.clone();
    left.remove(1);
    assert_eq!(due(&store).await, left);
}

// clause 3
// hazard: H12
async fn one_that_is_put_off_waits_and_others_go_on<F: StoreFixture>(store: F) {
    let notices = store.notices();
    for _ in 0..3 {
        let added = notices.add(NoticeKind::Closed, contest_id()).await;
        added.expect("an answer");
    }
    let all = due(&store).await;
    notices
        .put_off(all[0].sequence, 3_600_000)
        .await
        .expect("an answer");
    notices
        .put_off(all[1].sequence, -1)
        .await
        .expect("an answer");
    let left = due(&store).await;
    let sequences: Vec<_> = left.iter().map(|notice| notice.sequence).collect();
    assert_eq!(sequences, [all[1].sequence, all[2].sequence]);
    assert_eq!((left[0].tries, left[1].tries), (1, 0));
}

async fn notices_survive_a_crash<F: StoreFixture>(store: F) {
    let added = store.notices().add(NoticeKind::Closed, contest_id()).await;
    added.expect("an answer");
    let before = due(&store).await;
    assert_eq!(before.len(), 1);
    let store = store.reopen().await;
    assert_eq!(due(&store).await, before);
}

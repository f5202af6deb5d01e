//! Every class of difference planted by SQL, in MySQL and in the ledger behind gRPC: each alone and all
//! together, one in a thousand signups.
//!
//! `GUAFEN_PLANTED_SIGNUPS` says how many signups there are (default 2,000; with 100,000, use a release
//! build).

#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use common::{
    Bed, HOUR, Loops, Places, contest, create, inbox::Inbox, now, reach, terms, until, user,
};
use domain::{
    contest::PhaseKind,
    finding::FindingClass,
    ids::ContestId,
    order::{Leg, OrderId},
    signup::StateKind,
    terms::ClaimMode,
};
use futures_util::{StreamExt, stream};
use ports::{
    findings::FindingFilter,
    reconciliations::{Run, Scope},
    tasks::TaskEvent,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use usecases::{
    Contests,
    mend::{Limits, Reconciling},
    reconcile::Bounds,
    runs::Asked,
};

/// Viewers that sign up at once.
const AT_ONCE: usize = 64;
/// The longest that a contest of this size may take to come to its end.
const END: Duration = Duration::from_secs(900);

/// How many signups there are in all.
fn signups() -> usize {
    let asked = std::env::var("GUAFEN_PLANTED_SIGNUPS");
    asked.map_or(2_000, |number| number.parse().expect("a number"))
}

/// What is planted, and what is to be found because of it.
type Planted = BTreeSet<(ContestId, FindingClass, String)>;

/// Three contests on a real stack: one that is open, one that has paid every prize, and one that was
/// cancelled and has returned every fee.
struct Played {
    bed: Bed,
    inbox: Inbox,
    node: Arc<Contests>,
    open: Field,
    paid: Field,
    cancelled: Field,
    /// Differences of each class.
    of_each: usize,
}

/// A contest and how many viewers it has.
#[derive(Clone, Copy)]
struct Field {
    contest: ContestId,
    name: &'static str,
    viewers: usize,
}

impl Field {
    fn viewer(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    fn fee(&self, number: usize) -> OrderId {
        Leg::Fee(self.contest, user(&self.viewer(number))).order_id()
    }

    fn prize(&self, number: usize) -> OrderId {
        Leg::Prize(self.contest, user(&self.viewer(number))).order_id()
    }

    fn refund(&self, number: usize) -> OrderId {
        Leg::Refund(self.contest, user(&self.viewer(number))).order_id()
    }
}

async fn sign_all_up(node: &Arc<Contests>, field: Field) {
    let mut calls = stream::iter(0..field.viewers)
        .map(|number| {
            let node = Arc::clone(node);
            let viewer = field.viewer(number);
            tokio::spawn(async move { common::sign_up(&node, field.contest, &viewer).await })
        })
        .buffer_unordered(AT_ONCE);
    while let Some(done) = calls.next().await {
        done.expect("a signup");
    }
}

async fn finish_all(node: &Contests, field: Field) {
    let contest = contest(node, field.contest).await;
    let at = now(node).await;
    let sender = "game".parse().expect("a sender id");
    let numbers: Vec<usize> = (0..field.viewers).collect();
    for some in numbers.chunks(1_000) {
        let events: Vec<TaskEvent> = some
            .iter()
            .map(|number| TaskEvent {
                event_id: format!("{}-{number}", field.name).parse().expect("an id"),
                user_id: user(&field.viewer(*number)),
                room_id: contest.terms.room_id.clone(),
                kind: contest.terms.task.kind.clone(),
                quantity: 1,
                occurred_at: at,
            })
            .collect();
        let recorded = node.ports().events.record(&sender, &events).await;
        assert_eq!(recorded.expect("an answer").len(), some.len());
    }
}

impl Played {
    async fn new() -> Self {
        let bed = Bed::new().await;
        let node = bed.node().await;
        let quarter = signups() / 4;
        let loops = Loops::of(&node);
        let from = now(&node).await;
        // Long enough for everybody, however slow the machine is.
        let window = 5_000 + 8 * i64::try_from(quarter).expect("a number");
        let mut automatic = terms(from, [window, window + 1_000, HOUR]);
        automatic.claim_mode = ClaimMode::Automatic;
        let hour = || terms(from, [HOUR, HOUR, 2 * HOUR]);
        let field = async |name, viewers, terms| {
            let contest = create(&node, terms, None).await.id;
            Field {
                contest,
                name,
                viewers,
            }
        };
        let paid = field("paid", quarter, automatic).await;
        let cancelled = field("back", quarter, hour()).await;
        let open = field("open", signups() - 2 * quarter, hour()).await;
        for field in [paid, cancelled, open] {
            // Coins from nowhere that a grant would bring: the ledger's own sum stays zero.
            let names: Vec<_> = (0..field.viewers)
                .map(|number| format!("('user/{}', 100)", field.viewer(number)))
                .collect();
            for names in names.chunks(5_000) {
                bed.ledger
                    .change(&format!(
                        "INSERT INTO account (name, balance) VALUES {}",
                        names.join(", ")
                    ))
                    .await
                    .expect("accounts");
            }
            sign_all_up(&node, field).await;
            if field.name == "paid" {
                finish_all(&node, field).await;
            }
        }
        node.cancel(cancelled.contest).await.expect("cancelled");
        let bound = Instant::now() + END;
        for (field, phase) in [(cancelled, PhaseKind::Cancelled), (paid, PhaseKind::Closed)] {
            while Instant::now() < bound
                && contest(&node, field.contest).await.phase.kind() != phase
            {
                test_support::later(Duration::from_millis(200)).await;
            }
            reach(&node, field.contest, phase).await;
        }
        drop(loops);
        let inbox = Inbox::open().await;
        let places = Places {
            webhook: Some(inbox.url.clone()),
            ..bed.places()
        };
        Self {
            node: common::node(places.ports().await),
            inbox,
            bed,
            open,
            paid,
            cancelled,
            of_each: (signups() / 1_000).max(1),
        }
    }

    async fn store(&self, sql: &str) -> u64 {
        self.bed.store.change(sql).await.expect("a change of rows")
    }

    async fn ledger(&self, sql: &str) -> u64 {
        self.bed
            .ledger
            .change(sql)
            .await
            .expect("a change of books")
    }

    /// A transfer is gone, and the coins are back where they came from.
    async fn forget(&self, order: OrderId) {
        self.move_back(order, "amount").await;
        let gone = format!("DELETE FROM transfer WHERE order_id = UNHEX('{order}')");
        assert_eq!(self.ledger(&gone).await, 1);
    }

    async fn move_back(&self, order: OrderId, amount: &str) {
        for (side, sign) in [("debit", '+'), ("credit", '-')] {
            self.ledger(&format!(
                "UPDATE account JOIN transfer ON account_id = {side} \
                 SET balance = balance {sign} {amount} WHERE order_id = UNHEX('{order}')"
            ))
            .await;
        }
    }

    /// The transfer once more, under an order that is nobody's.
    async fn repeat(&self, order: OrderId, from: &str) -> OrderId {
        let mut second = order;
        second.0[0] ^= 0xff;
        let inserted = self
            .ledger(&format!(
                "INSERT INTO transfer (position, order_id, debit, credit, amount, memo, applied_at) \
                 SELECT (SELECT position + 1 FROM progress), UNHEX('{second}'), {from}, credit, amount, 'second', \
                 applied_at FROM transfer WHERE order_id = UNHEX('{order}')"
            ))
            .await;
        assert_eq!(inserted, 1);
        self.ledger("UPDATE progress SET position = position + 1")
            .await;
        for (side, sign) in [("debit", '-'), ("credit", '+')] {
            self.ledger(&format!(
                "UPDATE account JOIN transfer ON account_id = {side} \
                 SET balance = balance {sign} amount WHERE order_id = UNHEX('{second}')"
            ))
            .await;
        }
        second
    }

    /// A row says less than it did.
    async fn row(&self, field: Field, number: usize, set: &str) {
        let changed = self
            .store(&format!(
                "UPDATE signup SET {set}, version = version + 1 WHERE user_id = '{}'",
                field.viewer(number)
            ))
            .await;
        assert_eq!(changed, 1, "{set}");
    }

    /// Plants a class; each in viewers of its own.
    async fn plant(&self, class: FindingClass) -> Planted {
        let mut planted = Planted::new();
        for place in 0..self.of_each {
            let index = FindingClass::ALL.iter().position(|one| *one == class);
            let number = index.expect("a class") * self.of_each + place;
            let (field, subject) = self.plant_one(class, number).await;
            planted.insert((field.contest, class, subject));
            if class == FindingClass::PoolDiffers {
                break;
            }
        }
        planted
    }

    async fn plant_one(&self, class: FindingClass, number: usize) -> (Field, String) {
        let (open, paid, back) = (self.open, self.paid, self.cancelled);
        match class {
            FindingClass::FeeUnrecorded => {
                let set = "state = 'initialized', last_try = 'unknown', fee_position = NULL, paid_at = NULL";
                self.row(open, number, set).await;
                (open, open.fee(number).to_string())
            }
            FindingClass::FeeMissing => {
                self.forget(open.fee(number)).await;
                (open, open.fee(number).to_string())
            }
            FindingClass::AmountDiffers => {
                let order = open.fee(number);
                self.move_back(order, "1").await;
                let less = format!(
                    "UPDATE transfer SET amount = amount - 1 WHERE order_id = UNHEX('{order}')"
                );
                assert_eq!(self.ledger(&less).await, 1);
                (open, order.to_string())
            }
            FindingClass::OrphanTransfer if number.is_multiple_of(2) => {
                let lost = format!(
                    "DELETE FROM signup WHERE user_id = '{}'",
                    open.viewer(number)
                );
                assert_eq!(self.store(&lost).await, 1);
                (open, open.fee(number).to_string())
            }
            FindingClass::OrphanTransfer => {
                let stranger = "(SELECT account_id FROM account WHERE name = 'platform/issuing')";
                let order = self.repeat(open.fee(number), stranger).await;
                (open, order.to_string())
            }
            FindingClass::DuplicateTransfer => {
                let order = self.repeat(open.fee(number), "debit").await;
                (open, order.to_string())
            }
            FindingClass::PrizeUnrecorded => {
                let set = "state = 'claiming', last_try = 'unknown', payout_position = NULL, payout_at = NULL";
                self.row(paid, number, set).await;
                (paid, paid.prize(number).to_string())
            }
            FindingClass::PrizeMissing => {
                self.forget(paid.prize(number)).await;
                (paid, paid.prize(number).to_string())
            }
            FindingClass::RefundUnrecorded => {
                let set = "state = 'refunding', last_try = 'unknown', payout_position = NULL, payout_at = NULL";
                self.row(back, number, set).await;
                (back, back.refund(number).to_string())
            }
            FindingClass::RefundMissing => {
                self.forget(back.refund(number)).await;
                (back, back.refund(number).to_string())
            }
            FindingClass::PoolDiffers => {
                let account = format!("pool/{}", paid.contest);
                let more =
                    format!("UPDATE account SET balance = balance + 7 WHERE name = '{account}'");
                assert_eq!(self.ledger(&more).await, 1);
                (paid, account)
            }
            FindingClass::Stuck | FindingClass::TallyDiffers => {
                unreachable!("not a difference between rows and books")
            }
        }
    }

    /// Runs the reconciliation over everything; what it came to.
    async fn reconcile(&self, is_dry: bool) -> Run {
        self.reconcile_within(is_dry, Limits::default()).await
    }

    async fn reconcile_within(&self, is_dry: bool, limits: Limits) -> Run {
        let settings = Reconciling {
            limits: Some(limits),
            bounds: Bounds {
                recorded_within_ms: 0,
                ..Bounds::default()
            },
            ..Reconciling::default()
        };
        let ports = self.node.ports().clone();
        let node = Contests::new(ports).expect("a safe funds system");
        let node = node.reconciled(settings);
        let asked = Asked {
            scope: Scope::ALL,
            by: None,
            is_dry,
        };
        let run = node.ask_for_run(asked).await.expect("a store");
        let id = run.expect("a run").id;
        let begun = Instant::now();
        assert!(node.carry_on(id).await.expect("both sides"));
        let run = node.ports().reconciliations.run(id).await.expect("a store");
        let run = run.expect("the run");
        println!("{:?} in {} ms", run.totals, begun.elapsed().as_millis());
        assert_eq!(run.totals.failed, 0);
        run
    }

    async fn found_by(&self, run: &Run) -> Planted {
        let mut found = Planted::new();
        let mut after = None;
        loop {
            let records = &self.node.ports().reconciliations;
            let page = records.run_findings(run.id, after, 1_000).await;
            let page = page.expect("a page");
            found.extend(
                page.items
                    .into_iter()
                    .map(|one| (one.contest_id, one.class, one.subject)),
            );
            match page.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    }

    async fn open_findings(&self) -> Planted {
        let mut open = Planted::new();
        let mut after = None;
        let filter = FindingFilter {
            contest: None,
            open: Some(true),
        };
        loop {
            let findings = &self.node.ports().findings;
            let page = findings.list(filter, after, 1_000).await.expect("a page");
            open.extend(
                page.items
                    .into_iter()
                    .map(|one| (one.contest_id, one.class, one.subject)),
            );
            match page.next {
                Some(next) => after = Some(next),
                None => return open,
            }
        }
    }

    /// Tells what is due until nothing is; what arrived at the receiver, by kind of message.
    async fn told(&self, kind: &str) -> Planted {
        let receiver = self.node.ports().receiver.clone().expect("a receiver");
        while self.node.notify(&*receiver).await.expect("a store") > 0 {}
        let left = self.bed.store.number("SELECT COUNT(*) FROM notice").await;
        assert_eq!(left.expect("a count"), 0);
        let taken = self.inbox.taken();
        let ids: BTreeSet<_> = taken.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), taken.len(), "each is told once");
        let of_kind = taken.iter().filter(|(_, body)| body["type"] == kind);
        of_kind
            .map(|(_, body)| {
                let finding = &body["data"]["finding"];
                let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
                (
                    text(&body["data"]["contest"]["contest_id"])
                        .parse()
                        .expect("a contest id"),
                    FindingClass::named(&text(&finding["class"])).expect("a class"),
                    text(&finding["subject"]),
                )
            })
            .collect()
    }

    async fn transfers(&self) -> i64 {
        let count = self.bed.ledger.number("SELECT COUNT(*) FROM transfer");
        count.await.expect("a count")
    }
}

/// The classes that SQL can plant between rows and books.
const PLANTED: [FindingClass; 10] = [
    FindingClass::FeeUnrecorded,
    FindingClass::FeeMissing,
    FindingClass::AmountDiffers,
    FindingClass::OrphanTransfer,
    FindingClass::DuplicateTransfer,
    FindingClass::PrizeUnrecorded,
    FindingClass::PrizeMissing,
    FindingClass::RefundUnrecorded,
    FindingClass::RefundMissing,
    FindingClass::PoolDiffers,
];

/// Those that are repaired without asking anybody.
const REPAIRED: [FindingClass; 5] = [
    FindingClass::FeeUnrecorded,
    FindingClass::PrizeUnrecorded,
    FindingClass::PrizeMissing,
    FindingClass::RefundUnrecorded,
    FindingClass::RefundMissing,
];

// hazard: H6 H8 H10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_class_is_found_alone_and_together_and_repaired_once() {
    let played = Played::new().await;
    let clean = played.reconcile(false).await;
    assert_eq!(clean.totals.differences, 0);
    assert_eq!(clean.totals.signups, signups() as u64);
    assert_eq!(played.open_findings().await, Planted::new());
    // One class after the other: what was planted before stays where it cannot be repaired.
    let mut left = Planted::new();
    for class in PLANTED {
        let planted = played.plant(class).await;
        let mut wanted = left.clone();
        wanted.extend(planted.clone());
        // Dry first: it tells the same, and changes nothing.
        let before = played.transfers().await;
        for is_dry in [true, false] {
            let run = played.reconcile(is_dry).await;
            assert_eq!(
                played.found_by(&run).await,
                wanted,
                "{class:?}, dry: {is_dry}"
            );
            let repaired = if is_dry || !REPAIRED.contains(&class) {
                0
            } else {
                planted.len() as u64
            };
            assert_eq!(run.totals.repaired, repaired, "{class:?}, dry: {is_dry}");
        }
        let paid_again = [FindingClass::PrizeMissing, FindingClass::RefundMissing];
        let paid = if paid_again.contains(&class) {
            i64::try_from(planted.len()).expect("a number")
        } else {
            0
        };
        assert_eq!(played.transfers().await, before + paid, "{class:?}");
        if !REPAIRED.contains(&class) {
            left = wanted;
        }
        assert_eq!(played.open_findings().await, left, "{class:?}");
    }
    // A second run finds the same again and repairs nothing twice.
    let before = played.transfers().await;
    let again = played.reconcile(false).await;
    assert_eq!(again.totals.repaired, 0);
    assert_eq!(played.found_by(&again).await, left);
    assert_eq!(played.transfers().await, before);
    let first = played.open.viewer(0);
    let row = played
        .node
        .ports()
        .signups
        .find(played.open.contest, &user(&first))
        .await;
    let state = row.expect("a store").map(|row| row.state.kind());
    assert_eq!(state, Some(StateKind::InProgress), "it was recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_classes_together_are_found_with_their_class_and_none_else_is() {
    let played = Played::new().await;
    let mut wanted = Planted::new();
    for class in PLANTED {
        wanted.extend(played.plant(class).await);
    }
    let before = played.transfers().await;
    played.inbox.refuse(true);
    let run = played.reconcile(false).await;
    assert_eq!(played.found_by(&run).await, wanted);
    // Whoever is told was away at first.
    let receiver = played.node.ports().receiver.clone().expect("a receiver");
    let taken = played.node.notify(&*receiver).await.expect("a store");
    assert_eq!((taken, played.inbox.taken().len()), (0, 0));
    played.inbox.refuse(false);
    until("the notices that were refused are due again", async || {
        let hidden = "SELECT COUNT(*) FROM notice WHERE due_at > UNIX_TIMESTAMP(NOW(3)) * 1000";
        let hidden = played.bed.store.number(hidden).await.expect("a count");
        (hidden == 0).then_some(())
    })
    .await;
    assert_eq!(played.told("finding.raised").await, wanted);
    let repaired = wanted
        .iter()
        .filter(|(_, class, _)| REPAIRED.contains(class));
    assert_eq!(run.totals.repaired, repaired.count() as u64);
    let wanted_all = wanted.clone();
    let left: Planted = wanted
        .into_iter()
        .filter(|(_, class, _)| !REPAIRED.contains(class))
        .collect();
    assert_eq!(played.open_findings().await, left);
    let settled: Planted = wanted_all.difference(&left).cloned().collect();
    assert_eq!(played.told("finding.settled").await, settled);
    let paid = i64::try_from(2 * played.of_each).expect("a number");
    assert_eq!(played.transfers().await, before + paid);
    let again = played.reconcile(false).await;
    assert_eq!(again.totals.repaired, 0);
    assert_eq!(played.found_by(&again).await, left);
    assert_eq!(played.transfers().await, before + paid);
    until("nothing else is open", async || {
        (played.open_findings().await == left).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_lacks_half_of_everything_repairs_nothing_and_calls_a_person() {
    let played = Played::new().await;
    let lost = played
        .ledger("DELETE FROM transfer WHERE position % 2 = 0")
        .await;
    let before = played.transfers().await;
    let limits = Limits {
        repairs: u64::try_from(played.paid.viewers / 10).expect("a number"),
        ..Limits::default()
    };
    let run = played.reconcile_within(false, limits).await;
    assert_eq!((run.totals.repaired, run.totals.coins), (0, 0));
    assert!(run.totals.over_limits > 0);
    assert_eq!(played.transfers().await, before, "nothing is paid again");
    let raised = played.told("finding.raised").await;
    assert!(!raised.is_empty());
    let taken = played.inbox.taken();
    let of = |kind: &str| {
        taken
            .iter()
            .filter(|(_, body)| body["type"] == kind)
            .count()
    };
    let (pages, stops) = (
        of("reconciliation.repairs_stopped"),
        of("contest.payouts_stopped"),
    );
    println!(
        "{lost} transfers lost: {} findings, {pages} pages, {stops} contests stopped",
        raised.len()
    );
    assert!(pages > 0);
    // Those that are over have nothing left to stop.
    assert_eq!(stops, 1);
    let stopped = contest(&played.node, played.open.contest).await;
    assert!(stopped.stops.is_stopped());
    // Again: the same is found, nobody is called a second time, and nothing is repaired.
    let again = played.reconcile_within(false, limits).await;
    assert_eq!(again.totals.repaired, 0);
    assert_eq!(played.told("finding.raised").await, raised);
    assert_eq!(played.transfers().await, before);
}

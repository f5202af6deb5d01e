//! The suite of [`ports::funds::Funds`]: at least one case for each of its numbered clauses.
//!
//! An adapter writes one line, and every case becomes a test of its own:
//!
//! ```ignore
//! contract_tests::funds_suite!(Fixture::new().await);
//! ```
//!
//! The modules with the cases are private and refuse dead code, so a case that is written but not
//! listed below does not compile. Times and positions are compared with each other only, so the
//! suite runs against real clocks.

use async_trait::async_trait;
use domain::{
    ids::ContestId,
    money::Coins,
    order::{Account, OrderId, Platform},
    time::UnixMillis,
    transfer::{Content, Position, Refusal, Transfer},
};
use ports::funds::{Funds, TransferOutcome, TransferRequest};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use uuid::Uuid;

#[deny(dead_code)]
mod closing;
#[deny(dead_code)]
mod races;
#[deny(dead_code)]
mod reads;
#[deny(dead_code)]
mod refusals;
#[deny(dead_code)]
mod transfers;

/// A funds system for one case: empty but for the platform's accounts, used by nobody else.
#[async_trait]
pub trait FundsFixture: Send + Sync {
    /// The funds system.
    fn funds(&self) -> Arc<dyn Funds>;

    /// Closes an account to everything, which is not part of the port.
    async fn close_account(&self, account: &Account);

    /// The same funds system after a crash of its process. What keeps nothing beyond its process
    /// answers itself.
    async fn restart(&self) -> Arc<dyn Funds> {
        self.funds()
    }
}

macro_rules! funds_cases {
    ($dollar:tt $($module:ident: $($case:ident),+;)+) => {
        /// Every case, for [`funds_suite!`](crate::funds_suite).
        pub mod cases {
            $($(
                #[doc = concat!("`", stringify!($case), "`")]
                pub async fn $case(fixture: &dyn super::FundsFixture) {
                    super::$module::$case(&super::Bank::new(fixture)).await;
                }
            )+)+
        }

        /// Every case of the suite of `ports::funds::Funds` as a `#[tokio::test]`. The expression
        /// makes a fresh [`FundsFixture`](crate::funds::FundsFixture) and may await.
        #[macro_export]
        macro_rules! funds_suite {
            ($dollar fixture:expr) => {
                $($(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn $case() {
                        $dollar crate::funds::cases::$case(&$dollar fixture).await;
                    }
                )+)+
            };
        }
    };
}

funds_cases! { $
    transfers:
        an_applied_transfer_is_stored_with_every_field,
        a_repeat_answers_what_is_stored_and_moves_nothing,
        a_repeat_is_answered_for_ever,
        an_order_with_other_content_is_a_conflict,
        a_conflict_is_answered_before_any_refusal,
        only_the_issuing_account_goes_below_zero,
        nothing_holds_more_than_the_largest_amount,
        platform_accounts_always_exist_and_others_once_opened,
        opening_again_changes_nothing,
        accounts_are_compared_byte_for_byte,
        what_moves_nothing_is_not_sent,
        a_memo_is_free_text,
        answers_survive_a_restart;
    refusals:
        reasons_are_considered_in_the_stated_order,
        a_refusal_leaves_no_trace,
        a_refused_order_applies_once_its_reason_is_gone,
        a_refused_order_applies_with_other_content,
        not_after_is_the_last_moment_on_the_funds_systems_clock,
        a_closed_account_takes_part_in_nothing;
    closing:
        credits_close_once_and_debits_go_on,
        credits_close_for_known_accounts_only,
        after_the_close_a_not_found_is_final,
        closing_one_account_leaves_the_others_open;
    reads:
        a_lookup_answers_in_the_order_asked,
        a_lookup_of_nothing_tells_position_and_time,
        a_lookup_takes_the_stated_number_of_orders,
        reads_see_what_was_answered_before_and_nothing_later,
        positions_and_times_rise_with_commit_order,
        a_list_pages_both_sides_in_commit_order_exactly_once,
        a_list_holds_the_accounts_own_transfers_alone,
        unknown_accounts_are_named,
        all_accounts_add_up_to_zero;
    races:
        one_order_sent_many_times_at_once_applies_once,
        one_order_with_many_contents_applies_one_of_them,
        debits_at_once_never_overdraw,
        credits_at_once_never_exceed_the_largest_amount,
        coins_in_a_circle_neither_appear_nor_vanish,
        credits_that_race_the_close_lie_before_it,
        closes_at_once_answer_one_position,
        accounts_opened_at_once_are_one,
        what_a_lookup_did_not_find_applies_later_only_above_it,
        nothing_appears_at_or_below_a_closed_position;
}

/// How many tasks a race has.
const CROWD: u64 = 64;

/// A case's view of the funds system: fresh ids, and the few calls that every case makes.
struct Bank<'a> {
    fixture: &'a dyn FundsFixture,
    funds: Arc<dyn Funds>,
    drawn: AtomicU64,
}

impl<'a> Bank<'a> {
    fn new(fixture: &'a dyn FundsFixture) -> Self {
        Self {
            fixture,
            funds: fixture.funds(),
            drawn: AtomicU64::new(0),
        }
    }

    fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// An order id not used before.
    fn order(&self) -> OrderId {
        OrderId((0xfeed_u128 << 64 | u128::from(self.draw())).to_be_bytes())
    }

    /// A pool account that is not open.
    fn unopened(&self) -> Account {
        Account::Pool(ContestId(Uuid::from_u128(u128::from(self.draw()))))
    }

    /// An open, empty pool account.
    async fn pool(&self) -> Account {
        let pool = self.unopened();
        self.open(&pool).await;
        pool
    }

    /// A new user's open account that holds `coins`.
    async fn user(&self, coins: u64) -> Account {
        let user = user(&format!("user-{}", self.draw()));
        self.open(&user).await;
        if coins > 0 {
            self.apply(&issuing(), &user, coins).await;
        }
        user
    }

    async fn open(&self, account: &Account) {
        self.funds
            .open_account(account)
            .await
            .expect("an open account");
    }

    /// A request under a fresh order.
    fn ask(&self, from: &Account, to: &Account, amount: u64) -> TransferRequest {
        let amount = Coins::new(amount).expect("coins");
        TransferRequest {
            order_id: self.order(),
            content: Content {
                from: from.clone(),
                to: to.clone(),
                amount,
            },
            not_after: None,
            memo: "a case of the suite".to_owned(),
        }
    }

    async fn send(&self, request: &TransferRequest) -> TransferOutcome {
        self.funds.transfer(request).await
    }

    /// A transfer that must apply.
    async fn apply(&self, from: &Account, to: &Account, amount: u64) -> Transfer {
        applied(self.send(&self.ask(from, to, amount)).await)
    }

    /// A transfer that must be refused.
    async fn refused(&self, from: &Account, to: &Account, amount: u64) -> Refusal {
        match self.send(&self.ask(from, to, amount)).await {
            TransferOutcome::Refused(reason) => reason,
            outcome => panic!("not refused: {outcome:?}"),
        }
    }

    async fn balance(&self, account: &Account) -> i64 {
        self.funds.balance(account).await.expect("a balance").amount
    }

    async fn find(&self, order: OrderId) -> Option<Transfer> {
        let mut found = self.funds.lookup(&[order]).await.expect("an answer").found;
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    /// Every transfer of an account.
    async fn history(&self, account: &Account) -> Vec<Transfer> {
        let page = self
            .funds
            .list(account, Position(0), 10_000)
            .await
            .expect("a list");
        page.transfers
    }

    /// The funds system's time.
    async fn now(&self) -> UnixMillis {
        self.funds.balance(&issuing()).await.expect("a balance").at
    }

    /// Sends all requests at once, each from a task of its own; answers in their order.
    async fn rush(&self, requests: Vec<TransferRequest>) -> Vec<TransferOutcome> {
        at_once(requests.into_iter().map(|request| {
            let funds = Arc::clone(&self.funds);
            async move { funds.transfer(&request).await }
        }))
        .await
    }
}

/// Runs all futures at once, each in a task of its own; answers in their order.
async fn at_once<T, F>(futures: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.expect("a task that ends"));
    }
    answers
}

fn issuing() -> Account {
    Account::Platform(Platform::Issuing)
}

fn user(name: &str) -> Account {
    Account::User(name.parse().expect("a user id"))
}

/// The transfer that applied.
fn applied(outcome: TransferOutcome) -> Transfer {
    match outcome {
        TransferOutcome::Applied(transfer) => transfer,
        outcome => panic!("not applied: {outcome:?}"),
    }
}

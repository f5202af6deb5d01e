//! What a batch of commands does to the books: pure, one command after the other.
//!
//! A [`Book`] holds what the database says of what the batch names. Deciding changes the book alone;
//! what has to be written is read off it afterwards. So the whole batch sees its own earlier
//! commands, and the statements that write it need no conditions: an order that is stored, and that
//! the book was not told of, is met by its unique key.

use domain::{
    money::Coins,
    order::{Account, OrderId, Platform},
    time::UnixMillis,
    transfer::{Content, CreditsClosed, Position, Receipt, Refusal, Transfer},
};
use ports::funds::{TransferOutcome, TransferRequest, applied};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is asked of the ledger's writer.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Opens an account, unless it is there.
    Open(Account),
    /// Moves coins.
    Transfer(TransferRequest),
    /// Closes an account to credits, unless it is.
    CloseCredits(Account),
    /// Closes an account to everything, unless it is.
    Close(Account),
    /// Writes what means nothing.
    Probe,
}

impl Command {
    /// Whether it may be a repeat of one that was carried out before.
    pub(crate) const fn names_an_order(&self) -> bool {
        matches!(self, Self::Transfer(_))
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The account is open, or is closed: as asked.
    Done,
    /// What became of the transfer.
    Transfer(TransferOutcome),
    /// The account is closed to credits.
    CreditsClosed(CreditsClosed),
    /// There is no such account.
    UnknownAccount(Account),
}

/// One account as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its row; none while the row is still to be inserted.
    pub(crate) row: Option<i64>,
    /// Coins; below zero for `platform/issuing` alone.
    pub(crate) balance: i64,
    /// From which position on nothing can credit it.
    pub(crate) credits_closed_at: Option<Position>,
    /// It takes part in nothing any more.
    pub(crate) closed: bool,
}

impl Entry {
    const NEW: Self = Self {
        row: None,
        balance: 0,
        credits_closed_at: None,
        closed: false,
    };
}

/// The books as far as one batch names them, and what the batch has changed.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    accounts: HashMap<Account, Entry>,
    orders: HashMap<OrderId, Transfer>,
    /// The last position given out.
    pub(crate) position: Position,
    /// The ledger's time: the clock's, and never before that of the last transfer.
    pub(crate) now: UnixMillis,
    opened: BTreeSet<Account>,
    touched: BTreeSet<Account>,
    applied: Vec<Applied>,
}

/// A transfer to be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// What it is.
    pub(crate) transfer: Transfer,
    /// What it is for.
    pub(crate) memo: String,
}

/// What a batch has changed; empty when it only asked again or was refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Accounts to be inserted.
    pub(crate) opened: Vec<Account>,
    /// Accounts as they are now; those that were opened are among them only if they were used.
    pub(crate) touched: BTreeMap<Account, Entry>,
    /// Transfers to be inserted, in commit order.
    pub(crate) applied: Vec<Applied>,
}

impl Changes {
    /// True when nothing has to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.touched.is_empty() && self.applied.is_empty()
    }
}

impl Book {
    /// The books at `position`, where the last transfer applied at `last`, and the clock shows
    /// `clock`.
    pub(crate) fn new(position: Position, last: UnixMillis, clock: UnixMillis) -> Self {
        Self {
            accounts: HashMap::new(),
            orders: HashMap::new(),
            position,
            now: clock.max(last),
            opened: BTreeSet::new(),
            touched: BTreeSet::new(),
            applied: Vec::new(),
        }
    }

    /// Adds an account that is stored.
    pub(crate) fn with_account(&mut self, account: Account, entry: Entry) {
        self.accounts.insert(account, entry);
    }

    /// Adds a transfer that is stored.
    pub(crate) fn with_order(&mut self, transfer: Transfer) {
        self.orders.insert(transfer.order_id, transfer);
    }

    /// Carries out one command, after all before it.
    pub(crate) fn decide(&mut self, command: &Command) -> Reply {
        match command {
            Command::Open(account) => {
                if !self.accounts.contains_key(account) {
                    self.accounts.insert(account.clone(), Entry::NEW);
                    self.opened.insert(account.clone());
                }
                Reply::Done
            }
            Command::Transfer(request) => Reply::Transfer(self.transfer(request)),
            Command::Probe => Reply::Done,
            Command::CloseCredits(account) => {
                let position = self.position;
                let Some(entry) = self.accounts.get_mut(account) else {
                    return Reply::UnknownAccount(account.clone());
                };
                let position = match entry.credits_closed_at {
                    Some(first) => first,
                    None => {
                        entry.credits_closed_at = Some(position);
                        self.touched.insert(account.clone());
                        position
                    }
                };
                Reply::CreditsClosed(CreditsClosed { position })
            }
            Command::Close(account) => {
                let Some(entry) = self.accounts.get_mut(account) else {
                    return Reply::UnknownAccount(account.clone());
                };
                if !entry.closed {
                    entry.closed = true;
                    self.touched.insert(account.clone());
                }
                Reply::Done
            }
        }
    }

    /// What has to be written.
    pub(crate) fn into_changes(self) -> Changes {
        let Self {
            accounts,
            opened,
            touched,
            applied,
            ..
        } = self;
        let entry = |account: Account| {
            let entry = accounts.get(&account).copied()?;
            Some((account, entry))
        };
        Changes {
            opened: opened.into_iter().collect(),
            touched: touched.into_iter().filter_map(entry).collect(),
            applied,
        }
    }

    fn transfer(&mut self, request: &TransferRequest) -> TransferOutcome {
        if let Some(stored) = self.orders.get(&request.order_id) {
            return if stored.content == request.content {
                TransferOutcome::Applied(stored.clone())
            } else {
                TransferOutcome::Conflict
            };
        }
        let Content { from, to, amount } = &request.content;
        // What moves nothing is no transfer and can never become one.
        if amount.is_zero() || from == to {
            return TransferOutcome::NotSent;
        }
        match self.balances_after(request) {
            Err(refusal) => TransferOutcome::Refused(refusal),
            Ok((payer, receiver)) => {
                for (account, balance) in [(from, payer), (to, receiver)] {
                    if let Some(entry) = self.accounts.get_mut(account) {
                        entry.balance = balance;
                    }
                    self.touched.insert(account.clone());
                }
                self.position = Position(self.position.0 + 1);
                let receipt = Receipt {
                    position: self.position,
                    applied_at: self.now,
                };
                let transfer = applied(request, receipt);
                self.orders.insert(transfer.order_id, transfer.clone());
                let memo = request.memo.clone();
                self.applied.push(Applied {
                    transfer: transfer.clone(),
                    memo,
                });
                TransferOutcome::Applied(transfer)
            }
        }
    }

    /// What payer and receiver hold after the transfer, or the first reason against it.
    fn balances_after(&self, request: &TransferRequest) -> Result<(i64, i64), Refusal> {
        let Content { from, to, amount } = &request.content;
        if request.not_after.is_some_and(|last| self.now > last) {
            return Err(Refusal::PastNotAfter);
        }
        let payer = self.accounts.get(from).ok_or(Refusal::UnknownAccount)?;
        let receiver = self.accounts.get(to).ok_or(Refusal::UnknownAccount)?;
        if payer.closed || receiver.closed {
            return Err(Refusal::AccountClosed);
        }
        if receiver.credits_closed_at.is_some() {
            return Err(Refusal::ClosedToCredits);
        }
        let may_owe = *from == Account::Platform(Platform::Issuing);
        // What is issued is bounded by the integer alone.
        let paid = payer
            .balance
            .checked_sub(amount.as_i64())
            .filter(|rest| may_owe || *rest >= 0)
            .ok_or(Refusal::InsufficientBalance)?;
        let received = receiver
            .balance
            .checked_add(amount.as_i64())
            .filter(|sum| *sum <= Coins::MAX.as_i64())
            .ok_or(Refusal::BalanceLimit)?;
        Ok((paid, received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn user(name: &str) -> Account {
        Account::User(name.parse().expect("a user id"))
    }

    fn issuing() -> Account {
        Account::Platform(Platform::Issuing)
    }

    fn entry(balance: i64) -> Entry {
        Entry {
            row: Some(1),
            balance,
            ..Entry::NEW
        }
    }

    fn book(balances: &[(&str, i64)]) -> Book {
        let mut book = Book::new(Position(7), UnixMillis(900), NOW);
        book.with_account(issuing(), entry(0));
        for (name, balance) in balances {
            book.with_account(user(name), entry(*balance));
        }
        book
    }

    fn ask(order: u8, from: Account, to: Account, amount: u64) -> TransferRequest {
        TransferRequest {
            order_id: OrderId([order; 16]),
            content: Content {
                from,
                to,
                amount: Coins::new(amount).expect("coins"),
            },
            not_after: None,
            memo: format!("order {order}"),
        }
    }

    fn send(book: &mut Book, request: &TransferRequest) -> TransferOutcome {
        match book.decide(&Command::Transfer(request.clone())) {
            Reply::Transfer(outcome) => outcome,
            reply => panic!("{reply:?}"),
        }
    }

    fn position(outcome: TransferOutcome) -> Result<u64, TransferOutcome> {
        match outcome {
            TransferOutcome::Applied(transfer) => Ok(transfer.receipt.position.0),
            outcome => Err(outcome),
        }
    }

    #[test]
    fn a_batch_sees_its_own_earlier_commands() {
        let mut book = book(&[("ann", 5)]);
        let pass_on = ask(2, user("bob"), user("cid"), 5);
        assert_eq!(
            send(&mut book, &pass_on),
            TransferOutcome::Refused(Refusal::UnknownAccount)
        );
        assert_eq!(book.decide(&Command::Open(user("bob"))), Reply::Done);
        assert_eq!(book.decide(&Command::Open(user("cid"))), Reply::Done);
        assert_eq!(
            send(&mut book, &pass_on),
            TransferOutcome::Refused(Refusal::InsufficientBalance)
        );
        assert_eq!(
            position(send(&mut book, &ask(1, user("ann"), user("bob"), 5))),
            Ok(8)
        );
        assert_eq!(position(send(&mut book, &pass_on)), Ok(9));
        assert_eq!(position(send(&mut book, &pass_on)), Ok(9));
        let changes = book.into_changes();
        assert_eq!(changes.opened, [user("bob"), user("cid")]);
        let balances: Vec<_> = changes
            .touched
            .values()
            .map(|entry| entry.balance)
            .collect();
        assert_eq!(balances, [0, 0, 5]);
        let memos: Vec<_> = changes
            .applied
            .iter()
            .map(|one| one.memo.as_str())
            .collect();
        assert_eq!(memos, ["order 1", "order 2"]);
    }

    #[test]
    fn asking_again_and_being_refused_changes_nothing() {
        let mut book = book(&[("ann", 5)]);
        let stored = applied(
            &ask(1, user("ann"), issuing(), 9),
            Receipt {
                position: Position(3),
                applied_at: UnixMillis(800),
            },
        );
        book.with_order(stored.clone());
        let closed = Entry {
            closed: true,
            credits_closed_at: Some(Position(4)),
            ..entry(0)
        };
        book.with_account(user("old"), closed);
        let repeat = send(&mut book, &ask(1, user("ann"), issuing(), 9));
        assert_eq!(repeat, TransferOutcome::Applied(stored));
        let other = send(&mut book, &ask(1, user("ann"), issuing(), 8));
        assert_eq!(other, TransferOutcome::Conflict);
        let much = send(&mut book, &ask(2, user("ann"), issuing(), 6));
        assert_eq!(much, TransferOutcome::Refused(Refusal::InsufficientBalance));
        book.decide(&Command::Open(user("ann")));
        book.decide(&Command::Close(user("old")));
        let first = CreditsClosed {
            position: Position(4),
        };
        assert_eq!(
            book.decide(&Command::CloseCredits(user("old"))),
            Reply::CreditsClosed(first)
        );
        assert_eq!(
            book.decide(&Command::CloseCredits(user("nobody"))),
            Reply::UnknownAccount(user("nobody"))
        );
        assert!(book.into_changes().is_empty());
    }

    // hazard: A9
    #[test]
    fn a_close_in_the_middle_of_a_batch_divides_it() {
        let mut book = book(&[("ann", 5), ("pool", 0)]);
        let fee = |order| ask(order, user("ann"), user("pool"), 1);
        assert_eq!(position(send(&mut book, &fee(1))), Ok(8));
        let closed = book.decide(&Command::CloseCredits(user("pool")));
        assert_eq!(
            closed,
            Reply::CreditsClosed(CreditsClosed {
                position: Position(8)
            })
        );
        assert_eq!(
            send(&mut book, &fee(2)),
            TransferOutcome::Refused(Refusal::ClosedToCredits)
        );
        assert_eq!(position(send(&mut book, &fee(1))), Ok(8));
        assert_eq!(
            position(send(&mut book, &ask(3, user("pool"), user("ann"), 1))),
            Ok(9)
        );
    }

    #[test]
    fn not_after_is_the_last_moment_that_counts() {
        let late = |not_after| {
            let request = TransferRequest {
                not_after: Some(UnixMillis(not_after)),
                ..ask(1, issuing(), user("ann"), 1)
            };
            send(&mut book(&[("ann", 0)]), &request)
        };
        assert_eq!(position(late(NOW.0)), Ok(8));
        assert_eq!(
            late(NOW.0 - 1),
            TransferOutcome::Refused(Refusal::PastNotAfter)
        );
    }

    // hazard: B7
    #[test]
    fn time_never_goes_back() {
        let mut book = Book::new(Position(7), UnixMillis(2_000), NOW);
        book.with_account(issuing(), entry(0));
        book.with_account(user("ann"), entry(0));
        match send(&mut book, &ask(1, issuing(), user("ann"), 1)) {
            TransferOutcome::Applied(transfer) => {
                assert_eq!(transfer.receipt.applied_at, UnixMillis(2_000));
            }
            outcome => panic!("{outcome:?}"),
        }
    }

    // hazard: A15
    #[test]
    fn what_moves_nothing_is_not_sent() {
        let mut book = book(&[("ann", 5)]);
        let nothing = send(&mut book, &ask(1, user("ann"), issuing(), 0));
        assert_eq!(nothing, TransferOutcome::NotSent);
        let oneself = send(&mut book, &ask(1, user("ann"), user("ann"), 1));
        assert_eq!(oneself, TransferOutcome::NotSent);
        assert!(book.into_changes().is_empty());
    }

    #[test]
    fn what_was_issued_cannot_overflow() {
        let mut book = book(&[("ann", 0)]);
        book.with_account(issuing(), entry(i64::MIN + 4));
        let outcome = send(&mut book, &ask(1, issuing(), user("ann"), 5));
        assert_eq!(
            outcome,
            TransferOutcome::Refused(Refusal::InsufficientBalance)
        );
        assert_eq!(
            position(send(&mut book, &ask(1, issuing(), user("ann"), 4))),
            Ok(8)
        );
    }
}

//! A bank in memory: what a mode brings along for the funds system.

use crate::Result;
use domain::{
    money::Coins,
    order::{Account, OrderId},
    time::UnixMillis,
    transfer::{Content, CreditsClosed, Position, Receipt, Refusal, Transfer},
};
use std::collections::{BTreeMap, BTreeSet};

/// The funds system in memory. One order applies once; a repeat gets the first receipt.
#[derive(Default)]
pub(crate) struct Bank {
    pub(crate) coins: BTreeMap<Account, Coins>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) closed: Option<CreditsClosed>,
    /// Orders whose next answer is lost on its way back, after they applied.
    pub(crate) loses: BTreeSet<OrderId>,
}

impl Bank {
    pub(crate) fn held(&self, account: &Account) -> Coins {
        self.coins.get(account).copied().unwrap_or(Coins::ZERO)
    }

    pub(crate) fn found(&self, order: OrderId) -> Option<Transfer> {
        self.transfers
            .iter()
            .find(|transfer| transfer.order_id == order)
            .cloned()
    }

    pub(crate) fn position(&self) -> Position {
        Position(self.transfers.len() as u64)
    }

    /// None: the answer was lost.
    pub(crate) fn send(
        &mut self,
        order_id: OrderId,
        content: Content,
        now: UnixMillis,
    ) -> Result<Option<std::result::Result<Receipt, Refusal>>> {
        if let Some(known) = self.found(order_id) {
            let same = known.content == content;
            return if same {
                Ok(Some(Ok(known.receipt)))
            } else {
                Err("conflict".into())
            };
        }
        if self.closed.is_some() && matches!(content.to, Account::Pool(_)) {
            return Ok(Some(Err(Refusal::ClosedToCredits)));
        }
        let Ok(left) = self.held(&content.from).minus(content.amount) else {
            return Ok(Some(Err(Refusal::InsufficientBalance)));
        };
        let grown = self.held(&content.to).plus(content.amount)?;
        self.coins.insert(content.from.clone(), left);
        self.coins.insert(content.to.clone(), grown);
        let receipt = Receipt {
            position: Position(self.position().0 + 1),
            applied_at: now,
        };
        self.transfers.push(Transfer {
            order_id,
            content,
            receipt,
        });
        Ok((!self.loses.remove(&order_id)).then_some(Ok(receipt)))
    }
}

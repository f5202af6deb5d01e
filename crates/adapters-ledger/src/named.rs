//! What a batch of commands names: all that can matter to what becomes of it.

use crate::book::Command;
use std::collections::BTreeSet;

/// What a batch names, each once.
#[derive(Default)]
pub(crate) struct Named {
    /// Order ids in hexadecimal.
    pub(crate) orders: BTreeSet<String>,
    /// Names of accounts.
    pub(crate) accounts: BTreeSet<String>,
}

impl Named {
    /// What `commands` name.
    pub(crate) fn by(commands: &[Command]) -> Self {
        let mut named = Self::default();
        for command in commands {
            match command {
                Command::Open(account)
                | Command::CloseCredits(account)
                | Command::Close(account) => {
                    named.accounts.insert(account.to_string());
                }
                Command::Probe => {}
                Command::Transfer(request) => {
                    named.orders.insert(request.order_id.to_string());
                    named.accounts.insert(request.content.from.to_string());
                    named.accounts.insert(request.content.to.to_string());
                }
            }
        }
        named
    }
}

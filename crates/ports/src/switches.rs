//! What operators have switched off, and who said so.

use crate::store::{Page, StoreError};
use async_trait::async_trait;
use domain::{
    ids::UserId,
    switch::{Change, Scope, Switch, Switches},
};

/// The longest reason, in characters.
pub const REASON_MAX: usize = 500;

/// What an operator says of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Of which switch.
    pub switch: Switch,
    /// For what.
    pub scope: Scope,
    /// Whether it is to be on.
    pub enabled: bool,
    /// Who says so.
    pub by: UserId,
    /// Why.
    pub reason: String,
}

/// All settings, and the number of the change after which they are so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// The sequence of the last change; 0 before the first.
    pub version: u64,
    /// The settings.
    pub switches: Switches,
}

/// The settings of switches and their history.
///
/// 1. `set` writes the setting and a line of history together, or neither; changes are numbered without a
///    gap, in the order in which they take force, and timed by the store's clock. What is said again is a
///    change too: it has another reason.
/// 2. `in_force` answers every setting as the last change left it, and nothing if their version is the known
///    one. What it answers is never older than a change that was answered before.
/// 3. `history` lists the changes of one switch, the newest first; `after` is the last sequence of the page
///    before.
/// 4. `changes_in` lists the changes of one switch in any of some scopes, the oldest first, at most the newest
///    [`CHANGES_MAX`].
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SwitchSettings: Send + Sync {
    /// Sets a switch.
    async fn set(&self, said: &Said) -> Result<Change, StoreError>;

    /// The settings; none if nothing has changed since version `known`.
    async fn in_force(&self, known: Option<u64>) -> Result<Option<InForce>, StoreError>;

    /// The history of a switch, the newest first.
    async fn history(
        &self,
        switch: Switch,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Change, u64>, StoreError>;

    /// The history of a switch in some scopes, the oldest first.
    async fn changes_in(&self, switch: Switch, scopes: &[Scope])
    -> Result<Vec<Change>, StoreError>;
}

/// The most changes that `changes_in` answers.
pub const CHANGES_MAX: usize = 1_000;

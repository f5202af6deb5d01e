//! Switches and their history.

use super::{MemoryStore, page};
use async_trait::async_trait;
use domain::switch::{Change, Scope, Setting, Switch, Switches};
use ports::{
    store::{Page, StoreError},
    switches::{CHANGES_MAX, InForce, Said, SwitchSettings},
};

#[async_trait]
impl SwitchSettings for MemoryStore {
    async fn set(&self, said: &Said) -> Result<Change, StoreError> {
        let at = self.time();
        let mut tables = self.tables();
        let change = Change {
            sequence: tables.switch_changes.len() as u64 + 1,
            switch: said.switch,
            scope: said.scope.clone(),
            setting: Setting {
                enabled: said.enabled,
                by: said.by.clone(),
                reason: said.reason.clone(),
                at,
            },
        };
        tables.switch_changes.push(change.clone());
        Ok(change)
    }

    async fn in_force(&self, known: Option<u64>) -> Result<Option<InForce>, StoreError> {
        let tables = self.tables();
        let version = tables.switch_changes.len() as u64;
        if known == Some(version) {
            return Ok(None);
        }
        let settings = tables.switch_changes.iter().cloned();
        Ok(Some(InForce {
            version,
            switches: Switches::new(settings.map(|c| (c.switch, c.scope, c.setting))),
        }))
    }

    async fn history(
        &self,
        switch: Switch,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Change, u64>, StoreError> {
        let tables = self.tables();
        let newest = tables.switch_changes.iter().rev();
        let of = newest.filter(|change| {
            change.switch == switch && after.is_none_or(|after| change.sequence < after)
        });
        Ok(page(of.cloned(), limit, |change| change.sequence))
    }

    async fn changes_in(
        &self,
        switch: Switch,
        scopes: &[Scope],
    ) -> Result<Vec<Change>, StoreError> {
        let tables = self.tables();
        let newest = tables.switch_changes.iter().rev();
        let of = newest.filter(|change| change.switch == switch && scopes.contains(&change.scope));
        let mut changes: Vec<_> = of.take(CHANGES_MAX).cloned().collect();
        changes.reverse();
        Ok(changes)
    }
}

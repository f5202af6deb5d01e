//! The configuration: the sections of the production stack and of log lines. It may be the same
//! file as the API's: what is the API's alone is passed over here.

use production::settings::{
    FundsSettings, ReconcileSettings, RedisSettings, StoreSettings, TasksSettings, WebhookSettings,
};
use runtime::config::{Checked, LogSettings};
use serde::{Deserialize, de::IgnoredAny};

/// The whole configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) log: LogSettings,
    store: StoreSettings,
    redis: RedisSettings,
    funds: FundsSettings,
    tasks: TasksSettings,
    reconcile: ReconcileSettings,
    webhook: WebhookSettings,
    #[serde(rename = "auth")]
    _auth: IgnoredAny,
    #[serde(rename = "limits")]
    _limits: IgnoredAny,
    #[serde(rename = "server")]
    _server: IgnoredAny,
}

impl Settings {
    /// The sections of the production stack.
    pub(crate) fn production(&self) -> production::settings::Settings {
        production::settings::Settings {
            store: self.store.clone(),
            redis: self.redis.clone(),
            funds: self.funds.clone(),
            tasks: self.tasks.clone(),
            reconcile: self.reconcile.clone(),
            webhook: self.webhook.clone(),
        }
    }
}

impl Checked for Settings {
    fn check(&self) -> anyhow::Result<()> {
        self.production().check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::config::parse;

    const STACK: &str =
        "[store]\nurl = \"mysql://root@127.0.0.1/guafen\"\n[funds]\nurl = \"http://127.0.0.1:1\"\n";

    #[test]
    fn the_file_of_the_api_is_taken_too() {
        let file = format!("{STACK}[server]\nlisten = \"127.0.0.1:1\"\n[auth]\nissuer = \"x\"\n");
        parse::<Settings>(Some(("guafen.toml", &file)), &[]).expect("a configuration");
    }

    #[test]
    fn what_nobody_knows_is_refused_by_name() {
        let file = format!("{STACK}[stroe]\nurl = \"x\"\n");
        let refused = parse::<Settings>(Some(("guafen.toml", &file)), &[]).expect_err("a refusal");
        assert!(format!("{refused:#}").contains("stroe"));
        let refused = parse::<Settings>(None, &[]).expect_err("a refusal");
        assert!(format!("{refused:#}").contains("store.url"));
    }
}

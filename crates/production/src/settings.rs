//! What is configured of the production stack. Every key is explained in docs/configuration.md.

use adapters_webhook::{Format, SettingsError, Webhook};
use anyhow::{Context, bail};
use domain::effects::Effect;
use runtime::config::{Secret, range};
use serde::Deserialize;
use std::{num::NonZeroU32, path::PathBuf, time::Duration};
use usecases::{
    mend::{Limits, Reconciling},
    reconcile::Bounds,
};

/// What a node is run for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Real coins: a database that could forget what it answered is refused.
    #[default]
    Production,
    /// Trying things out.
    Test,
}

/// `[store]`: the database of contests and signups.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// `mysql://user:password@host:port/schema`.
    pub url: Secret,
    /// Connections that read, besides those that write.
    pub connections_max: u32,
    /// Writers, each with a connection of its own.
    pub writers: usize,
    /// What the node is run for.
    pub profile: Profile,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            connections_max: 8,
            writers: 2,
            profile: Profile::default(),
        }
    }
}

/// `[redis]`: what is only shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://…`, `rediss://…` or `redis-cluster://…`; none: everything is read from the store.
    pub url: Secret,
    /// How long one command may take, in milliseconds.
    pub budget_ms: u64,
    /// How long a record is kept after the contest's end, in days.
    pub record_days: u32,
    /// How long numbers and pools of the past are kept after the contest's end, in days.
    pub totals_days: u32,
    /// How long what was counted is remembered after the contest's end, in days.
    pub unique_days: u32,
    /// The longest contest that may be created, in days.
    pub contest_days_max: u32,
    /// Over how many parts a contest's tally is spread, 1 to 64: the same on every node.
    pub tally_parts: u16,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            budget_ms: 50,
            record_days: 3,
            totals_days: 12,
            unique_days: 2,
            contest_days_max: 366,
            tally_parts: 4,
        }
    }
}

/// How a gRPC service of somebody else is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FundsSettings {
    /// `http://host:port` or `https://host:port`.
    pub url: Option<String>,
    /// Who signed the server's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, if it is not that of the address.
    pub domain: Option<String>,
    /// How long one call may take, in milliseconds.
    pub deadline_ms: u64,
    /// Calls that are under way at once.
    pub in_flight_max: usize,
    /// The most calls of this process in any second.
    pub calls_per_s: u32,
    /// Whether operators may grant coins out of `platform/issuing`: the reference ledger only.
    pub sandbox: bool,
}

impl Default for FundsSettings {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            domain: None,
            deadline_ms: 3_000,
            in_flight_max: 1_024,
            calls_per_s: 2_000,
            sandbox: false,
        }
    }
}

/// `[tasks]`: a task system that somebody else runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TasksSettings {
    /// `http://host:port` or `https://host:port`; none: events are pushed to the API.
    pub url: Option<String>,
    /// Who signed the server's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, if it is not that of the address.
    pub domain: Option<String>,
    /// How long one call may take, in milliseconds.
    pub deadline_ms: u64,
}

impl Default for TasksSettings {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            domain: None,
            deadline_ms: 3_000,
        }
    }
}

/// `[reconcile]`: what the reconciliation compares, and repairs by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReconcileSettings {
    /// Whether anything is repaired: the kill switch. Differences are told all the same.
    pub repair: bool,
    /// The most repairs of one run; where more are due, none is made.
    pub repairs_max: u64,
    /// The most coins that the repairs of one run may move.
    pub coins_max: u64,
    /// How long after it applied a transfer must be recorded, in seconds.
    pub recorded_within_s: u64,
    /// The most viewers of one contest that are looked at a second time.
    pub candidates_max: usize,
    /// How often the log of a pool account is read on, in seconds.
    pub tail_every_s: u64,
    /// How long after all rows of a contest were looked up this begins again, in seconds.
    pub walk_every_s: u64,
    /// How long after a contest's end its log is still read, in days.
    pub watch_days: u32,
}

impl Default for ReconcileSettings {
    fn default() -> Self {
        Self {
            repair: true,
            repairs_max: 1_000,
            coins_max: 1_000_000,
            recorded_within_s: 60,
            candidates_max: 10_000,
            tail_every_s: 30,
            walk_every_s: 600,
            watch_days: 7,
        }
    }
}

/// `[webhook]`: who is told of findings and of what becomes of contests.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// `https://…` or `http://…`; none: nobody is told.
    pub url: Secret,
    /// What messages are signed with: `whsec_` and base64.
    pub secret: Secret,
    /// What is sent.
    pub format: WebhookFormat,
    /// How long one call may take, in milliseconds.
    pub deadline_ms: u64,
    /// The address of the API or the console, for links in chats.
    pub link: Option<String>,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            secret: Secret::default(),
            format: WebhookFormat::default(),
            deadline_ms: 5_000,
            link: None,
        }
    }
}

/// What is sent to a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookFormat {
    /// JSON, signed as Standard Webhooks says.
    #[default]
    Standard,
    /// Text for Slack.
    Slack,
    /// Text for Feishu (飞书) or Lark.
    Feishu,
    /// Text for DingTalk (钉钉).
    Dingtalk,
}

/// The sections of the production stack.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `[store]`.
    pub store: StoreSettings,
    /// `[redis]`.
    pub redis: RedisSettings,
    /// `[funds]`.
    pub funds: FundsSettings,
    /// `[tasks]`.
    pub tasks: TasksSettings,
    /// `[reconcile]`.
    pub reconcile: ReconcileSettings,
    /// `[webhook]`.
    pub webhook: WebhookSettings,
}

impl Settings {
    /// The rules that types do not know.
    ///
    /// # Errors
    /// A message that names the key and the rule that it breaks.
    pub fn check(&self) -> anyhow::Result<()> {
        let Self {
            store,
            redis,
            funds,
            tasks,
            reconcile,
            webhook,
        } = self;
        store.check()?;
        if redis.url.expose().is_some_and(|url| {
            ![
                "redis://",
                "rediss://",
                "redis-cluster://",
                "rediss-cluster://",
            ]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        }) {
            bail!(
                "redis.url must begin with redis://, rediss://, redis-cluster:// or rediss-cluster://"
            );
        }
        range("redis.budget_ms", redis.budget_ms, 1, 1_000)?;
        for (key, days) in [
            ("redis.record_days", redis.record_days),
            ("redis.totals_days", redis.totals_days),
            ("redis.unique_days", redis.unique_days),
            ("redis.contest_days_max", redis.contest_days_max),
        ] {
            range(key, u64::from(days), 1, 3_660)?;
        }
        range("redis.tally_parts", redis.tally_parts.into(), 1, 64)?;
        let Some(url) = &funds.url else {
            bail!("funds.url is missing: the address of the funds system");
        };
        check_grpc(
            "funds",
            url,
            (&funds.ca_file, &funds.cert_file, &funds.key_file),
        )?;
        range(
            "funds.deadline_ms",
            funds.deadline_ms,
            10,
            adapters_funds::DEADLINE_MS_MAX,
        )?;
        range(
            "funds.in_flight_max",
            funds.in_flight_max as u64,
            1,
            100_000,
        )?;
        range("funds.calls_per_s", funds.calls_per_s.into(), 2, 1_000_000)?;
        if let Some(url) = &tasks.url {
            check_grpc(
                "tasks",
                url,
                (&tasks.ca_file, &tasks.cert_file, &tasks.key_file),
            )?;
        }
        range("tasks.deadline_ms", tasks.deadline_ms, 10, 60_000)?;
        reconcile.check()?;
        webhook.check()
    }
}

impl ReconcileSettings {
    fn check(&self) -> anyhow::Result<()> {
        const DAY_S: u64 = 86_400;
        range("reconcile.repairs_max", self.repairs_max, 0, 1_000_000)?;
        range("reconcile.coins_max", self.coins_max, 0, 1 << 53)?;
        range(
            "reconcile.recorded_within_s",
            self.recorded_within_s,
            5,
            3_600,
        )?;
        range(
            "reconcile.candidates_max",
            self.candidates_max as u64,
            1,
            1_000_000,
        )?;
        range("reconcile.tail_every_s", self.tail_every_s, 1, DAY_S)?;
        range("reconcile.walk_every_s", self.walk_every_s, 1, DAY_S)?;
        range("reconcile.watch_days", self.watch_days.into(), 0, 366)
    }

    /// How the reconciliation is run.
    #[must_use]
    pub fn reconciling(&self) -> Reconciling {
        let ms = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX / 1_000) * 1_000;
        Reconciling {
            bounds: Bounds {
                candidates_max: self.candidates_max,
                recorded_within_ms: ms(self.recorded_within_s),
                ..Bounds::default()
            },
            limits: self.repair.then_some(Limits {
                repairs: self.repairs_max,
                coins: self.coins_max,
            }),
            tail_every_ms: ms(self.tail_every_s),
            walk_every_ms: ms(self.walk_every_s),
            watched_ms: ms(u64::from(self.watch_days) * 86_400),
        }
    }
}

impl WebhookSettings {
    fn check(&self) -> anyhow::Result<()> {
        range("webhook.deadline_ms", self.deadline_ms, 100, 60_000)?;
        if self.url.expose().is_none() && self.secret.expose().is_some() {
            bail!("webhook.secret is set, and webhook.url is not");
        }
        self.receiver().map(drop)
    }

    /// Who is told; none where nobody is.
    ///
    /// # Errors
    /// A message that names the key and the rule that it breaks.
    pub(crate) fn receiver(&self) -> anyhow::Result<Option<Webhook>> {
        let Some(url) = self.url.expose() else {
            return Ok(None);
        };
        let settings = adapters_webhook::Settings {
            url: url.to_owned(),
            secret: self.secret.expose().map(str::to_owned),
            format: match self.format {
                WebhookFormat::Standard => Format::Standard,
                WebhookFormat::Slack => Format::Slack,
                WebhookFormat::Feishu => Format::Feishu,
                WebhookFormat::Dingtalk => Format::Dingtalk,
            },
            deadline: Duration::from_millis(self.deadline_ms),
            link: self.link.clone(),
        };
        let key = |error: &SettingsError| match error {
            SettingsError::Secret => "webhook.secret",
            SettingsError::Url(_) | SettingsError::Client(_) => "webhook.url",
        };
        Webhook::new(settings)
            .map(Some)
            .map_err(|error| anyhow::anyhow!("{}: {error}", key(&error)))
    }
}

impl Settings {
    /// What is allowed, and what whoever reads the log should know of it.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let mints = self.funds.sandbox && self.store.profile == Profile::Production;
        let warning = "funds.sandbox is true in the production profile: whoever has an operator's \
            token can mint coins; set it to false where coins are worth something";
        mints.then_some(warning).into_iter().collect()
    }
}

impl FundsSettings {
    /// How the client is set.
    pub(crate) fn grpc(&self) -> anyhow::Result<adapters_funds::Settings> {
        let Some(url) = &self.url else {
            bail!("funds.url is missing: the address of the funds system");
        };
        Ok(adapters_funds::Settings {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            domain: self.domain.clone(),
            deadline_ms: self.deadline_ms,
            in_flight_max: self.in_flight_max,
            calls_per_s: NonZeroU32::new(self.calls_per_s),
            ..adapters_funds::Settings::new("funds", url)
        })
    }
}

impl TasksSettings {
    /// How the client of somebody else's task system is set; none: there is none.
    pub(crate) fn grpc(&self) -> Option<adapters_tasks::Settings> {
        self.url.as_ref().map(|url| adapters_tasks::Settings {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            domain: self.domain.clone(),
            deadline_ms: self.deadline_ms,
            ..adapters_tasks::Settings::new("tasks", url)
        })
    }
}

impl StoreSettings {
    /// How the store is opened.
    ///
    /// # Errors
    /// When it is not said where it is.
    pub(crate) fn mysql(
        &self,
        effects: &[Effect],
        notices: bool,
    ) -> anyhow::Result<adapters_mysql::Settings> {
        let url = self.url.expose().context("store.url is missing")?;
        Ok(adapters_mysql::Settings {
            url: url.to_owned(),
            readers: self.connections_max,
            writers: self.writers,
            weak_durability: self.profile == Profile::Test,
            outbox_effects: effects.to_vec(),
            notices,
        })
    }

    /// The rules of this section alone.
    ///
    /// # Errors
    /// A message that names the key and the rule that it breaks.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.url.expose() {
            None => bail!(
                "store.url (GUAFEN_STORE__URL) is missing: mysql://user:password@host:port/schema"
            ),
            Some(url) if !url.starts_with("mysql://") => {
                bail!("store.url must begin with mysql://")
            }
            Some(_) => {}
        }
        range(
            "store.connections_max",
            self.connections_max.into(),
            1,
            1_000,
        )?;
        range("store.writers", self.writers as u64, 1, 16)
    }
}

type Files<'a> = (
    &'a Option<PathBuf>,
    &'a Option<PathBuf>,
    &'a Option<PathBuf>,
);

fn check_grpc(section: &str, url: &str, (ca, cert, key): Files<'_>) -> anyhow::Result<()> {
    let is_https = url.starts_with("https://");
    if !is_https && !url.starts_with("http://") {
        bail!("{section}.url must begin with http:// or https://");
    }
    if !is_https && (ca.is_some() || cert.is_some() || key.is_some()) {
        bail!("{section}.ca_file, cert_file and key_file are for https, and {section}.url is http");
    }
    match (cert, key) {
        (Some(_), None) => bail!("{section}.cert_file needs {section}.key_file"),
        (None, Some(_)) => bail!("{section}.key_file needs {section}.cert_file"),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;
    use serde::de::value::{Error, MapDeserializer, StrDeserializer};

    fn takes_weak_durability(profile: Option<&str>) -> Result<bool, Error> {
        let url = ("url", "mysql://root@db/guafen");
        let lines = [url].into_iter().chain(profile.map(|it| ("profile", it)));
        let settings = StoreSettings::deserialize(MapDeserializer::new(lines))?;
        Ok(settings
            .mysql(&[], false)
            .expect("an address")
            .weak_durability)
    }

    #[test]
    fn a_deadline_that_the_flows_do_not_wait_for_is_refused() {
        let with = |deadline_ms| Settings {
            store: StoreSettings {
                url: Secret::deserialize(StrDeserializer::<Error>::new("mysql://root@db/guafen"))
                    .expect("an address"),
                ..StoreSettings::default()
            },
            funds: FundsSettings {
                url: Some("http://funds:1".to_owned()),
                deadline_ms,
                ..FundsSettings::default()
            },
            ..Settings::default()
        };
        with(4_500).check().expect("the longest");
        let refused = with(4_501).check().expect_err("too long").to_string();
        let said = "funds.deadline_ms must be from 10 to 4500, and is 4501";
        assert_eq!(refused, said);
    }

    #[test]
    fn coins_that_operators_can_mint_are_told_of_where_they_are_real() {
        for (profile, sandbox, warns) in [
            (Profile::Production, true, true),
            (Profile::Production, false, false),
            (Profile::Test, true, false),
        ] {
            let mut settings = Settings::default();
            settings.store.profile = profile;
            settings.funds.sandbox = sandbox;
            let warnings = settings.warnings();
            let told = warnings.iter().any(|it| it.contains("funds.sandbox"));
            assert_eq!(told, warns, "{profile:?}, {sandbox}");
        }
    }

    // hazard: F10
    #[test]
    fn weak_durability_is_taken_only_where_the_test_profile_is_asked_for() {
        assert_eq!(takes_weak_durability(None), Ok(false));
        assert_eq!(takes_weak_durability(Some("production")), Ok(false));
        assert_eq!(takes_weak_durability(Some("test")), Ok(true));
        takes_weak_durability(Some("Test")).expect_err("a word that is none");
    }
}

//! The configuration: one TOML file, every key also an environment variable
//! `GUAFEN_SECTION__KEY`, which wins. A wrong or unknown key stops the start with a message that
//! names it and its rule. Secrets have no way into a message.

use anyhow::{anyhow, bail};
use ipnet::IpNet;
use production::settings::{
    FundsSettings, ReconcileSettings, RedisSettings, StoreSettings, TasksSettings, WebhookSettings,
};
use runtime::config::{Checked, range};
pub(crate) use runtime::config::{LogFormat, LogSettings, Secret};
use serde::{Deserialize, Deserializer, de};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// The shortest secret that is taken, in bytes.
pub(crate) const SECRET_MIN: usize = 32;
/// An hour in seconds: the longest time that any key takes.
const HOUR_S: u64 = 3_600;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum TokenAlgorithm {
    /// A secret that is shared.
    #[default]
    Hs256,
    /// RSA keys from a key set.
    Rs256,
    /// P-256 keys from a key set.
    Es256,
}

impl TryFrom<String> for TokenAlgorithm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let all = [Self::Hs256, Self::Rs256, Self::Es256];
        let named = all.into_iter().find(|algorithm| algorithm.name() == text);
        named.ok_or_else(|| format!("must be HS256, RS256 or ES256, and is {text:?}"))
    }
}

impl TokenAlgorithm {
    /// Its name in a token's header.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// `[auth]`: whose tokens are taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthSettings {
    /// The only algorithm that is taken.
    pub(crate) algorithm: TokenAlgorithm,
    /// The secret for HS256; else the data directory keeps one.
    pub(crate) hs256_secret: Secret,
    /// The key set for RS256 and ES256, as a file.
    pub(crate) jwks_file: Option<PathBuf>,
    /// The key set for RS256 and ES256, at an address: https, or http on loopback.
    pub(crate) jwks_url: Option<String>,
    /// How often the key set is read again, in seconds.
    pub(crate) jwks_refresh_s: u64,
    /// The `iss` that a token must have.
    pub(crate) issuer: Option<String>,
    /// The `aud` that a token must name.
    pub(crate) audience: Option<String>,
    /// By how much clocks may differ, in seconds.
    pub(crate) leeway_s: u64,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            algorithm: TokenAlgorithm::default(),
            hs256_secret: Secret::default(),
            jwks_file: None,
            jwks_url: None,
            jwks_refresh_s: 300,
            issuer: None,
            audience: None,
            leeway_s: 5,
        }
    }
}

/// `[limits]`: how much is taken on at once, and how long anything may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitSettings {
    /// Requests of one user per second, on average; none: no limit.
    pub(crate) per_user_per_s: Option<u32>,
    /// Requests of one user at once; none: as many as in a second.
    pub(crate) per_user_burst: Option<u32>,
    /// Requests from one address per second, on average; none: no limit.
    pub(crate) per_address_per_s: Option<u32>,
    /// Requests from one address at once; none: as many as in a second.
    pub(crate) per_address_burst: Option<u32>,
    /// Addresses or networks whose X-Forwarded-For is believed.
    #[serde(deserialize_with = "networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Requests that are worked on at once; more wait.
    pub(crate) running_max: usize,
    /// Requests that are worked on or wait; more are shed.
    pub(crate) in_flight_max: usize,
    /// Open connections.
    pub(crate) connections_max: usize,
    /// The longest wait for the head of a request, and between two requests, in seconds.
    pub(crate) header_timeout_s: u64,
    /// The longest wait for a whole body, in seconds.
    pub(crate) body_timeout_s: u64,
    /// How long a caller waits for an answer, in seconds; what was begun goes on.
    pub(crate) request_timeout_s: u64,
    /// Event streams that are open at once.
    pub(crate) sse_max: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            per_user_per_s: None,
            per_user_burst: None,
            per_address_per_s: None,
            per_address_burst: None,
            trusted_proxies: Vec::new(),
            running_max: 512,
            in_flight_max: 2_048,
            connections_max: 10_000,
            header_timeout_s: 30,
            body_timeout_s: 10,
            request_timeout_s: 15,
            sse_max: 5_000,
        }
    }
}

impl LimitSettings {
    /// The longest wait for the head of a request.
    pub(crate) const fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_s)
    }

    /// The longest wait for a whole body.
    pub(crate) const fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    /// How long a caller waits for an answer.
    pub(crate) const fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }
}

/// `[server]`: where to listen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerSettings {
    /// The address of the API; `--listen` wins.
    pub(crate) listen: Option<SocketAddr>,
    /// An address of their own for metrics and health; none: the API's.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Whether the board is at `/`, on a loopback address; none: it is.
    pub(crate) board: Option<bool>,
}

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) auth: AuthSettings,
    pub(crate) limits: LimitSettings,
    pub(crate) server: ServerSettings,
    pub(crate) log: LogSettings,
    /// These are for a node of the production stack.
    pub(crate) store: Option<StoreSettings>,
    pub(crate) redis: Option<RedisSettings>,
    pub(crate) funds: Option<FundsSettings>,
    pub(crate) tasks: Option<TasksSettings>,
    pub(crate) reconcile: Option<ReconcileSettings>,
    pub(crate) webhook: Option<WebhookSettings>,
}

impl Settings {
    /// The configuration of this process.
    ///
    /// # Errors
    /// A message that names the key, where it was set, and the rule that it breaks.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        runtime::config::load(file)
    }

    /// The sections of the production stack.
    ///
    /// # Errors
    /// A message that names the key and the rule that it breaks.
    pub(crate) fn production(&self) -> anyhow::Result<production::settings::Settings> {
        let settings = production::settings::Settings {
            store: self.store.clone().unwrap_or_default(),
            redis: self.redis.clone().unwrap_or_default(),
            funds: self.funds.clone().unwrap_or_default(),
            tasks: self.tasks.clone().unwrap_or_default(),
            reconcile: self.reconcile.clone().unwrap_or_default(),
            webhook: self.webhook.clone().unwrap_or_default(),
        };
        settings.check()?;
        Ok(settings)
    }

    /// The embedded default has store, ledger and tasks of its own: what is configured of others
    /// would be passed over in silence.
    ///
    /// # Errors
    /// A message that names the section.
    pub(crate) fn refuse_production(&self) -> anyhow::Result<()> {
        let sections = [
            ("store", self.store.is_some()),
            ("redis", self.redis.is_some()),
            ("funds", self.funds.is_some()),
            ("tasks", self.tasks.is_some()),
            ("reconcile", self.reconcile.is_some()),
            ("webhook", self.webhook.is_some()),
        ];
        match sections.into_iter().find(|(_, is_there)| *is_there) {
            Some((name, _)) => bail!(
                "[{name}] is for the production stack; `serve --embedded` has its own: leave it \
                 out, or serve without --embedded"
            ),
            None => Ok(()),
        }
    }
}

impl Checked for Settings {
    fn check(&self) -> anyhow::Result<()> {
        self.auth.check()?;
        self.limits.check()
    }
}

impl AuthSettings {
    fn check(&self) -> anyhow::Result<()> {
        if let Some(secret) = self.hs256_secret.expose()
            && secret.len() < SECRET_MIN
        {
            bail!(
                "auth.hs256_secret (GUAFEN_AUTH__HS256_SECRET) must have at least {SECRET_MIN} \
                 characters"
            );
        }
        let algorithm = self.algorithm.name();
        let sets = usize::from(self.jwks_file.is_some()) + usize::from(self.jwks_url.is_some());
        match self.algorithm {
            TokenAlgorithm::Hs256 if sets > 0 => bail!(
                "auth.jwks_file and auth.jwks_url are for RS256 and ES256; auth.algorithm is \
                 {algorithm}"
            ),
            TokenAlgorithm::Rs256 | TokenAlgorithm::Es256 if sets != 1 => {
                bail!("auth.algorithm {algorithm} needs one of auth.jwks_file and auth.jwks_url")
            }
            // A secret beside a key set is a misunderstanding about which tokens are taken.
            TokenAlgorithm::Rs256 | TokenAlgorithm::Es256
                if self.hs256_secret.expose().is_some() =>
            {
                bail!("auth.hs256_secret is for HS256; auth.algorithm is {algorithm}")
            }
            _ => {}
        }
        if let Some(url) = &self.jwks_url {
            check_url(url).map_err(|rule| anyhow!("auth.jwks_url: {rule}"))?;
        }
        for (key, text) in [
            ("auth.issuer", &self.issuer),
            ("auth.audience", &self.audience),
        ] {
            if text.as_ref().is_some_and(String::is_empty) {
                bail!("{key} must not be empty");
            }
        }
        range("auth.jwks_refresh_s", self.jwks_refresh_s, 1, 24 * HOUR_S)?;
        range("auth.leeway_s", self.leeway_s, 0, 300)
    }
}

/// Keys come over https, or from this machine.
fn check_url(url: &str) -> Result<(), &'static str> {
    const RULE: &str = "must be an https address, or http on loopback";
    let url = reqwest::Url::parse(url).map_err(|_| RULE)?;
    match url.scheme() {
        "https" if url.has_host() => Ok(()),
        "http" if is_loopback(&url) => Ok(()),
        _ => Err(RULE),
    }
}

/// Whether an address is on this machine whatever a name server says.
pub(crate) fn is_loopback(url: &reqwest::Url) -> bool {
    url.host_str().is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

impl LimitSettings {
    fn check(&self) -> anyhow::Result<()> {
        let rates = [
            ("limits.per_user_per_s", self.per_user_per_s),
            ("limits.per_user_burst", self.per_user_burst),
            ("limits.per_address_per_s", self.per_address_per_s),
            ("limits.per_address_burst", self.per_address_burst),
        ];
        for (key, rate) in rates {
            if let Some(rate) = rate {
                range(key, u64::from(rate), 1, 1_000_000)?;
            }
        }
        if self.per_user_burst.is_some() && self.per_user_per_s.is_none() {
            bail!("limits.per_user_burst needs limits.per_user_per_s");
        }
        if self.per_address_burst.is_some() && self.per_address_per_s.is_none() {
            bail!("limits.per_address_burst needs limits.per_address_per_s");
        }
        if self.per_address_per_s.is_some() && self.trusted_proxies.is_empty() {
            bail!(
                "limits.per_address_per_s needs limits.trusted_proxies: without it, everybody \
                 behind one proxy would be one address"
            );
        }
        let counts = [
            ("limits.running_max", self.running_max),
            ("limits.in_flight_max", self.in_flight_max),
            ("limits.connections_max", self.connections_max),
        ];
        for (key, count) in counts {
            range(key, count as u64, 1, 1_000_000)?;
        }
        range("limits.sse_max", self.sse_max as u64, 0, 1_000_000)?;
        let times = [
            ("limits.header_timeout_s", self.header_timeout_s),
            ("limits.body_timeout_s", self.body_timeout_s),
            ("limits.request_timeout_s", self.request_timeout_s),
        ];
        for (key, seconds) in times {
            range(key, seconds, 1, HOUR_S)?;
        }
        Ok(())
    }
}

/// A list of addresses and networks, or one text with commas between them.
fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    struct Networks;
    impl<'de> de::Visitor<'de> for Networks {
        type Value = Vec<IpNet>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of addresses and networks")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let parts = text.split(',').map(str::trim);
            parts
                .filter(|part| !part.is_empty())
                .map(network)
                .collect::<Result<_, _>>()
                .map_err(E::custom)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(text) = seq.next_element::<String>()? {
                found.push(network(&text).map_err(de::Error::custom)?);
            }
            Ok(found)
        }
    }
    from.deserialize_any(Networks)
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is no address or network like 10.0.0.0/8"))
}

#[cfg(test)]
mod tests;

//! The configuration of `app-funds`.

use adapters_funds::{FaultPlan, ServerTls};
use anyhow::{Context, bail};
use runtime::config::{Checked, LogSettings, Secret, range};
use serde::Deserialize;
use std::{net::SocketAddr, path::PathBuf};

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) ledger: LedgerSettings,
    pub(crate) tls: Tls,
    pub(crate) log: LogSettings,
    pub(crate) faults: Option<Faults>,
}

/// `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// The address to listen on.
    pub(crate) listen: SocketAddr,
    /// How long what is under way may take after the signal to stop, in milliseconds.
    pub(crate) stop_ms: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            stop_ms: 10_000,
        }
    }
}

/// How much is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Profile {
    /// Real coins.
    #[default]
    Production,
    /// Tests: a server with less durability, and faults, are let through.
    Test,
}

impl TryFrom<String> for Profile {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "production" => Ok(Self::Production),
            "test" => Ok(Self::Test),
            _ => Err(format!("must be production or test, and is {text:?}")),
        }
    }
}

/// `[ledger]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LedgerSettings {
    /// `mysql://user:password@host:port/database`, or the path of a SQLite file.
    pub(crate) url: Secret,
    /// What the ledger's server is held to, and whether there may be faults.
    pub(crate) profile: Profile,
    /// The most connections to MySQL that read.
    pub(crate) readers_max: u32,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            profile: Profile::default(),
            readers_max: 8,
        }
    }
}

/// `[tls]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) client_ca_file: Option<PathBuf>,
}

impl Tls {
    /// What the server takes; none: plain.
    pub(crate) fn server(&self) -> anyhow::Result<Option<ServerTls>> {
        match (&self.cert_file, &self.key_file, &self.client_ca_file) {
            (Some(cert_file), Some(key_file), client_ca_file) => Ok(Some(ServerTls {
                cert_file: cert_file.clone(),
                key_file: key_file.clone(),
                client_ca_file: client_ca_file.clone(),
            })),
            (None, None, None) => Ok(None),
            (Some(_), None, _) => bail!("tls.key_file must be set, because tls.cert_file is"),
            (None, Some(_), _) => bail!("tls.cert_file must be set, because tls.key_file is"),
            (None, None, Some(_)) => {
                bail!("tls.cert_file must be set, because tls.client_ca_file is")
            }
        }
    }
}

/// `[faults]`: what goes wrong on purpose, in calls of a thousand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    pub(crate) seed: u64,
    pub(crate) slow_per_mille: u32,
    pub(crate) slow_ms: u64,
    pub(crate) error_per_mille: u32,
    pub(crate) lost_per_mille: u32,
    pub(crate) twice_per_mille: u32,
    pub(crate) stale_per_mille: u32,
}

impl Faults {
    pub(crate) fn plan(&self) -> FaultPlan {
        FaultPlan {
            slow_per_mille: self.slow_per_mille,
            slow_ms: self.slow_ms,
            error_per_mille: self.error_per_mille,
            lost_per_mille: self.lost_per_mille,
            twice_per_mille: self.twice_per_mille,
            stale_per_mille: self.stale_per_mille,
        }
    }
}

impl Checked for Settings {
    fn check(&self) -> anyhow::Result<()> {
        self.tls.server()?;
        range("server.stop_ms", self.server.stop_ms, 1, 600_000)?;
        range(
            "ledger.readers_max",
            self.ledger.readers_max.into(),
            1,
            1_000,
        )?;
        if let Some(faults) = &self.faults {
            faults.plan().check()?;
            range("faults.slow_ms", faults.slow_ms, 0, 600_000)?;
        }
        Ok(())
    }
}

impl Settings {
    /// Where the ledger is; what the flag says goes first.
    pub(crate) fn ledger_url<'a>(&'a self, flag: Option<&'a str>) -> anyhow::Result<&'a str> {
        flag.or_else(|| self.ledger.url.expose()).context(
            "ledger.url is not set: give mysql://user:password@host:port/database or the path of a SQLite file",
        )
    }

    /// The faults, if there are any and there may be.
    pub(crate) fn faults(&self, allowed: bool) -> anyhow::Result<Option<&Faults>> {
        let Some(faults) = &self.faults else {
            return Ok(None);
        };
        if self.ledger.profile != Profile::Test {
            bail!(
                "faults: is refused unless ledger.profile is \"test\": it makes a ledger unreliable on purpose"
            );
        }
        if !allowed {
            bail!("faults: is refused unless app-funds is started with --allow-faults");
        }
        Ok(Some(faults))
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;
    use runtime::config::parse;

    fn settings(text: &str) -> anyhow::Result<Settings> {
        parse(Some(("funds.toml", text)), &[])
    }

    fn fault(text: &str) -> String {
        format!("{:#}", settings(text).expect_err("a fault"))
    }

    #[test]
    fn a_wrong_key_is_named_with_its_rule() {
        for (text, said) in [
            ("[server]\nlisten = 'here'", "server.listen"),
            ("[ledger]\nprofile = 'fast'", "must be production or test"),
            (
                "[ledger]\nreaders_max = 0",
                "ledger.readers_max must be from 1",
            ),
            ("[tls]\ncert_file = 'c'", "tls.key_file must be set"),
            ("[tls]\nkey_file = 'c'", "tls.cert_file must be set"),
            ("[tls]\nclient_ca_file = 'c'", "tls.cert_file must be set"),
            (
                "[faults]\nlost_per_mille = 1001",
                "faults.lost_per_mille must be from 0 to 1000",
            ),
            ("[faults]\nlots = 1", "lots"),
            ("[ledger]\nfile = 'x'", "file"),
        ] {
            let fault = fault(text);
            assert!(fault.contains(said), "{text}: {fault}");
        }
    }

    #[test]
    fn faults_need_both_the_profile_and_the_flag() {
        let on = "[faults]\nlost_per_mille = 1\n[ledger]\nprofile = ";
        let production = settings(&format!("{on}'production'")).expect("settings");
        let refused = production.faults(true).expect_err("a refusal").to_string();
        assert!(
            refused.starts_with("faults:") && refused.contains("ledger.profile"),
            "{refused}"
        );
        let test = settings(&format!("{on}'test'")).expect("settings");
        let refused = test.faults(false).expect_err("a refusal").to_string();
        assert!(
            refused.starts_with("faults:") && refused.contains("--allow-faults"),
            "{refused}"
        );
        assert!(test.faults(true).expect("faults").is_some());
        let none = settings("").expect("settings");
        assert!(none.faults(false).expect("none").is_none());
    }

    #[test]
    fn the_documentation_has_every_key_and_no_other() {
        let text = include_str!("../../../docs/configuration.md");
        let (_, text) = text.split_once("\n## The reference ledger").expect("ours");
        let documented: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        for key in &documented {
            let said = fault(&format!("{key} = [[1]]\n"));
            assert!(!said.contains("unknown field"), "{key}: {said}");
        }
        let faults = Some(Faults::default());
        let debug = format!(
            "{:?}",
            Settings {
                faults,
                ..Settings::default()
            }
        );
        let fields = debug
            .split([' ', '{', ',', '('])
            .filter_map(|word| word.strip_suffix(':'))
            .filter(|name| !["server", "ledger", "tls", "log", "faults"].contains(name));
        assert_eq!(fields.count(), documented.len(), "{debug}");
    }
}

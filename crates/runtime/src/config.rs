//! The configuration of every binary: one TOML file, every key also an environment variable
//! `GUAFEN_SECTION__KEY`, which wins. A wrong or unknown key stops the start with a message that
//! names it and its rule. Secrets have no way into a message.

use anyhow::{Context, anyhow, bail};
use config::{Config, ConfigError, File, FileFormat};
use serde::{Deserialize, Deserializer, de, de::DeserializeOwned};
use std::{fmt, path::Path};

/// What every variable of ours begins with.
const PREFIX: &str = "GUAFEN_";
/// What stands between section and key.
const SEPARATOR: &str = "__";

/// A text that no message shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Option<String>);

impl Secret {
    /// The text, if there is one.
    pub fn expose(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "(set)" } else { "(none)" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // What serde says of a wrong type would quote the value.
        String::deserialize(from)
            .map(|text| Self(Some(text)))
            .map_err(|_| de::Error::custom("must be a text in quotes"))
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(try_from = "String")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(format!("must be human or json, and is {text:?}")),
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The form of log lines.
    pub format: LogFormat,
}

/// A whole configuration, whose types say what may stand there.
pub trait Checked: DeserializeOwned {
    /// The rules that types do not know.
    ///
    /// # Errors
    /// A message that names the key and the rule that it breaks.
    fn check(&self) -> anyhow::Result<()>;
}

/// The configuration of this process: defaults, then the file, then the environment.
///
/// # Errors
/// A message that names the key, where it was set, and the rule that it breaks.
pub fn load<T: Checked>(file: Option<&Path>) -> anyhow::Result<T> {
    let text = file
        .map(|path| {
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the configuration {}", path.display()))
        })
        .transpose()?;
    let ours = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with(PREFIX).then_some((name, value))
    });
    let environment = ours
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(anyhow!("{name}: must be UTF-8")),
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let file = file.map(|path| path.display().to_string());
    parse(file.as_deref().zip(text.as_deref()), &environment)
}

/// The configuration of a file, given by name and text, and of variables.
///
/// # Errors
/// As for [`load`].
pub fn parse<T: Checked>(
    file: Option<(&str, &str)>,
    environment: &[(String, String)],
) -> anyhow::Result<T> {
    let mut all = Config::builder();
    if let Some((name, text)) = file {
        let source = File::from_str(text, FileFormat::Toml);
        // Alone first, so that a fault is blamed on the place where it stands.
        deserialize::<T>(Config::builder().add_source(source.clone()))
            .with_context(|| format!("the configuration {name}"))?;
        all = all.add_source(source);
    }
    for (name, value) in environment {
        if is_other(name) {
            continue;
        }
        let key = key_of(name).with_context(|| name.clone())?;
        let set = |builder: config::ConfigBuilder<config::builder::DefaultState>| {
            builder.set_override(&key, value.as_str())
        };
        // What `config` says of a name that is no path, and what it quotes, is of no use.
        let alone = set(Config::builder()).map_err(|_| anyhow!("{name}: is no key"))?;
        deserialize::<T>(alone).with_context(|| name.clone())?;
        all = set(all).map_err(|_| anyhow!("{name}: is no key"))?;
    }
    let settings: T = deserialize(all)?;
    settings.check()?;
    Ok(settings)
}

/// Variables that begin like ours and belong to tests and to other commands.
fn is_other(name: &str) -> bool {
    const OTHERS: &[&str] = &["GUAFEN_FAILPOINT", "GUAFEN_OPERATOR_TOKEN", "GUAFEN_SEED"];
    OTHERS.contains(&name) || name.starts_with("GUAFEN_TEST_")
}

/// Refuses a number outside its bounds, naming the key.
///
/// # Errors
/// When it is outside.
pub fn range(key: &str, value: u64, min: u64, max: u64) -> anyhow::Result<()> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        bail!("{key} must be from {min} to {max}, and is {value}")
    }
}

/// `GUAFEN_AUTH__HS256_SECRET` is `auth.hs256_secret`.
fn key_of(name: &str) -> anyhow::Result<String> {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match rest.split_once(SEPARATOR) {
        Some((section, key)) if is_word(section) && is_word(key) => Ok(format!(
            "{}.{}",
            section.to_ascii_lowercase(),
            key.to_ascii_lowercase()
        )),
        _ => bail!("is no key; keys are {PREFIX}SECTION{SEPARATOR}KEY"),
    }
}

fn deserialize<T: DeserializeOwned>(
    builder: config::ConfigBuilder<config::builder::DefaultState>,
) -> anyhow::Result<T> {
    let built = builder.build().and_then(Config::try_deserialize);
    built.map_err(|error| anyhow!(say(&error)))
}

/// What is wrong, without the lines of the file that the parser would quote: one of them may hold
/// the secret.
fn say(error: &ConfigError) -> String {
    match error {
        ConfigError::FileParse { cause, .. } => {
            let text = cause.to_string();
            let kept = text.lines().filter(|line| !line.contains('|'));
            kept.map(str::trim).collect::<Vec<_>>().join(": ")
        }
        ConfigError::At { error, key, .. } => match key {
            Some(key) => format!("{key}: {}", say(error)),
            None => say(error),
        },
        ConfigError::Type {
            unexpected,
            expected,
            key,
            ..
        } => {
            let key = key.as_deref().unwrap_or_default();
            let found = unexpected.to_string();
            let said = if !key.contains('.') {
                // What stands where a whole section belongs may be any key's.
                format!("must be {expected}")
            } else if found.starts_with("string ") {
                // It may be a secret that slipped to the key beside its own.
                format!("must be {expected}, and is a text")
            } else {
                format!("must be {expected}, and is {found}")
            };
            if key.is_empty() {
                said
            } else {
                format!("{key}: {said}")
            }
        }
        other => without_value(&other.to_string()),
    }
}

/// What serde says of a value, without the value: it may be a secret at the wrong place.
fn without_value(said: &str) -> String {
    let quotes = ["invalid type: ", "invalid value: ", "unknown variant "]
        .iter()
        .any(|begin| said.starts_with(begin));
    match said.rsplit_once(", expected ") {
        Some((_, expected)) if quotes && expected.starts_with("struct ") => {
            "must be a section".to_owned()
        }
        Some((_, expected)) if quotes => format!("must be {expected}"),
        _ => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Whole {
        redis: Section,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Section {
        url: Secret,
        budget_ms: u64,
    }

    impl Checked for Whole {
        fn check(&self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    fn refused(text: &str) -> String {
        let parsed = parse::<Whole>(Some(("guafen.toml", text)), &[]);
        format!("{:#}", parsed.expect_err("a refusal"))
    }

    #[test]
    fn a_secret_at_the_wrong_place_is_not_repeated() {
        for text in [
            "redis = \"redis://:hunter2@h\"",
            "redis = [\"x\", \"redis://:hunter2@h\"]",
            "[redis]\nbudget_ms = \"redis://:hunter2@h\"",
            "[redis]\nurl = [\"redis://:hunter2@h\"]",
            "[redis]\nurl = \"redis://:hunter2@h",
            "redis = redis://:hunter2@h",
        ] {
            let said = refused(text);
            assert!(!said.contains("hunter2"), "{text}: {said}");
            assert!(said.contains("guafen.toml"), "{text}: {said}");
        }
        let said = refused("redis = 27182818");
        assert!(said.contains("redis: must be a section"), "{said}");
        assert!(!said.contains("27182818"), "{said}");
    }

    #[test]
    fn what_is_no_secret_is_told_with_its_key() {
        let said = refused("[redis]\nbudget_ms = -1");
        assert!(said.contains("redis.budget_ms"), "{said}");
        assert!(said.contains("-1"), "{said}");
        parse::<Whole>(
            Some(("guafen.toml", "[redis]\nbudget_ms = 1\nurl = \"x\"")),
            &[],
        )
        .expect("settings");
    }
}

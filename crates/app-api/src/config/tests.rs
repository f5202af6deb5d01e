//! What is taken as configuration, and what is refused with which message.

use super::*;
use runtime::config::parse;

fn file(text: &str) -> anyhow::Result<Settings> {
    parse::<Settings>(Some(("guafen.toml", text)), &[])
}

fn environment(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    parse::<Settings>(None, &variables)
}

fn refused(outcome: anyhow::Result<Settings>) -> String {
    format!("{:#}", outcome.expect_err("a refusal"))
}

const SECRET: &str = "0123456789012345678901234567890123456789";

#[test]
fn without_anything_the_defaults_hold() {
    let settings = parse::<Settings>(None, &[]).expect("the defaults");
    assert_eq!(settings.auth.algorithm, TokenAlgorithm::Hs256);
    assert!(settings.limits.per_user_per_s.is_none());
    assert!(settings.limits.in_flight_max > 1_000);
    assert!(settings.server.metrics_listen.is_none());
}

#[test]
fn every_key_is_taken_from_the_file_and_from_the_environment() {
    let keys: &[(&str, &str, &str)] = &[
        ("auth", "algorithm", "\"HS256\""),
        (
            "auth",
            "hs256_secret",
            "\"0123456789012345678901234567890123456789\"",
        ),
        ("auth", "jwks_refresh_s", "60"),
        ("auth", "issuer", "\"https://id.example\""),
        ("auth", "audience", "\"guafen\""),
        ("auth", "leeway_s", "3"),
        ("limits", "per_user_per_s", "5"),
        ("limits", "trusted_proxies", "\"10.0.0.0/8, ::1\""),
        ("limits", "running_max", "7"),
        ("limits", "in_flight_max", "8"),
        ("limits", "connections_max", "9"),
        ("limits", "header_timeout_s", "10"),
        ("limits", "body_timeout_s", "11"),
        ("limits", "request_timeout_s", "12"),
        ("limits", "sse_max", "0"),
        ("server", "listen", "\"127.0.0.1:1\""),
        ("server", "metrics_listen", "\"127.0.0.1:2\""),
        ("log", "format", "\"json\""),
    ];
    for (section, key, value) in keys {
        file(&format!("[{section}]\n{key} = {value}\n")).expect(key);
        let name = format!("GUAFEN_{}__{}", section.to_uppercase(), key.to_uppercase());
        environment(&[(&name, value.trim_matches('"'))]).expect(&name);
    }
    let pairs = "[limits]\nper_user_per_s = 1\nper_user_burst = 2\nper_address_per_s = 3\n\
                 per_address_burst = 4\ntrusted_proxies = [\"10.0.0.1\", \"fd00::/8\"]\n";
    let settings = file(pairs).expect("the pairs");
    assert_eq!(settings.limits.trusted_proxies.len(), 2);
    file("[auth]\nalgorithm = \"RS256\"\njwks_file = \"keys.json\"\n").expect("a file of keys");
    let settings = environment(&[
        ("GUAFEN_AUTH__ALGORITHM", "ES256"),
        ("GUAFEN_AUTH__JWKS_URL", "https://id.example/keys"),
    ]);
    assert_eq!(
        settings.expect("a url").auth.algorithm,
        TokenAlgorithm::Es256
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let variables = [("GUAFEN_LIMITS__SSE_MAX".to_owned(), "3".to_owned())];
    let settings = parse::<Settings>(
        Some(("guafen.toml", "[limits]\nsse_max = 2\nrunning_max = 4\n")),
        &variables,
    )
    .expect("both");
    assert_eq!(
        (settings.limits.sse_max, settings.limits.running_max),
        (3, 4)
    );
}

#[test]
fn a_wrong_or_unknown_key_is_named_with_its_place() {
    let cases = [
        (
            "[limit]\nsse_max = 1\n",
            &["guafen.toml", "limit"] as &[&str],
        ),
        ("[limits]\nsse_maxx = 1\n", &["guafen.toml", "sse_maxx"]),
        (
            "[limits]\nsse_max = \"many\"\n",
            &["guafen.toml", "limits.sse_max"],
        ),
        (
            "[limits]\nsse_max = -1\n",
            &["guafen.toml", "limits.sse_max"],
        ),
        (
            "[limits]\nrunning_max = 0\n",
            &["limits.running_max", "from 1"],
        ),
        (
            "[limits]\ntrusted_proxies = [\"here\"]\n",
            &["guafen.toml", "here", "network"],
        ),
        (
            "[limits]\nper_address_per_s = 1\n",
            &["limits.trusted_proxies"],
        ),
        ("[limits]\nper_user_burst = 1\n", &["limits.per_user_per_s"]),
        (
            "[auth]\nalgorithm = \"none\"\n",
            &["guafen.toml", "none", "HS256"],
        ),
        (
            "[auth]\nalgorithm = \"RS256\"\n",
            &["auth.jwks_file", "auth.jwks_url"],
        ),
        (
            "[auth]\njwks_file = \"keys\"\n",
            &["auth.jwks_file", "HS256"],
        ),
        (
            "[auth]\nalgorithm = \"RS256\"\njwks_url = \"http://id.example/keys\"\n",
            &["auth.jwks_url", "https"],
        ),
        ("[auth]\nissuer = \"\"\n", &["auth.issuer"]),
        ("[log]\nformat = \"xml\"\n", &["guafen.toml", "xml", "json"]),
        ("[log\n", &["guafen.toml", "line 1"]),
    ];
    for (text, parts) in cases {
        let said = refused(file(text));
        for part in parts {
            assert!(
                said.contains(part),
                "{text:?} was answered {said:?}, without {part:?}"
            );
        }
    }
}

#[test]
fn a_wrong_or_unknown_variable_is_named() {
    for (name, value) in [
        ("GUAFEN_LIMITS__SSE_MAXX", "1"),
        ("GUAFEN_LIMIT__SSE_MAX", "1"),
        ("GUAFEN_LIMITS__SSE_MAX", "many"),
        ("GUAFEN_LIMITS_SSE_MAX", "1"),
        ("GUAFEN_LIMITS__A[", "1"),
        ("GUAFEN_SERVER__LISTEN", "here"),
    ] {
        let said = refused(environment(&[(name, value)]));
        assert!(said.contains(name), "{name} was answered {said:?}");
    }
    for name in [
        "GUAFEN_FAILPOINT",
        "GUAFEN_OPERATOR_TOKEN",
        "GUAFEN_SEED",
        "GUAFEN_TEST_MYSQL_URL",
    ] {
        environment(&[(name, "anything")]).expect(name);
    }
}

#[test]
fn no_message_and_no_debug_form_holds_the_secret() {
    let settings = file(&format!("[auth]\nhs256_secret = \"{SECRET}\"\n")).expect("a secret");
    assert_eq!(settings.auth.hs256_secret.expose(), Some(SECRET));
    assert!(!format!("{settings:?}").contains(SECRET));
    for text in [
        format!("[auth]\nhs256_secret = \"{SECRET}\n"),
        format!("[auth]\nhs256_secret = {SECRET}\n"),
        format!("[auth]\nhs256_secret = [\"{SECRET}\"]\n"),
        format!("[auth]\nhs256_secret = \"{SECRET}\"\nissuer = 1 2\n"),
        format!("[auth]\nhs256_secret = \"{SECRET}\"\nalgorithm = \"RS256\"\n"),
        format!("[auth]\nhs256_secret.{SECRET} = 1\n"),
    ] {
        let said = refused(file(&text));
        let is_key = text.contains('.');
        assert!(is_key || !said.contains(SECRET), "{said:?}");
    }
    let said = refused(environment(&[("GUAFEN_AUTH__HS256_SECRET", "short-one")]));
    assert!(said.contains("GUAFEN_AUTH__HS256_SECRET") && !said.contains("short-one"));
}

/// What `docs/configuration.md` says: every key with its default.
#[test]
fn the_documentation_has_every_key_and_no_other() {
    let text = include_str!("../../../../docs/configuration.md");
    let (text, _) = text
        .split_once("\n## The reference ledger")
        .expect("app-funds comes after us");
    let documented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    for key in &documented {
        // A value of a wrong type: the key is known if it is the value that is complained about.
        let said = refused(file(&format!("{key} = [[1]]\n")));
        assert!(!said.contains("unknown field"), "{key}: {said}");
    }
    let debug = format!(
        "{:?}",
        Settings {
            store: Some(StoreSettings::default()),
            redis: Some(RedisSettings::default()),
            funds: Some(FundsSettings::default()),
            tasks: Some(TasksSettings::default()),
            reconcile: Some(ReconcileSettings::default()),
            webhook: Some(WebhookSettings::default()),
            ..Settings::default()
        }
    );
    let fields = debug
        .split([' ', '{', ',', '('])
        .filter_map(|word| word.strip_suffix(':'));
    let sections = [
        "auth",
        "limits",
        "server",
        "log",
        "store",
        "redis",
        "funds",
        "tasks",
        "reconcile",
        "webhook",
    ];
    let fields: Vec<&str> = fields.filter(|name| !sections.contains(name)).collect();
    assert_eq!(fields.len(), documented.len());
    for name in fields {
        let ends = format!(".{name}");
        assert!(documented.iter().any(|key| key.ends_with(&ends)), "{name}");
    }
}

/// The file that deployments begin with: as it is, and with every line that it leaves to be filled
/// in.
#[test]
fn the_example_configuration_is_taken() {
    let text = include_str!("../../../../deploy/guafen.example.toml");
    file(text).expect("the example");
    let whole: String = text
        .lines()
        .map(|line| {
            let left_out = line.strip_prefix("# ").filter(|rest| {
                let key = rest.split(" = ").next().unwrap_or_default();
                rest.contains(" = ") && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            });
            let line = left_out.unwrap_or(line).replace('…', SECRET);
            format!("{}\n", line.replace("\"http://", "\"https://"))
        })
        .collect();
    let settings = file(&whole).expect("the example, filled in");
    settings.production().expect("a node's configuration");
}

//! Which crate may depend on which: architecture.md's table as data.

use serde::Deserialize;

/// What `cargo metadata` says of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

/// One crate of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: std::path::PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One edge.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// None for a normal one; `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Set for crates of the workspace.
    pub(crate) path: Option<String>,
}

/// Our crates, and which of ours each may depend on.
const OURS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("ports", &["domain"]),
    ("usecases", &["domain", "ports"]),
    ("contract-tests", &["domain", "ports"]),
    ("records", &["domain", "ports"]),
    ("sql-core", &["domain", "ports", "records"]),
    ("adapters-memory", &["domain", "ports"]),
    ("adapters-sqlite", &["domain", "ports", "sql-core"]),
    ("adapters-ledger", &["domain", "ports", "sql-core"]),
    ("adapters-mysql", &["domain", "ports", "sql-core"]),
    ("adapters-redis", &["domain", "ports", "records"]),
    // It knows no message of ours.
    ("grpc-core", &[]),
    ("adapters-funds", &["domain", "ports", "grpc-core"]),
    ("adapters-tasks", &["domain", "ports", "grpc-core"]),
    ("adapters-webhook", &["domain", "ports"]),
    ("runtime", &["domain", "ports"]),
    ("test-support", &[]),
    (
        "app-funds",
        &[
            "domain",
            "ports",
            "runtime",
            "adapters-funds",
            "adapters-ledger",
        ],
    ),
    // The wiring that the two binaries of the production stack share.
    (
        "production",
        &[
            "domain",
            "ports",
            "usecases",
            "runtime",
            "adapters-funds",
            "adapters-mysql",
            "adapters-redis",
            "adapters-tasks",
            "adapters-webhook",
            "experiments",
        ],
    ),
    (
        "app-reconciler",
        &[
            "domain",
            "ports",
            "usecases",
            "runtime",
            "production",
            "experiments",
        ],
    ),
    // It must know nothing of the code that wrote what it checks.
    ("checker", &[]),
    // Floats live in it, so nothing that moves money may use it: binaries show what it says, and hand the flows
    // the names of arms to stop.
    ("experiments", &["domain", "ports"]),
    (
        "app-api",
        &[
            "domain",
            "ports",
            "usecases",
            "sql-core",
            "runtime",
            "adapters-sqlite",
            "adapters-ledger",
            "production",
            "experiments",
            // For `check` and the page: what is shown green was checked by somebody else.
            "checker",
        ],
    ),
    ("xtask", &["checker", "test-support"]),
];

/// What tests may use besides. Nothing for the two that stand alone.
const IN_TESTS: &[&str] = &[
    "contract-tests",
    "adapters-memory",
    // The reference funds system, behind what reaches it.
    "adapters-funds",
    "adapters-ledger",
    "checker",
    "test-support",
];
const ALONE: &[&str] = &["domain", "checker"];

/// Technologies, and the only crates that may speak them.
const HELD: &[(&str, &[&str])] = &[
    (
        "sqlx",
        &[
            "sql-core",
            "adapters-sqlite",
            "adapters-mysql",
            "adapters-ledger",
            "checker",
            // To make and drop the schemas of tests.
            "test-support",
        ],
    ),
    ("fred", &["adapters-redis"]),
    (
        "tonic",
        &["grpc-core", "adapters-funds", "adapters-tasks", "app-funds"],
    ),
    ("prost", &["adapters-funds", "adapters-tasks"]),
    ("testcontainers", &["test-support"]),
    ("axum", &["app-api", "app-reconciler"]),
    ("tower-http", &["app-api"]),
    ("jsonwebtoken", &["app-api"]),
    ("tracing-subscriber", &["runtime"]),
    ("hyper", &["app-api", "xtask"]),
    ("hyper-util", &["app-api", "xtask"]),
    (
        "clap",
        &["runtime", "app-api", "app-funds", "app-reconciler", "xtask"],
    ),
    (
        "anyhow",
        &[
            "runtime",
            "test-support",
            "production",
            "app-api",
            "app-funds",
            "app-reconciler",
            "xtask",
        ],
    ),
    ("indicatif", &["xtask"]),
    ("mockall", &["ports", "usecases"]),
    ("statrs", &["experiments"]),
];

/// The only outside crates that these may use at all.
const PURE: &[(&str, &[&str])] = &[
    (
        "domain",
        &["hmac", "proptest", "serde", "sha2", "thiserror", "uuid"],
    ),
    ("ports", &["async-trait", "mockall", "thiserror", "uuid"]),
    (
        "experiments",
        &[
            "async-trait",
            "proptest",
            "statrs",
            "thiserror",
            "tokio",
            "uuid",
        ],
    ),
];

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table
        .iter()
        .find(|(row, _)| *row == name)
        .map(|(_, allowed)| *allowed)
}

/// Every edge that the table does not have.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(allowed) = row(OURS, name) else {
            faults.push(format!(
                "{name} is not in tidy's table of crates: add it to xtask/src/tidy/edges.rs"
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let on = dependency.name.as_str();
            if dependency.path.is_some() {
                let in_tests = dependency.kind.as_deref() == Some("dev")
                    && IN_TESTS.contains(&on)
                    && !ALONE.contains(&name);
                if !allowed.contains(&on) && !in_tests && on != name {
                    faults.push(format!(
                        "{name} must not depend on {on}: architecture.md has no such edge"
                    ));
                }
                continue;
            }
            if row(HELD, on).is_some_and(|holders| !holders.contains(&name)) {
                faults.push(format!(
                    "{name} must not use {on}: it is held to {:?}",
                    row(HELD, on).unwrap_or_default()
                ));
            }
            if row(PURE, name).is_some_and(|pure| !pure.contains(&on)) {
                faults.push(format!("{name} must not use {on}: it is kept pure"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, on: &str, kind: Option<&str>, ours: bool) -> Metadata {
        let dependency = Dependency {
            name: on.to_owned(),
            kind: kind.map(str::to_owned),
            path: ours.then(|| format!("/crates/{on}")),
        };
        let package = Package {
            name: name.to_owned(),
            manifest_path: "Cargo.toml".into(),
            dependencies: vec![dependency],
        };
        Metadata {
            packages: vec![package],
        }
    }

    fn faults(name: &str, on: &str, kind: Option<&str>, ours: bool) -> usize {
        check(&package(name, on, kind, ours)).len()
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_refused() {
        assert_eq!(faults("ports", "domain", None, true), 0);
        assert_eq!(faults("domain", "ports", None, true), 1);
        assert_eq!(faults("usecases", "adapters-memory", None, true), 1);
        assert_eq!(faults("usecases", "adapters-memory", Some("dev"), true), 0);
        assert_eq!(faults("checker", "adapters-memory", Some("dev"), true), 1);
        assert_eq!(faults("app-api", "adapters-memory", None, true), 1);
        assert_eq!(faults("adapters-sqlite", "adapters-ledger", None, true), 1);
        assert_eq!(faults("brand-new", "domain", None, true), 1);
    }

    /// All of ours that a crate may reach.
    fn reach(name: &str) -> Vec<&str> {
        let mut reached = vec![name];
        let mut at = 0;
        while let Some(next) = reached.get(at) {
            at += 1;
            for on in row(OURS, next).unwrap_or_default() {
                if !reached.contains(on) {
                    reached.push(on);
                }
            }
        }
        reached
    }

    // hazard: A18
    #[test]
    fn where_a_transaction_can_be_open_nobody_can_be_called() {
        let holders = |technology| row(HELD, technology).expect("it is held");
        for holder in holders("sqlx") {
            for reached in reach(holder) {
                for line in ["tonic", "fred", "hyper", "axum"] {
                    // The tools for tests start servers of all kinds and are in no program.
                    let is_tool = reached == "test-support";
                    assert!(
                        is_tool || !holders(line).contains(&reached),
                        "{holder} reaches {reached}, which has {line}"
                    );
                }
            }
        }
        // Nor can a flow or a port be handed a transaction: they do not know what one is.
        for inside in ["domain", "ports", "usecases"] {
            assert!(reach(inside).iter().all(|on| !holders("sqlx").contains(on)));
        }
    }

    #[test]
    fn technologies_are_held_to_their_crates() {
        assert_eq!(faults("sql-core", "sqlx", None, false), 0);
        assert_eq!(faults("usecases", "sqlx", None, false), 1);
        assert_eq!(faults("xtask", "sqlx", None, false), 1);
        assert_eq!(faults("usecases", "axum", Some("dev"), false), 1);
        assert_eq!(faults("domain", "tokio", None, false), 1);
        assert_eq!(faults("domain", "proptest", Some("dev"), false), 0);
    }
}

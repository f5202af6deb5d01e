//! TLS in both directions: who is known, who is not, and what is refused before anything is sent.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_funds::{DEADLINE_MS_MAX, GrpcFunds, ServerTls, Settings, SetupError};
use common::{Served, memory, settings};
use ports::funds::Funds;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A certificate authority whose files lie in a directory.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
    file: PathBuf,
}

/// A certificate and its key.
#[derive(Clone)]
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let file = write(directory, &format!("{name}.pem"), &issuer.pem());
        Self {
            issuer,
            directory: directory.to_owned(),
            file,
        }
    }

    fn sign(&self, name: &str, is_expired: bool) -> Pair {
        let mut params = CertificateParams::new(vec!["funds.test".to_owned()]).expect("parameters");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        if is_expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            cert: write(&self.directory, &format!("{name}.cert"), &cert.pem()),
            key: write(
                &self.directory,
                &format!("{name}.key"),
                &key.serialize_pem(),
            ),
        }
    }
}

async fn serve(pair: &Pair, clients: Option<&Authority>) -> Served {
    let tls = ServerTls {
        cert_file: pair.cert.clone(),
        key_file: pair.key.clone(),
        client_ca_file: clients.map(|ca| ca.file.clone()),
    };
    Served::at("127.0.0.1:0", memory(), Some(tls)).await
}

fn reach(served: &Served, ca: &Authority, pair: Option<&Pair>) -> Settings {
    Settings {
        ca_file: Some(ca.file.clone()),
        cert_file: pair.map(|pair| pair.cert.clone()),
        key_file: pair.map(|pair| pair.key.clone()),
        domain: Some("funds.test".to_owned()),
        deadline_ms: 500,
        start_ms: 600,
        ..settings(&format!("https://{}", served.address))
    }
}

async fn is_let_in(settings: &Settings) -> bool {
    match GrpcFunds::connect(settings).await {
        Ok(client) => client.lookup(&[]).await.is_ok(),
        Err(SetupError::NoAnswer { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}

// hazard: J3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_known_by_its_certificate() {
    let directory = TempDir::new().expect("a directory");
    let ours = Authority::new(directory.path(), "ours");
    let other = Authority::new(directory.path(), "other");
    let served = serve(&ours.sign("server", false), Some(&ours)).await;
    let good = ours.sign("good", false);
    let expired = ours.sign("expired", true);
    let foreign = other.sign("foreign", false);
    for (name, pair, let_in) in [
        ("right", Some(&good), true),
        ("of another authority", Some(&foreign), false),
        ("expired", Some(&expired), false),
        ("missing", None, false),
    ] {
        assert_eq!(
            is_let_in(&reach(&served, &ours, pair)).await,
            let_in,
            "{name}"
        );
    }
    // Nor in plain.
    let plain = Settings {
        start_ms: 600,
        deadline_ms: 500,
        ..settings(&served.url())
    };
    assert!(!is_let_in(&plain).await);
}

// hazard: J3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_known_by_its_certificate() {
    let directory = TempDir::new().expect("a directory");
    let ours = Authority::new(directory.path(), "ours");
    let other = Authority::new(directory.path(), "other");
    let served = serve(&ours.sign("server", false), None).await;
    assert!(is_let_in(&reach(&served, &ours, None)).await);
    assert!(
        !is_let_in(&reach(&served, &other, None)).await,
        "another authority"
    );
    let renamed = Settings {
        domain: Some("other.test".to_owned()),
        ..reach(&served, &ours, None)
    };
    assert!(!is_let_in(&renamed).await, "another name");
    let expired = serve(&ours.sign("expired", true), None).await;
    assert!(!is_let_in(&reach(&expired, &ours, None)).await, "expired");
    let plain = Served::new(memory()).await;
    assert!(
        !is_let_in(&reach(&plain, &ours, None)).await,
        "no TLS at all"
    );
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_its_rule() {
    let directory = TempDir::new().expect("a directory");
    let ours = Authority::new(directory.path(), "ours");
    let pair = ours.sign("pair", false);
    let https = Settings {
        ca_file: Some(ours.file.clone()),
        ..settings("https://127.0.0.1:1")
    };
    for (settings, said) in [
        (settings("funds:1"), "funds.url must be http://"),
        (settings("https://127.0.0.1:1"), "funds.ca_file must name"),
        (
            Settings {
                deadline_ms: DEADLINE_MS_MAX + 1,
                ..settings("http://127.0.0.1:1")
            },
            "funds.deadline_ms must be at most 4500",
        ),
        (
            Settings {
                cert_file: Some(pair.cert.clone()),
                ..https.clone()
            },
            "funds.key_file must be set",
        ),
        (
            Settings {
                key_file: Some(pair.key.clone()),
                ..https.clone()
            },
            "funds.cert_file must be set",
        ),
        (
            Settings {
                ca_file: Some("/nowhere/ca.pem".into()),
                ..https
            },
            "funds.ca_file: cannot read /nowhere/ca.pem",
        ),
        (
            Settings {
                domain: Some("funds.test".to_owned()),
                ..settings("http://127.0.0.1:1")
            },
            "funds.domain is for an https url",
        ),
    ] {
        let error = GrpcFunds::connect(&settings)
            .await
            .err()
            .expect("no client");
        assert!(error.to_string().starts_with(said), "{error}");
    }
}

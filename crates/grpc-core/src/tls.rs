//! TLS of both sides, from PEM files.

use crate::settings::{Settings, SetupError};
use std::path::{Path, PathBuf};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

fn read(section: &'static str, key: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::File {
        section,
        key,
        path: path.to_owned(),
        source,
    })
}

/// The TLS of a client; none for an http url.
pub(crate) fn of_client(settings: &Settings) -> Result<Option<ClientTlsConfig>, SetupError> {
    let section = settings.section;
    let is_https = settings.url.starts_with("https://");
    if !is_https {
        if !settings.url.starts_with("http://") {
            return Err(settings.wrong("url", "must be http://host:port or https://host:port"));
        }
        let unused = [
            ("ca_file", settings.ca_file.is_some()),
            ("cert_file", settings.cert_file.is_some()),
            ("key_file", settings.key_file.is_some()),
            ("domain", settings.domain.is_some()),
        ];
        return match unused.into_iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => Err(settings.wrong(key, "is for an https url, and url is not one")),
            None => Ok(None),
        };
    }
    let ca = settings.ca_file.as_deref().ok_or_else(|| {
        settings.wrong(
            "ca_file",
            "must name who signed the server's certificate, for an https url",
        )
    })?;
    let ca = Certificate::from_pem(read(section, "ca_file", ca)?);
    let mut tls = ClientTlsConfig::new().ca_certificate(ca);
    if let Some(domain) = &settings.domain {
        tls = tls.domain_name(domain);
    }
    match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => {
            let cert = read(section, "cert_file", cert)?;
            let key = read(section, "key_file", key)?;
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        (Some(_), None) => {
            return Err(settings.wrong("key_file", "must be set, because cert_file is"));
        }
        (None, Some(_)) => {
            return Err(settings.wrong("cert_file", "must be set, because key_file is"));
        }
        (None, None) => {}
    }
    Ok(Some(tls))
}

/// The TLS of a server: its certificate and key, and who signed its clients' certificates.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The server's certificate, PEM.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
    /// Who signed the clients' certificates, PEM; a client without one is turned away. None:
    /// whoever reaches the port is believed.
    pub client_ca_file: Option<PathBuf>,
}

impl ServerTls {
    /// The section of the configuration, for messages.
    const SECTION: &'static str = "tls";

    /// What the transport takes.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn config(&self) -> Result<ServerTlsConfig, SetupError> {
        let cert = read(Self::SECTION, "cert_file", &self.cert_file)?;
        let key = read(Self::SECTION, "key_file", &self.key_file)?;
        let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(cert, key));
        if let Some(ca) = &self.client_ca_file {
            let ca = Certificate::from_pem(read(Self::SECTION, "client_ca_file", ca)?);
            tls = tls.client_ca_root(ca);
        }
        Ok(tls)
    }
}

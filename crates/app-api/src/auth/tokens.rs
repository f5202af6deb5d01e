//! Makes and checks tokens.

use super::{
    Claims, Role,
    fetch::Keys,
    secret::{self, NoSecret},
};
use crate::config::{AuthSettings, TokenAlgorithm};
use anyhow::{Context, bail};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use serde::Serialize;
use std::{path::Path, sync::Arc};
use tokio_util::sync::CancellationToken;

/// The longest token that is looked at, in bytes.
const TOKEN_MAX: usize = 8 << 10;

/// Checks tokens, and makes those of HS256. Clones share it.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    trust: Trust,
    validation: Validation,
    issuer: Option<String>,
    audience: Option<String>,
}

enum Trust {
    /// HS256.
    Secret(EncodingKey, DecodingKey),
    /// RS256 or ES256.
    Keys(Arc<Keys>),
}

/// What is signed.
#[derive(Serialize)]
struct Signed<'a> {
    sub: &'a str,
    role: Role,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Tokens {
    /// The tokens of a server. It makes a secret where it needs one and there is none, and keeps
    /// its key set fresh until `stopping`.
    ///
    /// # Errors
    /// When the secret or the key set cannot be had.
    pub(crate) async fn of_server(
        settings: &AuthSettings,
        data_dir: Option<&Path>,
        stopping: &CancellationToken,
    ) -> anyhow::Result<Self> {
        match settings.algorithm {
            TokenAlgorithm::Hs256 => Self::shared(settings, data_dir, NoSecret::Make),
            algorithm @ (TokenAlgorithm::Rs256 | TokenAlgorithm::Es256) => {
                let keys = Keys::start(settings, stopping)
                    .await
                    .with_context(|| format!("no keys for {} tokens", algorithm.name()))?;
                Ok(Self::new(settings, Trust::Keys(keys)))
            }
        }
    }

    /// The tokens of a command that signs.
    ///
    /// # Errors
    /// When there is no secret to sign with.
    pub(crate) fn of_signer(
        settings: &AuthSettings,
        data_dir: Option<&Path>,
    ) -> anyhow::Result<Self> {
        match settings.algorithm {
            TokenAlgorithm::Hs256 => Self::shared(settings, data_dir, NoSecret::Refuse),
            algorithm => bail!(
                "auth.algorithm is {}: such tokens are signed by whoever holds the private key; \
                 this command signs HS256 alone",
                algorithm.name()
            ),
        }
    }

    fn shared(
        settings: &AuthSettings,
        data_dir: Option<&Path>,
        no_secret: NoSecret,
    ) -> anyhow::Result<Self> {
        let secret = match (settings.hs256_secret.expose(), data_dir) {
            (Some(secret), _) => secret.as_bytes().to_vec(),
            (None, Some(dir)) => secret::of_directory(dir, no_secret)?,
            (None, None) => {
                bail!("set GUAFEN_AUTH__HS256_SECRET, or name the --data-dir that keeps a secret")
            }
        };
        let trust = Trust::Secret(
            EncodingKey::from_secret(&secret),
            DecodingKey::from_secret(&secret),
        );
        Ok(Self::new(settings, trust))
    }

    fn new(settings: &AuthSettings, trust: Trust) -> Self {
        let mut validation = Validation::new(match settings.algorithm {
            TokenAlgorithm::Hs256 => Algorithm::HS256,
            TokenAlgorithm::Rs256 => Algorithm::RS256,
            TokenAlgorithm::Es256 => Algorithm::ES256,
        });
        validation.leeway = settings.leeway_s;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &settings.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        match &settings.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            // A token that names an audience is as good here as one that does not.
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        Self(Arc::new(Inner {
            trust,
            validation,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
        }))
    }

    /// A signed token that expires at `exp`, seconds since 1970.
    pub(crate) fn sign(&self, sub: &str, role: Role, exp: u64) -> anyhow::Result<String> {
        let Inner {
            trust,
            issuer,
            audience,
            ..
        } = &*self.0;
        let Trust::Secret(key, _) = trust else {
            bail!("there is no secret to sign with");
        };
        let claims = Signed {
            sub,
            role,
            exp,
            iss: issuer.as_deref(),
            aud: audience.as_deref(),
        };
        Ok(encode(&Header::new(Algorithm::HS256), &claims, key)?)
    }

    /// What a token says, if it is valid now.
    pub(crate) async fn check(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        // Extensions that must be understood (RFC 7515, 4.1.11): we understand none.
        if header.crit.is_some() || !self.0.validation.algorithms.contains(&header.alg) {
            return None;
        }
        match &self.0.trust {
            Trust::Secret(_, key) => self.verify(token, key),
            Trust::Keys(keys) => {
                let kid = header.kid.as_deref();
                let mut set = keys.current();
                if set.select(kid).is_empty() && kid.is_some() {
                    keys.refresh().await;
                    set = keys.current();
                }
                set.select(kid)
                    .into_iter()
                    .find_map(|key| self.verify(token, key))
            }
        }
    }

    fn verify(&self, token: &str, key: &DecodingKey) -> Option<Claims> {
        decode::<Claims>(token, key, &self.0.validation)
            .ok()
            .map(|data| data.claims)
    }
}

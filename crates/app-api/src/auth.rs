//! Who calls: a bearer JWT, HS256, with subject, role and expiry. The algorithm is pinned.

use crate::{problem::Problem, state::App};
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
};
use domain::ids::{SenderId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Plays, for the token's subject alone.
    Player,
    /// Runs contests, and reads what players read.
    Operator,
    /// Sends events.
    Service,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    role: Role,
    exp: u64,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

/// Clocks of callers and ours may differ by this, in seconds.
const LEEWAY_S: u64 = 5;

impl Tokens {
    /// Tokens signed with this secret.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        // Audiences are not configured here; a token that names one is as good as one that does not.
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        let (encoding, decoding) = (
            EncodingKey::from_secret(secret),
            DecodingKey::from_secret(secret),
        );
        Self {
            encoding,
            decoding,
            validation,
        }
    }

    /// A signed token that expires at `exp`, seconds since 1970.
    pub(crate) fn sign(
        &self,
        sub: &str,
        role: Role,
        exp: u64,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        encode(
            &Header::new(Algorithm::HS256),
            &Claims {
                sub: sub.to_owned(),
                role,
                exp,
            },
            &self.encoding,
        )
    }

    fn check(&self, token: &str) -> Option<Claims> {
        decode::<Claims>(token, &self.decoding, &self.validation)
            .ok()
            .map(|data| data.claims)
    }
}

/// A caller with a valid token.
pub(crate) struct Caller {
    subject: String,
    role: Role,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let unauthorized = |detail| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| unauthorized("a bearer token is needed"))?;
        let Claims { sub, role, exp: _ } = app
            .tokens
            .check(token)
            .ok_or_else(|| unauthorized("the token is not valid"))?;
        Ok(Self { subject: sub, role })
    }
}

impl Caller {
    fn allow(&self, roles: &[Role]) -> Result<(), Problem> {
        if roles.contains(&self.role) {
            Ok(())
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "the token's role may not do this",
            ))
        }
    }

    /// The viewer who plays.
    pub(crate) fn player(&self) -> Result<UserId, Problem> {
        self.allow(&[Role::Player])?;
        self.user()
    }

    /// The viewer or operator who reads.
    pub(crate) fn reader(&self) -> Result<UserId, Problem> {
        self.allow(&[Role::Player, Role::Operator])?;
        self.user()
    }

    /// An operator.
    pub(crate) fn operator(&self) -> Result<(), Problem> {
        self.allow(&[Role::Operator])
    }

    /// Who sends events.
    pub(crate) fn sender(&self) -> Result<SenderId, Problem> {
        self.allow(&[Role::Service])?;
        self.subject.parse().map_err(|_| Self::bad_subject())
    }

    fn user(&self) -> Result<UserId, Problem> {
        self.subject.parse().map_err(|_| Self::bad_subject())
    }

    fn bad_subject() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the token's subject is not a user id",
        )
    }
}

//! Who calls: a bearer JWT, HS256, with subject, role and expiry. The algorithm is pinned.

use crate::{
    extract::parse_id,
    problem::{Code, Problem},
    state::App,
};
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use domain::ids::{InvalidId, SenderId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

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
struct Caller {
    subject: String,
    role: Role,
}

/// A viewer who plays: the token's subject, and nobody else.
pub(crate) struct Player(pub(crate) UserId);
/// A viewer or an operator who reads.
pub(crate) struct Reader(pub(crate) UserId);
/// An operator.
pub(crate) struct Operator;
/// A system that sends events.
pub(crate) struct Sender(pub(crate) SenderId);

impl Caller {
    fn of(parts: &Parts, app: &App) -> Result<Self, Problem> {
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Problem::unauthorized("a bearer token is needed"))?;
        let Claims { sub, role, exp: _ } = app
            .tokens
            .check(token)
            .ok_or_else(|| Problem::unauthorized("the token is not valid, or no longer"))?;
        Ok(Self { subject: sub, role })
    }

    fn allow(self, roles: &[Role]) -> Result<Self, Problem> {
        if roles.contains(&self.role) {
            return Ok(self);
        }
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        let detail = format!("this takes a token of the role {}", names.join(" or "));
        Err(Problem::new(Code::Forbidden, detail))
    }

    fn subject<T: FromStr<Err = InvalidId>>(&self) -> Result<T, Problem> {
        let invalid = |_| Problem::unauthorized("the token's subject is not a user id");
        parse_id(&self.subject).map_err(invalid)
    }
}

macro_rules! caller {
    ($name:ident, [$($role:ident),+], $made:expr) => {
        // The role is judged before anything else of the request is read.
        impl FromRequestParts<App> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
                let caller = Caller::of(parts, app)?.allow(&[$(Role::$role),+])?;
                let made: fn(&Caller) -> Result<Self, Problem> = $made;
                made(&caller)
            }
        }
    };
}

caller!(Player, [Player], |caller| caller.subject().map(Self));
caller!(Reader, [Player, Operator], |caller| caller
    .subject()
    .map(Self));
caller!(Operator, [Operator], |_| Ok(Self));
caller!(Sender, [Service], |caller| caller.subject().map(Self));

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Player => "player",
            Self::Operator => "operator",
            Self::Service => "service",
        }
    }
}

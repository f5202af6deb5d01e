//! Who calls: a bearer JWT with subject, role and expiry. The algorithm is pinned by the
//! configuration; what a token says about its own algorithm only has to agree.

mod fetch;
mod keys;
pub(crate) mod secret;
mod tokens;

pub(crate) use tokens::Tokens;

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

/// What a valid token says.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    sub: String,
    role: Role,
}

/// A caller with a valid token.
struct Caller {
    subject: String,
    role: Role,
}

/// A viewer who plays: the token's subject, and nobody else.
pub(crate) struct Player(pub(crate) UserId);
/// A viewer or an operator who reads.
pub(crate) struct Reader(pub(crate) UserId, pub(crate) Role);
/// An operator.
pub(crate) struct Operator(pub(crate) UserId);
/// A system that sends events.
pub(crate) struct Sender(pub(crate) SenderId);

impl Caller {
    async fn of(parts: &Parts, app: &App) -> Result<Self, Problem> {
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let token = headers
            .next()
            // Two of them: which one would count is a guess that somebody else may make otherwise.
            .filter(|_| headers.next().is_none())
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Problem::unauthorized("a bearer token is needed"))?;
        let Claims { sub, role } = app
            .tokens
            .check(token)
            .await
            .ok_or_else(|| Problem::unauthorized("the token is not valid, or no longer"))?;
        let caller = Self { subject: sub, role };
        match role {
            Role::Player | Role::Operator => drop(caller.subject::<UserId>()?),
            Role::Service => drop(caller.subject::<SenderId>()?),
        }
        if role != Role::Service {
            app.edge.rates.admit_user(&caller.subject)?;
        }
        Ok(caller)
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
                let caller = Caller::of(parts, app).await?.allow(&[$(Role::$role),+])?;
                let made: fn(&Caller) -> Result<Self, Problem> = $made;
                made(&caller)
            }
        }
    };
}

caller!(Player, [Player], |caller| caller.subject().map(Self));
caller!(Reader, [Player, Operator], |caller| caller
    .subject()
    .map(|user| Self(user, caller.role)));
caller!(Operator, [Operator], |caller| caller.subject().map(Self));
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

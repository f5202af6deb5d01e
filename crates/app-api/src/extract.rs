//! Bodies, paths and queries, parsed; whatever is wrong with them is a problem with a pointer.

use crate::problem::{Code, Fault, FaultCode, Problem};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
};
use domain::ids::InvalidId;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                value
                    .split(';')
                    .next()
                    .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
            });
        let bytes = bytes(request, state).await?;
        if !is_json {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "the content type must be application/json",
            ));
        }
        parse(&bytes).map(Self)
    }
}

/// A body that may be empty, which is as good as `{}`. Without fields it may be nothing else.
pub(crate) struct OptionalBody<T>(pub(crate) T);

/// The fields of a body that has none.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoFields {}

/// A body that may be empty or `{}`, and nothing else.
pub(crate) type NoBody = OptionalBody<NoFields>;

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = bytes(request, state).await?;
        // serde takes a list of nothing for an object without fields.
        let is_list = bytes.trim_ascii_start().starts_with(b"[");
        if is_list && serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok() {
            return Err(Problem::fault(
                "",
                FaultCode::InvalidType,
                "must be an object",
            ));
        }
        let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        parse(text).map(Self)
    }
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection: BytesRejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Code::BodyTooLarge, "the body must be at most 1 MiB")
            } else {
                Problem::new(Code::BodyNotRead, "the body could not be read")
            }
        })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let malformed = |error: serde_json::Error| Problem::new(Code::MalformedJson, error.to_string());
    // Fields have names: a list of values in their order is not taken for an object. Only a batch
    // is a list, of objects.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(malformed)?;
    if let Some(pointer) = misplaced_list(&value) {
        return Err(Problem::fault(
            pointer,
            FaultCode::InvalidType,
            "must not be a list",
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        if error.is_data() {
            misfit(pointer, &error.to_string())
        } else {
            malformed(error)
        }
    })
}

/// The fields that are lists.
const LISTS: &[&str] = &[
    "/fee_tiers",
    "/finding_ids",
    "/variants",
    "/rooms",
    "/task_kinds",
    "/guardrails",
    "/definition/variants",
    "/definition/rooms",
    "/definition/task_kinds",
    "/definition/guardrails",
];

fn misplaced_list(value: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    fn nested(value: &Value, pointer: &str) -> Option<String> {
        match value {
            Value::Array(_) if LISTS.contains(&pointer) => None,
            Value::Array(_) => Some(pointer.to_owned()),
            Value::Object(fields) => fields
                .iter()
                .find_map(|(name, value)| nested(value, &format!("{pointer}/{}", escaped(name)))),
            _ => None,
        }
    }
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| nested(item, &format!("/{index}"))),
        other => nested(other, ""),
    }
}

/// What serde says about a value that does not fit, in the words of this API.
fn misfit(pointer: String, said: &str) -> Problem {
    let said = said.split(" at line ").next().unwrap_or(said);
    let quoted = || said.split('`').nth(1).unwrap_or_default();
    let at = |field: &str| {
        let field = escaped(field);
        if pointer.ends_with(&format!("/{field}")) {
            pointer.clone()
        } else {
            format!("{pointer}/{field}")
        }
    };
    if said.starts_with("missing field") {
        return Problem::fault(at(quoted()), FaultCode::Missing, "is needed");
    }
    if said.starts_with("unknown field") {
        return Problem::fault(
            at(quoted()),
            FaultCode::UnknownField,
            "there is no such field",
        );
    }
    if said.starts_with("duplicate field") {
        return Problem::fault(at(quoted()), FaultCode::DuplicateField, "is there twice");
    }
    let wanted = said.rsplit("expected ").next().unwrap_or_default();
    let wanted = match wanted {
        "u64" | "u32" | "u16" => "a whole number that is not negative, and not too large",
        "a string" => "a string",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        _ => "an object",
    };
    Problem::fault(pointer, FaultCode::InvalidType, format!("must be {wanted}"))
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escaped(key)),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// An id, but `.` and `..`: clients and proxies drop those from a path, so what is named so could
/// not be asked for.
pub(crate) fn parse_id<T: FromStr<Err = InvalidId>>(text: &str) -> Result<T, InvalidId> {
    let id = text.parse()?;
    if matches!(text, "." | "..") {
        return Err(InvalidId {
            kind: "id",
            rule: "must not be . or ..",
        });
    }
    Ok(id)
}

/// One segment of the path, parsed as an id. A text that is no id names nothing: 404.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr<Err = InvalidId>> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let text = path
            .map(|axum::extract::Path(text)| text)
            .unwrap_or_default();
        parse_id(&text)
            .map(Self)
            .map_err(|_| Problem::new(Code::NotFound, "there is nothing of that id"))
    }
}

/// The query.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| query_problem(&rejection.body_text()))
    }
}

/// `Failed to deserialize query string: limit: invalid digit found in string`, in our words.
fn query_problem(said: &str) -> Problem {
    let said = said.split_once(": ").map_or(said, |(_, rest)| rest);
    for (rule, code, detail) in [
        (
            "unknown",
            FaultCode::UnknownField,
            "there is no such parameter",
        ),
        ("duplicate", FaultCode::DuplicateField, "is there twice"),
        ("missing", FaultCode::Missing, "is needed"),
    ] {
        // What comes before it is the name again.
        if let Some((_, rest)) = said.split_once(&format!("{rule} field `")) {
            let name = rest.split('`').next().unwrap_or_default();
            return Problem::fault(format!("/{}", escaped(name)), code, detail);
        }
    }
    match said.split_once(": ") {
        Some((name, _)) => Problem::fault(
            format!("/{}", escaped(name)),
            FaultCode::InvalidType,
            "is not of the right form",
        ),
        None => Problem::fault("", FaultCode::InvalidQuery, said),
    }
}

/// The `Idempotency-Key` header, if there is one.
pub(crate) struct IdempotencyKey(pub(crate) Option<domain::ids::IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        const NAME: &str = "idempotency-key";
        let mut values = parts.headers.get_all(NAME).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let key = value.to_str().unwrap_or_default().parse();
        match (key, values.next()) {
            (Ok(key), None) => Ok(Self(Some(key))),
            (Err(error), _) => {
                let error: domain::ids::InvalidId = error;
                Err(Problem::fault(
                    "/Idempotency-Key",
                    FaultCode::InvalidId,
                    error.to_string(),
                ))
            }
            (Ok(_), Some(_)) => Err(Problem::fault(
                "/Idempotency-Key",
                FaultCode::DuplicateField,
                "is there twice",
            )),
        }
    }
}

/// Collects what is wrong with a request, so that all of it can be said at once.
#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// The value of a field, or a fault.
    pub(crate) fn check<T, E: std::fmt::Display>(
        &mut self,
        pointer: &str,
        code: FaultCode,
        value: Result<T, E>,
    ) -> Option<T> {
        value
            .map_err(|error| self.push(pointer, code, error.to_string()))
            .ok()
    }

    /// A fault.
    pub(crate) fn push(&mut self, pointer: &str, code: FaultCode, detail: impl Into<String>) {
        self.0.push(Fault {
            pointer: pointer.to_owned(),
            code,
            detail: detail.into(),
        });
    }

    /// The problem, if there is any fault.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(self.0))
        }
    }
}

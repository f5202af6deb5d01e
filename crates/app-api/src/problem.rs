//! Errors as `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! What a client reads is written here; what an operator reads goes to the log. No internal
//! detail has a way into a response.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use usecases::Failure;

mod codes;

pub(crate) use codes::{Code, EventCode, FaultCode};

/// One fault of a request body or query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// JSON pointer to what is wrong.
    pub(crate) pointer: String,
    /// The stable name of the rule.
    pub(crate) code: FaultCode,
    /// The rule, for people.
    pub(crate) detail: String,
}

/// One problem.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<Fault>,
    retry_after_s: Option<u16>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(Code::Unauthorized, detail)
    }

    /// What must not happen; the log has the rest.
    pub(crate) fn internal() -> Self {
        Self::new(
            Code::InternalError,
            "something is wrong on our side; it has been reported",
        )
    }

    /// A request that breaks rules; all of them at once.
    pub(crate) fn invalid(errors: Vec<Fault>) -> Self {
        let detail = errors
            .iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
            .collect::<Vec<_>>();
        let problem = Self::new(Code::InvalidRequest, detail.join("; "));
        Self { errors, ..problem }
    }

    /// One broken rule.
    pub(crate) fn fault(
        pointer: impl Into<String>,
        code: FaultCode,
        detail: impl Into<String>,
    ) -> Self {
        Self::invalid(vec![Fault {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        }])
    }

    /// The same for a request that is not safe to repeat.
    pub(crate) fn not_repeatable(self, detail: &str) -> Self {
        if self.code == Code::Unavailable {
            Self {
                detail: detail.to_owned(),
                retry_after_s: None,
                ..self
            }
        } else {
            self
        }
    }

    pub(crate) fn retry_after(self, seconds: u16) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..self
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = Body {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code.name(),
            detail: &self.detail,
            errors: &self.errors,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let error = &failure as &dyn std::error::Error;
        match &failure {
            Failure::Store(ports::store::StoreError::Inconsistent { .. })
            | Failure::Transition(_)
            | Failure::Phase(_)
            | Failure::Crashed(_)
            | Failure::Books(_) => {
                tracing::error!(error, "a request met an impossible state");
                Self::internal()
            }
            Failure::Store(_)
            | Failure::Funds(_)
            | Failure::Gone(_)
            | Failure::Contended(_)
            | Failure::Fenced => {
                tracing::warn!(error, "a request could not be carried through");
                Self::new(
                    Code::Unavailable,
                    "a system behind this one did not answer; repeat the request, nothing happens twice",
                )
                .retry_after(1)
            }
        }
    }
}

impl From<ports::store::StoreError> for Problem {
    fn from(error: ports::store::StoreError) -> Self {
        Failure::from(error).into()
    }
}

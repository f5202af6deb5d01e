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

/// One fault of a request body or query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// JSON pointer to what is wrong.
    pub(crate) pointer: String,
    /// The stable name of the rule.
    pub(crate) code: &'static str,
    /// The rule, for people.
    pub(crate) detail: String,
}

/// One problem.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
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
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// A request that breaks rules; all of them at once.
    pub(crate) fn invalid(errors: Vec<Fault>) -> Self {
        let detail = errors
            .iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
            .collect::<Vec<_>>();
        let problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            detail.join("; "),
        );
        Self { errors, ..problem }
    }

    /// One broken rule.
    pub(crate) fn fault(
        pointer: impl Into<String>,
        code: &'static str,
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
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
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
        let body = Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            errors: &self.errors,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
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
            | Failure::Books(_) => {
                tracing::error!(error, "a request met an impossible state");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "something is wrong on our side; it has been reported",
                )
            }
            Failure::Store(_) | Failure::Funds(_) | Failure::Gone(_) | Failure::Contended(_) => {
                tracing::warn!(error, "a request could not be carried through");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
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

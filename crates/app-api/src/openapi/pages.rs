//! What is served of the document: itself, and pages to browse it that need no internet.

use crate::problem::{Code, Problem};
use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
};
use std::sync::LazyLock;
use utoipa_swagger_ui::{Config, SwaggerUi};

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| super::document(crate::routes::api().get_openapi()).to_string());

/// What the pages may load: nothing but what this server sends. Their styles are written inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// This document
///
/// OpenAPI 3.1, to browse at `/docs`.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", operation_id = "openapi",
    responses((status = 200, body = serde_json::Value, content_type = "application/json", description = "The document")),
)]
pub(crate) async fn document_json() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], DOCUMENT.as_str()).into_response()
}

/// The pages at `/docs`.
pub(crate) fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let config = Config::new(["/openapi.json"])
        // Else the page asks a server on the internet to judge the document.
        .validator_url("none")
        .use_base_layout();
    Router::from(SwaggerUi::new("/docs").config(config)).layer(map_response(guarded))
}

async fn guarded(mut response: Response) -> Response {
    if response.status() == StatusCode::NOT_FOUND {
        return Problem::new(Code::NotFound, "there is no such path").into_response();
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

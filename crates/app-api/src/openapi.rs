//! The document at `/openapi.json` and the pages at `/docs`.
//!
//! How to add a route: write the handler with `#[utoipa::path(...)]` above it and name it in
//! `routes::api` with `routes!`; there is no other way in. In the attribute stand
//!
//! - method, path, `tag`, `operation_id` and the answers that are no errors, with their bodies;
//! - `params(("id" = vocabulary::ContestId, Path, ...))`; a query derives `IntoParams`;
//! - `request_body = NewContest`, or `request_body = Option<vocabulary::NoFields>` for `NoBody`;
//! - `extensions(("x-role" = json!([Role::Player])), ("x-problems" = json!([Code::PoolFull])))`:
//!   who may call, as the extractor says (a test compares), and what only this call can answer.
//!   A call without `x-role` takes no token.
//!
//! What many calls can answer is added here ([`common_problems`]): 401 and 403 by role, 404 by
//! ids in the path, 400, 408, 413, 415 and 422 by body, 422 by query, 429 where there is a
//! token, 414, 431, 500 and 503 everywhere.
//! Fields of wire types name their words in [`vocabulary`].

pub(crate) mod pages;
pub(crate) mod vocabulary;

pub(crate) use pages::pages;

use crate::problem::{Code, FaultCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DESCRIPTION: &str = "Prize-pool contests for live rooms: viewers pay coins to sign up, and \
those who finish their task split the pool.\n\n\
A contest is created by an operator, takes signups from `signup_opens_at` to `signup_closes_at`, \
counts events until `tasks_end_at`, is frozen, and pays its prizes. `PUT` calls may be repeated at \
will: nobody is charged or paid twice.\n\n\
Errors are `application/problem+json` (RFC 9457) with a stable `code`; branch on it. Times are RFC \
3339 in UTC with milliseconds, coins whole numbers up to 2^53 − 1. Lists page by cursor: ask again \
with `cursor` = `next_cursor` until it is null. A request refuses fields and parameters that it \
does not know.\n\n\
Callers show a bearer JWT with `sub`, `role` (`player`, `operator` or `service`) and `exp`; \
`x-role` names the roles that a call takes. A player acts for `sub` alone. A path that is not here \
answers 404 `not_found`, a method that is not here 405 `method_not_allowed` with `Allow`; `GET` \
calls take `HEAD` too.";

const TAGS: &[(&str, &str)] = &[
    ("contests", "What viewers see and do."),
    (
        "operations",
        "What operators do: create, cancel and settle contests, look into them.",
    ),
    (
        "experiments",
        "A/B experiments: what is varied, for whom, and how long.",
    ),
    (
        "events",
        "What viewers did in rooms, told by the systems that saw it.",
    ),
    (
        "sandbox",
        "Play coins of the embedded default and the reference ledger.",
    ),
    (
        "service",
        "Whether the service is alive, and this document.",
    ),
];

/// The longest wait that `Retry-After` names, in seconds.
const RETRY_AFTER_S_MAX: u32 = 3_600;

/// The finished document: what utoipa collected, and everything that it leaves open.
pub(crate) fn document(collected: &utoipa::openapi::OpenApi) -> Value {
    // A document that does not serialise is caught by every test that asks for it.
    let mut document = serde_json::to_value(collected).unwrap_or_default();
    document["info"] = json!({
        "title": "guafen",
        "summary": "Prize-pool contests for live rooms",
        "description": DESCRIPTION,
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    document["servers"] = json!([{ "url": "/", "description": "This instance" }]);
    document["tags"] = TAGS
        .iter()
        .map(|(name, description)| json!({ "name": name, "description": description }))
        .collect();
    document["components"]["securitySchemes"] = json!({ "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "`app-api token --user U --role R --data-dir DIR` makes one.",
    }});
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.insert("Problem".to_owned(), problem());
        schemas.insert("Fault".to_owned(), fault());
    }
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            if let Some(operation) = operation.as_object_mut() {
                finish(path, operation);
            }
        }
    }
    tidy(&mut document);
    document
}

/// Says who may call, and adds every problem that the call can answer.
fn finish(path: &str, operation: &mut Map<String, Value>) {
    let roles: Vec<String> = operation
        .get("x-role")
        .and_then(|roles| serde_json::from_value(roles.clone()).ok())
        .unwrap_or_default();
    let security = roles.iter().map(|role| json!({ "bearer": [role] }));
    operation.insert("security".to_owned(), security.collect());
    if !roles.is_empty() {
        let said = operation.get("description").and_then(Value::as_str);
        let roles = roles.join(" or ");
        let said = said.map_or_else(String::new, |said| format!("{said}\n\n"));
        let said = format!("{said}Takes a token of the role {roles}.");
        operation.insert("description".to_owned(), said.into());
    }
    let own = operation.remove("x-problems").unwrap_or_default();
    let own = own.as_array().into_iter().flatten();
    let mut problems: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    let codes = own
        .filter_map(|name| Code::named(name.as_str()?))
        .chain(common_problems(path, operation, !roles.is_empty()));
    for code in codes {
        let of_status = problems.entry(code.status().as_u16()).or_default();
        if !of_status.contains(&code) {
            of_status.push(code);
        }
    }
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for (status, codes) in problems {
        responses.insert(status.to_string(), answer(status, &codes));
    }
}

/// What a call can answer because of its form, whatever it does.
fn common_problems(path: &str, operation: &Map<String, Value>, takes_token: bool) -> Vec<Code> {
    let mut codes = vec![
        Code::InternalError,
        Code::Unavailable,
        Code::UriTooLong,
        Code::HeadersTooLarge,
    ];
    if takes_token {
        codes.extend([
            Code::Unauthorized,
            Code::Forbidden,
            Code::RateLimited,
            Code::Overloaded,
        ]);
    }
    if path.contains('{') {
        codes.push(Code::NotFound);
    }
    let parameters = operation.get("parameters").and_then(Value::as_array);
    let has_query = parameters
        .into_iter()
        .flatten()
        .any(|parameter| parameter["in"] != "path");
    if has_query {
        codes.push(Code::InvalidRequest);
    }
    if let Some(body) = operation.get("requestBody") {
        codes.extend([
            Code::MalformedJson,
            Code::BodyNotRead,
            Code::RequestTimeout,
            Code::BodyTooLarge,
            Code::InvalidRequest,
        ]);
        if body["required"] == true {
            codes.push(Code::UnsupportedMediaType);
        }
    }
    codes
}

/// The answer of one status that is a problem.
fn answer(status: u16, codes: &[Code]) -> Value {
    let names: Vec<&str> = codes.iter().map(|code| code.name()).collect();
    let lines: Vec<String> = codes.iter().map(|code| code.entry().line()).collect();
    let mut answer = json!({
        "description": lines.join("\n"),
        "content": { "application/problem+json": { "schema": { "allOf": [
            { "$ref": "#/components/schemas/Problem" },
            {
                "type": "object",
                "properties": { "status": { "const": status }, "code": { "enum": names } },
                "required": if status == 422 { json!(["errors"]) } else { json!([]) },
            },
        ]}}},
    });
    let headers = match status {
        401 => json!({ "WWW-Authenticate": {
            "description": "How to sign in.",
            "required": true,
            "schema": { "type": "string", "pattern": "^Bearer" },
        }}),
        409 if codes.contains(&Code::NotClaimableYet) => retry_after(false),
        429 => retry_after(true),
        // Left out where a repeat could do a thing twice.
        503 => retry_after(false),
        _ => return answer,
    };
    answer["headers"] = headers;
    answer
}

fn retry_after(is_required: bool) -> Value {
    json!({ "Retry-After": {
        "description": "Seconds to wait before the request is repeated.",
        "required": is_required,
        "schema": { "type": "integer", "minimum": 1, "maximum": RETRY_AFTER_S_MAX },
    }})
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "properties": {
            "type": { "const": "about:blank" },
            "title": { "type": "string", "description": "The status in words." },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "code": { "type": "string", "description": "What went wrong; stable." },
            "detail": { "type": "string", "description": "What went wrong, for people." },
            "errors": {
                "type": "array",
                "minItems": 1,
                "description": "Every rule that the request breaks.",
                "items": { "$ref": "#/components/schemas/Fault" },
            },
        },
        "required": ["type", "title", "status", "code", "detail"],
        "examples": [{
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "code": "not_found",
            "detail": "there is no such contest",
        }],
    })
}

fn fault() -> Value {
    let codes: Vec<&str> = FaultCode::ALL.iter().map(|code| code.name()).collect();
    let lines: Vec<String> = FaultCode::ALL
        .iter()
        .map(|code| code.entry().line())
        .collect();
    json!({
        "type": "object",
        "description": "One rule that a request breaks.",
        "properties": {
            "pointer": {
                "type": "string",
                "description": "A JSON pointer into the body, or `/` and the name of a parameter.",
            },
            "code": { "enum": codes, "description": format!("Which rule; stable.\n\n{}", lines.join("\n")) },
            "detail": { "type": "string", "description": "The rule, for people." },
        },
        "required": ["pointer", "code", "detail"],
    })
}

/// Gives every answer a description, and takes away what would mislead: the sign of a number is
/// said by `minimum`, not by a format of its own.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_answer = fields.contains_key("content") || fields.contains_key("headers");
            if is_answer && !fields.contains_key("description") {
                fields.insert("description".to_owned(), "".into());
            }
            let format = fields.get("format").and_then(Value::as_str);
            if format.is_some_and(|format| format.starts_with("uint")) {
                fields.remove("format");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain `.route(` would be a call that the document does not know.
    #[test]
    fn every_route_comes_with_its_documentation() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/routes");
        let files: Vec<_> = std::fs::read_dir(dir).expect("the routes").collect();
        assert!(files.len() > 3);
        for file in files {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a source file");
            assert!(!text.contains(".route("), "{}: use routes!", path.display());
        }
    }

    #[test]
    fn the_document_is_complete() {
        let document = document(crate::routes::api().get_openapi());
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let at = format!("{method} {path}");
                let id = operation["operationId"].as_str().expect("an id");
                assert!(ids.insert(id.to_owned()), "{at}: {id} is there twice");
                for field in ["summary", "tags", "responses", "security"] {
                    assert!(!operation[field].is_null(), "{at} has no {field}");
                }
                assert!(operation.get("x-problems").is_none(), "{at}");
                for (status, answer) in operation["responses"].as_object().expect("answers") {
                    let said = answer["description"].as_str().unwrap_or_default();
                    assert!(!said.is_empty(), "{at}: {status} has no description");
                }
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let said = parameter["description"].as_str().unwrap_or_default();
                    assert!(
                        !said.is_empty(),
                        "{at}: {} is not described",
                        parameter["name"]
                    );
                }
            }
        }
        let schemas = document["components"]["schemas"]
            .as_object()
            .expect("schemas");
        for (name, schema) in schemas {
            let said = schema["description"].as_str().unwrap_or_default();
            assert!(!said.is_empty(), "{name} is not described");
            assert!(!name.contains("View") && !name.contains("Body"), "{name}");
        }
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                let to = fields.get("$ref").and_then(Value::as_str);
                found.extend(to.map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(crate::routes::api().get_openapi());
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for to in found {
            let pointer = to
                .strip_prefix('#')
                .expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{to}");
        }
    }

    #[test]
    fn extensions_name_codes_of_the_table() {
        let collected = serde_json::to_value(crate::routes::api().get_openapi()).expect("JSON");
        for item in collected["paths"].as_object().expect("paths").values() {
            for operation in item.as_object().expect("operations").values() {
                for name in operation["x-problems"].as_array().into_iter().flatten() {
                    let name = name.as_str().expect("a name");
                    assert!(Code::named(name).is_some(), "{name}");
                }
            }
        }
    }
}

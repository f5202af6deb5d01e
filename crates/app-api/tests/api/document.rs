//! The served document, and whether an answer is one that it knows.

use axum::http::{HeaderMap, StatusCode};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

/// Served, but pages for people and no calls.
const PAGES: &[&str] = &["/docs", "/"];

/// The document of a running server.
pub(crate) struct Document {
    pub(crate) value: Value,
    strict: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    pub(crate) fn new(value: Value) -> Self {
        let mut strict = value.clone();
        close(&mut strict, false);
        Self {
            value,
            strict,
            validators: Mutex::default(),
        }
    }

    /// Every operation: method in upper case, path, and what the document says of it.
    pub(crate) fn operations(&self) -> Vec<(String, String, &Value)> {
        let paths = self.value["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, item)| {
            let item = item.as_object().expect("a path item");
            item.iter()
                .map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
        });
        operations.collect()
    }

    /// The path of the document that a request's path is one of; literal segments come first.
    fn template(&self, path: &str) -> Option<String> {
        let paths = self.value["paths"].as_object()?;
        let wanted: Vec<&str> = path.split('/').collect();
        let is_of = |template: &&String| {
            let parts: Vec<&str> = template.split('/').collect();
            parts.len() == wanted.len()
                && parts.iter().zip(&wanted).all(|(part, wanted)| {
                    part == wanted || (part.starts_with('{') && !wanted.is_empty())
                })
        };
        let matching = paths.keys().filter(is_of);
        matching
            .min_by_key(|template| template.matches('{').count())
            .cloned()
    }

    /// What of an answer the document does not know.
    pub(crate) fn check(
        &self,
        method: &str,
        path: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), String> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(template) = self.template(path) else {
            let is_page = PAGES.contains(&path) || path.starts_with("/docs/");
            return match is_page || is_problem(status, 404, "not_found", body) {
                true => Ok(()),
                false => Err("the path is not in the document, and this is no 404".to_owned()),
            };
        };
        let item = self.value["paths"][&template].as_object();
        let item = item.ok_or("no path item")?;
        let known = if method == "HEAD" { "get" } else { method }.to_lowercase();
        let Some(operation) = item.get(&known) else {
            return self.check_method(item, status, header("allow"), body);
        };
        let number = status.as_u16();
        let answer = &operation["responses"][number.to_string()];
        if answer.is_null() {
            return Err(format!("{number} is not documented"));
        }
        for (name, rule) in answer["headers"].as_object().into_iter().flatten() {
            match header(name) {
                None if rule["required"] == true => return Err(format!("{name} is missing")),
                None => {}
                Some(text) => {
                    let value = match rule["schema"]["type"].as_str() {
                        Some("integer") => text.parse::<u64>().map_or(json!(text), Value::from),
                        _ => json!(text),
                    };
                    self.validate(
                        &format!("{known} {template} {number} {name}"),
                        &rule["schema"],
                        &value,
                    )?;
                }
            }
        }
        let content = header("content-type").unwrap_or_default();
        let kind = content.split(';').next().unwrap_or_default().trim();
        let Some(contents) = answer["content"].as_object() else {
            return match body {
                [] => Ok(()),
                _ => Err("a body is not documented".to_owned()),
            };
        };
        if !contents.contains_key(kind) {
            return Err(format!("the content type {content:?} is not documented"));
        }
        if method == "HEAD" {
            return match body {
                [] => Ok(()),
                _ => Err("HEAD with a body".to_owned()),
            };
        }
        let value = if kind.ends_with("json") {
            serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?
        } else {
            Value::String(String::from_utf8_lossy(body).into_owned())
        };
        let strict = &self.strict["paths"][&template][&known]["responses"][number.to_string()];
        let schema = &strict["content"][kind]["schema"];
        let id = format!("{known} {template} {number} {kind}");
        self.validate(&id, schema, &value)
    }

    fn check_method(
        &self,
        item: &Map<String, Value>,
        status: StatusCode,
        allow: Option<&str>,
        body: &[u8],
    ) -> Result<(), String> {
        let mut wanted: BTreeSet<String> = item.keys().map(|name| name.to_uppercase()).collect();
        if wanted.contains("GET") {
            wanted.insert("HEAD".to_owned());
        }
        let allowed: BTreeSet<String> = allow
            .unwrap_or_default()
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect();
        if !is_problem(status, 405, "method_not_allowed", body) {
            return Err("the method is not in the document, and this is no 405".to_owned());
        }
        match allowed == wanted {
            true => Ok(()),
            false => Err(format!("Allow says {allowed:?}, the document {wanted:?}")),
        }
    }

    fn validate(&self, id: &str, schema: &Value, value: &Value) -> Result<(), String> {
        let mut validators = self.validators.lock().expect("the validators");
        let validator = validators.entry(id.to_owned()).or_insert_with(|| {
            let whole = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "components": self.strict["components"],
                "allOf": [schema],
            });
            let options = jsonschema::options().should_validate_formats(true);
            Arc::new(options.build(&whole).expect("a schema"))
        });
        let validator = Arc::clone(validator);
        drop(validators);
        let faults: BTreeMap<String, String> = validator
            .iter_errors(value)
            .map(|fault| (fault.instance_path().to_string(), fault.to_string()))
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(format!("not as the schema says: {faults:?}")),
        }
    }
}

/// An empty body is that of a HEAD.
fn is_problem(status: StatusCode, wanted: u16, code: &str, body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    status.as_u16() == wanted && (body["code"] == code || body.is_null())
}

/// Lets no object have a field that its schema does not name: what is sent must be documented.
fn close(schema: &mut Value, is_part: bool) {
    match schema {
        Value::Object(fields) => {
            let is_object = fields.get("properties").is_some_and(Value::is_object);
            if is_object && !is_part && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            for (name, value) in fields.iter_mut() {
                match value {
                    // A part says a little more about what the other parts describe.
                    Value::Array(parts) if name == "allOf" => {
                        parts.iter_mut().for_each(|part| close(part, true));
                    }
                    _ => close(value, false),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, false)),
        _ => {}
    }
}

#[test]
fn answers_that_the_document_does_not_know_are_refused() {
    let schema = json!({
        "type": "object",
        "properties": { "n": { "type": "integer" } },
        "required": ["n"],
    });
    let answer = json!({
        "description": "fine",
        "headers": { "X-N": { "required": true, "schema": { "type": "integer" } } },
        "content": { "application/json": { "schema": schema } },
    });
    let document = Document::new(json!({
        "paths": { "/a/{id}": { "get": { "operationId": "a", "responses": { "200": answer } } } },
    }));
    let mut headers = HeaderMap::new();
    let check = |method: &str, path: &str, status: u16, headers: &HeaderMap, body: &str| {
        let status = StatusCode::from_u16(status).expect("a status");
        document.check(method, path, status, headers, body.as_bytes())
    };
    assert!(check("GET", "/a/1", 200, &headers, r#"{"n":1}"#).is_err());
    headers.insert("content-type", "application/json".parse().expect("a value"));
    assert!(check("GET", "/a/1", 200, &headers, r#"{"n":1}"#).is_err());
    headers.insert("x-n", "x".parse().expect("a value"));
    assert!(check("GET", "/a/1", 200, &headers, r#"{"n":1}"#).is_err());
    headers.insert("x-n", "1".parse().expect("a value"));
    assert_eq!(check("GET", "/a/1", 200, &headers, r#"{"n":1}"#), Ok(()));
    for (method, path, status, body) in [
        ("GET", "/a/1", 201, r#"{"n":1}"#),
        ("GET", "/a/1", 200, r#"{"n":"1"}"#),
        ("GET", "/a/1", 200, r#"{"n":1,"m":1}"#),
        ("GET", "/a/1", 200, "{}"),
        ("GET", "/a/1", 200, ""),
        ("GET", "/a/", 200, r#"{"n":1}"#),
        ("GET", "/b", 200, r#"{"n":1}"#),
        ("PUT", "/a/1", 200, r#"{"n":1}"#),
        ("PUT", "/a/1", 405, r#"{"code":"method_not_allowed"}"#),
    ] {
        let checked = check(method, path, status, &headers, body);
        assert!(checked.is_err(), "{method} {path} {status} {body}");
    }
    headers.insert("content-type", "text/plain".parse().expect("a value"));
    assert!(check("GET", "/a/1", 200, &headers, r#"{"n":1}"#).is_err());
}

//! Every operation of the document with every kind of caller: 401 and 403 exactly where `x-role`
//! says so, before anything else of the request is read.

use crate::server::{Server, call, now_s, signed, text, token};
use serde_json::{Value, json};

/// A path of the document with ids that are of the right form and name nothing.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{user}" => "nobody",
        part if part.starts_with('{') => "0198c9f2-0000-7000-8000-0000000000ff",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_call_takes_exactly_the_roles_that_the_document_names() {
    let server = Server::start().await;
    let expired = signed(&json!({ "sub": "ann", "role": "operator", "exp": now_s() - 60 }));
    let callers = [
        ("nobody", None),
        ("player", Some(token("ann", "player"))),
        ("operator", Some(token("ann", "operator"))),
        ("service", Some(token("ann", "service"))),
        ("admin", Some(token("ann", "admin"))),
        ("Operator", Some(token("ann", "Operator"))),
        ("expired", Some(expired)),
    ];
    let mut judged = 0;
    let operations = server.document.operations();
    assert!(operations.len() >= 20, "{}", operations.len());
    for (method, path, operation) in operations {
        let roles = operation["x-role"].as_array();
        let roles: Vec<&str> = roles.into_iter().flatten().map(text).collect();
        let securities = operation["security"].as_array().expect("security").len();
        assert_eq!(securities, roles.len(), "{method} {path}");
        for (role, token) in &callers {
            // Neither a body that cannot be read, nor a query or id of the wrong form, is looked
            // at before the role.
            let bare = call(&method, &format!("{}?no=such", filled(&path)));
            let bare = match method.as_str() {
                "GET" => bare,
                _ => bare.text("{\"broken"),
            };
            let sent = match token {
                Some(token) => bare.bearer(token),
                None => bare,
            };
            let answer = server.send(sent).await;
            let at = format!("{method} {path} by {role}: {answer:?}");
            let is_known = ["player", "operator", "service"].contains(role);
            judged += 1;
            if roles.is_empty() {
                assert!(!matches!(answer.status.as_u16(), 401 | 403), "{at}");
            } else if !is_known {
                assert_eq!(
                    (answer.status.as_u16(), code(&answer.body)),
                    (401, "unauthorized"),
                    "{at}"
                );
            } else if roles.contains(role) {
                assert!(!matches!(answer.status.as_u16(), 401 | 403), "{at}");
                if method != "GET" {
                    // The id is looked at before the body; what names nothing has no need of one.
                    let code = code(&answer.body);
                    assert!(["malformed_json", "not_found"].contains(&code), "{at}");
                }
            } else {
                assert_eq!(
                    (answer.status.as_u16(), code(&answer.body)),
                    (403, "forbidden"),
                    "{at}"
                );
            }
        }
    }
    println!("judged {judged} calls");
}

fn code(body: &Value) -> &str {
    text(&body["code"])
}

#[tokio::test]
async fn ids_of_the_wrong_form_are_not_looked_at_before_the_role() {
    let server = Server::start().await;
    for (method, path, operation) in server.document.operations() {
        let roles = operation["x-role"].as_array();
        let roles: Vec<&str> = roles.into_iter().flatten().map(text).collect();
        if !path.contains('{') || roles.contains(&"service") {
            continue;
        }
        let path = path.replace("{id}", "%ff").replace("{user}", "%ff");
        let answer = server.send(call(&method, &path).service()).await;
        answer.problem(403, "forbidden");
    }
}

//! The compose file starts no program on a schema that nothing has made.

/// The file, relative to the root.
pub(crate) const FILE: &str = "deploy/compose.yaml";

/// What is started, and what must have ended well before it.
const AFTER: [(&str, &str); 3] = [
    (r#"["app-funds", "serve""#, r#"["app-funds", "migrate""#),
    (r#"["app-api", "serve""#, r#"["app-api", "migrate""#),
    (r#"["app-reconciler", "run""#, r#"["app-api", "migrate""#),
];

/// Every start that does not wait for its schema.
pub(crate) fn check(text: &str) -> Vec<String> {
    let parts = parts(text);
    let mut faults = Vec::new();
    for (started, migrates) in AFTER {
        let migrate = parts.iter().find(|part| runs(part, migrates));
        let waits = |part: &&Vec<&str>| {
            migrate.is_some_and(|migrate| {
                let name = migrate[0].trim();
                let wait = format!("{name} {{ condition: service_completed_successfully }}");
                part.iter().any(|line| line.trim() == wait)
            })
        };
        let mut starting = parts.iter().filter(|part| runs(part, started)).peekable();
        if starting.peek().is_none() {
            faults.push(format!("{FILE}: nothing runs {started}…]"));
        }
        if !starting.all(|part| waits(&part)) {
            faults.push(format!(
                "{FILE}: {started}…] is started before {migrates}…] has ended well"
            ));
        }
    }
    faults
}

fn runs(part: &[&str], command: &str) -> bool {
    let line = format!("command: {command}");
    part.iter().any(|found| found.trim().starts_with(&line))
}

/// The services and the templates of services: each begins with its name.
fn parts(text: &str) -> Vec<Vec<&str>> {
    let mut parts: Vec<Vec<&str>> = Vec::new();
    let mut in_services = false;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        if depth == 0 && !line.is_empty() {
            in_services = line.starts_with("services:");
        }
        let is_service = in_services && depth == 2 && line.trim_end().ends_with(':');
        let is_name = line.starts_with("x-") || is_service;
        match parts.last_mut() {
            _ if is_name => parts.push(vec![line]),
            Some(part) => part.push(line),
            None => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_starts_before_its_schema_is_made() {
        let path = crate::shell::root().join(FILE);
        let text = std::fs::read_to_string(path).expect("a compose file");
        assert_eq!(check(&text), Vec::<String>::new());
        let migrates = r#"command: ["app-funds", "migrate"]"#;
        assert_eq!(check(&text.replace(migrates, "command: []")).len(), 1);
        let wait = "migrate-ledger: { condition: service_completed_successfully }";
        let healthy = "migrate-ledger: { condition: service_healthy }";
        assert_eq!(check(&text.replace(wait, healthy)).len(), 1);
        let wait = "    migrate: { condition: service_completed_successfully }\n";
        assert_eq!(
            check(&text.replace(wait, "")).len(),
            2,
            "API and reconciler"
        );
        assert_eq!(check("services:\n").len(), 3, "nothing is started");
    }
}

//! What a settled contest shows to the outside: its totals, its sheet to the last byte, and for a
//! lucky one the promise made before and the secret told after.

use super::{
    model::Prediction,
    plan::Setup,
    rules::{Draw, Rule},
    run::Stage,
};
use crate::hex;
use anyhow::{Context, Result};
use hyper::Method;
use serde_json::Value;
use std::{fmt::Write as _, path::Path};
use tokio::process::Command;

/// The lines of a page of the settlement: few, so that there are many pages.
const PAGE: usize = 17;

/// What a contest says of its secret, from its first answer to its last.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    rule: Option<Rule>,
    promised: Option<String>,
    faults: Vec<String>,
}

impl Watch {
    /// From the answer to its creation.
    pub(crate) fn new(rule: Rule, made: &Value) -> Self {
        let mut watch = Self {
            rule: Some(rule),
            promised: commitment(made),
            faults: Vec::new(),
        };
        watch.see(made);
        watch
    }

    /// Looks at one answer. Each kind of fault is kept once.
    pub(crate) fn see(&mut self, contest: &Value) {
        let text = contest.to_string();
        let frozen = contest.get("settlement").is_some();
        let mut fault = |wrong: bool, what: &str| {
            if wrong && !self.faults.iter().any(|fault| fault.starts_with(what)) {
                self.faults.push(format!("{what}: {text}"));
            }
        };
        let lucky = self.rule == Some(Rule::Lucky);
        let promise = commitment(contest);
        let hash = |text: &String| text.len() == 64 && hex::decode(text).is_some();
        fault(
            promise != self.promised,
            "the commitment is another than at first",
        );
        fault(
            lucky && !promise.as_ref().is_some_and(hash),
            "a lucky contest without a commitment",
        );
        fault(
            !lucky && promise.is_some(),
            "a commitment where nothing is drawn",
        );
        fault(
            text.contains("secret") && !(lucky && frozen),
            "a secret is told too early",
        );
    }

    /// What was drawn with, once it is told.
    pub(crate) fn draw(&mut self, id: &str, contest: &Value) -> Option<Draw> {
        if self.rule != Some(Rule::Lucky) || contest.get("settlement").is_none() {
            return None;
        }
        let told = contest
            .pointer("/settlement/secret")
            .and_then(Value::as_str)
            .and_then(hex::decode);
        let position = contest
            .pointer("/settlement/position")
            .and_then(Value::as_u64);
        let (Some(secret), Some(position)) = (told, position) else {
            self.faults.push(format!(
                "no secret or no position after the freeze: {contest}"
            ));
            return None;
        };
        if Some(hex::sha256(&secret)) != self.promised || secret.len() != 32 {
            self.faults.push(format!(
                "the secret is not what was committed to: {contest}"
            ));
        }
        Some(Draw {
            secret,
            contest: id.to_owned(),
            position,
        })
    }

    /// All that was wrong.
    pub(crate) fn faults(self) -> Vec<String> {
        self.faults
    }
}

fn commitment(contest: &Value) -> Option<String> {
    let text = contest.pointer("/payout/commitment")?.as_str()?;
    Some(text.to_owned())
}

/// What the answers after the freeze have of their own: everything else follows from the signups.
struct Moment {
    frozen_at: String,
    position: u64,
    commitment: Option<String>,
    secret: Option<String>,
}

impl Moment {
    fn of(contest: &Value) -> Result<Self> {
        let settlement = contest
            .get("settlement")
            .context("a closed contest without a settlement")?;
        let text = |field: &str| {
            settlement
                .get(field)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        Ok(Self {
            frozen_at: text("frozen_at").context("a settlement without frozen_at")?,
            position: settlement
                .get("position")
                .and_then(Value::as_u64)
                .context("a settlement without position")?,
            commitment: commitment(contest),
            secret: text("secret"),
        })
    }
}

/// Every fact of a sheet's head, in its order.
fn facts(
    setup: &Setup,
    contest: &str,
    moment: &Moment,
    told: &Prediction,
) -> Vec<(&'static str, String)> {
    let guarantee = setup.guaranteed_pool();
    let back = told.fees + guarantee - told.rake - told.pool;
    let mut facts = vec![
        ("contest_id", contest.to_owned()),
        ("rule", setup.scenario.rule().name().to_owned()),
        ("remainder", setup.remainder.name().to_owned()),
        ("fees", told.fees.to_string()),
        ("guarantee", guarantee.to_string()),
        ("carry", "0".to_owned()),
        ("rake_bps", setup.rake_bps().to_string()),
        ("rake", told.rake.to_string()),
        ("pool", told.pool.to_string()),
        ("guarantee_return", back.to_string()),
        ("finishers", told.finishers.to_string()),
        ("weight_sum", told.weight_sum.to_string()),
        ("frozen_at", moment.frozen_at.clone()),
        ("position", moment.position.to_string()),
    ];
    let drawn = [
        ("commitment", &moment.commitment),
        ("secret", &moment.secret),
    ];
    facts.extend(
        drawn
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    facts
}

/// The whole sheet as it must be.
fn sheet(facts: &[(&str, String)], told: &Prediction) -> String {
    let mut text = "# guafen settlement sheet 1\n".to_owned();
    // Writing to a string cannot fail.
    for (name, value) in facts {
        let _ = writeln!(text, "# {name}: {value}");
    }
    text.push_str("signup_id,user_id,weight,before,prize\n");
    for line in &told.lines {
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            line.signup_id, line.user, line.weight, line.before, line.prize
        );
    }
    let hash = hex::sha256(text.as_bytes());
    let _ = writeln!(text, "# sha256: {hash}");
    text
}

/// Before the freeze there is neither a settlement nor a sheet.
pub(crate) async fn check_absent(stage: &Stage<'_>, contest: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for path in ["settlement", "settlement/sheet"] {
        let path = format!("/v1/contests/{contest}/{path}");
        let answer = stage.api.get(&path, &stage.keys.operator).await;
        if answer.code() != "not_frozen_yet" && !answer.is_open() {
            faults.push(format!(
                "{path} before the freeze was answered {} {}",
                answer.status, answer.body
            ));
        }
    }
    faults
}

/// Holds the settlement, its lines and its sheet against what they must be.
pub(crate) async fn check(
    stage: &Stage<'_>,
    setup: &Setup,
    contest: &str,
    found: &Value,
    told: &Prediction,
) -> Result<Vec<String>> {
    let moment = Moment::of(found)?;
    let facts = facts(setup, contest, &moment, told);
    let expected = sheet(&facts, told);
    let hash = hash_line(&expected);
    let path = format!("/v1/contests/{contest}/settlement");
    let viewer = stage.keys.signer.token("play-onlooker", "player")?;
    let mut faults = Vec::new();
    for (who, token) in [("a viewer", &viewer), ("an operator", &stage.keys.operator)] {
        let answer = stage.api.insist(Method::GET, &path, token, None).await?;
        faults.extend(differences(who, &answer, &facts, &hash));
    }
    let public = stage.api.insist(Method::GET, &path, &viewer, None).await?;
    if public.get("lines").is_some() {
        faults.push("a viewer is shown everybody's prize".to_owned());
    }
    faults.extend(lines(stage, &path, told).await?);
    let download = format!("{path}/sheet");
    let refused = stage.api.get(&download, &viewer).await;
    if refused.status != 403 {
        faults.push(format!(
            "the sheet for a viewer was answered {}",
            refused.status
        ));
    }
    let answer = stage.api.get(&download, &stage.keys.operator).await;
    let text = answer.body.as_str().unwrap_or_default();
    let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    if !header("content-type").starts_with("text/csv")
        || !header("content-disposition").contains(&format!("settlement-{contest}.csv"))
    {
        faults.push(format!(
            "the sheet came as {:?}, {:?}",
            header("content-type"),
            header("content-disposition")
        ));
    }
    if text != expected {
        faults.push(difference(text, &expected));
    }
    if let Some(server) = stage.server {
        let file = server.spec.dir.join(format!("settlement-{contest}.csv"));
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let told = file.with_extension("json");
        std::fs::write(&told, found.to_string())
            .with_context(|| format!("cannot write {}", told.display()))?;
        faults.extend(verify(&server.spec.binary, setup, &file, &told).await?);
    }
    Ok(faults)
}

fn hash_line(sheet: &str) -> String {
    let last = sheet.lines().last().unwrap_or_default();
    last.strip_prefix("# sha256: ")
        .unwrap_or_default()
        .to_owned()
}

/// The first line that is not as it must be.
fn difference(found: &str, expected: &str) -> String {
    let mut pairs = found.lines().zip(expected.lines());
    match pairs.find(|(found, expected)| found != expected) {
        Some((found, expected)) => format!("the sheet says {found:?}, must say {expected:?}"),
        None => format!(
            "the sheet has {} bytes, must have {}",
            found.len(),
            expected.len()
        ),
    }
}

/// A value of an answer as the sheet writes it.
fn written(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "nothing".to_owned(),
    }
}

fn differences(
    who: &str,
    answer: &Value,
    facts: &[(&'static str, String)],
    hash: &str,
) -> Vec<String> {
    let hash = [("sheet_sha256", hash.to_owned())];
    facts
        .iter()
        .chain(&hash)
        .filter(|(name, value)| written(answer.get(name)) != *value)
        .map(|(name, value)| {
            format!(
                "{who} is told that {name} is {}, it is {value}",
                written(answer.get(name))
            )
        })
        .collect()
}

/// The operators' lines, page by page.
async fn lines(stage: &Stage<'_>, path: &str, told: &Prediction) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{path}?limit={PAGE}{cursor}");
        let page = stage
            .api
            .insist(Method::GET, &path, &stage.keys.operator, None)
            .await?;
        let items = page.pointer("/lines/items").and_then(Value::as_array);
        for item in items.into_iter().flatten() {
            let fields = ["signup_id", "user_id", "weight", "before", "prize"];
            found.push(fields.map(|field| written(item.get(field))).join(","));
        }
        match page.pointer("/lines/next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = told
        .lines
        .iter()
        .map(|line| {
            format!(
                "{},{},{},{},{}",
                line.signup_id, line.user, line.weight, line.before, line.prize
            )
        })
        .collect();
    Ok((found != expected)
        .then(|| difference(&found.join("\n"), &expected.join("\n")))
        .into_iter()
        .collect())
}

/// Lets the commands of the house verify the downloaded sheet, and an altered one, which they must
/// refuse.
async fn verify(binary: &Path, setup: &Setup, file: &Path, contest: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut commands = vec!["verify-sheet"];
    if setup.scenario.rule() == Rule::Lucky {
        commands.push("verify-lucky");
    }
    let help = Command::new(binary).arg("--help").output().await?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    commands.retain(|command| {
        let there = help.contains(command);
        if !there {
            println!("NOT RUN  {command}: this app-api does not have it");
        }
        there
    });
    let altered = file.with_extension("altered.csv");
    let text = std::fs::read_to_string(file)?;
    std::fs::write(&altered, alter(&text))?;
    for command in commands {
        for (file, must_pass) in [(file, true), (altered.as_path(), false)] {
            let mut run = Command::new(binary);
            run.arg(command);
            if command == "verify-lucky" {
                run.arg("--contest").arg(contest).arg("--sheet");
            }
            let output = run
                .arg(file)
                .output()
                .await
                .with_context(|| format!("cannot start {}", binary.display()))?;
            // 1: read, and found wrong. Anything else says nothing about the sheet.
            if output.status.code() != Some(i32::from(!must_pass)) {
                faults.push(format!(
                    "{command} {} ended with {}: {}{}",
                    file.display(),
                    output.status,
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr),
                ));
            }
        }
    }
    Ok(faults)
}

/// The same sheet with its first finisher's weight one higher, and a hash that fits.
fn alter(sheet: &str) -> String {
    let mut finishers = 0;
    let mut text = String::new();
    for line in sheet.lines().filter(|line| !line.starts_with("# sha256")) {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        if let (Some(weight), true) = (
            fields.get(2).and_then(|weight| weight.parse::<u64>().ok()),
            finishers == 0,
        ) {
            finishers += 1;
            fields[2] = (weight + 1).to_string();
        }
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    let hash = hex::sha256(text.as_bytes());
    format!("{text}# sha256: {hash}\n")
}

#[cfg(test)]
mod tests {
    use super::{super::model::Line, *};
    use serde_json::json;

    #[test]
    fn a_secret_is_watched() {
        let secret = [7_u8; 32];
        let promise = hex::sha256(&secret);
        let before = json!({ "payout": { "rule": "lucky", "commitment": promise } });
        let mut after = before.clone();
        after["settlement"] = json!({ "secret": hex::encode(&secret), "position": 9 });
        let mut watch = Watch::new(Rule::Lucky, &before);
        watch.see(&before);
        watch.see(&after);
        let draw = watch.draw("c", &after).expect("a draw");
        assert_eq!((draw.position, draw.secret.as_slice()), (9, &secret[..]));
        assert_eq!(watch.faults(), [""; 0]);

        let mut early = before.clone();
        early["secret"] = json!(hex::encode(&secret));
        let mut watch = Watch::new(Rule::Lucky, &before);
        watch.see(&early);
        watch.see(&early);
        after["settlement"]["secret"] = json!(hex::encode(&[8; 32]));
        watch.draw("c", &after);
        after["payout"]["commitment"] = json!(hex::sha256(b"other"));
        watch.see(&after);
        assert_eq!(watch.faults().len(), 3);

        let plain = json!({ "payout": { "rule": "equal" } });
        assert_eq!(Watch::new(Rule::Lucky, &plain).faults().len(), 1);
        assert_eq!(Watch::new(Rule::Equal, &before).faults().len(), 1);
    }

    #[test]
    fn a_sheet_is_hashed_above_its_last_line_and_can_be_altered() {
        let told = Prediction {
            lines: vec![Line {
                signup_id: "s".into(),
                user: "ann".into(),
                weight: 4,
                before: 0,
                prize: 9,
            }],
            ..Prediction::default()
        };
        let text = sheet(&[("rule", "equal".to_owned())], &told);
        let above = "# guafen settlement sheet 1\n# rule: equal\nsignup_id,user_id,weight,before,prize\ns,ann,4,0,9\n";
        assert_eq!(
            text,
            format!("{above}# sha256: {}\n", hex::sha256(above.as_bytes()))
        );
        let altered = alter(&text);
        assert!(altered.contains("s,ann,5,0,9\n") && hash_line(&altered) != hash_line(&text));
        assert!(difference(&altered, &text).contains("ann,5"));
    }
}

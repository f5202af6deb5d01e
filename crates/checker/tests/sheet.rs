//! Settlement sheets: right ones pass, and whatever is changed in one is found.

use checker::{
    lucky::{Draw, LuckyError, Published},
    sheet::{self, SheetReport},
};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

const CONTEST: &str = "0198c9f2-0000-7000-8000-00000000000a";
const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const POSITION: u64 = 4_711;

fn sha256(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string");
            hex
        })
}

/// The text with the last line that belongs to it.
fn sealed(text: &str) -> String {
    format!("{text}# sha256: {}\n", sha256(text))
}

fn unsealed(sheet: &str) -> &str {
    let end = sheet.rfind("# sha256: ").expect("a last line");
    &sheet[..end]
}

struct Terms<'a> {
    rule: &'a str,
    remainder: &'a str,
    fees: u64,
    guarantee: u64,
    carry: u64,
    rake_bps: u64,
    weights: &'a [u64],
}

/// A right sheet, by arithmetic of this test alone.
fn sheet(terms: &Terms<'_>) -> String {
    let Terms {
        rule,
        remainder,
        fees,
        guarantee,
        carry,
        rake_bps,
        weights,
    } = terms;
    let users: Vec<String> = (0..weights.len()).map(|n| format!("viewer-{n}")).collect();
    let draw = Draw::new(SECRET, POSITION).expect("a secret");
    let weights: Vec<u64> = match *rule {
        "lucky" => users
            .iter()
            .map(|user| draw.weight(CONTEST, user))
            .collect(),
        _ => weights.to_vec(),
    };
    let rake = if weights.is_empty() {
        0
    } else {
        fees * rake_bps / 10_000
    };
    let pool = (fees + carry - rake).max(*guarantee);
    let back = fees + carry - rake + guarantee - pool;
    let whole: u64 = weights.iter().sum();
    let mut text = format!(
        "# guafen settlement sheet 1\n# contest_id: {CONTEST}\n# rule: {rule}\n# remainder: {remainder}\n\
         # fees: {fees}\n# guarantee: {guarantee}\n# carry: {carry}\n# rake_bps: {rake_bps}\n# rake: {rake}\n\
         # pool: {pool}\n# guarantee_return: {back}\n# finishers: {}\n# weight_sum: {whole}\n\
         # frozen_at: 2026-11-23T01:02:03.004Z\n# position: {POSITION}\n",
        weights.len()
    );
    if *rule == "lucky" {
        write!(
            text,
            "# commitment: {}\n# secret: {SECRET}\n",
            draw.commitment()
        )
        .expect("a string");
    }
    text += "signup_id,user_id,weight,before,prize\n";
    let mut before = 0;
    for (n, (weight, user)) in weights.iter().zip(&users).enumerate() {
        let prize = match *remainder {
            "spread" => pool * (before + weight) / whole - pool * before / whole,
            _ => pool * weight / whole,
        };
        writeln!(
            text,
            "0198c9f2-0000-7000-8000-{n:012x},{user},{weight},{before},{prize}"
        )
        .expect("a string");
        before += weight;
    }
    sealed(&text)
}

const LUCKY: Terms<'_> = Terms {
    rule: "lucky",
    remainder: "spread",
    fees: 1_000,
    guarantee: 300,
    carry: 7,
    rake_bps: 250,
    weights: &[0; 7],
};

fn verify(text: &str) -> SheetReport {
    sheet::verify(text.as_bytes(), None).expect("a slice can be read")
}

#[test]
fn right_sheets_are_right() {
    let rules: [(&str, &[u64]); 5] = [
        ("equal", &[1, 1, 1]),
        ("by_fee", &[10, 50, 100, 10]),
        ("by_score", &[3, 30, 7]),
        ("early_bird", &[1, 1_000, 512]),
        ("lucky", &[0; 40]),
    ];
    for (rule, weights) in rules {
        for remainder in ["spread", "platform", "rollover"] {
            for (fees, guarantee) in [(170, 0), (171, 100_000), (u64::from(u32::MAX), 5)] {
                for weights in [weights, &[]] {
                    let text = sheet(&Terms {
                        rule,
                        remainder,
                        fees,
                        guarantee,
                        carry: 3,
                        rake_bps: 333,
                        weights,
                    });
                    let report = verify(&text);
                    assert!(report.right, "{text}{report}");
                    assert_eq!(report.finishers, weights.len() as u128);
                    let published = sha256(unsealed(&text));
                    let again = sheet::verify(text.as_bytes(), Some(&published)).expect("read");
                    assert!(again.right && again.sha256 == published, "{again}");
                }
            }
        }
    }
}

#[test]
fn no_byte_can_be_changed_unseen() {
    let text = sheet(&LUCKY);
    for at in 0..text.len() {
        for flip in [1_u8, 0x20, 0x80] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= flip;
            let report = sheet::verify(bytes.as_slice(), None).expect("read");
            assert!(!report.right, "byte {at} changed by {flip:#x}");
        }
        let report = verify(&text[..at]);
        assert!(!report.right, "cut at {at}");
    }
    for more in ["\n", "x", &text] {
        assert!(
            verify(&format!("{text}{more}")).faults.has("form"),
            "{more}"
        );
    }
}

/// A change together with a new hash: what follows from the rules is still found, each by the rule
/// that it breaks, on its line.
#[test]
fn each_number_is_held_against_the_rules() {
    let text = sheet(&LUCKY);
    let line = |n: usize| text.lines().nth(n - 1).expect("a line").to_owned();
    let first: Vec<String> = line(19).split(',').map(str::to_owned).collect();
    let with = |field: usize, value: &str| {
        let mut fields = first.clone();
        value.clone_into(&mut fields[field]);
        fields.join(",")
    };
    let cases = [
        (3, "# rule: equal".to_owned(), "form"),
        (3, "# rule: fair".to_owned(), "form"),
        (4, "# remainder: platform".to_owned(), "prize"),
        (5, "# fees: 1001".to_owned(), "pool"),
        (6, "# guarantee: 301".to_owned(), "guarantee_return"),
        (7, "# carry: 8".to_owned(), "pool"),
        (8, "# rake_bps: 260".to_owned(), "rake"),
        (8, "# rake_bps: 10001".to_owned(), "form"),
        (9, "# rake: 26".to_owned(), "rake"),
        (10, "# pool: 981".to_owned(), "pool"),
        (11, "# guarantee_return: 299".to_owned(), "guarantee_return"),
        (12, "# finishers: 8".to_owned(), "finishers"),
        (13, "# weight_sum: 1".to_owned(), "weight_sum"),
        (13, "# weight_sum: 0".to_owned(), "prize"),
        (13, format!("# weight_sum: {}", u128::MAX), "weight_sum"),
        (14, "# frozen_at: yesterday".to_owned(), "form"),
        (14, "# frozen_at: 2026-11-23T01:02:03Z".to_owned(), "form"),
        (15, "# position: 4712".to_owned(), "weight"),
        (15, "# position: 04711".to_owned(), "form"),
        (
            16,
            format!("# commitment: {}", "0".repeat(64)),
            "commitment",
        ),
        (17, format!("# secret: {}", "0".repeat(64)), "commitment"),
        (
            18,
            "signup_id,user_id,weight,prize,before".to_owned(),
            "form",
        ),
        (19, with(0, "0198c9f2-0000-7000-8000-000000000009"), "order"),
        (19, with(0, "0198C9F2-0000-7000-8000-000000000000"), "form"),
        (19, with(1, "viewer-9"), "weight"),
        (19, with(1, "viewer 0"), "form"),
        (19, with(2, "101"), "weight"),
        (19, with(3, "1"), "before"),
        (19, with(4, "0"), "prize"),
        (19, with(4, "-1"), "form"),
        (20, String::new(), "form"),
        (2, format!("# contest_id: {}b", &CONTEST[..35]), "weight"),
    ];
    for (at, changed, rule) in cases {
        let mut lines: Vec<String> = unsealed(&text).lines().map(str::to_owned).collect();
        changed.clone_into(&mut lines[at - 1]);
        let report = verify(&sealed(&(lines.join("\n") + "\n")));
        assert!(
            report.faults.has(rule),
            "{changed} breaks {rule}, found: {report}"
        );
        assert!(!report.faults.has("sha256"), "{changed}");
    }
    let mut lines: Vec<&str> = unsealed(&text).lines().collect();
    lines.remove(20);
    let gone = verify(&sealed(&(lines.join("\n") + "\n")));
    assert!(
        gone.faults.has("finishers") && gone.faults.has("before"),
        "{gone}"
    );
    let mut lines: Vec<&str> = unsealed(&text).lines().collect();
    lines.swap(19, 20);
    let swapped = verify(&sealed(&(lines.join("\n") + "\n")));
    assert!(swapped.faults.has("order"), "{swapped}");
}

/// Names follow from nothing in the sheet of a rule that does not use them: the published hash is
/// what holds them.
#[test]
fn the_published_hash_holds_what_arithmetic_cannot() {
    let text = sheet(&Terms {
        rule: "equal",
        weights: &[1, 1],
        ..LUCKY
    });
    let published = sha256(unsealed(&text));
    let other = sealed(&unsealed(&text).replace("viewer-1", "viewer-x"));
    assert!(verify(&other).right);
    let report = sheet::verify(other.as_bytes(), Some(&published)).expect("read");
    assert!(
        report.faults.has("published_sha256") && !report.right,
        "{report}"
    );
}

#[test]
fn what_is_no_sheet_ends_at_once_and_in_flat_memory() {
    for text in ["", "hello\n", "\0", "# guafen settlement sheet 2\n"] {
        assert!(verify(text).faults.has("form"), "{text:?}");
    }
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    assert!(
        sheet::verify(endless, None)
            .expect("read")
            .faults
            .has("form")
    );
    let mut lines = unsealed(&sheet(&LUCKY)).to_owned();
    lines.extend(std::iter::repeat_n("x\n", 1_000));
    let report = verify(&sealed(&lines));
    assert_eq!(report.faults.total, 1_000);
    assert_eq!(report.faults.first.len(), 100);
    assert!(report.to_string().contains("and 900 more"), "{report}");
}

fn contest(secret: &str, position: u64, commitment: &str) -> String {
    format!(
        r#"{{"contest_id": "{CONTEST}", "title": "t", "payout": {{"rule": "lucky", "commitment": "{commitment}"}},
            "settlement": {{"pool": 982, "position": {position}, "secret": "{secret}"}}}}"#
    )
}

fn signup(contest: &str, user: &str, weight: Option<u64>) -> String {
    let weight = weight.map_or(String::new(), |weight| format!(r#", "weight": {weight}"#));
    format!(r#"{{"contest_id": "{contest}", "user_id": "{user}", "state": "shared"{weight}}}"#)
}

#[test]
fn a_draw_is_verified_from_published_data() {
    let draw = Draw::new(SECRET, POSITION).expect("a secret");
    let commitment = draw.commitment();
    let right = contest(SECRET, POSITION, &commitment);
    let weight = |user| draw.weight(CONTEST, user);
    let verify = |contest: &str, signups: &[String]| {
        let mut published = Published::parse(contest).expect("a contest");
        for signup in signups {
            published.take_signups(signup).expect("a signup");
        }
        published.finish()
    };
    let ann = signup(CONTEST, "ann", Some(weight("ann")));
    let page = format!(
        r#"{{"items": [{}, {}], "next_cursor": null}}"#,
        signup(CONTEST, "bob", Some(weight("bob"))),
        signup(CONTEST, "cat", None)
    );
    let report = verify(&right, &[ann.clone(), page]).expect("weights");
    assert!(report.right && report.weights == 2, "{report}");
    let wrong = [
        (
            right.clone(),
            signup(CONTEST, "ann", Some(weight("ann") % 100 + 1)),
            "weight",
        ),
        (
            right.clone(),
            signup("another", "ann", Some(weight("ann"))),
            "contest",
        ),
        (
            contest(SECRET, POSITION, &"0".repeat(64)),
            ann.clone(),
            "commitment",
        ),
        (
            contest(&"0".repeat(64), POSITION, &commitment),
            ann.clone(),
            "commitment",
        ),
        (
            contest("short", POSITION, &commitment),
            ann.clone(),
            "secret",
        ),
    ];
    for (contest, signup, rule) in wrong {
        let report = verify(&contest, &[signup]).expect("weights");
        assert!(!report.right && report.faults.has(rule), "{report}");
    }
    assert!(matches!(verify(&right, &[]), Err(LuckyError::NoWeights)));
    let equal = right.replace("lucky", "equal");
    assert!(matches!(
        Published::parse(&equal),
        Err(LuckyError::NotLucky(_))
    ));
    let early = format!(
        r#"{{"contest_id": "{CONTEST}", "payout": {{"rule": "lucky", "commitment": "{commitment}"}}}}"#
    );
    assert!(matches!(
        Published::parse(&early),
        Err(LuckyError::NotFrozen)
    ));
    assert!(matches!(
        Published::parse("[]"),
        Err(LuckyError::Json { .. })
    ));
}

#[test]
fn a_draw_is_verified_against_the_sheet() {
    let draw = Draw::new(SECRET, POSITION).expect("a secret");
    let text = sheet(&LUCKY);
    let report = |position: u64, text: &str| {
        let contest = contest(SECRET, position, &draw.commitment());
        let mut published = Published::parse(&contest).expect("a contest");
        published.take_sheet(text.as_bytes()).expect("read");
        published.finish().expect("weights")
    };
    let right = report(POSITION, &text);
    assert!(right.right && right.weights == 7, "{right}");
    assert!(report(POSITION + 1, &text).faults.has("position"));
    let equal = sheet(&Terms {
        rule: "equal",
        weights: &[1, 1],
        ..LUCKY
    });
    assert!(report(POSITION, &equal).faults.has("secret"));
    let other = sealed(&unsealed(&text).replace("viewer-1", "viewer-x"));
    assert!(report(POSITION, &other).faults.has("weight"));
}

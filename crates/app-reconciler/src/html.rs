//! The report as one page that needs nothing else: for people who look rather than read, in both
//! languages.

use crate::report::{Moved, Sums};
use std::fmt::Write as _;
use usecases::sheet::rfc3339;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%}\
th,td{padding:.3rem .6rem;border-bottom:1px solid #d5d9de;text-align:left}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
tr.sum td{font-weight:600;border-top:2px solid #1b1f24}.good{color:#0a6b2d}.bad{color:#b00020;font-weight:600}.open{color:#5a4a00}\
.bar{fill:#2f6fde}.bar.out{fill:#c2571a}.bar.held{fill:#6b7280}small{color:#57606a}code{overflow-wrap:anywhere}";

/// The widest bar, in units of the picture.
const WIDTH: u64 = 420;

/// The page.
pub(crate) fn page(sums: &Sums) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut page, sums);
    page
}

fn write(page: &mut String, sums: &Sums) -> std::fmt::Result {
    let title = escaped(&sums.title);
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\
         <h1>{title}</h1><p><small>contest <code>{}</code> · room <code>{}</code> · {} · as of {}</small></p>",
        sums.contest_id,
        escaped(&sums.room_id),
        sums.phase,
        sums.as_of
    )?;
    let class = match sums.adds_up() {
        Some(true) => "good",
        Some(false) => "bad",
        None => "open",
    };
    write!(page, "<h2>Coins 金币</h2>")?;
    flow(page, sums)?;
    page.push_str("<table><tbody>");
    rows(page, "+", &sums.came)?;
    sum(page, "in 转入", sums.total_in())?;
    rows(page, "\u{2212}", &sums.left)?;
    sum(page, "out 转出", sums.total_out())?;
    if let Some(held) = sums.held {
        sum(page, "held by the pool account 奖池余额", held)?;
    }
    write!(
        page,
        "</tbody></table><p class=\"{class}\">{}</p>",
        sums.verdict()
    )?;
    for leg in &sums.pending {
        write!(page, "<p class=\"open\">under way 在途: {leg}</p>")?;
    }
    viewers(page, sums)?;
    invariants(page, sums)?;
    findings(page, sums)?;
    page.push_str("</body></html>\n");
    Ok(())
}

fn viewers(page: &mut String, sums: &Sums) -> std::fmt::Result {
    write!(page, "<h2>Viewers 观众</h2>")?;
    bars(page, "How far viewers came", &sums.funnel)?;
    page.push_str(
        "<table><thead><tr><th>state 状态</th><th class=\"n\">signups 报名</th>\
         <th class=\"n\">fees 报名费</th><th class=\"n\">prizes 奖金</th></tr></thead><tbody>",
    );
    for state in &sums.states {
        write!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            state.state,
            grouped(state.signups),
            grouped(state.fees),
            grouped(state.prizes)
        )?;
    }
    page.push_str("</tbody></table>");
    Ok(())
}

fn invariants(page: &mut String, sums: &Sums) -> std::fmt::Result {
    page.push_str("<h2>Invariants 不变量</h2><table><tbody>");
    for held in &sums.invariants {
        let (class, said) = match held.holds {
            Some(true) => ("good", "holds 成立"),
            Some(false) => ("bad", "BROKEN 不成立"),
            None => ("open", "not checked here 此处未查"),
        };
        write!(
            page,
            "<tr><td>{}</td><td class=\"{class}\">{said}",
            held.name
        )?;
        for evidence in &held.evidence {
            write!(page, "<br><small>{}</small>", escaped(evidence))?;
        }
        page.push_str("</td></tr>");
    }
    page.push_str("</tbody></table>");
    Ok(())
}

fn findings(page: &mut String, sums: &Sums) -> std::fmt::Result {
    page.push_str("<h2>Open findings 未决差异</h2>");
    if sums.findings.is_empty() {
        page.push_str("<p class=\"good\">none 无</p>");
    } else {
        page.push_str("<table><tbody>");
        for finding in &sums.findings {
            write!(
                page,
                "<tr><td class=\"bad\">{}</td><td><code>{}</code><br>{}<br><small>{}</small></td></tr>",
                finding.class.name(),
                escaped(&finding.subject),
                escaped(&finding.evidence),
                rfc3339(finding.found_at)
            )?;
        }
        page.push_str("</tbody></table>");
    }
    Ok(())
}

fn rows(page: &mut String, sign: &str, all: &[Moved]) -> std::fmt::Result {
    for moved in all.iter().filter(|moved| moved.coins > 0) {
        write!(
            page,
            "<tr><td>{sign} {} {}</td><td class=\"n\">{}</td></tr>",
            moved.item,
            moved.chinese,
            grouped(moved.coins)
        )?;
    }
    Ok(())
}

fn sum(page: &mut String, name: &str, coins: u64) -> std::fmt::Result {
    write!(
        page,
        "<tr class=\"sum\"><td>{name}</td><td class=\"n\">{}</td></tr>",
        grouped(coins)
    )
}

/// What came in, and what it became.
fn flow(page: &mut String, sums: &Sums) -> std::fmt::Result {
    let held = sums.held.map(|coins| Moved {
        item: "held",
        chinese: "余额",
        coins,
    });
    let came = sums.came.iter().map(|moved| ("", moved));
    let left = sums.left.iter().map(|moved| (" out", moved));
    let all: Vec<(&str, &Moved)> = came
        .chain(left)
        .chain(held.as_ref().map(|held| (" held", held)))
        .filter(|(_, moved)| moved.coins > 0)
        .collect();
    chart(page, "Coins in, out and held", &all)
}

fn bars(page: &mut String, label: &str, all: &[Moved]) -> std::fmt::Result {
    let all: Vec<(&str, &Moved)> = all.iter().map(|moved| ("", moved)).collect();
    chart(page, label, &all)
}

/// Bars, one under the other, each as long as its number.
fn chart(page: &mut String, label: &str, all: &[(&str, &Moved)]) -> std::fmt::Result {
    let most = all.iter().map(|(_, moved)| moved.coins).max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    let height = all.len() * 28;
    write!(
        page,
        "<svg role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 760 {height}\" width=\"100%\" font-size=\"14\">"
    )?;
    for (index, (class, moved)) in all.iter().enumerate() {
        let top = index * 28;
        // Through u128: the widest pool times the width fits.
        let wide = u128::from(moved.coins) * u128::from(WIDTH) / u128::from(most);
        write!(
            page,
            "<text x=\"0\" y=\"{}\">{} {}</text><rect class=\"bar{class}\" x=\"190\" y=\"{}\" width=\"{}\" height=\"20\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            top + 16,
            moved.item,
            moved.chinese,
            top + 2,
            wide.max(1),
            198 + wide.max(1),
            top + 16,
            grouped(moved.coins)
        )?;
    }
    page.push_str("</svg>");
    Ok(())
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_their_thousands_and_texts_are_no_markup() {
        let numbers = [0, 12, 999, 1_000, 123_456, 1_234_567].map(grouped);
        let wanted = ["0", "12", "999", "1,000", "123,456", "1,234,567"];
        assert_eq!(numbers, wanted);
        assert_eq!(escaped("<b>\"&\""), "&lt;b&gt;&quot;&amp;&quot;");
    }
}

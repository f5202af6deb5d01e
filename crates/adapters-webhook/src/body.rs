//! What is sent.

use domain::{contest::Contest, time::UnixMillis};
use ports::{findings::Finding, notices::Message};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};

/// The id of a message: the same for every repeat of it, and no other's.
pub(crate) fn id(message: &Message) -> String {
    let notice = &message.notice;
    let about = notice.finding_id.unwrap_or(notice.contest_id.0);
    format!("{}.{about}.{}", notice.kind.name(), notice.sequence)
}

/// A signed message: `type`, `timestamp` and `data`.
pub(crate) fn standard(message: &Message) -> Value {
    let Message {
        notice,
        contest,
        finding,
    } = message;
    let mut data = json!({ "contest": match contest {
        Some(contest) => of_contest(contest),
        None => json!({ "contest_id": notice.contest_id.to_string() }),
    }});
    if let Some(finding) = finding {
        data["finding"] = of_finding(finding);
    }
    json!({
        "type": notice.kind.name(),
        "timestamp": rfc3339(notice.created_at),
        "data": data,
    })
}

fn of_contest(contest: &Contest) -> Value {
    json!({
        "contest_id": contest.id.to_string(),
        "title": contest.title,
        "room_id": contest.terms.room_id.to_string(),
        "phase": contest.phase.kind().name(),
    })
}

fn of_finding(finding: &Finding) -> Value {
    json!({
        "finding_id": finding.id.to_string(),
        "class": finding.class.name(),
        "subject": finding.subject,
        "user_id": finding.user_id.as_ref().map(ToString::to_string),
        "evidence": finding.evidence,
        "found_at": rfc3339(finding.found_at),
        "settled_at": finding.settled_at.map(rfc3339),
        "resolved_by": finding.resolution.as_ref().map(|said| said.by.to_string()),
        "note": finding.resolution.as_ref().map(|said| said.note.clone()),
    })
}

pub(crate) fn slack(message: &Message, link: Option<&str>) -> Value {
    json!({ "text": text(message, link) })
}

pub(crate) fn feishu(message: &Message, link: Option<&str>) -> Value {
    json!({ "msg_type": "text", "content": { "text": text(message, link) } })
}

pub(crate) fn dingtalk(message: &Message, link: Option<&str>) -> Value {
    json!({ "msgtype": "text", "text": { "content": text(message, link) } })
}

/// For people in a chat.
fn text(message: &Message, link: Option<&str>) -> String {
    let Message {
        notice,
        contest,
        finding,
    } = message;
    let mark = if notice.kind.is_alarm() {
        "[ALARM] "
    } else {
        ""
    };
    let title = contest
        .as_ref()
        .map_or_else(String::new, |contest| format!(" \"{}\"", contest.title));
    let mut text = format!(
        "{mark}guafen {}: contest{title} {}",
        notice.kind.name(),
        notice.contest_id
    );
    if let Some(finding) = finding {
        let class = finding.class.name();
        text.push_str(&format!(
            "\n{class} {}: {}",
            finding.subject, finding.evidence
        ));
        if let Some(said) = &finding.resolution {
            text.push_str(&format!("\nresolved by {}: {}", said.by, said.note));
        }
        if let Some(link) = link {
            let link = link.trim_end_matches('/');
            text.push_str(&format!("\n{link}/v1/admin/findings/{}", finding.id));
        }
    }
    text
}

fn rfc3339(at: UnixMillis) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| at.0.to_string())
}

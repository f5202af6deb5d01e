//! The board as a page: complete without its script, which only keeps it moving.

use super::{
    checks::{Standing, Unchecked, clock_time, unknown},
    picture::{EXITS, MAIN_LINE, Picture, Step},
    words::{self, Language},
};
use askama::Template;
use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use domain::{
    contest::{Contest, PublicPhase},
    signup::StateKind,
    time::UnixMillis,
};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// What the page may load and do: what comes from here, and nothing written into it.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A file of the page. Its path says what is in it, so it may be kept for ever.
#[derive(Clone)]
pub(crate) struct Asset {
    pub(crate) path: String,
    kind: &'static str,
    text: &'static str,
}

/// The files of the page.
pub(crate) struct Assets {
    style: Asset,
    script: Asset,
    icon: Asset,
}

impl Assets {
    pub(crate) fn new() -> Self {
        let asset = |name: &str, end: &str, kind, text: &'static str| {
            let digest = Sha256::digest(text.as_bytes());
            let mut hash = String::new();
            for byte in &digest[..8] {
                // Writing to a string never fails.
                let _ = write!(hash, "{byte:02x}");
            }
            Asset {
                path: format!("/board/{name}-{hash}.{end}"),
                kind,
                text,
            }
        };
        Self {
            style: asset(
                "board",
                "css",
                "text/css; charset=utf-8",
                include_str!("../../templates/board.css"),
            ),
            script: asset(
                "board",
                "js",
                "text/javascript; charset=utf-8",
                include_str!("../../templates/board.js"),
            ),
            icon: asset(
                "icon",
                "svg",
                "image/svg+xml",
                include_str!("../../templates/board.svg"),
            ),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> [Asset; 3] {
        [&self.style, &self.script, &self.icon].map(Asset::clone)
    }
}

/// A file as it is answered.
pub(crate) fn asset(asset: Asset) -> Response {
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, Bytes::from_static(asset.text.as_bytes())).into_response()
}

/// What is to be seen.
pub(crate) struct Sight<'a> {
    pub(crate) assets: &'a Assets,
    pub(crate) language: Language,
    pub(crate) shown: Option<&'a (Contest, Picture)>,
    pub(crate) listed: &'a [Contest],
    /// True where a contest was asked for by name.
    pub(crate) is_picked: bool,
    pub(crate) now: UnixMillis,
    /// By which name this machine was asked.
    pub(crate) host: &'a str,
}

/// One contest of the picker.
struct Choice {
    id: String,
    title: String,
    phase: &'static str,
    is_shown: bool,
}

/// One line of the funnel, with its bars in thousandths.
struct Bar {
    state: &'static str,
    label: &'static str,
    said: &'static str,
    here: String,
    here_width: u64,
    reached_width: u64,
    is_exit: bool,
    is_none: bool,
}

/// One part of the money, in thousandths of the whole.
struct Part {
    name: &'static str,
    label: &'static str,
    amount: String,
    from: u64,
    width: u64,
    is_empty: bool,
}

/// One phase of the timeline.
struct Stop {
    phase: &'static str,
    label: &'static str,
    /// `past`, `now` or `next`.
    place: &'static str,
    /// How much of it is over, in thousandths.
    done: u64,
}

struct Line {
    user: String,
    state: &'static str,
    said: String,
    at: String,
}

struct Proof {
    name: &'static str,
    means: &'static str,
    standing: &'static str,
    mark: &'static str,
    count: String,
    evidence: String,
}

struct View {
    contest_id: String,
    title: String,
    terms: String,
    phase: &'static str,
    phase_label: &'static str,
    phase_from_ms: i64,
    phase_to_ms: i64,
    left: String,
    pool: String,
    pool_is: &'static str,
    finishers: String,
    signups: String,
    estimate: String,
    stops: Vec<Stop>,
    funnel: Vec<Bar>,
    money_in: Vec<Part>,
    money_out: Vec<Part>,
    total_in: String,
    total_out: String,
    sign: &'static str,
    prizes: String,
    to_pay: String,
    feed: Vec<Line>,
    proofs: Vec<Proof>,
    verdict: &'static str,
    verdict_said: &'static str,
    checked_at: String,
}

#[derive(Template)]
#[template(path = "board.html")]
struct Page<'a> {
    language: Language,
    style: &'a str,
    script: &'a str,
    icon: &'a str,
    is_picked: bool,
    now_ms: i64,
    host: &'a str,
    choices: Vec<Choice>,
    newest: String,
    view: Option<View>,
}

impl Page<'_> {
    fn say(&self, english: &'static str, chinese: &'static str) -> &'static str {
        self.language.say(english, chinese)
    }
}

/// The page's text.
pub(crate) fn render(sight: &Sight<'_>) -> Result<String, askama::Error> {
    let shown = sight.shown.map(|(contest, _)| contest.id);
    let choices: Vec<_> = sight
        .listed
        .iter()
        .map(|contest| Choice {
            id: contest.id.to_string(),
            title: contest.title.clone(),
            phase: words::phase(sight.language, contest.public_phase(sight.now)),
            is_shown: shown == Some(contest.id),
        })
        .collect();
    Page {
        language: sight.language,
        style: &sight.assets.style.path,
        script: &sight.assets.script.path,
        icon: &sight.assets.icon.path,
        is_picked: sight.is_picked,
        now_ms: sight.now.0,
        host: sight.host,
        newest: choices
            .first()
            .map_or(String::new(), |newest| newest.id.clone()),
        choices,
        view: sight
            .shown
            .map(|(contest, picture)| view(sight.language, contest, picture, sight.now)),
    }
    .render()
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `part` of `whole` in thousandths; something is never nothing.
fn share(part: u64, whole: u64) -> u64 {
    if part == 0 || whole == 0 {
        return 0;
    }
    let share = u128::from(part) * 1_000 / u128::from(whole);
    u64::try_from(share).unwrap_or(1_000).clamp(4, 1_000)
}

fn view(language: Language, contest: &Contest, picture: &Picture, now: UnixMillis) -> View {
    let say = |english, chinese| language.say(english, chinese);
    let money = picture.money;
    let (total_in, total_out) = (money.total_in(), money.total_out());
    let whole = total_in.max(total_out);
    let parts = |parts: &[(&'static str, &'static str, u64)]| {
        let mut from = 0;
        let part = |(name, label, amount): &(&'static str, &'static str, u64)| {
            let width = share(*amount, whole);
            let part = Part {
                name,
                label,
                amount: grouped(*amount),
                from,
                width,
                is_empty: *amount == 0,
            };
            from += width;
            part
        };
        parts.iter().map(part).collect::<Vec<_>>()
    };
    let checks = picture.checks.as_ref();
    let (verdict, verdict_said) = verdict(language, picture);
    View {
        contest_id: picture.contest_id.clone(),
        title: contest.title.clone(),
        terms: terms(language, contest),
        phase: picture.phase,
        phase_label: words::phase(language, picture.public_phase),
        phase_from_ms: picture.phase_from_ms,
        phase_to_ms: picture.phase_to_ms.unwrap_or(0),
        left: picture
            .phase_to_ms
            .map_or("–".to_owned(), |to| countdown(to - now.0)),
        pool: grouped(picture.pool),
        pool_is: pool_is(language, picture.is_frozen),
        finishers: grouped(picture.finishers),
        signups: grouped(picture.signups),
        estimate: match picture.finishers {
            0 => "–".to_owned(),
            _ => grouped(picture.estimated_prize),
        },
        stops: stops(language, picture, now),
        funnel: funnel(language, picture),
        money_in: parts(&[
            ("fees", say("Fees", "报名费"), money.fees),
            ("guarantee", say("Guarantee", "保底"), money.guarantee),
            ("carry", say("Carried over", "上期结转"), money.carry),
            ("moving_in", say("On its way", "在途"), money.moving_in),
        ]),
        money_out: parts(&[
            ("prizes", say("Prizes", "奖金"), money.prizes),
            ("refunds", say("Refunds", "退款"), money.refunds),
            ("rake", say("Rake", "平台抽成"), money.rake),
            ("returned", say("Returned", "退回平台"), money.returned),
            ("moving_out", say("On its way", "在途"), money.moving_out),
            ("left", say("Still in the pool", "奖池余额"), money.left),
        ]),
        total_in: grouped(total_in),
        total_out: grouped(total_out),
        sign: if total_in == total_out { "=" } else { "≠" },
        prizes: grouped(money.prizes),
        to_pay: grouped(money.to_pay),
        feed: feed(language, picture, now),
        proofs: proofs(language, picture),
        verdict,
        verdict_said,
        checked_at: checks.map_or(String::new(), |checks| clock_time(UnixMillis(checks.at_ms))),
    }
}

fn pool_is(language: Language, is_frozen: bool) -> &'static str {
    if is_frozen {
        language.say("fixed at the freeze", "已冻结")
    } else {
        language.say("live from the ledger", "实时账本余额")
    }
}

fn terms(language: Language, contest: &Contest) -> String {
    let terms = &contest.terms;
    let (fee, target) = (grouped(terms.fee.get()), terms.task.target);
    let task = match terms.task.kind.as_str() {
        "open_chest" => language.say("open chests", "开宝箱"),
        "send_gift" => language.say("send gifts", "送礼物"),
        "watch_minutes" => language.say("watch minutes", "观看分钟"),
        other => other,
    };
    match language {
        Language::English => format!("{} · fee {fee} · {task} × {target}", terms.room_id),
        Language::Chinese => format!("{} · 报名费 {fee} · {task} × {target}", terms.room_id),
    }
}

/// What is left, as minutes and seconds, or hours before them.
fn countdown(millis: i64) -> String {
    let seconds = millis.max(0).saturating_add(999) / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

fn stops(language: Language, picture: &Picture, now: UnixMillis) -> Vec<Stop> {
    use PublicPhase::{Cancelled, Cancelling, Claimable, Closed, Draft, Open, Running, Settling};
    let line: &[PublicPhase] = match picture.public_phase {
        Cancelling | Cancelled => &[Draft, Open, Cancelling, Cancelled],
        _ => &[Draft, Open, Running, Settling, Claimable, Closed],
    };
    let at = line.iter().position(|phase| *phase == picture.public_phase);
    let at = at.unwrap_or(0);
    let elapsed = match picture.phase_to_ms {
        Some(to) if to > picture.phase_from_ms => {
            let part = u64::try_from((now.0 - picture.phase_from_ms).max(0)).unwrap_or(0);
            let whole = u64::try_from(to - picture.phase_from_ms).unwrap_or(1);
            share(part.min(whole), whole)
        }
        _ if matches!(picture.public_phase, Closed | Cancelled) => 1_000,
        _ => 500,
    };
    let stop = |(index, phase): (usize, &PublicPhase)| {
        let (place, done) = match index.cmp(&at) {
            std::cmp::Ordering::Less => ("past", 1_000),
            std::cmp::Ordering::Equal => ("now", elapsed),
            std::cmp::Ordering::Greater => ("next", 0),
        };
        Stop {
            phase: phase.name(),
            label: words::phase(language, *phase),
            place,
            done,
        }
    };
    line.iter().enumerate().map(stop).collect()
}

fn funnel(language: Language, picture: &Picture) -> Vec<Bar> {
    let bar = |state: &StateKind| {
        let Step { here, reached } = picture.funnel.get(state.name()).copied().unwrap_or(Step {
            here: 0,
            reached: 0,
        });
        let (label, said) = words::state(language, *state);
        let is_exit = EXITS.contains(state);
        Bar {
            state: state.name(),
            label,
            said,
            here: grouped(here),
            here_width: share(here, picture.signups),
            reached_width: share(reached, picture.signups),
            is_exit,
            is_none: here == 0,
        }
    };
    MAIN_LINE.iter().chain(&EXITS).map(bar).collect()
}

fn feed(language: Language, picture: &Picture, now: UnixMillis) -> Vec<Line> {
    let line = |entry: &super::picture::Move| {
        let (_, said) = words::state(language, entry.kind);
        Line {
            user: entry.user.clone(),
            state: entry.state,
            said: said.replace("{}", &grouped(entry.prize.unwrap_or(0))),
            at: ago(language, now.0 - entry.at_ms),
        }
    };
    picture.feed.iter().map(line).collect()
}

/// How long ago, briefly.
fn ago(language: Language, millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    let (number, english, chinese) = match seconds {
        0..60 => (seconds, "s", "秒"),
        60..3_600 => (seconds / 60, "min", "分"),
        3_600..86_400 => (seconds / 3_600, "h", "时"),
        _ => (seconds / 86_400, "d", "天"),
    };
    format!("{number} {}", language.say(english, chinese))
}

const fn standing(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::Holds => ("holds", "✓"),
        Standing::Broken => ("broken", "✕"),
        Standing::Nothing => ("nothing", "·"),
        Standing::NotKept => ("not_kept", "–"),
        Standing::Unknown => ("unknown", "?"),
    }
}

fn proofs(language: Language, picture: &Picture) -> Vec<Proof> {
    let verdicts = match &picture.checks {
        Some(checks) => checks.verdicts.clone(),
        None => checker::report::Invariant::ALL.map(unknown).into(),
    };
    let proof = |verdict: super::checks::Verdict| {
        let (standing, mark) = standing(verdict.standing);
        let count = match verdict.standing {
            Standing::Holds | Standing::Broken => language
                .say("{} checked", "{} 项")
                .replace("{}", &grouped(verdict.checked)),
            Standing::Nothing => language.say("nothing yet", "尚无").to_owned(),
            Standing::NotKept => language.say("not applicable yet", "暂不适用").to_owned(),
            Standing::Unknown => language.say("not checked", "未检查").to_owned(),
        };
        Proof {
            name: verdict.name,
            means: words::invariant(language, verdict.name),
            standing,
            mark,
            count,
            evidence: verdict.evidence.unwrap_or_default(),
        }
    };
    verdicts.into_iter().map(proof).collect()
}

/// All of them in one word, and in one sentence.
fn verdict(language: Language, picture: &Picture) -> (&'static str, &'static str) {
    let Some(checks) = &picture.checks else {
        return ("unknown", language.say("not checked yet", "尚未检查"));
    };
    let any = |wanted| checks.verdicts.iter().any(|one| one.standing == wanted);
    match checks.unchecked {
        Some(Unchecked::TooLarge) => (
            "unknown",
            language.say("too large to be checked live", "规模过大，不做实时检查"),
        ),
        Some(Unchecked::Failed) => (
            "unknown",
            language.say("the checker could not read the files", "检查器无法读取文件"),
        ),
        None if any(Standing::Broken) => ("broken", language.say("broken", "有规则被破坏")),
        None => ("holds", language.say("all hold", "全部成立")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_counted_down() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (millis, text) in [
            (-5, "0:00"),
            (1, "0:01"),
            (61_000, "1:01"),
            (3_600_000, "1:00:00"),
        ] {
            assert_eq!(countdown(millis), text);
        }
    }

    #[test]
    fn a_part_of_something_is_seen() {
        assert_eq!(share(0, 10), 0);
        assert_eq!(share(1, 0), 0);
        assert_eq!(share(1, 1_000_000), 4);
        assert_eq!(share(10, 10), 1_000);
        assert_eq!(share(11, 10), 1_000);
    }

    #[test]
    fn the_first_load_is_small() {
        let assets = Assets::new();
        let size: usize = assets.all().iter().map(|asset| asset.text.len()).sum();
        assert!(size < 50_000, "{size} bytes");
        for asset in assets.all() {
            assert!(!asset.text.contains("http://") || asset.kind.starts_with("image/svg"));
            assert!(
                !asset.text.contains("https://"),
                "nothing comes from elsewhere"
            );
        }
    }
}

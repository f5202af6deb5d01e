//! What the board says, in English and Chinese. The words of states and phases are those of
//! domain.md.

use domain::{contest::PublicPhase, signup::StateKind};

/// A language of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

impl Language {
    /// The one that is asked for by name, else the one that the browser prefers, else English.
    pub(crate) fn choose(asked: Option<&str>, accepted: Option<&str>) -> Self {
        if let Some(language) = asked.and_then(Self::of_tag) {
            return language;
        }
        let weighed = accepted.unwrap_or_default().split(',').filter_map(|part| {
            let (tag, weight) = part.split_once(";q=").unwrap_or((part, "1"));
            Some((Self::of_tag(tag.trim())?, thousandths(weight.trim())))
        });
        // The first of those that weigh most.
        let best = weighed.reduce(|best, next| if next.1 > best.1 { next } else { best });
        match best {
            Some((language, 1..)) => language,
            _ => Self::English,
        }
    }

    fn of_tag(tag: &str) -> Option<Self> {
        match tag.get(..2)?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// Its tag, as pages declare it.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::English => Self::Chinese,
            Self::Chinese => Self::English,
        }
    }

    /// What it is called where one may be chosen.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    /// The English or the Chinese words.
    pub(crate) const fn say(self, english: &'static str, chinese: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}

/// `0.85` as 850; what is no weight weighs nothing.
fn thousandths(weight: &str) -> u32 {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = format!("{whole}{part:0<3}");
    digits
        .get(..whole.len() + 3)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// A phase, for people.
pub(crate) const fn phase(language: Language, phase: PublicPhase) -> &'static str {
    let (english, chinese) = match phase {
        PublicPhase::Draft => ("Announced", "预告"),
        PublicPhase::Open => ("Signups open", "报名中"),
        PublicPhase::Running => ("Tasks running", "任务中"),
        PublicPhase::Settling => ("Settling", "结算中"),
        PublicPhase::Claimable => ("Claiming", "领奖中"),
        PublicPhase::Closed => ("Closed", "已结束"),
        PublicPhase::Cancelling => ("Cancelling", "取消中"),
        PublicPhase::Cancelled => ("Cancelled", "已取消"),
    };
    language.say(english, chinese)
}

/// A state, for people: its name in the funnel, and what the feed says of somebody who came to it.
/// `{}` is where an amount goes.
pub(crate) const fn state(language: Language, state: StateKind) -> (&'static str, &'static str) {
    let (english, chinese) = match state {
        StateKind::Initialized => (("Initialized", "is signing up"), ("初始化", "正在报名")),
        StateKind::Paid => (("Paid", "paid the fee"), ("已支付", "付了报名费")),
        StateKind::InProgress => (
            ("In progress", "paid and is in"),
            ("进行中", "已付费，开始任务"),
        ),
        StateKind::Completed => (("Completed", "finished the task"), ("已完成", "完成了任务")),
        StateKind::Claiming => (
            ("Claiming", "claims {} coins"),
            ("领奖中", "正在领取 {} 金币"),
        ),
        StateKind::Shared => (("Shared", "was paid {} coins"), ("已瓜分", "分得 {} 金币")),
        StateKind::Missed => (("Missed", "did not finish"), ("未完成", "没有完成任务")),
        StateKind::Forfeited => (("Forfeited", "did not claim"), ("逾期未领", "逾期未领")),
        StateKind::Expired => (("Expired", "never paid"), ("未支付失效", "未支付，已失效")),
        StateKind::Refunding => (("Refunding", "gets the fee back"), ("退款中", "正在退款")),
        StateKind::Refunded => (("Refunded", "has the fee back"), ("已退款", "已收到退款")),
    };
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}

/// What an invariant means, in one line; its name stands beside it.
pub(crate) fn invariant(language: Language, name: &str) -> &'static str {
    let (english, chinese) = match name {
        "ONE_CHARGE" => ("Nobody is charged twice", "同一人至多扣一次报名费"),
        "PAID_MEANS_PAID" => (
            "Paid means exactly one fee paid",
            "记为已支付，即恰好付过一笔报名费",
        ),
        "ONE_PRIZE" => (
            "One prize at most, and never with a refund",
            "每人至多一份奖金，不与退款并存",
        ),
        "NO_OVERPAY" => ("Never more out than came in", "任何时刻支出不超过收入"),
        "ZERO_SUM" => (
            "Every coin has a transfer; a pool ends at 0",
            "每枚金币都有流水，结束时奖池归零",
        ),
        "FROZEN_ONCE" => (
            "Frozen numbers stay, and equal the rows",
            "冻结的数字不再改变，且与记录相符",
        ),
        "FORWARD_ONLY" => (
            "States and phases only move forward",
            "状态与阶段只前进，不后退",
        ),
        "NO_LIMBO" => ("Nothing that is due stays undone", "该办的事不会悬而不决"),
        "TALLY_TRUE" => ("The live tally equals the rows", "实时计数与记录相符"),
        "NO_EARLY_PRIZE" => ("No prize before the freeze", "冻结之前不发奖"),
        _ => ("", ""),
    };
    language.say(english, chinese)
}

#[cfg(test)]
mod tests {
    use super::{Language::*, *};

    #[test]
    fn the_language_is_the_one_asked_for_or_preferred() {
        let cases = [
            (None, None, English),
            (None, Some("zh-CN,zh;q=0.9,en;q=0.8"), Chinese),
            (None, Some("en-US,en;q=0.9,zh;q=0.8"), English),
            (None, Some("fr, zh;q=0.3, en;q=0.4"), English),
            (None, Some("fr;q=0.9, zh-TW;q=0.85, en;q=0.8"), Chinese),
            (None, Some("zh;q=0, fr"), English),
            (None, Some("zh;q=nonsense"), English),
            (Some("zh"), Some("en"), Chinese),
            (Some("en"), Some("zh"), English),
            (Some("xx"), Some("zh"), Chinese),
            (Some("中"), None, English),
        ];
        for (asked, accepted, wanted) in cases {
            assert_eq!(
                Language::choose(asked, accepted),
                wanted,
                "{asked:?} {accepted:?}"
            );
        }
    }

    #[test]
    fn everything_has_words_in_both_languages() {
        for language in [English, Chinese] {
            for kind in StateKind::ALL {
                let (name, said) = state(language, *kind);
                assert!(!name.is_empty() && !said.is_empty());
            }
            for name in checker::report::Invariant::ALL.map(checker::report::Invariant::name) {
                assert!(!invariant(language, name).is_empty(), "{name}");
            }
        }
    }
}

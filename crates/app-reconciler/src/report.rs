//! The sums of a contest, so that they can be added up by hand.

use crate::commands::of_finding;
use clap::ValueEnum;
use domain::{
    contest::{LegOutcome, applied_amount},
    invariant::Invariant,
    order::OwnLeg,
    time::UnixMillis,
};
use ports::findings::Finding;
use serde_json::{Value, json};
use usecases::{Report, sheet::rfc3339};

/// How a report is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people in a terminal.
    Table,
    /// For scripts.
    Json,
    /// For spreadsheets: section, item, signups, coins.
    Csv,
    /// For people, with charts; one file that needs nothing else.
    Html,
}

/// Coins that moved, with their name in both languages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) item: &'static str,
    pub(crate) chinese: &'static str,
    pub(crate) coins: u64,
}

/// Whether an invariant holds; none where it was not checked.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) name: &'static str,
    pub(crate) holds: Option<bool>,
    pub(crate) evidence: Vec<String>,
}

/// Signups in a state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InState {
    pub(crate) state: &'static str,
    pub(crate) signups: u64,
    pub(crate) fees: u64,
    pub(crate) prizes: u64,
}

/// Everything that a report tells.
pub(crate) struct Sums {
    pub(crate) contest_id: String,
    pub(crate) title: String,
    pub(crate) room_id: String,
    pub(crate) phase: &'static str,
    pub(crate) as_of: String,
    /// What came into the pool.
    pub(crate) came: Vec<Moved>,
    /// What left it.
    pub(crate) left: Vec<Moved>,
    /// Own legs whose outcome is not known.
    pub(crate) pending: Vec<&'static str>,
    /// What the pool account holds by the funds system; none where there is no account yet.
    pub(crate) held: Option<u64>,
    pub(crate) funnel: [Moved; 4],
    pub(crate) states: Vec<InState>,
    pub(crate) invariants: Vec<Held>,
    pub(crate) findings: Vec<Finding>,
}

const fn moved(item: &'static str, chinese: &'static str, coins: u64) -> Moved {
    Moved {
        item,
        chinese,
        coins,
    }
}

impl Sums {
    /// The sums of a report.
    pub(crate) fn new(report: &Report, now: UnixMillis) -> Self {
        let contest = &report.contest;
        let own = |leg| applied_amount(&contest.legs, leg).get();
        let pending = contest
            .legs
            .iter()
            .filter(|(_, state)| state.outcome == LegOutcome::Pending);
        let held = |(invariant, holds, evidence): (Invariant, _, _)| Held {
            name: invariant.name(),
            holds,
            evidence,
        };
        Self {
            contest_id: contest.id.to_string(),
            title: contest.title.clone(),
            room_id: contest.terms.room_id.to_string(),
            phase: contest.public_phase(now).name(),
            as_of: rfc3339(now),
            came: vec![
                moved("fees", "报名费", report.fees()),
                moved("guarantee", "保底", own(OwnLeg::Guarantee)),
                moved("carry", "上期结转", own(OwnLeg::Carry)),
            ],
            left: vec![
                moved("prizes", "奖金", report.prizes()),
                moved("refunds", "退款", report.refunds()),
                moved("rake", "平台抽成", own(OwnLeg::Rake)),
                moved("guarantee_return", "保底退回", own(OwnLeg::GuaranteeReturn)),
                moved("sweep", "余额归平台", own(OwnLeg::Sweep)),
                moved("rollover", "余额结转", own(OwnLeg::Rollover)),
            ],
            pending: pending.map(|(leg, _)| leg.name()).collect(),
            held: report.balance.map(domain::money::Coins::get),
            funnel: [
                moved("signed_up", "报名", report.signed_up()),
                moved("paid", "已支付", report.paid()),
                moved("finished", "已完成", report.finished()),
                moved("claimed", "已领奖", report.claimed()),
            ],
            states: report
                .counts
                .iter()
                .map(|count| InState {
                    state: count.state.name(),
                    signups: count.signups,
                    // Of who paid none there is none to be added up.
                    fees: if count.state.is_paid() {
                        count.fees.get()
                    } else {
                        0
                    },
                    prizes: count.prizes.get(),
                })
                .collect(),
            invariants: report.invariants().map(held).collect(),
            findings: report.findings.clone(),
        }
    }

    /// What came in, in all.
    pub(crate) fn total_in(&self) -> u64 {
        self.came.iter().map(|moved| moved.coins).sum()
    }

    /// What left, in all.
    pub(crate) fn total_out(&self) -> u64 {
        self.left.iter().map(|moved| moved.coins).sum()
    }

    /// Whether what came in less what left is what the account holds; none while something may be
    /// under way.
    pub(crate) fn adds_up(&self) -> Option<bool> {
        let under_way = ["initialized", "claiming", "refunding"];
        let is_moving = self
            .states
            .iter()
            .any(|state| under_way.contains(&state.state) && state.signups > 0);
        let held = self.held?;
        let agrees = self.total_in().checked_sub(self.total_out()) == Some(held);
        (agrees || (!is_moving && self.pending.is_empty())).then_some(agrees)
    }

    /// Whether nothing has to be looked at.
    pub(crate) fn is_green(&self) -> bool {
        self.adds_up() != Some(false)
            && self.findings.is_empty()
            && self.invariants.iter().all(|held| held.holds != Some(false))
    }

    /// The line under the sums.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.adds_up() {
            Some(true) => "in - out = held: the sums agree",
            Some(false) => "in - out is NOT what the account holds",
            None => "payments are under way: the sums are compared when they have ended",
        }
    }

    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{} ({})\nroom {}, {}, as of {}\n\n",
            self.title, self.contest_id, self.room_id, self.phase, self.as_of
        );
        let mut line = |name: &str, coins: u64| {
            text.push_str(&format!("  {name:<18}{coins:>16}\n"));
        };
        for moved in self.came.iter().filter(|moved| moved.coins > 0) {
            line(&format!("+ {}", moved.item), moved.coins);
        }
        line("= in", self.total_in());
        for moved in self.left.iter().filter(|moved| moved.coins > 0) {
            line(&format!("- {}", moved.item), moved.coins);
        }
        line("= out", self.total_out());
        if let Some(held) = self.held {
            line("held", held);
        }
        text.push_str(&format!("  {}\n", self.verdict()));
        for leg in &self.pending {
            text.push_str(&format!("  under way: {leg}\n"));
        }
        text.push_str(&format!(
            "\n  {:<14}{:>10}{:>16}{:>16}\n",
            "state", "signups", "fees", "prizes"
        ));
        for state in &self.states {
            text.push_str(&format!(
                "  {:<14}{:>10}{:>16}{:>16}\n",
                state.state, state.signups, state.fees, state.prizes
            ));
        }
        text.push('\n');
        for held in &self.invariants {
            let said = match held.holds {
                Some(true) => "holds",
                Some(false) => "BROKEN",
                None => "not checked here",
            };
            text.push_str(&format!("  {:<18}{said}\n", held.name));
            for evidence in &held.evidence {
                text.push_str(&format!("    {evidence}\n"));
            }
        }
        text.push_str(&format!("\n  open findings: {}\n", self.findings.len()));
        for finding in &self.findings {
            let class = finding.class.name();
            text.push_str(&format!(
                "    {class} {}: {}\n",
                finding.subject, finding.evidence
            ));
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let coins = |all: &[Moved]| -> serde_json::Map<String, Value> {
            all.iter()
                .map(|moved| (moved.item.to_owned(), moved.coins.into()))
                .collect()
        };
        json!({
            "contest_id": self.contest_id,
            "title": self.title,
            "room_id": self.room_id,
            "phase": self.phase,
            "as_of": self.as_of,
            "in": coins(&self.came),
            "total_in": self.total_in(),
            "out": coins(&self.left),
            "total_out": self.total_out(),
            "held": self.held,
            "adds_up": self.adds_up(),
            "pending": self.pending,
            "funnel": coins(&self.funnel),
            "states": self.states.iter().map(|state| json!({
                "state": state.state, "signups": state.signups, "fees": state.fees, "prizes": state.prizes,
            })).collect::<Vec<_>>(),
            "invariants": self.invariants.iter().map(|held| json!({
                "name": held.name, "holds": held.holds, "evidence": held.evidence,
            })).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(of_finding).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn csv(&self) -> String {
        let mut text = "section,item,signups,coins\n".to_owned();
        let mut line = |section: &str, item: &str, signups: Option<u64>, coins: Option<u64>| {
            let number = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
            let (signups, coins) = (number(signups), number(coins));
            text.push_str(&format!("{section},{item},{signups},{coins}\n"));
        };
        for moved in &self.came {
            line("in", moved.item, None, Some(moved.coins));
        }
        line("in", "total", None, Some(self.total_in()));
        for moved in &self.left {
            line("out", moved.item, None, Some(moved.coins));
        }
        line("out", "total", None, Some(self.total_out()));
        line("held", "pool_account", None, self.held);
        for state in &self.states {
            line("fees", state.state, Some(state.signups), Some(state.fees));
            line(
                "prizes",
                state.state,
                Some(state.signups),
                Some(state.prizes),
            );
        }
        let open = self.findings.len() as u64;
        line("findings", "open", Some(open), None);
        text
    }
}

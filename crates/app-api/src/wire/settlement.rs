//! How a contest was settled, and who did most.

use super::rfc3339;
use domain::{
    contest::{Contest, Phase},
    settlement::{SheetLine, Totals},
};
use ports::{leaderboard::Place, store::Page};
use serde::Serialize;

/// How a contest was settled; the lines are for operators.
#[derive(Serialize)]
pub(crate) struct SheetView {
    contest_id: String,
    rule: &'static str,
    remainder: &'static str,
    fees: u64,
    guarantee: u64,
    carry: u64,
    rake_bps: u16,
    rake: u64,
    pool: u64,
    guarantee_return: u64,
    finishers: u64,
    weight_sum: u128,
    frozen_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commitment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    sheet_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<super::Items<SheetLineView>>,
}

/// One finisher's line of the sheet.
#[derive(Serialize)]
pub(crate) struct SheetLineView {
    signup_id: String,
    user_id: String,
    weight: u64,
    before: u128,
    prize: u64,
}

impl From<&SheetLine> for SheetLineView {
    fn from(line: &SheetLine) -> Self {
        Self {
            signup_id: line.finisher.signup_id.to_string(),
            user_id: line.finisher.user_id.to_string(),
            weight: line.finisher.weight.get(),
            before: line.before,
            prize: line.prize.get(),
        }
    }
}

impl SheetView {
    /// None before the freeze.
    pub(crate) fn new(
        contest: &Contest,
        lines: Option<Page<SheetLine, domain::ids::SignupId>>,
    ) -> Option<Self> {
        let (totals, frozen_at) = contest.phase.frozen()?;
        let Totals {
            fees,
            rake,
            pool,
            guarantee_return,
            finishers,
            weight_sum,
        } = *totals.get();
        let terms = &contest.terms;
        let sheet = match &contest.phase {
            Phase::Claimable(settlement) | Phase::Closed(settlement) => settlement.sheet,
            _ => None,
        };
        Some(Self {
            contest_id: contest.id.to_string(),
            rule: terms.rule.name(),
            remainder: terms.remainder.name(),
            fees: fees.get(),
            guarantee: terms.guaranteed_pool.get(),
            carry: terms.carry().get(),
            rake_bps: terms.rake_bps.get(),
            rake: rake.get(),
            pool: pool.get(),
            guarantee_return: guarantee_return.get(),
            finishers,
            weight_sum,
            frozen_at: rfc3339(frozen_at),
            position: contest
                .phase
                .credits_closed()
                .map(|closed| closed.position.0),
            commitment: contest.secret.map(|secret| secret.commitment().to_string()),
            secret: contest.secret.map(|secret| secret.reveal().to_string()),
            sheet_sha256: sheet.map(|digest| digest.to_string()),
            lines: lines.map(|page| super::Items {
                items: page.items.iter().map(SheetLineView::from).collect(),
                next_cursor: page.next.map(|id| id.to_string()),
            }),
        })
    }
}

/// The first places of a contest.
#[derive(Serialize)]
pub(crate) struct LeaderboardView {
    items: Vec<PlaceView>,
}

/// One place.
#[derive(Serialize)]
pub(crate) struct PlaceView {
    rank: u64,
    user_id: String,
    quantity: u64,
    reached_at: String,
}

impl From<&Place> for PlaceView {
    fn from(place: &Place) -> Self {
        Self {
            rank: place.rank,
            user_id: place.user_id.to_string(),
            quantity: place.quantity,
            reached_at: rfc3339(place.reached_at),
        }
    }
}

impl From<&[Place]> for LeaderboardView {
    fn from(places: &[Place]) -> Self {
        Self {
            items: places.iter().map(PlaceView::from).collect(),
        }
    }
}

/// A viewer's own place; without a rank as long as nothing that counts was done.
#[derive(Serialize)]
pub(crate) struct OwnPlaceView {
    rank: Option<u64>,
    user_id: String,
    quantity: u64,
    reached_at: Option<String>,
}

impl OwnPlaceView {
    pub(crate) fn new(user: &domain::ids::UserId, place: Option<&Place>) -> Self {
        Self {
            rank: place.map(|place| place.rank),
            user_id: user.to_string(),
            quantity: place.map_or(0, |place| place.quantity),
            reached_at: place.map(|place| rfc3339(place.reached_at)),
        }
    }
}

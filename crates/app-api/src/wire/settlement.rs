//! How a contest was settled, and who did most.

use super::rfc3339;
use crate::openapi::vocabulary;
use domain::{
    contest::{Contest, Phase},
    settlement::{SheetLine, Totals},
};
use ports::{leaderboard::Place, store::Page};
use serde::Serialize;
use utoipa::ToSchema;

/// How a contest was settled; the lines are for operators.
#[derive(Serialize, ToSchema)]
#[schema(as = SettlementOfContest)]
pub(crate) struct SheetView {
    #[schema(value_type = vocabulary::ContestId)]
    contest_id: String,
    #[schema(value_type = vocabulary::Rule)]
    rule: &'static str,
    #[schema(value_type = vocabulary::Remainder)]
    remainder: &'static str,
    /// All fees of paid signups.
    #[schema(value_type = vocabulary::Coins)]
    fees: u64,
    /// What the pool held at least.
    #[schema(value_type = vocabulary::Coins)]
    guarantee: u64,
    /// What the series brought.
    #[schema(value_type = vocabulary::Coins)]
    carry: u64,
    /// In hundredths of a percent.
    #[schema(minimum = 0, maximum = 10_000)]
    rake_bps: u16,
    /// What the platform keeps of the fees.
    #[schema(value_type = vocabulary::Coins)]
    rake: u64,
    /// What the finishers share.
    #[schema(value_type = vocabulary::Coins)]
    pool: u64,
    /// What of the guarantee was not needed.
    #[schema(value_type = vocabulary::Coins)]
    guarantee_return: u64,
    finishers: u64,
    #[schema(value_type = u64)]
    weight_sum: u128,
    #[schema(value_type = vocabulary::Time)]
    frozen_at: String,
    /// Where the funds system closed the pool account to credits.
    #[schema(value_type = u64, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// SHA-256 of the secret of a lucky split.
    #[schema(value_type = vocabulary::Digest, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    commitment: Option<String>,
    /// The secret of a lucky split.
    #[schema(value_type = vocabulary::Digest, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// SHA-256 of the sheet; null until its last line is written.
    #[schema(value_type = Option<vocabulary::Digest>, required = true)]
    sheet_sha256: Option<String>,
    /// A page of its lines; for operators alone.
    #[schema(value_type = super::Items<SheetLineView>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<super::Items<SheetLineView>>,
}

/// One finisher's line of the sheet.
#[derive(Serialize, ToSchema)]
#[schema(as = SheetLine)]
pub(crate) struct SheetLineView {
    #[schema(value_type = vocabulary::SignupId)]
    signup_id: String,
    #[schema(value_type = vocabulary::UserId)]
    user_id: String,
    #[schema(minimum = 1)]
    weight: u64,
    /// The weights ahead of it.
    #[schema(value_type = u64)]
    before: u128,
    #[schema(value_type = vocabulary::Coins)]
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
#[derive(Serialize, ToSchema)]
#[schema(as = Leaderboard)]
pub(crate) struct LeaderboardView {
    items: Vec<PlaceView>,
}

/// One place.
#[derive(Serialize, ToSchema)]
#[schema(as = Place)]
pub(crate) struct PlaceView {
    #[schema(minimum = 1)]
    rank: u64,
    #[schema(value_type = vocabulary::UserId)]
    user_id: String,
    quantity: u64,
    /// When what was done reached that much.
    #[schema(value_type = vocabulary::Time)]
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
#[derive(Serialize, ToSchema)]
#[schema(as = OwnPlace)]
pub(crate) struct OwnPlaceView {
    #[schema(value_type = Option<u64>, required = true, minimum = 1)]
    rank: Option<u64>,
    #[schema(value_type = vocabulary::UserId)]
    user_id: String,
    quantity: u64,
    #[schema(value_type = Option<vocabulary::Time>, required = true)]
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

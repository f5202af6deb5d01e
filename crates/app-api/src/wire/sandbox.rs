//! Coins to play with.

use crate::openapi::vocabulary;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Coins for a viewer of the sandbox.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewGrant)]
pub(crate) struct GrantBody {
    /// How many coins.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub(crate) amount: u64,
    #[schema(value_type = vocabulary::GrantId)]
    pub(crate) grant_id: String,
}

/// An account of the sandbox.
#[derive(Serialize, ToSchema)]
pub(crate) struct SandboxAccount {
    #[schema(value_type = vocabulary::UserId)]
    pub(crate) user_id: String,
    /// What it holds.
    #[schema(value_type = vocabulary::Coins)]
    pub(crate) balance: i64,
}

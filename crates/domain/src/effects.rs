//! What else must happen with a change. Pure, and saved in the same commit as the change.

use crate::signup::{Signup, StateKind};

crate::terms::choice! {
    /// Something that must happen after a signup changed, at least once, and harms nobody when it
    /// happens again.
    Effect {
        /// Drop the cached record now.
        DropCached = "drop_cached",
        /// Drop it once more after a delay, for a reader that stored an older copy meanwhile.
        DropCachedAgain = "drop_cached_again",
        /// Count a finisher in the live tally.
        CountFinisher = "count_finisher",
        /// Count a prize in the live tally.
        CountPrize = "count_prize",
        /// Enter the viewer's progress in the live ranking.
        Rank = "rank",
        /// Tell those who watch that the signup entered a new state.
        Announce = "announce",
    }
}

/// The effects of a write that turned `before` (none: inserted) into `after`.
#[must_use]
pub fn effects(before: Option<&Signup>, after: &Signup) -> Vec<Effect> {
    let mut effects = vec![Effect::DropCached, Effect::DropCachedAgain];
    let entered = |kind: StateKind| {
        after.state.kind() == kind && before.is_none_or(|before| before.state.kind() != kind)
    };
    if entered(StateKind::Completed) {
        effects.push(Effect::CountFinisher);
    }
    let is_paid = |signup: &Signup| signup.state.fee_receipt().is_some();
    if is_paid(after) && !before.is_some_and(is_paid) {
        // What the viewer did before this was saved has waited for it.
        effects.push(Effect::Rank);
    }
    if entered(StateKind::Shared) {
        effects.push(Effect::CountPrize);
    }
    if entered(after.state.kind()) {
        effects.push(Effect::Announce);
    }
    effects
}

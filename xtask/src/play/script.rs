//! What a viewer does for the task, piece by piece: how much, when it happened, when it is told.

use super::{
    plan::{Deed, TARGET, Windows},
    rules::Done,
};
use crate::rng::Rng;

/// How long after the end of the tasks the last pieces are told: well within the grace.
const TOLD_LATE_MS: i64 = 50;
/// The furthest ahead of its telling that anything happens: the API takes five minutes.
const AHEAD_MS: i64 = 240_000;

/// One telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Telling {
    /// When it is sent.
    pub(crate) at: i64,
    /// What happened.
    pub(crate) done: Vec<Done>,
    /// Of another kind than the task asks for: must never count.
    pub(crate) stray: bool,
}

/// Everything at once, or in two pieces.
pub(crate) fn plain(rng: &mut Rng, deed: Deed, now: i64, windows: Windows) -> Vec<Telling> {
    let ends = windows.ends;
    let (at, occurred, quantity) = match deed {
        Deed::Finishes => {
            let left = u64::try_from(ends - now).unwrap_or(0);
            let at = now.saturating_add_unsigned(rng.between(0, left * 7 / 10));
            (at, at, TARGET)
        }
        Deed::ArrivesInGrace => (ends + TOLD_LATE_MS, ends - 1, TARGET),
        Deed::Late => (ends + 30, ends, TARGET),
        Deed::Partly => (now, now, TARGET - 1),
        Deed::Early | Deed::Nothing => return Vec::new(),
    };
    let pieces = 1 + rng.next() % 2;
    let done = split(rng, quantity, pieces)
        .into_iter()
        .map(|quantity| Done { occurred, quantity })
        .collect();
    vec![Telling {
        at,
        done,
        stray: false,
    }]
}

/// Many pieces of many sizes, told in another order than they happened, with some that must not
/// count: before the fee was paid, after the end, of another kind.
pub(crate) fn varied(rng: &mut Rng, deed: Deed, now: i64, windows: Windows) -> Vec<Telling> {
    let Windows { opens, ends, .. } = windows;
    let total = match deed {
        Deed::Finishes | Deed::ArrivesInGrace => match rng.between(0, 100) {
            0..30 => TARGET,
            30..70 => rng.between(TARGET, TARGET * 10 + 1),
            70..90 => rng.between(TARGET * 10, TARGET * 20),
            _ => 1_000_000,
        },
        Deed::Late | Deed::Partly => TARGET - 1,
        Deed::Early | Deed::Nothing => return Vec::new(),
    };
    if now >= ends {
        return Vec::new();
    }
    let latest = ends.min(now + AHEAD_MS);
    let within = |rng: &mut Rng, from: i64| {
        let left = u64::try_from(latest - from).unwrap_or(0);
        from.saturating_add_unsigned(rng.between(0, left))
    };
    let all_at_once = rng.chance(15).then(|| within(rng, now));
    let count = rng.between(1, 6);
    let pieces = split(rng, total, count);
    let last = pieces.len() - 1;
    let mut tellings: Vec<_> = pieces
        .into_iter()
        .enumerate()
        .map(|(place, quantity)| {
            let occurred = all_at_once.unwrap_or_else(|| within(rng, now));
            let at = match deed {
                Deed::ArrivesInGrace if place == last => ends + TOLD_LATE_MS,
                _ if rng.chance(25) => now,
                _ => within(rng, occurred),
            };
            (at, occurred, quantity, false)
        })
        .collect();
    if deed == Deed::Late || rng.chance(20) {
        let after = ends.saturating_add_unsigned(rng.between(0, 20));
        tellings.push((ends + 30, after, TARGET * 4, false));
    }
    if rng.chance(30) {
        let before = opens - 1_000 + i64::try_from(rng.between(0, 1_000)).unwrap_or(0);
        tellings.push((now, before, TARGET * 4, false));
    }
    if rng.chance(20) {
        tellings.push((now, now, TARGET * 4, true));
    }
    tellings.sort_by_key(|&(at, _, _, stray)| (at, stray));
    let mut together: Vec<Telling> = Vec::new();
    for (at, occurred, quantity, stray) in tellings {
        let done = Done { occurred, quantity };
        match together.last_mut() {
            Some(last) if last.at == at && last.stray == stray => last.done.push(done),
            _ => together.push(Telling {
                at,
                done: vec![done],
                stray,
            }),
        }
    }
    together
}

/// A quantity in so many pieces at most, each of at least one.
fn split(rng: &mut Rng, quantity: u64, pieces: u64) -> Vec<u64> {
    let mut left = quantity;
    let mut parts = Vec::new();
    for more in (1..pieces.min(quantity)).rev() {
        let part = rng.between(1, left - more + 1);
        parts.push(part);
        left -= part;
    }
    parts.push(left);
    parts
}

#[cfg(test)]
mod tests {
    use super::{super::rules, *};

    const WINDOWS: Windows = Windows {
        opens: 10_000,
        closes: 15_000,
        ends: 20_000,
        claims_close: 25_000,
    };
    const NOW: i64 = 12_000;

    /// Quantity that counts, and whether every telling arrives before judging.
    fn counted(tellings: &[Telling]) -> u64 {
        let terms = rules::Terms {
            rule: rules::Rule::ByScore,
            remainder: rules::Remainder::Spread,
            target: TARGET,
            opens: WINDOWS.opens,
            ends: WINDOWS.ends,
        };
        let done: Vec<_> = tellings
            .iter()
            .filter(|telling| !telling.stray)
            .flat_map(|telling| telling.done.clone())
            .collect();
        terms.quantity(NOW, &done)
    }

    #[test]
    fn what_a_viewer_does_comes_to_what_was_planned() {
        for seed in 0..500 {
            for script in [plain, varied] {
                let mut rng = Rng::new(seed);
                let mut of = |deed| counted(&script(&mut rng, deed, NOW, WINDOWS));
                assert!(of(Deed::Finishes) >= TARGET, "seed {seed}");
                assert!(of(Deed::ArrivesInGrace) >= TARGET, "seed {seed}");
                assert!(of(Deed::Late) < TARGET, "seed {seed}");
                assert_eq!(of(Deed::Partly), TARGET - 1, "seed {seed}");
                assert_eq!(of(Deed::Nothing) + of(Deed::Early), 0, "seed {seed}");
            }
        }
    }

    #[test]
    fn everything_is_told_before_judging_and_some_of_it_out_of_order() {
        let mut shuffled = 0;
        let mut capped = 0;
        for seed in 0..500 {
            let tellings = varied(&mut Rng::new(seed), Deed::Finishes, NOW, WINDOWS);
            assert!(tellings.iter().all(|telling| {
                telling.at >= NOW
                    && telling.at <= WINDOWS.ends + TOLD_LATE_MS
                    && telling
                        .done
                        .iter()
                        .all(|done| (1..=1_000_000).contains(&done.quantity))
            }));
            let times: Vec<_> = tellings
                .iter()
                .flat_map(|telling| telling.done.iter().map(|done| done.occurred))
                .collect();
            shuffled += usize::from(!times.is_sorted());
            capped += usize::from(counted(&tellings) > TARGET * 10);
        }
        assert!(shuffled > 100 && capped > 50, "{shuffled} {capped}");
    }
}

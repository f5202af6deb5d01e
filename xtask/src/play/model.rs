//! The few lines that say how many coins everybody must have at the end.

use std::collections::HashMap;

/// What the driver knows from acknowledged answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Yes,
    No,
    /// Unacknowledged: may have gone either way.
    Open,
}

/// What one viewer did and was told.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) user: String,
    /// Coins granted in all.
    pub(crate) granted: u64,
    pub(crate) paid: Known,
    pub(crate) finished: Known,
    /// The prize and claim order of every acknowledged claim.
    pub(crate) claim: Option<(u64, String)>,
    /// What was wrong in the answers.
    pub(crate) complaints: Vec<String>,
}

/// A signup as it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) signup_id: String,
    pub(crate) state: String,
    pub(crate) prize: Option<u64>,
    pub(crate) claim_order_id: Option<String>,
}

/// What was promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) fee: u64,
    pub(crate) rake_bps: u64,
    pub(crate) guaranteed_pool: u64,
    /// An operator cancelled it.
    pub(crate) cancelled: bool,
}

/// What must be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prediction {
    /// Everybody's coins.
    pub(crate) coins: HashMap<String, u64>,
    /// Everybody's prize, of those who have one.
    pub(crate) prizes: HashMap<String, u64>,
    /// What is split; 0 where every fee goes back.
    pub(crate) pool: u64,
    pub(crate) finishers: u64,
    pub(crate) phase: &'static str,
}

fn is_paid(ended: Option<&Ended>) -> bool {
    ended.is_some_and(|ended| !matches!(ended.state.as_str(), "initialized" | "expired"))
}

fn is_finisher(ended: Option<&Ended>) -> bool {
    ended.is_some_and(|ended| {
        matches!(
            ended.state.as_str(),
            "completed" | "claiming" | "shared" | "forfeited"
        )
    })
}

/// The coins that follow from who paid and who finished: fees in, rake off, the rest spread over
/// the finishers in signup-id order to the last coin; or every fee back.
pub(crate) fn predict(
    promise: Promise,
    stories: &[Story],
    ended: &HashMap<String, Ended>,
) -> Prediction {
    let of = |story: &Story| ended.get(&story.user);
    let fees = promise.fee * stories.iter().filter(|story| is_paid(of(story))).count() as u64;
    let mut winners: Vec<_> = stories
        .iter()
        .filter(|story| is_finisher(of(story)))
        .map(|story| {
            (
                of(story).map(|ended| ended.signup_id.as_str()),
                story.user.as_str(),
            )
        })
        .collect();
    winners.sort_unstable();
    let count = winners.len() as u64;
    let back = promise.cancelled || count == 0;
    let rake = fees * promise.rake_bps / 10_000;
    let pool = if back {
        0
    } else {
        (fees - rake).max(promise.guaranteed_pool)
    };
    let part = |place: u64| pool * place / count;
    let prizes: HashMap<_, _> = (0..count)
        .zip(&winners)
        .map(|(place, (_, user))| ((*user).to_owned(), part(place + 1) - part(place)))
        .collect();
    let coins = stories.iter().map(|story| {
        let spent = if is_paid(of(story)) && !back {
            promise.fee
        } else {
            0
        };
        (
            story.user.clone(),
            story.granted - spent + prizes.get(&story.user).unwrap_or(&0),
        )
    });
    let phase = if back { "cancelled" } else { "closed" };
    Prediction {
        coins: coins.collect(),
        prizes,
        pool,
        finishers: count,
        phase,
    }
}

/// Where the end contradicts what was acknowledged or predicted. Each line is a fault.
pub(crate) fn compare(
    promise: Promise,
    stories: &[Story],
    ended: &HashMap<String, Ended>,
    balances: &HashMap<String, u64>,
) -> Vec<String> {
    let prediction = predict(promise, stories, ended);
    let back = prediction.phase == "cancelled";
    let mut faults = Vec::new();
    for story in stories {
        let end = ended.get(&story.user);
        let user = &story.user;
        let state = end.map_or("not signed up", |end| end.state.as_str());
        faults.extend(
            story
                .complaints
                .iter()
                .map(|complaint| format!("{user}: {complaint}")),
        );
        let mut hold = |told: Known, found: bool, what: &str| {
            if (told == Known::Yes) != found && told != Known::Open {
                faults.push(format!(
                    "{user} ended as {state}, but was told {told:?} to having {what}"
                ));
            }
        };
        hold(story.paid, is_paid(end), "paid");
        if !back {
            hold(story.finished, is_finisher(end), "finished");
        }
        let rests = end.is_none_or(|end| match is_paid(Some(end)) {
            true if back => end.state == "refunded",
            true => matches!(end.state.as_str(), "shared" | "missed"),
            false => end.state == "expired",
        });
        if !rests {
            faults.push(format!(
                "{user} ended as {state}, in a contest that is {}",
                prediction.phase
            ));
        }
        let prize = prediction.prizes.get(user).copied();
        if end.and_then(|end| end.prize) != prize {
            faults.push(format!(
                "{user} has prize {:?}, must have {prize:?}",
                end.and_then(|end| end.prize)
            ));
        }
        if let Some((told, order)) = &story.claim {
            let order_kept = end.and_then(|end| end.claim_order_id.as_ref()) == Some(order);
            if Some(*told) != prize || !order_kept {
                faults.push(format!(
                    "{user} was told a prize of {told} by order {order}, it is {prize:?} by {end:?}"
                ));
            }
        }
        let (held, must) = (
            balances.get(user).copied(),
            prediction.coins.get(user).copied(),
        );
        if held != must {
            faults.push(format!(
                "{user} holds {held:?} coins, must hold {must:?} ({state})"
            ));
        }
    }
    let known = |user: &String| stories.iter().any(|story| story.user == *user);
    faults.extend(
        ended
            .keys()
            .filter(|user| !known(user))
            .map(|user| format!("{user} is no viewer of this run")),
    );
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(user: &str, paid: Known, finished: Known) -> Story {
        Story {
            user: user.into(),
            granted: 25,
            paid,
            finished,
            claim: None,
            complaints: Vec::new(),
        }
    }

    fn end(id: &str, state: &str, prize: Option<u64>) -> Ended {
        Ended {
            signup_id: id.into(),
            state: state.into(),
            prize,
            claim_order_id: prize.map(|_| format!("o{id}")),
        }
    }

    const PROMISE: Promise = Promise {
        fee: 10,
        rake_bps: 1_000,
        guaranteed_pool: 0,
        cancelled: false,
    };

    fn ends(rows: &[(&str, Ended)]) -> HashMap<String, Ended> {
        rows.iter()
            .map(|(user, end)| ((*user).to_owned(), end.clone()))
            .collect()
    }

    fn coins(rows: &[(&str, u64)]) -> HashMap<String, u64> {
        rows.iter()
            .map(|(user, coins)| ((*user).to_owned(), *coins))
            .collect()
    }

    fn stories() -> Vec<Story> {
        vec![
            story("ann", Known::Yes, Known::Yes),
            story("bob", Known::Yes, Known::Open),
            story("cat", Known::Yes, Known::No),
            story("dan", Known::No, Known::No),
        ]
    }

    #[test]
    fn the_pool_is_spread_in_signup_id_order() {
        // 30 in, 3 rake, 27 over two: 13 and 14, the earlier id first.
        let ended = ends(&[
            ("ann", end("b", "shared", Some(14))),
            ("bob", end("a", "shared", Some(13))),
            ("cat", end("c", "missed", None)),
        ]);
        let balances = coins(&[("ann", 29), ("bob", 28), ("cat", 15), ("dan", 25)]);
        assert_eq!(compare(PROMISE, &stories(), &ended, &balances), [""; 0]);
        let prediction = predict(PROMISE, &stories(), &ended);
        assert_eq!(
            (prediction.pool, prediction.finishers, prediction.phase),
            (27, 2, "closed")
        );
    }

    #[test]
    fn a_contradiction_is_a_fault() {
        let ended = ends(&[
            ("ann", end("b", "missed", None)),
            ("bob", end("a", "shared", Some(27))),
            ("cat", end("c", "missed", None)),
        ]);
        let balances = coins(&[("ann", 15), ("bob", 42), ("cat", 15), ("dan", 25)]);
        let faults = compare(PROMISE, &stories(), &ended, &balances);
        assert!(
            matches!(faults.as_slice(), [one] if one.contains("ann") && one.contains("finished")),
            "{faults:?}"
        );
        let faults = compare(
            PROMISE,
            &stories(),
            &ended,
            &coins(&[("ann", 15), ("bob", 41), ("cat", 15)]),
        );
        assert_eq!(
            faults
                .iter()
                .filter(|fault| fault.contains("must hold"))
                .count(),
            2
        );
    }

    #[test]
    fn without_winners_every_fee_goes_back() {
        let ended = ends(&[
            ("bob", end("a", "refunded", None)),
            ("cat", end("c", "refunded", None)),
        ]);
        let stories: Vec<_> = stories().into_iter().skip(1).collect();
        let balances = coins(&[("bob", 25), ("cat", 25), ("dan", 25)]);
        assert_eq!(compare(PROMISE, &stories, &ended, &balances), [""; 0]);
    }

    #[test]
    fn a_guarantee_lifts_the_pool_and_a_claim_is_held_to_its_word() {
        let promise = Promise {
            guaranteed_pool: 100,
            ..PROMISE
        };
        let mut ann = story("ann", Known::Yes, Known::Yes);
        ann.claim = Some((100, "ob".into()));
        let ended = ends(&[("ann", end("b", "shared", Some(100)))]);
        assert_eq!(
            compare(promise, &[ann.clone()], &ended, &coins(&[("ann", 115)])),
            [""; 0]
        );
        ann.claim = Some((99, "ob".into()));
        assert_eq!(
            compare(promise, &[ann], &ended, &coins(&[("ann", 115)])).len(),
            1
        );
    }
}

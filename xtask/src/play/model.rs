//! The few lines that say how many coins everybody must have at the end.

use super::rules::{Done, Draw, Rule, Terms};
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
    /// The fees that the viewer asked for.
    pub(crate) asked: Vec<u64>,
    /// The fee of the acknowledged signup.
    pub(crate) fee: Option<u64>,
    pub(crate) paid: Known,
    /// A moment by which the fee was paid, and before which nothing was done since it was asked for.
    pub(crate) paid_by: i64,
    /// What was done of the task's kind, all of it told in time unless `untold`.
    pub(crate) done: Vec<Done>,
    /// Some of what was done may have been told too late.
    pub(crate) untold: bool,
    pub(crate) finished: Known,
    /// Every acknowledged claim.
    pub(crate) claim: Option<Claimed>,
    /// What was wrong in the answers.
    pub(crate) complaints: Vec<String>,
}

/// What the answer to a claim said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) prize: u64,
    pub(crate) weight: Option<u64>,
    pub(crate) order: String,
}

/// A signup as it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) signup_id: String,
    pub(crate) state: String,
    pub(crate) fee: u64,
    pub(crate) weight: Option<u64>,
    pub(crate) prize: Option<u64>,
    pub(crate) claim_order_id: Option<String>,
}

/// What was promised.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) terms: Terms,
    /// What a lucky contest shows after the freeze.
    pub(crate) draw: Option<Draw>,
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
    /// One line for each finisher, in signup-id order.
    pub(crate) lines: Vec<Line>,
    /// All fees paid.
    pub(crate) fees: u64,
    /// The platform's part; 0 where every fee goes back.
    pub(crate) rake: u64,
    /// What is split; 0 where every fee goes back.
    pub(crate) pool: u64,
    pub(crate) weight_sum: u128,
    /// How many weights were taken as found, for want of acknowledged answers.
    pub(crate) taken: u64,
    pub(crate) finishers: u64,
    pub(crate) phase: &'static str,
}

/// One finisher's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) signup_id: String,
    pub(crate) user: String,
    pub(crate) weight: u64,
    /// The sum of the weights before it.
    pub(crate) before: u128,
    pub(crate) prize: u64,
}

impl Prediction {
    /// A finisher's line.
    fn line(&self, user: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.user == user)
    }
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

/// What follows from who paid what and who finished how: fees in, rake off, the rest by weight over
/// the finishers in signup-id order; or every fee back. A weight that the answers leave open is
/// taken as it was found.
pub(crate) fn predict(
    promise: &Promise,
    stories: &[Story],
    ended: &HashMap<String, Ended>,
) -> Prediction {
    let of = |story: &Story| ended.get(&story.user);
    let fees: u64 = stories
        .iter()
        .filter_map(of)
        .filter(|end| is_paid(Some(end)))
        .map(|end| end.fee)
        .sum();
    let mut taken = 0;
    let mut winners: Vec<(&str, &str, u64)> = stories
        .iter()
        .filter(|story| is_finisher(of(story)))
        .filter_map(|story| of(story).map(|end| (story, end)))
        .map(|(story, end)| {
            let weight = weight(promise, story, end).or_else(|| {
                taken += 1;
                end.weight
            });
            (
                end.signup_id.as_str(),
                story.user.as_str(),
                weight.unwrap_or(0),
            )
        })
        .collect();
    winners.sort_unstable();
    let back = promise.cancelled || winners.is_empty();
    let rake = if back {
        0
    } else {
        fees * promise.rake_bps / 10_000
    };
    let pool = if back {
        0
    } else {
        (fees - rake).max(promise.guaranteed_pool)
    };
    let weights: Vec<u64> = winners.iter().map(|(.., weight)| *weight).collect();
    let parts = promise.terms.prizes(pool, &weights);
    let lines: Vec<Line> = winners
        .into_iter()
        .zip(if back { Vec::new() } else { parts })
        .map(|((signup_id, user, weight), (before, prize))| Line {
            signup_id: signup_id.to_owned(),
            user: user.to_owned(),
            weight,
            before,
            prize,
        })
        .collect();
    let prizes: HashMap<&str, u64> = lines
        .iter()
        .map(|line| (line.user.as_str(), line.prize))
        .collect();
    let coins = stories
        .iter()
        .map(|story| {
            let fee = of(story).filter(|end| is_paid(Some(end)) && !back);
            let spent = fee.map_or(0, |end| end.fee);
            let won = prizes.get(story.user.as_str()).unwrap_or(&0);
            (
                story.user.clone(),
                (story.granted + won).saturating_sub(spent),
            )
        })
        .collect();
    Prediction {
        coins,
        fees,
        rake,
        taken,
        pool,
        weight_sum: weights.iter().map(|weight| u128::from(*weight)).sum(),
        finishers: weights.len() as u64,
        phase: if back { "cancelled" } else { "closed" },
        lines,
    }
}

/// A finisher's weight, where the driver knows all that it follows from.
fn weight(promise: &Promise, story: &Story, end: &Ended) -> Option<u64> {
    let from_deeds = !matches!(promise.terms.rule, Rule::Equal | Rule::ByFee | Rule::Lucky);
    if from_deeds && (story.untold || story.paid != Known::Yes) {
        return None;
    }
    let draw = promise.draw.as_ref();
    promise
        .terms
        .weight(&story.user, end.fee, story.paid_by, &story.done, draw)
}

/// Where the end contradicts what was acknowledged or predicted. Each line is a fault.
pub(crate) fn compare(
    promise: &Promise,
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
        let line = prediction.line(user);
        let prize = line.map(|line| line.prize);
        if end.and_then(|end| end.prize) != prize {
            faults.push(format!(
                "{user} has prize {:?}, must have {prize:?}",
                end.and_then(|end| end.prize)
            ));
        }
        let weight = line.map(|line| line.weight);
        if weight.is_some() && end.and_then(|end| end.weight) != weight {
            faults.push(format!(
                "{user} has weight {:?}, must have {weight:?}",
                end.and_then(|end| end.weight)
            ));
        }
        if let Some(told) = &story.claim {
            let order_kept = end.and_then(|end| end.claim_order_id.as_ref()) == Some(&told.order);
            if Some(told.prize) != prize || told.weight != weight || !order_kept {
                faults.push(format!(
                    "{user} was told {told:?}, it is prize {prize:?} by weight {weight:?} by {end:?}"
                ));
            }
        }
        if let Some(end) = end
            && (!story.asked.contains(&end.fee) || story.fee.is_some_and(|fee| fee != end.fee))
        {
            faults.push(format!(
                "{user} asked for {:?}, was told {:?}, and is charged {}",
                story.asked, story.fee, end.fee
            ));
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
    use super::{super::rules::Remainder, *};

    fn story(user: &str, paid: Known, finished: Known) -> Story {
        Story {
            user: user.into(),
            granted: 25,
            asked: vec![10],
            fee: None,
            paid,
            paid_by: 10,
            done: Vec::new(),
            untold: false,
            finished,
            claim: None,
            complaints: Vec::new(),
        }
    }

    fn end(id: &str, state: &str, prize: Option<u64>) -> Ended {
        Ended {
            signup_id: id.into(),
            state: state.into(),
            fee: 10,
            weight: prize.map(|_| 1),
            prize,
            claim_order_id: prize.map(|_| format!("o{id}")),
        }
    }

    const PROMISE: Promise = Promise {
        terms: Terms {
            rule: Rule::Equal,
            remainder: Remainder::Spread,
            target: 3,
            opens: 0,
            ends: 100,
        },
        draw: None,
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
        assert_eq!(compare(&PROMISE, &stories(), &ended, &balances), [""; 0]);
        let prediction = predict(&PROMISE, &stories(), &ended);
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
        let faults = compare(&PROMISE, &stories(), &ended, &balances);
        assert!(
            matches!(faults.as_slice(), [one] if one.contains("ann") && one.contains("finished")),
            "{faults:?}"
        );
        let faults = compare(
            &PROMISE,
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
        assert_eq!(compare(&PROMISE, &stories, &ended, &balances), [""; 0]);
    }

    #[test]
    fn a_guarantee_lifts_the_pool_and_a_claim_is_held_to_its_word() {
        let promise = Promise {
            guaranteed_pool: 100,
            ..PROMISE
        };
        let mut ann = story("ann", Known::Yes, Known::Yes);
        let claimed = |prize| Claimed {
            prize,
            weight: Some(1),
            order: "ob".into(),
        };
        ann.claim = Some(claimed(100));
        let ended = ends(&[("ann", end("b", "shared", Some(100)))]);
        assert_eq!(
            compare(&promise, &[ann.clone()], &ended, &coins(&[("ann", 115)])),
            [""; 0]
        );
        ann.claim = Some(claimed(99));
        assert_eq!(
            compare(&promise, &[ann], &ended, &coins(&[("ann", 115)])).len(),
            1
        );
    }

    /// A viewer who did so much at 50, and how it ended.
    fn scorer(user: &str, id: &str, quantity: u64, prize: u64) -> (Story, Ended) {
        let mut story = story(user, Known::Yes, Known::Yes);
        story.done = vec![Done {
            occurred: 50,
            quantity,
        }];
        let mut end = end(id, "shared", Some(prize));
        end.weight = Some(quantity.min(30));
        (story, end)
    }

    #[test]
    fn a_weight_that_does_not_follow_from_what_was_done_is_a_fault() {
        let mut promise = PROMISE;
        promise.terms.rule = Rule::ByScore;
        // 20 in, 2 rake, 18 by 30 and 6: 15 and 3.
        let (ann, ann_end) = scorer("ann", "a", 4_000, 15);
        let (bob, bob_end) = scorer("bob", "b", 6, 3);
        let mut ended = ends(&[("ann", ann_end), ("bob", bob_end)]);
        let mut stories = [ann, bob];
        let balances = coins(&[("ann", 30), ("bob", 18)]);
        assert_eq!(compare(&promise, &stories, &ended, &balances), [""; 0]);
        let prediction = predict(&promise, &stories, &ended);
        assert_eq!((prediction.fees, prediction.rake), (20, 2));
        assert_eq!(prediction.weight_sum, 36);
        let befores: Vec<_> = prediction.lines.iter().map(|line| line.before).collect();
        assert_eq!(befores, [0, 30]);
        if let Some(end) = ended.get_mut("bob") {
            end.weight = Some(7);
        }
        let faults = compare(&promise, &stories, &ended, &balances);
        assert!(
            matches!(faults.as_slice(), [one] if one.contains("weight Some(7), must have Some(6)")),
            "{faults:?}"
        );
        // What may have been told too late decides nothing; then the weights make other prizes.
        stories[1].untold = true;
        let faults = compare(&promise, &stories, &ended, &balances);
        assert!(
            faults.iter().all(|fault| !fault.contains("has weight")) && !faults.is_empty(),
            "{faults:?}"
        );
    }

    #[test]
    fn a_fee_that_nobody_asked_for_is_a_fault() {
        let mut ann = story("ann", Known::Yes, Known::Yes);
        ann.fee = Some(25);
        ann.asked = vec![25, 100];
        let mut end = end("a", "shared", Some(90));
        end.fee = 100;
        let ended = ends(&[("ann", end)]);
        ann.granted = 110;
        let faults = compare(&PROMISE, &[ann.clone()], &ended, &coins(&[("ann", 100)]));
        assert!(
            matches!(faults.as_slice(), [one] if one.contains("is charged 100")),
            "{faults:?}"
        );
        ann.fee = Some(100);
        let faults = compare(&PROMISE, &[ann], &ended, &coins(&[("ann", 100)]));
        assert_eq!(faults, [""; 0]);
    }
}

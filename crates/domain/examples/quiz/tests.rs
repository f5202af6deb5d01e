//! The mode plays, eliminates and settles as it says.

use crate::{
    Options,
    mode::{Answer, Quiz},
    play, random_answers,
};
use domain::{
    contest::PhaseKind,
    money::Coins,
    order::Account,
    signup::{Signup, State, StateKind},
};

const RIGHT: Answer = Answer {
    right: true,
    after_ms: 9_999,
};
const LATE: Answer = Answer {
    right: true,
    after_ms: 10_000,
};
const WRONG: Answer = Answer {
    right: false,
    after_ms: 1,
};

/// Plays with these answers, the same in every round; the fourth player is too poor. Compares
/// what each player has in the end.
fn check(rake: u16, answers: [Answer; 3], phase: PhaseKind, purses: [u64; 4]) -> Quiz {
    let options = Options {
        players: 4,
        rake,
        ..Options::default()
    };
    let quiz = play(&options, &mut |index, _| answers[index]).expect("a run");
    let purse = |signup: &Signup| quiz.bank.held(&Account::User(signup.user_id.clone())).get();
    assert_eq!(quiz.contest.phase.kind(), phase);
    assert_eq!(quiz.signups.iter().map(purse).collect::<Vec<_>>(), purses);
    assert_eq!(quiz.bank.held(&quiz.contest.pool_account()), Coins::ZERO);
    assert_eq!(quiz.violations(), []);
    quiz
}

#[test]
fn survivors_split_the_pot_and_late_answers_do_not_count() {
    check(
        0,
        [RIGHT, LATE, RIGHT],
        PhaseKind::Closed,
        [550, 400, 550, 99],
    );
    check(
        500,
        [RIGHT, WRONG, RIGHT],
        PhaseKind::Closed,
        [542, 400, 543, 99],
    );
}

#[test]
fn a_single_survivor_takes_all() {
    check(
        0,
        [WRONG, RIGHT, WRONG],
        PhaseKind::Closed,
        [400, 700, 400, 99],
    );
}

#[test]
fn everyone_out_means_every_fee_back_without_rake() {
    check(
        500,
        [WRONG, LATE, WRONG],
        PhaseKind::Cancelled,
        [500, 500, 500, 99],
    );
}

#[test]
fn one_wrong_answer_in_any_round_is_the_end() {
    for fatal in 0..4 {
        let mut answer = |index: usize, round| {
            if index == 0 && round == fatal {
                WRONG
            } else {
                RIGHT
            }
        };
        let quiz = play(&Options::default(), &mut answer).expect("a run");
        assert_eq!(quiz.signups[0].state.kind(), StateKind::Missed);
        assert_eq!(quiz.survived[0].0, fatal);
        assert_eq!(quiz.violations(), []);
    }
}

#[test]
fn a_charge_whose_answer_was_lost_is_not_charged_again() {
    let mut quiz = Quiz::open(&Options::default()).expect("open doors");
    let (user, purse) = (
        "ann".parse().expect("an id"),
        Coins::new(500).expect("coins"),
    );
    quiz.enter(user, purse, true).expect("a charge");
    assert!(
        matches!(quiz.signups[0].state, State::Initialized(_)),
        "nobody knows"
    );
    quiz.ask_again(0).expect("a look-up");
    assert_eq!(quiz.signups[0].state.kind(), StateKind::InProgress);
    assert_eq!(quiz.bank.transfers.len(), 1);
    let again = quiz.bank.send(
        quiz.signups[0].fee_order(),
        quiz.signups[0].fee_content(),
        quiz.now,
    );
    assert_eq!(
        again.expect("no conflict"),
        Some(Ok(quiz.bank.transfers[0].receipt))
    );
    assert_eq!(
        quiz.bank
            .held(&Account::User(quiz.signups[0].user_id.clone()))
            .get(),
        400
    );
}

#[test]
fn every_seed_ends_with_clean_books() {
    for seed in 0..200 {
        let quiz = play(
            &Options {
                seed,
                ..Options::default()
            },
            &mut random_answers(seed),
        );
        let quiz = quiz.expect("a run");
        assert_eq!(quiz.violations(), [], "seed {seed}");
        assert!(quiz.contest.phase.kind().is_terminal(), "seed {seed}");
    }
}

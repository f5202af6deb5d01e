//! A live quiz whose survivors split the pot: a second game mode on the `domain` crate alone.
//!
//! Viewers pay a fee to enter. Each round a wrong or a late answer eliminates; whoever stands
//! after the last round shares the pool. Nothing about money is written here: the mode supplies
//! a bank, who survived which round and the clock, and runs the one loop that `due` and `apply`
//! are made for. Run `cargo run -p domain --example quiz -- --help`.

mod bank;
mod mode;
#[cfg(test)]
mod tests;

use domain::{
    contest::{PhaseKind, applied_amount},
    ids::{ContestId, UserId},
    invariant::Violation,
    money::{Coins, CoinsOutOfRange},
    order::{Leg, OwnLeg},
    signup::State,
};
use mode::{ANSWER_MS, Answer, Quiz};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "A quiz whose survivors split the pot.
usage: quiz [--seed N] [--players N] [--rounds N] [--fee COINS] [--purse COINS] [--rake BPS]";

/// What a run is made from.
struct Options {
    seed: u64,
    players: u64,
    rounds: u64,
    fee: u64,
    purse: u64,
    rake: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            players: 12,
            rounds: 4,
            fee: 100,
            purse: 500,
            rake: 500,
        }
    }
}

/// Runs a whole quiz: doors, rounds, payout. Every third viewer's first charge loses its answer,
/// and the last viewer is too poor to enter.
fn play(options: &Options, answer: &mut dyn FnMut(usize, u64) -> Answer) -> Result<Quiz> {
    let mut quiz = Quiz::open(options)?;
    for number in 0..options.players {
        let is_poor = number > 0 && number + 1 == options.players;
        let purse = Coins::new(if is_poor {
            options.fee.saturating_sub(1)
        } else {
            options.purse
        })?;
        quiz.enter(format!("player-{number}").parse()?, purse, number % 3 == 2)?;
    }
    for index in 0..quiz.signups.len() {
        if matches!(quiz.signups[index].state, State::Initialized(_)) {
            quiz.ask_again(index)?;
        }
    }
    quiz.run_until(PhaseKind::Running)?;
    // Before the first question every charge that was under way is resolved by look-up.
    (0..quiz.signups.len()).try_for_each(|index| quiz.drive(index))?;
    for round in 0..options.rounds {
        quiz.ask(round, answer)?;
    }
    quiz.run_until(PhaseKind::Closed)?;
    Ok(quiz)
}

/// SplitMix64: enough to make up answers that a seed repeats.
fn random_answers(seed: u64) -> impl FnMut(usize, u64) -> Answer {
    let mut state = seed;
    move |_, _| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let after_ms = i64::try_from(mixed / 10 % 11_000).unwrap_or(ANSWER_MS);
        Answer {
            right: mixed % 10 < 8,
            after_ms,
        }
    }
}

fn show(quiz: &Quiz) -> std::result::Result<(), CoinsOutOfRange> {
    println!(
        "{:<12} {:<10} {:>8} {:>8}",
        "player", "ended", "survived", "receives"
    );
    for (signup, (rounds, _)) in quiz.signups.iter().zip(&quiz.survived) {
        let receives = signup.payment().map_or(Coins::ZERO, |(_, amount)| amount);
        let ended = signup.state.kind().name();
        println!(
            "{:<12} {ended:<10} {rounds:>8} {:>8}",
            signup.user_id.as_str(),
            receives.get()
        );
    }
    let paid = |leg: fn(ContestId, UserId) -> Leg| {
        let orders = quiz
            .signups
            .iter()
            .map(|s| leg(s.contest_id, s.user_id.clone()).order_id());
        Coins::sum(
            orders
                .filter_map(|id| quiz.bank.found(id))
                .map(|found| found.content.amount),
        )
    };
    println!("\n{:<20} {:>8}", "fees in", paid(Leg::Fee)?);
    println!(
        "{:<20} {:>8}",
        "rake",
        applied_amount(&quiz.contest.legs, OwnLeg::Rake)
    );
    println!("{:<20} {:>8}", "prizes", paid(Leg::Prize)?);
    println!("{:<20} {:>8}", "refunds", paid(Leg::Refund)?);
    println!(
        "{:<20} {:>8}",
        "left in the pot",
        quiz.bank.held(&quiz.contest.pool_account())
    );
    Ok(())
}

/// The options; none where help was asked for.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options::default();
    while let Some(name) = arguments.next() {
        if name == "--help" || name == "-h" {
            return Ok(None);
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--seed" => options.seed = value.parse()?,
            "--players" => options.players = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            "--fee" => options.fee = value.parse()?,
            "--purse" => options.purse = value.parse()?,
            "--rake" => options.rake = value.parse()?,
            _ => return Err(format!("unknown argument {name}\n{HELP}").into()),
        }
    }
    Ok(Some(options))
}

fn run() -> Result<ExitCode> {
    let Some(options) = options(std::env::args().skip(1))? else {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let quiz = play(&options, &mut random_answers(options.seed))?;
    println!(
        "quiz with seed {}: {}\n",
        options.seed,
        quiz.contest.phase.kind().name()
    );
    show(&quiz)?;
    let violations = quiz.violations();
    for Violation {
        invariant,
        evidence,
    } in &violations
    {
        eprintln!("{} is violated: {evidence}", invariant.name());
    }
    println!("{:<20} {:>8}", "invariants violated", violations.len());
    Ok(if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("quiz: {error}");
        ExitCode::FAILURE
    })
}

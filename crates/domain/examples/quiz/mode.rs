//! The mode: who enters, who is eliminated, and the two loops around the domain.

use crate::{Options, Result, bank::Bank};
use domain::{
    contest::{Contest, ContestFact, Phase, PhaseKind},
    digest::Digest,
    draw::Secret,
    due::{Step, due},
    ids::{ContestId, UserId},
    invariant::{self, Books, Violation},
    judge::{self, Progress},
    lifecycle::{self, ContestStep, Presence},
    money::Coins,
    order::{Account, OwnLeg},
    payout::Rule,
    settlement::{self, Census, Finisher, SheetLine},
    signup::{Claimant, Fact, Paid, Payee, Signup, StateKind},
    terms::{BasisPoints, ClaimMode, NoWinner, Remainder, Task, Terms, Unclaimed},
    time::UnixMillis,
    transfer::CreditsClosed,
};

/// How long a question stands; an answer at or after this does not count.
pub(crate) const ANSWER_MS: i64 = 10_000;
/// When signups are over and the first question is asked.
const DOORS_CLOSE: i64 = 60_000;

/// One answer of one player: what was said, and how long after the question.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) right: bool,
    pub(crate) after_ms: i64,
}

impl Answer {
    fn counts(self) -> bool {
        self.right && self.after_ms < ANSWER_MS
    }
}

/// One run of the mode. What it knows beyond the domain is `survived`.
pub(crate) struct Quiz {
    pub(crate) contest: Contest,
    pub(crate) signups: Vec<Signup>,
    pub(crate) bank: Bank,
    sheet: Vec<SheetLine>,
    /// Rounds survived by each signup, and when the last of them was answered.
    pub(crate) survived: Vec<(u64, UnixMillis)>,
    pub(crate) now: UnixMillis,
}

impl Quiz {
    /// A quiz with its doors open and nobody in it.
    pub(crate) fn open(options: &Options) -> Result<Self> {
        let rounds = i64::try_from(options.rounds)?;
        let ends = DOORS_CLOSE.saturating_add(rounds.saturating_mul(ANSWER_MS));
        let terms = Terms {
            room_id: "quiz-room".parse()?,
            fee: Coins::new(options.fee)?,
            fee_tiers: Vec::new(),
            task: Task {
                kind: "survive_rounds".parse()?,
                target: options.rounds,
            },
            rule: Rule::Equal,
            rake_bps: BasisPoints::new(options.rake).ok_or("--rake is at most 10000")?,
            guaranteed_pool: Coins::ZERO,
            series: None,
            claim_mode: ClaimMode::Automatic,
            no_winner: NoWinner::Refund,
            remainder: Remainder::Spread,
            unclaimed: Unclaimed::Pay,
            grace_ms: 0,
            signup_opens_at: UnixMillis(0),
            signup_closes_at: UnixMillis(DOORS_CLOSE),
            tasks_end_at: UnixMillis(ends),
            claim_closes_at: UnixMillis(ends.saturating_add(60_000)),
        };
        let terms = terms.check().map_err(|broken| format!("{broken:?}"))?;
        let id: ContestId =
            format!("0198c9f2-0000-7000-8000-{:012x}", options.seed & 0xffff).parse()?;
        // Nothing is drawn here: the secret is not kept.
        let secret = Secret::new([0; 32]);
        let contest = Contest::new(id, "Quiz night".to_owned(), terms, secret, UnixMillis(0));
        let (signups, sheet, survived) = (Vec::new(), Vec::new(), Vec::new());
        let (bank, now) = (Bank::default(), UnixMillis(0));
        let mut quiz = Self {
            contest,
            signups,
            bank,
            sheet,
            survived,
            now,
        };
        quiz.run_until(PhaseKind::Draft)?;
        Ok(quiz)
    }

    /// A viewer with `purse` coins asks to enter. `answer_lost`: the first charge applies, but
    /// its answer never comes back.
    pub(crate) fn enter(&mut self, user: UserId, purse: Coins, answer_lost: bool) -> Result<()> {
        self.bank.coins.insert(Account::User(user.clone()), purse);
        let number = self.signups.len() as u64;
        let id = format!("0198c9f2-0000-7000-9000-{number:012x}").parse()?;
        let signup = Signup::new(id, self.contest.id, user, self.contest.terms.fee, self.now);
        self.bank
            .loses
            .extend(answer_lost.then(|| signup.fee_order()));
        self.signups.push(signup);
        self.survived.push((0, self.now));
        self.drive(self.signups.len() - 1)
    }

    /// The viewer taps *enter* once more. Whatever became of the first charge, it is looked up.
    pub(crate) fn ask_again(&mut self, index: usize) -> Result<()> {
        self.signups[index] = self.signups[index].clone().apply(Fact::SignUpAsked)?;
        self.drive(index)
    }

    /// Those who are still standing after `rounds` rounds, by index.
    fn standing(&self, rounds: u64) -> Vec<usize> {
        let playing = |index: &usize| self.signups[*index].state.kind() == StateKind::InProgress;
        let stands = |index: &usize| self.survived[*index].0 == rounds;
        (0..self.signups.len())
            .filter(playing)
            .filter(stands)
            .collect()
    }

    /// Asks question number `round`, from 0 on. Elimination is all that this mode decides; that it
    /// makes finishers or not is read from it as progress.
    pub(crate) fn ask(
        &mut self,
        round: u64,
        answer: &mut dyn FnMut(usize, u64) -> Answer,
    ) -> Result<()> {
        let asked_at = UnixMillis(DOORS_CLOSE).plus(i64::try_from(round)? * ANSWER_MS);
        for index in self.standing(round) {
            let answer = answer(index, round);
            if answer.counts() {
                self.survived[index] = (round + 1, asked_at.plus(answer.after_ms));
            }
        }
        self.now = asked_at.plus(ANSWER_MS);
        Ok(())
    }

    /// The loop: take the due step, apply its answer, again until nothing is due or somebody has
    /// to be waited for.
    pub(crate) fn drive(&mut self, index: usize) -> Result<()> {
        loop {
            let signup = self.signups[index].clone();
            let step = due(&signup, &self.contest, self.now);
            let fact = match step {
                Step::Rest => return Ok(()),
                step => self.perform(step, index, &signup)?,
            };
            let waits = fact.says_wait();
            self.signups[index] = signup.apply(fact)?;
            if waits {
                return Ok(());
            }
        }
    }

    fn perform(&mut self, step: Step, index: usize, signup: &Signup) -> Result<Fact> {
        Ok(match step {
            Step::Rest => return Err("rest is no step".into()),
            Step::Decide(fact) => fact,
            Step::ChargeFee => {
                match self
                    .bank
                    .send(signup.fee_order(), signup.fee_content(), self.now)?
                {
                    Some(Ok(receipt)) => Fact::FeeApplied(receipt),
                    Some(Err(refusal)) => Fact::FeeRefused(refusal),
                    None => Fact::FeeUnknown,
                }
            }
            Step::LookUpFee => {
                let found = self.bank.found(signup.fee_order());
                judge::fee_lookup(&self.contest, signup, found, self.bank.position())?
            }
            Step::AssignTask => Fact::TaskAssigned,
            Step::ReadProgress => {
                let (quantity, at) = self.survived[index];
                let met_at = (quantity == self.contest.terms.task.target).then_some(at);
                let progress = Progress {
                    quantity,
                    met_at,
                    complete_until: self.now,
                };
                judge::progress(&self.contest, signup, progress)
            }
            Step::DrawPrize => {
                let line = self
                    .sheet
                    .iter()
                    .find(|line| line.finisher.signup_id == signup.id);
                Fact::PrizeDrawn(line.ok_or("no line on the sheet")?.clone(), Claimant::House)
            }
            Step::Pay => {
                let (leg, amount) = signup.payment().ok_or("no payment")?;
                let content = signup.payment_content(Payee::Viewer, amount);
                match self.bank.send(leg.order_id(), content, self.now)? {
                    Some(Ok(receipt)) => Fact::PaymentApplied(Paid {
                        payee: Payee::Viewer,
                        receipt,
                    }),
                    Some(Err(refusal)) => Fact::PaymentRefused(refusal),
                    None => Fact::PaymentUnknown,
                }
            }
            Step::LookUpPayment => {
                let (leg, _) = signup.payment().ok_or("no payment")?;
                judge::payment_lookup(signup, self.bank.found(leg.order_id()))?
            }
        })
    }

    /// The same loop around the contest: takes its due steps until it is in `phase` or over.
    pub(crate) fn run_until(&mut self, phase: PhaseKind) -> Result<()> {
        while self.contest.phase.kind() != phase && !self.contest.phase.kind().is_terminal() {
            let states = self.signups.iter().map(|signup| signup.state.kind());
            // The rule is Equal: no weight is ever provisional.
            let presence = Presence::of(states, false);
            let fact = match lifecycle::due(&self.contest, presence, self.now) {
                ContestStep::Rest(until) => {
                    let until = until.filter(|until| *until > self.now);
                    self.now = until.ok_or("a payment is stuck")?;
                    continue;
                }
                ContestStep::Sweep(_) => {
                    (0..self.signups.len()).try_for_each(|index| self.drive(index))?;
                    continue;
                }
                ContestStep::Decide(fact) => fact,
                ContestStep::OpenAccount => ContestFact::AccountOpened,
                ContestStep::SendLeg(leg) => self.send_leg(leg)?,
                ContestStep::LookUpLeg(_) => return Err("a quiz has no incoming legs".into()),
                ContestStep::CloseCredits => {
                    let closed = CreditsClosed {
                        position: self.bank.position(),
                    };
                    ContestFact::CreditsClosed(*self.bank.closed.get_or_insert(closed))
                }
                ContestStep::Freeze => {
                    let held = self.bank.held(&self.contest.pool_account());
                    let frozen = settlement::freeze(&self.contest.terms, &self.census()?, held, 0);
                    ContestFact::Frozen(frozen?)
                }
                ContestStep::WriteSheet => self.write_sheet()?,
                ContestStep::SealSheet => self.seal_sheet(),
                ContestStep::Close => self.close()?,
            };
            self.contest = self.contest.clone().apply(fact, self.now)?;
        }
        Ok(())
    }

    fn send_leg(&mut self, leg: OwnLeg) -> Result<ContestFact> {
        let (order, content) = self.contest.own_transfer(leg).ok_or("no amount")?;
        match self.bank.send(order, content, self.now)? {
            Some(Ok(receipt)) => Ok(ContestFact::LegApplied(leg, receipt)),
            refused => Err(format!("{} was not answered: {refused:?}", leg.name()).into()),
        }
    }

    /// What one look at the rows shows: the numbers the freeze is made from.
    fn census(&self) -> Result<Census> {
        use StateKind::{Completed, InProgress, Initialized, Missed, Paid, Refunding};
        let of = |kinds: &[StateKind]| -> Vec<&Signup> {
            self.signups
                .iter()
                .filter(|signup| kinds.contains(&signup.state.kind()))
                .collect()
        };
        let fees = |kinds| Coins::sum(of(kinds).into_iter().map(|signup| signup.fee));
        let weights: Vec<_> = self
            .signups
            .iter()
            .filter_map(|s| s.state.weight())
            .collect();
        Ok(Census {
            undecided: of(&[Initialized, Paid, InProgress]).len() as u64,
            finishers: weights.len() as u64,
            weight_sum: weights.iter().map(|weight| u128::from(weight.get())).sum(),
            fees: fees(&[Completed, Missed])?,
            refunding: fees(&[Refunding])?,
        })
    }

    /// All finishers at once: a room fits into one page. `sheet_page` checks that they add up.
    fn write_sheet(&mut self) -> Result<ContestFact> {
        let Phase::Listing(_, totals, _, cursor) = &self.contest.phase else {
            return Err("there is no sheet to write".into());
        };
        let finisher = |signup: &Signup| {
            let (signup_id, user_id) = (signup.id, signup.user_id.clone());
            signup.state.weight().map(|weight| Finisher {
                signup_id,
                user_id,
                weight,
            })
        };
        let page = self.signups.iter().filter_map(finisher).collect();
        let (lines, next) =
            settlement::sheet_page(totals, self.contest.terms.remainder, cursor, page)?;
        self.sheet.extend(lines);
        Ok(ContestFact::SheetAdvanced(next))
    }

    /// A sheet of this mode is its prizes, one a line.
    fn seal_sheet(&self) -> ContestFact {
        let lines = self.sheet.iter();
        let text: String = lines
            .map(|line| format!("{},{}\n", line.finisher.signup_id, line.prize))
            .collect();
        ContestFact::SheetSealed(Digest::of(text.as_bytes()))
    }

    /// With `spread` nothing is left over; the rows say so, not this mode.
    fn close(&self) -> Result<ContestFact> {
        if let Some((totals, _)) = self.contest.phase.frozen() {
            let shared = Coins::sum(
                self.signups
                    .iter()
                    .filter_map(|signup| signup.state.prize()),
            )?;
            let left = settlement::leftover(&self.contest, totals, shared, Coins::ZERO)?;
            if left.sweep != Coins::ZERO && !self.contest.legs.contains_key(&OwnLeg::Sweep) {
                return Ok(ContestFact::LeftoverFixed(left));
            }
        }
        let is_empty = self.bank.held(&self.contest.pool_account()).is_zero();
        if is_empty {
            Ok(ContestFact::Emptied)
        } else {
            Err("coins left in the pool".into())
        }
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        let (contest, signups, transfers) =
            (&self.contest, &self.signups[..], &self.bank.transfers[..]);
        let balance = self.bank.held(&self.contest.pool_account());
        invariant::check(
            Books {
                contest,
                signups,
                transfers,
                balance,
            },
            self.now,
        )
    }
}

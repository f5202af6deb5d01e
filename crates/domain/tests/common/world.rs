//! A small world around the pure functions: a bank, a task system and the loop that the use
//! cases run. It answers honestly, except where a test has planted a lost or refused answer.

use domain::{
    contest::{Contest, ContestFact, Phase, Settlement, pending},
    due::{Step, due},
    ids::SignupId,
    invariant::{self, Books, Violation},
    judge::{self, Progress},
    lifecycle::{self, ContestStep, Presence},
    money::Coins,
    order::{Account, Leg, OrderId, OwnLeg},
    settlement::{self, Census, Finisher, SheetLine},
    signup::{Claimant, Fact, Payee, Share, Signup, State, StateKind},
    terms::Terms,
    time::UnixMillis,
    transfer::{Content, CreditsClosed, Position, ProofOfAbsence, Receipt, Refusal, Transfer},
};
use std::collections::BTreeMap;

/// How one call of the funds system ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Honest,
    /// It never left, and the caller knows.
    NotSent,
    /// It never arrived, and the caller does not know.
    LostBefore,
    /// It applied, and the caller does not know.
    LostAfter,
    /// Refused for a reason of the viewer's.
    Refused,
}

/// No honest run of one signup needs more steps than this before it rests or waits.
pub(crate) const SIGNUP_STEPS: usize = 8;
/// No run of a small contest needs more steps than this.
pub(crate) const CONTEST_STEPS: usize = 100;

pub(crate) struct World {
    pub(crate) contest: Contest,
    pub(crate) signups: Vec<Signup>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) sheet: Vec<SheetLine>,
    /// What was done by whom: the quantity, and when the target was met.
    pub(crate) progress: BTreeMap<SignupId, (u64, Option<UnixMillis>)>,
    /// The answers of the next calls, last first; honest when there are no more.
    pub(crate) answers: Vec<Answer>,
    pub(crate) now: UnixMillis,
    pub(crate) page: usize,
    /// Every signup is taken up by somebody else than its last writer.
    pub(crate) forgetful: bool,
    position: u64,
    closed: Option<CreditsClosed>,
}

impl World {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            contest: super::contest(terms, Phase::Preparing),
            signups: Vec::new(),
            transfers: Vec::new(),
            sheet: Vec::new(),
            progress: BTreeMap::new(),
            answers: Vec::new(),
            now: UnixMillis(600),
            page: 2,
            forgetful: false,
            position: 0,
            closed: None,
        }
    }

    /// A contest that was opened and signed up to by those who are to reach these quantities at
    /// these times; not driven further than that.
    pub(crate) fn signed_up(terms: Terms, reached: &[(u64, Option<i64>)]) -> Self {
        let mut world = Self::new(terms);
        world.drive_contest_until(|contest| contest.phase == Phase::Draft);
        world.now = UnixMillis(1_100);
        for (number, (quantity, met_at)) in (1..).zip(reached) {
            world.sign_up(number);
            let met_at = met_at.map(UnixMillis);
            world
                .progress
                .insert(super::signup_id(number), (*quantity, met_at));
        }
        world
    }

    fn sign_up(&mut self, number: u64) {
        let (id, user) = (super::signup_id(number), super::user(number));
        let fee = self.contest.terms.fee;
        self.signups
            .push(Signup::new(id, self.contest.id, user, fee, self.now));
    }

    pub(crate) fn found(&self, order_id: OrderId) -> Option<Transfer> {
        self.transfers
            .iter()
            .find(|transfer| transfer.order_id == order_id)
            .cloned()
    }

    pub(crate) fn held(&self) -> Coins {
        let pool = self.contest.pool_account();
        let side = |side: fn(&Content) -> &Account| {
            let amounts = self.transfers.iter().filter(|t| *side(&t.content) == pool);
            Coins::sum(amounts.map(|t| t.content.amount)).expect("a sum")
        };
        side(|content| &content.to)
            .minus(side(|content| &content.from))
            .expect("no overdraft")
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        let (contest, balance) = (&self.contest, self.held());
        let (signups, transfers) = (&self.signups[..], &self.transfers[..]);
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

    /// The bank: one order applies once, and nothing is credited after the close.
    pub(crate) fn transfer(&mut self, leg: &Leg, content: Content) -> Result<Receipt, Refusal> {
        let order_id = leg.order_id();
        if let Some(known) = self.found(order_id) {
            assert_eq!(known.content, content, "a conflict on {}", leg.memo());
            return Ok(known.receipt);
        }
        if self.closed.is_some() && content.to == self.contest.pool_account() {
            return Err(Refusal::ClosedToCredits);
        }
        assert!(!content.amount.is_zero(), "{} moves nothing", leg.memo());
        self.position += 1;
        let receipt = Receipt {
            position: Position(self.position),
            applied_at: self.now,
        };
        self.transfers.push(Transfer {
            order_id,
            content,
            receipt,
        });
        self.held();
        Ok(receipt)
    }

    fn call(&mut self, leg: &Leg, content: Content) -> Result<Result<Receipt, Refusal>, Answer> {
        match self.answers.pop().unwrap_or(Answer::Honest) {
            Answer::Honest => Ok(self.transfer(leg, content)),
            Answer::Refused => Ok(Err(Refusal::InsufficientBalance)),
            Answer::LostAfter => {
                let _lost = self.transfer(leg, content);
                Err(Answer::LostAfter)
            }
            lost => Err(lost),
        }
    }

    /// Takes the step that is due for a signup; none when the contest must move first.
    fn perform(&mut self, step: Step, signup: &Signup) -> Fact {
        let honest = |answer: Option<Answer>| !matches!(answer, Some(Answer::LostBefore));
        let at = Position(self.position);
        match step {
            Step::Rest => unreachable!("rest is no step"),
            Step::Decide(fact) => fact,
            Step::ChargeFee => {
                let leg = Leg::Fee(signup.contest_id, signup.user_id.clone());
                match self.call(&leg, signup.fee_content()) {
                    Ok(Ok(receipt)) => Fact::FeeApplied(receipt),
                    Ok(Err(refusal)) => Fact::FeeRefused(refusal),
                    Err(Answer::NotSent) => Fact::FeeNotSent,
                    Err(_) => Fact::FeeUnknown,
                }
            }
            Step::LookUpFee if !honest(self.answers.pop()) => Fact::FeeUnknown,
            Step::LookUpFee => {
                let found = self.found(signup.fee_order());
                judge::fee_lookup(&self.contest, signup, found, at).expect("no conflict")
            }
            Step::AssignTask if !honest(self.answers.pop()) => Fact::TaskUnanswered,
            Step::AssignTask => Fact::TaskAssigned,
            Step::ReadProgress => {
                let known = self.progress.get(&signup.id).copied();
                let (quantity, met_at) = known.unwrap_or((0, None));
                let met_at = met_at.filter(|met_at| *met_at <= self.now);
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
                Fact::PrizeDrawn(line.expect("a line on the sheet").clone(), Claimant::House)
            }
            Step::Pay => self.pay(signup),
            Step::LookUpPayment if !honest(self.answers.pop()) => Fact::PaymentUnknown,
            Step::LookUpPayment => {
                let (leg, _) = signup.payment().expect("a payment");
                judge::payment_lookup(signup, self.found(leg.order_id())).expect("no conflict")
            }
        }
    }

    fn pay(&mut self, signup: &Signup) -> Fact {
        let (leg, amount) = signup.payment().expect("a payment");
        let payee = match &signup.state {
            State::Claiming(.., payment) | State::Refunding(.., payment) => payment.payee,
            _ => Payee::Viewer,
        };
        match self.call(&leg, signup.payment_content(payee, amount)) {
            Ok(Ok(receipt)) => Fact::PaymentApplied(domain::signup::Paid { payee, receipt }),
            Ok(Err(refusal)) => Fact::PaymentRefused(refusal),
            Err(Answer::NotSent) => Fact::PaymentNotSent,
            Err(_) => Fact::PaymentUnknown,
        }
    }

    /// The loop of the use cases: takes due steps until nothing is due or somebody has to be
    /// waited for. Panics when it does not end.
    pub(crate) fn drive(&mut self, index: usize) {
        if self.forgetful {
            self.signups[index] = self.signups[index].clone().recalled();
        }
        for _ in 0..SIGNUP_STEPS {
            let signup = self.signups[index].clone();
            let step = due(&signup, &self.contest, self.now);
            if step == Step::Rest {
                return;
            }
            let fact = self.perform(step, &signup);
            let waits = fact.says_wait();
            let next = signup.clone().apply(fact).expect("a due step is possible");
            let (from, to) = (signup.state.kind(), next.state.kind());
            assert!(from == to || from.may_become(to), "{from:?} became {to:?}");
            self.signups[index] = next;
            if waits {
                return;
            }
        }
        panic!(
            "the loop around {:?} does not end",
            self.signups[index].state
        );
    }

    pub(crate) fn drive_all(&mut self) {
        for index in 0..self.signups.len() {
            self.drive(index);
        }
    }

    /// Asks for a prize as its winner does, and pays it.
    pub(crate) fn claim(&mut self, index: usize) {
        let id = self.signups[index].id;
        let line = self
            .sheet
            .iter()
            .find(|line| line.finisher.signup_id == id)
            .cloned();
        let fact = Fact::PrizeDrawn(line.expect("a line on the sheet"), Claimant::Viewer);
        self.signups[index] = self.signups[index].clone().apply(fact).expect("a finisher");
        self.drive(index);
    }

    fn presence(&self) -> Presence {
        let states = self.signups.iter().map(|signup| signup.state.kind());
        let provisional =
            |s: &Signup| matches!(s.state, State::Completed(_, _, Share::Provisional));
        Presence::of(states, self.signups.iter().any(provisional))
    }

    pub(crate) fn apply(&mut self, fact: ContestFact) {
        let before = self.contest.clone();
        let after = before
            .clone()
            .apply(fact, self.now)
            .expect("a due step is possible");
        let (from, to) = (before.phase.kind(), after.phase.kind());
        assert!(from == to || from.may_become(to), "{from:?} became {to:?}");
        for (leg, state) in &before.legs {
            assert_eq!(
                after.legs[leg].amount, state.amount,
                "{leg:?} is fixed once"
            );
        }
        self.contest = after;
    }

    /// Runs the contest to its end, waiting as long as it has to. Panics when it does not end.
    pub(crate) fn run(&mut self) {
        self.drive_contest_until(|contest| contest.phase.kind().is_terminal());
    }

    pub(crate) fn drive_contest_until(&mut self, reached: impl Fn(&Contest) -> bool) {
        for _ in 0..CONTEST_STEPS {
            if reached(&self.contest) {
                return;
            }
            match lifecycle::due(&self.contest, self.presence(), self.now) {
                ContestStep::Rest(until) => {
                    self.retry_parked();
                    self.drive_all();
                    self.now = self.now.max(until.unwrap_or(self.now));
                }
                ContestStep::Sweep(states) => {
                    for index in 0..self.signups.len() {
                        if states.contains(&self.signups[index].state.kind()) {
                            self.drive(index);
                        }
                    }
                }
                step => self.step(step),
            }
        }
        panic!(
            "the loop around the contest does not end in {:?}",
            self.contest.phase
        );
    }

    /// An operator asks for another try of every parked payment.
    fn retry_parked(&mut self) {
        for signup in &mut self.signups {
            if let Ok(retried) = signup.clone().apply(Fact::RetryAsked) {
                *signup = retried;
            }
        }
    }

    fn step(&mut self, step: ContestStep) {
        match step {
            ContestStep::Rest(_) | ContestStep::Sweep(_) => unreachable!("done by the loop"),
            ContestStep::Decide(fact) => self.apply(fact),
            ContestStep::OpenAccount => self.apply(ContestFact::AccountOpened),
            ContestStep::SendLeg(leg) => {
                let (_, content) = self.contest.own_transfer(leg).expect("an amount");
                let own = Leg::Own(leg, self.contest.id);
                if let Ok(Ok(receipt)) = self.call(&own, content) {
                    self.apply(ContestFact::LegApplied(leg, receipt));
                }
            }
            ContestStep::LookUpLeg(leg) => self.look_up(leg),
            ContestStep::CloseCredits => {
                self.position += 1;
                let closed = CreditsClosed {
                    position: Position(self.position),
                };
                let closed = *self.closed.get_or_insert(closed);
                self.apply(ContestFact::CreditsClosed(closed));
            }
            ContestStep::Freeze => {
                let terms = &self.contest.terms;
                let frozen = settlement::freeze(terms, &self.census(), self.held(), 0);
                self.apply(ContestFact::Frozen(frozen.expect("balanced books")));
            }
            ContestStep::WriteSheet => self.write_sheet(),
            ContestStep::SealSheet => self.apply(ContestFact::SheetSealed(super::SHEET)),
            ContestStep::Close => self.close(),
        }
    }

    fn look_up(&mut self, leg: OwnLeg) {
        let found = self.found(Leg::Own(leg, self.contest.id).order_id());
        let closed = self.closed.expect("credits are closed");
        let proof = ProofOfAbsence::new(Position(self.position), closed);
        self.apply(match found {
            Some(transfer) => ContestFact::LegApplied(leg, transfer.receipt),
            None => ContestFact::LegCannotArrive(leg, proof.expect("answered after the close")),
        });
    }

    pub(crate) fn census(&self) -> Census {
        let of = |kinds: &[StateKind]| -> Vec<&Signup> {
            self.signups
                .iter()
                .filter(|s| kinds.contains(&s.state.kind()))
                .collect()
        };
        let fees =
            |signups: Vec<&Signup>| Coins::sum(signups.iter().map(|s| s.fee)).expect("a sum");
        let completed = of(&[StateKind::Completed]);
        let weights = completed.iter().filter_map(|signup| signup.state.weight());
        let weights: Vec<u128> = weights.map(|weight| weight.get().into()).collect();
        let open = of(&[
            StateKind::Initialized,
            StateKind::Paid,
            StateKind::InProgress,
        ])
        .len();
        Census {
            undecided: (open + completed.len() - weights.len()) as u64,
            finishers: weights.len() as u64,
            weight_sum: weights.into_iter().sum(),
            fees: fees(of(&[StateKind::Completed, StateKind::Missed])),
            refunding: fees(of(&[StateKind::Refunding])),
        }
    }

    fn write_sheet(&mut self) {
        let Phase::Listing(_, totals, _, cursor) = self.contest.phase.clone() else {
            unreachable!("the sheet is written while listing")
        };
        let ahead =
            |s: &&Signup| s.state.weight().is_some() && cursor.after.is_none_or(|a| a < s.id);
        let page = self
            .signups
            .iter()
            .filter(ahead)
            .take(self.page)
            .map(|signup| Finisher {
                signup_id: signup.id,
                user_id: signup.user_id.clone(),
                weight: signup.state.weight().expect("a fixed weight"),
            });
        let remainder = self.contest.terms.remainder;
        let page = settlement::sheet_page(&totals, remainder, &cursor, page.collect());
        let (lines, cursor) = page.expect("finishers that add up");
        self.sheet.extend(lines);
        self.apply(ContestFact::SheetAdvanced(cursor));
    }

    fn close(&mut self) {
        if let Phase::Claimable(Settlement { totals, .. }) = &self.contest.phase {
            let prizes = self
                .signups
                .iter()
                .filter_map(|signup| signup.state.prize());
            let shared = Coins::sum(prizes).expect("a sum");
            let forfeited = self.sheet.iter().filter(|line| {
                let mut rows = self.signups.iter();
                rows.any(|s| {
                    s.id == line.finisher.signup_id && s.state.kind() == StateKind::Forfeited
                })
            });
            let forfeited = Coins::sum(forfeited.map(|line| line.prize)).expect("a sum");
            let leftover = settlement::leftover(&self.contest, totals, shared, forfeited);
            self.apply(ContestFact::LeftoverFixed(
                leftover.expect("no more than the pool"),
            ));
        }
        if pending(&self.contest.legs).is_none() {
            assert_eq!(self.held(), Coins::ZERO, "coins left in the pool");
            self.apply(ContestFact::Emptied);
        }
    }
}

//! A contest as flat rows: its own and one for each of its legs.

use crate::record::{Context, column};
use domain::{
    contest::{CancelReason, Contest, LegOutcome, LegState, Legs, Phase, PhaseKind, Settlement},
    digest::Digest,
    draw::Secret,
    money::Coins,
    order::{Leg, OwnLeg},
    payout::Rule,
    settlement::{Frozen, SheetCursor, Totals},
    stops::Stops,
    terms::{BasisPoints, Carried, ClaimMode, NoWinner, Remainder, Task, Terms, Unclaimed},
    time::UnixMillis,
    transfer::{CreditsClosed, Position},
};
use ports::store::StoreError;
use serde::Serialize;

/// The columns of a contest, in the order of [`ContestRecord::COLUMNS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the migration documents the columns")]
pub struct ContestRecord {
    pub contest_id: String,
    pub title: String,
    pub room_id: String,
    pub fee: i64,
    pub fee_tiers: Option<String>,
    pub task_kind: String,
    pub task_target: i64,
    pub rule: String,
    pub draw_secret: Option<String>,
    pub rake_bps: i64,
    pub guaranteed_pool: i64,
    pub series_id: Option<String>,
    pub carry: i64,
    pub claim_mode: String,
    pub no_winner: String,
    pub remainder: String,
    pub unclaimed: String,
    pub grace_ms: i64,
    pub signup_opens_at: i64,
    pub signup_closes_at: i64,
    pub tasks_end_at: i64,
    pub claim_closes_at: i64,
    pub phase: String,
    pub cancel_reason: Option<String>,
    pub close_position: Option<i64>,
    pub frozen_at: Option<i64>,
    pub fees: Option<i64>,
    pub rake: Option<i64>,
    pub pool: Option<i64>,
    pub guarantee_return: Option<i64>,
    pub finishers: Option<i64>,
    pub weight_sum: Option<String>,
    pub sheet_after: Option<String>,
    pub sheet_before: Option<String>,
    pub sheet_lines: Option<i64>,
    pub sheet_prizes: Option<i64>,
    pub sheet_sha256: Option<String>,
    pub claimable_at: Option<i64>,
    pub stopped_since: Option<i64>,
    pub stopped_ms: i64,
    pub claims_off_since: Option<i64>,
    pub stops_counted_until: i64,
    pub accepted_gap: i64,
    pub variants: Option<String>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// The columns of one of a contest's own legs, in the order of [`LegRecord::COLUMNS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the migration documents the columns")]
pub struct LegRecord {
    pub contest_id: String,
    pub leg: String,
    pub order_id: String,
    pub amount: i64,
    pub outcome: String,
    pub position: Option<i64>,
    pub applied_at: Option<i64>,
}

impl LegRecord {
    /// The columns, for SELECT and INSERT.
    pub const COLUMNS: &'static str =
        "contest_id, leg, order_id, amount, outcome, position, applied_at";

    /// The rows of a contest's legs.
    #[must_use]
    pub fn of(contest: &Contest) -> Vec<Self> {
        let rows = contest.legs.iter().map(|(leg, state)| {
            let (outcome, receipt) = match state.outcome {
                LegOutcome::Pending => ("pending", None),
                LegOutcome::Applied(receipt) => ("applied", Some(receipt)),
                LegOutcome::Void => ("void", None),
            };
            Self {
                contest_id: contest.id.to_string(),
                leg: leg.name().to_owned(),
                order_id: Leg::Own(*leg, contest.id).order_id().to_string(),
                amount: state.amount.as_i64(),
                outcome: outcome.to_owned(),
                position: receipt.map(|receipt| column(receipt.position.0)),
                applied_at: receipt.map(|receipt| receipt.applied_at.0),
            }
        });
        rows.collect()
    }

    fn parse(&self) -> Result<(OwnLeg, LegState), StoreError> {
        let context = Context {
            table: "contest_leg",
            key: &self.contest_id,
        };
        let leg = OwnLeg::ALL
            .into_iter()
            .find(|leg| leg.name() == self.leg)
            .ok_or_else(|| context.inconsistent(format!("leg is {:?}", self.leg)))?;
        let outcome = match self.outcome.as_str() {
            "pending" => LegOutcome::Pending,
            "applied" => {
                LegOutcome::Applied(context.receipt("position", self.position, self.applied_at)?)
            }
            "void" => LegOutcome::Void,
            other => return Err(context.inconsistent(format!("outcome is {other:?}"))),
        };
        Ok((
            leg,
            LegState {
                amount: context.coins("amount", self.amount)?,
                outcome,
            },
        ))
    }
}

/// A JSON list of whole numbers, as any tool reads it.
fn write_tiers(tiers: &[Coins]) -> String {
    let amounts: Vec<_> = tiers.iter().map(|tier| tier.get().to_string()).collect();
    format!("[{}]", amounts.join(","))
}

impl From<&Contest> for ContestRecord {
    fn from(contest: &Contest) -> Self {
        let Contest {
            id,
            title,
            terms,
            variants,
            secret,
            phase,
            legs: _,
            stops,
            version,
            created_at,
            updated_at,
        } = contest;
        let mut record = Self::of_terms(terms);
        record.contest_id = id.to_string();
        record.title.clone_from(title);
        record.draw_secret = secret.map(|secret| secret.reveal().to_string());
        record.stopped_since = stops.since.map(|since| since.0);
        record.stopped_ms = stops.total_ms;
        record.claims_off_since = stops.claims_off_since.map(|since| since.0);
        record.stops_counted_until = stops.counted_until.0;
        record.accepted_gap = stops.accepted;
        record.variants = (!variants.is_empty()).then(|| variants.to_string());
        record.version = column(*version);
        record.created_at = created_at.0;
        record.updated_at = updated_at.0;
        record.write_phase(phase);
        record
    }
}

impl ContestRecord {
    /// The columns, for SELECT and INSERT.
    pub const COLUMNS: &'static str = "contest_id, title, room_id, fee, fee_tiers, task_kind, task_target, rule, draw_secret, rake_bps, \
         guaranteed_pool, series_id, carry, claim_mode, no_winner, remainder, unclaimed, grace_ms, \
         signup_opens_at, signup_closes_at, tasks_end_at, claim_closes_at, phase, cancel_reason, \
         close_position, frozen_at, fees, rake, pool, guarantee_return, finishers, weight_sum, sheet_after, \
         sheet_before, sheet_lines, sheet_prizes, sheet_sha256, claimable_at, stopped_since, stopped_ms, \
         claims_off_since, stops_counted_until, accepted_gap, variants, version, created_at, updated_at";

    fn of_terms(terms: &Terms) -> Self {
        let Terms {
            room_id,
            fee,
            fee_tiers,
            task: Task { kind, target },
            rule,
            rake_bps,
            guaranteed_pool,
            series,
            claim_mode,
            no_winner,
            remainder,
            unclaimed,
            grace_ms,
            signup_opens_at,
            signup_closes_at,
            tasks_end_at,
            claim_closes_at,
        } = terms;
        Self {
            room_id: room_id.to_string(),
            fee: fee.as_i64(),
            fee_tiers: (!fee_tiers.is_empty()).then(|| write_tiers(fee_tiers)),
            task_kind: kind.to_string(),
            task_target: column(*target),
            rule: rule.name().to_owned(),
            rake_bps: rake_bps.get().into(),
            guaranteed_pool: guaranteed_pool.as_i64(),
            series_id: series.as_ref().map(|series| series.series_id.to_string()),
            carry: terms.carry().as_i64(),
            claim_mode: claim_mode.name().to_owned(),
            no_winner: no_winner.name().to_owned(),
            remainder: remainder.name().to_owned(),
            unclaimed: unclaimed.name().to_owned(),
            grace_ms: *grace_ms,
            signup_opens_at: signup_opens_at.0,
            signup_closes_at: signup_closes_at.0,
            tasks_end_at: tasks_end_at.0,
            claim_closes_at: claim_closes_at.0,
            ..Self::default()
        }
    }

    fn write_phase(&mut self, phase: &Phase) {
        self.phase = phase.kind().name().to_owned();
        self.close_position = phase
            .credits_closed()
            .map(|closed| column(closed.position.0));
        if let Some((totals, frozen_at)) = phase.frozen() {
            let Totals {
                fees,
                rake,
                pool,
                guarantee_return,
                finishers,
                weight_sum,
            } = *totals.get();
            self.frozen_at = Some(frozen_at.0);
            self.fees = Some(fees.as_i64());
            self.rake = Some(rake.as_i64());
            self.pool = Some(pool.as_i64());
            self.guarantee_return = Some(guarantee_return.as_i64());
            self.finishers = Some(column(finishers));
            self.weight_sum = Some(weight_sum.to_string());
        }
        match phase {
            Phase::Listing(
                _,
                _,
                _,
                SheetCursor {
                    after,
                    before,
                    lines,
                    prizes,
                },
            ) => {
                self.sheet_after = after.map(|after| after.to_string());
                self.sheet_before = Some(before.to_string());
                self.sheet_lines = Some(column(*lines));
                self.sheet_prizes = Some(prizes.as_i64());
            }
            Phase::Claimable(settlement) | Phase::Closed(settlement) => {
                self.claimable_at = Some(settlement.claimable_at.0);
                self.sheet_prizes = Some(settlement.prizes.as_i64());
                self.sheet_sha256 = settlement.sheet.map(|sheet| sheet.to_string());
            }
            Phase::Cancelling(reason, _) | Phase::Cancelled(reason, _) => {
                self.cancel_reason = Some(reason.name().to_owned());
            }
            Phase::Preparing
            | Phase::Funding
            | Phase::Draft
            | Phase::Running(_)
            | Phase::Judging(_) => {}
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            table: "contest",
            key: &self.contest_id,
        }
    }

    /// The contest with its legs.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] for columns that no contest can have.
    pub fn parse(&self, legs: &[LegRecord]) -> Result<Contest, StoreError> {
        let context = self.context();
        let contest = Contest {
            id: context.parsed("contest_id", &self.contest_id)?,
            title: self.title.clone(),
            terms: self.parse_terms()?,
            variants: context
                .maybe_parsed("variants", self.variants.clone())?
                .unwrap_or_default(),
            secret: self.parse_secret()?,
            phase: self.parse_phase()?,
            legs: legs
                .iter()
                .map(LegRecord::parse)
                .collect::<Result<Legs, _>>()?,
            stops: Stops {
                since: self.stopped_since.map(UnixMillis),
                total_ms: self.stopped_ms,
                claims_off_since: self.claims_off_since.map(UnixMillis),
                counted_until: UnixMillis(self.stops_counted_until),
                accepted: self.accepted_gap,
            },
            version: context.count("version", self.version)?,
            created_at: UnixMillis(self.created_at),
            updated_at: UnixMillis(self.updated_at),
        };
        // Nothing more and nothing less than the phase's own columns.
        if Self::from(&contest) == *self {
            Ok(contest)
        } else {
            Err(context.inconsistent("columns do not fit the phase"))
        }
    }

    /// A lucky split has a secret, and no other rule has one.
    fn parse_secret(&self) -> Result<Option<Secret>, StoreError> {
        let context = self.context();
        let is_lucky = self.rule == Rule::Lucky.name();
        match &self.draw_secret {
            Some(text) if is_lucky => {
                let secret: Digest = context.parsed("draw_secret", text).map_err(|_| {
                    // The error must not show it.
                    context.inconsistent("draw_secret is not a secret")
                })?;
                Ok(Some(Secret::new(secret.bytes())))
            }
            None if !is_lucky => Ok(None),
            _ => Err(context.inconsistent("draw_secret does not fit the rule")),
        }
    }

    fn parse_tiers(&self) -> Result<Vec<Coins>, StoreError> {
        let context = self.context();
        let Some(text) = &self.fee_tiers else {
            return Ok(Vec::new());
        };
        let amounts = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .ok_or_else(|| context.inconsistent(format!("fee_tiers is {text:?}")))?;
        amounts
            .split(',')
            .map(|amount| context.coins("fee_tiers", context.parsed("fee_tiers", amount)?))
            .collect()
    }

    fn parse_terms(&self) -> Result<Terms, StoreError> {
        let context = self.context();
        let carry = context.coins("carry", self.carry)?;
        let series = match &self.series_id {
            Some(series_id) => Some(Carried {
                series_id: context.parsed("series_id", series_id)?,
                carry,
            }),
            None => None,
        };
        Ok(Terms {
            room_id: context.parsed("room_id", &self.room_id)?,
            fee: context.coins("fee", self.fee)?,
            fee_tiers: self.parse_tiers()?,
            task: Task {
                kind: context.parsed("task_kind", &self.task_kind)?,
                target: context.count("task_target", self.task_target)?,
            },
            rule: context.named("rule", &self.rule, Rule::named)?,
            rake_bps: u16::try_from(self.rake_bps)
                .ok()
                .and_then(BasisPoints::new)
                .ok_or_else(|| context.inconsistent("rake_bps out of range"))?,
            guaranteed_pool: context.coins("guaranteed_pool", self.guaranteed_pool)?,
            series,
            claim_mode: context.named("claim_mode", &self.claim_mode, ClaimMode::named)?,
            no_winner: context.named("no_winner", &self.no_winner, NoWinner::named)?,
            remainder: context.named("remainder", &self.remainder, Remainder::named)?,
            unclaimed: context.named("unclaimed", &self.unclaimed, Unclaimed::named)?,
            grace_ms: self.grace_ms,
            signup_opens_at: UnixMillis(self.signup_opens_at),
            signup_closes_at: UnixMillis(self.signup_closes_at),
            tasks_end_at: UnixMillis(self.tasks_end_at),
            claim_closes_at: UnixMillis(self.claim_closes_at),
        })
    }

    fn parse_phase(&self) -> Result<Phase, StoreError> {
        let context = self.context();
        let kind = context.named("phase", &self.phase, PhaseKind::named)?;
        let closed = || {
            let position = context.present("close_position", self.close_position)?;
            Ok::<_, StoreError>(CreditsClosed {
                position: Position(context.count("close_position", position)?),
            })
        };
        let reason = || {
            let text = context.present("cancel_reason", self.cancel_reason.as_deref())?;
            context.named("cancel_reason", text, CancelReason::named)
        };
        Ok(match kind {
            PhaseKind::Preparing => Phase::Preparing,
            PhaseKind::Funding => Phase::Funding,
            PhaseKind::Draft => Phase::Draft,
            PhaseKind::Running => Phase::Running(closed()?),
            PhaseKind::Judging => Phase::Judging(closed()?),
            PhaseKind::Listing => {
                let (totals, frozen_at) = self.parse_totals()?;
                Phase::Listing(closed()?, totals, frozen_at, self.parse_cursor()?)
            }
            PhaseKind::Claimable => Phase::Claimable(self.parse_settlement(closed()?)?),
            PhaseKind::Closed => Phase::Closed(self.parse_settlement(closed()?)?),
            PhaseKind::Cancelling => Phase::Cancelling(
                reason()?,
                self.close_position.map(|_| closed()).transpose()?,
            ),
            PhaseKind::Cancelled => Phase::Cancelled(reason()?, closed()?),
        })
    }

    fn required(&self, name: &'static str, amount: Option<i64>) -> Result<Coins, StoreError> {
        let context = self.context();
        context.coins(name, context.present(name, amount)?)
    }

    fn parse_totals(&self) -> Result<(Frozen<Totals>, UnixMillis), StoreError> {
        let context = self.context();
        let totals = Totals {
            fees: self.required("fees", self.fees)?,
            rake: self.required("rake", self.rake)?,
            pool: self.required("pool", self.pool)?,
            guarantee_return: self.required("guarantee_return", self.guarantee_return)?,
            finishers: context.count("finishers", context.present("finishers", self.finishers)?)?,
            weight_sum: context.parsed(
                "weight_sum",
                context.present("weight_sum", self.weight_sum.as_deref())?,
            )?,
        };
        Ok((
            Frozen::recall(totals),
            UnixMillis(context.present("frozen_at", self.frozen_at)?),
        ))
    }

    fn parse_cursor(&self) -> Result<SheetCursor, StoreError> {
        let context = self.context();
        let after = self
            .sheet_after
            .as_deref()
            .map(|after| context.parsed("sheet_after", after))
            .transpose()?;
        Ok(SheetCursor {
            after,
            before: context.parsed(
                "sheet_before",
                context.present("sheet_before", self.sheet_before.as_deref())?,
            )?,
            lines: context.count(
                "sheet_lines",
                context.present("sheet_lines", self.sheet_lines)?,
            )?,
            prizes: self.required("sheet_prizes", self.sheet_prizes)?,
        })
    }

    fn parse_settlement(&self, closed: CreditsClosed) -> Result<Settlement, StoreError> {
        let (totals, frozen_at) = self.parse_totals()?;
        let claimable_at = UnixMillis(self.context().present("claimable_at", self.claimable_at)?);
        let prizes = self.required("sheet_prizes", self.sheet_prizes)?;
        let context = self.context();
        let sheet = self.sheet_sha256.as_deref();
        let sheet = sheet.map(|text| context.parsed("sheet_sha256", text));
        Ok(Settlement {
            closed,
            totals,
            frozen_at,
            claimable_at,
            prizes,
            sheet: sheet.transpose()?,
        })
    }
}

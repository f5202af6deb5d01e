//! The words of the wire as schemas: what an id, an amount or a time looks like. Fields name them
//! with `#[schema(value_type = vocabulary::Coins)]`, so that a rule stands in the document once.

use crate::problem::EventCode;
use domain::{
    contest::{CancelReason, PublicPhase},
    experiment::{Action, Metric, Unit},
    finding::{FindingClass, RepairOutcome as DomainRepairOutcome},
    invariant::Invariant,
    money::Coins as DomainCoins,
    order::OwnLeg,
    payout::Rule as DomainRule,
    signup::StateKind,
    switch::{Reach, Switch},
    terms::{
        ClaimMode as DomainClaimMode, NoWinner as DomainNoWinner, Remainder as DomainRemainder,
        Unclaimed as DomainUnclaimed,
    },
};
use serde_json::json;
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, Ref, RefOr,
        schema::{KnownFormat, Schema, SchemaFormat, Type},
    },
};

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
}

macro_rules! word {
    ($(#[doc = $doc:literal])+ $name:ident = $schema:expr) => {
        $(#[doc = $doc])+
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let schema: fn(&str) -> ObjectBuilder = $schema;
                schema(concat!($($doc),+).trim()).build().into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    };
}

/// One of the names of a choice of the domain, so that a new one is in the document by itself.
macro_rules! one_of {
    ($(#[doc = $doc:literal])+ $name:ident = $all:expr) => {
        word! {
            $(#[doc = $doc])+
            $name = |description| {
                text(description).enum_values(Some($all.iter().map(|choice| choice.name())))
            }
        }
    };
}

/// Letters, digits, `.`, `_` and `-`, and not `.` or `..`, which no path can hold.
const ID: &str = "^([A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*|[.]{3,64})$";

fn id(description: &str, example: &str) -> ObjectBuilder {
    text(description)
        .pattern(Some(ID))
        .min_length(Some(1))
        .max_length(Some(64))
        .examples([json!(example)])
}

fn uuid(description: &str) -> ObjectBuilder {
    text(description)
        .format(Some(SchemaFormat::Custom("uuid".to_owned())))
        .pattern(Some(
            "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        ))
        .examples([json!("0198c9f2-0000-7000-8000-00000000000a")])
}

word! {
    /// Whole coins.
    Coins = |description| {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some(description))
            .minimum(Some(0_u64))
            .maximum(Some(DomainCoins::MAX.get()))
            .examples([json!(100)])
    }
}
word! {
    /// A time: RFC 3339, UTC, with milliseconds.
    Time = |description| {
        text(description)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$"))
            .examples([json!("2026-05-04T12:00:00.000Z")])
    }
}
word! {
    /// A time: RFC 3339 with any offset; what is finer than a millisecond is dropped.
    AnyTime = |description| {
        text(description)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples([json!("2026-05-04T12:00:00.000Z")])
    }
}
word! {
    /// One contest.
    ContestId = uuid
}
word! {
    /// One signup, UUIDv7.
    SignupId = uuid
}
word! {
    /// One finding of the reconciliation.
    FindingId = uuid
}
word! {
    /// One run of the reconciliation.
    RunId = uuid
}
word! {
    /// One repair.
    RepairId = uuid
}
word! {
    /// Why a finding is settled: 1 to 1,000 characters, at least one of them visible.
    Note = |description| {
        text(description)
            .min_length(Some(1))
            .max_length(Some(1_000))
            .examples([json!("agreed with finance, ticket 4711")])
    }
}
word! {
    /// Why an operator has changed something: 1 to 500 characters, at least one of them visible.
    Reason = |description| {
        text(description)
            .min_length(Some(1))
            .max_length(Some(ports::switches::REASON_MAX))
            .examples([json!("the bank is slow, ticket 4711")])
    }
}
word! {
    /// One experiment: 1 to 32 of a–z 0–9 _
    ExperimentName = |description| {
        text(description).pattern(Some("^[a-z0-9_]{1,32}$")).max_length(Some(32)).examples([json!("lower_fee")])
    }
}
word! {
    /// One variant: 1 to 32 of a–z 0–9 _
    VariantName = |description| {
        text(description).pattern(Some("^[a-z0-9_]{1,32}$")).max_length(Some(32)).examples([json!("control")])
    }
}
one_of! {
    /// What gets a variant, and what is counted.
    ExperimentUnit = Unit::ALL
}
one_of! {
    /// What is measured, for each viewer who met it: how many signed up, paid, finished or got their prize, or
    /// coins in or out; for a guardrail how many got their fee back or could not be charged.
    ExperimentMetric = Metric::ALL
}
one_of! {
    /// What was done with an experiment.
    ExperimentAction = Action::ALL
}
word! {
    /// What the primary metric says of a variant: the whole interval lies above 0, below it, or holds it; or it
    /// is too early to say.
    ExperimentVerdict = |description| {
        text(description).enum_values(Some(["better", "worse", "undecided", "too_few_units"]))
    }
}
word! {
    /// How results are answered.
    ResultsFormat = |description| text(description).enum_values(Some(["json", "csv"]))
}
word! {
    /// Where an experiment stands.
    ExperimentStatus = |description| text(description).enum_values(Some(["draft", "running", "ended"]))
}
one_of! {
    /// Something that operators can stop.
    SwitchName = Switch::ALL
}
one_of! {
    /// How far a setting of a switch reaches.
    SwitchReach = Reach::ALL
}
word! {
    /// What a setting of a switch is for: `everything`, `room/<id>` or `contest/<id>`.
    SwitchScope = |description| {
        text(description)
            .pattern(Some("^(everything|room/.+|contest/.+)$"))
            .examples([json!("everything")])
    }
}
one_of! {
    /// How a repair ended.
    RepairOutcome = DomainRepairOutcome::ALL
}
word! {
    /// Whether a run goes on.
    RunStatus = |description| text(description).enum_values(Some(["running", "ended"]))
}
word! {
    /// One viewer: 1 to 64 of A–Z a–z 0–9 . _ -
    UserId = |description| id(description, "ann")
}
word! {
    /// One live room: 1 to 64 of A–Z a–z 0–9 . _ -
    RoomId = |description| id(description, "room-1")
}
word! {
    /// The sender's name of one event, unique per token subject: 1 to 64 of A–Z a–z 0–9 . _ -
    EventId = |description| id(description, "event-1")
}
word! {
    /// The caller's name of one grant: 1 to 64 of A–Z a–z 0–9 . _ -
    GrantId = |description| id(description, "grant-1")
}
word! {
    /// What has to be done: `open_chest`, `send_gift`, `watch_minutes`, or any lower-case word.
    TaskKind = |description| {
        text(description)
            .pattern(Some("^[a-z0-9_]{1,64}$"))
            .max_length(Some(64))
            .examples([json!("open_chest")])
    }
}
word! {
    /// 64 lower-case hexadecimal digits: a SHA-256, or the secret of a draw.
    Digest = |description| text(description).pattern(Some("^[0-9a-f]{64}$"))
}

word! {
    /// 1 to 128 visible ASCII characters.
    IdempotencyKey = |description| {
        text(description)
            .pattern(Some("^[!-~]+$"))
            .min_length(Some(1))
            .max_length(Some(128))
    }
}

word! {
    /// The id of one order at the funds system: 128 bits, derived, never drawn.
    OrderId = |description| text(description).pattern(Some("^[0-9a-f]{32}$"))
}
word! {
    /// What a contest is called: 1 to 100 characters, at least one of them to be seen, without
    /// control characters and without those that turn the direction of writing.
    Title = |description| {
        text(description)
            .min_length(Some(1))
            .max_length(Some(100))
            .examples([json!("Friday chests")])
    }
}
word! {
    /// `next_cursor` of the page before. Its form is ours and may change.
    Cursor = |description| text(description).min_length(Some(1)).max_length(Some(64))
}

one_of! {
    /// Where a contest stands.
    Phase = PublicPhase::ALL
}
one_of! {
    /// Where a signup stands.
    SignupState = StateKind::ALL
}
one_of! {
    /// How the pool is split.
    Rule = DomainRule::ALL
}
one_of! {
    /// Who starts the payment of a prize.
    ClaimMode = DomainClaimMode::ALL
}
one_of! {
    /// Where the pool goes when nobody finishes.
    NoWinner = DomainNoWinner::ALL
}
one_of! {
    /// Where the coins go that whole-coin division leaves over.
    Remainder = DomainRemainder::ALL
}
one_of! {
    /// Where prizes go that nobody claimed in time.
    Unclaimed = DomainUnclaimed::ALL
}
one_of! {
    /// Why a contest is cancelled.
    CancelledBecause = CancelReason::ALL
}
one_of! {
    /// The class of a finding.
    FindingKind = FindingClass::ALL
}
one_of! {
    /// What is always true of the books.
    InvariantName = Invariant::ALL
}
one_of! {
    /// What a contest moved in its own name.
    OwnLegName = OwnLeg::ALL
}
word! {
    /// Why an event was not taken.
    EventProblem = |description| {
        let lines: Vec<_> = EventCode::ALL.iter().map(|code| code.entry().line()).collect();
        text(&format!("{description}\n\n{}", lines.join("\n")))
            .enum_values(Some(EventCode::ALL.iter().map(|code| code.name())))
    }
}
word! {
    /// Which findings.
    FindingStatus = |description| text(description).enum_values(Some(["open", "settled", "all"]))
}
word! {
    /// Where the amount comes from.
    PoolSource = |description| text(description).enum_values(Some(["funds", "cache"]))
}

/// Nothing, or `{}`.
#[derive(utoipa::ToSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoFields {}

/// A batch of events.
pub(crate) enum EventBatch {}

impl PartialSchema for EventBatch {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .description(Some("A batch of events."))
            .items(Ref::from_schema_name(crate::wire::EventBody::name()))
            .min_items(Some(1))
            .max_items(Some(ports::tasks::EVENTS_MAX))
            .build()
            .into()
    }
}

impl ToSchema for EventBatch {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("EventBatch")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let name = crate::wire::EventBody::name().into_owned();
        schemas.push((name, crate::wire::EventBody::schema()));
        crate::wire::EventBody::schemas(schemas);
    }
}

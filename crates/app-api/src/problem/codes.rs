//! Every code that an answer can carry: its status, what it means, who reacts and how.
//!
//! A problem is made from a [`Code`], a fault from a [`FaultCode`], a refused event from an
//! [`EventCode`]; so no answer carries a code that is not here. `docs/errors.md` and the problems
//! of `/openapi.json` are written from these tables.

use axum::http::StatusCode;
use std::fmt;

/// Who has to do something about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reacts {
    /// The code that called: it sent what cannot be understood, or it repeats by itself.
    Client,
    /// The viewer, who is to be told.
    Viewer,
    /// Whoever runs the contest.
    Operator,
    /// Whoever runs this service.
    Us,
}

impl Reacts {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client code",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Us => "we who run it",
        }
    }
}

/// What the tables say of one code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The stable name, as sent.
    pub(crate) name: &'static str,
    /// The HTTP status of the answer that carries it.
    pub(crate) status: u16,
    /// Who reacts.
    pub(crate) reacts: Reacts,
    /// What it means.
    pub(crate) meaning: &'static str,
    /// What is to be done about it.
    pub(crate) reaction: &'static str,
}

impl Entry {
    /// All of it as one line of Markdown.
    pub(crate) fn line(self) -> String {
        let Self {
            name,
            reacts,
            meaning,
            reaction,
            ..
        } = self;
        format!("- `{name}` ({}): {meaning} {reaction}", reacts.name())
    }
}

macro_rules! codes {
    ($(#[$doc:meta])* $kind:ident { $($variant:ident = $name:literal, $status:literal, $reacts:ident, $meaning:literal, $reaction:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $kind { $(#[doc = $meaning] $variant),+ }

        impl $kind {
            /// Every code, by status and then as a call meets them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What the table says of it.
            pub(crate) const fn entry(self) -> Entry {
                match self {
                    $(Self::$variant => Entry {
                        name: $name,
                        status: $status,
                        reacts: Reacts::$reacts,
                        meaning: $meaning,
                        reaction: $reaction,
                    }),+
                }
            }

            /// The stable name, as sent.
            pub(crate) const fn name(self) -> &'static str {
                self.entry().name
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

codes! {
    /// The `code` of a problem. Each has one status.
    Code {
        MalformedJson = "malformed_json", 400, Client,
            "The body is not JSON, is nested too deeply, or has a number that no JSON reader can hold.",
            "Mend the caller; `detail` says where reading stopped.";
        BodyNotRead = "body_not_read", 400, Client,
            "The body broke off, or its encoding of length and chunks is wrong.",
            "Repeat the request; mend the caller if it keeps happening.";
        Unauthorized = "unauthorized", 401, Client,
            "There is no bearer token, or it is expired, not valid yet, signed by somebody else, of an unknown role, or its subject is not a user id.",
            "Get a new token and repeat.";
        InsufficientFunds = "insufficient_funds", 402, Viewer,
            "The viewer has too few coins for the fee, or no account. Nothing was charged.",
            "Let the viewer get coins, then repeat.";
        Forbidden = "forbidden", 403, Client,
            "The token is good, but this call takes another role.",
            "Use a token of a role that the call names; never repeat it as it is.";
        NotFound = "not_found", 404, Client,
            "There is nothing of that id, or no such path. A text that cannot be an id names nothing either.",
            "Check the id; what was listed before does not vanish.";
        NotSignedUp = "not_signed_up", 404, Viewer,
            "The contest is there, but this viewer has no signup in it.",
            "Offer to sign up while the contest is open.";
        MethodNotAllowed = "method_not_allowed", 405, Client,
            "The path is there, but does not take that method. `Allow` lists those it takes.",
            "Mend the caller.";
        RequestTimeout = "request_timeout", 408, Client,
            "The body did not arrive in time. Nothing was done.",
            "Repeat; send the body at once.";
        SignupClosed = "signup_closed", 409, Viewer,
            "Signups of this contest have not opened yet, or are over. Nothing was charged.",
            "Show when signups open, or that they are over.";
        PoolFull = "pool_full", 409, Operator,
            "The pool account can hold no more coins. Nothing was charged.",
            "Tell the viewer that the contest is full; open another one.";
        FeeTierFixed = "fee_tier_fixed", 409, Viewer,
            "The viewer signed up with another fee tier before. Nothing more was charged.",
            "Show the tier of the signup that is there.";
        NotCompleted = "not_completed", 409, Viewer,
            "The task was not completed, so there is no prize.",
            "Show how far the task is, or that it was missed.";
        NotClaimableYet = "not_claimable_yet", 409, Client,
            "The task is completed, but prizes are not decided before the contest is frozen.",
            "Repeat after `Retry-After`, or when the phase is `claimable`.";
        ClaimClosed = "claim_closed", 409, Viewer,
            "The time to claim is over.",
            "Show what becomes of prizes that nobody claimed (`unclaimed` of the contest).";
        NotCancellable = "not_cancellable", 409, Operator,
            "The prizes of the contest are decided; it can no longer be cancelled.",
            "Let it end.";
        NotDue = "not_due", 409, Operator,
            "Nothing of the contest is due yet.",
            "Wait for `tasks_end_at`; it settles by itself.";
        NotParked = "not_parked", 409, Operator,
            "This signup has no parked payment: it was paid meanwhile, or never was parked.",
            "Look at the signup.";
        AlreadySettled = "already_settled", 409, Operator,
            "The finding was settled before: it is no longer true, or somebody has resolved it.",
            "Look at the finding; nothing is left to do.";
        NotRepairable = "not_repairable", 409, Operator,
            "No call can repair what the finding tells: both sides are final, or the coins moved under an order that is nobody's.",
            "`detail` says what to mend; then resolve the finding with a note.";
        NotOverridable = "not_overridable", 409, Operator,
            "Only a contest that is being settled, or whose cancel cannot end, can be overridden, and only by the gap that was expected, where one was.",
            "`detail` says the phase, or the gap; look again.";
        NotFrozenYet = "not_frozen_yet", 409, Client,
            "There is no settlement before the contest is frozen, and no sheet before its last line is written.",
            "Repeat when the phase is `claimable`.";
        IdempotencyConflict = "idempotency_conflict", 409, Client,
            "This `Idempotency-Key` was used before with another content.",
            "Mend the caller: a key belongs to one request. What the key made before is there.";
        GrantConflict = "grant_conflict", 409, Client,
            "This grant id was used before for another account or amount.",
            "Mend the caller: a grant id belongs to one grant.";
        BalanceLimit = "balance_limit", 409, Operator,
            "The account would hold more than 2^53 − 1 coins.",
            "Grant less.";
        GrantRefused = "grant_refused", 409, Operator,
            "The funds system refused the grant and moved nothing.",
            "Look at the account in the funds system.";
        ExperimentExists = "experiment_exists", 409, Operator,
            "There is an experiment of this name. Names are never used again.",
            "Take another name, or change the draft that is there.";
        ExperimentStarted = "experiment_started", 409, Operator,
            "The experiment has started: what it is does not change any more, or its results would mean nothing.",
            "Let its ramp go up, stop it, or make another one.";
        ExperimentNotRunning = "experiment_not_running", 409, Operator,
            "The experiment is a draft, or has ended.",
            "Look at it; start it if it is a draft.";
        ExperimentOver = "experiment_over", 409, Operator,
            "The end of the experiment is past: nobody would meet it.",
            "Change the draft's `ends_at` first.";
        ExperimentOverlaps = "experiment_overlaps", 409, Operator,
            "Another experiment that runs changes the same term of the same contests; `detail` says which.",
            "Wait for its end, stop it, or take other rooms or task kinds.";
        TooManyExperiments = "too_many_experiments", 409, Operator,
            "As many experiments run as may at once.",
            "Stop one first.";
        RampNotUp = "ramp_not_up", 409, Operator,
            "A ramp only goes up: who takes part stays.",
            "Send a larger one, or stop the experiment.";
        BodyTooLarge = "body_too_large", 413, Client,
            "The body is larger than 1 MiB.",
            "Send less at once: events go in batches of at most 1,000.";
        UriTooLong = "uri_too_long", 414, Client,
            "Path and query have more than 8,192 bytes.",
            "Mend the caller.";
        UnsupportedMediaType = "unsupported_media_type", 415, Client,
            "The content type is not `application/json`.",
            "Mend the caller.";
        InvalidRequest = "invalid_request", 422, Client,
            "The request was read but breaks rules; `errors` names every place and rule.",
            "Mend what the pointers name; repeated as it is, it fails again.";
        RateLimited = "rate_limited", 429, Client,
            "This caller sends more than it may. Nothing was done.",
            "Repeat after `Retry-After`.";
        HeadersTooLarge = "headers_too_large", 431, Client,
            "There are more than 100 headers, or more than 32,768 bytes of them.",
            "Send fewer.";
        InternalError = "internal_error", 500, Us,
            "Something that must not happen did. It was logged with all that is known.",
            "Look at the log. A caller may repeat once: nothing happens twice.";
        Unavailable = "unavailable", 503, Client,
            "A system behind this one did not answer in time, so the outcome may not be known yet.",
            "Repeat after `Retry-After` where it is given: nothing happens twice. Where it is not, look first, as `detail` says.";
        SwitchedOff = "switched_off", 503, Operator,
            "An operator has switched this off; `detail` says for what and why. Nothing was begun, and what had begun goes on.",
            "Tell the viewer that it goes on later; repeat after `Retry-After`.";
        Overloaded = "overloaded", 503, Client,
            "There is more to do than can be done in time, so this was refused before it began. Nothing was done.",
            "Repeat after `Retry-After`, with a longer wait each time.";
    }
}

codes! {
    /// The `code` of one of a problem's `errors`. Their problem is `invalid_request`.
    FaultCode {
        Missing = "missing", 422, Client,
            "A field or parameter that is needed is not there.", "Send it.";
        UnknownField = "unknown_field", 422, Client,
            "There is no such field or parameter here. Misspelt ones are refused, not ignored.", "Leave it out.";
        DuplicateField = "duplicate_field", 422, Client,
            "A field or parameter is there twice.", "Send it once.";
        InvalidType = "invalid_type", 422, Client,
            "The value is of another type: a text for a number, a fraction for a whole number, a list for an object.",
            "Send the type that the schema names.";
        InvalidId = "invalid_id", 422, Client,
            "The text is not an id of the wanted kind.", "Send an id of the form that `detail` says.";
        InvalidTime = "invalid_time", 422, Client,
            "The text is not an RFC 3339 time, or lies outside the years 0 to 9999.", "Send a time as `2026-05-04T12:00:00.000Z`.";
        InvalidCursor = "invalid_cursor", 422, Client,
            "The text is not a cursor that an earlier page answered.", "Send `next_cursor` of the page before, or none.";
        InvalidQuery = "invalid_query", 422, Client,
            "The query could not be read.", "Send `name=value` pairs, percent-encoded.";
        OutOfRange = "out_of_range", 422, Client,
            "The value is too small, too large, too short or too long.", "Send a value within what `detail` says.";
        OutOfOrder = "out_of_order", 422, Client,
            "Two times stand in the wrong order.", "Send them in the order that `detail` says.";
        DuplicateValue = "duplicate_value", 422, Client,
            "A list names the same value twice.", "Name it once.";
        Conflicting = "conflicting", 422, Client,
            "The field cannot be sent together with another one, or for what is asked.", "Leave out what `detail` says.";
        Shares = "shares", 422, Operator,
            "The shares of the variants are not all above 0, or do not add up to 10,000.", "Send shares that do.";
        ControlChanges = "control_changes", 422, Operator,
            "The first variant is the control, which is what there is without the experiment.", "Put what changes something after it.";
        NoDifference = "no_difference", 422, Operator,
            "A variant is the same as the control.", "Change something, or leave it out.";
        NeedsOtherUnit = "needs_other_unit", 422, Operator,
            "What changes money inside one pool cannot be assigned by user, because users of one pool influence each other.", "Assign it by `contest` or by `room`.";
        NotATier = "not_a_tier", 422, Client,
            "The contest's `fee` is not one of its `fee_tiers`.", "Send a `fee` that is one of them.";
        UnknownValue = "unknown_value", 422, Client,
            "The value is not one of those that can be chosen.", "Send one of the values of the schema.";
        NotSupportedYet = "not_supported_yet", 422, Operator,
            "The value is part of the design, but not built yet.", "Leave it out.";
    }
}

codes! {
    /// The `code` of an event that was refused while others of its batch were taken.
    EventCode {
        EventConflict = "event_conflict", 200, Client,
            "The same sender used this event id before for something else. The first one stands.",
            "Mend the sender: an event id belongs to one event.";
        ContestJudged = "contest_judged", 200, Us,
            "The event would have counted, but its contest was already judged.",
            "Send events sooner, or give contests a longer `grace_s`.";
        TooOld = "too_old", 200, Client,
            "`occurred_at` is more than 7 days ago.", "Drop it.";
        TooFarAhead = "too_far_ahead", 200, Client,
            "`occurred_at` is more than 5 minutes ahead.", "Set the sender's clock.";
    }
}

impl Code {
    /// The status of its answer.
    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.entry().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The code of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl FaultCode {
    /// The code of a rule that the domain found broken.
    pub(crate) fn of_rule(name: &str) -> Self {
        let known = Self::ALL.iter().copied().find(|code| code.name() == name);
        known.unwrap_or_else(|| {
            tracing::error!(
                name,
                "a rule of the domain has a code that is not in the table"
            );
            Self::OutOfRange
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fmt::Write, path::Path};

    fn table(out: &mut String, rows: impl Iterator<Item = String>, head: &str) {
        let columns = head.matches('|').count() - 1;
        let _ = writeln!(out, "{head}\n|{}", "---|".repeat(columns));
        rows.for_each(|row| {
            let _ = writeln!(out, "{row}");
        });
    }

    fn row(entry: Entry) -> String {
        let Entry {
            name,
            reacts,
            meaning,
            reaction,
            ..
        } = entry;
        format!("| `{name}` | {meaning} | {} | {reaction} |", reacts.name())
    }

    /// `docs/errors.md` as the tables say.
    fn errors_md() -> String {
        let mut out = "# Errors\n\n\
            Written by `UPDATE_DOCS=1 cargo test -p app-api codes` from \
            `crates/app-api/src/problem/codes.rs`; a test compares them.\n\n\
            Every error is `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) \
            with a stable `code`. Branch on `code`, never on `title` or `detail`, which are for \
            people and may change. `type` is always `about:blank`. Which call answers which of \
            them stands in `/openapi.json`.\n\n\
            ```json\n\
            {\"type\":\"about:blank\",\"title\":\"Unprocessable Entity\",\"status\":422,\"code\":\"invalid_request\",\n \
            \"detail\":\"/fee: must be from 1 to 1000000000\",\n \
            \"errors\":[{\"pointer\":\"/fee\",\"code\":\"out_of_range\",\"detail\":\"must be from 1 to 1000000000\"}]}\n\
            ```\n\n\
            A request that HTTP itself cannot read (a broken request line or header) is answered \
            400 without a body, before any of this.\n\n\
            ## Problems\n\n"
            .to_owned();
        let problems = Code::ALL.iter().map(|code| {
            let entry = code.entry();
            format!("| {} {}", entry.status, row(entry))
        });
        table(
            &mut out,
            problems,
            "| status | code | meaning | who reacts | how |",
        );
        out += "\n## Faults\n\n\
            The entries of `errors` of an `invalid_request`, all that were found at once. \
            `pointer` is a JSON pointer into the body, or `/` and the name of a query parameter.\n\n";
        table(
            &mut out,
            FaultCode::ALL.iter().map(|code| row(code.entry())),
            "| code | meaning | who reacts | how |",
        );
        out += "\n## Events that were refused\n\n\
            `POST /v1/task-events` answers 200 and names each event that was not taken in \
            `rejected`; the others of the batch were taken.\n\n";
        table(
            &mut out,
            EventCode::ALL.iter().map(|code| row(code.entry())),
            "| code | meaning | who reacts | how |",
        );
        out
    }

    #[test]
    fn the_page_of_errors_is_what_the_tables_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
        let text = errors_md();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &text).expect("docs/errors.md is written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "docs/errors.md is not what the tables say; run UPDATE_DOCS=1 cargo test -p app-api codes"
        );
    }

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            let status = code.status();
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{code}"
            );
            assert_eq!(status.as_u16(), code.entry().status);
            assert_eq!(Code::named(code.name()), Some(*code));
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.entry().status));
    }
}

//! Every kind of id has its own type. Ids are made outside the domain and parsed here.

use std::{fmt, str::FromStr};
use uuid::Uuid;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {rule}")]
pub struct InvalidId {
    /// Which kind of id was wanted.
    pub kind: &'static str,
    /// The rule that the text breaks.
    pub rule: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            /// Only the canonical form is accepted, so that one id has one spelling.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId { kind: $kind, rule: "must be a lower-case hyphenated UUID" };
                let id = Uuid::try_parse(text).map_err(|_| invalid)?;
                if id.hyphenated().to_string() == text { Ok(Self(id)) } else { Err(invalid) }
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $allowed:expr) => {
        text_id! { $(#[$doc])* $name, $kind, $rule, $allowed, 64 }
    };
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $allowed:expr, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let allowed: fn(u8) -> bool = $allowed;
                if (1..=$max).contains(&text.len()) && text.bytes().all(allowed) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { kind: $kind, rule: $rule })
                }
            }
        }
    };
}

const fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

uuid_id! {
    /// One contest (期).
    ContestId, "contest id"
}
uuid_id! {
    /// One signup, UUIDv7. For people and paging; no money hangs on it.
    SignupId, "signup id"
}
uuid_id! {
    /// One finding of the reconciliation, UUIDv7.
    FindingId, "finding id"
}
uuid_id! {
    /// One run of the reconciliation, UUIDv7.
    RunId, "run id"
}
text_id! {
    /// One viewer. The alphabet has no `/`, so no viewer can name a pool or a platform account.
    UserId, "user id", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -", is_id_byte
}
text_id! {
    /// One live room.
    RoomId, "room id", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -", is_id_byte
}
text_id! {
    /// One series of contests.
    SeriesId, "series id", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -", is_id_byte
}
text_id! {
    /// What a viewer has to do: `open_chest`, `send_gift`, `watch_minutes`, or any lower-case word.
    TaskKind, "task kind", "must be 1 to 64 characters of a-z 0-9 _",
    is_word_byte
}
text_id! {
    /// The id an event's sender gave it; unique per sender.
    EventId, "event id", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -", is_id_byte
}
text_id! {
    /// The id of one grant of sandbox coins.
    GrantId, "grant id", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -", is_id_byte
}
text_id! {
    /// The subject of the token under which events were sent.
    SenderId, "sender id", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -", is_id_byte
}
text_id! {
    /// One experiment.
    ExperimentName, "experiment name", "must be 1 to 32 characters of a-z 0-9 _", is_word_byte, 32
}
text_id! {
    /// One variant of an experiment.
    VariantName, "variant name", "must be 1 to 32 characters of a-z 0-9 _", is_word_byte, 32
}
text_id! {
    /// What an operator names a creation by, so that a repeat of it makes no second contest.
    IdempotencyKey, "idempotency key", "must be 1 to 128 visible ASCII characters",
    |byte| byte.is_ascii_graphic(), 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_cannot_name_another_kind_of_account() {
        for text in ["", "a/b", "pool/x", "é", "a b", &"x".repeat(65)] {
            assert!(text.parse::<UserId>().is_err(), "{text:?}");
        }
        for text in ["a", "A.b_c-9", &"x".repeat(64)] {
            assert!(text.parse::<UserId>().is_ok(), "{text:?}");
        }
    }

    // hazard: F12
    #[test]
    fn ids_are_compared_byte_for_byte_and_have_one_spelling() {
        assert_ne!("Ann".parse::<UserId>(), "ann".parse::<UserId>());
        let canonical = "0198c9f2-0000-7000-8000-00000000000a";
        assert!(canonical.parse::<ContestId>().is_ok());
        for other in [
            canonical.to_uppercase(),
            canonical.replace('-', ""),
            format!("{{{canonical}}}"),
        ] {
            assert!(other.parse::<ContestId>().is_err(), "{other}");
        }
    }
}

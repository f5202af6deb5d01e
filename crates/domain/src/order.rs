//! Accounts, and order ids that are derived rather than drawn.
//!
//! An order id is a function of what is paid, so a second order for the same leg cannot exist,
//! whoever retries, on whichever machine, even after the row that asked for it was lost.

use crate::ids::{ContestId, GrantId, SeriesId, UserId};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// An account of the funds system, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// `user/<user id>`: a viewer's coins.
    User(UserId),
    /// `pool/<contest id>`: one contest's own account (平衡账户).
    Pool(ContestId),
    /// `series/<series id>`: what one contest of a series leaves to the next.
    Series(SeriesId),
    /// `platform/<name>`.
    Platform(Platform),
}

/// The platform's own accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// `platform/issuing`: where coins come from; the only account that may go below zero.
    Issuing,
    /// `platform/revenue`: rake, remainders and unclaimed prizes.
    Revenue,
    /// `platform/holding`: payments whose receiver cannot be paid, until a person decides.
    Holding,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Issuing, Self::Revenue, Self::Holding];

    /// The part after `platform/`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Revenue => "revenue",
            Self::Holding => "holding",
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user/{user}"),
            Self::Pool(contest) => write!(f, "pool/{contest}"),
            Self::Series(series) => write!(f, "series/{series}"),
            Self::Platform(platform) => write!(f, "platform/{}", platform.name()),
        }
    }
}

/// A text that names no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an account: {0:?}")]
pub struct InvalidAccount(pub String);

impl FromStr for Account {
    type Err = InvalidAccount;
    fn from_str(text: &str) -> Result<Self, InvalidAccount> {
        let invalid = || InvalidAccount(text.to_owned());
        let (kind, name) = text.split_once('/').ok_or_else(invalid)?;
        match kind {
            "user" => name.parse().map(Self::User).map_err(|_| invalid()),
            "pool" => name.parse().map(Self::Pool).map_err(|_| invalid()),
            "series" => name.parse().map(Self::Series).map_err(|_| invalid()),
            "platform" => Platform::ALL
                .into_iter()
                .find(|platform| platform.name() == name)
                .map(Self::Platform)
                .ok_or_else(invalid),
            _ => Err(invalid()),
        }
    }
}

/// What a transfer is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leg {
    /// A viewer's fee into the pool.
    Fee(ContestId, UserId),
    /// A finisher's prize out of the pool.
    Prize(ContestId, UserId),
    /// A viewer's fee back.
    Refund(ContestId, UserId),
    /// One of the contest's own legs.
    Own(OwnLeg, ContestId),
    /// Sandbox coins for a viewer.
    Grant(GrantId),
}

/// The legs that a contest itself has; each is sent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnLeg {
    /// The guaranteed pool in, before signups open.
    Guarantee,
    /// What the series has left over from earlier contests in, before signups open.
    Carry,
    /// What of the guarantee was not needed, out, after the freeze.
    GuaranteeReturn,
    /// The platform's part, out, after the freeze; only where there are winners.
    Rake,
    /// What no finisher receives, out to the platform, at the end.
    Sweep,
    /// What no finisher receives, out to the series, at the end.
    Rollover,
}

impl OwnLeg {
    /// All of them, in the order in which they can be due.
    pub const ALL: [Self; 6] = [
        Self::Guarantee,
        Self::Carry,
        Self::GuaranteeReturn,
        Self::Rake,
        Self::Sweep,
        Self::Rollover,
    ];

    /// The stable name, part of the order id.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guarantee => "guarantee",
            Self::Carry => "carry",
            Self::GuaranteeReturn => "guarantee_return",
            Self::Rake => "rake",
            Self::Sweep => "sweep",
            Self::Rollover => "rollover",
        }
    }

    /// True for the legs that bring coins into the pool.
    #[must_use]
    pub const fn is_incoming(self) -> bool {
        matches!(self, Self::Guarantee | Self::Carry)
    }

    /// The account on the other side of the pool; none for a series' leg without a series.
    ///
    /// Guarantees are issued and what is not needed is taken out of circulation again; what the
    /// house earns goes to its revenue account.
    #[must_use]
    pub fn counterparty(self, series: Option<&SeriesId>) -> Option<Account> {
        match self {
            Self::Guarantee | Self::GuaranteeReturn => Some(Account::Platform(Platform::Issuing)),
            Self::Rake | Self::Sweep => Some(Account::Platform(Platform::Revenue)),
            Self::Carry | Self::Rollover => series.cloned().map(Account::Series),
        }
    }
}

impl Leg {
    /// The clear text that the order id is the digest of; it goes into the transfer's memo.
    ///
    /// `guafen/1/<leg>/<contest id>/<user id>/<entry>` for a viewer's legs,
    /// `guafen/1/<leg>/<contest id>` for a contest's own, `guafen/1/grant/<grant id>`. No part can
    /// contain a `/`, so no two legs share a text. The entry number is 0: nobody enters twice.
    #[must_use]
    pub fn memo(&self) -> String {
        match self {
            Self::Fee(contest, user) => format!("guafen/1/fee/{contest}/{user}/0"),
            Self::Prize(contest, user) => format!("guafen/1/prize/{contest}/{user}/0"),
            Self::Refund(contest, user) => format!("guafen/1/refund/{contest}/{user}/0"),
            Self::Own(leg, contest) => format!("guafen/1/{}/{contest}", leg.name()),
            Self::Grant(grant) => format!("guafen/1/grant/{grant}"),
        }
    }

    /// The order id: the first 128 bits of the SHA-256 of [`Leg::memo`].
    #[must_use]
    pub fn order_id(&self) -> OrderId {
        let digest = Sha256::digest(self.memo());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        OrderId(id)
    }
}

/// The id of one transfer, unique in the funds system for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub [u8; 16]);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderId({self})")
    }
}

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an order id: must be 32 lower-case hexadecimal digits")]
pub struct InvalidOrderId;

impl FromStr for OrderId {
    type Err = InvalidOrderId;
    fn from_str(text: &str) -> Result<Self, InvalidOrderId> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(lower_hex) {
            return Err(InvalidOrderId);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| InvalidOrderId)?;
        Ok(Self(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contest() -> ContestId {
        "0198c9f2-0000-7000-8000-00000000000a"
            .parse()
            .expect("a contest id")
    }

    // The vectors let another language check its own derivation; they must never change.
    #[test]
    fn order_ids_are_the_published_vectors() {
        let ann: UserId = "ann".parse().expect("a user id");
        let id = |leg: Leg| leg.order_id().to_string();
        assert_eq!(
            Leg::Fee(contest(), ann.clone()).memo(),
            "guafen/1/fee/0198c9f2-0000-7000-8000-00000000000a/ann/0"
        );
        assert_eq!(id(Leg::Fee(contest(), ann.clone())), FEE_VECTOR);
        assert_eq!(id(Leg::Own(OwnLeg::Sweep, contest())), SWEEP_VECTOR);
    }
    const FEE_VECTOR: &str = "a5904bafc6b53ac6252c87623b93758d";
    const SWEEP_VECTOR: &str = "9fdf028f15188f81e9f782ce36e74ab7";

    #[test]
    fn every_leg_has_an_order_of_its_own() {
        let ann: UserId = "ann".parse().expect("a user id");
        let mut ids = vec![
            Leg::Fee(contest(), ann.clone()).order_id(),
            Leg::Prize(contest(), ann.clone()).order_id(),
            Leg::Refund(contest(), ann).order_id(),
        ];
        ids.extend(OwnLeg::ALL.map(|leg| Leg::Own(leg, contest()).order_id()));
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn accounts_round_trip_through_their_text() {
        for text in [
            "user/ann",
            "pool/0198c9f2-0000-7000-8000-00000000000a",
            "series/daily",
            "platform/issuing",
        ] {
            assert_eq!(
                text.parse::<Account>().map(|account| account.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "ann",
            "user/",
            "user/a/b",
            "pool/ann",
            "platform/other",
            "bank/ann",
        ] {
            assert!(text.parse::<Account>().is_err(), "{text}");
        }
    }
}

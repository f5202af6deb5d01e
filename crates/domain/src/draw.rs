//! The lucky split: a draw that nobody can foresee, the house included, and everybody can check.
//!
//! A secret is drawn and committed to when the contest is created. The position that
//! `close_credits` answers is unknown then. Both together fix every weight, and both are published
//! after the freeze, so anybody can compute them again (commit and reveal).

use crate::{
    digest::Digest,
    ids::{ContestId, UserId},
    payout::Weight,
    transfer::Position,
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

/// The secret of one contest's draw. It shows itself only by [`Secret::reveal`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret from 32 random bytes that were used for nothing else.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The SHA-256 of the secret, published before signups open.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// The secret itself: for the store, and for everybody once the numbers are frozen.
    #[must_use]
    pub const fn reveal(&self) -> Digest {
        Digest::new(self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a draw is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The committed secret.
    pub secret: Secret,
    /// The position that `close_credits` answered.
    pub position: Position,
}

/// A lucky weight is 1 to this.
pub const LUCKY_MAX: u64 = 100;

impl Draw {
    /// 1 + (first 8 bytes, big-endian, of HMAC-SHA256(secret, contest ‖ user ‖ position)) mod 100.
    ///
    /// The message is the contest id and the user id as text and the position in decimal, each
    /// followed by one line feed.
    #[must_use]
    pub fn weight(&self, contest: ContestId, user: &UserId) -> Option<Weight> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret.0).ok()?;
        mac.update(format!("{contest}\n{user}\n{}\n", self.position.0).as_bytes());
        let digest = mac.finalize().into_bytes();
        let (head, _) = digest.split_first_chunk::<8>()?;
        Weight::new(1 + u64::from_be_bytes(*head) % LUCKY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_accident() {
        let secret = Secret::new([7; 32]);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.reveal().to_string(), "07".repeat(32));
        // printf '\7%.0s' $(seq 32) | sha256sum
        assert_eq!(
            secret.commitment().to_string(),
            "4bb06f8e4e3a7715d201d573d0aa423762e55dabd61a2c02278fa56cc6d294e0"
        );
    }
}

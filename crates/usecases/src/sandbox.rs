//! Coins for trying things out: the embedded default and the reference ledger only.

use crate::{Contests, Failure, payments::within};
use domain::{
    ids::{GrantId, UserId},
    money::Coins,
    order::{Account, Leg, Platform},
    transfer::{Content, Refusal},
};
use ports::funds::{FundsError, TransferOutcome};

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// The coins are there; what the viewer holds now.
    Yes(i64),
    /// The grant id was used for something else.
    Conflict,
    /// The viewer would hold too much.
    Refused(Refusal),
    /// Nobody knows; ask again with the same grant id.
    Unknown,
}

impl Contests {
    /// Gives a viewer coins out of `platform/issuing`, once for a grant id.
    ///
    /// # Errors
    /// [`Failure::Funds`].
    pub async fn grant(
        &self,
        user: &UserId,
        amount: Coins,
        grant: GrantId,
    ) -> Result<Granted, Failure> {
        let account = Account::User(user.clone());
        within(self.ports.funds.open_account(&account)).await?;
        let content = Content {
            from: Account::Platform(Platform::Issuing),
            to: account.clone(),
            amount,
        };
        Ok(
            match self.transfer(Leg::Grant(grant), content, None).await {
                TransferOutcome::Applied(_) => {
                    Granted::Yes(within(self.ports.funds.balance(&account)).await?.amount)
                }
                TransferOutcome::Conflict => Granted::Conflict,
                TransferOutcome::Refused(reason) => Granted::Refused(reason),
                TransferOutcome::NotSent | TransferOutcome::Unknown => Granted::Unknown,
            },
        )
    }

    /// What a viewer holds; none without an account.
    ///
    /// # Errors
    /// [`Failure::Funds`].
    pub async fn sandbox_balance(&self, user: &UserId) -> Result<Option<i64>, Failure> {
        match within(self.ports.funds.balance(&Account::User(user.clone()))).await {
            Ok(balance) => Ok(Some(balance.amount)),
            Err(FundsError::UnknownAccount(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

//! Fees whose signup's row was lost: the coins are in the pool, and nobody's record says so.
//!
//! If the viewer repeats the signup while signups are open, the derived order id finds the old
//! charge. If not, settling finds the books differ, and the fee goes back under its own refund
//! order.

use crate::{
    Contests, Failure,
    drive::{Prefetched, Until},
    payments::within,
};
use domain::{
    contest::Contest,
    finding::FindingClass,
    ids::{ContestId, SignupId},
    order::{Account, Leg},
    signup::{Fact, Signup, State},
    transfer::{Position, Transfer},
};
use ports::{findings::FindingFilter, funds::TransferPage, signups::Enrolled};

/// The transfers of one page of the funds log.
const PAGE: usize = 1_000;

impl Contests {
    /// Gives back every fee of the contest that no row explains; how many were found.
    pub(crate) async fn adopt_orphans(&self, contest: &Contest) -> Result<usize, Failure> {
        let account = contest.pool_account();
        let mut after = Position(0);
        let mut adopted = 0;
        loop {
            let TransferPage { transfers, .. } =
                within(self.ports.funds.list(&account, after, PAGE)).await?;
            let Some(last) = transfers.last() else {
                return Ok(adopted);
            };
            after = last.receipt.position;
            for transfer in &transfers {
                adopted += usize::from(self.adopt(contest, transfer).await?);
            }
        }
    }

    /// Gives a fee back that no row explains; false where one does.
    pub(crate) async fn adopt(
        &self,
        contest: &Contest,
        transfer: &Transfer,
    ) -> Result<bool, Failure> {
        let Account::User(user) = &transfer.content.from else {
            return Ok(false);
        };
        if transfer.order_id != Leg::Fee(contest.id, user.clone()).order_id() {
            return Ok(false);
        }
        match self.ports.signups.find(contest.id, user).await? {
            // Expired, and the fee is there after all; or restored by a process that then died.
            Some(expired)
                if expired.state == State::Expired && expired.fee_content() == transfer.content =>
            {
                return self
                    .give_back(contest, expired, transfer)
                    .await
                    .map(|()| true);
            }
            Some(_) => return Ok(false),
            None => {}
        }
        let evidence = format!(
            "{user} paid {} coins and has no signup",
            transfer.content.amount
        );
        let order = transfer.order_id.to_string();
        self.raise_about(
            Some(user),
            FindingClass::OrphanTransfer,
            contest.id,
            order,
            evidence,
        )
        .await;
        let id = SignupId(self.ports.ids.next());
        let now = self.ports.clock.now();
        let lost = Signup::new(id, contest.id, user.clone(), transfer.content.amount, now);
        let lost = Signup {
            variants: self.assigned_to(contest, user),
            state: State::Expired,
            ..lost
        };
        if self.ports.signups.restore(&lost).await? == Enrolled::Inserted {
            self.give_back(contest, lost, transfer).await?;
        }
        Ok(true)
    }

    async fn give_back(
        &self,
        contest: &Contest,
        expired: Signup,
        fee: &Transfer,
    ) -> Result<(), Failure> {
        let found = Fact::FeeApplied(fee.receipt);
        self.drive(
            contest,
            expired,
            Some(found),
            Until::Rest,
            Prefetched::default(),
        )
        .await
        .map(drop)
    }

    /// Settles the findings about orphans of a contest whose books agree: each has a row now.
    pub(crate) async fn withdraw_orphans(&self, contest: ContestId) -> Result<(), Failure> {
        let open = self
            .ports
            .findings
            .list(FindingFilter::open_of(contest), None, PAGE)
            .await?;
        for finding in open
            .items
            .iter()
            .filter(|finding| finding.class == FindingClass::OrphanTransfer)
        {
            self.withdraw(finding.class, contest, &finding.subject)
                .await;
        }
        Ok(())
    }
}

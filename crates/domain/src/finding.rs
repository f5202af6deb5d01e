//! Differences between our rows and the funds system, by class, and how a repair ended.

crate::terms::choice! {
    /// A class of difference (差异).
    FindingClass {
        /// The fee is there, the signup still Initialized.
        FeeUnrecorded = "FEE_UNRECORDED",
        /// Paid or beyond here, no transfer there.
        FeeMissing = "FEE_MISSING",
        /// Amounts or accounts differ.
        AmountDiffers = "AMOUNT_DIFFERS",
        /// A transfer on the pool account that no row explains.
        OrphanTransfer = "ORPHAN_TRANSFER",
        /// Two successful transfers for one leg.
        DuplicateTransfer = "DUPLICATE_TRANSFER",
        /// The prize is paid there, the row still Claiming.
        PrizeUnrecorded = "PRIZE_UNRECORDED",
        /// Shared here with a prize above 0, no transfer there.
        PrizeMissing = "PRIZE_MISSING",
        /// The refund is paid there, the row still Refunding.
        RefundUnrecorded = "REFUND_UNRECORDED",
        /// Refunded here, no transfer there.
        RefundMissing = "REFUND_MISSING",
        /// The balance lies outside what the rows allow.
        PoolDiffers = "POOL_DIFFERS",
        /// A step has been due for longer than its limit, or a payment is parked.
        Stuck = "STUCK",
        /// The live tally is not what the rows say.
        TallyDiffers = "TALLY_DIFFERS",
    }
}

crate::terms::choice! {
    /// How a repair ended.
    RepairOutcome {
        /// It is mended.
        Done = "done",
        /// There was nothing to mend any more.
        Needless = "needless",
        /// It could not be made; the finding stays open.
        Failed = "failed",
    }
}

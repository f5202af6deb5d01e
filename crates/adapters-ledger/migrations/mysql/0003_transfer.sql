CREATE TABLE transfer (
    position BIGINT NOT NULL PRIMARY KEY,
    order_id BINARY(16) NOT NULL,
    debit BIGINT NOT NULL,
    credit BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    memo TEXT CHARACTER SET utf8mb4 NOT NULL,
    applied_at BIGINT NOT NULL,
    CONSTRAINT transfer_order UNIQUE (order_id),
    CONSTRAINT transfer_debit FOREIGN KEY (debit) REFERENCES account (account_id),
    CONSTRAINT transfer_credit FOREIGN KEY (credit) REFERENCES account (account_id),
    CONSTRAINT transfer_amount CHECK (amount > 0),
    CONSTRAINT transfer_moves CHECK (debit <> credit),
    INDEX transfer_of_payer (debit, position),
    INDEX transfer_of_receiver (credit, position)
) ENGINE = InnoDB

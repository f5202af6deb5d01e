INSERT INTO account (name, balance)
VALUES ('platform/issuing', 0), ('platform/revenue', 0), ('platform/holding', 0)

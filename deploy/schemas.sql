-- Run once by the image of MySQL, on an empty data directory. The store's schema and its user are
-- made by the image itself; the ledger has a schema of its own.
CREATE DATABASE guafen_ledger;
GRANT ALL PRIVILEGES ON guafen_ledger.* TO 'guafen'@'%';

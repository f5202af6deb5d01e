//! The production store on MySQL and MariaDB: one writer per process that commits together what arrives together.

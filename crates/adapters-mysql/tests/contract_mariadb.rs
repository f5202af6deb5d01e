//! The store passes the suite of every port of a store, on MariaDB.
// hazard: F16

mod support;

contract_tests::store_suite!(crate::support::Fixture<crate::support::Mariadb>);
contract_tests::leases_suite!(crate::support::Fixture<crate::support::Mariadb>, |it| it
    .store
    .clone());
contract_tests::tickets_suite!(crate::support::Fixture<crate::support::Mariadb>, |it| it
    .store
    .clone());

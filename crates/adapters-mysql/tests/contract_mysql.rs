//! The store passes the suite of every port of a store, on MySQL.

mod support;

contract_tests::store_suite!(crate::support::Fixture<crate::support::Mysql>);
contract_tests::leases_suite!(crate::support::Fixture<crate::support::Mysql>, |it| it
    .store
    .clone());
contract_tests::tickets_suite!(crate::support::Fixture<crate::support::Mysql>, |it| it
    .store
    .clone());

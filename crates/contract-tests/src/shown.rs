//! The suites of [`ports::shown`]: what every keeper of what is only shown does.
#![allow(clippy::expect_used, reason = "these are tests")]

pub mod numbers;
pub mod places;
pub mod records;

use domain::{
    contest::{Contest, PhaseKind},
    time::UnixMillis,
};
use ports::shown::{PastPools, Ranking, RecordCache, Tallies};
use std::{future::Future, sync::Arc};

/// What is only shown, under test. Every case opens one of its own, empty.
pub trait ShownFixture: Sized + Send + Sync + 'static {
    /// An empty one.
    fn open() -> impl Future<Output = Self>;

    /// Everything that it holds is lost.
    fn lose(&self) -> impl Future<Output = ()>;

    /// Comes back when `millis` have passed on its clock.
    fn pass(&self, millis: i64) -> impl Future<Output = ()>;

    /// Its clock.
    fn now(&self) -> UnixMillis;

    /// The records.
    fn records(&self) -> Arc<dyn RecordCache>;
    /// The numbers.
    fn tallies(&self) -> Arc<dyn Tallies>;
    /// The ranking.
    fn ranking(&self) -> Arc<dyn Ranking>;
    /// The pools of the past.
    fn past_pools(&self) -> Arc<dyn PastPools>;
}

/// A contest that runs now.
fn running<F: ShownFixture>(shown: &F) -> Contest {
    crate::samples::contest_in(PhaseKind::Running, shown.now())
}

/// Lists the cases of a module as `suite!` does for a store.
macro_rules! shown_cases {
    ($($case:ident),+ $(,)?) => {
        /// The cases of this suite.
        pub mod cases {
            use $crate::shown::ShownFixture;
            $(
                #[doc = concat!("The case `", stringify!($case), "`.")]
                pub async fn $case<F: ShownFixture>() {
                    super::$case(F::open().await).await;
                }
            )+
        }
    };
}
pub(crate) use shown_cases;

/// Makes cases tests of a fixture.
#[doc(hidden)]
#[macro_export]
macro_rules! shown_tests {
    ($fixture:ty, $module:ident: $($case:ident),+ $(,)?) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $crate::shown::$module::cases::$case::<$fixture>().await;
                }
            )+
        }
    };
}

/// Makes every case of what is only shown a test of a [`ShownFixture`].
#[macro_export]
macro_rules! shown_suite {
    ($fixture:ty) => {
        $crate::shown_tests! { $fixture, records:
            what_was_filled_is_found_in_every_state,
            what_was_dropped_is_not_answered,
            an_older_fill_is_stale,
            a_drop_leaves_what_is_newer,
            an_absence_gives_way_to_a_creation,
            an_absence_is_short,
            records_are_apart_and_can_be_lost,
        }
        $crate::shown_tests! { $fixture, numbers:
            without_a_finished_rebuild_there_are_no_numbers,
            a_count_is_added_once,
            a_crowd_counts_each_once,
            counts_during_a_rebuild_go_to_both,
            a_later_rebuild_voids_an_earlier_one,
            what_was_lost_is_not_half_shown,
            large_numbers_are_exact,
            a_past_pool_is_found_until_it_is_lost,
        }
        $crate::shown_tests! { $fixture, places:
            without_a_finished_rebuild_there_are_no_places,
            places_stand_in_the_order_of_the_leaderboard,
            the_better_place_is_kept,
            neighbours_are_around,
            entries_during_a_rebuild_go_to_both,
            a_later_rebuild_voids_an_earlier_one,
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_joined() {
        let joined = include_str!("shown.rs");
        let modules = [
            include_str!("shown/records.rs"),
            include_str!("shown/numbers.rs"),
            include_str!("shown/places.rs"),
        ];
        for text in modules {
            let list = text
                .split_once("shown_cases! {")
                .and_then(|(_, rest)| rest.split_once('}'))
                .map_or("", |(list, _)| list);
            let cases: Vec<_> = list
                .split(',')
                .map(str::trim)
                .filter(|case| !case.is_empty())
                .collect();
            assert!(cases.len() >= 6, "{cases:?}");
            for case in cases {
                assert!(joined.contains(&format!("            {case},\n")), "{case}");
            }
        }
    }
}

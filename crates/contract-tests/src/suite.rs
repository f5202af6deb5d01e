//! How a suite is listed and joined.
//!
//! A case is a private function, and its module denies dead code: one that is not listed does not
//! compile. `suite!` makes the public cases and the macro by which an adapter joins; the test below
//! sees that [`store_suite!`] joins every suite of the store.

/// Lists the cases of a module: makes `cases`, each of which opens a store of its own, and a macro
/// that turns them into tests of a fixture.
macro_rules! suite {
    (@ ($d:tt) $suite:ident, $($module:ident)::+: $($case:ident),+) => {
        /// The cases of this suite. Each opens a store of its own, whose outbox keeps every effect.
        pub mod cases {
            use $crate::fixture::StoreFixture;
            $(
                #[doc = concat!("The case `", stringify!($case), "`.")]
                pub async fn $case<F: StoreFixture>() {
                    super::$case(F::open(domain::effects::Effect::ALL).await).await;
                }
            )+
        }

        /// Makes every case of the suite a test of that fixture.
        #[macro_export]
        macro_rules! $suite {
            ($d fixture:ty) => {
                use $crate::$($module)::+::cases;
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        cases::$case::<$d fixture>().await;
                    }
                )+
            };
        }
    };
    ($suite:ident in $($module:ident)::+: $($case:ident),+ $(,)?) => {
        $crate::suite::suite! { @ ($) $suite, $($module)::+: $($case),+ }
    };
}
pub(crate) use suite;

/// Makes every case of every port of the store a test of a [`StoreFixture`]: one line in the
/// adapter's `tests/`. Needs `contract-tests` and `tokio` (rt-multi-thread, macros) there.
///
/// [`StoreFixture`]: crate::fixture::StoreFixture
#[macro_export]
macro_rules! store_suite {
    ($fixture:ty) => {
        mod contests {
            use super::*;
            $crate::contests_suite!($fixture);
        }
        mod contests_counting {
            use super::*;
            $crate::contests_counting_suite!($fixture);
        }
        mod contests_listing {
            use super::*;
            $crate::contests_listing_suite!($fixture);
        }
        mod signups {
            use super::*;
            $crate::signups_suite!($fixture);
        }
        mod signups_enrolling {
            use super::*;
            $crate::signups_enrolling_suite!($fixture);
        }
        mod signups_commits {
            use super::*;
            $crate::signups_commits_suite!($fixture);
        }
        mod signups_paging {
            use super::*;
            $crate::signups_paging_suite!($fixture);
        }
        mod events {
            use super::*;
            $crate::events_suite!($fixture);
        }
        mod events_progress {
            use super::*;
            $crate::events_progress_suite!($fixture);
        }
        mod leaderboard {
            use super::*;
            $crate::leaderboard_suite!($fixture);
        }
        mod findings {
            use super::*;
            $crate::findings_suite!($fixture);
        }
        mod outbox {
            use super::*;
            $crate::outbox_suite!($fixture);
        }
        mod notices {
            use super::*;
            $crate::notices_suite!($fixture);
        }
        mod experiments {
            use super::*;
            $crate::experiments_suite!($fixture);
        }
        mod switches {
            use super::*;
            $crate::switches_suite!($fixture);
        }
        mod reconciliations {
            use super::*;
            $crate::reconciliations_suite!($fixture);
        }
    };
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// The suites that files list, in all files below `folder`.
    fn listed(folder: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a source folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                listed(&path, names);
            } else {
                let text = fs::read_to_string(&path).expect("a source file");
                let starts = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("crate::suite::suite! { "));
                names.extend(
                    starts
                        .filter_map(|rest| rest.split(' ').next())
                        .map(str::to_owned),
                );
            }
        }
    }

    #[test]
    fn every_suite_of_the_store_is_joined() {
        let mut names = Vec::new();
        listed(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut names,
        );
        assert!(names.len() >= 11, "{names:?}");
        for name in names {
            assert!(
                include_str!("suite.rs").contains(&format!("$crate::{name}!")),
                "{name}"
            );
        }
    }
}

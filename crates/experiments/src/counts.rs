//! Tests of counts by Pearson's chi-square: was the assignment what it should have been?

use crate::{Invalid, real};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Below this p value of [`sample_ratio`] the assignment is broken, and no metric of the experiment
/// means anything before the cause is found.
///
/// It is far below an alpha because it is looked at daily and because a broken assignment of any
/// size to speak of gives a p value of many zeros.
pub const SAMPLE_RATIO_ALARM: f64 = 0.001;

/// Below this expected count in any cell the statistic is not near a chi-square (Cochran 1954).
const EXPECTED_MIN: f64 = 5.0;
const TOO_FEW: &str = "enough for 5 expected in every cell";

/// The p value of `counts` units in the arms where they were to be in proportion to `shares`.
///
/// It holds for one look.
///
/// # Errors
/// [`Invalid`] unless there are two arms or more, a share above 0 for each, and so many units that
/// at least 5 are expected in every arm.
pub fn sample_ratio(counts: &[u64], shares: &[u64]) -> Result<f64, Invalid> {
    Invalid::unless(counts.len() >= 2, "counts", "at least two arms")?;
    Invalid::unless(shares.len() == counts.len(), "shares", "one for each count")?;
    Invalid::unless(!shares.contains(&0), "shares", "each above 0")?;
    let per_share = sum(counts) / sum(shares);
    let cells = counts
        .iter()
        .zip(shares)
        .map(|(&count, &share)| (real(count), real(share) * per_share));
    p_value(cells, counts.len() - 1, "counts")
}

/// The p value of a table of counts where rows and columns were to be independent, such as arms by
/// kind of device.
///
/// It holds for one look. Rare rows and columns are to be pooled.
///
/// # Errors
/// [`Invalid`] unless there are two rows and two columns or more, all rows are of one length, and
/// at least 5 are expected in every cell.
pub fn independence(table: &[Vec<u64>]) -> Result<f64, Invalid> {
    let columns = table.first().map_or(0, Vec::len);
    Invalid::unless(
        table.len() >= 2 && columns >= 2,
        "table",
        "at least two rows and two columns",
    )?;
    Invalid::unless(
        table.iter().all(|row| row.len() == columns),
        "table",
        "rows of one length",
    )?;
    let column_sums: Vec<f64> = (0..columns)
        .map(|column| table.iter().map(|row| real(row[column])).sum())
        .collect();
    let all: f64 = column_sums.iter().sum();
    let cells = table.iter().flat_map(|row| {
        let part = sum(row) / all;
        row.iter()
            .zip(&column_sums)
            .map(move |(&count, column)| (real(count), column * part))
    });
    p_value(cells, (table.len() - 1) * (columns - 1), "table")
}

fn sum(counts: &[u64]) -> f64 {
    counts.iter().map(|&count| real(count)).sum()
}

/// Of pairs of what was observed and what was expected.
fn p_value(
    mut cells: impl Iterator<Item = (f64, f64)>,
    freedom: usize,
    field: &'static str,
) -> Result<f64, Invalid> {
    let too_few = Invalid {
        field,
        rule: TOO_FEW,
    };
    let statistic = cells
        .try_fold(0.0, |sum, (observed, expected)| {
            // Not a number where the whole table is empty.
            (expected >= EXPECTED_MIN).then(|| {
                let off = observed - expected;
                sum + off * off / expected
            })
        })
        .ok_or(too_few)?;
    // It refuses no degrees of freedom, and there are some by what the callers ask for.
    let spread = ChiSquared::new(freedom as f64).map_err(|_| too_few)?;
    Ok(spread.sf(statistic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: Result<f64, Invalid>, wanted: f64, by: f64) {
        let got = got.expect("a p value");
        assert!((got - wanted).abs() <= by, "{got} is not {wanted}");
    }

    /// `scipy.stats.chisquare`, the examples of its documentation.
    #[test]
    fn published_goodness_of_fit() {
        let counts = [16, 18, 16, 14, 12, 12];
        let even = sample_ratio(&counts, &[1; 6]);
        near(even, 0.849_145_036_084_609_6, 1e-12);
        let uneven = sample_ratio(&counts, &[2, 2, 2, 2, 2, 1]);
        near(uneven, 0.623_387_627_749_582_2, 1e-12);
    }

    /// Mendel's peas, 9:3:3:1, statistic 0.470 (the textbooks' example), with three degrees of
    /// freedom: the tail is 2(1 − Φ(√s)) + √(2s/π)·e^(−s/2) = 0.9254.
    #[test]
    fn mendels_peas() {
        let peas = sample_ratio(&[315, 108, 101, 32], &[9, 3, 3, 1]);
        near(peas, 0.9254, 5e-5);
    }

    /// Kohavi, Tang and Xu, "Trustworthy Online Controlled Experiments", 2020, chapter 21,
    /// scenario 1: 821,588 and 815,482 users where one to one was meant, p = 1.8E-6.
    #[test]
    fn a_published_mismatch_is_an_alarm() {
        let p = sample_ratio(&[821_588, 815_482], &[1, 1]).expect("a p value");
        assert!((p - 1.8e-6).abs() < 0.05e-6, "{p}");
        assert!(p < SAMPLE_RATIO_ALARM);
    }

    /// R's `chisq.test`, the example of its documentation, from Agresti, "An Introduction to
    /// Categorical Data Analysis", 2007, page 39: X² = 30.07, df = 2, p = 2.954e-07. And
    /// `scipy.stats.chi2_contingency`, likewise: 2.7778, df = 2, p = 0.24935220877729619.
    #[test]
    fn published_tables() {
        let party = independence(&[vec![762, 327, 468], vec![484, 239, 477]]);
        near(party, 2.954e-7, 5e-11);
        let table = independence(&[vec![10, 10, 20], vec![20, 20, 20]]);
        near(table, 0.249_352_208_777_296_2, 1e-12);
    }

    /// NIST/SEMATECH e-Handbook of Statistical Methods, 7.4.6: diodes of five lots, statistic
    /// 12.131, df = 4, against a critical value of 9.488 at 0.05. With four degrees of freedom the
    /// tail is e^(−s/2)·(1 + s/2) = 0.01641.
    #[test]
    fn diodes_of_five_lots() {
        let lots = independence(&[vec![36, 46, 42, 63, 38], vec![264, 254, 258, 237, 262]]);
        near(lots, 0.016_41, 5e-6);
    }

    #[test]
    fn the_two_tests_agree_and_the_far_tail_is_zero() {
        let whole = sample_ratio(&[5_500, 4_500], &[1, 1]).expect("a p value");
        assert!(whole > 0.0 && whole < 1e-22, "{whole}");
        near(sample_ratio(&[500, 500], &[7, 7]), 1.0, 0.0);
        near(sample_ratio(&[u64::MAX, 5], &[1, 1]), 0.0, 0.0);
        // By row or by column it is one table.
        let (rows, columns) = (
            [vec![30, 20, 50], vec![40, 50, 60]],
            [vec![30, 40], vec![20, 50], vec![50, 60]],
        );
        let wanted = independence(&rows).expect("a p value");
        near(independence(&columns), wanted, 1e-15);
    }

    #[test]
    fn what_cannot_be_tested_says_why() {
        let fault = |counts: &[u64], shares: &[u64]| {
            sample_ratio(counts, shares)
                .err()
                .map(|fault| (fault.field, fault.rule))
        };
        assert_eq!(fault(&[], &[]), Some(("counts", "at least two arms")));
        assert_eq!(fault(&[9], &[1]), Some(("counts", "at least two arms")));
        assert_eq!(fault(&[9, 9], &[1]), Some(("shares", "one for each count")));
        assert_eq!(fault(&[9, 9], &[1, 0]), Some(("shares", "each above 0")));
        assert_eq!(fault(&[0, 0], &[1, 1]), Some(("counts", TOO_FEW)));
        // One unit in an arm of one in a hundred is no alarm.
        assert_eq!(fault(&[0, 1], &[99, 1]), Some(("counts", TOO_FEW)));
        let rule = |table: &[Vec<u64>]| independence(table).err().map(|fault| fault.rule);
        let shape = Some("at least two rows and two columns");
        assert_eq!(rule(&[]), shape);
        assert_eq!(rule(&[vec![9, 9]]), shape);
        assert_eq!(rule(&[vec![9], vec![9]]), shape);
        assert_eq!(rule(&[vec![9, 9], vec![9]]), Some("rows of one length"));
        assert_eq!(rule(&[vec![0, 0], vec![0, 0]]), Some(TOO_FEW));
        assert_eq!(rule(&[vec![90, 0], vec![90, 0]]), Some(TOO_FEW));
    }
}

//! The figures of `overload` for people.

use super::{Kind, Round};

/// The middle one, of two the lower; 0 of none.
pub(super) fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let place = values.len().saturating_sub(1) / 2;
    values.get(place).copied().unwrap_or(0)
}

fn percentile(values: &[u32], percent: usize) -> u32 {
    let mut values = values.to_vec();
    values.sort_unstable();
    let place = values.len().saturating_sub(1) * percent / 100;
    values.get(place).copied().unwrap_or(0)
}

/// Milliseconds with one place.
fn ms(us: u32) -> String {
    format!("{}.{}", us / 1_000, us % 1_000 / 100)
}

/// Cores in use, with two places.
fn cores(used_ms: u64, round: &Round) -> String {
    let whole = u64::try_from(round.tally.length.as_millis()).unwrap_or(1);
    let hundredths = used_ms * 100 / whole.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// One measurement in one line.
pub(super) fn line(round: &Round) -> String {
    let tally = &round.tally;
    let seconds = tally.length.as_secs().max(1);
    let kind = match round.kind {
        Kind::Capacity => "capacity",
        Kind::Once => "1x",
        Kind::Over => "overload",
    };
    let other: u64 = tally.other.values().sum();
    format!(
        "{kind:<10}{:>9}{:>9}{:>9}{:>7}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>9}",
        tally.offered / seconds,
        tally.goodput(),
        (tally.shed + tally.shed_rudely) / seconds,
        other,
        tally.unanswered + tally.unsent,
        ms(percentile(&tally.served_us, 50)),
        ms(percentile(&tally.served_us, 99)),
        ms(percentile(&tally.shed_us, 50)),
        ms(percentile(&tally.shed_us, 99)),
        cores(round.server_ms, round),
        cores(round.here_ms, round),
        round.resident_kib.iter().max().unwrap_or(&0) / 1_024,
    )
}

/// All of them, with what the columns mean.
pub(super) fn print(rounds: &[Round]) {
    println!(
        "\n{:<10}{:>9}{:>9}{:>9}{:>7}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>9}",
        "",
        "offered",
        "served",
        "shed",
        "other",
        "no",
        "served",
        "ms",
        "shed",
        "ms",
        "cores",
        "",
        "memory"
    );
    println!(
        "{:<10}{:>9}{:>9}{:>9}{:>7}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>9}",
        "", "/s", "/s", "/s", "", "answer", "p50", "p99", "p50", "p99", "server", "load", "MiB"
    );
    for round in rounds {
        println!("{}", line(round));
    }
    let reconnects: u64 = rounds.iter().map(|round| round.tally.reconnects).sum();
    if reconnects > 0 {
        println!("{reconnects} connections were ended by the server or refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_hundredths() {
        assert_eq!(median([9, 1, 5].into_iter()), 5);
        assert_eq!(median([9, 1].into_iter()), 1);
        assert_eq!(median(std::iter::empty()), 0);
        let values: Vec<u32> = (1..=100).rev().collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (50, 99));
        assert_eq!(ms(12_345), "12.3");
    }
}

//! Rows that are found by keys: `(a, b) IN ((?, ?), …)`. Each key is a range of the index, so the
//! plan is the same for one row and for a batch, whatever the optimiser thinks of the table; and the
//! rows are locked in the order of the index.

/// The most keys that one statement is given. A statement takes 65,535 marks, and a longer one is not
/// worth more.
pub const MAX: usize = 1_000;

/// As many keys as a statement for `keys` of them takes: a power of two, so that few statements are
/// prepared. The rest is filled with the last key again.
#[must_use]
pub fn padded(keys: usize) -> usize {
    keys.max(1).next_power_of_two()
}

/// `(?, ?)` for a key of two columns, so often as [`padded`] says, with commas between.
#[must_use]
pub fn marks(columns: usize, keys: usize) -> String {
    let key = format!("({})", vec!["?"; columns].join(","));
    vec![key.as_str(); padded(keys)].join(",")
}

/// The keys, and the last of them again until there are as many as [`padded`] says.
pub fn fill<T>(keys: &[T]) -> impl Iterator<Item = &T> {
    let rest = padded(keys.len()) - keys.len();
    let last = keys.last().into_iter().cycle();
    keys.iter().chain(last.take(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_takes_as_many_keys_as_it_has_marks() {
        for number in 1..70 {
            let keys: Vec<usize> = (0..number).collect();
            let filled: Vec<_> = fill(&keys).copied().collect();
            assert_eq!(filled.len(), padded(number));
            assert_eq!(filled[..number], keys);
            assert!(filled[number..].iter().all(|key| *key == number - 1));
            assert_eq!(marks(2, number).matches('?').count(), 2 * filled.len());
        }
        assert_eq!(marks(1, 2), "(?),(?)");
    }
}

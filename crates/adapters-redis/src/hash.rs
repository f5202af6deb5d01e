//! A number for a text that is the same on every node, in every build: nodes must agree about which
//! part of a tally an id belongs to, or it would be counted twice. The standard library's hasher
//! promises no such thing.

/// FNV-1a, mixed once more so that its low bits depend on all of the text.
pub(crate) fn number(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::number;

    // hazard: D1, D7
    #[test]
    fn a_text_has_the_same_number_for_ever() {
        // Changing this is changing the parts of every tally: all would have to be rebuilt.
        assert_eq!(number(""), GOLDEN.0);
        assert_eq!(number("f:0198c9f2-0000-7000-8000-000000000001"), GOLDEN.1);
    }

    const GOLDEN: (u64, u64) = (9_615_434_056_195_626_113, 13_017_739_196_345_348_075);

    #[test]
    fn ids_that_count_up_are_spread_evenly() {
        for parts in [4_u64, 16, 64] {
            let mut sizes = vec![0_u32; usize::try_from(parts).expect("small")];
            for id in 0..64_000 {
                let part = number(&format!("f:0198c9f2-0000-7000-8000-{id:012x}")) % parts;
                sizes[usize::try_from(part).expect("small")] += 1;
            }
            let fair = 64_000 / u32::try_from(parts).expect("small");
            for size in &sizes {
                assert!(size.abs_diff(fair) < fair / 5, "{parts} parts: {sizes:?}");
            }
        }
    }
}

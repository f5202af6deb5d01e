//! Who gets what, over a million units: shares within what chance allows, and two experiments independent.
#![allow(clippy::expect_used, reason = "these are tests")]

use domain::{
    assignment::{place, takes_part},
    terms::BasisPoints,
};
use experiments::{independence, sample_ratio};

const UNITS: u64 = 1_000_000;
/// Below this a right assignment is one in a hundred thousand; the ids are fixed, so it never flickers.
const ALARM: f64 = 0.000_01;

fn share(points: u16) -> BasisPoints {
    BasisPoints::new(points).expect("a share")
}

/// What a million units get of two experiments: places, and whether they take part at a tenth and at a half.
fn assigned(range: std::ops::Range<u64>) -> (Vec<Vec<u64>>, [[u64; 2]; 2], u64) {
    let (one, other) = ([5_000, 5_000], [1_000, 2_000, 7_000]);
    let mut table = vec![vec![0_u64; other.len()]; one.len()];
    let (mut part, mut moved) = ([[0_u64; 2]; 2], 0);
    for number in range {
        let unit = format!("user-{number}");
        let first = place("salt-of-one", &unit, one.map(share)).expect("the whole");
        let second = place("salt-of-other", &unit, other.map(share)).expect("the whole");
        table[first][second] += 1;
        let [tenth, half] =
            [1_000, 5_000].map(|ramp| takes_part("salt-of-one", &unit, share(ramp)));
        moved += u64::from(tenth && !half);
        part[usize::from(half)][first] += 1;
    }
    (table, part, moved)
}

#[test]
fn a_million_units_are_spread_as_the_shares_say_and_two_experiments_know_nothing_of_each_other() {
    // Two halves at once: it is all hashing.
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| assigned(0..UNITS / 2));
        let second = assigned(UNITS / 2..UNITS);
        (first.join().expect("no panic"), second)
    });
    let mut table = first.0;
    for (row, other) in table.iter_mut().zip(&second.0) {
        for (cell, other) in row.iter_mut().zip(other) {
            *cell += other;
        }
    }
    let by_one: Vec<u64> = table.iter().map(|row| row.iter().sum()).collect();
    let by_other: Vec<u64> = (0..3)
        .map(|place| table.iter().map(|row| row[place]).sum())
        .collect();
    assert_eq!(by_one.iter().sum::<u64>(), UNITS);
    let p_one = sample_ratio(&by_one, &[5_000, 5_000]).expect("enough units");
    let p_other = sample_ratio(&by_other, &[1_000, 2_000, 7_000]).expect("enough units");
    let p_both = independence(&table).expect("enough units");
    let part: Vec<Vec<u64>> = (0..2)
        .map(|half| {
            (0..2)
                .map(|place| first.1[half][place] + second.1[half][place])
                .collect()
        })
        .collect();
    let p_ramp = independence(&part).expect("enough units");
    let at_half: u64 = part[1].iter().sum();
    let p_half = sample_ratio(&[UNITS - at_half, at_half], &[1, 1]).expect("enough units");
    println!(
        "{by_one:?} p {p_one:.4}; {by_other:?} p {p_other:.4}; both {p_both:.4}; ramp {p_half:.4}, and variant {p_ramp:.4}"
    );
    for p in [p_one, p_other, p_both, p_ramp, p_half] {
        assert!(p > ALARM, "{p}");
    }
    assert_eq!(
        first.2 + second.2,
        0,
        "who takes part at a tenth does so at a half"
    );
    // It can fail: the same salt twice is anything but independent.
    let same = independence(&[vec![by_one[0], 0], vec![0, by_one[1]]]);
    assert!(same.expect("enough units") < ALARM);
}

//! Whole experiments, simulated from fixed seeds and looked at daily: how often they mislead, and
//! how often they find what is there. What is known to be wrong is shown to fail the same way.
#![allow(clippy::float_arithmetic, reason = "statistics")]

use experiments::{
    Comparison, Design, Interval, SAMPLE_RATIO_ALARM, Sums, Verdict, compare, sample_ratio,
};

const EXPERIMENTS: u32 = 1_000;
const DAYS: u32 = 30;
const ALPHA: f64 = 0.05;
/// Users of a day, over both arms.
const DAILY: u32 = 200;

/// SplitMix64: the same on every machine.
struct Chance(u64);

impl Chance {
    const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 up to 1.
    fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number with mean 0 and variance 1 (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }

    fn is(&mut self, rate: f64) -> bool {
        self.share() < rate
    }

    /// A number in `low..high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low)
    }

    fn add_user(&mut self, arm: &mut Sums, rate: f64) {
        arm.add(f64::from(u8::from(self.is(rate))), 1.0);
    }
}

/// By the always-valid interval; by a z test that may be looked at once.
fn found(control: &Sums, treated: &Sums, design: &Design) -> [bool; 2] {
    let Comparison::Interval(Interval {
        difference,
        low,
        high,
        ..
    }) = compare(control, treated, design)
    else {
        return [false; 2];
    };
    let variance = control.variance().zip(treated.variance());
    let error = variance.map_or(0.0, |(one, other)| (one + other).sqrt());
    [
        low > 0.0 || high < 0.0,
        difference.abs() > 1.959_964 * error,
    ]
}

/// How many experiments ever found a difference, and how many found one at the last look; for each
/// of both tests. `day` adds a day's units to control and treated.
fn run(
    seed: u64,
    design: &Design,
    mut day: impl FnMut(&mut Chance, &mut [Sums; 2]),
) -> ([u32; 2], [u32; 2]) {
    let mut chance = Chance(seed);
    let (mut ever, mut last) = ([0; 2], [0; 2]);
    for _ in 0..EXPERIMENTS {
        let mut arms = [Sums::EMPTY; 2];
        let (mut any, mut now) = ([false; 2], [false; 2]);
        for _ in 0..DAYS {
            day(&mut chance, &mut arms);
            now = found(&arms[0], &arms[1], design);
            any = [any[0] || now[0], any[1] || now[1]];
        }
        for test in 0..2 {
            ever[test] += u32::from(any[test]);
            last[test] += u32::from(now[test]);
        }
    }
    (ever, last)
}

/// Users, by a fair coin to one of two arms that pay at these rates.
fn users(rates: [f64; 2]) -> impl FnMut(&mut Chance, &mut [Sums; 2]) {
    move |chance, arms| {
        for _ in 0..DAILY {
            let arm = usize::from(chance.is(0.5));
            chance.add_user(&mut arms[arm], rates[arm]);
        }
    }
}

/// So many of [`EXPERIMENTS`] at this rate, and three standard deviations.
fn expected(rate: f64) -> (f64, f64) {
    let all = f64::from(EXPERIMENTS);
    (rate * all, 3.0 * (rate * (1.0 - rate) * all).sqrt())
}

fn design(units: u64) -> Design {
    Design::new(ALPHA, units, 100, 1).expect("a plan")
}

#[test]
fn equal_arms_of_users_mislead_in_at_most_alpha_of_the_experiments() {
    let (mean, sigmas) = expected(ALPHA);
    for (seed, rate) in [(1, 0.1), (2, 0.5), (3, 0.02)] {
        let ([ever, once], [_, last]) = run(seed, &design(3_000), users([rate; 2]));
        let told = format!("seed {seed}, rate {rate}: {ever} always-valid, {once} by peeking");
        println!("{told}, {last} by one look");
        assert!(f64::from(ever) <= mean, "{told}");
        // The same looks break a test that is made for one, so this test can fail.
        assert!(f64::from(once) > 2.0 * (mean + sigmas), "{told}");
        assert!((f64::from(last) - mean).abs() <= sigmas, "{told}, {last}");
    }
}

/// One in ten users treated, and one in a hundred pays: in the treated arm, a handful for weeks.
#[test]
fn a_small_arm_and_a_rare_outcome_mislead_in_at_most_alpha() {
    let seed = 9;
    let ([ever, once], _) = run(seed, &design(3_000), |chance, arms| {
        for _ in 0..DAILY {
            let arm = usize::from(chance.is(0.1));
            chance.add_user(&mut arms[arm], 0.01);
        }
    });
    let told = format!("seed {seed}: {ever} always-valid, {once} by peeking");
    println!("{told}");
    let (mean, sigmas) = expected(ALPHA);
    assert!(f64::from(ever) <= mean, "{told}");
    assert!(f64::from(once) > 2.0 * (mean + sigmas), "{told}");
}

#[test]
fn equal_arms_of_contests_mislead_in_at_most_alpha_and_counted_by_viewer_in_more() {
    let (mean, sigmas) = expected(ALPHA);
    let seed = 4;
    // Each contest has its own rate, and the larger ones pay less.
    let contest = |chance: &mut Chance| {
        let viewers = chance.between(5, 46);
        let rate = 0.05 + 0.3 * chance.share() - 0.001 * viewers as f64;
        let paid = (0..viewers).filter(|_| chance.is(rate)).count();
        (paid as f64, viewers)
    };
    let ([ever, once], _) = run(seed, &design(600), |chance, arms| {
        for _ in 0..40 {
            let (paid, viewers) = contest(chance);
            arms[usize::from(chance.is(0.5))].add(paid, viewers as f64);
        }
    });
    let ([by_viewer, _], _) = run(seed, &design(600 * 25), |chance, arms| {
        for _ in 0..40 {
            let (paid, viewers) = contest(chance);
            let arm = &mut arms[usize::from(chance.is(0.5))];
            for viewer in 0..viewers {
                arm.add(f64::from(u8::from((viewer as f64) < paid)), 1.0);
            }
        }
    });
    let told = format!(
        "seed {seed}: {ever} always-valid, {once} by peeking, {by_viewer} counted by viewer"
    );
    println!("{told}");
    assert!(f64::from(ever) <= mean, "{told}");
    assert!(f64::from(once) > 2.0 * (mean + sigmas), "{told}");
    assert!(f64::from(by_viewer) > mean + sigmas, "{told}");
}

/// Rooms that were all met at once and go on: viewers come for as long as the experiment runs, and the guardrails look
/// each minute. Numbers of viewers stand for their sums: each room's grow by normal steps, as many looks as are far
/// enough apart to tell from each other.
#[test]
fn rooms_that_go_on_mislead_in_at_most_alpha_where_a_quarter_of_it_is_spent() {
    const ROOMS: usize = 100;
    const LOOKS: u32 = 150;
    const GROWTH: f64 = 43_200.0;
    const RUNS: u32 = 400;
    // Viewers of a room in the first minute, and how many of them pay.
    let (first, rate) = (20.0, 0.3f64);
    let seed = 12;
    let mut chance = Chance(seed);
    let whole = design(ROOMS as u64);
    let quarter = whole.of_units_that_go_on();
    let mut misled = [0; 2];
    for _ in 0..RUNS {
        let mut rooms = vec![(0.0, 0.0); 2 * ROOMS];
        let mut any = [false; 2];
        for look in 0..LOOKS {
            let until = first * GROWTH.powf(f64::from(look) / f64::from(LOOKS - 1));
            let mut arms = [Sums::EMPTY; 2];
            for (number, (paid, viewers)) in rooms.iter_mut().enumerate() {
                let more = until - *viewers;
                *viewers = until;
                *paid += rate * more + (rate * (1.0 - rate) * more).sqrt() * chance.normal();
                arms[number % 2].add(*paid, *viewers);
            }
            for (any, design) in any.iter_mut().zip([&whole, &quarter]) {
                *any |= found(&arms[0], &arms[1], design)[0];
            }
        }
        for (misled, any) in misled.iter_mut().zip(any) {
            *misled += u32::from(any);
        }
    }
    let told = format!(
        "seed {seed}: of {RUNS} {} by the whole, {} by a quarter",
        misled[0], misled[1]
    );
    println!("{told}");
    assert!(f64::from(misled[1]) <= ALPHA * f64::from(RUNS), "{told}");
    // So this test can fail.
    assert!(f64::from(misled[0]) > ALPHA * f64::from(RUNS), "{told}");
}

#[test]
fn three_equal_arms_mislead_together_in_at_most_alpha() {
    let seed = 5;
    let design = Design::new(ALPHA, 3_000, 100, 3).expect("a plan");
    let mut chance = Chance(seed);
    let mut misled = 0;
    for _ in 0..EXPERIMENTS {
        let mut arms = [Sums::EMPTY; 4];
        let mut any = false;
        for _ in 0..DAYS {
            for _ in 0..2 * DAILY {
                let arm = (chance.bits() >> 62) as usize;
                chance.add_user(&mut arms[arm], 0.1);
            }
            let [control, treated @ ..] = &arms;
            any |= treated
                .iter()
                .map(|treated| compare(control, treated, &design).verdict())
                .any(|verdict| matches!(verdict, Verdict::Better | Verdict::Worse));
        }
        misled += u32::from(any);
    }
    println!("seed {seed}: {misled} of three arms");
    assert!(
        f64::from(misled) <= expected(ALPHA).0,
        "seed {seed}: {misled}"
    );
}

#[test]
fn what_is_detectable_is_detected() {
    let seed = 6;
    let design = design(3_000);
    // The rates lie around a half, so both arms have the deviation of a fair coin.
    let effect = design.detectable_difference(0.8, 0.5).expect("a power");
    let rates = [0.5 - effect / 2.0, 0.5 + effect / 2.0];
    let ([ever, _], [last, _]) = run(seed, &design, users(rates));
    let (mean, sigmas) = expected(0.8);
    let told = format!("seed {seed}, effect {effect}: {ever} at some look, {last} at the last");
    println!("{told}");
    assert!(f64::from(ever) >= mean - sigmas, "{told}");
    // One look is what the power is worked out for.
    assert!((f64::from(last) - mean).abs() <= sigmas, "{told}");
}

/// `units` users, each of whom pays at this rate; drawn by the gaps between those who do.
fn rare(chance: &mut Chance, rate: f64, units: u64) -> Sums {
    let mut gap = || ((1.0 - chance.share()).ln() / (1.0 - rate).ln()) as u64 + 1;
    let (mut at, mut paid) = (gap(), 0);
    while at <= units {
        paid += 1;
        at += gap();
    }
    let mut sums = Sums::EMPTY;
    for (count, x) in [(paid, 1.0), (units - paid, 0.0)] {
        let mut power = Sums::EMPTY;
        power.add(x, 1.0);
        for bit in 0..count.checked_ilog2().map_or(0, |log| log + 1) {
            if count >> bit & 1 == 1 {
                sums.merge(&power);
            }
            power.merge(&{ power });
        }
    }
    sums
}

/// What [`experiments`] says of `min_units` where there is a difference. One in ten is treated, and
/// that arm is expected to have 20 that pay, or one.
#[test]
fn a_rare_difference_is_missed_unless_min_units_expects_twenty_of_it() {
    let seed = 10;
    let (control, treated, treated_daily) = (0.002, 0.01, 50);
    let designs = [100, 2_000].map(|min| Design::new(ALPHA, 3_000, min, 1).expect("a plan"));
    let mut chance = Chance(seed);
    let mut missed = [0; 2];
    for _ in 0..EXPERIMENTS {
        let mut arms = [Sums::EMPTY; 2];
        let mut any = [false; 2];
        for _ in 0..3 * DAYS {
            arms[0].merge(&rare(&mut chance, control, 9 * treated_daily));
            arms[1].merge(&rare(&mut chance, treated, treated_daily));
            for (any, design) in any.iter_mut().zip(&designs) {
                if let Comparison::Interval(seen) = compare(&arms[0], &arms[1], design) {
                    *any |= seen.low > treated - control || seen.high < treated - control;
                }
            }
        }
        for (missed, any) in missed.iter_mut().zip(any) {
            *missed += u32::from(any);
        }
    }
    let [one, twenty] = missed;
    let told = format!("seed {seed}: missed in {one} from 100 units, in {twenty} from 2,000");
    println!("{told}");
    let (mean, sigmas) = expected(ALPHA);
    assert!(f64::from(one) > mean + sigmas, "{told}");
    assert!(f64::from(twenty) <= mean, "{told}");
}

#[test]
fn a_broken_assignment_is_flagged_and_a_right_one_is_not() {
    const UNITS: u64 = 10_000;
    let seed = 7;
    let mut chance = Chance(seed);
    let mut flagged = [0, 0];
    for _ in 0..EXPERIMENTS {
        for (count, share) in flagged.iter_mut().zip([0.55, 0.5]) {
            let ones = (0..UNITS).filter(|_| chance.is(share)).count() as u64;
            let p = sample_ratio(&[ones, UNITS - ones], &[1, 1]).expect("a p value");
            *count += u32::from(p < SAMPLE_RATIO_ALARM);
        }
    }
    let [broken, right] = flagged;
    println!("seed {seed}: {broken} of the broken flagged, {right} of the right");
    assert_eq!(broken, EXPERIMENTS, "seed {seed}");
    let (mean, sigmas) = expected(SAMPLE_RATIO_ALARM);
    assert!(f64::from(right) <= mean + sigmas, "seed {seed}: {right}");
}

/// The test of the assignment holds for one look; what a daily look costs.
#[test]
fn a_daily_look_at_a_right_assignment_is_forgiven() {
    let seed = 8;
    let mut chance = Chance(seed);
    let mut flagged = 0;
    for _ in 0..EXPERIMENTS {
        let (mut ones, mut units) = (0, 0);
        let mut any = false;
        for _ in 0..DAYS {
            // Each bit is a unit.
            ones += (0..4)
                .map(|_| u64::from(chance.bits().count_ones()))
                .sum::<u64>();
            units += 256;
            let p = sample_ratio(&[ones, units - ones], &[1, 1]).expect("a p value");
            any |= p < SAMPLE_RATIO_ALARM;
        }
        flagged += u32::from(any);
    }
    println!("seed {seed}: {flagged} flagged by some of {DAYS} looks");
    let (mean, sigmas) = expected(0.01);
    assert!(
        f64::from(flagged) <= mean + sigmas,
        "seed {seed}: {flagged}"
    );
}

//! Random numbers that a seed repeats, and skewed ones.

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and good enough to choose keys.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The upper half of a product: its bias is at most bound / 2^64.
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64)
            .expect("the upper half of 128 bits")
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How keys are chosen.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// One key only.
    One,
    /// All the same chance.
    Uniform(u64),
    Zipf(Zipf),
}

impl Keys {
    pub(super) fn new(count: u64, exponent: Option<f64>) -> Self {
        match (count, exponent) {
            (0, _) => Self::One,
            (count, None) => Self::Uniform(count),
            (count, Some(exponent)) => Self::Zipf(Zipf::new(count, exponent)),
        }
    }

    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        match self {
            Self::One => 0,
            Self::Uniform(count) => random.below(*count),
            Self::Zipf(zipf) => zipf.draw(random) - 1,
        }
    }
}

/// Numbers k from 1 to n with a chance in proportion to 1 / k^s, by rejection inversion (Hörmann and Derflinger, 1996):
/// the sum is bounded by an integral whose inverse is known, so a draw takes a constant time, however many keys there are.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    count: u64,
    exponent: f64,
    /// The integral at both ends.
    low: f64,
    high: f64,
    /// Draws this close to the right of a number need no second look.
    shortcut: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { count, exponent, low: 0.0, high: 0.0, shortcut: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(count as f64 + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - 2.0_f64.powf(-exponent));
        zipf
    }

    fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.high + random.unit() * (self.low - self.high);
            let at = self.inverse(area);
            let number = at.round().clamp(1.0, self.count as f64);
            if number - at <= self.shortcut
                || area >= self.integral(number + 0.5) - number.powf(-self.exponent)
            {
                return number as u64;
            }
        }
    }

    /// The integral of x^-s, up to a constant.
    fn integral(&self, at: f64) -> f64 {
        let power = 1.0 - self.exponent;
        let log = at.ln();
        if (power * log).abs() < 1e-8 { log } else { (power * log).exp_m1() / power }
    }

    fn inverse(&self, area: f64) -> f64 {
        let power = 1.0 - self.exponent;
        let scaled = (area * power).max(-1.0);
        if scaled.abs() < 1e-8 { area.exp() } else { (scaled.ln_1p() / power).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..5).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn zipf_draws_each_key_in_its_proportion() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            const KEYS: u64 = 20;
            const DRAWS: u64 = 200_000;
            let (keys, mut random) = (Keys::new(KEYS, Some(exponent)), Random::new(7));
            let mut counts = [0_u64; 20];
            (0..DRAWS).for_each(|_| counts[usize::try_from(keys.draw(&mut random)).expect("small")] += 1);
            let whole: f64 = (1..=KEYS).map(|k| (k as f64).powf(-exponent)).sum();
            for (index, count) in counts.iter().enumerate() {
                let expected = (index as f64 + 1.0).powf(-exponent) / whole * DRAWS as f64;
                // Six standard deviations: never seen by chance.
                let error = (*count as f64 - expected).abs();
                assert!(
                    error < 6.0 * expected.sqrt() + 1.0,
                    "key {index}, s {exponent}: {count} for {expected}"
                );
            }
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(3);
        for count in [1, 2, 1_000_000_000_000] {
            for exponent in [None, Some(0.01), Some(1.0), Some(10.0)] {
                let keys = Keys::new(count, exponent);
                assert!((0..1000).all(|_| keys.draw(&mut random) < count));
            }
        }
    }
}

//! Extended precision in software: what `INCRBYFLOAT` and `HINCRBYFLOAT` compute with.
//!
//! Redis adds in C's `long double`, which on x86-64 is the 80-bit format of the x87: a sign, 15 bits of
//! exponent and 64 bits of mantissa whose top bit is explicit. Its results show in the digits clients read
//! (0.1 + 0.2 is 0.3 there and 0.30000000000000004 in doubles), so the same format is computed here, with
//! integers only and on every machine alike.
//!
//! A finite number is `mantissa * 2^exponent`. Three operations are needed:
//!
//! * **From text.** Short decimals, nearly all of them, are one division of a 128-bit number. The others take
//!   an exact rational of big integers. Both end in a mantissa that is longer than 64 bits plus the knowledge
//!   whether anything nonzero was cut off, which is all that rounding to nearest, ties to even, needs.
//! * **Sum.** Both numbers are put side by side in 128 bits; what the smaller one loses sticks to the last bit.
//! * **To text** with 17 digits behind the point: below 2^64 one multiplication and one rounding shift, above
//!   it the number is an integer and big-integer division gives its digits.
//!
//! Text is bounded (5 KiB, as in Redis), and so is the exponent, hence every big integer has at most a few
//! hundred limbs.

use std::ops::Add;

use crate::double::{Kind, Number, decimal_parts};

/// Longest text [`LongDouble::parse`] accepts is one byte less.
const TEXT_MAX: usize = 5 * 1024;

/// Smallest weight of a mantissa's last bit: subnormals have it.
const EXPONENT_MIN: i64 = -16445;

/// Largest weight of a mantissa's last bit.
const EXPONENT_MAX: i64 = 16320;

/// Powers of ten beyond this overflow whatever nonzero digits stand before them, or become zero: the range
/// ends at 10^4932 and at 10^-4951.
const DECIMAL_MAX: i64 = 4951 + 2;

/// 10^19, the largest power of ten in 64 bits.
const TEN_19: u64 = 10_000_000_000_000_000_000;

/// An 80-bit extended number.
///
/// ```
/// use larder_resp::LongDouble;
///
/// let sum = LongDouble::parse(b"0.1").unwrap() + LongDouble::parse(b"0.2").unwrap();
/// assert_eq!(sum.to_human(), "0.3");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Magnitude {
    /// `mantissa * 2^exponent`. The top bit of the mantissa is set, or the exponent is [`EXPONENT_MIN`]
    /// (subnormal numbers and zero).
    Finite {
        mantissa: u64,
        exponent: i64,
    },
    Infinite,
    Nan,
}

impl Magnitude {
    const ZERO: Self = Self::Finite { mantissa: 0, exponent: EXPONENT_MIN };
}

impl From<i64> for LongDouble {
    /// Exact: the mantissa has room for every 64-bit integer.
    fn from(value: i64) -> Self {
        Self { negative: value < 0, magnitude: round(u128::from(value.unsigned_abs()), 0, false) }
    }
}

impl LongDouble {
    /// A number as Redis accepts it for `INCRBYFLOAT`: C's `strtold` over the whole text, shorter than 5 KiB,
    /// without blanks before it, in range, and not NaN. Infinities are numbers.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_MAX || matches!(text.first()?, b' ' | b'\t'..=b'\r') {
            return None;
        }
        let number = Number::scan(text)?;
        if number.consumed != text.len() {
            return None;
        }
        let (magnitude, nonzero) = match number.kind {
            Kind::Nan => return None,
            Kind::Infinity => {
                return Some(Self { negative: number.negative, magnitude: Magnitude::Infinite });
            }
            Kind::Decimal { text, nonzero } => (from_decimal(text), nonzero),
            Kind::Hex { mantissa, exponent, inexact } => (round(mantissa, exponent, inexact), mantissa != 0),
        };
        let in_range = match magnitude {
            Magnitude::Finite { mantissa, .. } => mantissa != 0 || !nonzero,
            Magnitude::Infinite | Magnitude::Nan => false,
        };
        in_range.then_some(Self { negative: number.negative, magnitude })
    }

    /// Whether this is not a number.
    #[must_use]
    pub fn is_nan(self) -> bool {
        self.magnitude == Magnitude::Nan
    }

    /// Whether this is an infinity of either sign.
    #[must_use]
    pub fn is_infinite(self) -> bool {
        self.magnitude == Magnitude::Infinite
    }

    /// The text Redis stores and replies: C's `%.17Lf` without trailing zeros and without a point at its end;
    /// zero has no sign. At most 4,951 bytes.
    #[must_use]
    pub fn to_human(self) -> String {
        let digits = match self.magnitude {
            Magnitude::Finite { mantissa, exponent } if exponent < 0 => fixed(mantissa, exponent),
            Magnitude::Finite { mantissa, exponent } => integer(mantissa, exponent),
            Magnitude::Infinite => "inf".to_owned(),
            Magnitude::Nan => return "nan".to_owned(),
        };
        if self.negative && digits != "0" { format!("-{digits}") } else { digits }
    }
}

impl Add for LongDouble {
    type Output = Self;

    /// The sum, rounded to nearest, ties to even. Opposite infinities give NaN.
    fn add(self, other: Self) -> Self {
        let (left, right) = match (self.magnitude, other.magnitude) {
            (
                Magnitude::Finite { mantissa: a, exponent: b },
                Magnitude::Finite { mantissa: c, exponent: d },
            ) => ((a, b), (c, d)),
            (Magnitude::Infinite, Magnitude::Infinite) if self.negative != other.negative => {
                return Self { negative: false, magnitude: Magnitude::Nan };
            }
            (Magnitude::Nan, _) | (Magnitude::Infinite, Magnitude::Infinite | Magnitude::Finite { .. }) => {
                return self;
            }
            (Magnitude::Infinite | Magnitude::Finite { .. }, _) => return other,
        };
        // The number with the larger exponent, or among equals the larger mantissa, decides the sign.
        let swap = (left.1, left.0) < (right.1, right.0);
        let (high, low) = if swap { (right, left) } else { (left, right) };
        let negative = if swap { other.negative } else { self.negative };
        // 63 bits below the high mantissa and one above it for the carry.
        let (wide, lost) = shift_right_sticky(u128::from(low.0) << 63, high.1 - low.1);
        let high_wide = u128::from(high.0) << 63;
        let sum = if self.negative == other.negative {
            high_wide + wide
        } else {
            // What was lost makes the low number larger, so the difference smaller: take one unit of the last
            // place and remember that the truth lies above what is left.
            high_wide.wrapping_sub(wide).wrapping_sub(u128::from(lost))
        };
        if sum == 0 {
            // A sum of zeros keeps their sign when both have it; x - x is +0.
            return Self { negative: self.negative && other.negative, magnitude: Magnitude::ZERO };
        }
        Self { negative, magnitude: round(sum, high.1 - 63, lost) }
    }
}

/// `value >> by`, and whether a nonzero bit was lost.
fn shift_right_sticky(value: u128, by: i64) -> (u128, bool) {
    match u32::try_from(by) {
        Ok(0) => (value, false),
        Ok(by @ 1..128) => (value >> by, value << (128 - by) != 0),
        _ => (0, value != 0),
    }
}

/// `mantissa * 2^exponent`, rounded to nearest, ties to even. `inexact` says that the true value lies above by
/// less than one unit of the last place; the mantissa must then have at least 66 bits.
fn round(mantissa: u128, exponent: i64, inexact: bool) -> Magnitude {
    if mantissa == 0 {
        return Magnitude::ZERO;
    }
    let shift = mantissa.leading_zeros();
    let wide = mantissa << shift;
    let exponent = exponent.saturating_sub(i64::from(shift));
    let last = (exponent.saturating_add(64)).max(EXPONENT_MIN);
    let (kept, _) = shift_right_sticky(wide, last - exponent);
    let (_, below_half) = shift_right_sticky(wide, last - exponent - 1);
    let (half, _) = shift_right_sticky(wide, last - exponent - 1);
    let up = half & 1 == 1 && (below_half || inexact || kept & 1 == 1);
    match u64::try_from(kept + u128::from(up)) {
        Ok(_) if last > EXPONENT_MAX => Magnitude::Infinite,
        Ok(0) => Magnitude::ZERO,
        Ok(mantissa) => Magnitude::Finite { mantissa, exponent: last },
        // The carry ran through all 64 bits.
        Err(_) if last + 1 > EXPONENT_MAX => Magnitude::Infinite,
        Err(_) => Magnitude::Finite { mantissa: 1 << 63, exponent: last + 1 },
    }
}

/// The number a decimal text denotes.
fn from_decimal(text: &str) -> Magnitude {
    let (digits, scale) = decimal_parts(text);
    let digits = digits.skip_while(|digit| *digit == 0);
    let count = i64::try_from(digits.clone().count()).unwrap_or(i64::MAX / 2);
    // The value lies in 10^(top - 1) .. 10^top.
    let top = count.saturating_add(scale);
    if count == 0 || top < -DECIMAL_MAX {
        return Magnitude::ZERO;
    }
    if top > DECIMAL_MAX {
        return Magnitude::Infinite;
    }
    if count <= 19 && (-19..=0).contains(&scale) {
        let numerator = digits.fold(0_u64, |value, digit| value * 10 + u64::from(digit));
        return divide_short(numerator, 10_u64.pow(u32::try_from(-scale).unwrap_or(0)));
    }
    let numerator = Big::from_digits(digits);
    if scale >= 0 {
        let mut numerator = numerator;
        numerator.multiply_power_of_ten(scale);
        let (mantissa, exponent, inexact) = numerator.top_bits();
        return round(mantissa, exponent, inexact);
    }
    let mut denominator = Big::from(1);
    denominator.multiply_power_of_ten(-scale);
    divide(&numerator, denominator)
}

/// `numerator / denominator`; neither is zero.
fn divide_short(numerator: u64, denominator: u64) -> Magnitude {
    let shift = numerator.leading_zeros();
    // The quotient has at least 64 bits when the denominator has 64, and needs 66: divide in two steps.
    let wide = u128::from(numerator << shift) << 64;
    let denominator = u128::from(denominator);
    let (high, rest) = (wide / denominator, wide % denominator);
    let more = high.leading_zeros().min(60);
    let low = (rest << more) / denominator;
    let exact = (rest << more) % denominator == 0;
    round(high << more | low, -64 - i64::from(shift) - i64::from(more), !exact)
}

/// `numerator / denominator`; neither is zero.
///
/// The quotient needs 128 bits and no more, so it is found bit by bit: 128 comparisons and subtractions of numbers
/// that have a few hundred limbs at most. Only unusual texts come here.
fn divide(numerator: &Big, mut denominator: Big) -> Magnitude {
    // Scale the numerator so that the quotient has between 127 and 128 bits.
    let shift = denominator.bits() - numerator.bits() + 127;
    let mut rest = numerator.clone();
    if shift >= 0 {
        rest.shift_left(shift)
    } else {
        denominator.shift_left(-shift)
    }
    let mut quotient = 0_u128;
    let mut step = denominator;
    step.shift_left(127);
    for _ in 0..128 {
        quotient <<= 1;
        if rest.subtract_if_not_less(&step) {
            quotient |= 1;
        }
        step.halve();
    }
    round(quotient, -shift, !rest.is_zero())
}

/// `mantissa * 2^exponent` for a negative exponent, with up to 17 digits behind the point.
fn fixed(mantissa: u64, exponent: i64) -> String {
    const TEN_17: u128 = 100_000_000_000_000_000;
    // At most 64 + 57 bits.
    let scaled = u128::from(mantissa) * TEN_17;
    let (kept, _) = shift_right_sticky(scaled, -exponent);
    let (half, below_half) = shift_right_sticky(scaled, -exponent - 1);
    let rounded = kept + u128::from(half & 1 == 1 && (below_half || kept & 1 == 1));
    let (whole, fraction) = (rounded / TEN_17, rounded % TEN_17);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{fraction:017}").trim_end_matches('0').to_owned()
}

/// The digits of `mantissa * 2^exponent` for an exponent that is not negative.
fn integer(mantissa: u64, exponent: i64) -> String {
    let mut rest = Big::from(mantissa);
    rest.shift_left(exponent);
    let mut groups = Vec::new();
    while !rest.is_zero() {
        groups.push(rest.divide_short(TEN_19));
    }
    let mut groups = groups.iter().rev();
    let mut text = groups.next().map_or_else(|| "0".to_owned(), u64::to_string);
    groups.for_each(|group| text.push_str(&format!("{group:019}")));
    text
}

/// An unsigned integer of any size: limbs of 64 bits, the lowest first, without zero limbs at the top.
#[derive(Clone, Default)]
struct Big {
    limbs: Vec<u64>,
}

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        let mut big = Self { limbs: vec![value] };
        big.trim();
        big
    }
}

impl Big {
    /// The number with these decimal digits, taken in groups as large as a limb holds.
    fn from_digits(digits: impl Iterator<Item = u8>) -> Self {
        let mut big = Self::default();
        let (mut group, mut weight) = (0_u64, 1_u64);
        for digit in digits {
            group = group * 10 + u64::from(digit);
            weight *= 10;
            if weight == TEN_19 {
                big.multiply_add(weight, group);
                (group, weight) = (0, 1);
            }
        }
        big.multiply_add(weight, group);
        big
    }

    fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    /// Number of bits up to the highest one set.
    fn bits(&self) -> i64 {
        let whole = i64::try_from(self.limbs.len()).unwrap_or(i64::MAX / 64) * 64;
        whole - self.limbs.last().map_or(0, |top| i64::from(top.leading_zeros()))
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = u128::from(addend);
        for limb in &mut self.limbs {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = low_limb(carry);
            carry >>= 64;
        }
        if carry != 0 {
            self.limbs.push(low_limb(carry));
        }
    }

    fn multiply_power_of_ten(&mut self, power: i64) {
        (0..power / 19).for_each(|_| self.multiply_add(TEN_19, 0));
        (0..power % 19).for_each(|_| self.multiply_add(10, 0));
    }

    fn shift_left(&mut self, by: i64) {
        let by = usize::try_from(by).unwrap_or(0);
        self.multiply_add(1 << (by % 64), 0);
        if !self.is_zero() {
            self.limbs.splice(0..0, std::iter::repeat_n(0, by / 64));
        }
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.limbs.iter_mut().rev() {
            let next = *limb << 63;
            *limb = *limb >> 1 | carry;
            carry = next;
        }
        self.trim();
    }

    /// Subtract `other` unless that is larger; whether it was subtracted.
    fn subtract_if_not_less(&mut self, other: &Self) -> bool {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        if by_length.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev())).is_lt() {
            return false;
        }
        let mut borrow = false;
        let subtrahend = other.limbs.iter().copied().chain(std::iter::repeat(0));
        for (limb, part) in self.limbs.iter_mut().zip(subtrahend) {
            let (difference, first) = limb.overflowing_sub(part);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        self.trim();
        true
    }

    /// Divide in place; the remainder.
    fn divide_short(&mut self, divisor: u64) -> u64 {
        let mut rest = 0_u128;
        for limb in self.limbs.iter_mut().rev() {
            rest = rest << 64 | u128::from(*limb);
            *limb = low_limb(rest / u128::from(divisor));
            rest %= u128::from(divisor);
        }
        self.trim();
        low_limb(rest)
    }

    /// The highest 65 to 128 bits, the weight of the last one, and whether nonzero bits lie below.
    fn top_bits(&self) -> (u128, i64, bool) {
        let Some((low, high)) = self.limbs.split_at_checked(self.limbs.len().saturating_sub(2)) else {
            return (0, 0, false);
        };
        let top = high.iter().rev().fold(0_u128, |top, limb| top << 64 | u128::from(*limb));
        let weight = i64::try_from(low.len()).unwrap_or(i64::MAX / 64) * 64;
        (top, weight, low.iter().any(|limb| *limb != 0))
    }
}

/// The lowest 64 bits.
fn low_limb(value: u128) -> u64 {
    (value & u128::from(u64::MAX)) as u64
}

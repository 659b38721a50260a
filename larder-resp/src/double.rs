//! Doubles as text: C's `%.17g` for replies, C's `strtod` for arguments.
//!
//! Seventeen significant digits name every double exactly, so what a client reads back is what was stored. The
//! digits come from the standard library's exact formatting; the rules of `%g` (when to use an exponent, which
//! zeros to drop) are applied to them here.

use std::fmt::{self, Write};

/// Longest result of [`format_g17`]: sign, 17 digits, point, exponent `e-308`, or `-0.0001…` with 17 digits.
const G17_MAX: usize = 24;

/// A formatted double on the stack. Dereferences to its text.
#[derive(Clone, Copy)]
pub struct G17 {
    bytes: [u8; G17_MAX],
    len: usize,
}

impl G17 {
    const EMPTY: Self = Self { bytes: [0; G17_MAX], len: 0 };

    /// The text as bytes; all of them ASCII.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("only ASCII is ever pushed")
    }

    fn push(&mut self, text: &[u8]) {
        let end = self.len + text.len();
        self.bytes[self.len..end].copy_from_slice(text);
        self.len = end;
    }
}

impl std::ops::Deref for G17 {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for G17 {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for G17 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for G17 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Write for G17 {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.len + text.len() > G17_MAX {
            return Err(fmt::Error);
        }
        self.push(text.as_bytes());
        Ok(())
    }
}

/// `value` as C's `%.17g` prints it; infinities as `inf` and `-inf`, a NaN of either sign as `nan`.
#[must_use]
pub fn format_g17(value: f64) -> G17 {
    let mut text = G17::EMPTY;
    if value.is_nan() {
        text.push(b"nan");
        return text;
    }
    if value.is_sign_negative() {
        text.push(b"-");
    }
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        text.push(b"inf");
    } else if magnitude < 1e15 && magnitude.fract() == 0.0 {
        // Below 2^53 every integer is exact and prints as itself.
        text.push(itoa::Buffer::new().format(magnitude as u64).as_bytes());
    } else {
        push_fraction(&mut text, magnitude);
    }
    text
}

/// A positive, finite number: 17 digits, without trailing zeros, placed as `%g` places them.
fn push_fraction(text: &mut G17, magnitude: f64) {
    let mut scientific = G17::EMPTY;
    write!(scientific, "{magnitude:.16e}")
        .expect("d.16 digits, e and an exponent of at most 4 characters fit");
    let (mantissa, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let mut digits = [0; 17];
    digits.iter_mut().zip(mantissa.bytes().filter(u8::is_ascii_digit)).for_each(|(to, from)| *to = from);
    let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    let digits = &digits[..significant];
    if !(-4..17).contains(&exponent) {
        push_pointed(text, digits, 1);
        text.push(if exponent < 0 { b"e-" } else { b"e+" });
        let exponent = exponent.unsigned_abs();
        if exponent < 10 {
            text.push(b"0");
        }
        text.push(itoa::Buffer::new().format(exponent).as_bytes());
    } else if exponent < 0 {
        text.push(&b"0.000"[..exponent.unsigned_abs() as usize + 1]);
        text.push(digits);
    } else {
        push_pointed(text, digits, exponent.unsigned_abs() as usize + 1);
    }
}

/// `digits` with the decimal point behind the first `whole`; zeros fill up to it.
fn push_pointed(text: &mut G17, digits: &[u8], whole: usize) {
    let (before, after) = digits.split_at(whole.min(digits.len()));
    text.push(before);
    (before.len()..whole).for_each(|_| text.push(b"0"));
    if !after.is_empty() {
        text.push(b".");
        text.push(after);
    }
}

/// Append `value` as [`format_g17`] prints it.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(format_g17(value).as_bytes());
}

/// A number at the start of some text, as [`strtod`] finds it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Strtod {
    /// The nearest double; infinite after an overflow, zero after an underflow.
    pub value: f64,
    /// Bytes of the text that belong to the number, blanks before it included.
    pub consumed: usize,
    /// Whether a nonzero finite number was too large for a double, or too small and became zero.
    pub out_of_range: bool,
}

/// The number at the start of `text`, read as C's `strtod` does: blanks, a sign, then decimal digits with
/// optional point and exponent, or hexadecimal ones behind `0x` with an optional binary exponent, or `inf`,
/// `infinity`, `nan` or `nan(…)` in any case. `None` when there is none.
#[must_use]
pub fn strtod(text: &[u8]) -> Option<Strtod> {
    let number = Number::scan(text)?;
    let (magnitude, out_of_range) = match number.kind {
        Kind::Nan => (f64::NAN, false),
        Kind::Infinity => (f64::INFINITY, false),
        Kind::Decimal { text, nonzero } => {
            let value: f64 = text.parse().ok()?;
            (value, value.is_infinite() || (nonzero && value == 0.0))
        }
        Kind::Hex { mantissa, exponent, inexact } => {
            let value = compose(mantissa, exponent, inexact);
            (value, value.is_infinite() || (mantissa != 0 && value == 0.0))
        }
    };
    let value = if number.negative { -magnitude } else { magnitude };
    Some(Strtod { value, consumed: number.consumed, out_of_range })
}

/// A float argument as Redis accepts it: the whole text is one number of [`strtod`], without blanks before it,
/// in range, and not NaN. Infinities are numbers.
#[must_use]
pub fn parse_double(text: &[u8]) -> Option<f64> {
    if text.first()?.is_ascii_whitespace() || text[0] == 0x0b {
        return None;
    }
    let number = strtod(text)?;
    (number.consumed == text.len() && !number.out_of_range && !number.value.is_nan()).then_some(number.value)
}

/// `mantissa * 2^exponent`, rounded to nearest, ties to even; `inexact` says that nonzero bits below the
/// mantissa were dropped, which then has far more bits than a double.
fn compose(mantissa: u128, exponent: i64, inexact: bool) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let shift = i64::from(mantissa.leading_zeros());
    let wide = mantissa << shift;
    // The weight of the top bit, then of the last bit the result can hold.
    let top = exponent.saturating_sub(shift).saturating_add(127);
    if top > 1023 {
        return f64::INFINITY;
    }
    let last = (top - 52).max(-1074);
    let drop = last - (top - 127);
    if drop > 127 {
        // Below half of the smallest subnormal, or exactly in its binade.
        let up = drop == 128 && (wide > 1 << 127 || inexact);
        return if up { f64::from_bits(1) } else { 0.0 };
    }
    let kept = wide >> drop;
    let rest = wide & ((1 << drop) - 1);
    let half = 1_u128 << (drop - 1);
    let up = rest > half || (rest == half && (inexact || kept & 1 == 1));
    // At most 54 bits, and rounded: both conversions and factors below are exact. The second factor is for
    // subnormal results, whose last bit weighs less than the smallest normal power.
    let kept = (kept + u128::from(up)) as f64;
    let (first, second) = if last < -1022 { (last + 100, -100) } else { (last, 0) };
    kept * power_of_two(first) * power_of_two(second)
}

/// 2^exponent for the exponent of a normal double.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or_default() << 52)
}

/// A number as text, taken apart by the grammar that `strtod` and `strtold` share.
pub(crate) struct Number<'a> {
    pub(crate) negative: bool,
    pub(crate) kind: Kind<'a>,
    /// Bytes of the text that belong to the number.
    pub(crate) consumed: usize,
}

/// The magnitude of a [`Number`].
pub(crate) enum Kind<'a> {
    Nan,
    Infinity,
    /// Digits with an optional point and exponent, and whether any digit before the exponent is not zero.
    Decimal {
        text: &'a str,
        nonzero: bool,
    },
    /// `mantissa * 2^exponent`; `inexact` when nonzero bits below the mantissa were dropped, which then has
    /// more than 120 bits.
    Hex {
        mantissa: u128,
        exponent: i64,
        inexact: bool,
    },
}

impl<'a> Number<'a> {
    pub(crate) fn scan(text: &'a [u8]) -> Option<Self> {
        let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
        let signed = &text[blanks..];
        let negative = signed.first() == Some(&b'-');
        let sign = usize::from(negative || signed.first() == Some(&b'+'));
        let body = &signed[sign..];
        let (kind, len) = scan_word(body).or_else(|| scan_hex(body)).or_else(|| scan_decimal(body))?;
        Some(Self { negative, kind, consumed: blanks + sign + len })
    }
}

/// `inf`, `infinity`, `nan`, `nan(…)`.
fn scan_word(body: &[u8]) -> Option<(Kind<'_>, usize)> {
    let starts = |word: &[u8]| body.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    if starts(b"infinity") {
        return Some((Kind::Infinity, 8));
    }
    if starts(b"inf") {
        return Some((Kind::Infinity, 3));
    }
    if !starts(b"nan") {
        return None;
    }
    let payload = body[3..].strip_prefix(b"(").and_then(|inner| {
        let len = inner.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        (inner.get(len) == Some(&b')')).then_some(len + 2)
    });
    Some((Kind::Nan, 3 + payload.unwrap_or(0)))
}

/// Digits around an optional point: how many bytes, and whether there is any digit.
fn scan_digits(body: &[u8], is_digit: impl Fn(u8) -> bool) -> Option<usize> {
    let run = |from: usize| body[from..].iter().take_while(|byte| is_digit(**byte)).count();
    let whole = run(0);
    let fraction = if body.get(whole) == Some(&b'.') { Some(run(whole + 1)) } else { None };
    match (whole, fraction) {
        (0, None | Some(0)) => None,
        (_, None) => Some(whole),
        (_, Some(fraction)) => Some(whole + 1 + fraction),
    }
}

/// An exponent with `letter` at the start of `body`: its length, 0 when there is none, and its value, which
/// saturates far beyond any range.
fn scan_exponent(body: &[u8], letter: u8) -> (usize, i64) {
    if !body.first().is_some_and(|first| first.eq_ignore_ascii_case(&letter)) {
        return (0, 0);
    }
    let sign = usize::from(matches!(body.get(1), Some(b'+' | b'-')));
    let digits = &body[1 + sign..];
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return (0, 0);
    }
    let value = digits[..len].iter().fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(EXPONENT_MAX)
    });
    (1 + sign + len, if body[1] == b'-' { -value } else { value })
}

/// Where exponents saturate: no text is long enough to bring such a number back into range.
const EXPONENT_MAX: i64 = 1 << 40;

fn scan_decimal(body: &[u8]) -> Option<(Kind<'_>, usize)> {
    let mantissa = scan_digits(body, |byte| byte.is_ascii_digit())?;
    let (exponent, _) = scan_exponent(&body[mantissa..], b'e');
    let nonzero = body[..mantissa].iter().any(|byte| matches!(byte, b'1'..=b'9'));
    let text = std::str::from_utf8(&body[..mantissa + exponent]).ok()?;
    Some((Kind::Decimal { text, nonzero }, mantissa + exponent))
}

fn scan_hex(body: &[u8]) -> Option<(Kind<'_>, usize)> {
    let [b'0', b'x' | b'X', digits @ ..] = body else { return None };
    let len = scan_digits(digits, |byte| byte.is_ascii_hexdigit())?;
    let (exponent_len, exponent) = scan_exponent(&digits[len..], b'p');
    let (mut mantissa, mut shift, mut inexact, mut behind_point) = (0_u128, 0_i64, false, false);
    for byte in &digits[..len] {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            behind_point = true;
            continue;
        };
        if mantissa >> 120 == 0 {
            mantissa = mantissa << 4 | u128::from(digit);
            shift -= 4 * i64::from(behind_point);
        } else {
            inexact |= digit != 0;
            shift += 4 * i64::from(!behind_point);
        }
    }
    Some((Kind::Hex { mantissa, exponent: exponent + shift, inexact }, 2 + len + exponent_len))
}

/// The value of a decimal number's text: its digits without the point, and the power of ten they count.
pub(crate) fn decimal_parts(text: &str) -> (impl Iterator<Item = u8> + Clone, i64) {
    let bytes = text.as_bytes();
    let mantissa = bytes.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(bytes.len());
    let (_, exponent) = scan_exponent(&bytes[mantissa..], b'e');
    let mantissa = &bytes[..mantissa];
    let fraction = mantissa.iter().rev().position(|byte| *byte == b'.').unwrap_or(0);
    let digits = mantissa.iter().filter(|byte| **byte != b'.').map(|byte| byte - b'0');
    (digits, exponent - i64::try_from(fraction).unwrap_or(i64::MAX / 2))
}

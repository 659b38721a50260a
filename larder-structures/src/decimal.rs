//! Signed 64-bit integers as decimal text: the strict parser, the writer, and the length.
//!
//! A string is *canonical* when printing the integer it denotes gives back exactly the same bytes. Only such strings may
//! be stored as integers, because only they can be returned unchanged: `007`, `+1`, `-0`, ` 1` and the empty string are
//! therefore refused, as is everything outside the range of `i64`.

/// Length of the longest decimal `i64`, `-9223372036854775808`.
pub const MAX_LEN: usize = 20;

/// The pairs `00` to `99`, so that the writer divides once for two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// The integer that `text` is the canonical decimal form of, or `None`.
#[inline]
pub fn parse_canonical_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // 19 digits cannot overflow the u64 below, and no i64 has more.
    if digits.is_empty() || digits.len() > MAX_LEN - 1 {
        return None;
    }
    if digits[0] == b'0' {
        return if text.len() == 1 { Some(0) } else { None };
    }
    let mut magnitude = 0u64;
    for &digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(value);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Appends the canonical decimal form of `value`.
#[inline]
pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    let mut buffer = [0; MAX_LEN];
    let start = fill(value, &mut buffer);
    out.extend_from_slice(&buffer[start..]);
}

/// Writes `value` at the end of `buffer` and returns where it starts.
fn fill(value: i64, buffer: &mut [u8; MAX_LEN]) -> usize {
    let mut rest = value.unsigned_abs();
    let mut at = MAX_LEN;
    while rest >= 100 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest >= 10 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[rest as usize]);
    } else {
        at -= 1;
        buffer[at] = b'0' + rest as u8;
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    at
}

/// Number of bytes `write_i64` appends for `value`, 1 to [`MAX_LEN`].
#[inline]
pub fn decimal_len(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
    digits + usize::from(value < 0)
}

/// Whether `text` is exactly the canonical decimal form of `value`.
#[inline]
pub fn is_decimal_of(text: &[u8], value: i64) -> bool {
    parse_canonical_i64(text) == Some(value)
}

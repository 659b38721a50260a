//! Decimal integers against the standard library's own parser and printer.

use larder_structures::decimal::{decimal_len, is_decimal_of, parse_canonical_i64, write_i64};
use proptest::prelude::*;

/// The definition, spelled with the standard library.
fn model(text: &[u8]) -> Option<i64> {
    let value: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.to_string().as_bytes() == text).then_some(value)
}

fn written(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_i64(value, &mut out);
    out
}

#[test]
fn refuses_everything_that_would_not_print_back() {
    for text in
        ["", "-", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1a", "0x1", "1e3", "9223372036854775808"]
    {
        assert_eq!(parse_canonical_i64(text.as_bytes()), None, "{text:?}");
    }
    for text in
        ["-9223372036854775809", "18446744073709551616", "99999999999999999999", "-99999999999999999999"]
    {
        assert_eq!(parse_canonical_i64(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn round_trips_at_every_power_and_limit() {
    let powers = (0..19).flat_map(|n| [10i64.pow(n) - 1, 10i64.pow(n), 10i64.pow(n) + 1]);
    for value in powers.chain([i64::MAX, i64::MIN, i64::MIN + 1]).flat_map(|v| [v, v.wrapping_neg()]) {
        let text = written(value);
        assert_eq!(text, value.to_string().as_bytes());
        assert_eq!(parse_canonical_i64(&text), Some(value));
        assert_eq!(decimal_len(value), text.len());
        assert!(is_decimal_of(&text, value) && !is_decimal_of(&text, value ^ 1));
    }
}

proptest! {
    #[test]
    fn parses_like_the_definition(text in "[-+]?[0-9 a]{0,21}") {
        prop_assert_eq!(parse_canonical_i64(text.as_bytes()), model(text.as_bytes()));
    }

    #[test]
    fn parses_random_integers(value: i64, shift in 0u32..64) {
        let value = value >> shift;
        prop_assert_eq!(parse_canonical_i64(&written(value)), Some(value));
        prop_assert_eq!(written(value), value.to_string().into_bytes());
    }
}

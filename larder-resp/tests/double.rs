//! Doubles and extended numbers without a server to ask: what must hold of any of them.

use larder_resp::{LongDouble, format_g17, parse_double, strtod, write_double};
use proptest::prelude::*;

proptest! {
    #[test]
    fn seventeen_digits_name_every_double(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        let text = format_g17(value);
        prop_assert!(text.len() <= 24);
        if value.is_nan() {
            prop_assert_eq!(text.as_str(), "nan");
        } else {
            prop_assert_eq!(parse_double(text.as_bytes()).map(f64::to_bits), Some(bits));
        }
    }

    #[test]
    fn decimals_read_as_the_standard_library_reads_them(text in "[-+]?[0-9]{0,22}[.]?[0-9]{0,22}(e[-+]?[0-9]{1,3})?") {
        let expected = text.parse::<f64>().ok().filter(|value| value.is_finite());
        let zero_by_underflow = expected == Some(0.0)
            && text.split('e').next().is_some_and(|digits| digits.bytes().any(|byte| (b'1'..=b'9').contains(&byte)));
        prop_assert_eq!(parse_double(text.as_bytes()), expected.filter(|_| !zero_by_underflow));
    }

    #[test]
    fn hexadecimal_is_exact(mantissa in 0..1_u64 << 53, exponent in -1022..900_i32) {
        let expected = mantissa as f64 * 2_f64.powi(exponent);
        prop_assert_eq!(parse_double(format!("0x{mantissa:x}p{exponent}").as_bytes()), Some(expected));
        prop_assert_eq!(parse_double(format!("-0X{mantissa:X}P{exponent}").as_bytes()), Some(-expected));
    }

    #[test]
    fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(number) = strtod(&text) {
            prop_assert!(0 < number.consumed && number.consumed <= text.len());
        }
        prop_assert!(LongDouble::parse(&text).is_none_or(|value| !value.is_nan()));
    }

    #[test]
    fn integers_sum_exactly(left in any::<i64>(), right in any::<i64>()) {
        let parsed = LongDouble::parse(left.to_string().as_bytes());
        prop_assert_eq!(parsed, Some(LongDouble::from(left)));
        let (sum, other) = (LongDouble::from(left) + LongDouble::from(right), LongDouble::from(right) + LongDouble::from(left));
        prop_assert_eq!(sum, other);
        // 64 bits of mantissa hold every sum but those of 65 bits that are odd.
        let exact = i128::from(left) + i128::from(right);
        if exact.unsigned_abs() <= u128::from(u64::MAX) || exact % 2 == 0 {
            prop_assert_eq!(sum.to_human(), exact.to_string());
        }
    }

    #[test]
    fn cents_sum_as_people_expect(left in -1600..1600_i64, right in -1600..1600_i64) {
        let cents = |value: i64| {
            let sign = if value < 0 { "-" } else { "" };
            format!("{sign}{}.{:02}", value.abs() / 100, value.abs() % 100)
        };
        let [left_text, right_text] = [left, right].map(cents);
        let sum = LongDouble::parse(left_text.as_bytes()).unwrap() + LongDouble::parse(right_text.as_bytes()).unwrap();
        let expected = cents(left + right);
        let expected = expected.trim_end_matches('0').trim_end_matches('.');
        let read = sum.to_human();
        // Below 32 the error of a sum stays below the 17th digit; 200.54 prints as 200.53999999999999999.
        prop_assert_eq!(read.as_str(), if expected == "-0" || expected.is_empty() { "0" } else { expected });
    }
}

#[test]
fn strtod_stops_where_the_number_does() {
    for (text, value, consumed) in [
        ("12abc", 12.0, 2),
        ("  -1.5e", -1.5, 6),
        ("1e+", 1.0, 1),
        ("0x", 0.0, 1),
        ("0x1p", 1.0, 3),
        ("0x.8zz", 0.5, 4),
        ("infinit", f64::INFINITY, 3),
        ("5.x", 5.0, 2),
    ] {
        let number = strtod(text.as_bytes()).expect("there is a number");
        assert_eq!((number.value, number.consumed, number.out_of_range), (value, consumed, false), "{text}");
    }
    for text in ["", " ", "-", ".", "e5", "+-1", "x"] {
        assert_eq!(strtod(text.as_bytes()), None, "{text}");
    }
    assert_eq!(strtod(b"nan(a_1)x").map(|number| number.consumed), Some(8));
    assert!(strtod(b"1e400").is_some_and(|number| number.out_of_range && number.value.is_infinite()));
    assert!(strtod(b"-1e-400").is_some_and(|number| number.out_of_range && number.value == 0.0));
}

#[test]
fn a_double_is_appended() {
    let mut out = b"x".to_vec();
    write_double(&mut out, -2.5e-7);
    assert_eq!(out, b"x-2.4999999999999999e-07");
    assert_eq!(format_g17(-0.0).as_str(), "-0");
}

#[test]
fn infinities_and_nan() {
    let [plus, minus] = [&b"inf"[..], b"-Infinity"].map(|text| LongDouble::parse(text).expect("a number"));
    assert!(plus.is_infinite() && (plus + LongDouble::from(1)).is_infinite() && (plus + plus).is_infinite());
    assert!((plus + minus).is_nan() && !(plus + minus).is_infinite() && (plus + minus + plus).is_nan());
    assert_eq!([plus.to_human(), minus.to_human(), (plus + minus).to_human()], ["inf", "-inf", "nan"]);
    assert_eq!(LongDouble::parse(b"nan"), None);
}

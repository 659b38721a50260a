//! The fuzzer finds planted bugs, repeats itself, and shortens what it finds.

use testkit::fuzz;

/// Breaks on a length that does not fit, as a careless parser would.
fn careless(data: &[u8]) {
    let Some(rest) = data.strip_prefix(b"$") else { return };
    let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).collect();
    let text = String::from_utf8(digits).expect("digits are ASCII");
    if let Ok(length) = text.parse::<u64>() {
        assert!(length < 1 << 32, "a length of {length}");
    }
}

fn harmless(data: &[u8]) {
    let _ = data.len();
}

#[test]
fn a_planted_bug_is_found_shortened_and_repeated() {
    let examples = [b"$5\r\nhello\r\n".to_vec(), b"*1\r\n$4\r\nPING\r\n".to_vec()];
    let find = || fuzz::quietly(|| fuzz::run(careless, &examples, 100_000, 3)).expect_err("the bug");
    let (first, second) = (find(), find());
    assert_eq!(first.input, second.input);
    assert!(first.message.starts_with("a length of"), "{first:?}");
    // A dollar sign and at least ten digits: nothing that can be cut is left.
    assert!(first.input.starts_with(b"$") && first.input.len() <= 21, "{:?}", first.input);
    assert!(fuzz::run(careless, std::slice::from_ref(&first.input), 0, 0).is_err());
}

#[test]
fn a_sound_target_passes_without_examples() {
    fuzz::run(harmless, &[], 10_000, 1).expect("nothing to find");
}

//! SCAN: what is there throughout is returned, whatever happens meanwhile.

mod still_clock;

use larder::{Connection, Larder};
use larder_resp::Frame;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What happens between two calls of a walk.
#[derive(Debug, Clone)]
enum Meanwhile {
    Grow(u16),
    Shrink(u16),
    Nothing,
}

fn meanwhile() -> impl Strategy<Value = Meanwhile> {
    prop_oneof![
        2 => (100u16..3000).prop_map(Meanwhile::Grow),
        2 => (100u16..3000).prop_map(Meanwhile::Shrink),
        1 => Just(Meanwhile::Nothing),
    ]
}

fn grow(larder: &Larder, numbers: &mut std::ops::Range<u64>, by: u16) {
    for _ in 0..by {
        larder.set(format!("passing:{}", numbers.end), "").unwrap();
        numbers.end += 1;
    }
}

fn shrink(larder: &Larder, numbers: &mut std::ops::Range<u64>, by: u16) {
    for _ in 0..by {
        if numbers.is_empty() {
            return;
        }
        larder.del(format!("passing:{}", numbers.start)).unwrap();
        numbers.start += 1;
    }
}

/// One call, in or outside of a transaction.
fn call(connection: &mut Connection, cursor: &str, count: u32, in_multi: bool) -> (String, Vec<Vec<u8>>) {
    let count = count.to_string();
    let scan = ["SCAN", cursor, "COUNT", &count];
    let reply = if in_multi {
        connection.execute(&["MULTI"]);
        connection.execute(&scan);
        connection.execute(&["EXEC"]).into_elements().unwrap().remove(0)
    } else {
        connection.execute(&scan)
    };
    let mut parts = reply.into_elements().unwrap().into_iter();
    let next = parts.next().unwrap().as_str().unwrap().to_owned();
    let keys = parts.next().unwrap().into_elements().unwrap();
    (next, keys.into_iter().map(|key| key.as_bytes().unwrap().to_vec()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn returns_what_is_there_throughout(
        before in 0u16..6000,
        steps in prop::collection::vec((1u32..400, any::<bool>(), meanwhile()), 1..60),
    ) {
        let (larder, _) = still_clock::open();
        let mut connection = larder.connect();
        let mut passing = 0..0;
        grow(&larder, &mut passing, before);
        let staying: BTreeSet<Vec<u8>> = (0..500).map(|nth| format!("staying:{nth}").into_bytes()).collect();
        staying.iter().for_each(|key| larder.set(key, "").unwrap());

        let mut seen = BTreeSet::new();
        let mut cursor = "0".to_owned();
        let mut steps = steps.into_iter();
        loop {
            let (count, in_multi, meanwhile) = steps.next().unwrap_or((1000, false, Meanwhile::Nothing));
            let (next, keys) = call(&mut connection, &cursor, count, in_multi);
            prop_assert!(next.parse::<u64>().unwrap() < 1 << 53);
            seen.extend(keys);
            if next == "0" {
                break;
            }
            cursor = next;
            match meanwhile {
                Meanwhile::Grow(by) => grow(&larder, &mut passing, by),
                Meanwhile::Shrink(by) => shrink(&larder, &mut passing, by),
                Meanwhile::Nothing => {}
            }
        }
        let missed: Vec<_> = staying.difference(&seen).collect();
        prop_assert!(missed.is_empty(), "{} keys were missed", missed.len());
    }
}

#[test]
fn takes_any_cursor() {
    let (larder, _) = still_clock::open();
    larder.set("a", "1").unwrap();
    for cursor in ["1", "63", "64", "12345678901234567890", "18446744073709551615", "-1", "+5"] {
        let reply = larder.execute(&["SCAN", cursor]);
        assert!(!reply.is_error(), "{cursor}: {reply:?}");
    }
    for cursor in ["18446744073709551616", " 0", "0x", "-"] {
        assert_eq!(larder.execute(&["SCAN", cursor]), Frame::error("ERR invalid cursor"), "{cursor}");
    }
}

#[test]
fn a_walk_without_interruption_sees_every_key_once() {
    let (larder, _) = still_clock::open();
    (0..3000).for_each(|nth| larder.set(format!("{nth}"), "").unwrap());
    let (mut cursor, mut seen, mut calls) = (0, Vec::new(), 0);
    loop {
        let (next, keys) = larder.scan(cursor, "*").unwrap();
        assert!(keys.len() < 40, "a call returned {} keys of 10 that were asked for", keys.len());
        seen.extend(keys);
        calls += 1;
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 3000);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 3000);
    assert!(calls <= 300, "{calls} calls");
}

#[test]
fn expired_keys_are_deleted_and_not_returned() {
    let (larder, clock) = still_clock::open();
    let log = larder.engine().read_log();
    larder.set("stays", "").unwrap();
    larder.execute(&["SET", "goes", "", "PX", "10"]);
    clock.pass_ms(11);
    assert_eq!(larder.len().unwrap(), 2);
    assert_eq!(larder.scan(0, "*").unwrap(), (0, vec![b"stays".to_vec()]));
    assert_eq!(larder.len().unwrap(), 1);
    let last = std::iter::from_fn(|| log.poll()).last().unwrap();
    let words: Vec<_> = last.steps[0].1.as_request().iter().map(<[u8]>::to_vec).collect();
    assert_eq!(words, [b"DEL".to_vec(), b"goes".to_vec()]);
}

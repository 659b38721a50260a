//! The intset against bytes captured from redis-server 7.0.15 (the payload of `DUMP`).

use larder_structures::intset::Intset;

fn set(members: &[i64]) -> Intset {
    let mut set = Intset::new();
    members.iter().for_each(|&member| assert!(set.insert(member)));
    set.check_invariants();
    set
}

#[test]
fn every_width_is_byte_compatible() {
    let two = [2, 0, 0, 0, 4, 0, 0, 0, 0xfb, 0xff, 1, 0, 2, 0, 3, 0];
    assert_eq!(set(&[1, 2, 3, -5]).as_bytes(), two);
    let four = [4, 0, 0, 0, 3, 0, 0, 0, 0xc0, 0x63, 0xff, 0xff, 1, 0, 0, 0, 0x70, 0x11, 1, 0];
    assert_eq!(set(&[1, -40_000, 70_000]).as_bytes(), four);
    let mut eight = vec![8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 5];
    eight.extend([0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(set(&[1, i64::MIN, i64::MAX, 5]).as_bytes(), eight);
    for bytes in [two.to_vec(), four.to_vec(), eight] {
        let read = Intset::from_bytes(bytes.clone()).expect("redis-server's bytes are valid");
        assert_eq!(read.into_bytes(), bytes);
    }
}

/// SADD k 1 2 70000, SREM k 70000: redis-server keeps the width.
#[test]
fn removal_keeps_the_width() {
    let mut wide = set(&[1, 2, 70_000]);
    assert!(wide.remove(70_000) && !wide.remove(70_000));
    assert_eq!(wide.as_bytes(), [4, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn refuses_damage() {
    for (bad, why) in [
        (&[2, 0, 0, 0, 0, 0, 0][..], "short header"),
        (&[3, 0, 0, 0, 0, 0, 0, 0], "width 3"),
        (&[2, 1, 0, 0, 0, 0, 0, 0], "width 258"),
        (&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0], "one of two members"),
        (&[2, 0, 0, 0, 0, 0, 0, 0, 1, 0], "one member too many"),
        (&[2, 0, 0, 0, 1, 0, 0, 0, 1], "half a member"),
        (&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0], "twice the same"),
        (&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0xff, 0xff], "descending"),
        (&[8, 0, 0, 0, 0, 0, 0, 0x80], "count beyond memory"),
    ] {
        assert!(Intset::from_bytes(bad.to_vec()).is_err(), "{why}");
    }
}

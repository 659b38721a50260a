//! Records against pairs of vectors.

use larder_structures::record::Record;
use larder_structures::slab;
use larder_structures::table::Table;
use proptest::collection::vec;
use proptest::prelude::*;

/// Lengths on both sides of where a length takes another byte.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![8 => 0usize..40, 2 => 120usize..136, 1 => 16_380usize..16_390];
    len.prop_flat_map(|len| vec(any::<u8>(), len))
}

fn length_bytes(len: usize) -> usize {
    if len < 128 {
        1
    } else if len < 16_384 {
        2
    } else {
        3
    }
}

fn check(record: &Record, key: &[u8], value: &[u8]) {
    assert_eq!((record.key(), record.value()), (key, value));
    let size = length_bytes(key.len()) + length_bytes(value.len()) + key.len() + value.len();
    assert_eq!(record.memory(), slab::rounded(size));
}

proptest! {
    #[test]
    fn keeps_key_and_values(key in bytes(), values in vec(bytes(), 1..20)) {
        let mut record = Record::new(&key, &values[0]);
        check(&record, &key, &values[0]);
        for value in &values[1..] {
            record = record.with_value(value);
            check(&record, &key, value);
        }
        let mut table = Table::new();
        table.insert(record);
        let last = &values[values.len() - 1];
        let seen = table.get(&key).map(|seen| (seen.key().to_vec(), seen.value().to_vec()));
        prop_assert_eq!(seen, Some((key.clone(), last.clone())));
        check(&table.remove(&key).expect("it was inserted"), &key, last);
    }
}

#[test]
fn a_value_of_the_same_length_stays_in_place() {
    let record = Record::new(b"key", b"12345");
    let place = record.key().as_ptr();
    let record = record.with_value(b"54321");
    assert_eq!(record.key().as_ptr(), place);
    check(&record, b"key", b"54321");
}

#[test]
fn a_member_costs_one_byte_more_than_its_length_says() {
    assert_eq!(Record::new(b"sixteen bytes it", b"").memory(), 24);
    assert_eq!(Record::new(b"", b"").memory(), 8);
}

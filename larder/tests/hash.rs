//! Hashes against maps: every operation, both forms, walks while they grow and shrink, fair draws.

use larder::types::hash::Limits;
use larder::types::{BodyRef, Collection, Hash};
use larder_structures::listpack::Listpack;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

type Model = HashMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Change {
    Set(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

/// Few fields, so that they are met again; some of them numbers, some too long to be packed.
fn field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u32..60).prop_map(|number| format!("field:{number}").into_bytes()),
        3 => (-5i64..20).prop_map(|number| number.to_string().into_bytes()),
        1 => Just(Vec::new()),
        1 => (15usize..20).prop_map(|len| vec![b'x'; len]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let value =
        prop_oneof![vec(any::<u8>(), 0..18), any::<i64>().prop_map(|number| number.to_string().into_bytes())];
    prop_oneof![
        3 => (field(), value).prop_map(|(field, value)| Change::Set(field, value)),
        1 => field().prop_map(Change::Remove),
    ]
}

fn pairs(hash: &Hash) -> Vec<(Vec<u8>, Vec<u8>)> {
    hash.view().iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect()
}

fn compare(hash: &Hash, model: &Model) {
    assert_eq!(hash.len(), model.len());
    if let Some(packed) = Collection::packed(hash) {
        let BodyRef::Hash(in_entry) = packed.into() else { panic!("a hash is packed as a hash") };
        assert_eq!(in_entry.len(), model.len());
        assert!(in_entry.iter().eq(hash.view().iter()));
        let taken_out: Hash = Collection::unpacked(packed, vec![7; 9]).expect("it is a hash");
        assert!(taken_out.view().iter().eq(hash.view().iter()));
    }
    assert_eq!(hash.is_empty(), model.is_empty());
    let walked = pairs(hash);
    assert_eq!(walked.len(), model.len());
    assert_eq!(&walked.into_iter().collect::<Model>(), model);
    for (field, value) in model {
        assert!(hash.view().contains(field));
        assert_eq!(hash.view().get(field).map(|value| value.to_vec()).as_ref(), Some(value));
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map(
        changes in vec(change(), 0..300),
        entries in 0usize..60,
        value in 10usize..20,
    ) {
        let limits = Limits { entries, value };
        let (mut hash, mut model) = (Hash::new(), Model::new());
        let mut is_table = false;
        for change in &changes {
            match change {
                Change::Set(field, value) => {
                    is_table |= field.len().max(value.len()) > limits.value;
                    let is_new = hash.set(field, value, limits);
                    prop_assert_eq!(is_new, model.insert(field.clone(), value.clone()).is_none());
                    is_table |= model.len() > limits.entries;
                }
                Change::Remove(field) => prop_assert_eq!(hash.remove(field), model.remove(field).is_some()),
            }
            prop_assert_eq!(hash.view().encoding(), if is_table { "hashtable" } else { "listpack" });
        }
        compare(&hash, &model);
        compare(&hash.clone(), &model);
        prop_assert_eq!(hash.clone().view().encoding(), hash.view().encoding());
    }

    /// Fields that stay are seen, whatever comes and goes between the steps, the change of form included.
    #[test]
    fn scan_misses_nothing(stay in 1u32..200, churn in vec((any::<bool>(), 0u32..400), 1..40), count in 1usize..30) {
        let limits = Limits { entries: 128, value: 64 };
        let mut hash = Hash::new();
        let name = |number: u32| number.to_string().into_bytes();
        (0..stay).for_each(|number| assert!(hash.set(&name(number), b"v", limits)));
        let mut seen = HashSet::new();
        let (mut cursor, mut guests) = (0, 0u32);
        let mut churn = churn.iter().cycle();
        loop {
            cursor = hash.view().scan(cursor, count, |field, _| {
                seen.insert(field.to_vec());
            });
            if cursor == 0 {
                break;
            }
            let (grow, by) = *churn.next().expect("a cycle goes on");
            let rest = if grow { (guests + by).min(5000) } else { guests.saturating_sub(by * 2) };
            (guests..rest).for_each(|guest| assert!(hash.set(&name(1_000_000 + guest), b"v", limits)));
            (rest..guests).for_each(|guest| assert!(hash.remove(&name(1_000_000 + guest))));
            guests = rest;
        }
        prop_assert_eq!((0..stay).find(|number| !seen.contains(&name(*number))), None);
    }

    #[test]
    fn draws_are_of_what_is_there(len in 1usize..400, count in 0usize..500, seed in any::<u64>()) {
        let limits = Limits { entries: 128, value: 64 };
        let mut hash = Hash::new();
        (0..len).for_each(|number| assert!(hash.set(number.to_string().as_bytes(), b"v", limits)));
        let mut state = seed;
        let random = &mut || splitmix(&mut state);
        let mut drawn = HashSet::new();
        hash.view().random_distinct(count, random, |field, _| assert!(drawn.insert(field.to_vec()), "twice the same"));
        prop_assert_eq!(drawn.len(), count.min(len));
        prop_assert!(drawn.iter().all(|field| hash.view().contains(field)));
        let mut left = count + 1;
        hash.view().random_repeated(random, |field, value| {
            assert_eq!(hash.view().get(&field.to_vec()), Some(value));
            left -= 1;
            left > 0
        });
        prop_assert_eq!(left, 0);
    }
}

/// Every field comes up as often as any other, alone, in company, and again and again.
#[test]
fn draws_are_fair() {
    for (len, entries) in [(40, 128), (40, 8), (700, 8)] {
        let limits = Limits { entries, value: 64 };
        let mut hash = Hash::new();
        // Most are gone again: what is left lies far apart.
        (0..len * 8).for_each(|number: usize| assert!(hash.set(number.to_string().as_bytes(), b"v", limits)));
        (0..len * 8).filter(|number| number % 8 != 0).for_each(|number| {
            assert!(hash.remove(number.to_string().as_bytes()));
        });
        let mut state = 11;
        let random = &mut || splitmix(&mut state);
        let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
        for _ in 0..100 * len {
            let (field, _) = hash.view().random(random).expect("it is not empty");
            *counts.entry(field.to_vec()).or_default() += 1;
        }
        let mut left = 100 * len;
        hash.view().random_repeated(random, |field, _| {
            *counts.entry(field.to_vec()).or_default() += 1;
            left -= 1;
            left > 0
        });
        for count in [len / 10, len / 2] {
            for _ in 0..100 * len / count {
                hash.view().random_distinct(count, random, |field, _| {
                    *counts.entry(field.to_vec()).or_default() += 1
                });
            }
        }
        assert_eq!(counts.len(), len);
        // 400 draws for each, give or take six standard deviations.
        for (field, count) in counts {
            assert!((280..=520).contains(&count), "{} came up {count} times of 400", field.escape_ascii());
        }
    }
}

#[test]
fn packed_hashes_are_loaded_as_they_are_or_refused() {
    let limits = Limits { entries: 2, value: 5 };
    let pack = |elements: &[&[u8]]| {
        let mut pack = Listpack::new();
        elements.iter().for_each(|element| pack.push_back(*element));
        Hash::from_listpack(pack, limits)
    };
    let hash = pack(&[b"a", b"1", b"7", b"2"]).expect("it is well-formed");
    assert_eq!((hash.len(), hash.view().encoding()), (2, "listpack"));
    assert_eq!(hash.view().get(b"7").map(|value| value.to_vec()), Some(b"2".to_vec()));
    for beyond in [&[&b"a"[..], b"1", b"b", b"2", b"c", b"3"][..], &[b"sixsix", b"1"], &[b"a", b"sixsix"]] {
        let hash = pack(beyond).expect("it is well-formed");
        assert_eq!((hash.len(), hash.view().encoding()), (beyond.len() / 2, "hashtable"));
        assert_eq!(hash.view().get(beyond[0]).map(|value| value.to_vec()), Some(beyond[1].to_vec()));
    }
    assert!(pack(&[b"a"]).is_err(), "a field without a value");
    assert!(pack(&[b"7", b"1", b"7", b"2"]).is_err(), "the same field twice");
}

#[test]
fn memory_of_a_packed_hash_is_that_of_its_listpack() {
    let limits = Limits { entries: 128, value: 64 };
    let mut hash = Hash::new();
    for number in 0..128 {
        hash.set(format!("field {number}").as_bytes(), b"value", limits);
        let bytes = hash.view().as_listpack().expect("it is within the limits").to_bytes().len();
        assert!((bytes..=bytes + bytes / 4 + 16).contains(&hash.memory()), "{} for {bytes}", hash.memory());
    }
    hash.set(b"one more", b"value", limits);
    assert!(hash.view().as_listpack().is_none());
}

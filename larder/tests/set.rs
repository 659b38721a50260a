//! Sets against sets of vectors: every operation, all three forms, walks while they grow and shrink, fair draws, and
//! the algebra.

use larder::types::set::{Limits, algebra};
use larder::types::string::Digits;
use larder::types::{BodyRef, Collection, Set, SetRef};
use larder_structures::decimal;
use larder_structures::intset::Intset;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};

type Model = BTreeSet<Vec<u8>>;

#[derive(Clone, Debug)]
enum Change {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    Pop(u64),
}

/// Few members, so that they are met again; most of them numbers, some too long to be packed.
fn member(strings: bool) -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![-20i64..100, Just(i64::MIN), Just(i64::MAX), 32_760i64..32_775];
    let number = number.prop_map(|number| number.to_string().into_bytes());
    let string = prop_oneof![
        8 => (0u32..100).prop_map(|number| format!("member:{number}").into_bytes()),
        1 => prop_oneof![Just(""), Just("007"), Just("-0"), Just("+1")].prop_map(|text| text.as_bytes().to_vec()),
        1 => (62usize..68).prop_map(|len| vec![b'x'; len]),
    ];
    if strings { prop_oneof![1 => number, 4 => string].boxed() } else { number.boxed() }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = |strings| {
        prop_oneof![
            6 => member(strings).prop_map(Change::Add),
            2 => member(strings).prop_map(Change::Remove),
            1 => any::<u64>().prop_map(Change::Pop),
        ]
    };
    // Integers first, then strings too: sets meet them in this order in all their forms.
    (vec(change(false), 0..150), vec(change(true), 0..150)).prop_map(|(mut first, second)| {
        first.extend(second);
        first
    })
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn members(set: &Set) -> Vec<Vec<u8>> {
    set.view().iter().map(|member| member.to_vec()).collect()
}

fn build(members: &Model, limits: Limits) -> Set {
    let mut set = Set::new();
    members.iter().for_each(|member| assert!(set.add(member, limits)));
    set
}

fn compare(set: &Set, model: &Model) {
    assert_eq!(set.len(), model.len());
    if let Some(packed) = Collection::packed(set) {
        let BodyRef::Set(in_entry) = packed.into() else { panic!("a set is packed as a set") };
        assert_eq!((in_entry.len(), in_entry.encoding()), (model.len(), set.view().encoding()));
        assert!(in_entry.iter().eq(set.view().iter()));
        let taken_out: Set = Collection::unpacked(packed, vec![7; 9]).expect("it is a set");
        assert!(taken_out.view().iter().eq(set.view().iter()));
    }
    assert_eq!(set.is_empty(), model.is_empty());
    let walked = members(set);
    assert_eq!(walked.len(), model.len());
    assert_eq!(&walked.into_iter().collect::<Model>(), model);
    assert!(model.iter().all(|member| set.view().contains(member)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_set(changes in changes(), intset_entries in 0usize..110) {
        let limits = Limits { intset_entries };
        let (mut set, mut model) = (Set::new(), Model::new());
        let mut is_intset = true;
        for change in &changes {
            match change {
                Change::Add(member) => {
                    prop_assert_eq!(set.add(member, limits), model.insert(member.clone()));
                    is_intset &= decimal::parse_canonical_i64(member).is_some();
                    is_intset &= model.len() <= intset_entries;
                }
                Change::Remove(member) => {
                    prop_assert_eq!(set.view().contains(member), model.contains(member));
                    prop_assert_eq!(set.remove(member), model.remove(member));
                }
                Change::Pop(seed) => {
                    let mut state = *seed;
                    match set.pop(&mut || splitmix(&mut state)) {
                        Some(member) => prop_assert!(model.remove(&member)),
                        None => prop_assert!(model.is_empty()),
                    }
                }
            }
            prop_assert_eq!(set.view().encoding(), if is_intset { "intset" } else { "hashtable" });
            prop_assert_eq!(set.view().as_intset().is_some(), is_intset);
        }
        compare(&set, &model);
        compare(&set.clone(), &model);
        prop_assert_eq!(set.clone().view().encoding(), set.view().encoding());
    }

    #[test]
    fn algebra_is_that_of_sets(
        models in vec(prop_oneof![
            1 => Just(None),
            6 => (any::<bool>(), 0usize..120).prop_flat_map(|(strings, len)| vec(member(strings), 1..len + 2)).prop_map(Some),
        ], 1..5),
        again in any::<bool>(),
    ) {
        let limits = Limits { intset_entries: 50 };
        let models: Vec<Option<Model>> =
            models.into_iter().map(|members| members.map(|members| members.into_iter().collect())).collect();
        let sets: Vec<Option<Set>> =
            models.iter().map(|model| model.as_ref().map(|model| build(model, limits))).collect();
        let mut sets: Vec<Option<SetRef<'_>>> = sets.iter().map(|set| set.as_ref().map(Set::view)).collect();
        let mut models: Vec<Model> = models.into_iter().map(Option::unwrap_or_default).collect();
        if again {
            sets.push(sets[0]);
            models.push(models[0].clone());
        }
        let mut common = Vec::new();
        algebra::intersection(&sets, |member| {
            common.push(member.to_vec());
            true
        });
        let model = models.iter().skip(1).fold(models[0].clone(), |sum, model| &sum & model);
        prop_assert_eq!(common.len(), model.len());
        prop_assert_eq!(common.into_iter().collect::<Model>(), model.clone());
        let mut first_few = 0;
        algebra::intersection(&sets, |_| {
            first_few += 1;
            first_few < 3
        });
        prop_assert_eq!(first_few, model.len().min(3));

        let union = algebra::union(&sets, limits);
        let model = models.iter().fold(Model::new(), |sum, model| &sum | model);
        compare(&union, &model);
        prop_assert_eq!(union.view().encoding(), build(&model, limits).view().encoding());

        let mut rest = Vec::new();
        algebra::difference(&sets, |member| rest.push(member.to_vec()));
        let model = models.iter().skip(1).fold(models[0].clone(), |rest, model| &rest - model);
        prop_assert_eq!(rest.len(), model.len());
        prop_assert_eq!(rest.into_iter().collect::<Model>(), model);
    }

    /// Members that stay are seen, whatever comes and goes between the steps, changes of form included.
    #[test]
    fn scan_misses_nothing(stay in 1u32..200, churn in vec((any::<bool>(), 0u32..400), 1..40), count in 1usize..30) {
        let limits = Limits { intset_entries: 100 };
        let mut set = Set::new();
        let name = |number: u32| number.to_string().into_bytes();
        (0..stay).for_each(|number| assert!(set.add(&name(number), limits)));
        let mut seen = HashSet::new();
        let (mut cursor, mut guests) = (0, 0u32);
        let mut churn = churn.iter().cycle();
        loop {
            cursor = set.view().scan(cursor, count, |member| {
                seen.insert(member.to_vec());
            });
            if cursor == 0 {
                break;
            }
            let (grow, by) = *churn.next().expect("a cycle goes on");
            let rest = if grow { (guests + by).min(5000) } else { guests.saturating_sub(by * 2) };
            (guests..rest).for_each(|guest| assert!(set.add(&name(1_000_000 + guest), limits)));
            (rest..guests).for_each(|guest| assert!(set.remove(&name(1_000_000 + guest))));
            guests = rest;
        }
        prop_assert_eq!((0..stay).find(|number| !seen.contains(&name(*number))), None);
    }

    #[test]
    fn draws_are_of_what_is_there(len in 1usize..400, count in 0usize..500, seed in any::<u64>(), prefix in "x?") {
        let limits = Limits { intset_entries: 300 };
        let mut set = Set::new();
        (0..len).for_each(|number| assert!(set.add(format!("{prefix}{number}").as_bytes(), limits)));
        let mut state = seed;
        let random = &mut || splitmix(&mut state);
        let mut drawn = HashSet::new();
        set.view().random_distinct(count, random, |member| assert!(drawn.insert(member.to_vec()), "twice the same"));
        prop_assert_eq!(drawn.len(), count.min(len));
        prop_assert!(drawn.iter().all(|member| set.view().contains(member)));
        let mut left = count + 1;
        set.view().random_repeated(random, |member| {
            assert!(set.view().contains(member.bytes(&mut Digits::new())));
            left -= 1;
            left > 0
        });
        prop_assert_eq!(left, 0);
    }
}

/// Every member comes up as often as any other, alone, in company, again and again, and as the first to be popped.
#[test]
fn draws_are_fair() {
    for (len, prefix) in [(40, ""), (40, "x"), (700, "x")] {
        let limits = Limits { intset_entries: 512 };
        let name = |number: usize| format!("{prefix}{number}").into_bytes();
        let mut set = Set::new();
        // Most are gone again: what is left lies far apart.
        (0..len * 8).for_each(|number| assert!(set.add(&name(number), limits)));
        (0..len * 8).filter(|number| number % 8 != 0).for_each(|number| assert!(set.remove(&name(number))));
        let mut state = 13;
        let random = &mut || splitmix(&mut state);
        let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
        for _ in 0..100 * len {
            let popped = set.pop(random).expect("it is not empty");
            assert!(set.add(&popped, limits));
            *counts.entry(popped).or_default() += 1;
        }
        let mut left = 100 * len;
        set.view().random_repeated(random, |member| {
            *counts.entry(member.to_vec()).or_default() += 1;
            left -= 1;
            left > 0
        });
        for count in [len / 10, len / 2] {
            for _ in 0..100 * len / count {
                set.view().random_distinct(count, random, |member| {
                    *counts.entry(member.to_vec()).or_default() += 1
                });
            }
        }
        assert_eq!(counts.len(), len);
        // 400 draws for each, give or take six standard deviations.
        for (member, count) in counts {
            assert!((280..=520).contains(&count), "{} came up {count} times of 400", member.escape_ascii());
        }
    }
}

#[test]
fn intsets_are_loaded_as_they_are_up_to_the_limit() {
    let ints = |len: i64| {
        let mut ints = Intset::new();
        (0..len).for_each(|number| assert!(ints.insert(number * 1000)));
        Set::from_intset(ints, Limits { intset_entries: 100 })
    };
    for (len, encoding) in [(100, "intset"), (101, "hashtable")] {
        let set = ints(len);
        assert_eq!((set.len(), set.view().encoding()), (len as usize, encoding));
        compare(&set, &(0..len).map(|number| (number * 1000).to_string().into_bytes()).collect());
    }
}

#[test]
fn memory_of_a_small_set_is_that_of_its_bytes() {
    let limits = Limits { intset_entries: 512 };
    let mut set = Set::new();
    for number in 0..512 {
        set.add((number * 7).to_string().as_bytes(), limits);
        let bytes = set.view().as_intset().expect("it is within the limits").to_bytes().len();
        assert!((bytes..=bytes + bytes / 4 + 16).contains(&set.memory()), "{} for {bytes}", set.memory());
    }
    let mut strings = Set::new();
    (0..64).for_each(|number| assert!(strings.add(format!("m{number}").as_bytes(), limits)));
    assert!(strings.memory() < 64 * 8, "few short strings are packed, not {} bytes", strings.memory());
}

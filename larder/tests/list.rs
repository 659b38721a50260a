//! Lists against vectors.

use larder::types::List;
use larder::types::list::End;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Change {
    Push(End, Vec<u8>),
    Pop(End),
    Set(i64, Vec<u8>),
    Insert(End, Vec<u8>, Vec<u8>),
    Remove(i64, Vec<u8>),
    Trim(i64, i64),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Left), Just(End::Right)]
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u8..6).prop_map(|letter| vec![b'a' + letter]),
        3 => (-3i64..5).prop_map(|number| number.to_string().into_bytes()),
        1 => prop_oneof![Just(""), Just("007"), Just("-0")].prop_map(|text| text.as_bytes().to_vec()),
        1 => (1usize..10_000).prop_map(|len| vec![b'x'; len]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        12 => (end(), element()).prop_map(|(end, element)| Change::Push(end, element)),
        3 => end().prop_map(Change::Pop),
        2 => (-20i64..20, element()).prop_map(|(index, element)| Change::Set(index, element)),
        2 => (end(), element(), element()).prop_map(|(end, pivot, element)| Change::Insert(end, pivot, element)),
        1 => (-3i64..4, element()).prop_map(|(count, element)| Change::Remove(count, element)),
        1 => (0i64..4, -3i64..40).prop_map(|(start, stop)| Change::Trim(start, stop)),
    ]
}

fn place(len: usize, index: i64) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn apply(change: &Change, list: &mut List, model: &mut Vec<Vec<u8>>) {
    match change {
        Change::Push(end, element) => {
            list.push(*end, element);
            model.insert(if *end == End::Left { 0 } else { model.len() }, element.clone());
        }
        Change::Pop(end) => {
            let expected = match end {
                _ if model.is_empty() => None,
                End::Left => Some(model.remove(0)),
                End::Right => model.pop(),
            };
            assert_eq!(list.peek(*end).map(|element| element.to_vec()), expected);
            assert_eq!(list.pop(*end), expected);
        }
        Change::Set(index, element) => {
            let at = place(model.len(), *index);
            assert_eq!(list.set(*index, element), at.is_some());
            if let Some(at) = at {
                model[at] = element.clone();
            }
        }
        Change::Insert(side, pivot, element) => {
            let at = model.iter().position(|other| other == pivot);
            assert_eq!(list.insert_beside(*side, pivot, element), at.is_some());
            if let Some(at) = at {
                model.insert(at + usize::from(*side == End::Right), element.clone());
            }
        }
        Change::Remove(count, element) => {
            let matches: Vec<usize> = (0..model.len()).filter(|at| model[*at] == *element).collect();
            let wanted = if *count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
            let doomed: Vec<usize> = if *count < 0 {
                matches.iter().rev().take(wanted).copied().collect()
            } else {
                matches.iter().take(wanted).copied().collect()
            };
            assert_eq!(list.remove(*count, element), doomed.len());
            let mut at = 0;
            model.retain(|_| {
                at += 1;
                !doomed.contains(&(at - 1))
            });
        }
        Change::Trim(start, stop) => {
            let len = model.len() as i64;
            let last = if *stop < 0 { stop + len } else { *stop };
            let kept: Vec<Vec<u8>> = (0..len)
                .filter(|at| (*start..=last).contains(at))
                .map(|at| model[at as usize].clone())
                .collect();
            assert_eq!(list.trim(*start, *stop), model.len() - kept.len());
            *model = kept;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_vector(
        changes in vec(change(), 0..200),
        fill in prop_oneof![-5i64..0, 1i64..6, Just(i64::MIN), Just(i64::MAX)],
        (start, stop) in (-30i64..30, -30i64..30),
    ) {
        let (mut list, mut model) = (List::new(fill), Vec::new());
        for change in &changes {
            apply(change, &mut list, &mut model);
            prop_assert_eq!(list.len(), model.len());
        }
        for list in [&list, &list.clone()] {
            let all: Vec<Vec<u8>> = list.iter().map(|element| element.to_vec()).collect();
            prop_assert_eq!(&all, &model);
            let backwards: Vec<Vec<u8>> = list.iter_from(End::Right).map(|element| element.to_vec()).collect();
            prop_assert!(backwards.iter().eq(model.iter().rev()));
            prop_assert_eq!(list.get(start).map(|element| element.to_vec()), place(model.len(), start).map(|at| model[at].clone()));
            let len = model.len() as i64;
            let from_front = |index: i64| if index < 0 { index + len } else { index };
            let range: Vec<Vec<u8>> = list.range(start, stop).map(|element| element.to_vec()).collect();
            let inside = (0..len).filter(|at| (from_front(start)..=from_front(stop)).contains(at));
            prop_assert_eq!(range, inside.map(|at| model[at as usize].clone()).collect::<Vec<_>>());
            let nodes: usize = list.nodes().map(|node| node.heap_bytes()).sum();
            prop_assert!(list.memory() >= nodes);
            prop_assert!(list.memory() <= nodes + 1024 + 128 * list.nodes().count());
        }
    }
}

#[test]
fn what_is_emptied_costs_nothing_much() {
    let mut list = List::new(-2);
    for number in 0..50_000u32 {
        list.push(if number % 3 == 0 { End::Left } else { End::Right }, &number.to_le_bytes());
    }
    assert!(list.memory() > 50_000 * 5);
    assert_eq!(list.trim(1, 0), 50_000);
    assert!(list.is_empty() && list.memory() < 512, "{}", list.memory());
}

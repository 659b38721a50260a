//! Entries against a plain model: everything that can be changed, in any order, and every body freed once.

use larder_structures::entry::{CLOCK_MAX, Entry, Value, ValueRef};
use larder_structures::hash;
use larder_structures::slab;
use larder_structures::sync::Pinned;
use larder_structures::table::Table;
use proptest::collection::vec;
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A body: a number, and something to count bodies by.
type Body = (u64, Arc<()>);
type Stored = Entry<Pinned<Body>>;

#[derive(Clone, Debug)]
enum Held {
    Bytes(Vec<u8>),
    Integer(i64),
    Packed(u8, Vec<u8>),
    Body(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Value(Held),
    Expiry(Option<u64>),
    Key(Vec<u8>),
    Body(u64),
    Mark(bool),
    Clock(u32),
}

#[derive(Debug)]
struct Model {
    key: Vec<u8>,
    held: Held,
    expires_at_ms: Option<u64>,
    clock: u32,
    mark: bool,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![8 => 0usize..40, 2 => 120usize..136, 1 => 16_380usize..16_390];
    len.prop_flat_map(|len| vec(any::<u8>(), len))
}

fn held() -> impl Strategy<Value = Held> {
    let integer = prop_oneof![
        any::<i64>(),
        (0u32..64, -2i64..=2).prop_map(|(bit, near)| (1i64 << bit).wrapping_add(near)),
        (0u32..64, -2i64..=2).prop_map(|(bit, near)| (1i64 << bit).wrapping_neg().wrapping_add(near)),
    ];
    prop_oneof![
        bytes().prop_map(Held::Bytes),
        integer.prop_map(Held::Integer),
        (0u8..8, bytes()).prop_map(|(tag, bytes)| Held::Packed(tag, bytes)),
        any::<u64>().prop_map(Held::Body)
    ]
}

fn expiry() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        Just(None),
        (0u64..1 << 48).prop_map(Some),
        ((1u64 << 48) - 2..(1 << 48) + 2).prop_map(Some),
        any::<u64>().prop_map(Some),
    ]
}

fn clock() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), CLOCK_MAX - 1..CLOCK_MAX + 2, 0u32..3]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        held().prop_map(Change::Value),
        expiry().prop_map(Change::Expiry),
        bytes().prop_map(Change::Key),
        any::<u64>().prop_map(Change::Body),
        any::<bool>().prop_map(Change::Mark),
        clock().prop_map(Change::Clock),
    ]
}

fn value<'a>(held: &'a Held, counter: &Arc<()>) -> Value<'a, Pinned<Body>> {
    match held {
        Held::Bytes(bytes) => Value::Bytes(bytes),
        Held::Integer(number) => Value::Integer(*number),
        Held::Packed(tag, bytes) => Value::Packed(*tag, bytes),
        Held::Body(number) => Value::Body(Pinned::new((*number, Arc::clone(counter)))),
    }
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

impl Model {
    fn check(&self, entry: &Stored, counter: &Arc<()>) {
        let seen = entry.as_ref();
        assert_eq!(seen.key(), self.key);
        assert_eq!(seen.expires_at_ms(), self.expires_at_ms);
        assert_eq!(seen.clock(), self.clock.min(CLOCK_MAX));
        assert_eq!(seen.is_marked(), self.mark);
        let value_len = match (&self.held, seen.value()) {
            (Held::Bytes(model), ValueRef::Bytes(bytes)) => {
                assert_eq!(bytes, model);
                model.len()
            }
            (Held::Integer(model), ValueRef::Integer(number)) => {
                assert_eq!(number, *model);
                match number {
                    -0x80..0x80 => 1,
                    -0x8000..0x8000 => 2,
                    -0x8000_0000..0x8000_0000 => 4,
                    _ => 8,
                }
            }
            (Held::Packed(model_tag, model), ValueRef::Packed(tag, bytes)) => {
                assert_eq!((tag, bytes), (*model_tag, &**model));
                model.len()
            }
            (Held::Body(model), ValueRef::Body(body)) => {
                assert_eq!(body.0, *model);
                8
            }
            (model, _) => panic!("{model:?} is kept as something else"),
        };
        let bodies = usize::from(matches!(self.held, Held::Body(_)));
        assert_eq!(Arc::strong_count(counter), 1 + bodies, "one body, or none");
        let expiry_len = self.expires_at_ms.map_or(0, |at_ms| if at_ms < 1 << 48 { 6 } else { 8 });
        let lengths = length_bytes(self.key.len()) + length_bytes(value_len);
        assert_eq!(seen.memory(), slab::rounded(4 + lengths + expiry_len + self.key.len() + value_len));
    }

    fn apply(&mut self, mut entry: Stored, change: &Change, counter: &Arc<()>) -> Stored {
        match change {
            Change::Value(held) => {
                self.held = held.clone();
                self.mark = false;
                entry = entry.with_value(value(held, counter));
            }
            Change::Expiry(at_ms) => {
                self.expires_at_ms = *at_ms;
                entry = entry.with_expiry(*at_ms);
            }
            Change::Key(key) => {
                self.key.clone_from(key);
                entry = entry.with_key(key);
            }
            Change::Body(number) => {
                let changed = entry.change_body(|body| {
                    let body = body.get_mut().expect("nobody pins it");
                    std::mem::replace(&mut body.0, *number)
                });
                match &mut self.held {
                    Held::Body(model) => assert_eq!(changed, Some(std::mem::replace(model, *number))),
                    _ => assert_eq!(changed, None),
                }
            }
            Change::Mark(mark) => {
                self.mark = *mark;
                entry.set_mark(*mark);
            }
            Change::Clock(clock) => {
                self.clock = *clock;
                entry.as_ref().set_clock(*clock);
            }
        }
        entry
    }
}

proptest! {
    #[test]
    fn behaves_as_its_model(
        key in bytes(),
        first in held(),
        expires_at_ms in expiry(),
        clock in clock(),
        changes in vec(change(), 0..40),
        takes_body in any::<bool>(),
    ) {
        let counter = Arc::new(());
        let mut entry = Entry::new(&key, value(&first, &counter), expires_at_ms, clock);
        let mut model = Model { key, held: first, expires_at_ms, clock, mark: false };
        model.check(&entry, &counter);
        for change in &changes {
            entry = model.apply(entry, change, &counter);
            model.check(&entry, &counter);
        }
        if takes_body {
            let body = entry.into_body();
            match model.held {
                Held::Body(number) => prop_assert_eq!(body.map(|body| body.shared().0), Some(number)),
                _ => prop_assert!(body.is_none()),
            }
        } else {
            drop(entry);
        }
        prop_assert_eq!(Arc::strong_count(&counter), 1, "a body was lost or freed twice");
    }

    /// The same through a table's slot, with `body_mut` in place of `change_body`.
    #[test]
    fn bodies_change_in_their_slots(numbers in vec(any::<u64>(), 1..20)) {
        let counter = Arc::new(());
        let mut table: Table<Stored> = Table::new();
        table.insert(Entry::new(b"body", value(&Held::Body(0), &counter), None, 0));
        table.insert(Entry::new(b"text", Value::Bytes(b"a string"), None, 0));
        for number in &numbers {
            let mut slot = table.slot(hash::of(b"body"), b"body").expect("it was inserted");
            slot.body_mut().expect("nobody pins it").0 = *number;
            let ValueRef::Body(body) = slot.get().value() else { panic!("it is a body") };
            prop_assert_eq!(body.0, *number);
        }
        let mut slot = table.slot(hash::of(b"text"), b"text").expect("it was inserted");
        prop_assert!(slot.body_mut().is_none());
        drop(table);
        prop_assert_eq!(Arc::strong_count(&counter), 1);
    }
}

#[test]
fn a_panic_while_a_body_changes_frees_it_once() {
    let counter = Arc::new(());
    let mut entry: Stored = Entry::new(b"key", value(&Held::Body(1), &counter), Some(5), 0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        entry.change_body(|body| {
            body.get_mut().expect("nobody pins it").0 = 2;
            std::panic::resume_unwind(Box::new("as planned"))
        })
    }));
    assert!(panicked.is_err());
    let ValueRef::Body(body) = entry.as_ref().value() else { panic!("it is a body") };
    assert_eq!(body.0, 2);
    drop(entry);
    assert_eq!(Arc::strong_count(&counter), 1);
}

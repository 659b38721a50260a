//! The table of entries, and that of records, against a `BTreeMap`.

use std::collections::{BTreeMap, BTreeSet};

use super::Tape;
use crate::entry::{Entry, EntryRef, Value, ValueRef};
use crate::hash;
use crate::record::Record;
use crate::sync::Pinned;
use crate::table::{SweepLimits, Table};

/// A body is large enough to be worth a pointer.
type Stored = Entry<Pinned<Vec<u8>>>;

/// A value as the model keeps it.
#[derive(Clone, Debug, PartialEq)]
enum Held {
    Bytes(Vec<u8>),
    Integer(i64),
    Packed(u8, Vec<u8>),
    Body(Vec<u8>),
}

type Model = BTreeMap<Vec<u8>, (Held, Option<u64>)>;

/// Runs `data` as a program of changes to both tables.
pub fn fuzz_table(data: &[u8]) {
    let tape = &mut Tape(data);
    let load = 50 + tape.byte() % 51;
    if tape.byte().is_multiple_of(4) {
        records(tape, load);
    } else {
        entries(tape, load);
    }
}

impl Tape<'_> {
    /// Few different keys, so that they are met again.
    fn key(&mut self) -> Vec<u8> {
        match self.byte() % 8 {
            0 => self.string(),
            _ => format!("key:{}", self.byte()).into_bytes(),
        }
    }

    fn held(&mut self) -> Held {
        match self.byte() % 4 {
            0 => Held::Integer(self.int()),
            1 => Held::Packed(self.byte() % 8, self.string()),
            2 => Held::Body(self.string()),
            _ => Held::Bytes(self.string()),
        }
    }

    /// Unix milliseconds, near the borders of how an expiry is kept.
    fn expiry(&mut self) -> Option<u64> {
        match self.byte() % 5 {
            0 => Some(self.int().unsigned_abs()),
            1 | 2 => Some(u64::from(self.byte()) * 1000),
            _ => None,
        }
    }
}

impl Held {
    fn with<R>(&self, work: impl FnOnce(Value<'_, Pinned<Vec<u8>>>) -> R) -> R {
        work(match self {
            Held::Bytes(bytes) => Value::Bytes(bytes),
            Held::Integer(number) => Value::Integer(*number),
            Held::Packed(tag, bytes) => Value::Packed(*tag, bytes),
            Held::Body(bytes) => Value::Body(Pinned::new(bytes.clone())),
        })
    }

    fn of(entry: EntryRef<'_, Pinned<Vec<u8>>>) -> Held {
        match entry.value() {
            ValueRef::Bytes(bytes) => Held::Bytes(bytes.to_vec()),
            ValueRef::Integer(number) => Held::Integer(number),
            ValueRef::Packed(tag, bytes) => Held::Packed(tag, bytes.to_vec()),
            ValueRef::Body(body) => Held::Body(body.to_vec()),
        }
    }
}

fn entries(tape: &mut Tape<'_>, load: u8) {
    let (mut table, mut model) = (Table::<Stored>::with_load(load), Model::new());
    let mut walk = 0;
    while !tape.is_empty() {
        match tape.byte() % 16 {
            0..=5 => put(&mut table, &mut model, tape),
            6 | 7 => change(&mut table, &mut model, tape),
            8 => {
                let key = tape.key();
                let taken = table.remove(&key).map(|entry| Held::of(entry.as_ref()));
                assert_eq!(taken, model.remove(&key).map(|(held, _)| held));
            }
            9 => {
                // In masses, since only then a table shrinks.
                let below = tape.key();
                let gone: Vec<_> = model.range(..below).map(|(key, _)| key.clone()).collect();
                gone.iter().for_each(|key| {
                    assert!(table.remove(key).is_some() && model.remove(key).is_some());
                });
            }
            10 => sweep(&mut table, &mut model, u64::from(tape.byte()) * 1000),
            11 => walk = table.defragment(walk, 1 + tape.below(8), |bytes| assert!(bytes > 0)),
            12 => table.exchange_colour(None),
            13 => {
                let more = table.step_many(1 + tape.below(8));
                assert_eq!(more, table.is_resizing());
            }
            14 => compare(&table, &model),
            _ => sample(&table, &model, tape),
        }
        assert_eq!(table.len(), model.len());
    }
    compare(&table, &model);
}

/// A value under a key that may be there: the three ways that the engine has.
fn put(table: &mut Table<Stored>, model: &mut Model, tape: &mut Tape<'_>) {
    let (key, held, expiry) = (tape.key(), tape.held(), tape.expiry());
    let hash = hash::of(&key);
    let clock = u32::from(tape.byte());
    if let Some(mut slot) = table.slot(hash, &key) {
        held.with(|value| {
            if !slot.overwrite(&value, expiry, clock) {
                slot.modify(|_| (Entry::new(&key, value, expiry, clock), ()));
            }
        });
        assert_eq!((Held::of(slot.get()), slot.get().clock()), (held.clone(), clock));
        slot.recolour();
    } else {
        let entry = held.with(|value| Entry::new(&key, value, expiry, clock));
        table.insert_hashed(hash, entry);
    }
    model.insert(key, (held, expiry));
}

/// A part of what is there becomes another.
fn change(table: &mut Table<Stored>, model: &mut Model, tape: &mut Tape<'_>) {
    let key = tape.key();
    let Some(mut slot) = table.slot(hash::of(&key), &key) else {
        assert!(!model.contains_key(&key), "a key is lost");
        return;
    };
    let (held, expiry) = model.get_mut(&key).expect("what the table holds, the model holds");
    match tape.byte() % 3 {
        0 => {
            *expiry = tape.expiry();
            slot.modify(|old| (old.with_expiry(*expiry), ()));
        }
        1 => {
            *held = tape.held();
            held.with(|value| slot.modify(|old| (old.with_value(value), ())));
        }
        _ => {
            let body = slot.body_mut();
            assert_eq!(body.is_some(), matches!(held, Held::Body(_)));
            if let (Some(body), Held::Body(bytes)) = (body, held) {
                body.push(7);
                bytes.push(7);
            }
        }
    }
}

/// The sweep finds everything that is due, and nothing else.
fn sweep(table: &mut Table<Stored>, model: &mut Model, now_ms: u64) {
    let limits = SweepLimits { summaries: 3, visits: 2, patience_ms: 0 };
    let mut due = BTreeSet::new();
    let mut group = 0;
    loop {
        group = table.sweep(group, limits, now_ms, |entry| {
            due.insert(entry.key().to_vec());
        });
        if group == 0 {
            break;
        }
    }
    let is_due = |expiry: &Option<u64>| expiry.is_some_and(|at_ms| at_ms <= now_ms);
    let expected: BTreeSet<_> =
        model.iter().filter(|(_, (_, expiry))| is_due(expiry)).map(|(key, _)| key.clone()).collect();
    assert_eq!(due, expected, "due at {now_ms}");
    for key in due {
        assert!(table.remove(&key).is_some() && model.remove(&key).is_some());
    }
}

/// Samples are elements of the table.
fn sample(table: &Table<Stored>, model: &Model, tape: &mut Tape<'_>) {
    let mut random = u64::from(tape.byte()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let found = table.sample(random);
    assert_eq!(found.is_some(), !model.is_empty(), "a sample is there when anything is");
    found.into_iter().for_each(|entry| assert!(model.contains_key(entry.key())));
    table.sample_many(random, 5, |entry| assert!(model.contains_key(entry.key())));
    let fair = table.sample_fair(&mut || {
        random = random.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1);
        random
    });
    fair.into_iter().for_each(|entry| assert!(model.contains_key(entry.key())));
}

fn compare(table: &Table<Stored>, model: &Model) {
    table.check_invariants();
    let mut walked = 0;
    for entry in table.iter() {
        let (held, expiry) = model.get(entry.key()).expect("a walk finds what was put in");
        assert_eq!((Held::of(entry), entry.expires_at_ms()), (held.clone(), *expiry));
        walked += 1;
    }
    assert_eq!(walked, model.len());
    let mut scanned = BTreeSet::new();
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, |entry| {
            scanned.insert(entry.key().to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert!(scanned.iter().eq(model.keys()), "a scan visits everything");
}

/// The table as sets and hashes use it.
fn records(tape: &mut Tape<'_>, load: u8) {
    let (mut table, mut model) = (Table::<Record>::with_load(load), BTreeMap::new());
    while !tape.is_empty() {
        let (op, key, value) = (tape.byte() % 4, tape.key(), tape.string());
        match table.slot(hash::of(&key), &key) {
            Some(slot) if op == 0 => {
                assert_eq!(Some(slot.take().value().to_vec()), model.remove(&key));
            }
            Some(mut slot) => {
                let before = slot.modify(|old| {
                    let before = old.value().to_vec();
                    (old.with_value(&value), before)
                });
                assert_eq!(Some(before), model.insert(key, value));
            }
            None => {
                table.insert(Record::new(&key, &value));
                assert_eq!(model.insert(key, value), None);
            }
        }
        assert_eq!(table.len(), model.len());
    }
    table.check_invariants();
    for (key, value) in &model {
        assert_eq!(table.get(key).map(|record| record.value()), Some(&value[..]));
    }
}

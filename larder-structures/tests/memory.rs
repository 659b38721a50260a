//! What tables, entries and records say they take, against what slab and allocator were asked for.

use larder_structures::entry::{Entry, Value};
use larder_structures::record::Record;
use larder_structures::slab;
use larder_structures::sync::Pinned;
use larder_structures::table::{Element, Table};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;

/// Counts the bytes that each thread has allocated and not freed.
struct Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends may still free, after its counter is gone.
    let _ended = BYTES.try_with(|counter| counter.set(counter.get() + bytes));
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The slab counts for all threads together.
static ALONE: Mutex<()> = Mutex::new(());

/// The bytes that this thread has of the general allocator, and the process of the slab.
fn allocated() -> usize {
    let general = usize::try_from(BYTES.get()).expect("this thread frees only what it allocated");
    general + slab::stats().used
}

/// Fills and empties a table of what `make` makes, and compares at every step.
fn check<E: Element>(make: impl Fn(u32) -> E, memory: impl Fn(E::Ref<'_>) -> usize) {
    let names: Vec<Vec<u8>> = (0..2000).map(|number| number.to_string().into_bytes()).collect();
    let _alone = ALONE.lock();
    let before = allocated();
    let mut table = Table::new();
    let mut elements = 0;
    for (number, name) in (0..).zip(&names) {
        table.insert(make(number));
        elements += memory(table.get(name).expect("it was inserted"));
        assert_eq!(allocated() - before, table.memory() + elements, "with {number} and the ones before");
    }
    for name in &names {
        elements -= memory(table.get(name).expect("it was inserted"));
        drop(table.remove(name));
        assert_eq!(allocated() - before, table.memory() + elements);
    }
    assert_eq!(elements, 0);
    drop(table);
    assert_eq!(allocated(), before);
}

#[test]
fn records_cost_what_they_say() {
    check(
        |number| Record::new(number.to_string().as_bytes(), &vec![b'v'; number as usize % 300]),
        |record| record.memory(),
    );
}

#[test]
fn entries_cost_what_they_say() {
    check::<Entry<Pinned<()>>>(
        |number| {
            let (text, expiry) =
                (vec![b'v'; number as usize % 300], (number % 3 == 0).then_some(u64::from(number)));
            let value =
                if number % 2 == 0 { Value::Bytes(&text) } else { Value::Integer(i64::from(number) << 20) };
            Entry::new(number.to_string().as_bytes(), value, expiry, 0)
        },
        |entry| entry.memory(),
    );
}

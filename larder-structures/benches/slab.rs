//! The slab beside the general allocator that the server uses: random replacements in a working set of records.
//!
//! `cargo bench -p larder-structures --bench slab`; the ratio of the two counts, in one run. Both rows pay for the same
//! bytes written and the same random accesses.

use larder_structures::record::Record;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;

/// Splitmix64 (Steele, Lea, Flood 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Nanoseconds for each replacement of one of `live` things by one of 16 to `16 + spread` bytes.
fn replace<T>(live: usize, spread: u64, count: usize, make: impl Fn(&[u8]) -> T) -> f64 {
    let source = vec![b'x'; 16 + spread as usize];
    let mut random = 7;
    let mut len = || 16 + (splitmix(&mut random) % spread.max(1)) as usize;
    let mut things: Vec<T> = (0..live).map(|_| make(&source[..len()])).collect();
    let mut random = 11;
    let began = Instant::now();
    for _ in 0..count {
        let drawn = splitmix(&mut random);
        let len = 16 + ((drawn >> 32) % spread.max(1)) as usize;
        things[drawn as u32 as usize % live] = make(&source[..len]);
    }
    began.elapsed().as_nanos() as f64 / count as f64
}

fn main() {
    println!("{:>10} {:>8} {:>10} {:>10}", "live", "spread", "slab ns", "general ns");
    for (live, spread) in [(1_000, 1), (1_000, 100), (1_000_000, 1), (1_000_000, 100), (300_000, 900)] {
        let (mut slab, mut general) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            slab.push(replace(live, spread, 3_000_000, |bytes| Record::new(bytes, b"")));
            general
                .push(replace(live, spread, 3_000_000, |bytes| [&[0, 0], bytes].concat().into_boxed_slice()));
        }
        slab.sort_by(f64::total_cmp);
        general.sort_by(f64::total_cmp);
        println!("{live:>10} {spread:>8} {:>10.1} {:>10.1}", slab[ROUNDS / 2], general[ROUNDS / 2]);
    }
}

//! A seeded mutation fuzzer that runs in the process and on stable Rust.
//!
//! It has no eyes: without coverage feedback it lives from good examples and from damaging them in the ways that find
//! bugs in parsers (flipped bits, spliced halves, cut ends, repeated pieces, numbers at their limits, in decimal and in
//! binary). In exchange it needs no special toolchain, runs a million inputs a second on small parsers, and repeats any
//! run from its seed. An input that makes a target panic is cut down, saved and reported.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::rng::Rng;

/// Inputs grow no longer than this by mutation.
const INPUT_MAX: usize = 4096;
/// Attempts to shorten an input that fails.
const SHORTEN_MAX: usize = 2_000;

/// Something to throw bytes at: it panics when it finds a promise broken.
pub type Target = fn(&[u8]);

/// An input that made a target panic.
#[derive(Clone, Debug)]
pub struct Crash {
    /// The seed of the run.
    pub seed: u64,
    /// How many inputs had passed before.
    pub run: u64,
    /// The shortened input.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

impl Crash {
    /// Writes the input to a file in `dir` and gives its path.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &Path, target: &str) -> std::io::Result<PathBuf> {
        fs::create_dir_all(dir)?;
        let path = dir.join(format!("{target}-{}-{}", self.seed, self.run));
        fs::write(&path, &self.input)?;
        Ok(path)
    }
}

/// Throws the examples and then `runs` mutated inputs at a target.
///
/// The panic hook is left alone, so a failing target also prints its panic; callers that shorten inputs may want to
/// silence it (see [`quietly`]).
///
/// # Errors
/// The first input that makes the target panic, shortened.
pub fn run(target: Target, examples: &[Vec<u8>], runs: u64, seed: u64) -> Result<(), Box<Crash>> {
    let mut rng = Rng::new(seed);
    let fallback = [Vec::new()];
    let examples = if examples.is_empty() { &fallback[..] } else { examples };
    for (number, example) in examples.iter().enumerate() {
        check(target, example)
            .map_err(|message| crash(target, example.clone(), message, seed, number as u64))?;
    }
    // Inputs that were mutated once are mutated again: some bugs are two steps away.
    let mut pool: Vec<Vec<u8>> = examples.to_vec();
    let mut input = Vec::new();
    for number in 0..runs {
        input.clear();
        let start: &Vec<u8> = rng.pick(&pool);
        input.extend_from_slice(start);
        for _ in 0..=rng.below(4) {
            mutate(&mut input, &pool, &mut rng);
        }
        if let Err(message) = check(target, &input) {
            return Err(crash(target, input, message, seed, number));
        }
        if rng.percent(1) {
            let room = examples.len() + 64;
            if pool.len() < room {
                pool.push(input.clone());
            } else {
                let replaced = examples.len() + rng.below(64);
                pool[replaced].clone_from(&input);
            }
        }
    }
    Ok(())
}

/// Runs `work` without the messages that panics print.
pub fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn check(target: Target, input: &[u8]) -> Result<(), String> {
    catch_unwind(|| target(input)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
    })
}

/// Cuts pieces out of an input as long as it still fails.
fn crash(target: Target, mut input: Vec<u8>, mut message: String, seed: u64, run: u64) -> Box<Crash> {
    let mut attempts = 0;
    let mut piece = input.len().div_ceil(2);
    while piece > 0 && attempts < SHORTEN_MAX {
        let mut start = 0;
        while start < input.len() && attempts < SHORTEN_MAX {
            let stop = (start + piece).min(input.len());
            let shorter = [&input[..start], &input[stop..]].concat();
            attempts += 1;
            match check(target, &shorter) {
                Err(text) => {
                    input = shorter;
                    message = text;
                }
                Ok(()) => start = stop,
            }
        }
        piece /= 2;
    }
    Box::new(Crash { seed, run, input, message })
}

/// Damages an input in one of ten ways; `pool` has others to splice with.
///
/// # Panics
/// When the pool is empty.
pub fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(input.len() + 1);
    let length = 1 + rng.below(16);
    let end = (at + length).min(input.len());
    match rng.below(10) {
        0 if at < input.len() => input[at] ^= 1 << rng.below(8),
        1 if at < input.len() => input[at] = byte(rng),
        2 => input.insert(at, byte(rng)),
        3 => {
            input.drain(at..end);
        }
        4 => input.truncate(at),
        5 => {
            let copy = input[at..end].to_vec();
            let to = rng.below(input.len() + 1);
            input.splice(to..to, copy);
        }
        6 => {
            let other = rng.pick(pool);
            input.truncate(at);
            input.extend_from_slice(&other[rng.below(other.len() + 1)..]);
        }
        7 => {
            // A decimal number becomes another one.
            let digits = |b: &u8| b.is_ascii_digit();
            let start = input[at..].iter().position(digits).map_or(at, |n| at + n);
            let stop = start + input[start..].iter().take_while(|b| digits(b)).count();
            input.splice(start..stop, number(rng).bytes());
        }
        8 => {
            let binary = boundary(rng).to_le_bytes();
            let width = *rng.pick(&[1, 2, 4, 8]);
            let stop = (at + width).min(input.len());
            input.splice(at..stop, binary[..width].iter().copied());
        }
        _ => {
            input.splice(at..at, number(rng).bytes());
        }
    }
    input.truncate(INPUT_MAX);
}

fn byte(rng: &mut Rng) -> u8 {
    const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\r\n $*:+-_,#(!=%~>|\"'\\xnt0919.eif";
    if rng.percent(60) { *rng.pick(TELLING) } else { rng.bits().to_le_bytes()[0] }
}

/// A number near a power of two, where lengths overflow and encodings change.
fn boundary(rng: &mut Rng) -> i64 {
    let power = 1_i64.wrapping_shl(u32::try_from(rng.below(64)).expect("below 64"));
    let near = power.wrapping_add(rng.between(-2, 2));
    if rng.percent(30) { near.wrapping_neg() } else { near }
}

fn number(rng: &mut Rng) -> String {
    match rng.below(10) {
        0..4 => rng.between(-2, 20).to_string(),
        4..8 => boundary(rng).to_string(),
        8 => "99999999999999999999".to_owned(),
        _ => "-0".to_owned(),
    }
}

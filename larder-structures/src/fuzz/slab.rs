//! The slab's arena against a list of what is in use; see the model beside it.

use super::Tape;

/// Runs `data` as a program of allocations, frees, moves and returns to the system.
///
/// # Panics
/// When a slot is handed out twice, changes while it is in use, or is lost.
pub fn fuzz_slab(data: &[u8]) {
    let mut tape = Tape(data);
    crate::slab::fuzz(|bound| (!tape.is_empty()).then(|| tape.below(bound)));
}

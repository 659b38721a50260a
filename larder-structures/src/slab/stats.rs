//! What the slab knows of itself.

use super::arena::Arena;
use super::class::CLASSES;

/// The slab in bytes; see [`super::stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Taken from the system, whether touched yet or not.
    pub mapped: usize,
    /// In pages that are in use, whether full or not.
    pub active: usize,
    /// In use, as [`super::rounded`] counts them.
    pub used: usize,
    /// Beyond the largest slot, which the general allocator keeps. Not part of the others.
    pub general: usize,
    /// Each size that is in use or was.
    pub classes: Vec<ClassStats>,
}

impl Stats {
    /// Adds what an arena has.
    pub(super) fn add(&mut self, arena: &Arena) {
        self.mapped += arena.mapped();
        self.active += arena.active();
        self.classes.resize_with(CLASSES, ClassStats::default);
        for (sum, class) in self.classes.iter_mut().zip(arena.classes()) {
            sum.size = class.size;
            sum.slots += class.slots;
            sum.used += class.used;
            self.used += class.used * class.size;
        }
    }
}

/// One size of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Bytes of a slot.
    pub size: usize,
    /// Slots in the pages of this size.
    pub slots: usize,
    /// Slots in use.
    pub used: usize,
}

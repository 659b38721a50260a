//! Which sizes there are.
//!
//! Up to [`FINE_MAX`] every multiple of 8 is a class, so nothing is lost but what alignment takes. Above, classes are
//! about a sixteenth apart and fill their pages to the last bytes: 3 % are lost on average, 6 % at worst. A slot never
//! is larger than [`MAX`].

use super::chunk::{COARSE_PAGE, Kind};

/// The largest size of a class of its own for every multiple of 8, in bytes.
const FINE_MAX: usize = 1024;
/// The largest slot, in bytes.
pub(super) const MAX: usize = 16 * 1024;
const STEP: usize = 8;
const FINE: usize = FINE_MAX / STEP;
const COARSE: usize = coarse_classes();
/// How many classes there are.
pub(super) const CLASSES: usize = FINE + COARSE;
/// Coarse classes are multiples of a cache line, and looked up by it.
const LOOKUP_STEP: usize = super::LINE;

static SIZES: [u16; CLASSES] = sizes();
/// The first class that is large enough for the smallest size of each [`LOOKUP_STEP`].
static LOOKUP: [u8; MAX / LOOKUP_STEP] = lookup();

/// The coarse size after `size`: at least a sixteenth larger, and as large as a page has room for.
const fn next_coarse(size: usize) -> usize {
    COARSE_PAGE / (COARSE_PAGE / (size + size / 16)) / LOOKUP_STEP * LOOKUP_STEP
}

const fn coarse_classes() -> usize {
    let (mut count, mut size) = (0, FINE_MAX);
    while size < MAX {
        size = next_coarse(size);
        count += 1;
    }
    assert!(size == MAX);
    count
}

const fn sizes() -> [u16; CLASSES] {
    let mut sizes = [0; CLASSES];
    let (mut class, mut size) = (0, 0);
    while class < CLASSES {
        size = if size < FINE_MAX { size + STEP } else { next_coarse(size) };
        sizes[class] = size as u16;
        class += 1;
    }
    sizes
}

const fn lookup() -> [u8; MAX / LOOKUP_STEP] {
    let mut lookup = [0; MAX / LOOKUP_STEP];
    let (mut nth, mut class) = (0, 0);
    while nth < lookup.len() {
        while (SIZES[class] as usize) <= nth * LOOKUP_STEP {
            class += 1;
        }
        lookup[nth] = class as u8;
        nth += 1;
    }
    lookup
}

/// The class for `size` bytes, 1 to [`MAX`].
#[inline]
pub(super) const fn of(size: usize) -> usize {
    debug_assert!(0 < size && size <= MAX);
    if size <= FINE_MAX {
        return (size - 1) / STEP;
    }
    LOOKUP[(size - 1) / LOOKUP_STEP] as usize
}

/// The bytes of a slot of this class.
#[inline]
pub(super) const fn size(class: usize) -> usize {
    if class < FINE { (class + 1) * STEP } else { SIZES[class] as usize }
}

/// The pages that slots of this class lie in.
#[inline]
pub(super) const fn kind(class: usize) -> Kind {
    if class < FINE { Kind::Fine } else { Kind::Coarse }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_class_it_fits_in() {
        for wanted in 1..=MAX {
            let class = of(wanted);
            assert!(wanted <= size(class), "{wanted} bytes do not fit class {class}");
            assert!(
                class == 0 || size(class - 1) < wanted,
                "{wanted} bytes fit a smaller class than {class}"
            );
        }
    }

    #[test]
    fn what_rounding_loses_is_bounded() {
        for class in 1..CLASSES {
            let (below, this) = (size(class - 1), size(class));
            assert!(this % 8 == 0 && this > below);
            assert!(this - below == 8 || (this - below) * 8 <= this, "classes {below} and {this}");
        }
    }
}

//! Drawing lots.

/// A number below `bound`, which is not 0.
pub(crate) fn below(bound: usize, random: &mut impl FnMut() -> u64) -> usize {
    ((u128::from(random()) * bound as u128) >> 64) as usize
}

/// Whether `count` of `len` are so few that drawing one by one, and again on a repetition, is quicker than going
/// through all.
pub(super) fn is_few(count: usize, len: usize) -> bool {
    count.saturating_mul(3) < len
}

/// Visits `count` of the `len` that `items` has, or all, any choice as likely as any other: one after the other is taken
/// with the probability that is left for it (Fan, Muller, Rezucha 1962).
pub(super) fn select<T>(
    items: impl Iterator<Item = T>,
    len: usize,
    count: usize,
    random: &mut impl FnMut() -> u64,
    mut visit: impl FnMut(T),
) {
    let (mut left, mut wanted) = (len, count.min(len));
    for item in items {
        if wanted == 0 {
            return;
        }
        if wanted == left || below(left, random) < wanted {
            visit(item);
            wanted -= 1;
        }
        left -= 1;
    }
}

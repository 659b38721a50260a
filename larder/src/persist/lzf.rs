//! LZF, the compression Redis applies to long strings inside a snapshot.
//!
//! The format (Marc Lehmann's LibLZF) is a sequence of two kinds of chunks, told apart by the first byte:
//!
//! ```text
//! 000LLLLL  <L+1 bytes>             a literal run of 1 to 32 bytes
//! LLLooooo  oooooooo                copy L+2 bytes (3 to 8) from o+1 bytes back (1 to 8192)
//! 111ooooo  LLLLLLLL  oooooooo      copy L+9 bytes (9 to 264) from o+1 bytes back
//! ```
//!
//! A copy may overlap its own output: distance 1 repeats a byte. Neither length is stored; a snapshot writes both in
//! front. As three bytes of input yield at most 264 bytes of output, an honest original is at most
//! [`EXPANSION_MAX`] times as long as its compressed form, and a claim beyond that is refused before anything is
//! allocated.
//!
//! The compressor is greedy: a table remembers where each three-byte prefix was last seen, and a match is taken as
//! soon as it is found. The table is never cleared between strings, which would cost more than compressing a short
//! one; instead positions keep counting from string to string, so an entry that an earlier string left behind is
//! recognised by being below the start of this one.

/// The bound on (original length) / (compressed length): 264 bytes out of 3.
pub const EXPANSION_MAX: u64 = 88;

const LITERAL_MAX: usize = 32;
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 264;
const DISTANCE_MAX: usize = 8192;

/// The table has two entries per reachable distance, so that few prefixes collide within the window: 64 KiB.
const TABLE_BITS: u32 = 14;

/// A compressor that can be used for one string after another.
pub struct Compressor {
    /// For each hashed prefix, where it was last seen; counted over all strings, 0 = never.
    seen: Box<[u32]>,
    /// The position of the next string's first byte.
    start: u32,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// A compressor; allocates its 64 KiB table.
    #[must_use]
    pub fn new() -> Self {
        Self { seen: vec![0; 1 << TABLE_BITS].into_boxed_slice(), start: 1 }
    }

    /// Replaces the content of `output` by the compressed form of `input` and returns true, or returns false, with
    /// `output` unspecified, when that form would take more than `output_max` bytes (or `input` is longer than 2 GiB).
    pub fn compress(&mut self, input: &[u8], output_max: usize, output: &mut Vec<u8>) -> bool {
        output.clear();
        let Some(start) = self.claim(input.len()) else { return false };
        let mut literals_from = 0;
        let mut at = 0;
        while at + MATCH_MIN <= input.len() {
            let slot = &mut self.seen[prefix_hash(&input[at..])];
            let candidate = slot.checked_sub(start).map(|position| position as usize);
            // `claim` made sure that start + input.len() is a u32.
            *slot = start + at as u32;
            let repeat = candidate.map(|from| (at - from, match_len(input, from, at)));
            let Some((distance, len)) = repeat.filter(|&(_, len)| len >= MATCH_MIN) else {
                at += 1;
                continue;
            };
            push_literals(output, &input[literals_from..at]);
            push_copy(output, distance, len);
            if output.len() > output_max {
                return false;
            }
            self.remember_last(&input[..at + len], start);
            at += len;
            literals_from = at;
        }
        push_literals(output, &input[literals_from..]);
        output.len() <= output_max
    }

    /// Reserves positions for a string of `len` bytes and returns the first, or `None` if it is too long.
    fn claim(&mut self, len: usize) -> Option<u32> {
        let len = u32::try_from(len).ok().filter(|&len| len <= u32::MAX / 2)?;
        if self.start.checked_add(len).is_none() {
            self.seen.fill(0);
            self.start = 1;
        }
        let start = self.start;
        self.start += len;
        Some(start)
    }

    /// Remembers the last prefix inside `done`, so that a repetition that continues a match is found again.
    fn remember_last(&mut self, done: &[u8], start: u32) {
        if let Some(at) = done.len().checked_sub(MATCH_MIN) {
            self.seen[prefix_hash(&done[at..])] = start + at as u32;
        }
    }
}

/// Why a compressed string was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LzfError {
    /// The claimed original length is more than the format can reach from so few bytes.
    ImpossibleLength,
    /// The input ends inside a chunk.
    Truncated,
    /// A copy reaches back before the first byte of output.
    CopyBeforeStart,
    /// The output is not as long as claimed.
    LengthMismatch,
}

impl std::fmt::Display for LzfError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ImpossibleLength => "an original length that its compressed form cannot reach",
            Self::Truncated => "a chunk that is cut off",
            Self::CopyBeforeStart => "a copy from before the start of the string",
            Self::LengthMismatch => "an original of another length than claimed",
        })
    }
}

impl std::error::Error for LzfError {}

/// Decompresses `input`, whose original is claimed to be `original_len` bytes long.
///
/// Allocates at most [`EXPANSION_MAX`] times the length of `input`, whatever is claimed.
///
/// # Errors
/// When `input` is not the compressed form of a string of exactly that length.
pub fn decompress(input: &[u8], original_len: u64) -> Result<Vec<u8>, LzfError> {
    if original_len > (input.len() as u64).saturating_mul(EXPANSION_MAX) {
        return Err(LzfError::ImpossibleLength);
    }
    let original_len = usize::try_from(original_len).map_err(|_| LzfError::ImpossibleLength)?;
    let mut output = Vec::with_capacity(original_len);
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        let control = usize::from(control);
        if control < LITERAL_MAX {
            let (literals, after) = after.split_at_checked(control + 1).ok_or(LzfError::Truncated)?;
            if literals.len() > original_len - output.len() {
                return Err(LzfError::LengthMismatch);
            }
            output.extend_from_slice(literals);
            rest = after;
        } else {
            let (len, distance, after) = read_copy(control, after).ok_or(LzfError::Truncated)?;
            let from = output.len().checked_sub(distance).ok_or(LzfError::CopyBeforeStart)?;
            if len > original_len - output.len() {
                return Err(LzfError::LengthMismatch);
            }
            copy_from(&mut output, from, len);
            rest = after;
        }
    }
    if output.len() == original_len { Ok(output) } else { Err(LzfError::LengthMismatch) }
}

/// The length and distance of the copy that starts with `control`, and what follows it.
fn read_copy(control: usize, mut rest: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut len = control >> 5;
    if len == 7 {
        len += usize::from(*rest.split_off_first()?);
    }
    let distance = ((control & 0x1f) << 8 | usize::from(*rest.split_off_first()?)) + 1;
    Some((len + 2, distance, rest))
}

/// Appends `len` bytes that start at `from`, the source running into what is being appended.
fn copy_from(output: &mut Vec<u8>, from: usize, len: usize) {
    let mut left = len;
    while left > 0 {
        // All that is there from `from` on is a whole number of repetitions, so it can be doubled.
        let step = left.min(output.len() - from);
        output.extend_from_within(from..from + step);
        left -= step;
    }
}

fn prefix_hash(prefix: &[u8]) -> usize {
    let prefix = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], 0]);
    (prefix.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS)) as usize
}

/// How many bytes at `at` repeat those at `from`; 0 when `from` is out of reach.
fn match_len(input: &[u8], from: usize, at: usize) -> usize {
    if at - from > DISTANCE_MAX {
        return 0;
    }
    input[from..].iter().zip(&input[at..]).take(MATCH_MAX).take_while(|(a, b)| a == b).count()
}

fn push_literals(output: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERAL_MAX) {
        output.push((run.len() - 1) as u8);
        output.extend_from_slice(run);
    }
}

/// `distance` is 1 to 8192 and `len` 3 to 264, so every part fits its bits.
fn push_copy(output: &mut Vec<u8>, distance: usize, len: usize) {
    let [low, high] = ((distance - 1) as u16).to_le_bytes();
    let len = len - 2;
    if len < 7 {
        output.push((len as u8) << 5 | high);
    } else {
        output.extend([7 << 5 | high, (len - 7) as u8]);
    }
    output.push(low);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compressed(input: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        assert!(Compressor::new().compress(input, usize::MAX, &mut output));
        output
    }

    #[test]
    fn chunks_have_the_bits_the_format_says() {
        assert_eq!(decompress(&[0, b'x'], 1).as_deref(), Ok(&b"x"[..]));
        assert_eq!(decompress(&[0, b'x', 1 << 5, 0], 4).as_deref(), Ok(&b"xxxx"[..]));
        assert_eq!(decompress(&[1, b'x', b'y', 7 << 5, 0, 1], 11).as_deref(), Ok(&b"xyxyxyxyxyx"[..]));
    }

    #[test]
    fn the_longest_and_farthest_copies_survive() {
        for distance in [1, 2, 3, 263, 264, 265, 8191, 8192, 8193, 9000] {
            for len in [3, 8, 9, 10, 263, 264, 265, 266, 267, 600] {
                let mut input: Vec<u8> =
                    (0..distance as u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect();
                input.extend(input.clone().iter().cycle().take(len));
                let packed = compressed(&input);
                assert_eq!(decompress(&packed, input.len() as u64).as_deref(), Ok(&input[..]));
            }
        }
    }

    #[test]
    fn the_limit_on_the_output_is_kept_to_the_byte() {
        let input = b"abcabcabcabcabcabc-abcabcabcabc".repeat(3);
        let len = compressed(&input).len();
        let mut output = Vec::new();
        assert!(Compressor::new().compress(&input, len, &mut output));
        assert!(!Compressor::new().compress(&input, len - 1, &mut output));
    }

    #[test]
    fn positions_start_over_before_they_overflow() {
        let input = b"the same words, the same words, the same words";
        let fresh = compressed(input);
        let mut worn = Compressor::new();
        worn.seen.fill(u32::MAX);
        worn.start = u32::MAX - 10;
        let mut output = Vec::new();
        assert!(worn.compress(input, usize::MAX, &mut output));
        assert_eq!(output, fresh);
    }

    #[test]
    fn impossible_claims_are_refused() {
        assert_eq!(decompress(&[0, b'x'], 1 << 40), Err(LzfError::ImpossibleLength));
        assert_eq!(decompress(&[0, b'x'], 2), Err(LzfError::LengthMismatch));
        assert_eq!(decompress(&[1, b'x', b'y'], 1), Err(LzfError::LengthMismatch));
        assert_eq!(decompress(&[5, b'x'], 6), Err(LzfError::Truncated));
        assert_eq!(decompress(&[0, b'x', 1 << 5], 4), Err(LzfError::Truncated));
        assert_eq!(decompress(&[0, b'x', 1 << 5, 1], 4), Err(LzfError::CopyBeforeStart));
        assert_eq!(decompress(&[], 0).as_deref(), Ok(&[][..]));
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            inputs in prop::collection::vec(prop::collection::vec(0_u8..4, 0..2000), 1..5),
            noise in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let mut compressor = Compressor::new();
            let mut output = Vec::new();
            for input in inputs.iter().chain([&noise]) {
                prop_assert!(compressor.compress(input, usize::MAX, &mut output));
                prop_assert!(output.len() <= input.len() + input.len().div_ceil(LITERAL_MAX));
                let back = decompress(&output, input.len() as u64);
                prop_assert_eq!(back.as_ref(), Ok(input));
            }
        }

        #[test]
        fn arbitrary_bytes_never_break_the_decompressor(
            input in prop::collection::vec(any::<u8>(), 0..300),
            len in 0_u64..3000,
        ) {
            if let Ok(output) = decompress(&input, len) {
                prop_assert_eq!(output.len() as u64, len);
            }
        }
    }
}

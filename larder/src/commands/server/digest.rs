//! DEBUG DIGEST and DIGEST-VALUE: 160 bits that are equal when the data are, however they are kept.
//!
//! Elements of lists are taken in order; members, fields and keys have none, so their digests are added up. The mixing
//! is splitmix64's (Steele, Lea, Flood 2014) on five words in parallel; it is no defence against anybody. The numbers
//! are not those of Redis, whose digests nobody compares with those of another server.

use crate::keyspace::{Found, Shard, View};
use crate::types::BodyRef;
use crate::types::string::{Digits, StringRef};

const WORDS: usize = 5;

/// A digest; of nothing, zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest([u32; WORDS]);

fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Digest {
    /// Of parts in order; their lengths count, so that no two lists of parts look alike.
    fn of(parts: &[&[u8]]) -> Digest {
        let mut words = [0u64; WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            *word = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for part in parts {
                *word = mix(*word ^ part.len() as u64);
                for chunk in part.chunks(8) {
                    let mut bytes = [0u8; 8];
                    bytes[..chunk.len()].copy_from_slice(chunk);
                    *word = mix(word.wrapping_add(u64::from_le_bytes(bytes)));
                }
            }
        }
        Digest(words.map(|word| (word >> 32) as u32))
    }

    /// Adds something that has no order among its like.
    fn add(&mut self, other: Digest) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word = word.wrapping_add(other);
        }
    }

    /// Appends something whose place matters.
    fn chain(&mut self, part: &[u8]) {
        let before = self.bytes();
        *self = Digest::of(&[&before, part]);
    }

    fn bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// 40 hexadecimal digits.
    pub(super) fn hex(self) -> String {
        self.0.iter().map(|word| format!("{word:08x}")).collect()
    }

    /// Of a value and whether it expires.
    pub(super) fn of_found(found: &Found<'_>) -> Digest {
        let mut digest = of_view(found.view);
        if found.expires_at_ms.is_some() {
            digest.chain(b"expires");
        }
        digest
    }

    /// Adds the keys of one database of a shard, those left out that have expired.
    pub(super) fn add_shard(&mut self, shard: &Shard, physical: usize, db: usize, now_ms: u64) {
        let Some(keys) = shard.db(physical).map(|db| &db.keys) else { return };
        for entry in keys.iter() {
            let found = Found::new(entry);
            if found.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
                let value = Digest::of_found(&found).bytes();
                self.add(Digest::of(&[&(db as u64).to_be_bytes(), entry.key(), &value]));
            }
        }
    }
}

fn of_string(string: StringRef<'_>) -> Digest {
    Digest::of(&[string.bytes(&mut Digits::new())])
}

fn of_view(view: View<'_>) -> Digest {
    let body = match view {
        View::String(string) => return of_string(string),
        View::Body(body) => body,
    };
    let mut digest = Digest::of(&[body.kind().name().as_bytes()]);
    match body {
        BodyRef::List(list) => {
            list.iter().for_each(|element| digest.chain(element.bytes(&mut Digits::new())))
        }
        BodyRef::Set(set) => set.iter().for_each(|member| digest.add(of_string(member))),
        BodyRef::Hash(hash) => {
            for (field, value) in hash.iter() {
                let (mut field_digits, mut value_digits) = (Digits::new(), Digits::new());
                let parts = [field.bytes(&mut field_digits), value.bytes(&mut value_digits)];
                digest.add(Digest::of(&parts));
            }
        }
        BodyRef::Zset(zset) => {
            for item in zset.iter() {
                let score = item.score.to_bits().to_be_bytes();
                digest.add(Digest::of(&[item.member.bytes(&mut Digits::new()), &score]));
            }
        }
    }
    digest
}

//! How values become bytes and come back.
//!
//! Before the bytes of a value stands an envelope. It says which codec and which schema wrote them, so that a program
//! that has changed since then sees a miss and not garbage; what cannot be decoded for any other reason is a miss as
//! well.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | flags: 1 there is no value (not found), 2 compressed |
//! | 8 | hash of codec and schema |
//! | 8 | how long it was to be fresh, milliseconds |
//! | 4 | how long loading took, milliseconds |
//! | 2 | length of the entity tag, which follows |
//! | 4 | length before compression, if compressed |

use crate::forms;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Makes bytes of values, and values of bytes.
pub trait Codec<V: 'static>: Send + Sync + 'static {
    /// What tells its bytes from those of others.
    fn name(&self) -> &'static str;

    /// The bytes of a value.
    ///
    /// # Errors
    /// A text, if this value has none.
    fn encode(&self, value: &V) -> Result<Vec<u8>, String>;

    /// The value of bytes, which may be anything.
    ///
    /// # Errors
    /// A text, if they are no value.
    fn decode(&self, bytes: &[u8]) -> Result<V, String>;
}

/// MessagePack with the names of fields: compact, and fields may be added and moved. The default.
#[derive(Debug, Clone, Copy)]
pub struct MsgPack;

/// JSON: readable by people and other programs.
#[derive(Debug, Clone, Copy)]
pub struct Json;

/// Postcard: the most compact, without names. Give the cache another [schema](crate::Builder::schema) whenever the type
/// changes, since nothing in the bytes tells. Not for types that contain themselves, such as trees: nothing limits how deep
/// bytes nest, and those that somebody else has put into the backend could exhaust the stack. The others have a limit.
#[derive(Debug, Clone, Copy)]
pub struct Postcard;

/// The bytes as they are, for values that are bytes or text.
#[derive(Debug, Clone, Copy)]
pub struct Raw;

macro_rules! serde_codec {
    ($codec:ident, $name:literal, $encode:path, $decode:path) => {
        impl<V: Serialize + DeserializeOwned + 'static> Codec<V> for $codec {
            fn name(&self) -> &'static str {
                $name
            }

            fn encode(&self, value: &V) -> Result<Vec<u8>, String> {
                $encode(value).map_err(|error| error.to_string())
            }

            fn decode(&self, bytes: &[u8]) -> Result<V, String> {
                $decode(bytes).map_err(|error| error.to_string())
            }
        }
    };
}

serde_codec!(MsgPack, "msgpack", rmp_serde::to_vec_named, rmp_serde::from_slice);
serde_codec!(Json, "json", serde_json::to_vec, serde_json::from_slice);
serde_codec!(Postcard, "postcard", postcard::to_stdvec, postcard::from_bytes);

impl<V: AsRef<[u8]> + TryFrom<Vec<u8>> + 'static> Codec<V> for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn encode(&self, value: &V) -> Result<Vec<u8>, String> {
        Ok(value.as_ref().to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, String> {
        V::try_from(bytes.to_vec()).map_err(|_| "bytes of another type".to_owned())
    }
}

/// The codec of a cache with all that belongs to it.
pub(crate) struct Packing<V: 'static> {
    pub(crate) codec: Arc<dyn Codec<V>>,
    /// Of codec and schema.
    pub(crate) schema: u64,
    /// Values from so many bytes on are compressed.
    pub(crate) compress_from: usize,
    /// Longer ones are not kept.
    pub(crate) value_max: usize,
}

/// What an envelope holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unpacked<V> {
    pub(crate) value: Option<V>,
    pub(crate) life: Duration,
    pub(crate) cost: Duration,
    pub(crate) etag: Option<Box<str>>,
}

const VERSION: u8 = 1;
const NOT_FOUND: u8 = 1;
const COMPRESSED: u8 = 2;
pub(crate) const ETAG_MAX: usize = 1024;

/// A hash of codec and schema that is the same in every process.
pub(crate) fn schema_hash(codec: &str, schema: &str) -> u64 {
    // FNV-1a of 64 bits.
    [codec.as_bytes(), b"/", schema.as_bytes()]
        .concat()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl<V: 'static> Packing<V> {
    /// The bytes of a value (`None`: not found). The time it is fresh for, what loading it cost.
    pub(crate) fn pack(
        &self,
        value: Option<&V>,
        life: Duration,
        cost: Duration,
        etag: Option<&str>,
    ) -> Result<Vec<u8>, String> {
        let payload = value.map(|value| self.codec.encode(value)).transpose()?;
        let plain = payload.as_deref().unwrap_or_default();
        if plain.len() > self.value_max {
            return Err(format!("a value of {} bytes; at most {} are kept", plain.len(), self.value_max));
        }
        let etag = etag.filter(|etag| etag.len() <= ETAG_MAX).unwrap_or_default();
        let packed = (plain.len() >= self.compress_from)
            .then(|| lz4_flex::block::compress(plain))
            .filter(|packed| packed.len() < plain.len());
        let mut bytes = Vec::with_capacity(32 + etag.len() + plain.len());
        let not_found = if value.is_none() { NOT_FOUND } else { 0 };
        bytes.extend([VERSION, not_found | if packed.is_some() { COMPRESSED } else { 0 }]);
        bytes.extend(self.schema.to_be_bytes());
        bytes.extend(u64::try_from(life.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(u32::try_from(cost.as_millis()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend((etag.len() as u16).to_be_bytes());
        bytes.extend(etag.as_bytes());
        match packed {
            Some(packed) => {
                bytes.extend(u32::try_from(plain.len()).map_err(|error| error.to_string())?.to_be_bytes());
                bytes.extend(packed);
            }
            None => bytes.extend(plain),
        }
        Ok(bytes)
    }

    /// Reads what `pack` has made; the text says why it cannot be used.
    pub(crate) fn unpack(&self, bytes: &[u8]) -> Result<Unpacked<V>, String> {
        const SHORT: &str = "cut off";
        let mut rest = forms::find(bytes, self.schema).ok_or("forms of other codecs or schemas only")?;
        let [version, flags] = take::<2>(&mut rest).ok_or(SHORT)?;
        let schema = u64::from_be_bytes(take(&mut rest).ok_or(SHORT)?);
        let life = u64::from_be_bytes(take(&mut rest).ok_or(SHORT)?);
        let cost = u32::from_be_bytes(take(&mut rest).ok_or(SHORT)?);
        if version != VERSION {
            return Err(format!("envelope of version {version}"));
        }
        if schema != self.schema {
            return Err("another codec or schema".to_owned());
        }
        let length = usize::from(u16::from_be_bytes(take(&mut rest).ok_or(SHORT)?));
        let (etag, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
        let etag = std::str::from_utf8(etag).map_err(|error| error.to_string())?;
        let value = if flags & NOT_FOUND != 0 { None } else { Some(self.unpack_value(flags, rest)?) };
        Ok(Unpacked {
            value,
            life: Duration::from_millis(life),
            cost: Duration::from_millis(cost.into()),
            etag: (!etag.is_empty()).then(|| etag.into()),
        })
    }

    fn unpack_value(&self, flags: u8, mut rest: &[u8]) -> Result<V, String> {
        if flags & COMPRESSED == 0 {
            return match rest.len() > self.value_max {
                true => Err(format!("a value of {} bytes", rest.len())),
                false => self.codec.decode(rest),
            };
        }
        let length = u32::from_be_bytes(take(&mut rest).ok_or("cut off")?) as usize;
        // LZ4 cannot make more than 255 bytes of one.
        if length > self.value_max || length / 255 > rest.len() {
            return Err(format!("{length} bytes from {} compressed", rest.len()));
        }
        let plain = lz4_flex::block::decompress(rest, length).map_err(|error| error.to_string())?;
        self.codec.decode(&plain)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packing(codec: impl Codec<String>) -> Packing<String> {
        let schema = schema_hash(codec.name(), "");
        Packing { codec: Arc::new(codec), schema, compress_from: 100, value_max: 10_000 }
    }

    fn all() -> [Packing<String>; 4] {
        [packing(MsgPack), packing(Json), packing(Postcard), packing(Raw)]
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn j1_what_was_packed_comes_back_and_nothing_else_does() {
        for packing in all() {
            for text in ["short".to_owned(), "long ".repeat(200)] {
                let bytes = packing.pack(Some(&text), SECOND * 9, SECOND, Some("\"etag\"")).unwrap();
                let back = packing.unpack(&bytes).unwrap();
                assert_eq!((back.value.as_deref(), back.life, back.cost), (Some(&*text), SECOND * 9, SECOND));
                assert_eq!(back.etag.as_deref(), Some("\"etag\""));
                // Cut off anywhere, and changed anywhere: an answer, never a panic.
                for cut in 0..bytes.len() {
                    let _ = packing.unpack(&bytes[..cut]);
                    let mut other = bytes.clone();
                    other[cut] ^= 0xff;
                    let _ = packing.unpack(&other);
                }
                for cut in 0..32 {
                    assert!(packing.unpack(&bytes[..cut.min(24)]).is_err());
                }
            }
            let nothing = packing.unpack(&packing.pack(None, SECOND, SECOND, None).unwrap()).unwrap();
            assert_eq!((nothing.value, nothing.etag), (None, None));
        }
    }

    #[test]
    fn j1_other_codecs_and_schemas_are_not_mistaken_for_ours() {
        for (wrote, packed) in
            all().iter().map(|p| p.pack(Some(&"x".to_owned()), SECOND, SECOND, None).unwrap()).enumerate()
        {
            for (reads, packing) in all().iter().enumerate() {
                assert_eq!(packing.unpack(&packed).is_ok(), wrote == reads);
            }
        }
        assert_ne!(schema_hash("json", "a/1"), schema_hash("json", "a/2"));
    }

    #[test]
    fn j3_decompression_is_capped_before_anything_is_allocated() {
        let packing = packing(Raw);
        assert!(packing.pack(Some(&"x".repeat(10_001)), SECOND, SECOND, None).is_err());
        let mut bytes = packing.pack(Some(&"x".repeat(1000)), SECOND, SECOND, None).unwrap();
        let at = 24;
        assert_eq!(bytes[at..at + 4], 1000_u32.to_be_bytes());
        for length in [u32::MAX, 10_001, 9999] {
            bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            assert!(packing.unpack(&bytes).is_err(), "{length}");
        }
    }
}

//! The numbers of the format: every byte that has a meaning, once, for reader and writer.

/// The magic in front of the version digits.
pub(super) const MAGIC: &[u8; 5] = b"REDIS";

/// The version of the format this crate writes: that of Redis 7.0.
pub const VERSION_WRITTEN: u16 = 10;

/// The versions this crate reads.
pub(super) const VERSIONS_READ: std::ops::RangeInclusive<u16> = 1..=12;

/// From this version on there is a checksum behind the end mark.
pub(super) const VERSION_WITH_CHECKSUM: u16 = 5;

/// Bytes that stand where a value's type may stand, and say that something else comes.
pub(super) mod opcode {
    pub(in super::super) const SLOT_INFO: u8 = 244;
    pub(in super::super) const FUNCTION: u8 = 245;
    pub(in super::super) const FUNCTION_PRE_RELEASE: u8 = 246;
    pub(in super::super) const MODULE_AUX: u8 = 247;
    pub(in super::super) const IDLE: u8 = 248;
    pub(in super::super) const FREQ: u8 = 249;
    pub(in super::super) const AUX: u8 = 250;
    pub(in super::super) const RESIZE_DB: u8 = 251;
    pub(in super::super) const EXPIRE_MS: u8 = 252;
    pub(in super::super) const EXPIRE_SECONDS: u8 = 253;
    pub(in super::super) const SELECT_DB: u8 = 254;
    pub(in super::super) const END: u8 = 255;
}

/// Types of values.
pub(super) mod tag {
    pub(in super::super) const STRING: u8 = 0;
    pub(in super::super) const LIST: u8 = 1;
    pub(in super::super) const SET: u8 = 2;
    pub(in super::super) const ZSET_TEXT: u8 = 3;
    pub(in super::super) const HASH: u8 = 4;
    pub(in super::super) const ZSET: u8 = 5;
    pub(in super::super) const MODULE_PRE_RELEASE: u8 = 6;
    pub(in super::super) const MODULE: u8 = 7;
    pub(in super::super) const HASH_ZIPMAP: u8 = 9;
    pub(in super::super) const LIST_ZIPLIST: u8 = 10;
    pub(in super::super) const SET_INTSET: u8 = 11;
    pub(in super::super) const ZSET_ZIPLIST: u8 = 12;
    pub(in super::super) const HASH_ZIPLIST: u8 = 13;
    pub(in super::super) const LIST_QUICKLIST: u8 = 14;
    pub(in super::super) const STREAM: u8 = 15;
    pub(in super::super) const HASH_LISTPACK: u8 = 16;
    pub(in super::super) const ZSET_LISTPACK: u8 = 17;
    pub(in super::super) const LIST_QUICKLIST_2: u8 = 18;
    pub(in super::super) const STREAM_2: u8 = 19;
    pub(in super::super) const SET_LISTPACK: u8 = 20;
    pub(in super::super) const STREAM_3: u8 = 21;
    /// The four forms of a hash whose fields expire.
    pub(in super::super) const HASH_EXPIRING_PRE_RELEASE: u8 = 22;
    pub(in super::super) const HASH_EXPIRING_LISTPACK_PRE_RELEASE: u8 = 23;
    pub(in super::super) const HASH_EXPIRING: u8 = 24;
    pub(in super::super) const HASH_EXPIRING_LISTPACK: u8 = 25;
}

/// The first byte of a length. Its two highest bits choose: a 6-bit length in the byte itself, a 14-bit length with
/// the next byte, one of the two longer forms, or (both set) not a length but an encoded string.
pub(super) mod length {
    pub(in super::super) const BITS_14: u8 = 0x40;
    pub(in super::super) const BITS_32: u8 = 0x80;
    pub(in super::super) const BITS_64: u8 = 0x81;
    pub(in super::super) const ENCODED: u8 = 0xc0;
}

/// How an encoded string is encoded: the low six bits behind [`length::ENCODED`].
pub(super) mod encoding {
    pub(in super::super) const INT8: u8 = 0;
    pub(in super::super) const INT16: u8 = 1;
    pub(in super::super) const INT32: u8 = 2;
    pub(in super::super) const LZF: u8 = 3;
}

/// What a node of a quicklist holds.
pub(super) mod container {
    pub(in super::super) const PLAIN: u64 = 1;
    pub(in super::super) const PACKED: u64 = 2;
}

/// What a module wrote, each piece with one of these in front.
pub(super) mod module {
    pub(in super::super) const END: u64 = 0;
    pub(in super::super) const SIGNED: u64 = 1;
    pub(in super::super) const UNSIGNED: u64 = 2;
    pub(in super::super) const FLOAT: u64 = 3;
    pub(in super::super) const DOUBLE: u64 = 4;
    pub(in super::super) const STRING: u64 = 5;
}

/// The scores a [`tag::ZSET_TEXT`] writes as a single byte in place of a text's length.
pub(super) mod text_score {
    pub(in super::super) const NAN: u8 = 253;
    pub(in super::super) const INFINITY: u8 = 254;
    pub(in super::super) const NEG_INFINITY: u8 = 255;
}

//! The engine's parameters by name: one row each.
//!
//! A row is all there is to know of a parameter: name, former names, what values it takes, whether it can change while
//! running, what it means, and how it is read and set. CONFIG GET and SET, the configuration file and the generated
//! reference are views of this table. What belongs to sockets and processes is in a table of the same kind in
//! `larder-server`.

use super::Config;
use crate::keyspace::eviction::Policy;
use crate::persist::aof::Fsync;
use crate::stats::system;
use larder_structures::decimal;
use std::sync::atomic::Ordering::Relaxed;

/// Why CONFIG SET refuses a parameter that is fixed at start.
pub const IMMUTABLE: &str = "can't set immutable config";

/// A parameter of `C`.
pub struct Param<C: 'static> {
    /// Its name.
    pub name: &'static str,
    /// Its former name, still understood.
    pub alias: Option<&'static str>,
    /// The values it takes.
    pub kind: Kind,
    /// Whether CONFIG SET may change it.
    pub is_mutable: bool,
    /// What it means, in a sentence.
    pub doc: &'static str,
    /// Its value, as CONFIG GET shows it.
    pub get: fn(&C) -> String,
    /// Sets it to a value that [`Kind::check`] let through.
    pub set: fn(&C, &str),
}

impl<C> Param<C> {
    /// Whether this is its name or its former one; `name` is in small letters.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }
}

/// What values a parameter takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A decimal within bounds.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Bytes, with units (`1k` = 1000, `1kb` = 1024, and so on), within bounds.
    Memory {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// The same without bounds, or a percentage from `0%` to `100%`.
    MemoryOrShare {
        /// The error for what is neither.
        refusal: &'static str,
    },
    /// One of some words.
    Word(&'static [&'static str]),
    /// Anything.
    Text,
}

impl Kind {
    /// Whether a value can be set.
    ///
    /// # Errors
    /// Why not, in Redis' words.
    pub fn check(self, value: &str) -> Result<(), String> {
        match self {
            Kind::Bool if parse_bool(value).is_some() => Ok(()),
            Kind::Bool => Err("argument must be 'yes' or 'no'".into()),
            Kind::Int { min, max } => match decimal::parse_canonical_i64(value.as_bytes()) {
                Some(number) if (min..=max).contains(&number) => Ok(()),
                Some(_) => Err(format!("argument must be between {min} and {max} inclusive")),
                None => Err("argument couldn't be parsed into an integer".into()),
            },
            Kind::Memory { min, max } => match parse_memory(value) {
                Some(bytes) if (min..=max).contains(&bytes) => Ok(()),
                Some(_) => Err(format!("argument must be between {min} and {max} inclusive")),
                None => Err("argument must be a memory value".into()),
            },
            Kind::MemoryOrShare { refusal } => match parse_share(value) {
                Some(percent) if percent > 100 => {
                    Err("percentage argument must be less or equal to 100".into())
                }
                None if parse_memory(value).is_none() => Err(refusal.into()),
                _ => Ok(()),
            },
            Kind::Word(words) if words.iter().any(|word| word.eq_ignore_ascii_case(value)) => Ok(()),
            Kind::Word(words) => {
                Err(format!("argument(s) must be one of the following: {}", words.join(", ")))
            }
            Kind::Text => Ok(()),
        }
    }
}

/// `yes` or `no`, in any case.
pub fn parse_bool(value: &str) -> Option<bool> {
    match () {
        () if value.eq_ignore_ascii_case("yes") => Some(true),
        () if value.eq_ignore_ascii_case("no") => Some(false),
        () => None,
    }
}

/// How a flag is shown.
pub fn show_bool(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
}

/// Bytes with an optional unit: `b`, `k kb m mb g gb` (powers of 1000 without, of 1024 with the b).
pub fn parse_memory(value: &str) -> Option<u64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = value[..digits].parse().ok()?;
    let factor: u64 = match value[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A percentage: `75%`.
pub fn parse_share(value: &str) -> Option<u64> {
    value.strip_suffix('%')?.parse().ok()
}

/// So many percent of so many bytes.
pub(crate) fn share_of(bytes: u64, percent: u64) -> u64 {
    (u128::from(bytes) * u128::from(percent) / 100) as u64
}

const POSITIVE: Kind = Kind::Int { min: 0, max: i64::MAX };
const RDB_VERSIONS: Kind = Kind::Int { min: 10, max: 11 };

/// A row with a counter in `Config`.
macro_rules! number {
    ($name:literal, $alias:expr, $field:ident: $type:ty, $kind:expr, $doc:literal) => {
        Param {
            name: $name,
            alias: $alias,
            kind: $kind,
            is_mutable: true,
            doc: $doc,
            get: |config| config.$field.load(Relaxed).to_string(),
            set: |config, value| {
                let number = value.parse::<$type>().ok().or_else(|| Some(parse_memory(value)? as $type));
                config.$field.store(number.unwrap_or_default(), Relaxed);
            },
        }
    };
}

/// A row with a flag in `Config`.
macro_rules! flag {
    ($name:literal, $field:ident, $doc:literal) => {
        Param {
            name: $name,
            alias: None,
            kind: Kind::Bool,
            is_mutable: true,
            doc: $doc,
            get: |config| show_bool(config.$field.load(Relaxed)),
            set: |config, value| config.$field.store(parse_bool(value).unwrap_or_default(), Relaxed),
        }
    };
}

/// The names of the policies, in the order in which an error lists them.
const POLICIES: &[&str] = Policy::NAMES;

/// The table.
pub const PARAMS: &[Param<Config>] = &[
    Param {
        name: "requirepass",
        alias: None,
        kind: Kind::Text,
        is_mutable: true,
        doc: "The password that connections must give before anything else; empty for none.",
        get: |config| String::from_utf8_lossy(&config.password.read()).into_owned(),
        set: |config, value| *config.password.write() = value.as_bytes().to_vec(),
    },
    Param {
        name: "databases",
        alias: None,
        kind: Kind::Int { min: 1, max: 256 },
        is_mutable: false,
        doc: "How many databases there are.",
        get: |config| config.databases.to_string(),
        set: |_fixed_at_start, _| {},
    },
    Param {
        name: "maxmemory",
        alias: None,
        kind: Kind::MemoryOrShare { refusal: "argument must be a memory value" },
        is_mutable: true,
        doc: "How many bytes keys, values, tables and connections may take before keys are evicted or writes refused; a \
              percentage is one of the memory that this process may have, by its cgroup or the machine; 0 for no limit.",
        get: |config| config.maxmemory.load(Relaxed).to_string(),
        set: |config, value| {
            let bytes = parse_share(value).map(|percent| share_of(system::memory_limit(), percent));
            config.maxmemory.store(bytes.or_else(|| parse_memory(value)).unwrap_or_default(), Relaxed);
        },
    },
    Param {
        name: "maxmemory-clients",
        alias: None,
        kind: Kind::MemoryOrShare { refusal: "argument must be a memory or percent value" },
        is_mutable: true,
        doc: "How many bytes all connections may take before the largest are closed; a percentage is one of maxmemory; 0 \
              for no limit.",
        get: |config| config.client_memory.show(),
        set: |config, value| match parse_share(value) {
            Some(percent) => config.client_memory.set_share(percent),
            None => config.client_memory.set_bytes(parse_memory(value).unwrap_or_default()),
        },
    },
    Param {
        name: "maxmemory-policy",
        alias: None,
        kind: Kind::Word(POLICIES),
        is_mutable: true,
        doc: "Which keys go when memory is short.",
        get: |config| config.eviction.policy().name().into(),
        set: |config, value| config.eviction.set_policy(Policy::named(value).unwrap_or(Policy::NoEviction)),
    },
    Param {
        name: "maxmemory-samples",
        alias: None,
        kind: Kind::Int { min: 1, max: i32::MAX as i64 },
        is_mutable: true,
        doc: "How many keys are looked at to find the best one to evict; above 64 is 64.",
        get: |config| config.eviction.samples.load(Relaxed).to_string(),
        set: |config, value| config.eviction.samples.store(value.parse().unwrap_or(5), Relaxed),
    },
    Param {
        name: "maxmemory-eviction-tenacity",
        alias: None,
        kind: Kind::Int { min: 0, max: 100 },
        is_mutable: true,
        doc: "How much time a command may give to eviction: 10 is half a millisecond, each step above 15 % more, 100 no \
              limit. What is left is done in the background.",
        get: |config| config.eviction.tenacity.load(Relaxed).to_string(),
        set: |config, value| config.eviction.tenacity.store(value.parse().unwrap_or(10), Relaxed),
    },
    Param {
        name: "lfu-log-factor",
        alias: None,
        kind: Kind::Int { min: 0, max: i32::MAX as i64 },
        is_mutable: true,
        doc: "How slowly the counters of the LFU policies rise: with 10, a million uses reach their end of 255.",
        get: |config| config.eviction.lfu_log_factor.load(Relaxed).to_string(),
        set: |config, value| config.eviction.lfu_log_factor.store(value.parse().unwrap_or(10), Relaxed),
    },
    Param {
        name: "lfu-decay-time",
        alias: None,
        kind: Kind::Int { min: 0, max: i32::MAX as i64 },
        is_mutable: true,
        doc: "Minutes without use after which a counter of the LFU policies is lowered by one; 0 for never.",
        get: |config| config.eviction.lfu_decay_time.load(Relaxed).to_string(),
        set: |config, value| config.eviction.lfu_decay_time.store(value.parse().unwrap_or(1), Relaxed),
    },
    Param {
        name: "active-expire-effort",
        alias: None,
        kind: Kind::Int { min: 1, max: 10 },
        is_mutable: true,
        doc: "How much time the search for expired keys may take: with 1 a quarter of one processor, with 10 nearly half.",
        get: |config| config.active_expire_effort.load(Relaxed).to_string(),
        set: |config, value| config.active_expire_effort.store(value.parse().unwrap_or(1), Relaxed),
    },
    flag!(
        "lazyfree-lazy-eviction",
        lazy_eviction,
        "Whether large values that are evicted are freed in the background."
    ),
    flag!(
        "lazyfree-lazy-expire",
        lazy_expire,
        "Whether large values that expire are freed in the background."
    ),
    flag!(
        "lazyfree-lazy-server-del",
        lazy_server_del,
        "Whether large values that are replaced or emptied are freed in the background."
    ),
    flag!(
        "lazyfree-lazy-user-del",
        lazy_user_del,
        "Whether DEL frees large values in the background, as UNLINK always does."
    ),
    flag!(
        "lazyfree-lazy-user-flush",
        lazy_user_flush,
        "Whether FLUSHALL and FLUSHDB without ASYNC or SYNC free in the background."
    ),
    number!(
        "hash-max-listpack-entries",
        Some("hash-max-ziplist-entries"),
        hash_max_listpack_entries: usize,
        POSITIVE,
        "Fields up to which a hash stays packed."
    ),
    number!(
        "hash-max-listpack-value",
        Some("hash-max-ziplist-value"),
        hash_max_listpack_value: usize,
        Kind::Memory { min: 0, max: i64::MAX as u64 },
        "Bytes of a field or value up to which a hash stays packed."
    ),
    number!(
        "set-max-intset-entries",
        None,
        set_max_intset_entries: usize,
        POSITIVE,
        "Members up to which a set of integers stays packed."
    ),
    number!(
        "zset-max-listpack-entries",
        Some("zset-max-ziplist-entries"),
        zset_max_listpack_entries: usize,
        POSITIVE,
        "Members up to which a sorted set stays packed."
    ),
    number!(
        "zset-max-listpack-value",
        Some("zset-max-ziplist-value"),
        zset_max_listpack_value: usize,
        Kind::Memory { min: 0, max: i64::MAX as u64 },
        "Bytes of a member up to which a sorted set stays packed."
    ),
    number!(
        "list-max-listpack-size",
        Some("list-max-ziplist-size"),
        list_max_listpack_size: i64,
        Kind::Int { min: i32::MIN as i64, max: i32::MAX as i64 },
        "How much a node of a list holds: elements if positive, from -1 to -5 for 4 to 64 KiB."
    ),
    number!(
        "proto-max-bulk-len",
        None,
        proto_max_bulk_len: usize,
        Kind::Memory { min: 1024 * 1024, max: i64::MAX as u64 },
        "The longest string, in bytes."
    ),
    number!(
        "slowlog-log-slower-than",
        None,
        slowlog_slower_than_us: i64,
        Kind::Int { min: -1, max: i64::MAX },
        "Microseconds from which on a command is kept in the slow log; -1 for never."
    ),
    number!("slowlog-max-len", None, slowlog_max_len: usize, POSITIVE, "How many commands the slow log keeps."),
    Param {
        name: "appendfsync",
        alias: None,
        kind: Kind::Word(Fsync::NAMES),
        is_mutable: true,
        doc: "When the append-only file is synced: always (nobody is told of what a crash could take back), everysec, or no \
              (when the system does).",
        get: |config| config.fsync().name().into(),
        set: |config, value| config.set_fsync(Fsync::named(value).unwrap_or(Fsync::EverySecond)),
    },
    flag!(
        "no-appendfsync-on-rewrite",
        no_fsync_on_rewrite,
        "Whether the append-only file is not synced while it is rewritten: what was written since may be lost in a crash."
    ),
    number!(
        "auto-aof-rewrite-percentage",
        None,
        aof_rewrite_percentage: u64,
        Kind::Int { min: 0, max: i32::MAX as i64 },
        "By how much the append-only file must have grown since it was last rewritten to be rewritten again; 0 for never."
    ),
    number!(
        "auto-aof-rewrite-min-size",
        None,
        aof_rewrite_min_size: u64,
        Kind::Memory { min: 0, max: i64::MAX as u64 },
        "Bytes up to which the append-only file is not rewritten by itself."
    ),
    flag!(
        "aof-use-rdb-preamble",
        aof_rdb_preamble,
        "Whether the base of an append-only file is a snapshot, which loads faster, or commands."
    ),
    flag!(
        "aof-load-truncated",
        aof_load_truncated,
        "Whether an end that a crash has left incomplete is cut off when the append-only file is loaded, or the start stops."
    ),
    flag!(
        "aof-timestamp-enabled",
        aof_timestamps,
        "Whether the append-only file says in annotations when its commands were written."
    ),
    number!(
        "key-load-delay",
        None,
        key_load_delay: i64,
        Kind::Int { min: i32::MIN as i64, max: i32::MAX as i64 },
        "Microseconds to rest after each key or command that is loaded, for tests; if negative, after so many of them."
    ),
    flag!(
        "aof-rewrite-incremental-fsync",
        aof_incremental_fsync,
        "Whether a new base of the append-only file is synced every few megabytes while it is written, so that the disk is \
         never busy with much of it at once."
    ),
    flag!(
        "rdb-save-incremental-fsync",
        rdb_incremental_fsync,
        "The same for snapshots that are saved in the background."
    ),
    flag!("rdbcompression", rdb_compression, "Whether long strings in a snapshot are compressed."),
    flag!("rdbchecksum", rdb_checksum, "Whether a snapshot ends in a checksum, and whether it is verified."),
    number!(
        "rdb-version", None, rdb_version: u64, RDB_VERSIONS,
        "The version of the format that snapshots are written in: 10 is that of Redis 7.0, 11 that of Redis 7.2."
    ),
    flag!(
        "rdb-skip-unsupported",
        rdb_skip_unsupported,
        "Whether streams, values of modules, hashes with expiring fields and libraries of functions are left out when a \
         snapshot is loaded, with their number in the log, or the start stops."
    ),
    flag!(
        "stop-writes-on-bgsave-error",
        stop_writes_on_bgsave_error,
        "Whether writes are refused while there are save points and the last snapshot could not be written."
    ),
    Param {
        name: "session-guard-prefixes",
        alias: None,
        kind: Kind::Text,
        is_mutable: true,
        doc: "Prefixes of keys, with spaces between them, that the session guard watches over (`sess:` for connect-redis); empty \
              for none. After such a key was deleted, a SET, SETEX or PSETEX without a condition that finds it absent is \
              acknowledged and dropped, so that a slow request does not undo a logout. Only for keys that are never used again.",
        get: |config| config.session_guard.show(),
        set: |config, value| config.session_guard.set(value),
    },
    Param {
        name: "session-guard-seconds",
        alias: None,
        kind: Kind::Int { min: 1, max: 86_400 },
        is_mutable: true,
        doc: "For how long the session guard remembers a deletion; in memory, and the last 1024 of each shard.",
        get: |config| config.session_guard.seconds.load(Relaxed).to_string(),
        set: |config, value| config.session_guard.seconds.store(value.parse().unwrap_or(60), Relaxed),
    },
];

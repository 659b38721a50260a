//! The engine's parameters: the values that commands read while they run, and the table that names them.

pub mod params;

use crate::keyspace::GuardConfig;
use crate::persist::aof::Fsync;
use crate::types::{hash, set, zset};
use parking_lot::RwLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};

pub use crate::client::ClientMemory;
pub use crate::keyspace::eviction::EvictionConfig;

/// Parameters that commands read while they run.
pub struct Config {
    /// `databases`; fixed at start.
    pub databases: usize,
    /// `requirepass`, empty for none.
    pub password: RwLock<Vec<u8>>,
    /// `maxmemory` in bytes, 0 for no limit.
    pub maxmemory: AtomicU64,
    /// `maxmemory-policy` and what belongs to it.
    pub eviction: EvictionConfig,
    /// `hash-max-listpack-entries`
    pub hash_max_listpack_entries: AtomicUsize,
    /// `hash-max-listpack-value`
    pub hash_max_listpack_value: AtomicUsize,
    /// `set-max-intset-entries`
    pub set_max_intset_entries: AtomicUsize,
    /// `zset-max-listpack-entries`
    pub zset_max_listpack_entries: AtomicUsize,
    /// `zset-max-listpack-value`
    pub zset_max_listpack_value: AtomicUsize,
    /// `list-max-listpack-size`
    pub list_max_listpack_size: AtomicI64,
    /// `proto-max-bulk-len`
    pub proto_max_bulk_len: AtomicUsize,
    /// `slowlog-log-slower-than` in microseconds; negative: never.
    pub slowlog_slower_than_us: AtomicI64,
    /// `slowlog-max-len`
    pub slowlog_max_len: AtomicUsize,
    /// `rdbcompression`
    pub rdb_compression: AtomicBool,
    /// `rdb-save-incremental-fsync`
    pub rdb_incremental_fsync: AtomicBool,
    /// `aof-rewrite-incremental-fsync`
    pub aof_incremental_fsync: AtomicBool,
    /// `rdbchecksum`
    pub rdb_checksum: AtomicBool,
    /// `rdb-skip-unsupported`
    pub rdb_skip_unsupported: AtomicBool,
    /// `stop-writes-on-bgsave-error`
    pub stop_writes_on_bgsave_error: AtomicBool,
    /// `rdb-version`
    pub rdb_version: AtomicU64,
    /// `appendfsync`, as the number of an [`Fsync`].
    append_fsync: AtomicU8,
    /// `no-appendfsync-on-rewrite`
    pub no_fsync_on_rewrite: AtomicBool,
    /// `auto-aof-rewrite-percentage`
    pub aof_rewrite_percentage: AtomicU64,
    /// `auto-aof-rewrite-min-size`
    pub aof_rewrite_min_size: AtomicU64,
    /// `aof-use-rdb-preamble`
    pub aof_rdb_preamble: AtomicBool,
    /// `aof-load-truncated`
    pub aof_load_truncated: AtomicBool,
    /// `aof-timestamp-enabled`
    pub aof_timestamps: AtomicBool,
    /// `key-load-delay`: microseconds; negative: one microsecond after so many keys.
    pub key_load_delay: AtomicI64,
    /// `maxmemory-clients`
    pub client_memory: ClientMemory,
    /// `active-expire-effort`, from 1 to 10.
    pub active_expire_effort: AtomicU64,
    /// `lazyfree-lazy-eviction`
    pub lazy_eviction: AtomicBool,
    /// `lazyfree-lazy-expire`
    pub lazy_expire: AtomicBool,
    /// `lazyfree-lazy-server-del`
    pub lazy_server_del: AtomicBool,
    /// `lazyfree-lazy-user-del`
    pub lazy_user_del: AtomicBool,
    /// `lazyfree-lazy-user-flush`
    pub lazy_user_flush: AtomicBool,
    /// `session-guard-prefixes` and `session-guard-seconds`
    pub session_guard: GuardConfig,
    /// `active-expire` (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: AtomicBool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            databases: 16,
            password: RwLock::default(),
            maxmemory: AtomicU64::new(0),
            eviction: EvictionConfig::default(),
            hash_max_listpack_entries: AtomicUsize::new(512),
            hash_max_listpack_value: AtomicUsize::new(64),
            set_max_intset_entries: AtomicUsize::new(512),
            zset_max_listpack_entries: AtomicUsize::new(128),
            zset_max_listpack_value: AtomicUsize::new(64),
            list_max_listpack_size: AtomicI64::new(-2),
            proto_max_bulk_len: AtomicUsize::new(512 * 1024 * 1024),
            slowlog_slower_than_us: AtomicI64::new(10_000),
            slowlog_max_len: AtomicUsize::new(128),
            rdb_compression: AtomicBool::new(true),
            rdb_skip_unsupported: AtomicBool::new(false),
            stop_writes_on_bgsave_error: AtomicBool::new(true),
            rdb_version: AtomicU64::new(u64::from(crate::persist::snapshot::VERSION_WRITTEN)),
            rdb_incremental_fsync: AtomicBool::new(true),
            aof_incremental_fsync: AtomicBool::new(true),
            rdb_checksum: AtomicBool::new(true),
            append_fsync: AtomicU8::new(Fsync::EverySecond as u8),
            no_fsync_on_rewrite: AtomicBool::new(false),
            aof_rewrite_percentage: AtomicU64::new(100),
            aof_rewrite_min_size: AtomicU64::new(64 * 1024 * 1024),
            aof_rdb_preamble: AtomicBool::new(true),
            aof_load_truncated: AtomicBool::new(true),
            aof_timestamps: AtomicBool::new(false),
            key_load_delay: AtomicI64::new(0),
            client_memory: ClientMemory::default(),
            active_expire_effort: AtomicU64::new(1),
            lazy_eviction: AtomicBool::new(true),
            lazy_expire: AtomicBool::new(true),
            lazy_server_del: AtomicBool::new(true),
            lazy_user_del: AtomicBool::new(true),
            lazy_user_flush: AtomicBool::new(true),
            session_guard: GuardConfig::default(),
            active_expire: AtomicBool::new(true),
        }
    }
}

impl Config {
    /// Up to where a hash is packed.
    pub fn hash_limits(&self) -> hash::Limits {
        hash::Limits {
            entries: self.hash_max_listpack_entries.load(Ordering::Relaxed),
            value: self.hash_max_listpack_value.load(Ordering::Relaxed),
        }
    }

    /// Up to where a set of integers is packed.
    pub fn set_limits(&self) -> set::Limits {
        set::Limits { intset_entries: self.set_max_intset_entries.load(Ordering::Relaxed) }
    }

    /// Up to where a sorted set is packed.
    pub fn zset_limits(&self) -> zset::Limits {
        zset::Limits {
            entries: self.zset_max_listpack_entries.load(Ordering::Relaxed),
            value: self.zset_max_listpack_value.load(Ordering::Relaxed),
        }
    }

    /// `appendfsync`
    #[inline]
    pub fn fsync(&self) -> Fsync {
        Fsync::numbered(self.append_fsync.load(Ordering::Relaxed))
    }

    /// Sets `appendfsync`.
    pub fn set_fsync(&self, fsync: Fsync) {
        self.append_fsync.store(fsync as u8, Ordering::Relaxed);
    }

    /// How much a node of a list holds; see `list-max-listpack-size`.
    pub fn list_fill(&self) -> i64 {
        self.list_max_listpack_size.load(Ordering::Relaxed)
    }

    /// The longest string, in bytes.
    #[inline]
    pub fn max_string(&self) -> usize {
        self.proto_max_bulk_len.load(Ordering::Relaxed)
    }
}

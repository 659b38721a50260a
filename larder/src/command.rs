//! What the declaration of a command may say.
//!
//! A declaration stands directly above its handler in `commands/<family>.rs` and is the only place that knows its
//! facts. From it follow arity, flags, ACL categories, key extraction, COMMAND INFO, DOCS and GETKEYS, the plan of
//! shards to lock, the grammar of the differential tests, and `docs/commands.md`.

use crate::args::Args;
use crate::engine::ServerCtx;
use crate::fault::Outcome;
use crate::keyspace::{ReadCtx, WriteCtx};
use larder_resp::ReplyWriter;

/// A command or subcommand.
#[derive(Debug)]
pub struct Command {
    /// In capitals; a subcommand's own word only (`LIST` of `CLIENT LIST`).
    pub name: &'static str,
    /// Its arguments, in the notation of [`crate::usage`].
    pub usage: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// Where its keys are.
    pub keys: &'static [Keys],
    /// How its work grows.
    pub cost: Cost,
    /// What it does to memory.
    pub memory: Memory,
    /// The version of Redis that has had it first; our own are marked `larder`.
    pub since: &'static str,
    /// `COMMAND -> reply`, several lines if need be; executed as a test. Empty for commands that cannot show
    /// anything repeatable.
    pub example: &'static str,
    /// Its handler.
    pub run: Run,
    /// The family it belongs to.
    pub group: Group,
    /// What else is special about it.
    pub traits: &'static [Trait],
    /// ACL categories beyond those that follow from the rest.
    pub categories: &'static [&'static str],
    /// What COMMAND INFO tells cluster clients.
    pub tips: &'static [&'static str],
    /// Its subcommands, if it is a container.
    pub subcommands: &'static [Command],
    /// How many elements it will touch, if that can be many: above a limit a worker thread runs it.
    pub work: Option<fn(&ReadCtx<'_>, Args<'_>) -> u64>,
    /// The arity, where it cannot be told from the usage (0: it can).
    pub arity: i64,
}

/// The handler of a command, by what it may do.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// Reads keys.
    Read(fn(&ReadCtx<'_>, Args<'_>, &mut ReplyWriter<'_>) -> Outcome),
    /// Writes keys.
    Write(fn(&mut WriteCtx<'_, '_>, Args<'_>, &mut ReplyWriter<'_>) -> Outcome),
    /// Computes a value from keys and stores it under the first of its keys: the two halves may run apart, the first
    /// of them without locks.
    Store(Store),
    /// Reads or writes all keys there are, behind the gate. `true`: writes.
    Gate(fn(&mut WriteCtx<'_, '_>, Args<'_>, &mut ReplyWriter<'_>) -> Outcome, bool),
    /// Works on the connection or the server and locks for itself what it needs.
    Server(fn(&mut ServerCtx<'_, '_>, Args<'_>, &mut ReplyWriter<'_>) -> Outcome),
    /// Has subcommands only.
    Container,
}

/// The two halves of a command that stores what it computes.
#[derive(Debug, Clone, Copy)]
pub struct Store {
    /// Computes the value; reads its sources only.
    pub compute: fn(&ReadCtx<'_>, Args<'_>) -> Result<Computed, crate::fault::Fault>,
    /// Stores it and replies.
    pub install: fn(&mut WriteCtx<'_, '_>, Args<'_>, Computed, &mut ReplyWriter<'_>) -> Outcome,
}

/// What the first half of a [`Store`] hands to the second: a value ready to be stored, or nothing.
pub type Computed = Option<crate::types::Body>;

/// Where keys stand among the arguments, the command's name being argument 0.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// How to find them.
    pub find: Find,
    /// What is done to them.
    pub access: Access,
    /// More about it, in COMMAND INFO's words: any of `ACCESS UPDATE INSERT DELETE`.
    pub effect: &'static [&'static str],
    /// A note in COMMAND INFO, if any.
    pub notes: &'static str,
    /// Whether other arguments may turn out to be keys (`INCOMPLETE`), or the flags vary (`VARIABLE_FLAGS`).
    pub marks: &'static [&'static str],
}

/// How keys are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// From `first` to `last` (negative: from the end, -1 is the last argument), every `step`.
    Range {
        /// First argument.
        first: usize,
        /// Last argument.
        last: i64,
        /// From key to key.
        step: usize,
    },
    /// As many as the argument at `at` says, from `first` on.
    Count {
        /// Where the number stands.
        at: usize,
        /// First key.
        first: usize,
    },
}

/// What a command does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    ReadOnly,
    /// Reads and changes it.
    ReadWrite,
    /// Replaces it whatever it was.
    Overwrite,
    /// Removes it.
    Remove,
}

impl Keys {
    /// One key, at argument `at`, of a reading command.
    pub const fn at(at: usize) -> Keys {
        Keys::range(at, at as i64, 1)
    }

    /// Keys from `first` to `last`, every `step`.
    pub const fn range(first: usize, last: i64, step: usize) -> Keys {
        Keys {
            find: Find::Range { first, last, step },
            access: Access::ReadOnly,
            effect: &["ACCESS"],
            notes: "",
            marks: &[],
        }
    }

    /// As many keys as the argument at `at` says, right behind it.
    pub const fn count(at: usize) -> Keys {
        Keys {
            find: Find::Count { at, first: at + 1 },
            access: Access::ReadOnly,
            effect: &["ACCESS"],
            notes: "",
            marks: &[],
        }
    }

    /// Says what is done to them: `access` and the words of COMMAND INFO.
    pub const fn does(mut self, access: Access, effect: &'static [&'static str]) -> Keys {
        self.access = access;
        self.effect = effect;
        self
    }

    /// Adds the note of COMMAND INFO.
    pub const fn noting(mut self, notes: &'static str) -> Keys {
        self.notes = notes;
        self
    }

    /// Adds marks.
    pub const fn marked(mut self, marks: &'static [&'static str]) -> Keys {
        self.marks = marks;
        self
    }
}

/// How the work of a command grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Constant or logarithmic: flag `fast`.
    Fast(&'static str),
    /// Anything else.
    Slow(&'static str),
}

/// What a command does to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Nothing that matters.
    Same,
    /// May need more: refused when memory is short (flag `denyoom`).
    Grows,
}

/// Families, as COMMAND DOCS and the documentation name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Commands on keys of any type.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Publish and subscribe.
    PubSub,
    /// MULTI and friends.
    Transactions,
    /// Leases, epochs and the change feed of caches.
    Cache,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
}

/// What is special about a command, beyond what follows from its other facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trait {
    /// For operators (flag `admin`, ACL @admin @dangerous).
    Admin,
    /// Concerns publish and subscribe (flag `pubsub`).
    PubSub,
    /// Not for scripts (flag `noscript`).
    NoScript,
    /// Allowed while loading (flag `loading`).
    Loading,
    /// Allowed on a replica that lost its primary (flag `stale`).
    Stale,
    /// Not shown to MONITOR (flag `skip_monitor`).
    SkipMonitor,
    /// Not in the slow log (flag `skip_slowlog`).
    SkipSlowlog,
    /// Allowed before AUTH (flag `no_auth`).
    NoAuth,
    /// Not allowed in MULTI (flag `no_multi`).
    NoMulti,
    /// May be answered while a script blocks the server (flag `allow_busy`).
    AllowBusy,
    /// May propagate although it is no write (flag `may_replicate`).
    MayReplicate,
    /// Changes how a command behaves in a transaction: it runs at once instead of being queued.
    RunsInMulti,
    /// Keys are found by a procedure (flag `movablekeys`).
    MovableKeys,
    /// Does not wait for asynchronous loading (flag `no_async_loading`).
    NoAsyncLoading,
    /// Looks at keys it does not name, shard by shard: in a transaction it needs all shards.
    WalksKeys,
    /// Adds up facts of all shards without being a read of keys: in a transaction it needs all shards.
    WalksShards,
    /// Holds the gate by itself, for nearly all of its time.
    HoldsGate,
    /// Its keys are optional (flag `no_mandatory_keys`).
    NoMandatoryKeys,
}

impl Command {
    /// What declarations start from (`..Command::BASE`).
    pub const BASE: Command = Command {
        name: "",
        usage: "",
        summary: "",
        keys: &[],
        cost: Cost::Slow("O(1)"),
        memory: Memory::Same,
        since: "1.0.0",
        example: "",
        run: Run::Container,
        group: Group::Generic,
        traits: &[],
        categories: &[],
        tips: &[],
        subcommands: &[],
        work: None,
        arity: 0,
    };

    /// Start of a string command's declaration.
    pub const STRING: Command =
        Command { group: Group::String, cost: Cost::Fast("O(1)"), categories: &["@string"], ..Command::BASE };
    /// Start of a list command's declaration.
    pub const LIST: Command = Command { group: Group::List, categories: &["@list"], ..Command::BASE };
    /// Start of a hash command's declaration.
    pub const HASH: Command = Command { group: Group::Hash, categories: &["@hash"], ..Command::BASE };
    /// Start of a set command's declaration.
    pub const SET: Command = Command { group: Group::Set, categories: &["@set"], ..Command::BASE };
    /// Start of a sorted set command's declaration.
    pub const ZSET: Command =
        Command { group: Group::SortedSet, categories: &["@sortedset"], ..Command::BASE };
    /// Start of a generic command's declaration.
    pub const KEYS: Command = Command { group: Group::Generic, categories: &["@keyspace"], ..Command::BASE };
    /// Start of a connection command's declaration.
    pub const CONNECTION: Command = Command {
        group: Group::Connection,
        categories: &["@connection"],
        traits: &[Trait::NoScript, Trait::Loading, Trait::Stale],
        ..Command::BASE
    };
    /// Start of a server command's declaration.
    pub const SERVER: Command = Command { group: Group::Server, ..Command::BASE };

    /// Whether `wanted` is among its traits.
    pub fn is(&self, wanted: Trait) -> bool {
        self.traits.contains(&wanted)
    }

    /// Whether it writes keys.
    pub fn is_write(&self) -> bool {
        matches!(self.run, Run::Write(_) | Run::Store(_) | Run::Gate(_, true))
    }

    /// Whether it reads keys and changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(self.run, Run::Read(_) | Run::Gate(_, false))
            || matches!(self.run, Run::Server(_)) && self.is(Trait::WalksKeys)
    }
}

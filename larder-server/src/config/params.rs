//! The server's own parameters: one row each.
//!
//! A row is all there is to know of a parameter. The configuration file, the command line, CONFIG GET and SET are views
//! of this table, of `kept.rs`, and of the engine's table in `larder::config::params`; a name stands in one of the three.

use super::lists;
use larder::config::params::{Kind as Plain, parse_memory};

/// A parameter of the server.
pub(crate) struct Param {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its former name, still understood.
    pub(crate) alias: Option<&'static str>,
    /// The values it takes.
    pub(crate) kind: Kind,
    /// Its value if nothing is said, as CONFIG GET shows it.
    pub(crate) default: &'static str,
    /// Whether CONFIG SET may change it.
    pub(crate) is_mutable: bool,
    /// What it does for us.
    pub(crate) role: Role,
    /// What it means, in a sentence.
    pub(crate) doc: &'static str,
}

/// What a parameter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What its sentence says.
    Works,
    /// Nothing yet: the value is kept for CONFIG GET, and a value other than the default is named in a warning.
    Kept,
    /// Nothing yet, and to run without it could harm: a value other than the default stops the start.
    Refused,
}

/// What values a parameter takes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// One word of a kind that the engine knows too.
    One(Plain),
    /// File permissions in octal, 0 for none.
    Octal,
    /// Several words.
    Words {
        /// Checks the words and makes the new value from the present one and them.
        merge: fn(&str, &[&str]) -> Result<String, String>,
        /// Whether further lines of a file add to the value instead of replacing it.
        accumulates: bool,
    },
}

impl Kind {
    /// The value to store for these words, as CONFIG GET shows it.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn value(self, present: &str, words: &[&str]) -> Result<String, String> {
        if words.is_empty() {
            return Err("wrong number of arguments".into());
        }
        if let Kind::Words { merge, .. } = self {
            let words: Vec<&str> = words.iter().flat_map(|word| word.split_ascii_whitespace()).collect();
            return merge(present, &words);
        }
        let [word] = words else { return Err("wrong number of arguments".into()) };
        match self {
            Kind::One(plain) => {
                plain.check(word)?;
                Ok(match plain {
                    Plain::Bool | Plain::Word(_) => word.to_ascii_lowercase(),
                    Plain::Memory { .. } => parse_memory(word).unwrap_or_default().to_string(),
                    Plain::Int { .. } | Plain::MemoryOrShare { .. } | Plain::Text => (*word).to_owned(),
                })
            }
            _ => match u32::from_str_radix(word, 8) {
                Ok(mode @ 0..=0o777) => Ok(format!("{mode:o}")),
                _ => Err("argument must be an octal number up to 777".into()),
            },
        }
    }
}

/// `yes` or `no`.
pub(super) const FLAG: Kind = Kind::One(Plain::Bool);
/// Any one word.
pub(super) const TEXT: Kind = Kind::One(Plain::Text);
/// Bytes, with units.
pub(super) const BYTES: Kind = Kind::One(Plain::Memory { min: 0, max: i64::MAX as u64 });

/// A number within bounds.
pub(super) const fn int(min: i64, max: i64) -> Kind {
    Kind::One(Plain::Int { min, max })
}

/// One of some words.
pub(super) const fn word(words: &'static [&'static str]) -> Kind {
    Kind::One(Plain::Word(words))
}

/// What most rows have in common: text that is fixed at start.
const ROW: Param =
    Param { name: "", alias: None, kind: TEXT, default: "", is_mutable: false, role: Role::Works, doc: "" };

/// The table.
pub(crate) const PARAMS: &[Param] = &[
    Param {
        name: "bind",
        kind: Kind::Words { merge: lists::bind, accumulates: false },
        default: "127.0.0.1 -::1",
        doc: "The addresses to listen at; with a - in front, an address that this machine does not have is passed over.",
        ..ROW
    },
    Param {
        name: "port",
        kind: int(0, 65535),
        default: "6379",
        doc: "The TCP port for connections without TLS; 0 for none.",
        ..ROW
    },
    Param {
        name: "tls-port",
        kind: int(0, 65535),
        default: "0",
        doc: "The TCP port for connections with TLS; 0 for none.",
        ..ROW
    },
    Param { name: "tls-cert-file", doc: "Our certificate chain, PEM.", ..ROW },
    Param { name: "tls-key-file", doc: "The private key of our certificate, PEM, not encrypted.", ..ROW },
    Param {
        name: "tls-key-file-pass",
        role: Role::Refused,
        doc: "Encrypted private keys cannot be read: decrypt the key, and protect the file.",
        ..ROW
    },
    Param { name: "tls-ca-cert-file", doc: "Certificates that those of clients must come from, PEM.", ..ROW },
    Param { name: "tls-ca-cert-dir", doc: "A directory of such certificates.", ..ROW },
    Param {
        name: "tls-auth-clients",
        kind: word(&["no", "yes", "optional"]),
        default: "yes",
        doc: "Whether clients must show a certificate, may, or need not.",
        ..ROW
    },
    Param {
        name: "tls-protocols",
        doc: "The versions of TLS to accept, TLSv1.2 and TLSv1.3; empty for both.",
        ..ROW
    },
    Param { name: "unixsocket", doc: "The path of a Unix socket to listen on; empty for none.", ..ROW },
    Param {
        name: "unixsocketperm",
        kind: Kind::Octal,
        default: "0",
        doc: "The permissions of the Unix socket, octal; 0 for those the system gives.",
        ..ROW
    },
    Param {
        name: "tcp-backlog",
        kind: int(0, i32::MAX as i64),
        default: "511",
        doc: "How many connections may wait to be accepted.",
        ..ROW
    },
    Param {
        name: "tcp-keepalive",
        kind: int(0, i32::MAX as i64),
        default: "300",
        is_mutable: true,
        doc: "Seconds of silence after which the system asks whether a TCP peer is still there; 0 for never.",
        ..ROW
    },
    Param {
        name: "timeout",
        kind: int(0, i32::MAX as i64),
        default: "0",
        is_mutable: true,
        doc: "Seconds after which an idle connection is closed; 0 for never.",
        ..ROW
    },
    Param {
        name: "protected-mode",
        kind: FLAG,
        default: "yes",
        is_mutable: true,
        doc: "Whether, as long as no password is set, only connections from this machine are accepted.",
        ..ROW
    },
    Param {
        name: "maxclients",
        kind: int(1, u32::MAX as i64),
        default: "10000",
        is_mutable: true,
        doc: "How many connections there may be at once.",
        ..ROW
    },
    Param {
        name: "client-output-buffer-limit",
        kind: Kind::Words { merge: lists::output_limits, accumulates: false },
        default: "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        is_mutable: true,
        doc: "For a class of connections, the bytes of unsent output above which one is closed at once, and those above \
              which it is closed if that lasts for so many seconds.",
        ..ROW
    },
    Param {
        name: "client-query-buffer-limit",
        kind: Kind::One(Plain::Memory { min: 1024 * 1024, max: i64::MAX as u64 }),
        default: "1073741824",
        is_mutable: true,
        doc: "Bytes of received and unexecuted input above which a connection is closed.",
        ..ROW
    },
    Param {
        name: "io-threads",
        kind: int(0, 128),
        default: "0",
        doc: "How many threads serve connections; 0 for as many as there are processors for this process.",
        ..ROW
    },
    Param {
        name: "loglevel",
        kind: word(crate::observe::log::Level::NAMES),
        default: "notice",
        is_mutable: true,
        doc: "How much a line must matter to be logged.",
        ..ROW
    },
    Param { name: "logfile", doc: "The file to log to; empty for standard output.", ..ROW },
    Param {
        name: "pidfile",
        doc: "A file to write the number of the process to; empty for none, or /var/run/redis.pid if daemonized.",
        ..ROW
    },
    Param {
        name: "daemonize",
        kind: FLAG,
        default: "no",
        doc: "Whether to go to the background: the server is started again in a session of its own, without a terminal.",
        ..ROW
    },
    Param {
        name: "supervised",
        kind: word(&["upstart", "systemd", "auto", "no"]),
        default: "no",
        doc: "Whether to tell systemd when we are ready; auto does so if systemd asks for it, upstart is not known.",
        ..ROW
    },
    Param { name: "dir", default: ".", doc: "The directory to work in, where the snapshot lies.", ..ROW },
    Param {
        name: "dbfilename",
        kind: Kind::Words { merge: lists::file_name, accumulates: false },
        default: "dump.rdb",
        doc: "The name of the snapshot.",
        ..ROW
    },
    Param {
        name: "save",
        kind: Kind::Words { merge: lists::save_points, accumulates: true },
        default: "3600 1 300 100 60 10000",
        is_mutable: true,
        doc: "Pairs of seconds and changes: a snapshot is written in the background when so many changes have been made and \
              so many seconds have passed since the last one. With any pair, also at shutdown.",
        ..ROW
    },
    Param {
        name: "appendonly",
        kind: FLAG,
        default: "no",
        is_mutable: true,
        doc: "Whether every write is appended to a file, from which the data is made again at the next start.",
        ..ROW
    },
    Param {
        name: "appenddirname",
        kind: Kind::Words { merge: lists::append_dir_name, accumulates: false },
        default: "appendonlydir",
        doc: "The directory of the append-only file, in dir.",
        ..ROW
    },
    Param {
        name: "appendfilename",
        kind: Kind::Words { merge: lists::append_file_name, accumulates: false },
        default: "appendonly.aof",
        doc: "What the names of the files in it begin with.",
        ..ROW
    },
    Param {
        name: "shutdown-on-sigterm",
        kind: Kind::Words { merge: lists::shutdown_flags, accumulates: false },
        default: "default",
        is_mutable: true,
        doc: "How SIGTERM stops the server: default, or save, nosave, now, force.",
        ..ROW
    },
    Param {
        name: "shutdown-on-sigint",
        kind: Kind::Words { merge: lists::shutdown_flags, accumulates: false },
        default: "default",
        is_mutable: true,
        doc: "How SIGINT stops the server: default, or save, nosave, now, force.",
        ..ROW
    },
    Param {
        name: "enable-debug-command",
        kind: word(&["no", "yes", "local"]),
        default: "no",
        doc: "Whether DEBUG may be used, by everybody or by clients of this machine.",
        ..ROW
    },
    refused(
        "aclfile",
        TEXT,
        "",
        "Users and their rights are not there yet: anybody with the password may do anything.",
    ),
    refused("user", super::lists::ANY, "", "Users and their rights are not there yet."),
    refused("rename-command", super::lists::ANY, "", "Commands keep their names, so none would be hidden."),
    refused(
        "loadmodule",
        super::lists::ANY,
        "",
        "Modules are not there, so their commands would be missing.",
    ),
    Param {
        alias: Some("slaveof"),
        ..refused(
            "replicaof",
            super::lists::ANY,
            "",
            "Replication is not there yet, so the data would not be the primary's.",
        )
    },
    refused(
        "cluster-enabled",
        FLAG,
        "no",
        "Cluster mode is not there yet, so this would be a store of its own.",
    ),
];

const fn refused(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Param {
    Param { name, kind, default, role: Role::Refused, doc, ..ROW }
}

/// Parameters whose values are not to be shown.
pub(crate) const SECRETS: &[&str] =
    &["requirepass", "masterauth", "user", "tls-key-file-pass", "tls-client-key-file-pass"];

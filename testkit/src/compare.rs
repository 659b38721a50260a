//! The differential runner: the same commands to a real redis-server and to ours, and no difference may show.
//!
//! Commands come in *batches*. A batch starts on new connections and empty servers, sends its commands in pipelines,
//! compares every reply byte for byte, and at its end compares all that the servers then hold: every key's type,
//! encoding, content, and whether it will expire. Bytes are the rule; what Redis itself leaves open is listed in
//! [`Policy`], each with what is compared instead. A batch that shows a difference is run again and then cut down:
//! commands are dropped as long as some difference remains, and the shortest script is what the failed test prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use larder_resp::Frame;

use crate::client::{Client, ClientError, Reply, show_bytes, show_command, split_line};
use crate::grammar::{Grammar, Words};
use crate::policy::{self, Policy};
use crate::rng::Rng;
use crate::server::Server;

/// How many commands are sent before their replies are read.
const PIPELINE: usize = 50;
/// How long a difference may be cut down.
const MINIMISE_LIMIT: Duration = Duration::from_secs(30);
/// The databases that the commands of [`Grammar`] can reach.
const DATABASES: &[&str] = &["0", "1", "9", "15"];

/// Tells of a difference that is meant: command, the oracle's reply, ours.
pub type Meant = fn(&Words, &Frame, &Frame) -> bool;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Where commands come from.
    pub grammar: &'a Grammar,
    /// The seed of the first batch; later ones count up from it.
    pub seed: u64,
    /// How many commands altogether, for each protocol.
    pub commands: usize,
    /// How many commands a batch has.
    pub batch: usize,
    /// RESP versions to speak.
    pub protocols: &'a [u8],
    /// Differences that are meant; each belongs into `docs/differences.md`.
    pub meant: Option<Meant>,
}

impl<'a> Plan<'a> {
    /// A plan for both protocols, in batches of 400. `LARDER_SEED` in the environment replaces the seed, and
    /// `LARDER_COMMANDS` the number of commands, for a long run of the same test.
    #[must_use]
    pub fn new(grammar: &'a Grammar, seed: u64, commands: usize) -> Plan<'a> {
        let from_env = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let commands = from_env("LARDER_COMMANDS").and_then(|n| usize::try_from(n).ok()).unwrap_or(commands);
        let seed = from_env("LARDER_SEED").unwrap_or(seed);
        Plan { grammar, seed, commands, batch: 400, protocols: &[2, 3], meant: None }
    }
}

/// What a run without differences has to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Commands whose replies were compared.
    pub commands: usize,
    /// Batches after which the contents were compared.
    pub batches: usize,
    /// Of the oracle's replies, how many were errors: a generator whose commands mostly fail tests little.
    pub errors: usize,
    /// Batches that showed a difference once and never again; the first one is kept as a text on standard error.
    pub unsteady: usize,
}

/// Where two servers disagree.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// The index of the command in its batch, or the batch's length when the contents differ at its end.
    pub at: usize,
    /// What was asked.
    pub asked: String,
    /// The oracle's answer.
    pub oracle: String,
    /// Our answer.
    pub ours: String,
}

/// A mismatch with the shortest script found that leads to it.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Seed of the batch.
    pub seed: u64,
    /// RESP version.
    pub protocol: u8,
    /// The commands.
    pub script: Vec<Words>,
    /// What the script shows.
    pub mismatch: Mismatch,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "a difference (seed {}, RESP{}), after this script on empty servers:",
            self.seed, self.protocol
        )?;
        for words in &self.script {
            writeln!(f, "    {}", show_command(words))?;
        }
        writeln!(f, "  asked: {}", self.mismatch.asked)?;
        writeln!(f, " oracle: {}", self.mismatch.oracle)?;
        write!(f, "   ours: {}", self.mismatch.ours)
    }
}

impl std::error::Error for Difference {}

/// Runs a plan.
///
/// # Errors
/// The first difference that shows again when its batch is repeated, cut down.
pub fn compare(oracle: &Server, ours: &Server, plan: &Plan<'_>) -> Result<Report, Box<Difference>> {
    let mut report = Report::default();
    for &protocol in plan.protocols {
        let mut pair =
            Pair { oracle: oracle.addr(), ours: ours.addr(), protocol, meant: plan.meant, errors: 0 };
        for number in 0..plan.commands.div_ceil(plan.batch) {
            let seed = plan.seed.wrapping_add(number as u64);
            let mut rng = Rng::new(seed);
            let commands: Vec<Words> = (0..plan.batch).map(|_| plan.grammar.command(&mut rng)).collect();
            if let Err(first) = pair.run(&commands) {
                // A clock that ticked between two answers is no difference: it must show again.
                match (0..3).find_map(|_| pair.run(&commands).err()) {
                    Some(mismatch) => {
                        let (script, mismatch) = pair.minimise(commands, mismatch);
                        return Err(Box::new(Difference { seed, protocol, script, mismatch }));
                    }
                    None => {
                        eprintln!("seen once (seed {seed}, RESP{protocol}): {first:?}");
                        report.unsteady += 1;
                    }
                }
            }
            report.commands += commands.len();
            report.batches += 1;
        }
        report.errors += pair.errors;
    }
    Ok(report)
}

/// Runs a script, one command per line as in a terminal, against both servers in RESP2 and in RESP3. Empty lines and
/// lines that begin with `#` are skipped.
///
/// # Errors
/// The first difference.
pub fn compare_script(oracle: &Server, ours: &Server, script: &str) -> Result<(), Box<Difference>> {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let commands: Vec<Words> = lines.map(split_line).collect();
    for protocol in [2, 3] {
        let mut pair = Pair { oracle: oracle.addr(), ours: ours.addr(), protocol, meant: None, errors: 0 };
        if let Err(mismatch) = pair.run(&commands) {
            return Err(Box::new(Difference { seed: 0, protocol, script: commands, mismatch }));
        }
    }
    Ok(())
}

/// Two servers under comparison.
struct Pair {
    oracle: SocketAddr,
    ours: SocketAddr,
    protocol: u8,
    meant: Option<Meant>,
    /// Error replies of the oracle.
    errors: usize,
}

/// One connection to each.
pub(crate) struct Both {
    pub(crate) oracle: Client,
    pub(crate) ours: Client,
}

/// Where the run stands when something goes wrong.
pub(crate) fn mismatch(at: usize, asked: String, oracle: String, ours: String) -> Mismatch {
    Mismatch { at, asked, oracle, ours }
}

impl Pair {
    fn connect(&self) -> Result<Both, Mismatch> {
        let open = |addr: SocketAddr| -> Result<Client, ClientError> {
            let mut client = Client::try_connect(addr).map_err(ClientError::Io)?;
            client.try_cmd(&["HELLO", &self.protocol.to_string()])?;
            client.try_cmd(&["FLUSHALL"])?;
            Ok(client)
        };
        let oracle =
            open(self.oracle).map_err(|e| mismatch(0, "connect".into(), e.to_string(), String::new()))?;
        let ours =
            open(self.ours).map_err(|e| mismatch(0, "connect".into(), String::new(), e.to_string()))?;
        Ok(Both { oracle, ours })
    }

    /// One batch from an empty state.
    fn run(&mut self, commands: &[Words]) -> Result<(), Mismatch> {
        let mut both = self.connect()?;
        let mut at = 0;
        while at < commands.len() {
            let plain =
                commands[at..].iter().take_while(|c| Policy::of(c).is_pipelined()).take(PIPELINE).count();
            if plain > 0 {
                self.run_pipeline(&mut both, at, &commands[at..at + plain])?;
            } else {
                policy::run_alone(&mut both, at, &commands[at])?;
            }
            at += plain.max(1);
        }
        compare_contents(&mut both, commands.len())
    }

    fn run_pipeline(&mut self, both: &mut Both, at: usize, commands: &[Words]) -> Result<(), Mismatch> {
        let bytes: Vec<u8> = commands.iter().flat_map(|words| crate::client::encode(words)).collect();
        let sent = both.oracle.try_send_raw(&bytes);
        sent.map_err(|e| mismatch(at, "a pipeline".into(), e.to_string(), String::new()))?;
        let sent = both.ours.try_send_raw(&bytes);
        sent.map_err(|e| mismatch(at, "a pipeline".into(), String::new(), e.to_string()))?;
        for (step, words) in commands.iter().enumerate() {
            let (oracle, ours) = both.read(at + step, words)?;
            self.errors += usize::from(matches!(oracle.frame, Frame::Error(_)));
            if oracle.raw == ours.raw || Policy::of(words).allows(&oracle.frame, &ours.frame) {
                continue;
            }
            if self.meant.is_some_and(|meant| meant(words, &oracle.frame, &ours.frame)) {
                continue;
            }
            let text = show_command(words);
            return Err(mismatch(at + step, text, show_bytes(&oracle.raw), show_bytes(&ours.raw)));
        }
        Ok(())
    }

    /// Drops commands while a difference remains. Halves first, then smaller pieces, then single commands.
    fn minimise(&mut self, mut script: Vec<Words>, mut found: Mismatch) -> (Vec<Words>, Mismatch) {
        let end = Instant::now() + MINIMISE_LIMIT;
        script.truncate(found.at.saturating_add(1));
        let mut piece = script.len().div_ceil(2);
        while piece > 0 && Instant::now() < end {
            let mut start = 0;
            let mut dropped = false;
            while start < script.len() && Instant::now() < end {
                let stop = (start + piece).min(script.len());
                let shorter = [&script[..start], &script[stop..]].concat();
                match self.run(&shorter) {
                    Err(mismatch) => {
                        script = shorter;
                        script.truncate(mismatch.at.saturating_add(1));
                        found = mismatch;
                        dropped = true;
                    }
                    Ok(()) => start = stop,
                }
            }
            // With single commands, go round again as long as that helps.
            if piece > 1 || !dropped {
                piece /= 2;
            }
        }
        (script, found)
    }
}

impl Both {
    /// The replies of both to a command that both have been sent.
    pub(crate) fn read(&mut self, at: usize, words: &Words) -> Result<(Reply, Reply), Mismatch> {
        let oracle = self.oracle.try_read_reply();
        let ours = self.ours.try_read_reply();
        match (oracle, ours) {
            (Ok(oracle), Ok(ours)) => Ok((oracle, ours)),
            (oracle, ours) => {
                let show = |r: Result<Reply, ClientError>| match r {
                    Ok(reply) => show_bytes(&reply.raw),
                    Err(e) => e.to_string(),
                };
                Err(mismatch(at, show_command(words), show(oracle), show(ours)))
            }
        }
    }

    /// Asks both the same.
    pub(crate) fn ask(&mut self, at: usize, words: &Words) -> Result<(Reply, Reply), Mismatch> {
        let bytes = crate::client::encode(words);
        // What cannot be sent shows when the reply is read.
        let _ = self.oracle.try_send_raw(&bytes);
        let _ = self.ours.try_send_raw(&bytes);
        self.read(at, words)
    }
}

/// Everything a server holds, one line for each key.
type Contents = BTreeMap<String, String>;

fn compare_contents(both: &mut Both, at: usize) -> Result<(), Mismatch> {
    let wrap = |e: ClientError, ours: bool| {
        let (oracle, ours) =
            if ours { (String::new(), e.to_string()) } else { (e.to_string(), String::new()) };
        mismatch(at, "the contents".into(), oracle, ours)
    };
    let oracle = contents(&mut both.oracle).map_err(|e| wrap(e, false))?;
    let ours = contents(&mut both.ours).map_err(|e| wrap(e, true))?;
    let keys: BTreeSet<&String> = oracle.keys().chain(ours.keys()).collect();
    for key in keys {
        let (left, right) = (oracle.get(key), ours.get(key));
        if left != right {
            let show = |side: Option<&String>| {
                side.map_or("no such key".to_owned(), |text| show_bytes(text.as_bytes()))
            };
            return Err(mismatch(at, format!("the content of {key}"), show(left), show(right)));
        }
    }
    Ok(())
}

fn contents(client: &mut Client) -> Result<Contents, ClientError> {
    // The batch may have left a transaction open.
    client.try_cmd(&["DISCARD"])?;
    let mut all = Contents::new();
    for db in DATABASES {
        client.try_cmd(&["SELECT", db])?;
        let keys = policy::leaves(&client.try_cmd(&["KEYS", "*"])?);
        for key in keys {
            let line = content_of(client, &key)?;
            all.insert(format!("db{db} {}", show_command(&[&key])), line);
        }
    }
    client.try_cmd(&["SELECT", "0"])?;
    Ok(all)
}

fn content_of(client: &mut Client, key: &[u8]) -> Result<String, ClientError> {
    let kind = policy::leaves(&client.try_cmd(&[b"TYPE", key])?).pop().unwrap_or_default();
    let encoding = client.try_cmd(&[b"OBJECT".as_slice(), b"ENCODING", key])?;
    let expires = !matches!(client.try_cmd(&[b"PTTL", key])?, Frame::Integer(-1));
    let content = match &kind[..] {
        b"string" => client.try_cmd(&[b"GET", key])?,
        b"list" => client.try_cmd(&[b"LRANGE", key, b"0", b"-1"])?,
        b"set" => policy::sorted(&client.try_cmd(&[b"SMEMBERS".as_slice(), key])?, 1),
        b"hash" => policy::sorted(&client.try_cmd(&[b"HGETALL".as_slice(), key])?, 2),
        b"zset" => client.try_cmd(&[b"ZRANGE".as_slice(), key, b"0", b"-1", b"WITHSCORES"])?,
        _ => Frame::Null,
    };
    let parts: Vec<String> = policy::leaves(&content).iter().map(|leaf| show_command(&[leaf])).collect();
    let kind = String::from_utf8_lossy(&kind);
    Ok(format!("{kind} {} expires={expires} {}", show_command(&policy::leaves(&encoding)), parts.join(" ")))
}

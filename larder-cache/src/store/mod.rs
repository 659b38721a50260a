//! What a cache asks of a backend: leases, epochs and a change feed, not get, set and del.
//!
//! On Larder's own engine these are the CACHE commands, elsewhere scripts that do the same; [`Store`] hides which. A
//! namespace is divided into **partitions**, each complete in itself with era, epoch, tags and log. All its keys have one
//! hash tag, so that every step is atomic in a cluster too; what concerns all entries (tags, clearing) is done in
//! each partition. One partition is enough anywhere else.

mod lua;

use crate::policy::Policy;
use futures_util::future::try_join_all;
use larder_client::{Command, Error, Kind, Larder, Pipeline, Result, Script, Subscription, Value};
use lua::Scripts;
use smallvec::SmallVec;
use std::pin::Pin;
use std::time::Duration;

/// Era of a partition and epoch in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Epoch {
    pub(crate) era: [u8; 8],
    pub(crate) seq: u64,
}

/// How an entry was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    Fresh,
    Stale,
}

impl State {
    fn of(number: u8) -> State {
        match number {
            1 => State::Fresh,
            2 => State::Stale,
            _ => State::Absent,
        }
    }
}

/// What a look at an entry brings.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Of the partition, now. `None`: it has no era yet.
    pub(crate) epoch: Option<Epoch>,
    pub(crate) state: State,
    /// How long it may still be served, at all.
    pub(crate) left: Duration,
    /// The entry as it is kept; empty if absent.
    pub(crate) bytes: Vec<u8>,
}

/// What asking for a lease brings.
#[derive(Debug, Clone)]
pub(crate) struct Leased {
    pub(crate) look: Look,
    pub(crate) turn: Turn,
}

/// Whose turn it is to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nobody's: the entry is fresh.
    None,
    /// Ours, under the token given.
    Ours,
    /// Somebody else's, for so long at most.
    Theirs(Duration),
    /// Nobody may store it: an update is under way.
    Guarded,
}

/// A change, as the feed tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) seq: u64,
    pub(crate) node: [u8; 8],
    /// When it was made, in milliseconds since 1970 by the clock of the backend.
    pub(crate) at_ms: u64,
    pub(crate) kind: u8,
    pub(crate) what: Vec<u8>,
}

/// What is kept under the keys of an entry, for explanations.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) left: Duration,
    pub(crate) lease: Option<(Vec<u8>, Duration)>,
    pub(crate) era: Option<[u8; 8]>,
    /// The epoch of the last clearing.
    pub(crate) cleared: u64,
}

/// How many bytes of an entry belong to the backend, and which tags stand there; `None` for what is no entry.
pub(crate) struct Head {
    pub(crate) era: [u8; 8],
    /// The epoch at which its load began.
    pub(crate) seq: u64,
    pub(crate) tags: Vec<Vec<u8>>,
    /// The part of its life, at the end, in which it is stale.
    pub(crate) stale: Duration,
    /// Where the data begins.
    pub(crate) end: usize,
}

impl Head {
    /// Reads what CACHE FILL and CACHE SET put before the data.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Head> {
        let fixed = bytes.first_chunk::<27>()?;
        let word = |at: usize| u64::from_be_bytes(std::array::from_fn(|n| fixed[at + n]));
        let stale = Duration::from_millis(word(17));
        let count = usize::from(u16::from_be_bytes([fixed[25], fixed[26]]));
        let mut tags = Vec::with_capacity(count.min(16));
        let mut end = 27;
        for _ in 0..count {
            let length = bytes.get(end..end + 2)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            tags.push(bytes.get(end + 2..end + 2 + length)?.to_vec());
            end += 2 + length;
        }
        Some(Head { era: std::array::from_fn(|n| fixed[1 + n]), seq: word(9), tags, stale, end })
    }
}

impl Change {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Change> {
        let (seq, rest) = bytes.split_first_chunk::<8>()?;
        let (node, rest) = rest.split_first_chunk::<8>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (kind, what) = rest.split_first()?;
        let (seq, at_ms) = (u64::from_be_bytes(*seq), u64::from_be_bytes(*at));
        Some(Change { seq, node: *node, at_ms, kind: *kind, what: what.to_vec() })
    }
}

/// What has changed since an epoch.
#[derive(Debug)]
pub(crate) struct Since {
    pub(crate) epoch: Option<Epoch>,
    /// `None`: not all of it is kept any more.
    pub(crate) changes: Option<Vec<Change>>,
}

/// What to do to a tag, or to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
    Remove,
    Expire,
    Clear,
}

/// What to do to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drop<'a> {
    Remove,
    Expire,
    /// Remove it, and let nobody store it until the guard of this token ends.
    Begin(&'a [u8; 8], Duration),
    /// Remove it, and end the guard.
    End(&'a [u8; 8]),
}

/// What has become of what an update has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is not stored, and the guard is still there.
    Refused,
    Stored,
    /// Its guard is over, and at the end of the others it is stored, unless one of them brings a higher version.
    Waits,
    /// Its guard is over, and another one that had a higher version is stored.
    Surpassed,
}

/// An entry to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    /// All the time it may be served.
    pub(crate) life: Duration,
    /// The part of it at its end in which it is stale.
    pub(crate) stale: Duration,
    pub(crate) tags: &'a [Vec<u8>],
    pub(crate) data: &'a [u8],
}

/// A change of the log of a queue.
pub(crate) struct Note<'a> {
    pub(crate) lease: &'a [u8],
    pub(crate) fence: &'a [u8],
    pub(crate) log: &'a [u8],
    pub(crate) token: &'a [u8],
    pub(crate) number: u64,
    /// Counts the notes of an owner. One that comes after a later one has no effect.
    pub(crate) step: u64,
    pub(crate) sets: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) deletes: Vec<Vec<u8>>,
}

/// The field of such a log that says which change of it was the last.
pub(crate) const STEP: &[u8] = b"n";

/// A namespace on a backend.
pub(crate) struct Store {
    pub(crate) larder: Larder,
    scripts: Scripts,
    partitions: Vec<Partition>,
    /// Who we are in the feed.
    pub(crate) node: [u8; 8],
    keep: Vec<u8>,
    cover: Option<Cover>,
}

/// The replicas that must have a change before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cover {
    pub(crate) replicas: u32,
    pub(crate) within: Duration,
}

impl Cover {
    /// Sees that there may be replicas, and that a step has the time to wait for them.
    pub(crate) fn check(self, larder: &Larder, policy: &Policy) -> std::result::Result<(), crate::Error> {
        const LONGEST: Duration = Duration::from_secs(1);
        let refuse = |what: &str| Err(crate::Error::Setting(what.to_owned()));
        if larder.engine().is_some() {
            return refuse("the engine in this process has no replicas to wait for");
        }
        if self.within > LONGEST || self.within >= policy.backend_timeout {
            return refuse("replicas are waited for at most a second, and less long than a step may take");
        }
        Ok(())
    }
}

/// What the keys of a partition are called.
struct Partition {
    value: Vec<u8>,
    lease: Vec<u8>,
    meta: Vec<u8>,
    log: Vec<u8>,
    channel: Vec<u8>,
}

/// One step: the subcommand of CACHE, or the script that does the same.
struct Step<'a> {
    name: &'static str,
    script: &'a Script,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

/// A step under way.
type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl Partition {
    fn new(namespace: &str, number: u32) -> Partition {
        let with =
            |word: &str| format!("{{cache:{}:{number}}}:{word}", escape(namespace.as_bytes())).into_bytes();
        Partition {
            value: with("v:"),
            lease: with("w:"),
            meta: with("meta"),
            log: with("log"),
            channel: with("feed"),
        }
    }
}

impl Store {
    /// `keep` is how many changes the feed keeps for those that have missed some.
    pub(crate) fn new(larder: Larder, namespace: &str, partitions: u32, keep: u32) -> Store {
        Store {
            larder,
            scripts: Scripts::new(),
            partitions: (0..partitions.max(1)).map(|number| Partition::new(namespace, number)).collect(),
            node: fastrand::u64(..).to_be_bytes(),
            keep: keep.to_string().into_bytes(),
            cover: None,
        }
    }

    /// The same, whose changes wait for replicas.
    pub(crate) fn covered_by(self, cover: Option<Cover>) -> Store {
        Store { cover, ..self }
    }

    fn partition(&self, key: &[u8]) -> &Partition {
        match self.partitions.as_slice() {
            [only] => only,
            all => &all[usize::from(larder_client::hash_slot(key)) % all.len()],
        }
    }

    /// Keys of the value, of what the namespace keeps about itself, and of the lease.
    fn keys(&self, key: &[u8]) -> Vec<Vec<u8>> {
        let names = self.partition(key);
        vec![[&names.value, key].concat(), names.meta.clone(), [&names.lease, key].concat()]
    }

    /// The name of a key for something else that belongs to the namespace.
    pub(crate) fn side_key(&self, word: &str) -> Vec<u8> {
        let meta = &self.partitions[0].meta;
        [&meta[..meta.len() - "meta".len()], word.as_bytes()].concat()
    }

    async fn is_native(&self) -> Result<bool> {
        Ok(self.larder.server().await?.kind == Kind::Larder)
    }

    /// Runs a step. The future has no type of its own here and in `run_all`: those of sockets are so deep that programs
    /// which put ours into their own would reach the compiler's limit.
    fn run<'a>(&'a self, step: Step<'a>) -> Running<'a, Value> {
        Box::pin(async move {
            if self.is_native().await? {
                return self.larder.execute(native(&step)).await;
            }
            self.larder.run(step.script, &step.keys, &step.arguments).await
        })
    }

    /// Runs steps in one round trip (to each node).
    fn run_all<'a>(&'a self, steps: &'a [Step<'a>]) -> Running<'a, Vec<Value>> {
        Box::pin(self.run_each(steps))
    }

    async fn run_each(&self, steps: &[Step<'_>]) -> Result<Vec<Value>> {
        if self.is_native().await? {
            return self.larder.execute_all(steps.iter().map(native).collect()).await;
        }
        let by_digest: Pipeline =
            steps.iter().map(|step| step.script.by_digest(&step.keys, &step.arguments)).collect();
        let mut replies = self.larder.execute_all(by_digest).await?;
        let is_unknown =
            |reply: &Value| matches!(reply, Value::Failed(error) if error.code() == Some("NOSCRIPT"));
        let unknown: Vec<usize> =
            (0..replies.len()).filter(|index| replies.get(*index).is_some_and(is_unknown)).collect();
        if !unknown.is_empty() {
            let again: Pipeline = unknown
                .iter()
                .map(|index| steps[*index].script.by_text(&steps[*index].keys, &steps[*index].arguments))
                .collect();
            let second = self.larder.execute_all(again).await?;
            unknown.into_iter().zip(second).for_each(|(index, reply)| replies[index] = reply);
        }
        Ok(replies)
    }

    fn get_step(&self, key: &[u8]) -> Step<'_> {
        let names = self.partition(key);
        let keys = vec![[&names.value, key].concat(), names.meta.clone()];
        Step { name: "GET", script: &self.scripts.get, keys, arguments: Vec::new() }
    }

    pub(crate) async fn get(&self, key: &[u8]) -> Result<Look> {
        if let Some(look) = self.get_here(key) {
            return Ok(look);
        }
        Look::parse(&mut self.run(self.get_step(key)).await?.into_list()?.into_iter())
    }

    /// The engine in this process answers without a request and a reply.
    fn get_here(&self, key: &[u8]) -> Option<Look> {
        let engine = self.larder.engine()?;
        let names = self.partition(key);
        let mut value: SmallVec<[u8; 96]> = SmallVec::from_slice(&names.value);
        value.extend_from_slice(key);
        let entry = engine.cache_get(&value, &names.meta)?;
        Some(Look {
            epoch: entry.era.map(|era| Epoch { era, seq: entry.epoch }),
            state: State::of(entry.state),
            left: Duration::from_millis(entry.left_ms),
            bytes: entry.bytes,
        })
    }

    pub(crate) async fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Look>> {
        let steps: Vec<Step<'_>> = keys.iter().map(|key| self.get_step(key)).collect();
        let replies = self.run_all(&steps).await?;
        replies.into_iter().map(|reply| Look::parse(&mut reply.into_list()?.into_iter())).collect()
    }

    fn lease_step(&self, key: &[u8], token: &[u8], time: Duration, even_if_fresh: bool) -> Step<'_> {
        let wanted = if even_if_fresh { b"1" } else { b"0" };
        let arguments = vec![token.to_vec(), millis(time), seed(), wanted.to_vec()];
        Step { name: "LEASE", script: &self.scripts.lease, keys: self.keys(key), arguments }
    }

    /// Looks at an entry and asks for the right to load it.
    pub(crate) async fn lease(
        &self,
        key: &[u8],
        token: &[u8],
        time: Duration,
        even_if_fresh: bool,
    ) -> Result<Leased> {
        Leased::parse(self.run(self.lease_step(key, token, time, even_if_fresh)).await?)
    }

    /// The same for many, each with whether it is wanted even if fresh, under one token.
    pub(crate) async fn lease_many(
        &self,
        keys: &[(&[u8], bool)],
        token: &[u8],
        time: Duration,
    ) -> Result<Vec<Leased>> {
        let step = |(key, even_if_fresh): &(&[u8], bool)| self.lease_step(key, token, time, *even_if_fresh);
        let steps: Vec<Step<'_>> = keys.iter().map(step).collect();
        self.run_all(&steps).await?.into_iter().map(Leased::parse).collect()
    }

    fn fill_step(&self, key: &[u8], token: &[u8], epoch: Epoch, record: &Record<'_>) -> Step<'_> {
        let keys = self.keys(key);
        let mut arguments = vec![token.to_vec(), epoch.era.to_vec(), epoch.seq.to_string().into_bytes()];
        arguments.extend(record.arguments());
        Step { name: "FILL", script: &self.scripts.fill, keys, arguments }
    }

    /// Stores what was loaded under a lease; returns whether it was still up to date.
    pub(crate) async fn fill(
        &self,
        key: &[u8],
        token: &[u8],
        epoch: Epoch,
        record: &Record<'_>,
    ) -> Result<bool> {
        self.run(self.fill_step(key, token, epoch, record)).await?.into_bool()
    }

    /// Stores what was written under a guard.
    pub(crate) async fn settle(
        &self,
        key: &[u8],
        guard: &[u8; 8],
        version: Option<u64>,
        epoch: Epoch,
        record: &Record<'_>,
    ) -> Result<Settled> {
        let mut token = [b"!".as_slice(), guard].concat();
        token.extend(version.iter().flat_map(|version| version.to_be_bytes()));
        let settled = match self.run(self.fill_step(key, &token, epoch, record)).await?.into_integer()? {
            1 => Settled::Stored,
            2 => Settled::Waits,
            3 => Settled::Surpassed,
            _ => Settled::Refused,
        };
        self.cover(self.partition(key), epoch).await?;
        Ok(settled)
    }

    pub(crate) async fn fill_many(
        &self,
        token: &[u8],
        fills: &[(&[u8], Epoch, Record<'_>)],
    ) -> Result<Vec<bool>> {
        let steps: Vec<Step<'_>> =
            fills.iter().map(|(key, epoch, record)| self.fill_step(key, token, *epoch, record)).collect();
        self.run_all(&steps).await?.into_iter().map(Value::into_bool).collect()
    }

    /// Gives leases back without storing anything.
    pub(crate) async fn release(&self, key: &[u8], token: &[u8]) -> Result<()> {
        let lease = [&self.partition(key).lease, key].concat();
        let release: Running<'_, bool> = Box::pin(self.larder.compare_and_delete(lease, token));
        release.await.map(|_| ())
    }

    /// Stores an entry, whatever is loading it; returns whether no update of it was under way, which leaves it absent.
    pub(crate) async fn set(&self, key: &[u8], record: &Record<'_>) -> Result<(Epoch, bool)> {
        let (keys, mut arguments) = self.of_change(key);
        arguments.extend(record.arguments());
        let reply = self.run(Step { name: "SET", script: &self.scripts.set, keys, arguments }).await?;
        let mut parts = reply.into_list()?.into_iter();
        let (epoch, is_stored) = (epoch_of(&mut parts)?, take_integer(&mut parts)? == 1);
        self.cover(self.partition(key), epoch).await?;
        Ok((epoch, is_stored))
    }

    /// Lets a fresh entry live for so long from now on, if that is longer.
    pub(crate) async fn touch(&self, key: &[u8], life: Duration) -> Result<bool> {
        let names = self.partition(key);
        let keys = vec![[&names.value, key].concat(), names.meta.clone()];
        let arguments = vec![millis(life)];
        self.run(Step { name: "TOUCH", script: &self.scripts.touch, keys, arguments }).await?.into_bool()
    }

    /// Removes or expires an entry, and ends whatever is loading it.
    pub(crate) async fn drop(&self, key: &[u8], how: Drop<'_>) -> Result<Epoch> {
        let (keys, mut arguments) = self.of_change(key);
        match how {
            Drop::Remove => arguments.push(b"r".to_vec()),
            Drop::Expire => arguments.push(b"x".to_vec()),
            Drop::Begin(guard, time) => arguments.extend([b"g".to_vec(), guard.to_vec(), millis(time)]),
            Drop::End(guard) => arguments.extend([b"e".to_vec(), guard.to_vec()]),
        }
        let reply = self.run(Step { name: "DROP", script: &self.scripts.drop, keys, arguments }).await?;
        let epoch = epoch_of(&mut reply.into_list()?.into_iter())?;
        self.cover(self.partition(key), epoch).await?;
        Ok(epoch)
    }

    /// Invalidates tags, or everything, in all partitions; `life` is the longest that any entry may live.
    pub(crate) async fn sweep(&self, how: Sweep, tags: &[Vec<u8>], life: Duration) -> Result<Vec<Epoch>> {
        let steps: Vec<Step<'_>> =
            self.partitions.iter().map(|partition| self.sweep_step(partition, how, tags, life)).collect();
        let replies = self.run_all(&steps).await?.into_iter();
        let epochs: Result<Vec<Epoch>> =
            replies.map(|reply| epoch_of(&mut reply.or_failed()?.into_list()?.into_iter())).collect();
        let epochs = epochs?;
        let covering = self.partitions.iter().zip(&epochs).map(|(names, epoch)| self.cover(names, *epoch));
        try_join_all(covering).await?;
        Ok(epochs)
    }

    fn sweep_step(&self, names: &Partition, how: Sweep, tags: &[Vec<u8>], life: Duration) -> Step<'_> {
        let keys = vec![names.meta.clone(), names.log.clone()];
        let mode = match how {
            Sweep::Remove => b"r",
            Sweep::Expire => b"x",
            Sweep::Clear => b"c",
        };
        let (channel, keep) = (names.channel.clone(), self.keep.clone());
        let mut arguments = vec![seed(), self.node.to_vec(), channel, keep, millis(life), mode.to_vec()];
        arguments.extend(tags.iter().cloned());
        Step { name: "TAG", script: &self.scripts.tag, keys, arguments }
    }

    /// Waits until the replicas that must have a change have it.
    ///
    /// This goes over another connection than the change, and another server may have become the primary in between, one
    /// that has never heard of it. So the epoch is asked for together with the waiting, of whoever is the primary then.
    fn cover<'a>(&'a self, names: &'a Partition, epoch: Epoch) -> Running<'a, ()> {
        let Some(cover) = self.cover else { return Box::pin(async { Ok(()) }) };
        let ask = Command::new("HMGET").arg(&names.meta).args(["e", "s"]);
        Box::pin(self.cover_by(cover, names, ask, move |meta| {
            let mut meta = meta.into_list()?.into_iter();
            let mut next = || meta.next().unwrap_or(Value::Null).into_bytes();
            let (era, seq) = (next()?, next()?);
            let seq = seq.and_then(|seq| std::str::from_utf8(&seq).ok()?.parse::<u64>().ok());
            // In another era nothing from before is valid.
            Ok(era.as_deref() != Some(&epoch.era) || seq.is_some_and(|seq| seq >= epoch.seq))
        }))
    }

    /// Waits for replicas of a server whose answer says that it has the change.
    async fn cover_by(
        &self,
        Cover { replicas, within }: Cover,
        names: &Partition,
        ask: Command,
        has: impl FnOnce(Value) -> Result<bool>,
    ) -> Result<()> {
        let mark = [&names.meta[..names.meta.len() - "meta".len()], b"sync"].concat();
        let mark = Command::new("SET").arg(mark).arg("").arg("PX").number(60_000);
        let together = Pipeline::new().with(ask).with(mark);
        let mut replies = self.larder.execute_and_wait(together, replicas, within).await?.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Null).or_failed();
        let (answer, marked) = (next()?, next());
        marked?;
        match has(answer)? {
            true => Ok(()),
            false => Err(Error::Lost("another server is the primary, and has not got the change".to_owned())),
        }
    }

    /// Sets and deletes fields of the log of a queue, if the lease still holds the token and the fence is at its number.
    /// Returns whether they do.
    pub(crate) async fn note(&self, note: &Note<'_>) -> Result<bool> {
        let keys = [note.lease, note.fence, note.log].map(<[u8]>::to_vec).to_vec();
        let mut arguments = vec![note.token.to_vec(), note.number.to_string().into_bytes()];
        // Of always the same length, so that later ones are greater as text.
        let mark = format!("{:020}{:020}", note.number, note.step).into_bytes();
        arguments.extend([mark.clone(), note.sets.len().to_string().into_bytes()]);
        arguments.extend(note.sets.iter().flat_map(|(field, value)| [field.clone(), value.clone()]));
        arguments.extend(note.deletes.iter().cloned());
        let step = Step { name: "NOTE", script: &self.scripts.note, keys, arguments };
        let is_ours = self.run(step).await?.into_bool()?;
        if let Some(cover) = self.cover.filter(|_| is_ours) {
            let ask = Command::new("HGET").arg(note.log).arg(STEP);
            let has = move |answer: Value| Ok(answer.as_bytes() == Some(&mark));
            let covering: Running<'_, ()> = Box::pin(self.cover_by(cover, &self.partitions[0], ask, has));
            covering.await?;
        }
        Ok(is_ours)
    }

    /// What has changed in a partition after an epoch.
    pub(crate) async fn since(&self, partition: usize, seq: u64) -> Result<Since> {
        let names = &self.partitions[partition];
        let keys = vec![names.meta.clone(), names.log.clone()];
        let arguments = vec![seq.to_string().into_bytes()];
        let reply = self.run(Step { name: "SINCE", script: &self.scripts.since, keys, arguments }).await?;
        let mut parts = reply.into_list()?.into_iter();
        let epoch = take_epoch(&mut parts)?;
        let changes = match parts.next() {
            None | Some(Value::Null) => None,
            Some(list) => list.into_strings()?.iter().map(|bytes| Change::parse(bytes)).collect(),
        };
        Ok(Since { epoch, changes })
    }

    /// What is kept of an entry.
    pub(crate) async fn raw(&self, key: &[u8]) -> Result<Raw> {
        let keys = self.keys(key);
        let pipeline = Pipeline::new()
            .with(Command::new("GET").arg(&keys[0]))
            .with(Command::new("PTTL").arg(&keys[0]))
            .with(Command::new("GET").arg(&keys[2]))
            .with(Command::new("PTTL").arg(&keys[2]))
            .with(Command::new("HMGET").arg(&keys[1]).args(["e", "c"]));
        let asking: Running<'_, Vec<Value>> = Box::pin(self.larder.execute_all(pipeline));
        let mut replies = asking.await?.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Null);
        let left =
            |reply: Value| Ok(Duration::from_millis(u64::try_from(reply.into_integer()?).unwrap_or(0)));
        let (value, value_left) = (next().into_bytes()?, left(next())?);
        let (lease, lease_left) = (next().into_bytes()?, left(next())?);
        let mut meta = next().into_list()?.into_iter();
        let era = meta.next().unwrap_or(Value::Null).into_bytes()?;
        let cleared = meta.next().and_then(|cleared| cleared.as_integer()).unwrap_or(0);
        Ok(Raw {
            value,
            left: value_left,
            lease: lease.map(|lease| (lease, lease_left)),
            era: era.and_then(|era| era.try_into().ok()),
            cleared: u64::try_from(cleared).unwrap_or(0),
        })
    }

    /// The epochs at which tags were last removed and expired, as far as they are known where a key is.
    pub(crate) async fn tags(&self, key: &[u8], tags: &[Vec<u8>]) -> Result<Vec<Option<(u64, u64)>>> {
        if tags.is_empty() {
            return Ok(Vec::new());
        }
        let fields = tags.iter().map(|tag| [b"t", tag.as_slice()].concat());
        let ask = Command::new("HMGET").arg(&self.partition(key).meta).args(fields);
        let asking: Running<'_, Value> = Box::pin(self.larder.execute(ask));
        let states = asking.await?.into_list()?;
        let epochs = |state: &Value| {
            let mut numbers = state.as_str()?.split(' ').map(|number| number.parse().ok());
            Some((numbers.next()??, numbers.next()??))
        };
        Ok(states.iter().map(epochs).collect())
    }

    /// Listens to the feeds of all partitions.
    pub(crate) async fn subscribe(&self) -> Result<Subscription> {
        let channels: Vec<&[u8]> = self.partitions.iter().map(|names| names.channel.as_slice()).collect();
        let subscribing: Running<'_, Subscription> = Box::pin(self.larder.subscribe(&channels));
        subscribing.await
    }

    /// The partition whose feed a channel is.
    pub(crate) fn partition_of(&self, channel: &[u8]) -> Option<usize> {
        self.partitions.iter().position(|names| names.channel == channel)
    }

    fn of_change(&self, key: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let names = self.partition(key);
        let mut keys = self.keys(key);
        keys.push(names.log.clone());
        let arguments =
            vec![seed(), self.node.to_vec(), names.channel.clone(), self.keep.clone(), key.to_vec()];
        (keys, arguments)
    }
}

/// The era that begins if there is none.
fn seed() -> Vec<u8> {
    fastrand::u64(..).to_be_bytes().to_vec()
}

fn native(step: &Step<'_>) -> Command {
    Command::new("CACHE").arg(step.name).args(&step.keys).args(&step.arguments)
}

impl Record<'_> {
    fn arguments(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let stale = u64::try_from(self.stale.as_millis()).unwrap_or(u64::MAX >> 12).min(1 << 52);
        [millis(self.life), stale.to_string().into_bytes(), self.data.to_vec()]
            .into_iter()
            .chain(self.tags.iter().cloned())
    }
}

impl Look {
    fn parse(parts: &mut impl Iterator<Item = Value>) -> Result<Look> {
        let epoch = take_epoch(parts)?;
        let state = State::of(u8::try_from(take_integer(parts)?).unwrap_or(0));
        let left = Duration::from_millis(u64::try_from(take_integer(parts)?).unwrap_or(0));
        let bytes = parts.next().unwrap_or(Value::Null).into_bytes()?.unwrap_or_default();
        Ok(Look { epoch, state, left, bytes })
    }
}

impl Leased {
    fn parse(reply: Value) -> Result<Leased> {
        let mut parts = reply.into_list()?.into_iter();
        let look = Look::parse(&mut parts)?;
        let is_granted = take_integer(&mut parts)? == 1;
        let wait = take_integer(&mut parts)?;
        let turn = match (is_granted, wait) {
            (true, _) => Turn::Ours,
            (false, 0) => Turn::None,
            (false, wait) => match u64::try_from(wait) {
                Ok(wait) => Turn::Theirs(Duration::from_millis(wait)),
                Err(_) => Turn::Guarded,
            },
        };
        Ok(Leased { look, turn })
    }
}

fn take_integer(parts: &mut impl Iterator<Item = Value>) -> Result<i64> {
    parts.next().unwrap_or(Value::Null).into_integer()
}

fn take_epoch(parts: &mut impl Iterator<Item = Value>) -> Result<Option<Epoch>> {
    let era = parts.next().unwrap_or(Value::Null).into_bytes()?;
    let seq = u64::try_from(take_integer(parts)?).unwrap_or(0);
    let Some(era) = era else { return Ok(None) };
    let era = era.try_into().map_err(|_| Error::Unexpected("an era that has not 8 bytes".to_owned()))?;
    Ok(Some(Epoch { era, seq }))
}

fn epoch_of(parts: &mut impl Iterator<Item = Value>) -> Result<Epoch> {
    let epoch = take_epoch(parts)?;
    epoch.ok_or_else(|| Error::Unexpected("a change without an era".to_owned()))
}

fn millis(time: Duration) -> Vec<u8> {
    const MILLIS_MAX: u128 = 10_u128.pow(15);
    time.as_millis().clamp(1, MILLIS_MAX).to_string().into_bytes()
}

/// Text in which no separator of ours occurs, and no two of which are equal for different bytes.
pub(crate) fn escape(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'%' | b':' | b'{' | b'}' | 0..=0x20 | 0x7f.. => {
                let _ = write!(text, "%{byte:02x}");
            }
            plain => text.push(char::from(*plain)),
        }
    }
    text
}

#[cfg(test)]
mod tests;

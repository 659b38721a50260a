//! Long commands: run by a worker on pinned values, so that nobody else waits for them.
//!
//! A declaration may estimate the work from the sizes of the values. Where that is much, and the caller can do
//! something with it, the command is not run but returned as a [`Job`] for a worker. A job of a reading command takes
//! pins of its values while it holds the locks, then unlocks and works on the pins. A job that stores what it computes
//! works on pins too, then locks everything, makes sure that its sources are what they were, and stores; if they
//! changed twice meanwhile, it computes under the locks.
//!
//! A writer that meets a pinned value has done nothing yet: it lets its locks go and parks until the pin is gone.

use super::count_lookups;
use crate::args::Args;
use crate::command::{Access, Computed, Run, Store};
use crate::engine::Engine;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Notes, PinnedKey, PlannedKey, ReadCtx, Shard, Source};
use crate::lane::Lane;
use crate::registry::{self, Registered};
use crate::session::Session;
use larder_resp::{OwnedRequest, Proto, ReplyWriter, Request};
use larder_structures::sync::{Hold, block_on_wait};
use std::sync::atomic::Ordering;

/// Times a job that stores computes on pins before it computes under the locks.
const PINNED_TRIES: usize = 2;

/// A long command on its way to a worker thread.
pub struct Job {
    pub(super) registered: &'static Registered,
    pub(super) request: OwnedRequest,
    pub(super) db: usize,
    pub(super) proto: Proto,
    pub(super) touches: bool,
    /// CLIENT REPLY wants no reply.
    pub(super) is_mute: bool,
}

impl Engine {
    /// Whether a value that a command is about to change in place is pinned. Such values take no new pins from now on.
    /// Values that are replaced or removed may be pinned: the last pin frees them.
    pub(super) fn meets_a_pin(
        &self,
        hold: &Hold<'_, Shard>,
        db: usize,
        registered: &Registered,
        request: Request<'_>,
    ) -> bool {
        if self.pinned_jobs.load(Ordering::Acquire) == 0 || !registered.command.is_write() {
            return false;
        }
        let physical = self.physical(db);
        let mut is_pinned = false;
        for position in positions_of(registered, request, |access| access == Access::ReadWrite) {
            let key = request.arg(position);
            if let Some(body) = PinnedKey::shared_body(self, hold, physical, key)
                && body.is_pinned()
            {
                body.refuse_pins();
                is_pinned = true;
            }
        }
        is_pinned
    }

    /// Runs a long command to its end, waiting where it has to, and returns its reply. `lane` is the worker's own.
    pub fn run_job(&self, lane: &mut Lane, session: &Session, job: &Job) -> Vec<u8> {
        lane.begin_turn();
        let mut out = Vec::new();
        let mut reply = ReplyWriter::new(&mut out, job.proto);
        let outcome = self.run_pinned(lane, job, &mut reply);
        let usec = lane.lap_us();
        let request = job.request.as_request();
        self.account_call(lane, Some(session), job.registered, request, usec, outcome.is_err());
        session.client.last_command.store(job.registered.id + 1, Ordering::Relaxed);
        if let Err(fault) = outcome {
            out.clear();
            self.fail(lane, &fault, &mut ReplyWriter::new(&mut out, job.proto));
        }
        if job.is_mute {
            out.clear();
        }
        out
    }

    fn run_pinned(&self, lane: &mut Lane, job: &Job, reply: &mut ReplyWriter<'_>) -> Outcome {
        let request = job.request.as_request();
        let args = Args::new(request, job.registered.words());
        // What the command replaces is no concern of what it computes.
        let sources = positions_of(job.registered, request, |access| access != Access::Overwrite);
        let _working = PinnedJob::begin(self);
        for _ in 0..PINNED_TRIES {
            let mut keys = Vec::with_capacity(sources.len());
            if !self.pin(lane, job, &sources, &mut keys)? {
                break;
            }
            let ctx = ReadCtx {
                engine: self,
                source: Source::Pinned(&keys),
                db: job.db,
                physical: self.physical(job.db),
                now_ms: lane.now_ms(),
                clock: None,
                planned: PlannedKey::NONE,
                attaches: false,
                notes: Notes::default(),
            };
            let computed = match job.registered.command.run {
                Run::Read(handler) => {
                    let outcome = handler(&ctx, args, reply);
                    count_lookups(lane, ctx.notes);
                    return outcome;
                }
                Run::Store(Store { compute, .. }) => compute(&ctx, args),
                _ => break,
            };
            count_lookups(lane, ctx.notes);
            if let Some(outcome) = self.install(lane, job, &keys, computed?, reply) {
                return outcome;
            }
        }
        self.run_waiting(lane, job, reply)
    }

    /// Takes the keys of a job at `positions`, all of them at one moment. Returns whether all of them could be pinned;
    /// if not, those that could are let go by the caller, without any lock.
    fn pin(
        &self,
        lane: &mut Lane,
        job: &Job,
        positions: &[usize],
        keys: &mut Vec<PinnedKey>,
    ) -> Result<bool, Fault> {
        let request = job.request.as_request();
        let hold = self.lock_for(lane, job.registered, request)?;
        let ctx = self.reader(lane, &hold, job.db, job.touches);
        let taken = positions.iter().map_while(|at| PinnedKey::take(&ctx, &hold, request.arg(*at)));
        keys.extend(taken);
        Ok(keys.len() == positions.len())
    }

    /// Stores what a job has computed from `keys`, if they still are what they were.
    fn install(
        &self,
        lane: &mut Lane,
        job: &Job,
        keys: &[PinnedKey],
        computed: Computed,
        reply: &mut ReplyWriter<'_>,
    ) -> Option<Outcome> {
        let Run::Store(Store { install, .. }) = job.registered.command.run else { return None };
        let request = job.request.as_request();
        let mut hold = match self.lock_for(lane, job.registered, request) {
            Ok(hold) => hold,
            Err(fault) => return Some(Err(fault)),
        };
        let (physical, now_ms) = (self.physical(job.db), lane.now_ms());
        if !keys.iter().all(|key| key.is_current(self, &hold, physical, now_ms)) {
            return None;
        }
        self.begin_effects(lane);
        let args = Args::new(request, job.registered.words());
        let outcome = install(&mut self.writer(lane, &mut hold, job.db), args, computed, reply);
        self.commit_command(lane, &mut hold, job.db, job.registered, request);
        drop(hold);
        self.free(&mut lane.effects.garbage);
        Some(outcome)
    }

    /// Runs a job under its locks. It holds no pins, so whoever has those that it meets needs nothing from it.
    fn run_waiting(&self, lane: &mut Lane, job: &Job, reply: &mut ReplyWriter<'_>) -> Outcome {
        let request = job.request.as_request();
        let mut hold = block_on_wait(&self.unpinned, || {
            let hold = match self.lock_for(lane, job.registered, request) {
                Ok(hold) => hold,
                Err(fault) => return Some(Err(fault)),
            };
            (!self.meets_a_pin(&hold, job.db, job.registered, request)).then_some(Ok(hold))
        })?;
        self.begin_effects(lane);
        let key = PlannedKey::NONE;
        let outcome =
            self.run_held(lane, &mut hold, job.db, job.touches, job.registered, key, request, reply);
        self.commit_command(lane, &mut hold, job.db, job.registered, request);
        drop(hold);
        self.free(&mut lane.effects.garbage);
        outcome
    }
}

/// The positions of the keys of a request to which the command does what `does` says.
fn positions_of(registered: &Registered, request: Request<'_>, does: impl Fn(Access) -> bool) -> Vec<usize> {
    let specs = registered.command.keys.iter().filter(|keys| does(keys.access));
    specs
        .flat_map(|keys| registry::key_positions(std::slice::from_ref(keys), request).unwrap_or_default())
        .collect()
}

/// Counts the jobs that may hold pins, so that writers look for pins only while there are any.
struct PinnedJob<'e>(&'e Engine);

impl<'e> PinnedJob<'e> {
    fn begin(engine: &'e Engine) -> Self {
        engine.pinned_jobs.fetch_add(1, Ordering::AcqRel);
        PinnedJob(engine)
    }
}

impl Drop for PinnedJob<'_> {
    fn drop(&mut self) {
        self.0.pinned_jobs.fetch_sub(1, Ordering::AcqRel);
        self.0.unpinned.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Options, Step};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A connection whose requests are tried once, and whose wake-ups are counted.
    struct Caller {
        engine: Arc<Engine>,
        lane: Lane,
        session: Session,
        wakes: Arc<Count>,
    }

    impl Caller {
        fn new(engine: &Arc<Engine>) -> Caller {
            let wakes = Arc::<Count>::default();
            let session = engine.connect(Default::default(), Waker::from(Arc::clone(&wakes)));
            Caller { engine: Arc::clone(engine), lane: engine.lane(true), session, wakes }
        }

        fn run(&mut self, line: &str) -> (Step, Vec<u8>) {
            let request = OwnedRequest::from_slices(&line.split(' ').collect::<Vec<_>>());
            let mut out = Vec::new();
            self.lane.begin_turn();
            let step = self.engine.execute(&mut self.lane, &mut self.session, request.as_request(), &mut out);
            (step, out)
        }

        /// The reply of a request that does not have to wait.
        fn done(&mut self, line: &str) -> String {
            let (step, out) = self.run(line);
            assert!(matches!(step, Step::Done), "{line} is executed at once");
            String::from_utf8(out).expect("replies of this test are text")
        }

        fn job(&mut self, line: &str) -> Box<Job> {
            let Step::Long(job) = self.run(line).0 else { panic!("{line} is a long command") };
            job
        }

        fn must_wait(&mut self, line: &str) {
            assert!(matches!(self.run(line).0, Step::Parked), "{line} has to wait");
        }

        fn wakes(&self) -> usize {
            self.wakes.0.load(Ordering::SeqCst)
        }
    }

    /// What a job has between taking its pins and storing its result.
    struct UnderWay<'e> {
        keys: Vec<PinnedKey>,
        _working: PinnedJob<'e>,
    }

    fn begin<'e>(engine: &'e Engine, job: &Job) -> UnderWay<'e> {
        let sources =
            positions_of(job.registered, job.request.as_request(), |access| access != Access::Overwrite);
        let mut under_way = UnderWay { keys: Vec::new(), _working: PinnedJob::begin(engine) };
        let mut lane = engine.lane(false);
        assert_eq!(engine.pin(&mut lane, job, &sources, &mut under_way.keys), Ok(true));
        under_way
    }

    fn with_big_sets() -> (Arc<Engine>, Caller) {
        let engine = Engine::open(Options { threads: 2, seed: 3, ..Options::default() });
        let mut caller = Caller::new(&engine);
        for key in ["one", "two"] {
            let members: String = (0..6000).map(|member| format!(" m{member}")).collect();
            caller.done(&format!("SADD {key}{members}"));
        }
        (engine, caller)
    }

    #[test]
    fn only_writers_of_the_sources_wait_for_a_job() {
        let (engine, mut caller) = with_big_sets();
        let job = caller.job("SUNIONSTORE result one two");
        let under_way = begin(&engine, &job);
        let mut other = Caller::new(&engine);
        for line in
            ["SCARD one", "SISMEMBER two m1", "SET result text", "DEL result", "SADD third a", "DBSIZE"]
        {
            other.done(line);
        }
        // A source that is replaced, moved or deleted needs no waiting either; the last pin frees the value.
        other.done("RENAME third two");
        other.done("DEL two");
        other.done("KEYS nothing*");
        assert!(other.done("MULTI").starts_with('+') && other.done("SADD third b").starts_with('+'));
        other.done("EXEC");
        other.must_wait("SADD one x");
        assert_eq!(other.wakes(), 0);
        drop(under_way);
        assert!(other.wakes() > 0);
        assert_eq!(other.done("SADD one x"), ":1\r\n");
        engine.check_invariants();
    }

    #[test]
    fn who_is_woken_in_vain_is_woken_again() {
        let (engine, mut caller) = with_big_sets();
        let first = caller.job("SUNIONSTORE result one two");
        let [one, two] = [begin(&engine, &first), begin(&engine, &first)];
        let mut writers = [Caller::new(&engine), Caller::new(&engine)];
        writers[0].must_wait("SADD one x");
        writers[1].done("MULTI");
        writers[1].done("SADD one y");
        writers[1].must_wait("EXEC");
        drop(one);
        for writer in &mut writers {
            assert!(writer.wakes() > 0, "the end of any pin wakes");
        }
        let wakes = writers.each_ref().map(Caller::wakes);
        writers[0].must_wait("SADD one x");
        writers[1].must_wait("EXEC");
        // New readers do without pins while somebody waits.
        let job = caller.job("SUNIONSTORE other one two");
        let mut keys = Vec::new();
        assert_eq!(engine.pin(&mut engine.lane(false), &job, &[2, 3], &mut keys), Ok(false));
        drop(keys);
        drop(two);
        for (writer, before) in writers.iter().zip(wakes) {
            assert!(writer.wakes() > before, "a second wait is registered anew");
        }
        assert_eq!(writers[0].done("SADD one x"), ":1\r\n");
        assert_eq!(writers[1].done("EXEC"), "*1\r\n:1\r\n");
        assert!(writers.iter().all(|writer| writer.session.parked.is_none()));
    }

    #[test]
    fn a_transaction_waits_for_pins_in_the_databases_it_selects() {
        let (engine, mut caller) = with_big_sets();
        let job = caller.job("SUNIONSTORE result one two");
        let under_way = begin(&engine, &job);
        let mut other = Caller::new(&engine);
        other.done("SELECT 5");
        for line in ["MULTI", "SADD one x", "SELECT 0", "SADD one x"] {
            other.done(line);
        }
        other.must_wait("EXEC");
        drop(under_way);
        assert_eq!(other.done("EXEC"), "*3\r\n:1\r\n+OK\r\n:1\r\n");
    }

    #[test]
    fn who_goes_away_waits_no_more() {
        let (engine, mut caller) = with_big_sets();
        let job = caller.job("SUNIONSTORE result one two");
        let under_way = begin(&engine, &job);
        let mut other = Caller::new(&engine);
        other.must_wait("SADD one x");
        assert_eq!(engine.unpinned.len(), 1);
        let wakes = Arc::clone(&other.wakes);
        drop(other);
        assert!(engine.unpinned.is_empty());
        drop(under_way);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_source_that_expires_meanwhile_is_computed_anew() {
        let (engine, mut caller) = with_big_sets();
        let at_ms = caller.lane.now_ms() + 3_600_000;
        caller.done(&format!("PEXPIREAT one {at_ms}"));
        let job = caller.job("SUNIONSTORE result one two");
        let under_way = begin(&engine, &job);
        let is_current = |now_ms| {
            let hold = engine.shards.all();
            under_way.keys.iter().all(|key| key.is_current(&engine, &hold, 0, now_ms))
        };
        assert!(is_current(at_ms - 1));
        assert!(!is_current(at_ms));
    }
}

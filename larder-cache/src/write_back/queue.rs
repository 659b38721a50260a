//! What waits to be flushed: the order of it, and nothing else.
//!
//! A key has at most two changes here: one that is being flushed, and the newest one behind it. A further change takes the
//! place of the newest one, so the queue is as long as there are keys in it. A key that failed waits apart until its
//! time, and the others pass it; behind a change that is being flushed no other one of its key is. So the sink
//! sees the changes of a key one at a time and in their order.

use crate::entry::Kept;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A change of a key.
pub(super) struct Item<K, V> {
    pub(super) seq: u64,
    pub(super) fence: u64,
    pub(super) key: K,
    /// Without a value: the key is deleted.
    pub(super) kept: Arc<Kept<V>>,
}

impl<K: Clone, V> Clone for Item<K, V> {
    fn clone(&self) -> Item<K, V> {
        let Item { seq, fence, key, kept } = self;
        Item { seq: *seq, fence: *fence, key: key.clone(), kept: Arc::clone(kept) }
    }
}

/// A change that the sink has not taken.
pub(super) struct Refused<K, V> {
    pub(super) item: Item<K, V>,
    pub(super) why: String,
}

/// Told when a change is flushed, or why it was given up.
pub(super) type Waiter = oneshot::Sender<Result<(), String>>;

struct Slot<K, V> {
    flying: Option<Item<K, V>>,
    newest: Option<Item<K, V>>,
    tries: u32,
    /// When it is tried again, if it waits for that.
    due: Option<(Instant, u64)>,
    /// Those who want to know of changes up to a number.
    waiters: Vec<(u64, Waiter)>,
}

pub(super) struct Queue<K, V> {
    slots: HashMap<Box<[u8]>, Slot<K, V>>,
    /// Keys that can be flushed now, each once, with when they came.
    ready: VecDeque<(Box<[u8]>, Instant)>,
    /// Keys that have failed, by when they are tried again.
    waiting: BTreeMap<(Instant, u64), Box<[u8]>>,
    pub(super) dead: BTreeMap<u64, Refused<K, V>>,
    /// The number of the last change.
    pub(super) seq: u64,
}

/// What becomes of a change that was flushed, or was not.
pub(super) enum Landed<K, V> {
    /// The sink has it; whether there is no newer one.
    Done(Item<K, V>, bool),
    /// It is tried again, or a newer one is instead.
    Again,
    /// It is given up.
    Dead(u64),
    /// It is not there any more.
    Gone,
}

/// How often a change is tried, and how long between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Patience {
    pub(super) tries: u32,
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Patience {
    /// The pause after so many failures in a row, from half of it to all of it by `chance` (0 to 1).
    pub(super) fn pause(&self, failures: u32, chance: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.longest);
        whole.mul_f64(0.5 + chance / 2.0)
    }
}

impl<K: Clone, V> Queue<K, V> {
    pub(super) fn new(seq: u64) -> Queue<K, V> {
        let (ready, waiting) = (VecDeque::new(), BTreeMap::new());
        Queue { slots: HashMap::new(), ready, waiting, dead: BTreeMap::new(), seq }
    }

    /// Keys with changes that are not flushed.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.slots.contains_key(key)
    }

    /// The newest change of a key.
    pub(super) fn newest(&self, key: &[u8]) -> Option<&Item<K, V>> {
        let slot = self.slots.get(key)?;
        slot.newest.as_ref().or(slot.flying.as_ref())
    }

    /// The newest changes of all keys.
    pub(super) fn all(&self) -> impl Iterator<Item = &Item<K, V>> {
        self.slots.values().filter_map(|slot| slot.newest.as_ref().or(slot.flying.as_ref()))
    }

    /// Waits for all there is now: each is told when its newest change, or one after it, is flushed or given up.
    pub(super) fn wait_for_all(&mut self) -> Vec<oneshot::Receiver<Result<(), String>>> {
        let mut told = Vec::with_capacity(self.slots.len());
        for slot in self.slots.values_mut() {
            let newest = slot.newest.as_ref().or(slot.flying.as_ref()).map(|item| item.seq);
            let (waiter, receiver) = oneshot::channel();
            slot.waiters.extend(newest.map(|seq| (seq, waiter)));
            told.push(receiver);
        }
        told
    }

    /// Puts a change in; returns whether it took the place of one.
    pub(super) fn push(&mut self, item: Item<K, V>, waiter: Option<Waiter>, now: Instant) -> bool {
        self.seq = self.seq.max(item.seq);
        let name: Box<[u8]> = item.kept.key[..].into();
        let slot = self.slots.entry(name.clone()).or_insert_with(|| Slot {
            flying: None,
            newest: None,
            tries: 0,
            due: None,
            waiters: Vec::new(),
        });
        slot.waiters.extend(waiter.map(|waiter| (item.seq, waiter)));
        let is_replaced = slot.newest.replace(item).is_some();
        // Behind a failure, and behind one that is being flushed, it waits with it.
        if !is_replaced && slot.flying.is_none() {
            self.ready.push_back((name, now));
        }
        is_replaced
    }

    /// Takes changes to be flushed now, of different keys.
    pub(super) fn take(&mut self, now: Instant, most: usize) -> Vec<Item<K, V>> {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            let name = entry.remove();
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.due = None;
            }
            // What has failed has waited long enough.
            self.ready.push_front((name, now));
        }
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((name, _)) = self.ready.pop_front()
        {
            let Some(slot) = self.slots.get_mut(&name) else { continue };
            if let Some(item) = slot.newest.take() {
                slot.flying = Some(item.clone());
                taken.push(item);
            }
        }
        taken
    }

    /// When the oldest change that can be flushed came, and when the next failed one is due.
    pub(super) fn times(&self) -> (Option<Instant>, Option<Instant>) {
        (self.ready.front().map(|(_, came)| *came), self.waiting.first_key_value().map(|((due, _), _)| *due))
    }

    /// What became of a change that was taken: the sink has it, or why not, and whose failure that is.
    pub(super) fn land(
        &mut self,
        name: &[u8],
        outcome: Result<(), (String, Failure)>,
        now: Instant,
        patience: Patience,
    ) -> Landed<K, V> {
        let Some(slot) = self.slots.get_mut(name) else { return Landed::Gone };
        let Some(item) = slot.flying.take() else { return Landed::Gone };
        let (why, failure) = match outcome {
            Ok(()) => {
                slot.tell(item.seq, &Ok(()));
                slot.tries = 0;
                let is_last = slot.newest.is_none();
                self.settle(name, now);
                return Landed::Done(item, is_last);
            }
            Err(failed) => failed,
        };
        if failure == Failure::OfAll {
            slot.newest.get_or_insert(item);
            // The flusher pauses as a whole.
            self.ready.push_front((name.into(), now));
            return Landed::Again;
        }
        slot.tries += 1;
        if failure == Failure::Final || slot.tries >= patience.tries {
            slot.tell(item.seq, &Err(why.clone()));
            slot.tries = 0;
            let seq = item.seq;
            self.dead.insert(seq, Refused { item, why });
            self.settle(name, now);
            return Landed::Dead(seq);
        }
        let place = (now + patience.pause(slot.tries, fastrand::f64()), item.seq);
        slot.newest.get_or_insert(item);
        slot.due = Some(place);
        self.waiting.insert(place, name.into());
        Landed::Again
    }

    /// After the flight of a key: what is behind it can be flushed, or it has nothing left.
    fn settle(&mut self, name: &[u8], now: Instant) {
        match self.slots.get(name).is_some_and(|slot| slot.newest.is_some()) {
            true => self.ready.push_back((name.into(), now)),
            false => _ = self.slots.remove(name),
        }
    }

    /// Forgets everything, because it is somebody else's; those who wait are told `why`.
    pub(super) fn forget(&mut self, why: &str) {
        for slot in std::mem::take(&mut self.slots).values_mut() {
            slot.tell(u64::MAX, &Err(why.to_owned()));
        }
        self.ready.clear();
        self.waiting.clear();
        self.dead.clear();
    }

    /// Gives up all that waits, because of `why`; returns their numbers and keys.
    pub(super) fn give_up(&mut self, why: &str) -> Vec<u64> {
        let slots = std::mem::take(&mut self.slots);
        self.ready.clear();
        self.waiting.clear();
        let mut seqs = Vec::new();
        for (_, mut slot) in slots {
            slot.tell(u64::MAX, &Err(why.to_owned()));
            if let Some(item) = slot.newest.or(slot.flying) {
                seqs.push(item.seq);
                self.dead.insert(item.seq, Refused { item, why: why.to_owned() });
            }
        }
        seqs
    }
}

impl<K, V> Slot<K, V> {
    fn tell(&mut self, seq: u64, outcome: &Result<(), String>) {
        for (_, waiter) in self.waiters.extract_if(.., |(up_to, _)| *up_to <= seq) {
            // Who has gone need not be told.
            let _ = waiter.send(outcome.clone());
        }
    }
}

/// Whose failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The change's own: it is tried again a few times.
    Own,
    /// The change's own, and trying again would not help.
    Final,
    /// That of the sink as a whole: it is tried again for as long as it takes.
    OfAll,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Patience = Patience { tries: 3, first: SECOND, longest: Duration::from_secs(60) };

    fn item(seq: u64, key: &'static str) -> Item<&'static str, u64> {
        let kept = Arc::new(Kept {
            value: Some(seq),
            key: key.as_bytes().into(),
            tags: Vec::new(),
            etag: None,
            life: SECOND,
            cost: Duration::ZERO,
            fresh_until: Instant::now(),
            at: 0,
            bytes: 0,
        });
        Item { seq, fence: 1, key, kept }
    }

    fn own() -> Result<(), (String, Failure)> {
        Err(("bad".to_owned(), Failure::Own))
    }

    fn seqs(items: &[Item<&'static str, u64>]) -> Vec<u64> {
        items.iter().map(|item| item.seq).collect()
    }

    #[test]
    fn g2_changes_of_a_key_are_flushed_in_order_and_the_newest_takes_the_place_of_those_that_wait() {
        let (mut queue, now) = (Queue::new(0), Instant::now());
        assert!(!queue.push(item(1, "a"), None, now));
        assert!(!queue.push(item(2, "b"), None, now));
        assert!(queue.push(item(3, "a"), None, now));
        assert_eq!(seqs(&queue.take(now, 10)), [3, 2]);
        // Behind one that is being flushed the next one waits.
        assert!(!queue.push(item(4, "a"), None, now));
        assert!(queue.take(now, 10).is_empty());
        assert!(matches!(queue.land(b"a", Ok(()), now, PATIENCE), Landed::Done(_, false)));
        assert!(matches!(queue.land(b"b", Ok(()), now, PATIENCE), Landed::Done(_, true)));
        assert_eq!(seqs(&queue.take(now, 10)), [4]);
        assert!(matches!(queue.land(b"a", Ok(()), now, PATIENCE), Landed::Done(_, true)));
        assert_eq!((queue.len(), queue.ready()), (0, 0));
    }

    #[test]
    fn g4_a_key_that_fails_waits_apart_and_is_given_up_in_the_end_while_others_flow() {
        let (mut queue, mut now) = (Queue::new(0), Instant::now());
        queue.push(item(1, "bad"), None, now);
        for n in 0..3 {
            queue.push(item(10 + n, "good"), None, now);
            let taken = queue.take(now, 10);
            assert!(seqs(&taken).contains(&1) && seqs(&taken).contains(&(10 + n)));
            assert!(matches!(queue.land(b"good", Ok(()), now, PATIENCE), Landed::Done(..)));
            let landed = queue.land(b"bad", own(), now, PATIENCE);
            if n == 2 {
                assert!(matches!(landed, Landed::Dead(1)));
                break;
            }
            queue.push(item(20 + n, "good"), None, now);
            assert_eq!(seqs(&queue.take(now, 10)), [20 + n], "it has to wait");
            queue.land(b"good", Ok(()), now, PATIENCE);
            assert!(queue.times().1.is_some_and(|due| due > now));
            now += SECOND * 5;
        }
        assert_eq!((queue.len(), queue.dead.len()), (0, 1));
        // A newer change takes the place of one that failed, and waits with it.
        queue.push(item(30, "bad"), None, now);
        queue.take(now, 10);
        queue.land(b"bad", own(), now, PATIENCE);
        assert!(queue.push(item(31, "bad"), None, now));
        assert!(queue.take(now, 10).is_empty());
        assert_eq!(seqs(&queue.take(now + SECOND * 5, 10)), [31]);
        // Trouble with the sink as a whole is nobody's own: it is tried for ever.
        for _ in 0..100 {
            let down = Err(("down".to_owned(), Failure::OfAll));
            assert!(matches!(queue.land(b"bad", down, now, PATIENCE), Landed::Again));
            assert_eq!(seqs(&queue.take(now, 10)), [31]);
        }
    }

    #[test]
    fn those_who_wait_for_a_change_are_told_when_it_or_a_newer_one_is_flushed() {
        let (mut queue, now) = (Queue::new(0), Instant::now());
        let waits = |queue: &mut Queue<&'static str, u64>, seq, key| {
            let (waiter, mut told) = oneshot::channel();
            queue.push(item(seq, key), Some(waiter), now);
            move || told.try_recv().ok()
        };
        let (mut one, mut two) = (waits(&mut queue, 1, "a"), waits(&mut queue, 2, "a"));
        queue.take(now, 10);
        let mut three = waits(&mut queue, 3, "a");
        assert_eq!((one(), two(), three()), (None, None, None));
        queue.land(b"a", Ok(()), now, PATIENCE);
        assert_eq!((one(), two(), three()), (Some(Ok(())), Some(Ok(())), None));
        let all = queue.wait_for_all();
        queue.give_up("somebody else");
        assert_eq!(three(), Some(Err("somebody else".to_owned())));
        assert_eq!(all.into_iter().map(|mut told| told.try_recv().is_ok()).collect::<Vec<_>>(), [true]);
        assert_eq!((queue.len(), queue.dead.len()), (0, 1));
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_are_never_all_the_same() {
        assert_eq!(PATIENCE.pause(1, 1.0), SECOND);
        assert_eq!(PATIENCE.pause(3, 1.0), SECOND * 4);
        assert_eq!(PATIENCE.pause(3, 0.0), SECOND * 2);
        assert_eq!(PATIENCE.pause(1000, 1.0), SECOND * 60);
    }
}

//! The scripts do what the commands do.

use super::*;
use testkit::Server;

const KEYS: [&[u8]; 3] = [b"a", b"b", b"{c}"];
const TAGS: [&[u8]; 3] = [b"red", b"blue", b""];
const TOKENS: [&[u8; 8]; 3] = [b"token--1", b"token--2", b"token--3"];
const HOUR: Duration = Duration::from_secs(3600);

/// A backend, and the epochs under which its loads began.
struct Side {
    store: Store,
    epochs: Vec<Option<Epoch>>,
}

impl Side {
    fn new(larder: Larder) -> Side {
        Side { store: Store::new(larder, "test", 1, 8), epochs: vec![None; 3] }
    }

    /// Does a step, and tells what came of it without what differs by nature: eras, and the exact time.
    async fn step(&mut self, step: &Deed) -> String {
        let store = &self.store;
        let tags: Vec<Vec<u8>> = step.tags.iter().map(|tag| TAGS[*tag].to_vec()).collect();
        let stale = if step.is_stale_allowed { HOUR } else { Duration::ZERO };
        let record = Record { life: HOUR * 2 + stale, stale, tags: &tags, data: &step.data };
        let (key, token) = (KEYS[step.key], TOKENS[step.token]);
        match step.kind {
            0 => shown(&store.get(key).await.unwrap()),
            1 => {
                let leased = store.lease(key, token, HOUR, step.is_stale_allowed).await.unwrap();
                if leased.turn == Turn::Ours {
                    self.epochs[step.token] = leased.look.epoch;
                }
                let turn = match leased.turn {
                    Turn::Theirs(_) => Turn::Theirs(HOUR),
                    turn => turn,
                };
                format!("{} {turn:?}", shown(&leased.look))
            }
            2 => match self.epochs[step.token] {
                Some(epoch) => format!("{}", store.fill(key, token, epoch, &record).await.unwrap()),
                None => String::new(),
            },
            3 => {
                let (epoch, is_stored) = store.set(key, &record).await.unwrap();
                format!("{} {is_stored}", epoch.seq)
            }
            4 => format!("{}", store.drop(key, Drop::Remove).await.unwrap().seq),
            5 => format!("{}", store.drop(key, Drop::Expire).await.unwrap().seq),
            6 => {
                let epoch = store.drop(key, Drop::Begin(token, HOUR)).await.unwrap();
                self.epochs[step.token] = Some(epoch);
                format!("{}", epoch.seq)
            }
            7 => format!("{}", store.drop(key, Drop::End(token)).await.unwrap().seq),
            8 => {
                let version = Some(step.since).filter(|_| !step.is_stale_allowed);
                match self.epochs[step.token] {
                    Some(epoch) => {
                        format!("{:?}", store.settle(key, token, version, epoch, &record).await.unwrap())
                    }
                    None => String::new(),
                }
            }
            9 => {
                let how = [Sweep::Remove, Sweep::Expire, Sweep::Clear][step.token];
                let epochs = store.sweep(how, &tags, HOUR).await.unwrap();
                format!("{}", epochs[0].seq)
            }
            10 => format!("{}", store.touch(key, step.life).await.unwrap()),
            12 => note(store, step, &tags).await,
            _ => {
                let since = store.since(0, step.since).await.unwrap();
                let told = |change: &Change| {
                    format!("{}{}{}", change.seq, char::from(change.kind), change.what.escape_ascii())
                };
                let changes = since.changes.map(|all| all.iter().map(told).collect::<Vec<_>>());
                format!("{:?} {changes:?}", since.epoch.map(|epoch| epoch.seq))
            }
        }
    }
}

/// Writes down something in the log of a queue that may be another one's.
async fn note(store: &Store, step: &Deed, tags: &[Vec<u8>]) -> String {
    let larder = &store.larder;
    let [lease, fence, log] = ["lease", "fence", "queue"].map(|word| store.side_key(word));
    larder.set(&lease, TOKENS[step.token]).await.unwrap();
    larder.set(&fence, (step.since % 3).to_string()).await.unwrap();
    let note = Note {
        lease: &lease,
        fence: &fence,
        log: &log,
        token: TOKENS[step.key],
        number: u64::from(!step.is_stale_allowed),
        step: step.since,
        sets: tags.iter().map(|tag| (tag.clone(), step.data.clone())).collect(),
        deletes: TAGS[step.tags.len()..].iter().map(|tag| tag.to_vec()).collect(),
    };
    let done = store.note(&note).await;
    let mut held = larder.hgetall(&log).await.unwrap();
    held.sort();
    format!("{done:?} {held:?}")
}

fn shown(look: &Look) -> String {
    let head = Head::parse(&look.bytes);
    let (tags, data) = match &head {
        Some(head) => (head.tags.len(), look.bytes[head.end..].escape_ascii().to_string()),
        None => (0, String::new()),
    };
    let half_hours = (look.left.as_secs() + 900) / 1800;
    format!("{:?} {:?} {half_hours} {tags} {data}", look.epoch.map(|epoch| epoch.seq), look.state)
}

#[derive(Debug)]
struct Deed {
    kind: u32,
    key: usize,
    token: usize,
    tags: Vec<usize>,
    is_stale_allowed: bool,
    data: Vec<u8>,
    since: u64,
    life: Duration,
}

impl Deed {
    /// The `number`th of a story.
    fn random(random: &mut fastrand::Rng, number: u32) -> Deed {
        let data = (0..random.usize(..5)).map(|_| random.u8(..)).collect();
        let tags = (0..random.usize(..3)).map(|_| random.usize(..3)).collect();
        Deed {
            // Loads and fills are the most interesting.
            kind: [0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 6, 7, 8, 8, 8, 9, 10, 11, 12, 12][random.usize(..22)],
            key: random.usize(..3),
            token: random.usize(..3),
            tags,
            is_stale_allowed: random.bool(),
            data,
            since: random.u64(..30),
            // Never what an entry has left: which is longer would then be for the milliseconds that have passed to say.
            life: if random.bool() { HOUR } else { HOUR * 4 + HOUR / 2 * number },
        }
    }
}

#[tokio::test]
async fn scripts_do_what_the_commands_do() {
    let Some(server) = Server::oracle_or_skip() else { return };
    let redis = Larder::open(&format!("redis://127.0.0.1:{}", server.port())).await.unwrap();
    let seed = std::env::var("LARDER_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..40 {
        redis.execute(Command::new("FLUSHALL")).await.unwrap();
        let mut commands = Side::new(Larder::open("embedded://").await.unwrap());
        let mut scripts = Side::new(redis.clone());
        let mut story = Vec::new();
        for number in 0..60 {
            let step = Deed::random(&mut random, number);
            let (one, other) = (commands.step(&step).await, scripts.step(&step).await);
            story.push(format!("{step:?} -> {one}"));
            assert_eq!(one, other, "seed {seed}: commands and scripts differ after\n{}", story.join("\n"));
        }
    }
}

//! Statement 4: whatever fails while a session gets another id, exactly one id works.
//!
//! The way to the store breaks at every step in turn, before the store has heard of it and after, and stays broken, as it
//! does for a program that is killed. The server is killed at every step, too, requests are cancelled, and handlers panic.

mod support;

use axum::Router;
use axum::routing::get;
use larder_client::{Command, Larder, Options};
use larder_session::{ExpressProfile, NativeProfile, Session, SessionError, Sessions};
use std::time::Duration;
use support::proxy::{Break, Proxy};
use support::{Backend, ask, native, profile};
use testkit::Server;

/// The kinds of sessions, and the ways in which they get another id.
#[derive(Debug, Clone, Copy)]
enum Kind {
    NativeLogin,
    NativeRotation,
    ExpressLogin,
    ExpressRotation,
}

const KINDS: [Kind; 4] = [Kind::NativeLogin, Kind::NativeRotation, Kind::ExpressLogin, Kind::ExpressRotation];

/// Where the way breaks.
const BOTH: [Break; 2] = [Break::Before, Break::After];

impl Kind {
    fn is_native(self) -> bool {
        matches!(self, Kind::NativeLogin | Kind::NativeRotation)
    }

    fn app(self, larder: &Larder) -> Router {
        let (native, express): (NativeProfile, ExpressProfile) = (native(), profile());
        let sessions = match self.is_native() {
            true => Sessions::native(larder.clone(), native),
            false => Sessions::express(larder.clone(), express),
        };
        let user =
            async |session: Session| Ok::<_, SessionError>(format!("{:?}", session.user::<String>().await?));
        let ann = async |session: Session| session.login("ann").await;
        let turn = async move |session: Session| match self {
            Kind::NativeLogin | Kind::ExpressLogin => session.login("bob").await,
            Kind::NativeRotation | Kind::ExpressRotation => session.rotate().await,
        };
        let panics = async move |session: Session| {
            let turned = turn(session).await;
            assert!(turned.is_err(), "on purpose");
        };
        Router::new()
            .route("/user", get(user))
            .route("/ann", get(ann))
            .route("/turn", get(turn))
            .route("/panic", get(panics))
            .layer(sessions.expect("the settings agree").layer())
    }

    /// How many records of sessions there are.
    async fn records(self, larder: &Larder) -> usize {
        let keys = larder.scan("sess*").collect().await.expect("the store is there");
        keys.iter().filter(|key| !key.starts_with(b"session:user:")).count()
    }

    /// All records, as text.
    async fn dump(self, larder: &Larder) -> String {
        let mut dump = String::new();
        for key in larder.scan("sess*").collect().await.expect("the store is there") {
            if !key.starts_with(b"session:user:") {
                let record = larder.get(&key).await.expect("a string").unwrap_or_default();
                dump.push_str(&format!(
                    "{} {}\n",
                    String::from_utf8_lossy(&key),
                    String::from_utf8_lossy(&record)
                ));
            }
        }
        dump
    }
}

/// Sees that exactly one id works: the old one, with the record as it was, or another.
async fn exactly_one(kind: Kind, direct: &Larder, old: &str, before: &str, new: Option<&str>, what: &str) {
    let app = kind.app(direct);
    assert_eq!(kind.records(direct).await, 1, "{what}");
    let after = kind.dump(direct).await;
    let old_works = ask(&app, "/user", Some(old)).await.body != "None";
    // The id before the turn is in the record as a key or as a hash; where that has changed, the old one is void.
    assert_eq!(old_works, id_part(kind, before) == id_part(kind, &after), "{what}\n{before}\n{after}");
    if let Some(new) = new {
        let user = ask(&app, "/user", Some(new)).await.body;
        assert_eq!((old_works, user == "None"), (false, false), "{what}: a cookie was set, and it works");
    }
}

/// What in a record depends on the id alone.
fn id_part(kind: Kind, dump: &str) -> String {
    match kind.is_native() {
        true => dump.split('"').nth(3).expect("the hash of the secret").to_owned(),
        false => dump.split(' ').next().expect("the key").to_owned(),
    }
}

fn impatient() -> Options {
    let time = Duration::from_secs(20);
    Options::new().connect_timeout(time).response_timeout(time).retries(0, Duration::ZERO).lazy()
}

async fn begin(kind: Kind, direct: &Larder) -> (String, String) {
    direct.execute(Command::new("FLUSHALL")).await.expect("the store is there");
    let old = ask(&kind.app(direct), "/ann", None).await.cookie();
    let before = kind.dump(direct).await;
    (old, before)
}

/// Breaks at each step in turn, until there is none left to break at.
async fn at_every_step(
    name: &str,
    server: &mut Server,
    mut broken: impl AsyncFnMut(&mut Server),
    kinds: &[Kind],
    breaks: &[Break],
) {
    for &kind in kinds {
        for &at in breaks {
            let mut step = 0;
            loop {
                let what = format!("{name} {kind:?} {at:?} step {step}");
                let direct = Larder::open(&support::url(server)).await.expect("the server is there");
                let (old, before) = begin(kind, &direct).await;
                let proxy = Proxy::new(server.addr());
                let larder = Larder::open_with(&proxy.url(), impatient()).await.expect("lazily");
                proxy.break_after(step, at);
                let answer = ask(&kind.app(&larder), "/turn", Some(&old)).await;
                let is_through = !proxy.is_broken();
                broken(server).await;
                let direct = Larder::open(&support::url(server)).await.expect("the server is there");
                let new = answer.set_cookie.as_ref().map(|_| answer.cookie());
                exactly_one(kind, &direct, &old, &before, new.as_deref(), &what).await;
                if is_through {
                    assert_eq!((answer.status, new.is_some()), (200, true), "{what}");
                    assert!(step > 2, "{what}: it takes some steps");
                    break;
                }
                step += 1;
                assert!(step < 60, "{what}: no end");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_a_store_that_breaks_off_leaves_one_id() {
    for Backend { name, server, .. } in support::servers().await {
        let mut server = server.expect("these have one");
        at_every_step(name, &mut server, async |_| {}, &KINDS, &BOTH).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_s28_a_server_that_is_killed_leaves_one_id() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut servers = vec![("larder-server", Server::start(testkit::Options::larder().args(durable)))];
    let (mut kinds, mut breaks) = (&KINDS[..1], &BOTH[1..]);
    if support::is_full() {
        (kinds, breaks) = (&KINDS, &BOTH);
        servers.push(("redis-server", Server::start(testkit::Options::redis().args(durable))));
    }
    for (name, mut server) in servers {
        let killed = async |server: &mut Server| {
            server.kill9();
            server.restart();
        };
        at_every_step(name, &mut server, killed, kinds, breaks).await;
    }
}

/// Tasks of this runtime that have not ended.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn s04_a_cancelled_rotation_leaves_one_id() {
    support::on_all(async |Backend { larder, name, .. }| {
        // The connection has tasks of its own, which stay.
        larder.execute(Command::new("PING")).await.expect("the store is there");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let lasting = tasks();
        for kind in KINDS {
            for polls in 0..support::times(40, 12) {
                let (old, before) = begin(kind, &larder).await;
                let app = kind.app(&larder);
                let waits = async {
                    for _ in 0..polls {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    () = waits => {}
                    _ = ask(&app, "/turn", Some(&old)) => {}
                }
                // What was begun goes on by itself, and ends.
                let ended = async {
                    while tasks() > lasting {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends");
                let what = format!("{name} {kind:?} after {polls} polls");
                exactly_one(kind, &larder, &old, &before, None, &what).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn s04_a_handler_that_panics_leaves_one_id() {
    support::on_all(async |Backend { larder, name, .. }| {
        for kind in KINDS {
            let (old, before) = begin(kind, &larder).await;
            let app = kind.app(&larder);
            let cookie = old.clone();
            let panicked = tokio::spawn(async move { ask(&app, "/panic", Some(&cookie)).await.status }).await;
            assert!(panicked.is_err_and(|error| error.is_panic()), "{name} {kind:?}");
            exactly_one(kind, &larder, &old, &before, None, &format!("{name} {kind:?}")).await;
        }
    })
    .await;
}

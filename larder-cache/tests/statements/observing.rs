//! What can be seen from outside: metrics, events, and what is known of an entry.

use crate::support::{Down, MS, SECOND, Source, on_all, policy, until};
use larder_cache::{Ack, Cache, Change, Loaded, Near, Outcome, Policy, Sink, Tier, Write, WriteBack};
use larder_client::{Command, Larder};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// A cache of its own whose numbers go to a recorder of its own.
async fn measured(
    builder: impl AsyncFnOnce() -> larder_cache::Builder<str, String>,
) -> (Cache<str, String>, Snapshotter) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let builder = builder().await;
    // The handles are taken when the cache is made, which for one without a near cache asks nobody and waits for nothing.
    let building =
        metrics::with_local_recorder(&recorder, || futures_util::FutureExt::now_or_never(builder.build()));
    (building.expect("it waits for nothing").expect("it makes sense"), snapshotter)
}

/// All that was recorded: names with labels, and counts or how many durations.
fn recorded(snapshotter: &Snapshotter) -> Vec<(String, u64)> {
    let rows = snapshotter.snapshot().into_vec();
    let mut all: Vec<(String, u64)> = rows
        .into_iter()
        .map(|(key, _, description, value)| {
            let (_, key) = key.into_parts();
            assert!(description.is_some_and(|text| text.len() > 10), "{key} is not described");
            let labels: Vec<String> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let value = match value {
                DebugValue::Counter(count) => count,
                DebugValue::Histogram(values) => values.len() as u64,
                DebugValue::Gauge(_) => panic!("there are none"),
            };
            (format!("{} {}", key.name(), labels.join(" ")), value)
        })
        .filter(|(_, value)| *value > 0)
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn metrics_have_what_stats_have_with_names_labels_and_descriptions() {
    let larder = Larder::open("embedded://").await.expect("the engine opens");
    let builder = async || Cache::builder(&larder, "books").policy(policy().stale_for(SECOND * 50));
    let (cache, snapshotter) = measured(builder).await;
    cache.get_or_load("k", Source::open().load("value")).await.expect("it loads");
    cache.get("k").await.expect("it answers");
    cache.expire("k").await.expect("it works");
    let stale = cache.get_or_load("k", Source::open().give(Err(Down))).await.expect("it is served stale");
    assert!(stale.is_stale());
    cache.remove("k").await.expect("it works");
    let panics = |_| async { panic!("on purpose") as Result<String, Down> };
    assert!(cache.get_or_load("k", panics).await.is_err());
    let expected = [
        ("larder_cache_age_at_serve_seconds cache=books", 2),
        ("larder_cache_hits_total cache=books tier=backend", 1),
        ("larder_cache_invalidations_total cache=books from=here", 2),
        ("larder_cache_load_errors_total cache=books kind=panic", 1),
        ("larder_cache_load_errors_total cache=books kind=source", 1),
        ("larder_cache_load_seconds cache=books", 1),
        ("larder_cache_loads_total cache=books", 3),
        ("larder_cache_misses_total cache=books", 2),
        ("larder_cache_stale_served_total cache=books", 1),
    ];
    assert_eq!(recorded(&snapshotter), expected.map(|(name, value)| (name.to_owned(), value)));
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.panics, stats.invalidations), (3, 1, 2));
    assert_eq!((stats.age_at_serve.count(), stats.load_time.count()), (2, 1));
}

#[tokio::test]
async fn the_lag_of_invalidations_by_others_is_measured_and_that_of_ones_own_is_not() {
    on_all(async |backend| {
        let near = Near::bytes(1 << 20).suspect_after(SECOND * 50);
        let reader = backend.builder().await.near(near.clone()).build().await.expect("it makes sense");
        let writer = backend.builder().await.near(near).build().await.expect("it makes sense");
        writer.remove("k").await.expect("it works");
        writer.remove_tag("red").await.expect("it works");
        until("both are heard", async || reader.stats().changes_heard == 2).await;
        let lag = reader.stats().invalidation_lag;
        assert_eq!(lag.count(), 2, "{}", backend.name);
        assert!(lag.quantile(1.0).expect("there are two") < SECOND * 50, "{lag:?} {}", backend.name);
        assert_eq!(writer.stats().invalidation_lag.count(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_load_that_another_process_began_and_left_is_told_as_taken_over() {
    on_all(async |backend| {
        let hasty = backend.cache().await.with(policy().load_max(MS * 300));
        let (source, cache) = (Source::new(), backend.cache().await);
        let load = hasty.clone();
        let hung = source.load("late");
        let first = tokio::spawn(async move { load.get_or_load("k", hung).await });
        source.entered().await;
        cache.get_or_load("k", Source::open().load("value")).await.expect("it loads");
        assert!(first.await.expect("no panic").is_err());
        assert_eq!((cache.stats().taken_over, hasty.stats().taken_over), (1, 0), "{}", backend.name);
    })
    .await;
}

/// Text that a subscriber writes.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Told {
    type Writer = Told;

    fn make_writer(&'a self) -> Told {
        self.clone()
    }
}

#[test]
fn events_tell_of_loads_and_of_what_cannot_be_decoded() {
    let told = Told::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .without_time()
        .with_ansi(false)
        .with_writer(told.clone())
        .finish();
    // One thread, so that the tasks of loads are in its scope as well.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is memory");
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let larder = Larder::open("embedded://").await.expect("the engine opens");
            let cache: Cache<str, String> =
                Cache::builder(&larder, "books").build().await.expect("it makes sense");
            cache.get_or_load("a\n", Source::open().load("value")).await.expect("it loads");
            let _ = cache.get_or_load("b", Source::open().give(Err(Down))).await;
            larder.execute(Command::of(["APPEND", "{cache:books:0}:v:a\n", "x"])).await.expect("it works");
            larder
                .execute(Command::of(["SETRANGE", "{cache:books:0}:v:a\n", "27", "?"]))
                .await
                .expect("it works");
            assert!(cache.get("a\n").await.expect("it answers").is_none());
        });
    });
    let text = String::from_utf8(told.0.lock().expect("nobody panics with it").clone()).expect("it is text");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("larder_cache")).map(str::trim).collect();
    let expected = [
        ("DEBUG", "load started", "key=a\\n keys=1"),
        ("DEBUG", "load ended", "key=a\\n took="),
        ("DEBUG", "load started", "key=b keys=1"),
        ("DEBUG", "load failed", "key=b how=Source error="),
        ("WARN", "undecodable entry", "key=a\\n why="),
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, (level, what, fields)) in lines.iter().zip(expected) {
        let is_it = line.starts_with(level) && line.contains(what) && line.contains(fields);
        assert!(is_it && line.contains("cache=\"books\""), "{line:?} is not {level} {what} {fields}");
    }
}

#[tokio::test]
async fn inspect_says_what_is_known_of_an_entry_and_changes_nothing() {
    on_all(async |backend| {
        let lasting = policy().stale_for(SECOND * 50).negative_ttl(SECOND * 20);
        let builder = || async { backend.builder().await.policy(lasting.clone()) };
        let cache = builder().await.build().await.expect("it makes sense");
        assert_eq!(cache.inspect("k").await.expect("it answers"), None);
        let how = Write::new().tags(["red"]).etag("\"1\"");
        cache.set_with("k", "value".to_owned(), how).await.expect("it works");
        let fresh = cache.inspect("k").await.expect("it answers").expect("it is there");
        assert_eq!(
            (fresh.tier, fresh.is_found, fresh.is_stale, fresh.is_dirty),
            (Tier::Backend, true, false, false)
        );
        assert_eq!((fresh.tags.join(" ").as_str(), fresh.etag.as_deref()), ("red", Some("\"1\"")));
        assert!(fresh.bytes > 30 && fresh.age < SECOND * 50, "{fresh:?}");
        assert!(fresh.expires_in > SECOND * 50 && fresh.left > SECOND * 100, "{fresh:?}");
        cache.expire("k").await.expect("it works");
        let stale = cache.inspect("k").await.expect("it answers").expect("it is there");
        assert!(stale.is_stale && stale.expires_in.is_zero() && stale.left <= SECOND * 50, "{stale:?}");
        assert!(stale.age >= SECOND * 100, "{stale:?}");
        cache.find_or_load("no", Source::open().give(Ok(Loaded::not_found()))).await.expect("it loads");
        let none = cache.inspect("no").await.expect("it answers").expect("it is known");
        assert!(!none.is_found && !none.is_stale && none.expires_in <= SECOND * 20, "{none:?}");
        cache.remove("k").await.expect("it works");
        assert_eq!(cache.inspect("k").await.expect("it answers"), None, "{}", backend.name);
        let near = builder().await.near(Near::bytes(1 << 20)).build().await.expect("it makes sense");
        near.set("k", "value".to_owned()).await.expect("it works");
        let kept = near.inspect("k").await.expect("it answers").expect("it is there");
        assert_eq!((kept.tier, kept.is_found, kept.is_stale), (Tier::Near, true, false));
        let (before, after) = (cache.stats(), near.stats());
        assert_eq!((before.near_hits + before.backend_hits, before.misses), (0, 1));
        assert_eq!((after.near_hits, after.misses), (0, 0));
    })
    .await;
}

/// A source that is away.
struct Away;

impl Sink<String, String> for Away {
    type Error = Down;

    async fn store(&self, _: &[Change<String, String>]) -> Result<Vec<Outcome>, Down> {
        Err(Down)
    }
}

#[tokio::test]
async fn a_change_that_the_source_has_not_got_is_dirty() {
    let larder = Larder::open("embedded://").await.expect("the engine opens");
    let rule = Policy::ttl(Duration::from_secs(50));
    let carts: Cache<String, String> =
        Cache::builder(&larder, "carts").policy(rule).build().await.expect("it makes sense");
    let carts = carts.write_back(Away, WriteBack::new().ack(Ack::Memory)).await.expect("it opens");
    let inspect = async |key: &str| carts.inspect(&key.to_owned()).await.expect("it answers");
    assert_eq!(inspect("a").await, None);
    carts.put_with("a".to_owned(), "x".to_owned(), Write::new().etag("1")).await.expect("it is taken");
    let changed = inspect("a").await.expect("it is there");
    assert!(changed.is_dirty && changed.is_found && changed.etag.as_deref() == Some("1"), "{changed:?}");
    carts.delete("a".to_owned()).await.expect("it is taken");
    let deleted = inspect("a").await.expect("it waits");
    assert!(deleted.is_dirty && !deleted.is_found, "{deleted:?}");
}

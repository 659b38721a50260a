//! The attribute that makes a function a loader.

use crate::support::{Down, MS, SECOND, policy};
use larder_cache::{Cache, Entry, LoadError, Loaded, Tier, cached};
use larder_client::Larder;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

/// What functions get their values from, and where they keep them.
struct Shop {
    texts: Cache<str, String>,
    pairs: Cache<(String, u64), u64>,
    calls: AtomicU32,
}

async fn shop() -> Arc<Shop> {
    let larder = Larder::open("embedded://").await.expect("the engine opens");
    let rule = policy().negative_ttl(SECOND * 50);
    let texts = Cache::builder(&larder, "texts").policy(rule.clone()).build().await.expect("it makes sense");
    let pairs = Cache::builder(&larder, "pairs").policy(rule).build().await.expect("it makes sense");
    Arc::new(Shop { texts, pairs, calls: AtomicU32::new(0) })
}

impl Shop {
    fn call(&self) -> u32 {
        self.calls.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A text of a name.
#[cached(in = shop.texts, key = name, ttl = "90s", tags = ["texts", format!("length:{}", name.len())])]
async fn text(shop: Arc<Shop>, name: &str, mut suffix: Vec<u8>) -> Result<String, Down> {
    let call = shop.call();
    suffix.push(b'.');
    if name == "bad" {
        return Err(Down);
    }
    let suffix = String::from_utf8(suffix).map_err(|_| Down)?;
    Ok(format!("{name} {call}{suffix}"))
}

#[tokio::test]
async fn a_cached_function_loads_once_and_its_companions_invalidate_peek_and_refresh() {
    let shop = shop().await;
    let get = async |name: &str| text(Arc::clone(&shop), name, b"!".to_vec()).await;
    assert_eq!(*get("a").await.expect("it loads"), "a 1!.");
    let again = get("a").await.expect("it is there");
    assert_eq!((again.as_str(), again.tier()), ("a 1!.", Tier::Backend));
    assert!(again.expires_in() <= SECOND * 90 && again.expires_in() > SECOND * 50);
    let tags: Vec<&[u8]> = again.tags().collect();
    assert_eq!(tags, [&b"texts"[..], b"length:1"]);
    let peek = async || text::peek(Arc::clone(&shop), "a").await.expect("it answers");
    assert_eq!(*peek().await.expect("it is there"), "a 1!.");
    text::invalidate(Arc::clone(&shop), "a").await.expect("it works");
    assert!(peek().await.is_none());
    assert_eq!(*get("a").await.expect("it loads"), "a 2!.");
    let refreshed = text::refresh(Arc::clone(&shop), "a", b"?".to_vec()).await.expect("it loads");
    assert_eq!(*refreshed, "a 3?.");
    assert_eq!(*get("a").await.expect("it is there"), "a 3?.");
    shop.texts.remove_tag("length:1").await.expect("it works");
    assert!(peek().await.is_none());
    assert!(matches!(get("bad").await, Err(LoadError::Source(error)) if *error == Down));
}

/// Something that may not be there, under a key of several arguments.
#[cached(in = shop.pairs, key = (lang.clone(), id))]
async fn pair(shop: Arc<Shop>, lang: String, id: u64) -> Option<u64> {
    shop.call();
    (lang == "de").then_some(id * 2)
}

#[tokio::test]
async fn what_is_not_there_is_kept_as_that() {
    let shop = shop().await;
    let get = async |lang: &str| pair(Arc::clone(&shop), lang.to_owned(), 4).await.expect("it loads");
    for _ in 0..2 {
        assert_eq!(get("de").await.map(|entry| *entry), Some(8));
        assert!(get("fr").await.is_none());
    }
    assert_eq!(shop.calls.load(Ordering::SeqCst), 2);
}

static COUNTED: LazyLock<AtomicU32> = LazyLock::new(AtomicU32::default);

#[tokio::test]
async fn a_function_inside_of_another_one_decides_itself_how_long_its_value_is_kept() {
    #[cached(in = cache, key = 1_u64)]
    async fn counted(cache: Cache<u64, u32>) -> Result<Loaded<u32>, Down> {
        Ok(Loaded::new(COUNTED.fetch_add(1, Ordering::SeqCst)).ttl(MS * 20).etag("e"))
    }
    let larder = Larder::open("embedded://").await.expect("the engine opens");
    let cache: Cache<u64, u32> = Cache::builder(&larder, "counted").build().await.expect("it makes sense");
    let first = counted(cache.clone()).await.expect("it loads");
    assert_eq!((*first, first.etag()), (0, Some("e")));
    tokio::time::sleep(MS * 25).await;
    assert!(counted::peek(cache.clone()).await.expect("it answers").is_none());
    assert_eq!(*counted(cache.clone()).await.expect("it loads"), 1);
    counted::invalidate(cache.clone()).await.expect("it works");
    assert_eq!(*counted::refresh(cache).await.expect("it loads"), 2);
}

type Summing = Pin<Box<dyn Future<Output = Result<Entry<u64>, LoadError<String>>> + Send>>;

#[tokio::test]
async fn a8_a_cached_function_that_calls_itself_with_the_same_key_is_told() {
    #[cached(in = cache, key = n)]
    async fn sum(cache: Cache<u64, u64>, n: u64) -> Result<u64, String> {
        if n == 13 {
            let again = boxed(cache, n).await;
            return Err(again.err().map(|error| error.to_string()).unwrap_or_default());
        }
        match n {
            0 => Ok(0),
            _ => Ok(n + *boxed(cache, n - 1).await.map_err(|error| error.to_string())?),
        }
    }
    fn boxed(cache: Cache<u64, u64>, n: u64) -> Summing {
        Box::pin(sum(cache, n))
    }
    let larder = Larder::open("embedded://").await.expect("the engine opens");
    let cache: Cache<u64, u64> = Cache::builder(&larder, "sums").build().await.expect("it makes sense");
    assert_eq!(*sum(cache.clone(), 4).await.expect("it loads"), 10);
    let recursive = LoadError::<String>::Recursive.to_string();
    assert!(matches!(sum(cache, 13).await, Err(LoadError::Source(why)) if **why == recursive));
}

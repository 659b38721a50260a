//! The cache commands: what is stored, what is refused, and what is told.

mod still_clock;

use larder::{Larder, Options};
use larder_resp::Frame;
use std::sync::Arc;
use still_clock::StillClock;

struct Cache {
    larder: Larder,
    clock: Arc<StillClock>,
}

/// State and bytes of an entry, without its header.
type Seen = (i64, String);

impl Cache {
    fn open() -> Cache {
        let (larder, clock) = still_clock::open();
        Cache { larder, clock }
    }

    fn ask(&self, line: &str) -> Frame {
        self.larder.execute(&line.split(' ').collect::<Vec<_>>())
    }

    fn list(&self, line: &str) -> Vec<Frame> {
        match self.ask(line) {
            Frame::Array(list) => list,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// Asks for the lease of an entry; returns the epoch and whether it was granted.
    fn lease(&self, name: &str, token: &str) -> (i64, i64) {
        let reply = self.list(&format!("CACHE LEASE v:{name} m w:{name} {token} 1000 eraeraer 0"));
        (integer(&reply[1]), integer(&reply[5]))
    }

    fn fill(&self, name: &str, token: &str, epoch: i64, data: &str, tags: &str) -> i64 {
        let line = format!("CACHE FILL v:{name} m w:{name} {token} eraeraer {epoch} 60000 0 {data} {tags}");
        integer(&self.ask(line.trim_end()))
    }

    fn set(&self, name: &str, data: &str) -> i64 {
        let line = format!("CACHE SET v:{name} m w:{name} l eraeraer nodenode c 5 {name} 60000 0 {data}");
        integer(&self.list(&line)[2])
    }

    fn drop_entry(&self, name: &str, mode: &str) -> i64 {
        let line = format!("CACHE DROP v:{name} m w:{name} l eraeraer nodenode c 5 {name} {mode}");
        integer(&self.list(&line)[1])
    }

    fn sweep(&self, mode: &str, tag: &str) {
        let line = format!("CACHE TAG m l eraeraer nodenode c 5 60000 {mode} {tag}");
        self.list(line.trim_end());
    }

    fn get(&self, name: &str) -> Seen {
        let reply = self.list(&format!("CACHE GET v:{name} m"));
        let data = match &reply[4] {
            Frame::Bulk(bytes) => without_header(bytes),
            _ => String::new(),
        };
        (integer(&reply[2]), data)
    }
}

/// The data behind 27 bytes, of which the last two count the tags, and the tags.
fn without_header(bytes: &[u8]) -> String {
    let number = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let start = (0..number(25)).fold(27, |at, _| at + 2 + number(at));
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

fn integer(frame: &Frame) -> i64 {
    match frame {
        Frame::Integer(number) => *number,
        other => panic!("{other:?} is no integer"),
    }
}

fn fresh(data: &str) -> Seen {
    (1, data.to_owned())
}

fn absent() -> Seen {
    (0, String::new())
}

#[test]
fn one_loader_at_a_time_may_fill_and_a_dead_one_delays_by_its_lease() {
    let cache = Cache::open();
    assert_eq!(cache.lease("k", "one"), (0, 1));
    assert_eq!(cache.lease("k", "two"), (0, 0));
    cache.clock.pass_ms(1000);
    assert_eq!(cache.lease("k", "two"), (0, 1));
    assert_eq!(cache.fill("k", "one", 0, "late", ""), 0, "its lease is over");
    assert_eq!(cache.fill("k", "two", 0, "two", ""), 1);
    assert_eq!(cache.lease("k", "three").1, 0, "it is fresh");
    assert_eq!(cache.get("k"), fresh("two"));
}

#[test]
fn a_fill_is_refused_after_anything_it_depends_on_was_invalidated() {
    type Change = fn(&Cache);
    let changes: [(&str, Change, Seen); 7] = [
        ("remove", |cache| _ = cache.drop_entry("k", "r"), absent()),
        ("expire", |cache| _ = cache.drop_entry("k", "x"), absent()),
        ("set", |cache| _ = cache.set("k", "new"), fresh("new")),
        ("tag", |cache| cache.sweep("r", "red"), absent()),
        ("expired tag", |cache| cache.sweep("x", "red"), absent()),
        ("clear", |cache| cache.sweep("c", ""), absent()),
        ("flush", |cache| _ = cache.ask("FLUSHALL"), absent()),
    ];
    for (name, change, then) in changes {
        let cache = Cache::open();
        let (epoch, _) = cache.lease("k", "me");
        change(&cache);
        // The tag is learned at the end of the load only.
        assert_eq!(cache.fill("k", "me", epoch, "old", "red"), 0, "{name}");
        assert_eq!(cache.get("k"), then, "{name}");
        if then == absent() {
            let (epoch, granted) = cache.lease("k", "again");
            // A refused fill has given its lease back, unless it was not its own any more.
            assert_eq!(granted, 1, "{name}");
            assert_eq!(cache.fill("k", "again", epoch, "young", "red"), 1, "{name}");
            assert_eq!(cache.get("k"), fresh("young"), "{name}");
        }
    }
}

#[test]
fn tags_invalidate_what_has_them_and_nothing_else() {
    let cache = Cache::open();
    for (name, tags) in [("a", "red round"), ("b", "blue"), ("c", "")] {
        let (epoch, _) = cache.lease(name, "me");
        assert_eq!(cache.fill(name, "me", epoch, "data", tags), 1);
    }
    cache.sweep("r", "round");
    assert_eq!([cache.get("a"), cache.get("b"), cache.get("c")], [absent(), fresh("data"), fresh("data")]);
    cache.sweep("c", "");
    assert_eq!([cache.get("a"), cache.get("b"), cache.get("c")], [absent(), absent(), absent()]);
}

#[test]
fn what_is_expired_may_be_served_stale_and_what_is_removed_may_not() {
    let cache = Cache::open();
    let fill = |tags: &str| {
        let (epoch, _) = cache.lease("k", "me");
        let line = format!("CACHE FILL v:k m w:k me eraeraer {epoch} 60000 10000 data {tags}");
        assert_eq!(integer(&cache.ask(line.trim_end())), 1);
    };
    fill("");
    cache.clock.pass_ms(49_999);
    assert_eq!(cache.get("k").0, 1);
    cache.clock.pass_ms(1);
    assert_eq!(cache.get("k").0, 2);
    cache.clock.pass_ms(10_000);
    assert_eq!(cache.get("k"), absent());
    fill("");
    cache.drop_entry("k", "x");
    assert_eq!(cache.get("k").0, 2);
    cache.clock.pass_ms(10_000);
    assert_eq!(cache.get("k"), absent());
    fill("red");
    cache.sweep("x", "red");
    assert_eq!(cache.get("k").0, 2);
    cache.sweep("r", "red");
    assert_eq!(cache.get("k"), absent());
    fill("");
    cache.drop_entry("k", "r");
    assert_eq!(cache.get("k"), absent());
}

#[test]
fn a_touch_lengthens_the_life_of_fresh_entries_only() {
    let cache = Cache::open();
    let touch = |ms: u64| integer(&cache.ask(&format!("CACHE TOUCH v:k m {ms}")));
    assert_eq!(touch(1000), 0);
    cache.set("k", "data");
    assert_eq!((touch(50_000), touch(70_000), integer(&cache.ask("PTTL v:k"))), (0, 1, 70_000));
    cache.drop_entry("k", "r");
    assert_eq!(touch(70_000), 0);
    let (epoch, _) = cache.lease("k", "me");
    cache.ask(&format!("CACHE FILL v:k m w:k me eraeraer {epoch} 60000 10000 data"));
    cache.drop_entry("k", "x");
    assert_eq!(touch(70_000), 0, "it is stale");
}

#[test]
fn an_update_keeps_loads_away_and_may_store_what_it_has_written() {
    let cache = Cache::open();
    let (epoch, _) = cache.lease("k", "load");
    let begun = cache.drop_entry("k", "g guard--1 1000");
    assert_eq!(cache.fill("k", "load", epoch, "old", ""), 0);
    let reply = cache.list("CACHE LEASE v:k m w:k load 1000 eraeraer 0");
    assert_eq!((integer(&reply[5]), integer(&reply[6])), (0, -1));
    assert_eq!(cache.fill("k", "!guard--1", begun, "new", ""), 1);
    assert_eq!(cache.get("k"), fresh("new"));
    assert_eq!(cache.fill("k", "!guard--1", begun, "twice", ""), 0);
    // A crash inside ends by time.
    cache.drop_entry("k", "g guard--1 1000");
    cache.clock.pass_ms(1000);
    assert_eq!(cache.lease("k", "load").1, 1);
    // What comes after that does not outlive the late end of the update.
    cache.drop_entry("k", "e guard--1");
    assert_eq!(cache.fill("k", "load", begun + 1, "doubtful", ""), 0);
    assert!(matches!(cache.ask("CACHE LEASE v:k m w:k !x 1000 eraeraer 0"), Frame::Error(_)));
}

#[test]
fn overlapping_updates_leave_the_entry_absent() {
    type Other = fn(&Cache);
    let others: [(&str, Other); 5] = [
        ("a set", |cache| assert_eq!(cache.set("k", "other"), 0)),
        ("a removal", |cache| _ = cache.drop_entry("k", "r")),
        ("a clearing", |cache| cache.sweep("c", "")),
        ("an update that is over", |cache| {
            cache.drop_entry("k", "g guard--2 500");
            cache.drop_entry("k", "e guard--2");
        }),
        ("an update that crashed", |cache| {
            cache.drop_entry("k", "g guard--2 500");
            cache.clock.pass_ms(600);
        }),
    ];
    for (name, other) in others {
        let cache = Cache::open();
        let begun = cache.drop_entry("k", "g guard--1 1000");
        other(&cache);
        assert_eq!(cache.lease("k", "load").1, 0, "{name}: the first is still open");
        assert_eq!(cache.fill("k", "!guard--1", begun, "mine", ""), 0, "{name}");
        cache.drop_entry("k", "e guard--1");
        assert_eq!(cache.get("k"), absent(), "{name}");
        let (epoch, granted) = cache.lease("k", "load");
        assert_eq!((granted, cache.fill("k", "load", epoch, "after", "")), (1, 1), "{name}");
    }
}

#[test]
fn the_feed_tells_every_change_in_order_keeps_the_last_ones_and_shows_its_gaps() {
    let cache = Cache::open();
    cache.set("a", "x");
    cache.drop_entry("b", "r");
    cache.sweep("r", "red");
    let told = |since: i64| {
        let reply = cache.list(&format!("CACHE SINCE m l {since}"));
        match &reply[2] {
            Frame::Array(changes) => Some(changes.iter().map(change).collect::<Vec<_>>().join(" ")),
            _ => None,
        }
    };
    assert_eq!(told(0).as_deref(), Some("1sa 2rb 3tred"));
    assert_eq!(told(2).as_deref(), Some("3tred"));
    assert_eq!(told(3).as_deref(), Some(""));
    assert_eq!(told(4), None, "the future");
    (0..5).for_each(|_| _ = cache.drop_entry("b", "x"));
    assert_eq!(told(2), None, "five are kept");
    assert_eq!(told(3).as_deref(), Some("4xb 5xb 6xb 7xb 8xb"));
    assert_eq!(integer(&cache.ask("LLEN l")), 5);
    cache.ask("DEL l");
    assert_eq!(told(3), None);
}

/// Epoch, kind and name of a change.
fn change(frame: &Frame) -> String {
    let Frame::Bulk(bytes) = frame else { panic!("{frame:?}") };
    let epoch = u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
    assert_eq!(&bytes[8..16], b"nodenode");
    let at_ms = u64::from_be_bytes(bytes[16..24].try_into().expect("eight bytes"));
    assert!(at_ms > 1_600_000_000_000, "{at_ms} is no time of this century");
    format!("{epoch}{}", String::from_utf8_lossy(&bytes[24..]))
}

#[test]
fn tags_that_no_entry_can_have_any_more_are_forgotten() {
    let cache = Cache::open();
    for round in 0..200 {
        let (epoch, _) = cache.lease("k", "me");
        assert_eq!(cache.fill("k", "me", epoch, "data", &format!("tag{round}")), 1);
        cache.clock.pass_ms(100_000);
    }
    let fields = integer(&cache.ask("HLEN m"));
    assert!(fields < 20, "{fields} fields of 200 tags");
}

#[test]
fn keys_of_other_types_and_sizes_are_refused_before_anything_changes() {
    let cache = Cache::open();
    cache.ask("RPUSH list x");
    cache.ask("SET text x");
    let long = "n".repeat(4097);
    let tag = "t".repeat(1025);
    for line in [
        "CACHE GET list m",
        "CACHE LEASE v m list me 1000 eraeraer 0",
        "CACHE LEASE v text w me 1000 eraeraer 0",
        "CACHE LEASE v m w me 1000 short 0",
        "CACHE LEASE v m w me 0 eraeraer 0",
        "CACHE SET v m w text eraeraer nodenode c 5 name 60000 0 data",
        "CACHE SET v m list l eraeraer nodenode c 5 name 60000 0 data",
        "CACHE SET v m w l eraeraer nodenode c 0 name 60000 0 data",
        "CACHE DROP v m w l eraeraer nodenode c 5 name z",
        "CACHE DROP v m w l eraeraer nodenode c 5 name g short 1000",
        "CACHE DROP v m w l eraeraer nodenode c 5 name r extra",
        "CACHE TAG m text eraeraer nodenode c 5 60000 c",
        &format!("CACHE DROP v m w l eraeraer nodenode c 5 {long} r"),
        &format!("CACHE SET v m w l eraeraer nodenode c 5 name 60000 0 data {tag}"),
    ] {
        assert!(matches!(cache.ask(line), Frame::Error(_)), "{line}");
    }
    assert_eq!(integer(&cache.ask("DBSIZE")), 2, "nothing else was made");
}

#[test]
fn what_the_log_keeps_gives_the_same_entries_again() {
    let folder = std::env::temp_dir().join(format!("larder-cache-log-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let keys = ["m", "l", "v:a", "v:b", "w:a", "w:b"];
    let state = |larder: &Larder| keys.map(|key| larder.execute(&["DUMP", key]));
    let before = {
        let larder = Larder::open_dir(&folder, Options::default()).expect("it opens");
        for line in [
            "CACHE LEASE v:a m w:a me 100000 eraeraer 0",
            "CACHE FILL v:a m w:a me eraeraer 0 600000 0 data red blue",
            "CACHE SET v:b m w:b l eraeraer nodenode c 2 b 600000 5000 data",
            "CACHE DROP v:b m w:b l eraeraer nodenode c 2 b x",
            "CACHE DROP v:b m w:b l eraeraer nodenode c 2 b g guard--1 600000",
            "CACHE TAG m l eraeraer nodenode c 2 600000 r red green",
        ] {
            assert!(
                !matches!(larder.execute(&line.split(' ').collect::<Vec<_>>()), Frame::Error(_)),
                "{line}"
            );
        }
        state(&larder)
    };
    let again = Larder::open_dir(&folder, Options::default()).expect("it opens again");
    assert_eq!(state(&again), before);
    drop(again);
    let _ = std::fs::remove_dir_all(&folder);
}

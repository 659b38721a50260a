//! The session guard: what was deleted under a guarded prefix is not brought back by a plain SET.

use larder::{Larder, Options, SetOptions, Ttl};
use larder_resp::Frame;
use std::time::Duration;

fn guarded(prefixes: &str) -> Larder {
    let larder = Larder::open(Options::default()).expect("an engine");
    let set = larder.execute(&["CONFIG", "SET", "session-guard-prefixes", prefixes]);
    assert_eq!(set, Frame::Simple(b"OK".to_vec()));
    larder
}

/// All the ways to set a key without saying what is expected there.
const PLAIN: &[&[&str]] = &[
    &["SET", "sess:a", "late"],
    &["SET", "sess:a", "late", "EX", "100"],
    &["SET", "sess:a", "late", "KEEPTTL"],
    &["SETEX", "sess:a", "100", "late"],
    &["PSETEX", "sess:a", "100000", "late"],
];

/// All the ways to delete it.
const DELETES: &[&[&str]] = &[
    &["DEL", "sess:a"],
    &["UNLINK", "sess:a", "sess:b"],
    &["DELIFEQ", "sess:a", "alive"],
    &["GETDEL", "sess:a"],
    &["EXPIRE", "sess:a", "-1"],
    &["RENAME", "sess:a", "elsewhere"],
];

#[test]
fn a_late_set_is_acknowledged_and_dropped() {
    for delete in DELETES {
        let larder = guarded("other: sess:");
        for set in PLAIN {
            larder.execute(&["SET", "sess:a", "alive", "NX"]);
            assert!(!larder.execute(delete).is_error(), "{delete:?}");
            assert_eq!(larder.execute(set), Frame::Simple(b"OK".to_vec()), "{delete:?} {set:?}");
            assert_eq!(larder.get("sess:a").expect("a string"), None, "{delete:?} {set:?}");
        }
        assert_eq!(larder.execute(&["SET", "sess:a", "late", "GET"]), Frame::Null);
        larder.set("sess:a", "late").expect("it is acknowledged");
        let ttl = SetOptions::new().ttl(Ttl::In(Duration::from_secs(9)));
        assert_eq!(larder.set_with("sess:a", "late", ttl), Ok(true));
        let set = [&["MULTI"][..], &["SET", "sess:a", "late"], &["EXEC"]];
        let mut connection = larder.connect();
        set.iter().for_each(|command| drop(connection.execute(command)));
        assert!(!larder.exists("sess:a").expect("an answer"), "{delete:?}");
    }
}

#[test]
fn a_deletion_of_what_is_absent_is_remembered_too() {
    let larder = guarded("sess:");
    larder.execute(&["DEL", "sess:a"]);
    larder.set("sess:a", "late").expect("it is acknowledged");
    assert_eq!(larder.get("sess:a").expect("a string"), None);
}

#[test]
fn who_says_what_is_expected_is_obeyed() {
    let larder = guarded("sess:");
    larder.execute(&["SET", "sess:a", "1"]);
    larder.execute(&["DEL", "sess:a"]);
    assert_eq!(larder.execute(&["SET", "sess:a", "2", "NX"]), Frame::Simple(b"OK".to_vec()));
    // It is there again: whoever sets it now does not bring it back.
    assert_eq!(larder.execute(&["SET", "sess:a", "3"]), Frame::Simple(b"OK".to_vec()));
    assert_eq!(larder.get("sess:a").expect("a string").as_deref(), Some(b"3".as_slice()));
}

#[test]
fn other_keys_and_other_ends_are_none_of_its_business() {
    let larder = guarded("sess:");
    larder.execute(&["SET", "page:a", "1"]);
    larder.execute(&["DEL", "page:a"]);
    larder.execute(&["SET", "page:a", "2"]);
    assert!(larder.exists("page:a").expect("an answer"));
    // An expired session is no session that was ended.
    larder.set_for("sess:a", "1", Duration::from_millis(1)).expect("stored");
    std::thread::sleep(Duration::from_millis(20));
    larder.set("sess:a", "2").expect("stored");
    assert!(larder.exists("sess:a").expect("an answer"));
    // Another database has keys of its own.
    larder.del("sess:a").expect("deleted");
    let other = larder.database(1).expect("there are 16");
    other.set("sess:a", "3").expect("stored");
    assert!(other.exists("sess:a").expect("an answer"));
}

#[test]
fn it_is_off_unless_set_and_forgets_in_time() {
    let larder = guarded("");
    larder.execute(&["DEL", "sess:a"]);
    larder.execute(&["CONFIG", "SET", "session-guard-prefixes", "sess:", "session-guard-seconds", "3"]);
    larder.set("sess:a", "1").expect("stored");
    assert!(larder.exists("sess:a").expect("an answer"));
    larder.del("sess:a").expect("deleted");
    larder.set("sess:a", "late").expect("acknowledged");
    assert!(!larder.exists("sess:a").expect("an answer"));
    std::thread::sleep(Duration::from_millis(3_050));
    larder.set("sess:a", "2").expect("stored");
    assert!(larder.exists("sess:a").expect("an answer"));
}

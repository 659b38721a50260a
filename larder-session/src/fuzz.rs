//! Mutated bytes for all that this crate parses: what a browser sends, and what somebody has put into the store.

use crate::cookie::cookie_value;
use crate::express::ExpressProfile;
use crate::native::meta::Visitor;
use crate::native::{KeyRing, NativeProfile};
use crate::profile::{Profile, Turn};
use crate::record::Record;
use http::HeaderValue;
use serde_json::Value;
use std::time::Duration;
use testkit::fuzz::{self, Target};

fn profiles() -> [Profile; 2] {
    let express = ExpressProfile::new(["secret"]).name("sid").user_member("passport.user");
    let native = NativeProfile::new(KeyRing::new([1; 32])).rotate_every(Duration::from_secs(60));
    [Profile::Express(express), Profile::Native(native)]
}

/// An id of native sessions.
const ID: &str = "handle0123456789secret0123456789secret";

/// A `Cookie` header: whatever is in it, no ids come out but those that were signed.
fn cookies(data: &[u8]) {
    let Ok(header) = HeaderValue::from_bytes(data) else { return };
    for profile in profiles() {
        for presented in profile.presented(&[header.clone(), header.clone()], |_| {}) {
            assert!(["x.y", ID].contains(&presented.id.as_str()), "{}", presented.id);
        }
    }
}

/// A record: it is refused, or everything that is done with records leaves one.
fn records(data: &[u8]) {
    for profile in profiles() {
        let Some(mut record) = Record::unchecked(data.to_vec()) else { continue };
        let standing = profile.standing(ID, &mut record);
        if !record.check() {
            // A native record that begins as ours do is looked through later.
            assert!(standing.is_err() || profile.native().is_some(), "{}", record.text());
            continue;
        }
        let meta = standing.map(|(_, meta)| meta).unwrap_or_default();
        let _ = profile.user::<Value>(&record, meta.as_ref());
        let turn = Turn { id: ID.to_owned(), login: Some("ann".into()), grace: Duration::from_secs(10) };
        for turn in [None, Some(&turn)] {
            if let Ok(mut sealed) = profile.sealed(&record, ID, turn, &Visitor::default()) {
                let text = sealed.record.text().as_bytes().to_vec();
                assert!(Record::parse(text).is_some(), "{}", sealed.record.text());
                let again = profile.standing(ID, &mut sealed.record);
                assert!(again.is_ok(), "{}", sealed.record.text());
            }
        }
        if let Profile::Express(express) = &profile {
            let mut record = record.clone();
            assert!(express.ttl_of(&record) > Duration::ZERO);
            express.set_user(&mut record, "1");
            assert_eq!(profile.user::<u64>(&record, None).ok(), Some(Some(1)), "{}", record.text());
        }
        let _header = profile.cookie(ID, &record, None);
    }
}

fn run(target: Target, examples: &[Vec<u8>]) {
    let runs = if std::env::var_os("LARDER_SESSION_FULL").is_some() { 1_000_000 } else { 20_000 };
    if let Err(crash) = fuzz::quietly(|| fuzz::run(target, examples, runs, 6)) {
        panic!("{} (input {}): \"{}\"", crash.message, crash.run, crash.input.escape_ascii());
    }
}

#[test]
fn s07_no_bytes_of_a_cookie_are_an_id_that_nobody_signed() {
    let ours = format!("__Host-sid={}", KeyRing::new([1; 32]).cookie_value("__Host-sid", ID));
    let theirs = format!("lang=\u{e9}; sid={}; a=b", cookie_value("x.y", "secret"));
    run(cookies, &[ours.into_bytes(), theirs.into_bytes(), b"sid=\"s:x.y.\"; =; ;;".to_vec()]);
}

#[test]
fn s31_no_bytes_in_the_store_break_what_reads_them() {
    let native =
        r#"{"~":[1800000000,5,5,"kDnm-VGzKzzcl1GEoTVtXw","ann",9,"203.0.113.7","curl/8","",0],"cart":[1]}"#;
    let express = r#"{"cookie":{"originalMaxAge":86400000,"expires":"2026-11-24T16:04:43.659Z","path":"/"},"passport":{"user":1}}"#;
    let odd = r#" { "cookie" : {} , "passport":[{"user":"\ud800"}], "~":[1e3,-1,18446744073709551615] } "#;
    run(records, &[native.into(), express.into(), odd.into()]);
}

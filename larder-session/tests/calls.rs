//! Statements 12 and 13: how many calls of the store a request makes, as the server counts them.

mod support;

use larder_client::Larder;
use std::collections::BTreeMap;
use std::time::Duration;
use support::{Backend, app, ask, native, native_app, profile};
use testkit::Server;

/// What a server was asked since the last time, without what this asks.
fn calls(server: &Server) -> BTreeMap<String, u64> {
    let mut client = server.connect();
    let reply = client.cmd(&["INFO", "commandstats"]);
    client.cmd(&["CONFIG", "RESETSTAT"]);
    let text = reply.as_str().expect("INFO is text").to_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let counts = lines.map(|(name, rest)| {
        let count = rest.split(',').next().and_then(|count| count.parse().ok());
        (name.to_owned(), count.expect("a count"))
    });
    counts.filter(|(name, _)| !["info", "config", "config|resetstat"].contains(&name.as_str())).collect()
}

fn counted(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test]
async fn s12_s13_an_unused_session_costs_no_call_and_a_read_one() {
    for Backend { larder, name, server } in support::servers().await {
        let server = server.expect("these have one");
        let native_app = native_app(&larder, native());
        let cookie = ask(&native_app, "/login?user=ann", None).await.cookie();
        let express_app = app(&larder, profile());
        let theirs = ask(&express_app, "/login?user=ann", None).await.cookie();
        calls(&server);
        ask(&native_app, "/nothing", Some(&cookie)).await;
        ask(&express_app, "/nothing", Some(&theirs)).await;
        assert_eq!(calls(&server), counted(&[]), "{name}");
        ask(&native_app, "/user", Some(&cookie)).await;
        assert_eq!(calls(&server), counted(&[("get", 1)]), "{name}");
        // Express moves the end of the session with each request, and so do we with its sessions.
        ask(&express_app, "/member?name=user", Some(&theirs)).await;
        assert_eq!(calls(&server), counted(&[("get", 1), ("expire", 1)]), "{name}");
        if name == "larder-server" {
            ask(&native_app, r#"/change?set={"a":1,"b":2}"#, Some(&cookie)).await;
            assert_eq!(calls(&server), counted(&[("get", 1), ("set", 1)]), "{name}");
        }
    }
}

/// The engine in this process tells with the record how long it has left.
#[tokio::test]
async fn s36_an_end_that_is_where_it_belongs_to_the_second_is_not_moved() {
    let age = Duration::from_secs(100);
    let larder = Larder::open("embedded://").await.expect("it opens");
    let app = app(&larder, profile().max_age(age));
    let cookie = ask(&app, "/login?user=ann", None).await.cookie();
    let keys = larder.scan("sess:*").collect().await.expect("the engine is there");
    let [key] = keys.as_slice() else { panic!("one session: {keys:?}") };
    let left_after = async |left: Duration| {
        larder.expire_in(key, left).await.expect("the engine is there");
        ask(&app, "/member?name=user", Some(&cookie)).await;
        larder.time_left(key).await.expect("the engine is there").expect("the session is there")
    };
    let little = Duration::from_millis(100);
    assert!(left_after(age / 2).await > age / 2);
    assert!(left_after(age * 2).await <= age);
    // A machine under load may take most of a second for the request.
    let mut stays = false;
    for _ in 0..10 {
        stays |= left_after(age - little).await <= age - little;
    }
    assert!(stays);
}

#[tokio::test]
async fn s13_a_touch_is_one_write_and_the_index() {
    let server = Server::larder(&[]);
    let larder = Larder::open(&support::url(&server)).await.expect("the server is there");
    let app = native_app(
        &larder,
        native().idle(Duration::from_secs(20)).touch_at_most_every(Duration::from_secs(2)),
    );
    let cookie = ask(&app, "/login?user=ann", None).await.cookie();
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    calls(&server);
    for _ in 0..3 {
        ask(&app, "/user", Some(&cookie)).await;
    }
    let counts = calls(&server);
    let writes: u64 = counts.iter().filter(|(name, _)| *name != "get").map(|(_, count)| count).sum();
    // A machine under load may take another two seconds for the three requests.
    assert!(counts["get"] >= 3 && counts["set"] <= 2 && writes <= 6, "{counts:?}");
}

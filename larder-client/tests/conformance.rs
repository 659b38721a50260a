//! What every backend must do alike.

mod support;

use larder_client::{
    Command, Error, Event, Kind, Larder, Notice, Options, Pipeline, Script, SetOptions, Ttl, Value,
};
use std::collections::BTreeSet;
use std::time::Duration;
use support::{Backend, on_all};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn strings_with_any_bytes_come_back() {
    on_all(async |Backend { larder, name, .. }| {
        let value: Vec<u8> = (0..=255).collect();
        larder.set(b"\x00key\r\n", &value).await.unwrap();
        assert_eq!(larder.get(b"\x00key\r\n").await.unwrap(), Some(value), "{name}");
        assert_eq!(larder.get("nothing").await.unwrap(), None);
        assert_eq!(larder.incr_by("n", -3).await.unwrap(), -3);
        let many = larder.get_many(&["n", "nothing"]).await.unwrap();
        assert_eq!(many, [Some(b"-3".to_vec()), None]);
        assert_eq!(larder.del(&["n", "nothing"]).await.unwrap(), 1);
        assert!(!larder.exists("n").await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn conditions_and_times_hold() {
    on_all(async |Backend { larder, .. }| {
        let absent = SetOptions::new().ttl(Ttl::In(SECOND * 100)).if_absent();
        assert!(larder.set_with("k", "1", absent).await.unwrap());
        assert!(!larder.set_with("k", "2", absent).await.unwrap());
        let left = larder.time_left("k").await.unwrap().unwrap();
        assert!(left > SECOND * 50 && left <= SECOND * 100, "{left:?}");
        assert!(larder.set_with("k", "3", SetOptions::new().ttl(Ttl::Keep).if_present()).await.unwrap());
        assert!(larder.time_left("k").await.unwrap().unwrap() <= SECOND * 100);
        larder.set("k", "4").await.unwrap();
        assert_eq!(larder.time_left("k").await.unwrap(), Some(Duration::MAX));
        assert_eq!(larder.time_left("nothing").await.unwrap(), None);
        larder.set_for("short", "x", Duration::from_millis(30)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(larder.get("short").await.unwrap(), None);
        assert!(larder.expire_in("k", SECOND * 5).await.unwrap());
        assert!(larder.time_left("k").await.unwrap().unwrap() <= SECOND * 5);
    })
    .await;
}

#[tokio::test]
async fn compare_and_set_is_atomic_and_has_a_time() {
    on_all(async |Backend { larder, name, .. }| {
        assert!(larder.compare_and_set("k", None, "1", Ttl::In(SECOND * 50)).await.unwrap());
        assert!(!larder.compare_and_set("k", None, "2", Ttl::Never).await.unwrap());
        assert!(!larder.compare_and_set("k", Some(b"9"), "2", Ttl::Never).await.unwrap());
        assert!(larder.compare_and_set("k", Some(b"1"), "2", Ttl::Keep).await.unwrap());
        assert!(larder.time_left("k").await.unwrap().unwrap() <= SECOND * 50);
        assert!(larder.compare_and_set("k", Some(b"2"), "3", Ttl::Never).await.unwrap());
        assert_eq!(larder.time_left("k").await.unwrap(), Some(Duration::MAX));
        assert!(larder.compare_and_set("k", Some(b"3"), "4", Ttl::In(SECOND * 9)).await.unwrap());
        assert!(larder.time_left("k").await.unwrap().unwrap() <= SECOND * 9);
        assert!(!larder.compare_and_set("nothing", Some(b""), "1", Ttl::Never).await.unwrap(), "{name}");
        assert!(!larder.compare_and_delete("k", b"3").await.unwrap());
        assert!(larder.compare_and_delete("k", b"4").await.unwrap());

        // Twenty tasks count to a hundred, and none loses a step of another.
        larder.set("n", "0").await.unwrap();
        let tasks = (0..20).map(|_| {
            let larder = larder.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    loop {
                        let old = larder.get("n").await.unwrap().unwrap();
                        let n: u32 = std::str::from_utf8(&old).unwrap().parse().unwrap();
                        let new = (n + 1).to_string();
                        if larder.compare_and_set("n", Some(&old), new, Ttl::Never).await.unwrap() {
                            break;
                        }
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(larder.get("n").await.unwrap().as_deref(), Some(b"100".as_slice()), "{name}");
    })
    .await;
}

#[tokio::test]
async fn collections_have_the_same_types_everywhere() {
    on_all(async |Backend { larder, name, .. }| {
        assert_eq!(larder.hset("h", &[("a", "1"), ("b", "2")]).await.unwrap(), 2);
        assert_eq!(larder.hget("h", "b").await.unwrap().as_deref(), Some(b"2".as_slice()));
        let all: BTreeSet<_> = larder.hgetall("h").await.unwrap().into_iter().collect();
        assert_eq!(all.len(), 2, "{name}");
        assert_eq!(larder.hdel("h", &["a", "z"]).await.unwrap(), 1);
        assert_eq!(larder.sadd("s", &["x", "y"]).await.unwrap(), 2);
        assert_eq!(larder.smembers("s").await.unwrap().len(), 2);
        assert_eq!(larder.srem("s", &["x"]).await.unwrap(), 1);
        assert_eq!(larder.zadd("z", &[(1.5, "low"), (2e10, "high")]).await.unwrap(), 2);
        let range = larder.zrange("z", 0, -1).await.unwrap();
        assert_eq!(range, [(b"low".to_vec(), 1.5), (b"high".to_vec(), 2e10)], "{name}");
        assert_eq!(larder.zrem("z", &["low"]).await.unwrap(), 1);
        let map = larder.execute(Command::new("HGETALL").arg("h")).await.unwrap();
        assert!(matches!(map, Value::Map(ref pairs) if pairs.len() == 1), "{name}: {map:?}");
    })
    .await;
}

#[tokio::test]
async fn errors_are_told_apart() {
    on_all(async |Backend { larder, name, .. }| {
        larder.set("k", "text").await.unwrap();
        let wrong = larder.hget("k", "f").await.unwrap_err();
        assert_eq!(wrong.code(), Some("WRONGTYPE"), "{name}: {wrong}");
        assert!(!wrong.is_outage());
        let unknown = larder.execute(Command::new("NOSUCHCOMMAND")).await.unwrap_err();
        assert_eq!(unknown.code(), Some("ERR"), "{name}: {unknown}");
        assert!(larder.execute(Command::of([""; 0])).await.is_err());
        assert!(larder.incr_by("k", 1).await.unwrap_err().to_string().contains("not an integer"));
    })
    .await;
}

#[tokio::test]
async fn a_pipeline_has_a_reply_for_each_command() {
    on_all(async |Backend { larder, name, .. }| {
        let pipeline = Pipeline::new()
            .with(Command::new("SET").arg("a").arg("1"))
            .with(Command::new("HGET").arg("a").arg("f"))
            .with(Command::new("INCR").arg("a"));
        let replies = larder.execute_all(pipeline).await.unwrap();
        assert_eq!(replies[0].as_str(), Some("OK"), "{name}");
        assert!(
            matches!(&replies[1], Value::Failed(error) if error.code() == Some("WRONGTYPE")),
            "{replies:?}"
        );
        assert_eq!(replies[2], Value::Integer(2));
        assert_eq!(larder.execute_all(Pipeline::new()).await.unwrap(), []);
        let long: Pipeline =
            (0..1000).map(|n: u32| Command::new("SET").arg(format!("k{n}")).number(n)).collect();
        assert_eq!(larder.execute_all(long).await.unwrap().len(), 1000);
        assert_eq!(larder.get("k999").await.unwrap().as_deref(), Some(b"999".as_slice()));
    })
    .await;
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_or_not_at_all() {
    on_all(async |Backend { larder, name, .. }| {
        larder.set("text", "x").await.unwrap();
        let replies = larder
            .execute_all(
                Pipeline::new()
                    .with(Command::new("INCR").arg("n"))
                    .with(Command::new("INCR").arg("text"))
                    .with(Command::new("INCR").arg("n"))
                    .atomic(),
            )
            .await
            .unwrap();
        assert_eq!((&replies[0], &replies[2]), (&Value::Integer(1), &Value::Integer(2)), "{name}");
        assert!(matches!(replies[1], Value::Failed(_)));
        // A command that cannot be queued lets nothing happen, and is the error.
        let refused = larder
            .execute_all(
                Pipeline::new()
                    .with(Command::new("INCR").arg("n"))
                    .with(Command::new("NOSUCHCOMMAND"))
                    .atomic(),
            )
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("NOSUCHCOMMAND"), "{name}: {refused}");
        assert_eq!(larder.get("n").await.unwrap().as_deref(), Some(b"2".as_slice()));
    })
    .await;
}

#[tokio::test]
async fn a_watched_key_that_changes_undoes_a_transaction() {
    on_all(async |Backend { larder, name, .. }| {
        let mut mine = larder.dedicated().await.unwrap();
        mine.execute(Command::new("WATCH").arg("k")).await.unwrap();
        larder.set("k", "theirs").await.unwrap();
        mine.execute(Command::new("MULTI")).await.unwrap();
        mine.execute(Command::new("SET").arg("k").arg("mine")).await.unwrap();
        assert_eq!(mine.execute(Command::new("EXEC")).await.unwrap(), Value::Null, "{name}");
        mine.execute(Command::new("SELECT").arg("1")).await.unwrap();
        mine.execute(Command::new("SET").arg("k").arg("elsewhere")).await.unwrap();
        assert_eq!(larder.get("k").await.unwrap().as_deref(), Some(b"theirs".as_slice()), "{name}");
    })
    .await;
}

async fn next_message(subscription: &mut larder_client::Subscription) -> (Vec<u8>, Vec<u8>) {
    match subscription.next().await {
        Some(Notice::Message { channel, payload }) => (channel, payload),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn subscriptions_hear_what_is_published_in_order() {
    on_all(async |Backend { larder, name, .. }| {
        let mut plain = larder.subscribe(&["a", "b"]).await.unwrap();
        let mut patterns = larder.subscribe_patterns(&["a*"]).await.unwrap();
        for n in 0..50_u8 {
            assert_eq!(larder.publish("a", [n]).await.unwrap(), 2, "{name}");
        }
        larder.publish("b", "last").await.unwrap();
        for n in 0..50_u8 {
            assert_eq!(next_message(&mut plain).await, (b"a".to_vec(), vec![n]), "{name}");
            assert_eq!(next_message(&mut patterns).await, (b"a".to_vec(), vec![n]), "{name}");
        }
        assert_eq!(next_message(&mut plain).await, (b"b".to_vec(), b"last".to_vec()));
        assert!(larder.subscribe(&[""; 0]).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_walk_finds_every_key_that_stays() {
    on_all(async |Backend { larder, name, .. }| {
        let set: Pipeline =
            (0..500).map(|n: u32| Command::new("SET").arg(format!("walk:{n}")).arg("x")).collect();
        larder.execute_all(set).await.unwrap();
        larder.set("other", "x").await.unwrap();
        let found = larder.scan("walk:*").count(50).collect().await.unwrap();
        assert_eq!(found.len(), 500, "{name}");
    })
    .await;
}

#[tokio::test]
async fn scripts_run_where_there_are_scripts_and_say_so_where_not() {
    on_all(async |Backend { larder, name, .. }| {
        let script = Script::new("return {KEYS[1], ARGV[1], 7}");
        let info = larder.server().await.unwrap();
        let reply = larder.run(&script, &["k"], &["v"]).await;
        if info.kind == Kind::Larder {
            assert!(matches!(reply, Err(Error::Unsupported(_))), "{name}: {reply:?}");
            return;
        }
        let expected =
            Value::Array(vec![Value::Bytes(b"k".to_vec()), Value::Bytes(b"v".to_vec()), Value::Integer(7)]);
        assert_eq!(reply.unwrap(), expected, "{name}");
        // A server that has forgotten it gets it again.
        larder.execute(Command::new("SCRIPT FLUSH")).await.unwrap();
        assert_eq!(larder.run(&script, &["k"], &["v"]).await.unwrap(), expected, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_restarted_server_is_found_again_and_subscriptions_tell_of_the_gap() {
    on_all(async |Backend { larder, name, server, .. }| {
        let Some(mut server) = server else { return };
        let mut subscription = larder.subscribe(&["news"]).await.unwrap();
        let mut events = larder.events();
        server.restart();
        // The end of the connection is noticed when it happens, so that the first write after it is no error.
        while !matches!(events.next().await, Some(Event::Disconnected { .. })) {}
        larder.set("k", "v").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(matches!(subscription.next().await, Some(Notice::Interrupted { .. })), "{name}");
        assert_eq!(subscription.next().await, Some(Notice::Resumed), "{name}");
        while larder.publish("news", "again").await.unwrap() == 0 {}
        assert_eq!(next_message(&mut subscription).await.1, b"again");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_in_time_and_no_hang() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let options =
        Options::new().connect_timeout(Duration::from_millis(500)).retries(1, Duration::from_millis(5));
    let url = format!("redis://127.0.0.1:{port}");
    let error = Larder::open_with(&url, options.clone()).await.err().expect("nobody is there");
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    let lazy = Larder::open_with(&url, options.lazy()).await.unwrap();
    let error = lazy.set("k", "v").await.unwrap_err();
    assert!(error.is_outage() && !error.is_outcome_unknown(), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_reply_leaves_a_write_unknown_and_a_read_retried() {
    // It accepts, answers what opening needs, and then says nothing more.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepts = tokio::spawn(async move {
        let mut held = Vec::new();
        while held.len() < 3 {
            held.push(listener.accept().await.unwrap());
        }
        held.len()
    });
    let options = Options::new()
        .connect_timeout(Duration::from_millis(200))
        .response_timeout(Duration::from_millis(200))
        .retries(2, Duration::from_millis(5))
        .lazy();
    let url = format!("redis://127.0.0.1:{port}?protocol=resp2");
    let larder = Larder::open_with(&url, options).await.unwrap();
    let error = larder.get("k").await.unwrap_err();
    assert!(error.is_outage(), "{error:?}");
    assert_eq!(accepts.await.unwrap(), 3, "a read is tried again, on a new connection");
}

#[tokio::test]
async fn a_folder_keeps_what_was_written_and_has_one_owner() {
    let temp = testkit::temp::TempDir::new();
    let url = format!("embedded://{}", temp.path().join("data").display());
    let larder = Larder::open(&url).await.unwrap();
    larder.set("kept", "yes").await.unwrap();
    let second = Larder::open(&url).await;
    assert!(matches!(&second, Err(Error::Unreachable(why)) if why.contains("lock")), "{:?}", second.err());
    drop(larder);
    let again = Larder::open(&url).await.unwrap();
    assert_eq!(again.get("kept").await.unwrap().as_deref(), Some(b"yes".as_slice()));
}

#[tokio::test]
async fn waiting_for_replicas_that_are_not_there_is_told_apart_from_what_cannot_be_waited_for() {
    on_all(async |Backend { larder, name, server }| {
        let wait = async |commands| larder.execute_and_wait(commands, 1, Duration::from_millis(20)).await;
        let set = || Pipeline::new().with(Command::new("SET").arg("k").arg("v"));
        let read = Pipeline::new().with(Command::new("GET").arg("k"));
        for refused in [set().atomic(), read, Pipeline::new()] {
            let told = wait(refused).await;
            assert!(matches!(told, Err(Error::Unsupported(_))), "{name}: {told:?}");
        }
        assert_eq!(larder.get("k").await.unwrap(), None, "{name}");
        let told = wait(set()).await;
        if server.is_none() {
            assert!(matches!(told, Err(Error::Unsupported(_))), "{name}: {told:?}");
        } else {
            assert_eq!(told, Err(Error::TooFewReplicas { wanted: 1, got: 0 }), "{name}");
            assert_eq!(larder.get("k").await.unwrap().as_deref(), Some(b"v".as_slice()), "{name}");
        }
    })
    .await;
}

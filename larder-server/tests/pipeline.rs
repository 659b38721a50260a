//! Requests that arrive together: they are looked at before their turn, which must show in nothing but speed.

mod support;

use larder_resp::Frame;
use support::{start, wait_for};
use testkit::client::encode;
use testkit::{Client, Rng};

/// Puts so much into the server that looking ahead fetches data.
fn fill(client: &mut Client) {
    let value = "v".repeat(1000);
    for nth in 0..100 {
        let commands: Vec<Vec<String>> =
            (0..60).map(|key| vec!["SET".into(), format!("fill:{nth}:{key}"), value.clone()]).collect();
        client.pipeline(&commands);
    }
}

/// Deletes what scripts write, and leaves what was filled in.
fn clear(client: &mut Client) {
    for db in ["2", "1", "0"] {
        client.cmd(&["SELECT", db]);
        client.cmd(&["DEL", "other"]);
        (0..20).for_each(|key| drop(client.cmd(&["DEL", &key.to_string()])));
    }
}

/// A script that changes what later requests of it mean: the database, transactions, wrong commands.
fn script(rng: &mut Rng) -> Vec<Vec<String>> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let mut script = Vec::new();
    for _ in 0..400 {
        let key = rng.below(20);
        let value = rng.below(1000);
        let line = match rng.below(16) {
            0 => format!("SELECT {}", rng.below(3)),
            1 => "MULTI".to_owned(),
            2 | 3 => "EXEC".to_owned(),
            4 => format!("GET {key} {key}"),
            5 => format!("INCR {key}"),
            6 => format!("MSET {key} {value} other {value}"),
            7 => format!("DEL {key}"),
            8 => format!("APPEND {key} {value}"),
            9 => format!("nonsense {key}"),
            10 | 11 => format!("SET {key} {value}"),
            _ => format!("GET {key}"),
        };
        script.push(words(&line));
    }
    script.extend([words("DISCARD"), words("SELECT 0")]);
    script
}

#[test]
fn a_pipeline_answers_what_its_requests_answer_one_by_one() {
    let servers = ["1", "4"].map(|threads| start(&["--io-threads", threads]));
    for server in &servers {
        let (mut one, mut other) = (server.connect(), server.connect());
        fill(&mut one);
        for seed in 0..10 {
            let script = script(&mut Rng::new(seed));
            clear(&mut one);
            let singly: Vec<Frame> = script.iter().map(|command| one.cmd(command)).collect();
            clear(&mut one);
            assert_eq!(other.pipeline(&script), singly, "seed {seed}");
        }
    }
}

#[test]
fn nothing_behind_the_end_of_a_connection_is_executed() {
    let server = start(&["--io-threads", "1"]);
    let mut watcher = server.connect();
    fill(&mut watcher);
    let mut client = server.connect();
    client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*1\r\n$4\r\nQUIT\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n");
    assert_eq!(client.read_to_close(), b"+OK\r\n+OK\r\n");
    assert_eq!(watcher.cmd(&["EXISTS", "a", "b"]), Frame::Integer(1));
}

#[test]
fn a_pause_in_a_pipeline_stops_what_comes_behind_it() {
    let server = start(&["--io-threads", "1"]);
    let mut watcher = server.connect();
    fill(&mut watcher);
    let mut client = server.connect();
    let script = ["SET k 1", "CLIENT PAUSE 60000 WRITE", "GET k", "SET k 2", "GET k"];
    let wire: Vec<u8> = script.iter().flat_map(|line| encode(&line.split(' ').collect::<Vec<_>>())).collect();
    client.send_raw(&wire);
    let ok = Frame::Simple(b"OK".to_vec());
    assert_eq!([client.read(), client.read()], [ok.clone(), ok.clone()]);
    assert_eq!(client.read(), Frame::Bulk(b"1".to_vec()));
    wait_for("the pause", || {
        (support::info(&mut watcher, "clients", "blocked_clients") == "1").then_some(())
    });
    assert_eq!(watcher.cmd(&["GET", "k"]), Frame::Bulk(b"1".to_vec()));
    assert_eq!(watcher.cmd(&["CLIENT", "UNPAUSE"]), ok);
    assert_eq!([client.read(), client.read()], [ok, Frame::Bulk(b"2".to_vec())]);
}

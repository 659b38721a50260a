//! What must not depend on which thread serves whom.

mod support;

use larder_resp::Frame;
use support::{info, is_served, start, wait_for};
use testkit::Client;

#[test]
fn connections_are_spread_evenly_and_stay_so() {
    let server = start(&["--io-threads", "4"]);
    let spread = |client: &mut Client| -> Vec<usize> {
        let line = info(client, "clients", "clients_per_io_thread");
        line.split(',').map(|count| count.parse().expect("a number")).collect()
    };
    let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
    assert!(clients.iter_mut().all(is_served));
    wait_for("an even spread", || (spread(&mut clients[0]) == [10, 10, 10, 10]).then_some(()));
    // Whoever leaves makes room where he was.
    clients.truncate(13);
    wait_for("27 farewells", || (spread(&mut clients[0]).iter().sum::<usize>() == 13).then_some(()));
    clients.extend((0..27).map(|_| server.connect()));
    assert!(clients.iter_mut().all(is_served));
    assert_eq!(spread(&mut clients[0]), [10, 10, 10, 10]);
}

#[test]
fn messages_reach_subscribers_of_all_threads_in_order() {
    for threads in ["1", "4"] {
        let server = start(&["--io-threads", threads]);
        let mut publisher = server.connect();
        let mut subscribers: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        for subscriber in &mut subscribers {
            subscriber.cmd(&["SUBSCRIBE", "news"]);
        }
        let count = 500;
        let published: Vec<Vec<String>> =
            (0..count).map(|nth| vec!["PUBLISH".into(), "news".into(), nth.to_string()]).collect();
        for reply in publisher.pipeline(&published) {
            assert_eq!(reply, Frame::Integer(8));
        }
        for subscriber in &mut subscribers {
            for nth in 0..count {
                let words = [b"message".to_vec(), b"news".to_vec(), nth.to_string().into_bytes()];
                assert_eq!(subscriber.read(), Frame::Array(words.map(Frame::Bulk).to_vec()));
            }
        }
    }
}

#[test]
fn a_client_may_publish_to_itself() {
    let server = start(&["--io-threads", "2"]);
    let mut client = server.connect();
    client.hello(3);
    client.cmd(&["SUBSCRIBE", "news"]);
    client.send(&["PUBLISH", "news", "m"]);
    let (one, other) = (client.read(), client.read());
    let words = [b"message".to_vec(), b"news".to_vec(), b"m".to_vec()].map(Frame::Bulk).to_vec();
    assert!([&one, &other].contains(&&Frame::Push(words)), "{one:?} {other:?}");
    assert!([&one, &other].contains(&&Frame::Integer(1)), "{one:?} {other:?}");
}

#[test]
fn a_killed_client_is_gone_wherever_it_is_served() {
    for threads in ["1", "4"] {
        let server = start(&["--io-threads", threads]);
        let mut killer = server.connect();
        let mut victims: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        for victim in &mut victims {
            let Frame::Integer(id) = victim.cmd(&["CLIENT", "ID"]) else { panic!("no id") };
            assert_eq!(killer.cmd(&["CLIENT", "KILL", "ID", &id.to_string()]), Frame::Integer(1));
            assert_eq!(victim.read_to_close(), b"");
        }
        assert!(is_served(&mut killer));
    }
}

#[test]
fn a_client_that_kills_itself_gets_its_answer_and_nothing_more() {
    let server = start(&[]);
    let mut client = server.connect();
    let Frame::Integer(id) = client.cmd(&["CLIENT", "ID"]) else { panic!("no id") };
    client.send_raw(format!("CLIENT KILL ID {id} SKIPME no\r\nSET after 1\r\n").as_bytes());
    assert_eq!(client.read_to_close(), b":1\r\n");
    assert_eq!(server.connect().cmd(&["EXISTS", "after"]), Frame::Integer(0));
}

#[test]
fn a_pause_parks_commands_until_it_ends() {
    let server = start(&["--io-threads", "2"]);
    let mut operator = server.connect();
    let mut clients: Vec<Client> = (0..6).map(|_| server.connect()).collect();
    assert_eq!(operator.cmd(&["CLIENT", "PAUSE", "60000", "WRITE"]), Frame::Simple(b"OK".to_vec()));
    for client in &mut clients {
        client.send_raw(b"PING\r\nINCR n\r\nPING\r\n");
        assert_eq!(client.read(), Frame::Simple(b"PONG".to_vec()));
    }
    assert_eq!(operator.cmd(&["GET", "n"]), Frame::Null);
    // One that leaves while it waits has not executed anything.
    drop(clients.pop());
    wait_for("its farewell", || (info(&mut operator, "clients", "connected_clients") == "6").then_some(()));
    assert_eq!(operator.cmd(&["CLIENT", "UNPAUSE"]), Frame::Simple(b"OK".to_vec()));
    for client in &mut clients {
        assert!(matches!(client.read(), Frame::Integer(1..=5)));
        assert_eq!(client.read(), Frame::Simple(b"PONG".to_vec()));
    }
    assert_eq!(operator.cmd(&["GET", "n"]), Frame::Bulk(b"5".to_vec()));
}

#[test]
fn a_long_command_holds_up_its_own_connection_only_and_keeps_its_order() {
    let server = start(&["--io-threads", "1"]);
    let mut client = server.connect();
    let mut neighbour = server.connect();
    let members: Vec<Vec<String>> =
        (0..20_000).map(|n| vec!["SADD".into(), "s".into(), n.to_string()]).collect();
    client.pipeline(&members);
    client.send_raw(b"ECHO before\r\nSMEMBERS s\r\nECHO after\r\n");
    assert!(is_served(&mut neighbour));
    assert_eq!(client.read(), Frame::Bulk(b"before".to_vec()));
    assert!(matches!(client.read(), Frame::Array(found) if found.len() == 20_000));
    assert_eq!(client.read(), Frame::Bulk(b"after".to_vec()));
    // One that leaves while a worker is at it takes nothing along.
    for _ in 0..20 {
        let mut leaving = server.connect();
        leaving.send_raw(b"SMEMBERS s\r\nSMEMBERS s\r\n");
    }
    wait_for("their farewell", || {
        (info(&mut neighbour, "clients", "connected_clients") == "2").then_some(())
    });
    // One that only stops sending gets its reply.
    let mut half = server.connect();
    half.send_raw(b"SMEMBERS s\r\n");
    half.close_sending();
    assert!(half.read_to_close().len() > 100_000);
}

#[test]
fn what_follows_a_closed_sending_side_is_answered() {
    let server = start(&[]);
    let mut client = server.connect();
    client.send_raw(b"PING\r\nECHO last\r\n");
    client.close_sending();
    assert_eq!(client.read_to_close(), b"+PONG\r\n$4\r\nlast\r\n");
}

#[test]
fn counters_add_up_over_threads() {
    for threads in ["1", "4"] {
        let server = start(&["--io-threads", threads]);
        let clients = 8;
        let workers: Vec<_> = (0..clients)
            .map(|_| {
                let mut client = server.connect();
                std::thread::spawn(move || {
                    let commands: Vec<Vec<&str>> = (0..2000).map(|_| vec!["INCR", "n"]).collect();
                    client.pipeline(&commands).len()
                })
            })
            .collect();
        let replies: usize = workers.into_iter().map(|worker| worker.join().expect("no panic")).sum();
        assert_eq!(server.connect().cmd(&["GET", "n"]), Frame::Bulk(replies.to_string().into_bytes()));
    }
}

//! Who may connect, how many, for how long.

mod support;

use larder_resp::Frame;
use std::net::{IpAddr, TcpStream, UdpSocket};
use support::{SOON, error, info, is_served, larder, start, wait_for};
use testkit::{Client, Server};

#[test]
fn a_client_too_many_is_told_so() {
    let server = start(&["--maxclients", "5", "--io-threads", "2"]);
    let mut clients: Vec<Client> = Vec::new();
    // The connection that found the server ready may still be on its way out.
    wait_for("five places", || {
        clients.clear();
        clients.extend((0..5).map(|_| server.connect()));
        clients.iter_mut().all(is_let_in).then_some(())
    });
    // Some of those tries may have been turned away.
    assert_eq!(clients[0].cmd(&["CONFIG", "RESETSTAT"]), Frame::Simple(b"OK".to_vec()));
    for _ in 0..3 {
        let answer = server.connect().read_to_close();
        assert_eq!(answer, b"-ERR max number of clients reached\r\n");
    }
    assert_eq!(info(&mut clients[0], "stats", "rejected_connections"), "3");
    drop(clients.pop());
    wait_for("a place", || is_let_in(&mut server.connect()).then_some(()));
    assert_eq!(clients[0].cmd(&["CONFIG", "SET", "maxclients", "50"]), Frame::Simple(b"OK".to_vec()));
    let mut more: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    assert!(more.iter_mut().all(is_served));
}

/// Whether a connection is served, where it may also be turned away.
fn is_let_in(client: &mut Client) -> bool {
    client.try_cmd(&["PING"]).is_ok_and(|reply| reply == Frame::Simple(b"PONG".to_vec()))
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let server = start(&["--timeout", "1"]);
    let mut idle = server.connect();
    let mut subscriber = server.connect();
    let mut busy = server.connect();
    assert!(is_served(&mut idle));
    subscriber.cmd(&["SUBSCRIBE", "news"]);
    wait_for("the end of the idle connection", || {
        assert!(is_served(&mut busy));
        idle.is_closed_within(std::time::Duration::from_millis(100)).then_some(())
    });
    assert_eq!(busy.cmd(&["PUBLISH", "news", "still here"]), Frame::Integer(1));
    subscriber.read();
}

#[test]
fn the_timeout_can_be_changed_while_running() {
    let server = start(&[]);
    let mut idle = server.connect();
    assert_eq!(server.connect().cmd(&["CONFIG", "SET", "timeout", "1"]), Frame::Simple(b"OK".to_vec()));
    assert!(idle.is_closed_within(SOON));
}

/// An address of this machine that is not the loopback's. No packet is sent: a UDP socket only asks for the route.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn in_protected_mode_only_this_machine_may_connect() {
    let Some(outer) = outer_address() else {
        println!("skipped: this machine has no address but the loopback's");
        return;
    };
    let server = start(&["--bind", "*"]);
    let port = server.port();
    let answer = Client::connect((outer, port)).read_to_close();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("-DENIED "), "{answer}");
    assert_eq!(answer.matches("\r\n").count(), 1, "one line: {answer}");
    assert!(is_served(&mut server.connect()));
    assert_eq!(
        server.connect().cmd(&["CONFIG", "SET", "protected-mode", "no"]),
        Frame::Simple(b"OK".to_vec())
    );
    assert!(is_served(&mut Client::connect((outer, port))));
    assert_eq!(
        server.connect().cmd(&["CONFIG", "SET", "protected-mode", "yes"]),
        Frame::Simple(b"OK".to_vec())
    );
    assert_eq!(
        server.connect().cmd(&["CONFIG", "SET", "requirepass", "secret"]),
        Frame::Simple(b"OK".to_vec())
    );
    let mut stranger = Client::connect((outer, port));
    assert!(error(stranger.cmd(&["PING"])).starts_with("NOAUTH"));
    assert_eq!(stranger.cmd(&["AUTH", "secret"]), Frame::Simple(b"OK".to_vec()));
}

#[test]
fn before_authentication_requests_are_small() {
    let server = start(&["--requirepass", "secret"]);
    let mut client = server.connect();
    client.send_raw(b"*11\r\n");
    assert_eq!(client.read_to_close(), b"-ERR Protocol error: unauthenticated multibulk length\r\n");
    let mut client = server.connect();
    client.send_raw(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n");
    assert_eq!(client.read_to_close(), b"-ERR Protocol error: unauthenticated bulk length\r\n");
    let mut client = server.connect();
    assert_eq!(client.cmd(&["AUTH", "secret"]), Frame::Simple(b"OK".to_vec()));
    let value = "v".repeat(20_000);
    assert_eq!(client.cmd(&["SET", "k", &value]), Frame::Simple(b"OK".to_vec()));
}

#[test]
fn a_unix_socket_serves_with_the_permissions_asked_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = testkit::temp::TempDir::new();
    let path = directory.path().join("larder.sock");
    let words = path.to_str().expect("a path of ASCII letters");
    let mut server = start(&["--unixsocket", words, "--unixsocketperm", "700"]);
    let mode = std::fs::metadata(&path).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let mut client = Client::connect_unix(&path).expect("the server accepts");
    assert!(is_served(&mut client));
    let list = client.cmd(&["CLIENT", "LIST"]);
    assert!(format!("{list:?}").contains(&format!("addr={words}:0")), "{list:?}");
    let large = vec![b'v'; 5_000_000];
    assert_eq!(client.cmd(&[b"SET".as_slice(), b"k", &large]), Frame::Simple(b"OK".to_vec()));
    assert_eq!(client.cmd(&["GET", "k"]), Frame::Bulk(large));

    // A socket that a crash left behind is no obstacle; one that is in use is.
    server.kill9();
    assert!(path.exists());
    server.restart();
    assert!(is_served(&mut Client::connect_unix(&path).expect("the server accepts")));
    let second = Server::try_start(larder(&["--unixsocket", words]));
    assert!(second.is_err_and(|why| why.contains("another process listens on it")));
    assert!(server.stop_gracefully().success());
    assert!(!path.exists(), "the socket is removed at the end");
}

#[test]
fn only_a_unix_socket_is_enough() {
    let directory = testkit::temp::TempDir::new();
    let path = directory.path().join("larder.sock");
    let words = path.to_str().expect("a path of ASCII letters");
    let options = larder(&["--port", "0", "--unixsocket", words]);
    let server = Server::start(options.ready(testkit::Ready::Log("Ready to accept connections".into())));
    assert!(is_served(&mut Client::connect_unix(&path).expect("the server accepts")));
    assert!(TcpStream::connect(server.addr()).is_err());
}

//! Several redis-servers that belong together: a cluster, and a primary with a replica under sentinels.

use crate::client::Client;
use crate::port::Port;
use crate::server::{Options, Ready, Server, redis_version};
use larder_resp::Frame;
use std::time::{Duration, Instant};

/// How long they may take to find each other.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether redis-server is there; without it in CI a test must fail.
fn is_there() -> bool {
    let is_there = redis_version().is_some() || std::env::var_os("CI").is_some();
    if !is_there {
        eprintln!("skipped: redis-server is not installed (cargo x setup installs it)");
    }
    is_there
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(client: &mut Client, line: &str) -> String {
    match client.line(line) {
        Frame::Bulk(bytes) | Frame::Simple(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

fn ok(client: &mut Client, line: &str) {
    let reply = text(client, line);
    assert_eq!(reply, "OK", "{line}");
}

/// A cluster of three primaries and three replicas.
#[derive(Debug)]
pub struct Cluster {
    /// First the three primaries, in the order of their slots, then the replica of each.
    pub nodes: Vec<Server>,
    /// Where they talk to each other.
    _buses: Vec<Port>,
}

impl Cluster {
    /// Starts one and waits until all nodes know that it works; `None` after saying so if there is no redis-server.
    ///
    /// # Panics
    /// When it does not work within a minute.
    #[must_use]
    pub fn start_or_skip() -> Option<Cluster> {
        if !is_there() {
            return None;
        }
        let buses: Vec<Port> = (0..6).map(|_| Port::take()).collect();
        let nodes: Vec<Server> = buses
            .iter()
            .map(|bus| {
                let bus = bus.number().to_string();
                Server::start(Options::redis().args([
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    "3000",
                    "--cluster-replica-validity-factor",
                    "0",
                    "--repl-diskless-sync-delay",
                    "0",
                ]))
            })
            .collect();
        let mut clients: Vec<Client> = nodes.iter().map(Server::connect).collect();
        for (n, slots) in ["0 5460", "5461 10922", "10923 16383"].iter().enumerate() {
            ok(&mut clients[n], &format!("CLUSTER ADDSLOTSRANGE {slots}"));
            ok(&mut clients[n], &format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1));
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            ok(&mut clients[0], &format!("CLUSTER MEET 127.0.0.1 {} {}", node.port(), bus.number()));
        }
        let knows_all = |client: &mut Client| text(client, "CLUSTER INFO").contains("cluster_known_nodes:6");
        wait_for("all know each other", || clients.iter_mut().all(knows_all));
        for n in 0..3 {
            let primary = text(&mut clients[n], "CLUSTER MYID");
            ok(&mut clients[n + 3], &format!("CLUSTER REPLICATE {primary}"));
        }
        wait_for("the cluster works", || {
            let works = |client: &mut Client| text(client, "CLUSTER INFO").contains("cluster_state:ok");
            let follows =
                |client: &mut Client| text(client, "INFO replication").contains("master_link_status:up");
            let lists = |client: &mut Client| text(client, "CLUSTER NODES").matches("slave").count() == 3;
            clients.iter_mut().all(|client| works(client) && lists(client))
                && clients[3..].iter_mut().all(follows)
        });
        Some(Cluster { nodes, _buses: buses })
    }

    /// How clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        format!("redis-cluster://{}", nodes.join(","))
    }
}

/// A primary and its replica, and three sentinels that watch over them.
#[derive(Debug)]
pub struct Sentinels {
    /// The primary at the beginning.
    pub primary: Server,
    /// Its replica, which follows it as the primary.
    pub replica: Server,
    /// Those who decide.
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts them and waits until the sentinels know the replica and each other; `None` after saying so if there is no
    /// redis-server.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    #[must_use]
    pub fn start_or_skip() -> Option<Sentinels> {
        if !is_there() {
            return None;
        }
        let options = || Options::redis().args(["--repl-diskless-sync-delay", "0"]);
        let primary = Server::start(options());
        let port = primary.port().to_string();
        let replica = Server::start(options().args(["--replicaof", "127.0.0.1", &port]));
        let config = format!(
            "sentinel monitor main 127.0.0.1 {port} 2\nsentinel down-after-milliseconds main 2000\n\
             sentinel failover-timeout main 10000\n"
        );
        // A sentinel takes fewer options than a server.
        let shell = "exec \"$0\" \"$1\" --sentinel --port \"$3\" --bind 127.0.0.1";
        let start = || {
            let options = Options::redis().through(["sh", "-c", shell]).config(&config);
            Server::start(options.ready(Ready::Ping))
        };
        let sentinels: Vec<Server> = (0..3).map(|_| start()).collect();
        wait_for("the sentinels know all", || {
            sentinels.iter().all(|sentinel| {
                let about = text(&mut sentinel.connect(), "INFO sentinel");
                about.contains("status=ok") && about.contains("slaves=1,sentinels=3")
            })
        });
        wait_for("the replica follows", || {
            text(&mut replica.connect(), "INFO replication").contains("master_link_status:up")
        });
        Some(Sentinels { primary, replica, sentinels })
    }

    /// How clients find the primary.
    #[must_use]
    pub fn url_of(sentinels: &[Server]) -> String {
        let sentinels: Vec<String> = sentinels.iter().map(|one| one.addr().to_string()).collect();
        format!("redis-sentinel://{}/main", sentinels.join(","))
    }
}

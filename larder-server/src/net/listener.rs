//! Where connections come in.
//!
//! The first event loop accepts for all: it gives each new connection to the loop that has the fewest, so they are spread
//! evenly and stay so. It also turns away who may not connect: too many clients, or a stranger while no password is set.

use super::tls::TlsStream;
use super::transport::Transport;
use crate::server::Server;
use larder::client::Origin;
use mio::net::{TcpListener, TcpStream, UnixListener};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What is sent to a client that is one too many.
const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

/// What is sent to a stranger in protected mode.
const PROTECTED_MODE: &[u8] = b"-DENIED Larder is running in protected mode because no password is set, so only \
connections from this machine are accepted. To accept others, do one of the following. 1) Set a password: put \
'requirepass' into the configuration, or send CONFIG SET requirepass from this machine. 2) Accept only some networks: \
put 'bind' and 'protected-mode no' into the configuration. 3) Send CONFIG SET protected-mode no from this machine, \
if nobody can reach this port who should not. 4) For a test, start the server with '--protected-mode no'.\r\n";

/// A listening socket.
pub(crate) enum Listener {
    /// Plain TCP.
    Tcp(TcpListener),
    /// TLS over TCP.
    Tls(TcpListener, Arc<ServerConfig>),
    /// A Unix socket, and its path as it is to be shown and removed.
    Unix(UnixListener, PathBuf),
}

/// A connection that was let in.
pub(crate) struct Accepted {
    pub(crate) transport: Transport,
    pub(crate) origin: Origin,
}

/// What accepting once brought.
pub(crate) enum Arrival {
    /// A connection.
    Accepted(Accepted),
    /// One that was turned away, or broke at once; there may be more.
    Refused,
    /// There is none.
    Nobody,
    /// The system cannot give a socket now; try again later.
    Later(io::Error),
}

impl Listener {
    /// Listens to a TCP address.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn tcp(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
        let domain = if address.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        if address.ip().is_loopback() {
            leave_unpaced(&socket);
        }
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from_std(socket.into()))
    }

    /// Listens on a Unix socket. A socket that nobody listens to any more is removed first.
    ///
    /// # Errors
    /// The system's, or that another process listens there.
    pub(crate) fn unix(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<Listener> {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
            }
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        if let Some(mode) = mode {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        let listener = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
        Ok(Listener::Unix(UnixListener::from_std(listener), path.to_path_buf()))
    }

    /// The socket, to be registered with a poll.
    pub(crate) fn source(&mut self) -> &mut dyn mio::event::Source {
        match self {
            Listener::Tcp(listener) | Listener::Tls(listener, _) => listener,
            Listener::Unix(listener, _) => listener,
        }
    }

    /// Accepts one connection.
    pub(crate) fn accept(&self, server: &Server) -> Arrival {
        let arrival = match self {
            Listener::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| accept_tcp(server, stream, peer, None))
            }
            Listener::Tls(listener, config) => {
                listener.accept().map(|(stream, peer)| accept_tcp(server, stream, peer, Some(config)))
            }
            Listener::Unix(listener, path) => listener.accept().map(|(stream, _)| {
                let address = format!("{}:0", path.display());
                let fd = i64::from(stream.as_raw_fd());
                let origin = Origin { address: address.clone(), local_address: address, fd, is_unix: true };
                admit(server, Accepted { transport: Transport::Unix(stream), origin })
            }),
        };
        arrival.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Arrival::Nobody,
            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => Arrival::Refused,
            _ => Arrival::Later(error),
        })
    }
}

fn accept_tcp(
    server: &Server,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<&Arc<ServerConfig>>,
) -> Arrival {
    // What cannot be set is no reason to turn somebody away; the connection works without it.
    let _works_without = stream.set_nodelay(true);
    let _works_without = set_keepalive(&stream, server.live.keepalive_s.load(Ordering::Relaxed));
    let local_address = stream.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
    let fd = i64::from(stream.as_raw_fd());
    let origin = Origin { address: peer.to_string(), local_address, fd, is_unix: false };
    let transport = match tls {
        None => Transport::Tcp(stream),
        Some(config) => match TlsStream::new(stream, config) {
            Ok(stream) => Transport::Tls(Box::new(stream)),
            Err(error) => {
                server.log.warning(format_args!("Beginning TLS: {error}"));
                return Arrival::Refused;
            }
        },
    };
    if server.live.protected_mode.load(Ordering::Relaxed)
        && !peer.ip().is_loopback()
        && server.engine.config.password.read().is_empty()
    {
        server.count_refused();
        turn_away(transport, PROTECTED_MODE);
        return Arrival::Refused;
    }
    admit(server, Accepted { transport, origin })
}

/// Lets a connection in unless there are too many.
fn admit(server: &Server, accepted: Accepted) -> Arrival {
    if server.connected.load(Ordering::Relaxed) < server.live.maxclients.load(Ordering::Relaxed) {
        return Arrival::Accepted(accepted);
    }
    server.count_refused();
    turn_away(accepted.transport, TOO_MANY_CLIENTS);
    Arrival::Refused
}

/// Sends a last message, where that needs no handshake.
fn turn_away(mut transport: Transport, message: &[u8]) {
    if !matches!(transport, Transport::Tls(_)) {
        let _peer_may_be_gone = transport.write(message);
        transport.hang_up();
    }
}

/// Has the connections of a listener that only this machine reaches send as simply as the system can: there is no network
/// that they could fill. Where the system's way for all others measures and paces (BBR does, by a timer for every segment),
/// this saves some 3 % of what a request without a pipeline costs.
fn leave_unpaced(socket: &Socket) {
    #[cfg(target_os = "linux")]
    {
        // Every Linux has it and lets everybody choose it; should one not, connections are as all others are.
        let _works_without = socket.set_tcp_congestion(b"reno");
    }
    #[cfg(not(target_os = "linux"))]
    let _nothing_to_choose = socket;
}

fn set_keepalive(stream: &impl AsFd, seconds: u64) -> io::Result<()> {
    if seconds == 0 {
        return Ok(());
    }
    // A peer that is gone is noticed after twice the time: three probes at a third of it.
    let interval = Duration::from_secs((seconds / 3).max(1));
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(seconds)).with_interval(interval).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

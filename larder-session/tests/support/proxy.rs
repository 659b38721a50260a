//! A way to a server that breaks on request: at the nth thing that is sent, before it arrives or before its answer does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Where the way breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// What is sent does not arrive.
    Before,
    /// It arrives, and the answer does not.
    After,
}

struct Shared {
    server: SocketAddr,
    /// What may still pass; the one after that meets the break.
    left: AtomicUsize,
    loses_answer: AtomicBool,
    /// Whether it has broken: nothing passes then.
    is_broken: AtomicBool,
}

/// A listener in front of a server. It ends with the test's process.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

impl Proxy {
    pub(crate) fn new(server: SocketAddr) -> Proxy {
        let shared = Arc::new(Shared {
            server,
            left: AtomicUsize::new(usize::MAX),
            loses_answer: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&served);
                std::thread::spawn(move || serve(&client, &shared));
            }
        });
        Proxy { shared, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lets so many things pass from now on, and breaks at the next.
    pub(crate) fn break_after(&self, passing: usize, at: Break) {
        self.shared.loses_answer.store(at == Break::After, Ordering::SeqCst);
        self.shared.left.store(passing, Ordering::SeqCst);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.shared.is_broken.load(Ordering::SeqCst)
    }
}

fn serve(mut client: &TcpStream, shared: &Shared) {
    let close = |stream: &TcpStream| drop(stream.shutdown(Shutdown::Both));
    let Ok(mut server) = TcpStream::connect(shared.server) else { return close(client) };
    if shared.is_broken.load(Ordering::SeqCst) {
        return close(client);
    }
    let is_mute = Arc::new(AtomicBool::new(false));
    let (mut answers, Ok(mut back)) = (server.try_clone().expect("a socket"), client.try_clone()) else {
        return;
    };
    let mute = Arc::clone(&is_mute);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = answers.read(&mut buffer) {
            if mute.load(Ordering::SeqCst) || back.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let take = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        let passes = !shared.is_broken.load(Ordering::SeqCst)
            && shared.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        if !passes {
            let is_first = !shared.is_broken.swap(true, Ordering::SeqCst);
            if is_first && shared.loses_answer.load(Ordering::SeqCst) {
                is_mute.store(true, Ordering::SeqCst);
                // The server carries out what has arrived, whatever becomes of the connection.
                let _ = server.write_all(&buffer[..length]);
                std::thread::sleep(Duration::from_millis(30));
            }
            break;
        }
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    close(client);
    close(&server);
}

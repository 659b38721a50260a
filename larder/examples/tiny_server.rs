//! The smallest server on the embedded engine: one thread per connection, plain TCP.
//!
//! `cargo run -p larder --example tiny_server -- 6380`; port 0 takes any that is free.

use larder::client::Origin;
use larder::engine::Step;
use larder::runtime::Runtime;
use larder::{Engine, Options};
use larder_resp::{Decoded, Decoder, Limits, ReplyWriter};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(6379);
    let engine = Engine::open(Options::default());
    let _runtime = Runtime::start(&engine)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("Ready to accept connections on port {}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let (engine, stream) = (Arc::clone(&engine), stream?);
        std::thread::spawn(move || serve(&engine, stream));
    }
    Ok(())
}

fn serve(engine: &Arc<Engine>, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(std::time::Duration::from_millis(20)))?;
    let origin = Origin { address: stream.peer_addr()?.to_string(), ..Origin::default() };
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut session = engine.connect(origin, waker);
    let mut lane = engine.lane(true);
    let (mut decoder, mut input, mut out) = (Decoder::new(), Vec::new(), Vec::new());
    let mut chunk = [0; 16 * 1024];
    loop {
        let mut mail = ReplyWriter::new(&mut out, session.proto());
        session.client().take_mail().iter().for_each(|push| push.write(&mut mail));
        stream.write_all(&out)?;
        out.clear();
        if session.client().is_killed() {
            return Ok(());
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => input.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        lane.begin_turn();
        loop {
            let limits = Limits { authenticated: session.is_authenticated(), ..Limits::default() };
            let consumed = match decoder.decode(&input, &limits) {
                Ok(Decoded::Incomplete { .. }) => break,
                Ok(Decoded::Skip { consumed }) => consumed,
                Ok(Decoded::Command { consumed }) => {
                    match engine.execute(&mut lane, &mut session, decoder.request(&input), &mut out) {
                        Step::Done => {}
                        Step::Parked => {
                            std::thread::park_timeout(std::time::Duration::from_millis(50));
                            lane.begin_turn();
                            continue;
                        }
                        Step::Long(job) => out.extend(engine.run_job(&mut lane, &session, &job)),
                        Step::Close => return stream.write_all(&out),
                    }
                    consumed
                }
                Err(error) => {
                    ReplyWriter::new(&mut out, session.proto()).protocol_error(&error);
                    return stream.write_all(&out);
                }
            };
            decoder.reset();
            input.drain(..consumed);
        }
    }
}

//! The same question to this engine and to a real `redis-server` of 7.0.15, and a reader for what both answer.

#![allow(dead_code, reason = "every test file uses its own part")]

use larder::client::Origin;
use larder::lane::Lane;
use larder::{Engine, Options, Session};
use larder_resp::{Frame, OwnedRequest, parse_frame, write_command};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;
use std::time::Duration;

/// Somebody who answers commands.
pub(crate) trait Answers {
    /// The bytes of the reply.
    fn raw(&mut self, command: &[&str]) -> Vec<u8>;

    /// The reply.
    fn ask(&mut self, command: &[&str]) -> Frame {
        let bytes = self.raw(command);
        let (frame, length) = parse_frame(&bytes).expect("a reply is RESP").expect("a reply is whole");
        assert_eq!(length, bytes.len(), "one command, one reply");
        frame
    }
}

/// A connection to a fresh engine in this process.
pub(crate) struct Ours {
    pub(crate) engine: Arc<Engine>,
    lane: Lane,
    session: Session,
}

impl Ours {
    pub(crate) fn fresh() -> Ours {
        let engine = Engine::open(Options { threads: 1, ..Options::default() });
        let lane = engine.lane(false);
        let session = engine.connect(Origin::default(), Waker::noop().clone());
        Ours { engine, lane, session }
    }
}

impl Answers for Ours {
    fn raw(&mut self, command: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        let request = OwnedRequest::from_slices(command);
        self.lane.begin_turn();
        self.engine.execute(&mut self.lane, &mut self.session, request.as_request(), &mut out);
        out
    }
}

/// A real server in a directory of its own, killed when dropped.
pub(crate) struct Real {
    process: Child,
    dir: PathBuf,
    stream: UnixStream,
}

impl Real {
    /// Starts one; `None`, with a note, where it is not installed.
    pub(crate) fn start() -> Option<Real> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("larder-oracle-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory can be made");
        let socket = dir.join("redis.sock");
        let started = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--enable-debug-command", "yes", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(&dir)
            .stdout(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            println!("skipped: redis-server is not installed");
            return None;
        };
        for _ in 0..500 {
            if let Ok(stream) = UnixStream::connect(&socket) {
                return Some(Real { process, dir, stream });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("redis-server does not start");
    }
}

impl Answers for Real {
    fn raw(&mut self, command: &[&str]) -> Vec<u8> {
        let mut request = Vec::new();
        write_command(&mut request, command);
        self.stream.write_all(&request).expect("redis-server takes commands");
        let mut reply = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        while !matches!(parse_frame(&reply), Ok(Some(_))) {
            let length = self.stream.read(&mut chunk).expect("redis-server answers");
            assert!(length > 0, "redis-server hung up on {command:?}");
            reply.extend_from_slice(&chunk[..length]);
        }
        reply
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child can be waited for");
        std::fs::remove_dir_all(&self.dir).expect("a temporary directory can be removed");
    }
}

/// The text of a simple or bulk string.
pub(crate) fn text(frame: &Frame) -> &str {
    frame.as_str().unwrap_or_else(|| panic!("expected text, not {frame:?}"))
}

/// The elements of an array or set.
pub(crate) fn elements(frame: &Frame) -> &[Frame] {
    frame.as_elements().unwrap_or_else(|| panic!("expected elements, not {frame:?}"))
}

/// The pairs of a map.
pub(crate) fn pairs(frame: &Frame) -> &[(Frame, Frame)] {
    let Frame::Map(pairs) = frame else { panic!("expected a map, not {frame:?}") };
    pairs
}

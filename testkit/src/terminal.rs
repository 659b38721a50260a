//! Two terminal clients side by side: ours and Debian's `redis-cli`, told the same, must print the same bytes.
//!
//! Each client gets a server of its own, both of one kind and with the same history, because commands change what later
//! ones answer.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use crate::client::{show_bytes, split_line};
use crate::server::{Options, Program, Server};
use crate::temp::TempDir;

/// Options that decide how a reply is written.
pub const FORMATS: &[&[&str]] = &[
    &[],
    &["-3"],
    &["--no-raw"],
    &["-3", "--no-raw"],
    &["--csv"],
    &["-3", "--csv"],
    &["--json"],
    &["-2", "--json"],
    &["--quoted-json"],
    &["-2", "--quoted-json"],
    &["-d", ", ", "-D", ";\n"],
];

/// Commands that both kinds of servers know, in an order that fills, looks at and empties all types.
const COMMON: &str = r#"
PING
PING hello
ECHO "two words"
ECHO ""
ECHO "\x00\x01\x7f\x80\xff"
ECHO "quotes \" and ' and \\ and \n\r\t\a\b\x0b\x0c\x1b"
ECHO "Gr\xc3\xbc\xc3\x9fe \xf0\x9f\x98\x80"
ECHO "half a character \xc3"
SET a 1
SET b "a value"
SET "key with \x00" "\x00\xff binary"
SET empty ""
GET a
GET b
GET "key with \x00"
GET empty
GET nothing
SET a 2 GET
SET a 3 NX
SET a 3 XX
SET a 4 EX 100
SET t 1 PX
SET t 1 EX 0
SET t 1 EX notanumber
SET
GET
GET a b
NOSUCHCOMMAND
NOSUCHCOMMAND with "some \"arguments\"" and more
nosuch "\xff\x00"
INCR a
INCRBY a 10
INCRBYFLOAT f 3.25
INCRBYFLOAT f 1e5
INCR b
APPEND b " and more"
STRLEN b
GETRANGE b 2 6
SETRANGE b 2 VALUE
MSET m1 1 m2 2 m3 3
MGET m1 m2 nothing m3
MSETNX m1 9 m4 4
GETSET m1 x
GETDEL m1
EXISTS m1 m2 m3
TYPE a
TYPE nothing
EXPIRE m2 100
PERSIST m2
TTL m2
TTL nothing
PTTL nothing
RENAME m3 m5
RENAME nothing m5
COPY m5 m6
TOUCH m5 m6 nothing
OBJECT ENCODING a
OBJECT ENCODING b
OBJECT REFCOUNT nothing
OBJECT NOSUCH a
RPUSH l one two three "" "\x00\xff" "\xc3\xa9" "with \"quotes\""
LPUSH l zero
LRANGE l 0 -1
LRANGE l 5 2
LRANGE nothing 0 -1
LLEN l
LINDEX l 0
LINDEX l 100
LINSERT l BEFORE one half
LPOS l two
LPOS l two COUNT 0
LPOS l nothing
LSET l 100 x
LPOP l 2
LPOP nothing 2
RPOP l
LMOVE l l2 LEFT RIGHT
LMPOP 2 nothing l LEFT COUNT 2
LMPOP 1 nothing LEFT
LPUSH a x
HSET h f1 v1 f2 v2 f3 "\x00\xff" "" empty
HSET h1 only one
HGETALL h1
HGETALL nothing
HGET h f3
HGET h nothing
HMGET h f1 nothing f2
HKEYS h1
HVALS h1
HLEN h
HEXISTS h f1
HINCRBY h n 5
HINCRBYFLOAT h x 1.5
HINCRBY h f1 5
HSCAN h1 0
HRANDFIELD h1
HRANDFIELD h1 2
HRANDFIELD h1 2 WITHVALUES
HRANDFIELD h1 -2 WITHVALUES
HDEL h f1 nothing
SADD s one
SADD ints 1 2 3 4 5 6 7 8 9 10 11
SMEMBERS s
SMEMBERS ints
SMEMBERS nothing
SISMEMBER s one
SMISMEMBER s one two
SCARD ints
SINTER ints s
SINTERCARD 2 ints ints LIMIT 3
SUNION s
SDIFF ints nothing
SSCAN s 0
SRANDMEMBER nothing
SRANDMEMBER s 3
SPOP s 2
SREM ints 1 2 99
ZADD z 1 one 2 two 2.5 half 1e20 huge -inf low +inf high
ZADD z NX CH 5 one
ZADD z INCR 1.25 one
ZADD z x one
ZRANGE z 0 -1
ZRANGE z 0 -1 WITHSCORES
ZRANGE z 0 0 WITHSCORES
ZRANGE z -inf +inf BYSCORE LIMIT 1 2 WITHSCORES
ZRANGE nothing 0 -1 WITHSCORES
ZREVRANGE z 0 1 WITHSCORES
ZRANGEBYLEX z - + LIMIT 0 1
ZSCORE z half
ZSCORE z huge
ZSCORE z high
ZSCORE z nothing
ZMSCORE z one nothing two
ZINCRBY z 0.1 one
ZRANK z one
ZREVRANK z nothing
ZCARD z
ZCOUNT z 0 10
ZRANDMEMBER nothing 2 WITHSCORES
ZPOPMIN z
ZPOPMAX z 2
ZPOPMIN nothing
ZMPOP 1 z MIN COUNT 2
ZMPOP 1 nothing MIN
ZADD z2 1 a 2 b
ZUNION 2 z2 z2 WITHSCORES
ZINTER 1 z2 WITHSCORES
ZDIFF 2 z2 nothing WITHSCORES
ZUNIONSTORE z3 2 z2 z2 WEIGHTS 1 2
ZSCAN z2 0
ZREM z2 a
MULTI
EXEC
DISCARD
WATCH a
UNWATCH
DBSIZE
SELECT 3
SELECT 99
SELECT x
SWAPDB 3 4
MOVE m5 5
RANDOMKEY nothing
KEYS nothing*
KEYS m[2]
SCAN 0 MATCH nothing* COUNT 1000
SCAN 0 TYPE nosuch COUNT 1000
SCAN x
SCAN 0 COUNT 0
CONFIG GET maxmemory
CONFIG GET nosuchparameter
CONFIG GET appendonl*
CONFIG SET maxmemory 100mb
CONFIG SET nosuch 1
CONFIG SET maxmemory x
CONFIG NOSUCH
CLIENT GETNAME
CLIENT SETNAME "a name"
CLIENT SETNAME name
CLIENT NOSUCH
CLIENT KILL ID 999999999
CLIENT UNPAUSE
COMMAND COUNT x
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS PING
COMMAND INFO nosuch
COMMAND LIST FILTERBY PATTERN nosuch*
MEMORY USAGE nothing
PUBLISH channel message
PUBSUB CHANNELS
PUBSUB NUMSUB a b
PUBSUB NUMPAT
PUBSUB NOSUCH
SLOWLOG LEN x
SLOWLOG RESET
LATENCY RESET
WAIT 0 0
ROLE
RESET
AUTH wrong password
AUTH password
HELLO 9
HELLO 3 AUTH
DEBUG SLEEP 0
ACL WHOAMI
UNLINK m2 nothing
DEL a b
FLUSHDB
FLUSHALL ASYNC
EXISTS a
"#;

/// Further types, and replies of every shape. A server that does not know them answers with errors, which are replies too.
const FURTHER: &str = r#"
DEBUG PROTOCOL string
DEBUG PROTOCOL integer
DEBUG PROTOCOL double
DEBUG PROTOCOL null
DEBUG PROTOCOL array
DEBUG PROTOCOL set
DEBUG PROTOCOL map
DEBUG PROTOCOL push
DEBUG PROTOCOL verbatim
DEBUG PROTOCOL true
DEBUG PROTOCOL false
EVAL "return {1, 'two', {3, {4, 'five'}}, false, redis.error_reply('ERR inside'), redis.status_reply('FINE')}" 0
EVAL "return redis.call('nosuch')" 0
EVAL "redis.setresp(3) return {map = {a = 1}}" 0
EVAL "redis.setresp(3) return {double = 3.25}" 0
EVAL "redis.setresp(3) return {set = {a = true}}" 0
EVAL "redis.setresp(3) return {{map = {x = {1, 2, {map = {y = {}}}}}}, 3}" 0
XADD st 1-1 field value
XADD st 1-2 a 1 b 2
XRANGE st - +
XREAD COUNT 1 STREAMS st 0
XINFO STREAM st
XINFO GROUPS nothing
GEOADD geo 13.361389 38.115556 Palermo
GEOPOS geo Palermo nothing
GEOSEARCH geo FROMLONLAT 15 37 BYRADIUS 200 km WITHCOORD WITHDIST
SETBIT bits 7 1
BITFIELD bits GET u8 0 INCRBY u8 0 300
PFADD hll a b c
PFCOUNT hll
FUNCTION LIST
ACL GETUSER default
ACL LIST
LATENCY HISTOGRAM nosuch
LATENCY DOCTOR
LATENCY GRAPH nosuch
CLUSTER INFO
CLUSTER NODES
MEMORY MALLOC-STATS nosuch
OBJECT HELP
OBJECT ENCODING hll
BITCOUNT bits
GETBIT bits 7
GEODIST geo Palermo nothing
XLEN st
"#;

/// Which server the clients talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Debian's `redis-server`.
    Redis,
    /// Ours.
    Larder,
}

impl Kind {
    fn start(self) -> Result<Server, String> {
        let options = match self {
            Kind::Redis => Options::redis(),
            Kind::Larder => Options { program: Program::Larder, ..Options::larder() },
        };
        Server::try_start(options.args(["--enable-debug-command", "yes"]))
    }
}

/// All commands, each as words.
fn commands() -> Vec<Vec<Vec<u8>>> {
    let lines = COMMON.lines().chain(FURTHER.lines());
    lines.filter(|line| !line.is_empty()).map(split_line).collect()
}

/// Runs all commands with one to all formats each, through both clients. `every`: how many of the formats a command is
/// tried with; which ones changes from command to command.
///
/// # Errors
/// All differences, or why the servers do not start. Else how many runs were compared.
pub fn compare(ours: &Path, kind: Kind, every: usize) -> Result<usize, String> {
    let (left, right) = (kind.start()?, kind.start()?);
    let links = TempDir::new();
    let link = legacy(ours, links.path())?;
    let (mut count, mut differences) = (0, String::new());
    for (index, command) in commands().into_iter().enumerate() {
        for step in 0..every.min(FORMATS.len()) {
            let format = FORMATS[(index + step * 3) % FORMATS.len()];
            let theirs = run(Path::new("redis-cli"), left.port(), format, &command, b"");
            // Under its own name its exit code is what our client differs in on purpose.
            let is_legacy = step % 2 == 0;
            let mine = run(if is_legacy { &link } else { ours }, right.port(), format, &command, b"");
            count += 1;
            let same_end = !is_legacy || theirs.status == mine.status;
            if theirs.stdout != mine.stdout || theirs.stderr != mine.stderr || !same_end {
                let shown: Vec<String> = command.iter().map(|word| show_bytes(word)).collect();
                let _ = writeln!(
                    differences,
                    "{} {}\n  redis-cli: {} {} {}\n  ours:      {} {} {}",
                    format.join(" "),
                    shown.join(" "),
                    show_bytes(&theirs.stdout),
                    show_bytes(&theirs.stderr),
                    theirs.status,
                    show_bytes(&mine.stdout),
                    show_bytes(&mine.stderr),
                    mine.status
                );
            }
        }
    }
    if differences.is_empty() { Ok(count) } else { Err(differences) }
}

/// A link to our client in this directory under the name `redis-cli`, which makes it keep that one's exit codes.
///
/// # Errors
/// When the client is not there, or the link cannot be made.
pub fn legacy(client: &Path, dir: &Path) -> Result<PathBuf, String> {
    let link = dir.join("redis-cli");
    // The link lies elsewhere: only a whole path leads from there to the client.
    std::fs::canonicalize(client)
        .and_then(|client| std::os::unix::fs::symlink(client, &link))
        .map_err(|e| format!("a link to {}: {e}", client.display()))?;
    Ok(link)
}

/// One run of a client; standard output is a pipe.
///
/// # Panics
/// When the client cannot be started.
#[must_use]
pub fn run<A: AsRef<[u8]>>(
    client: &Path,
    port: u16,
    options: &[&str],
    command: &[A],
    input: &[u8],
) -> Output {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    // No argument of a process can hold a zero byte, but one in quotes can stand for it.
    let needs_quotes = command.iter().any(|word| word.as_ref().contains(&0));
    let words = command.iter().map(|word| match needs_quotes {
        true => quoted(word.as_ref()),
        false => word.as_ref().to_vec(),
    });
    let words: Vec<Vec<u8>> = words.collect();
    let mut child = Command::new(client);
    child
        .args(["-p", &port.to_string()])
        .args(options)
        .args(if needs_quotes { &["--quoted-input"][..] } else { &[] })
        .args(words.iter().map(|word| OsStr::from_bytes(word)))
        .env_remove("REDISCLI_AUTH")
        .env("REDISCLI_HISTFILE", "/dev/null")
        .env("REDISCLI_RCFILE", "/dev/null");
    feed(&mut child, input)
}

/// All bytes of a word as escapes in quotes.
fn quoted(word: &[u8]) -> Vec<u8> {
    let escapes: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{escapes}\"").into_bytes()
}

/// Runs a program with this standard input to its end.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn feed(command: &mut Command, input: &[u8]) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    // A program that does not read its input closes it, which is no failure.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("a child can be waited for");
    writer.join().expect("writing does not panic");
    output
}

/// A server of canned bytes: HELLO is answered with an empty map, everything else with the same bytes, or with what a
/// function makes of the request.
#[derive(Debug)]
pub struct Canned {
    port: u16,
}

/// What a canned server does behind its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Waits for the next request.
    Wait,
    /// Closes the connection.
    Close,
    /// Sends the same bytes again and again.
    Repeat,
}

impl Canned {
    /// Starts one; it serves until the test process ends.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(reply: &[u8], then: Then) -> Canned {
        let reply: Arc<[u8]> = reply.into();
        Canned::serving(free(), move |stream| serve(stream, &|_| reply.to_vec(), then))
    }

    /// Starts one that answers what a function makes of the bytes that have come together.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn scripted(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Canned {
        Canned::on(free(), answer)
    }

    /// The same on a port that has been opened already.
    ///
    /// # Panics
    /// When it has no address.
    #[must_use]
    pub fn on(listener: TcpListener, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Canned {
        Canned::serving(listener, move |stream| serve(stream, &answer, Then::Wait))
    }

    fn serving(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Canned {
        let port = listener.local_addr().expect("it is bound").port();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Canned { port }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn free() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).expect("a free port")
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str) -> Vec<u8>, then: Then) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..count]);
        let is_hello = request.contains("HELLO");
        let reply = if is_hello { b"%0\r\n".to_vec() } else { answer(&request) };
        if stream.write_all(&reply).is_err() {
            return;
        }
        if is_hello {
            continue;
        }
        match then {
            Then::Wait => {}
            Then::Close => return,
            Then::Repeat => while stream.write_all(&reply).is_ok() {},
        }
    }
}

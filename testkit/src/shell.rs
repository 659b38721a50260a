//! What people do with `redis-cli` in shell scripts, done with it and with ours.
//!
//! Ours is reached by a link named `redis-cli`, as somebody would put it in the place of the other. Each client has a
//! redis-server of its own; what is printed, the exit codes, and in the end the data must be the same.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::client::show_bytes;
use crate::server::{Options, Server};
use crate::temp::TempDir;
use crate::terminal::{feed, legacy};

/// The scripts, each in a shell of its own, in a directory of its client's, with `$COUNT` for how much is piped.
const SCRIPTS: &[&str] = &[
    "for i in 1 2 3 4 5; do redis-cli set key:$i value$i; done",
    "seq 1 20 | xargs -n 1 redis-cli incrby total",
    "seq 1 9 | xargs redis-cli rpush list",
    "redis-cli --scan --pattern 'key:[1-3]' | sort | xargs redis-cli del",
    "printf 'one two\\0three four\\0' | xargs -0 redis-cli sadd names; redis-cli smembers names | sort",
    "printf 'first 1\\nsecond 2\\n' | while read -r key value; do redis-cli set \"$key\" \"$value\" </dev/null; done",
    "redis-cli keys '*' | sort | while read -r key; do echo \"$key $(redis-cli type \"$key\")\"; done",
    "printf 'a\\000b\\r\\n\\377' | redis-cli -x set binary; redis-cli get binary | od -An -tx1",
    "seq 1 $COUNT | gzip -n | redis-cli -x set archive; redis-cli strlen archive; redis-cli get archive | cksum",
    "printf 'the\\000value' | redis-cli -X TAG set tagged TAG ex 1000; redis-cli ttl tagged | sed 's/99[0-9]/soon/'",
    "redis-cli dump list | head -c -1 | redis-cli -x restore copied 0; redis-cli lrange copied 0 -1",
    "printf 'return {KEYS[1], KEYS[2], ARGV[1], #ARGV}' > s.lua; redis-cli --eval s.lua k1 k2 , 'a b' c",
    "printf 'return redis.call(\"incrby\", KEYS[1], ARGV[1])' > i.lua; redis-cli -r 3 --eval i.lua evaluated , 5",
    "echo 'return nonsense(' > bad.lua; redis-cli --eval bad.lua; echo $?; redis-cli --eval missing.lua; echo $?",
    "seq 1 $COUNT | awk '{ print \"SET piped:\" $1 \" \" $1 * 7 }' | redis-cli --pipe; redis-cli dbsize",
    "seq 1 $COUNT | awk '{ printf \"*3\\r\\n$4\\r\\nSADD\\r\\n$6\\r\\nbigset\\r\\n$%d\\r\\n%s\\r\\n\", length($1), $1 }' \
     | redis-cli --pipe; redis-cli scard bigset",
    "printf 'SET p 1\\r\\nNOSUCH\\r\\nINCR p\\r\\nLPUSH p x\\r\\n' | redis-cli --pipe; echo $?",
    "redis-cli <<END\nset heredoc 'with \"quotes\"'\nget heredoc\nnosuch\n\nget \"unbalanced\n3 incr n\nEND\necho $?",
    "printf 'multi\\nincr n\\nincr n\\nexec\\nquit\\nincr n\\n' | redis-cli",
    "echo 'get heredoc' | redis-cli --csv; echo 'lrange list 0 2' | redis-cli --no-raw",
    "value=$(redis-cli get key:4); echo \"[$value]\"; [ \"$(redis-cli ping)\" = PONG ] && echo up",
    "[ \"$(redis-cli exists nothing)\" -eq 0 ] && redis-cli setnx nothing now; redis-cli get nothing",
    "redis-cli -r 3 incr counter; redis-cli -r 2 -i 0.01 incr counter",
    "redis-cli lrange list 0 -1 | head -n 2; redis-cli lrange list 0 -1 | wc -l",
    "redis-cli --csv lrange list 0 -1; redis-cli -d , lrange list 0 -1; redis-cli -D ';' get counter",
    "redis-cli hset h name 'J\\303\\266rg' age 40; redis-cli --json hgetall h; redis-cli --no-raw hget h name",
    "redis-cli -n 3 set there 1; redis-cli -n 3 dbsize; redis-cli exists there; redis-cli -n 99 ping; echo $?",
    "redis-cli -u redis://127.0.0.1:$PORT/2 set there 2; redis-cli -u redis://127.0.0.1:$PORT/2 keys '*'",
    "redis-cli --quoted-input set '\"\\xfek\"' '\"\\xff\\x00\"'; redis-cli --scan --quoted-pattern '\"\\xfe*\"' | od -An -tx1",
    "redis-cli lpush counter x; echo $?; redis-cli -e lpush counter x; echo $?; redis-cli -e get counter; echo $?",
    "REDISCLI_AUTH=wrong redis-cli ping; redis-cli -a wrong --no-auth-warning ping; redis-cli -a wrong ping; echo $?",
    "redis-cli -p 1 ping; echo $?; echo ping | redis-cli -p 1; echo $?; redis-cli --nonsense; echo $?",
    "redis-cli info server | tr -d '\\r' | grep '^redis_version:'; redis-cli config get maxmemory | tail -n 1",
    "redis-cli set tmp x px 100000 >/dev/null && redis-cli persist tmp && redis-cli ttl tmp",
    "redis-cli -3 --show-pushes no hgetall h; redis-cli --raw zadd z 1.5 a 2 b; redis-cli zrange z 0 -1 withscores",
];

/// What came of a comparison.
#[derive(Clone, Debug)]
pub struct Compared {
    /// How many scripts were run with both clients.
    pub scripts: usize,
    /// How long all of them took with redis-cli and with ours.
    pub times: [Duration; 2],
}

/// Runs all scripts with both clients. `count`: how many commands are piped.
///
/// # Errors
/// All differences, or why the servers do not start.
///
/// # Panics
/// When a shell cannot be started.
pub fn compare(ours: &Path, count: usize) -> Result<Compared, String> {
    let (theirs, ours) = (Side::new(None)?, Side::new(Some(ours))?);
    let mut times = [Duration::ZERO; 2];
    let mut differences = String::new();
    for script in SCRIPTS {
        let [left, right] = [(&theirs, 0), (&ours, 1)].map(|(side, place)| {
            let start = Instant::now();
            let output = side.run(script, count);
            times[place] += start.elapsed();
            output
        });
        if left.stdout != right.stdout || left.stderr != right.stderr || left.status != right.status {
            let _ = writeln!(
                differences,
                "{script}\n  redis-cli: {}\n  ours:      {}",
                shown(&left),
                shown(&right)
            );
        }
    }
    let [left, right] =
        [&theirs, &ours].map(|side| format!("{:?}", side.server.connect().line("DEBUG DIGEST")));
    if left != right {
        let _ = writeln!(differences, "the data differs in the end: {left} and {right}");
    }
    if differences.is_empty() { Ok(Compared { scripts: SCRIPTS.len(), times }) } else { Err(differences) }
}

fn shown(output: &Output) -> String {
    let cut = |bytes: &[u8]| show_bytes(&bytes[..bytes.len().min(2000)]);
    format!("{} {} {}", cut(&output.stdout), cut(&output.stderr), output.status)
}

/// A client with its server and its directory.
struct Side {
    server: Server,
    home: TempDir,
    /// The search path, with the `redis-cli` of this side first.
    path: String,
}

impl Side {
    fn new(client: Option<&Path>) -> Result<Side, String> {
        let server = Server::try_start(Options::redis().args(["--enable-debug-command", "yes"]))?;
        let home = TempDir::new();
        let mut path = std::env::var("PATH").unwrap_or_default();
        if let Some(client) = client {
            let programs = home.path().join("programs");
            std::fs::create_dir(&programs).map_err(|e| format!("{}: {e}", programs.display()))?;
            legacy(client, &programs)?;
            path = format!("{}:{path}", programs.display());
        }
        Ok(Side { server, home, path })
    }

    fn run(&self, script: &str, count: usize) -> Output {
        // A port that the script names comes later, and wins.
        let port = self.server.port().to_string();
        let script = format!("{script} ").replace("redis-cli ", &format!("redis-cli -p {port} "));
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &script])
            .current_dir(self.home.path())
            .env("PATH", &self.path)
            .env("COUNT", count.to_string())
            .env("PORT", port)
            .env_remove("REDISCLI_AUTH")
            .env("LC_ALL", "C");
        feed(&mut shell, b"")
    }
}

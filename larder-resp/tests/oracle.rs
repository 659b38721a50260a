//! The same questions to this crate and to a real `redis-server`.
//!
//! Each test starts its own server on a Unix socket in a directory of its own, and passes without asking when
//! no `redis-server` is installed.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use larder_resp::{
    Decoded, Decoder, Frame, FrameReader, Limits, LongDouble, OwnedRequest, Proto, ReplyWriter, format_g17,
    parse_double, parse_frame, strtod, write_command,
};

/// A server that ends with the test.
struct Oracle {
    child: Child,
    dir: PathBuf,
}

impl Oracle {
    /// `None` when there is no `redis-server`.
    fn start(options: &[&str]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("larder-resp-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        let spawned = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket", "socket", "--dir"])
            .arg(&dir)
            .args(["--enable-debug-command", "yes"])
            .args(options)
            .current_dir(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("no redis-server here: nothing was compared");
                let _ = fs::remove_dir_all(&dir);
                return None;
            }
            Err(error) => panic!("redis-server does not start: {error}"),
        };
        let oracle = Self { child, dir };
        for _ in 0..500 {
            if UnixStream::connect(oracle.socket()).is_ok() {
                return Some(oracle);
            }
            sleep(Duration::from_millis(20));
        }
        panic!("redis-server does not listen");
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    fn connect(&self) -> Connection {
        let stream = UnixStream::connect(self.socket()).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("the timeout is not zero");
        Connection { stream, reader: FrameReader::new(), buf: Vec::new() }
    }

    /// Everything the server answers to `bytes` when nothing follows them.
    fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().stream;
        let mut writer = stream.try_clone().expect("a socket can be cloned");
        let bytes = bytes.to_vec();
        // The server may close before it has read everything; then writing fails, and that is all right.
        let writing = std::thread::spawn(move || {
            let _ = writer.write_all(&bytes);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let mut answer = Vec::new();
        // A reset behind the answer is as good as an end.
        let _ = stream.read_to_end(&mut answer);
        writing.join().expect("the writing thread does not panic");
        answer
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Connection {
    stream: UnixStream,
    reader: FrameReader,
    buf: Vec<u8>,
}

impl Connection {
    fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let mut wire = Vec::new();
        write_command(&mut wire, args);
        self.stream.write_all(&wire).expect("the server reads");
    }

    fn receive(&mut self) -> Frame {
        loop {
            if let Some((frame, consumed)) = self.reader.read(&self.buf).expect("the server speaks RESP") {
                self.buf.drain(..consumed);
                return frame;
            }
            let mut chunk = [0; 16 * 1024];
            let len = self.stream.read(&mut chunk).expect("the server answers");
            assert!(len > 0, "the server closed the connection");
            self.buf.extend_from_slice(&chunk[..len]);
        }
    }

    fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Frame {
        self.send(args);
        self.receive()
    }
}

/// Numbers for generated cases, the same in every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.roll() >> 11) % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn digits(&mut self, longest: u64) -> String {
        (0..=self.below(longest)).map(|_| self.pick(&['0', '1', '2', '5', '9', '4', '7'])).collect()
    }

    /// A number as text, mostly well-formed.
    fn number(&mut self) -> String {
        let sign = self.pick(&["", "", "", "-", "-", "+"]);
        let body = match self.below(10) {
            0 => self.digits(20),
            1..4 => format!("{}.{}", self.digits(8), self.digits(8)),
            4 => format!("{}.{}", self.digits(25), self.digits(40)),
            5 => format!("{}.{}e{}", self.digits(3), self.digits(20), self.below(60) as i64 - 30),
            6 => format!("{}e{}", self.digits(6), self.below(700) as i64 - 350),
            7 => format!("{}.{}e{}", self.digits(1), self.digits(30), self.below(10_100) as i64 - 5050),
            8 => format!(
                "0x{:x}.{:x}p{}",
                self.roll() >> self.below(64),
                self.roll(),
                self.below(200) as i64 - 100
            ),
            _ => self
                .pick(&[
                    "inf", "nan", "1e", ".", "", "0x", "0x1p", "5.", ".5", "1e+5", "Infinity", "1_0", "0x.8",
                ])
                .to_owned(),
        };
        format!("{sign}{body}")
    }
}

/// What the decoder makes of `bytes`: `PING`s and `ECHO`s answered as Redis does, and the protocol error.
fn our_answer(bytes: &[u8], limits: Limits) -> Vec<u8> {
    let (mut decoder, mut out, mut rest) = (Decoder::new(), Vec::new(), bytes);
    loop {
        let mut reply = ReplyWriter::new(&mut out, Proto::Resp2);
        let consumed = match decoder.decode(rest, &limits) {
            Ok(Decoded::Command { consumed }) => {
                let request = decoder.request(rest);
                let name = request.arg(0).to_ascii_lowercase();
                match (name.as_slice(), request.len()) {
                    (b"auth", _) => reply.ok(),
                    (b"ping", 1) => reply.simple("PONG"),
                    (b"ping" | b"echo", 2) => reply.bulk(request.arg(1)),
                    (b"ping" | b"echo", _) => {
                        let name = name.escape_ascii();
                        reply.error(format!("ERR wrong number of arguments for '{name}' command"));
                    }
                    _ => {
                        // Redis quotes the start of each argument and stops at 128 bytes.
                        let mut text = b"ERR unknown command '".to_vec();
                        text.extend(request.arg(0).iter().take(128));
                        text.extend(b"', with args beginning with: ");
                        let mut quoted = Vec::new();
                        for arg in &request.skip(1) {
                            if quoted.len() >= 128 {
                                break;
                            }
                            let room = 128 - quoted.len();
                            quoted.push(b'\'');
                            quoted.extend(arg.iter().take(room));
                            quoted.extend(b"' ");
                        }
                        text.extend(quoted);
                        // A line that ends in blanks keeps them, so this is no case for `error`.
                        text.iter_mut().filter(|byte| b"\r\n".contains(byte)).for_each(|byte| *byte = b' ');
                        reply.raw(&[b"-", text.as_slice(), b"\r\n"].concat());
                    }
                }
                consumed
            }
            Ok(Decoded::Skip { consumed }) => consumed,
            Ok(Decoded::Incomplete { .. }) => return out,
            Err(error) => {
                reply.protocol_error(&error);
                return out;
            }
        };
        rest = &rest[consumed..];
    }
}

#[track_caller]
fn assert_same(oracle: &Oracle, bytes: &[u8], limits: Limits) {
    let (theirs, ours) = (oracle.answer(bytes), our_answer(bytes, limits));
    let shown = &bytes[..bytes.len().min(200)];
    assert_eq!(
        theirs.escape_ascii().to_string(),
        ours.escape_ascii().to_string(),
        "redis-server (left) and the decoder (right) read: {} ({} bytes)",
        shown.escape_ascii(),
        bytes.len()
    );
}

const PING: &str = "*1\r\n$4\r\nPING\r\n";

#[test]
fn requests_and_their_errors() {
    let Some(oracle) = Oracle::start(&[]) else { return };
    let counts = [
        "a",
        "-5",
        "0",
        "-1",
        "2147483647",
        "2147483648",
        "99999999999999999999",
        "01",
        "+1",
        " 1",
        "",
        "1 ",
    ];
    let lengths =
        ["a", "-1", "-0", "0", "04", "+4", "", "536870912", "536870913", "9223372036854775808", "4 "];
    let mut cases: Vec<String> = counts.iter().map(|count| format!("*{count}\r\n{PING}")).collect();
    cases.extend(lengths.iter().map(|length| format!("*1\r\n${length}\r\nPING\r\n{PING}")));
    cases.extend(["x\r\n", "\r\n", "\n\r\n", "*1\r\n", "PING\r\n"].map(|line| format!("*1\r\n{line}{PING}")));
    // A line end is a CR and any byte; the bytes behind a payload are any two.
    cases.extend(["*1\rX$4\rYPINGzz", "*1\n$4\r\nPING\r\n", "*1\r", "*1\r\n$4\r\nPING\r"].map(str::to_owned));
    // 64 KiB and no line end.
    for sigil in ["*", "*1\r\n$", "a"] {
        for len in [65_535, 65_536, 65_540] {
            cases.push(format!(
                "{sigil}{}",
                "1".repeat(len + 1 - sigil.len().min(1) - usize::from(sigil == "a"))
            ));
        }
    }
    for case in &cases {
        assert_same(&oracle, case.as_bytes(), Limits::default());
    }
    assert_same(&oracle, b"*1\r\n\xff\r\n", Limits::default());
}

#[test]
fn requests_before_authentication() {
    let Some(oracle) = Oracle::start(&["--requirepass", "secret"]) else { return };
    let limits = Limits { authenticated: false, ..Limits::default() };
    for case in [
        "*11\r\n",
        "*10\r\n",
        "*1\r\n$16385\r\n",
        "*1\r\n$16384\r\n",
        "*a\r\n",
        "*99999999999\r\n",
        "*-11\r\n",
    ] {
        assert_same(&oracle, case.as_bytes(), limits);
    }
}

#[test]
fn inline_commands() {
    let Some(oracle) = Oracle::start(&[]) else { return };
    let mut dice = Dice(7);
    let bytes = b"abx4 \"\"''\\\\\\\t\r\x0b\x0cnrtq\xe9";
    for case in 0..3000 {
        let mut line = dice.pick(&[&b"ECHO "[..], b"ECHO \"", b"ECHO '", b"PING ", b" ", b""]).to_vec();
        (0..dice.below(12)).for_each(|_| line.push(dice.pick(bytes)));
        if dice.below(3) > 0 {
            // A closing quote somewhere near the end makes well-formed lines likely.
            line.push(dice.pick(b"\"'"));
        }
        line.extend(dice.pick(&[&b"\r\n"[..], b"\n", b"\r\r\n"]));
        line.extend(b"PING last\r\n");
        // Every line but one that begins like a multibulk request.
        assert!(line[0] != b'*', "case {case}");
        assert_same(&oracle, &line, Limits::default());
    }
}

#[test]
fn replies_of_every_type() {
    let Some(oracle) = Oracle::start(&[]) else { return };
    type Write = fn(&mut ReplyWriter<'_>);
    let types: [(&str, Write); 12] = [
        ("string", |r| r.bulk(b"Hello World")),
        ("integer", |r| r.integer(12345)),
        ("double", |r| r.double(3141.0 / 1000.0)),
        ("null", |r| r.null()),
        ("array", |r| {
            r.array(3);
            (0..3).for_each(|i| r.integer(i));
        }),
        ("set", |r| {
            r.set(3);
            (0..3).for_each(|i| r.integer(i));
        }),
        ("map", |r| {
            let map = r.deferred_array();
            (0..3).for_each(|i| {
                r.integer(i);
                r.boolean(i == 1);
            });
            r.finish_map(map, 3);
        }),
        ("verbatim", |r| r.verbatim("txt", b"This is a verbatim\nstring")),
        ("true", |r| r.boolean(true)),
        ("false", |r| r.boolean(false)),
        ("bignum", |r| r.big_number("1234567999999999999999999999999999999")),
        ("attrib", |r| {
            if r.proto() == Proto::Resp3 {
                r.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            r.bulk(b"Some real reply following the attribute");
        }),
    ];
    for proto in [Proto::Resp2, Proto::Resp3] {
        for (name, write) in types {
            let mut wire = Vec::new();
            write_command(&mut wire, &["HELLO", &proto.version().to_string()]);
            write_command(&mut wire, &["DEBUG", "PROTOCOL", name]);
            let answer = oracle.answer(&wire);
            let (_, hello) = parse_frame(&answer).expect("HELLO answers in RESP").expect("and completely");
            let (theirs, mut ours) = (&answer[hello..], Vec::new());
            write(&mut ReplyWriter::new(&mut ours, proto));
            assert_eq!(
                theirs.escape_ascii().to_string(),
                ours.escape_ascii().to_string(),
                "{name} in {proto:?}"
            );
            let (frame, len) = parse_frame(theirs).expect("replies are RESP").expect("and complete");
            let mut again = Vec::new();
            frame.encode(&mut ReplyWriter::new(&mut again, proto));
            assert_eq!((len, theirs), (theirs.len(), again.as_slice()), "{name} in {proto:?}");
        }
    }
}

/// Bit patterns of finite doubles: at random, and those near every edge.
fn doubles(dice: &mut Dice) -> Vec<f64> {
    let mut values = vec![0.0, 1.0, 0.1, 0.5, 1e15, 1e16, 1e17, 1e18, 1e-4, 1e-5, 1e22, 1e23, 123_456.789];
    values.extend([f64::MAX, f64::MIN_POSITIVE, f64::from_bits(1), f64::EPSILON, 9_007_199_254_740_993.0]);
    values.extend((-1074..1024).map(|power| 2_f64.powi(power)));
    values.extend((-323..309).map(|power| format!("1e{power}").parse::<f64>().expect("a number")));
    values.extend((0..4000).map(|_| f64::from_bits(dice.roll())));
    values.extend((0..2000).map(|_| dice.below(1 << 40) as f64 / 1000.0));
    values.extend((0..1000).map(|_| dice.below(1 << 62) as f64));
    let negative: Vec<f64> = values.iter().map(|value| -value).collect();
    values.extend(negative);
    values.retain(|value| value.is_finite());
    values
}

#[test]
fn seventeen_digits() {
    let Some(oracle) = Oracle::start(&[]) else { return };
    let values = doubles(&mut Dice(1));
    let mut connection = oracle.connect();
    for chunk in values.chunks(500) {
        for value in chunk {
            let shortest = format!("{value:e}");
            connection.send(&["EVAL", "return {double=tonumber(ARGV[1])}", "0", &shortest]);
        }
        for value in chunk {
            assert_eq!(connection.receive(), Frame::bulk(format_g17(*value)), "{value:e}");
        }
    }
}

/// Texts where the reading of doubles has an edge.
#[rustfmt::skip]
const FLOAT_EDGES: [&str; 46] = [
    " 1", "1 ", "\t1", "\u{b}1", "1e400", "-1e400", "1e-400", "1e-320", "0e999", "0e-999", "--1", "1e5.5",
    "1,5", "0x1.fffffffffffff8p0", "0x1.fffffffffffff7p1023", "0x1.fffffffffffff8p1023", "0x1p1024",
    "0x1p-1074", "0x1p-1075", "0x1.1p-1075", "0x1.8p-1075", "0x0.8p-1074", "0x1.00000000000008p0",
    "0x1.00000000000018p0", "0x1.000000000000080000000000000000000000000000001p0",
    "0x00000000000000000000000000000000000001p3", "0x1p-1022", "0x1.fffffffffffffp-1023",
    "0x1.ffffffffffffep-1023", "0x3p-1075", "0x5p-1076", "0X1P+3", "nan(123)", "nan()", "infinit",
    "1e99999999999999999999", "1e-99999999999999999999999", "4.9e-324", "2.4e-324", "2.5e-324",
    "1.7976931348623158e308", "1.7976931348623159e308", "1\0", "0x1.p1", "0x.p1", "1e+",
];

#[test]
fn float_arguments() {
    let Some(oracle) = Oracle::start(&[]) else { return };
    let mut dice = Dice(2);
    let mut texts: Vec<String> = FLOAT_EDGES.map(str::to_owned).to_vec();
    texts.extend((0..6000).map(|_| dice.number()));
    texts.extend((0..500).map(|_| format!("0x{:x}p{}", dice.roll(), dice.below(200) as i64 - 1180)));
    texts.push(format!("0.{}1e5000", "0".repeat(4999)));
    texts.push(format!("0x0.{}1p4000", "0".repeat(1000)));
    texts.push(format!("0x1{}p-4000", "0".repeat(1000)));
    let mut connection = oracle.connect();
    for text in &texts {
        connection.send(&["ZADD", "z", text, "member"]);
        connection.send(&["ZSCORE", "z", "member"]);
        connection.send(&["ZCOUNT", "z", text, "+inf"]);
        connection.send(&["DEL", "z"]);
        let (added, score) = (connection.receive(), connection.receive());
        match parse_double(text.as_bytes()) {
            None => assert_eq!(added, Frame::error("ERR value is not a valid float"), "{text:?}"),
            // A listpack stores a score that is an integer as one, which has no negative zero.
            Some(value) => assert_eq!(score, Frame::bulk(format_g17(value + 0.0)), "{text:?}"),
        }
        // A bound of a range is read by the bare `strtod`, up to the first NUL.
        let text = text.split('\0').next().unwrap_or_default();
        let accepted = match strtod(text.as_bytes()) {
            Some(number) => number.consumed == text.len() && !number.value.is_nan(),
            None => text.is_empty(),
        };
        assert_eq!(accepted, !connection.receive().is_error(), "{text:?} as a bound");
        connection.receive();
    }
}

/// What `SET k left` and `INCRBYFLOAT k right` answer in the end.
fn our_sum(left: &str, right: &str) -> Frame {
    let (Some(left), Some(right)) = (LongDouble::parse(left.as_bytes()), LongDouble::parse(right.as_bytes()))
    else {
        return Frame::error("ERR value is not a valid float");
    };
    let sum = left + right;
    if sum.is_nan() || sum.is_infinite() {
        return Frame::error("ERR increment would produce NaN or Infinity");
    }
    Frame::bulk(sum.to_human())
}

/// Texts where extended precision has an edge; each is added to each.
#[rustfmt::skip]
const SUM_EDGES: [&str; 64] = [
    "0", "-0", "1", "-1", "0.1", "0.2", "1e-17", "5e-18", "-5e-18", "4.9e-18", "1e-30", "-1e-30", "1e4932",
    "-1e4932", "1e4933", "3.3621e-4932", "1e-4950", "3e-4951", "1.8e-4951", "1.83e-4951", "1e-4951",
    "1e-4952", "inf", "-inf", "18446744073709551615", "18446744073709551616", "9223372036854775807",
    "-9223372036854775808", "0.5", "1.5", "1.18973149535723176502e4932", "1.18973149535723176508e4932",
    "1.18973149535723176509e4932", "0x1p16383", "0x1.fffffffffffffffep16383", "0x1.ffffffffffffffffp16383",
    "0x1p16384", "0x1p-16445", "0x1p-16446", "0x1.1p-16446", "0x1p-64", "-0x1p-64", "0x1p-65", "-0x1p-65",
    "-0x1.1p-65", "0x1.8p-64", "0x1.0000000000000001p0", "0x1.00000000000000018p0",
    "0x1.00000000000000010000000000000000001p0", " 1", "1 ", "1\0", "nan", "0x10", "0x1p64", "-0x1p-1",
    "-0x1.0000000000000002p-1", "18446744073709551617",
    "18446744073709551617.0000000000000000000000000000001", "0.30000000000000000001",
    "100000000000000000000000000000", "1e-5000", "0e5000", "1e999999999999999999999",
];

#[test]
fn extended_precision_sums() {
    let Some(oracle) = Oracle::start(&[]) else { return };
    let mut dice = Dice(3);
    let edges = SUM_EDGES.map(str::to_owned);
    let mut pairs = Vec::new();
    for left in &edges {
        pairs.extend(edges.iter().map(|right| (left.clone(), right.clone())));
    }
    pairs.extend((0..8000).map(|_| (dice.number(), dice.number())));
    // Neighbours, so that sums cancel.
    pairs.extend((0..2000).map(|_| {
        let (whole, places) = (dice.digits(17), dice.digits(19));
        (format!("{whole}.{places}"), format!("-{whole}.{}", dice.digits(19)))
    }));
    pairs.extend((0..2000).map(|_| {
        let bits = dice.roll();
        let close = bits ^ dice.below(16);
        let apart = dice.below(140) as i64 - 70;
        (format!("0x{bits:x}p-60"), format!("-0x{close:x}p{}", dice.pick(&[-60, -61, -59, -60 + apart])))
    }));
    for len in [4000, 5119, 5120] {
        pairs.push((format!("{}1", "0".repeat(len - 1)), "1".to_owned()));
        pairs.push((format!("0.{}1", "0".repeat(len - 3)), "1".to_owned()));
        pairs.push(("9".repeat(len), "-1".to_owned()));
        pairs.push((format!("{}.{}", "9".repeat(len / 2), "9".repeat(len - len / 2 - 1)), "7".to_owned()));
    }
    let mut connection = oracle.connect();
    for chunk in pairs.chunks(200) {
        for (left, right) in chunk {
            connection.send(&["SET", "k", left]);
            connection.send(&["INCRBYFLOAT", "k", right]);
        }
        for (left, right) in chunk {
            connection.receive();
            assert_eq!(connection.receive(), our_sum(left, right), "{left:?} + {right:?}");
        }
    }
}

#[test]
fn hash_fields_sum_alike() {
    let Some(oracle) = Oracle::start(&[]) else { return };
    let mut connection = oracle.connect();
    for (left, right) in [("0.1", "0.2"), ("3", "-1.5"), ("-0", "-0"), ("1e17", "0.015625"), ("10", "0x10")] {
        connection.ask(&["HSET", "h", "f", left]);
        assert_eq!(
            connection.ask(&["HINCRBYFLOAT", "h", "f", right]),
            our_sum(left, right),
            "{left} + {right}"
        );
    }
    let sum = LongDouble::from(i64::MIN) + LongDouble::from(i64::MAX);
    assert_eq!(sum.to_human(), "-1");
}

#[test]
fn an_owned_request_is_what_the_server_sees() {
    let Some(oracle) = Oracle::start(&[]) else { return };
    let request = OwnedRequest::from_slices(&[&b"ECHO"[..], b"\0\r\n\xff"]);
    let mut wire = Vec::new();
    request.as_request().encode(&mut wire);
    assert_eq!(oracle.answer(&wire), b"$4\r\n\0\r\n\xff\r\n");
}

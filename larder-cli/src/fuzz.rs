//! Damaged text, thrown at everything that reads what people type or servers send. `LARDER_SEED` and `LARDER_RUNS` repeat
//! or lengthen a run.

use larder_resp::ReplyReader;
use testkit::fuzz::{Target as Fuzzed, quietly, run};

use crate::format::{self, Delimiters, Format};
use crate::options::{Target, unquote, uri};
use crate::prompt::docs::Docs;
use crate::prompt::preferences::Preferences;
use crate::prompt::{editor, history, syntax};
use crate::quote;
use crate::reply::Reply;

fn survives(target: Fuzzed, examples: &[&[u8]]) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
    };
    let examples: Vec<Vec<u8>> = examples.iter().map(|example| example.to_vec()).collect();
    let (runs, seed) = (number("LARDER_RUNS", 20_000), number("LARDER_SEED", 1));
    if let Err(crash) = quietly(|| run(target, &examples, runs, seed)) {
        panic!("seed {seed}: {} at \"{}\"", crash.message, crash.input.escape_ascii());
    }
}

#[test]
fn any_address_is_read_or_refused() {
    survives(
        |input| {
            let mut target = Target::default();
            if uri::apply(&mut target, &String::from_utf8_lossy(input)).is_ok() {
                assert!(!target.place().is_empty());
            }
        },
        &[
            b"redis://user:p%40ss@example.org:6380/2",
            b"rediss://[::1]:7000/1?x=y",
            b"unix://user:pw@/run/larder.sock?db=4",
            b"valkey://%zz@:/",
        ],
    );
}

#[test]
fn any_usage_line_is_followed() {
    survives(
        |input| {
            let text = String::from_utf8_lossy(input);
            let (usage, line) = text.split_once('\n').unwrap_or((&text, ""));
            let nodes = syntax::parse(usage);
            let words: Vec<&str> = line.split_whitespace().collect();
            for count in 0..=words.len().min(8) {
                let rest = syntax::rest(&nodes, &words[..count]);
                let _ = (syntax::render(&rest), syntax::next(&rest, |name| name == "key"));
            }
        },
        &[
            b"key value [NX|XX] [GET] [EX seconds|PX milliseconds|KEEPTTL]\nk v px 5 nx get",
            b"key [NX|XX] [CH] score member [score member ...]\nz 1 a 2 b",
            b"<MINID|MAXLEN> n [LIMIT count] [[a [b]] ...]\nmaxlen 5 limit",
            b"numkeys key [key ...] <LEFT|RIGHT> [COUNT count]\n2 a b left",
        ],
    );
}

#[test]
fn any_line_is_helped_with() {
    survives(
        |input| {
            thread_local!(static DOCS: Docs = Docs::built_in());
            let line = String::from_utf8_lossy(input);
            DOCS.with(|docs| {
                let _ = (editor::hint(docs, &line), editor::coloured(docs, &line));
                if let Some(place) = editor::place(&line) {
                    assert!(line.is_char_boundary(place.start), "completion begins inside of a character");
                    let _ = editor::candidates(docs, &place.before, &place.begun);
                }
            });
            if let Some(args) = larder_resp::split_words(line.as_bytes()) {
                let _ = history::is_secret(&args);
                // What is shown in quotes can be typed again.
                let mut shown = Vec::new();
                for arg in &args {
                    quote::quoted_utf8(&mut shown, arg);
                    shown.push(b' ');
                }
                assert_eq!(larder_resp::split_words(&shown), Some(args));
            }
            let (_, _) = (Preferences::default().apply(&line), unquote(input));
        },
        &[
            b"set user:1 \"a \\x41 value\" ex 10",
            b"AUTH user 'it\\'s secret'",
            b"3 hset h f v",
            b"config set requirepass x",
            b":set nohints",
            "help @sorted-set \u{e4}\u{1F600}".as_bytes(),
        ],
    );
}

#[test]
fn any_reply_is_shown() {
    survives(
        |input| {
            let mut reader = ReplyReader::<Reply>::with_budget(1 << 20);
            let Ok(Some((reply, _))) = reader.read(input) else { return };
            let formats = [
                Format::Raw,
                Format::Tty { utf8: false },
                Format::Tty { utf8: true },
                Format::Csv,
                Format::Json,
                Format::QuotedJson,
            ];
            for format in formats {
                for plain in [false, true] {
                    let _ = format::render(&reply, format, plain, &Delimiters::default());
                }
            }
            let _ = Docs::read(&reply);
        },
        &[
            b"*2\r\n$3\r\nget\r\n*4\r\n$7\r\nsummary\r\n$5\r\nwords\r\n$9\r\narguments\r\n*1\r\n*4\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n",
            b"%1\r\n+k\r\n*3\r\n:1\r\n_\r\n,2.5\r\n",
            b"~2\r\n=7\r\ntxt:abc\r\n#t\r\n",
            b"*2\r\n-ERR x\r\n(123456789012345678901234567890\r\n",
            b">2\r\n+message\r\n$5\r\n\xc3\xbc\x00\x1b\"\r\n",
        ],
    );
}

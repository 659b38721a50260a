//! INFO: fields that monitoring reads are there, in a shape it can read, and tell the truth.

mod oracle;

use larder_resp::Frame;
use oracle::{Answers, Ours, Real};
use std::collections::{BTreeMap, BTreeSet};

/// Fields of a real server that mean nothing here.
const NOT_OURS: &[&str] = &["atomicvar_api", "gcc_version", "monotonic_clock", "multiplexing_api"];

fn info(server: &mut impl Answers, sections: &[&str]) -> String {
    let command: Vec<&str> = std::iter::once("INFO").chain(sections.iter().copied()).collect();
    let reply = server.ask(&command);
    String::from_utf8(reply.as_bytes().expect("INFO is text").to_vec()).expect("INFO is UTF-8")
}

/// Name and value of every field; panics at a line that is neither header, field nor the empty line between sections.
fn fields(text: &str) -> BTreeMap<String, String> {
    assert!(text.ends_with("\r\n"), "{text:?}");
    let mut fields = BTreeMap::new();
    for line in text.trim_end().split("\r\n") {
        assert!(!line.contains('\n'), "{line:?}");
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
        assert!(fields.insert(name.to_owned(), value.to_owned()).is_none(), "twice: {name}");
    }
    fields
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> u64 {
    fields[name].parse().unwrap_or_else(|_| panic!("{name} is {}", fields[name]))
}

#[test]
fn no_field_of_a_real_server_is_missing() {
    let Some(mut real) = Real::start() else { return };
    let names =
        |server: &mut dyn FnMut() -> String| -> BTreeSet<String> { fields(&server()).into_keys().collect() };
    let theirs = names(&mut || info(&mut real, &[]));
    let mut ours = Ours::fresh();
    let ours = names(&mut || info(&mut ours, &[]));
    let missing: Vec<&String> =
        theirs.difference(&ours).filter(|name| !NOT_OURS.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn nothing_is_negative_but_what_there_was_not_yet() {
    let all = fields(&info(&mut Ours::fresh(), &["everything"]));
    let negative: Vec<_> = all.iter().filter(|(_, value)| value.starts_with('-')).collect();
    let none_yet = [
        "aof_current_rewrite_time_sec",
        "aof_last_rewrite_time_sec",
        "rdb_current_bgsave_time_sec",
        "rdb_last_bgsave_time_sec",
        "second_repl_offset",
    ];
    assert_eq!(
        negative,
        none_yet.map(|name| (name.to_owned(), "-1".to_owned())).each_ref().map(|(a, b)| (a, b))
    );
}

#[test]
fn sections_come_as_asked_for() {
    let mut ours = Ours::fresh();
    let headers = |text: &str| -> Vec<String> {
        text.split("\r\n").filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
    };
    assert_eq!(headers(&info(&mut ours, &["CPU", "server", "nonsense"])), ["Server", "CPU"]);
    assert_eq!(info(&mut ours, &["nonsense"]), "");
    assert!(info(&mut ours, &[]).starts_with("# Server\r\nredis_version:7.0.15\r\n"));
    let usual = headers(&info(&mut ours, &["default"]));
    let all = headers(&info(&mut ours, &["all"]));
    assert_eq!(headers(&info(&mut ours, &[])), usual);
    assert!(!usual.contains(&"Commandstats".to_owned()));
    assert!(usual.iter().all(|header| all.contains(header)));
    assert!(all.contains(&"Commandstats".to_owned()));
}

#[test]
fn what_it_says_is_so() {
    let mut ours = Ours::fresh();
    ours.ask(&["SET", "a", "1", "EX", "1000"]);
    ours.ask(&["SET", "b", &"x".repeat(10_000)]);
    ours.ask(&["GET", "a"]);
    ours.ask(&["GET", "nothing"]);
    ours.ask(&["NONSENSE"]);
    ours.ask(&["GET"]);
    let all = fields(&info(&mut ours, &["everything"]));
    assert_eq!(number(&all, "keyspace_hits"), 1);
    assert_eq!(number(&all, "keyspace_misses"), 1);
    assert_eq!(number(&all, "total_error_replies"), 2);
    assert_eq!(all["errorstat_ERR"], "count=2");
    assert_eq!(number(&all, "connected_clients"), 1);
    assert_eq!(number(&all, "rdb_changes_since_last_save"), 2);
    assert!(all["cmdstat_get"].starts_with("calls=2,usec="));
    assert!(all["cmdstat_get"].ends_with(",rejected_calls=1,failed_calls=0"), "{}", all["cmdstat_get"]);
    assert!(all["db0"].starts_with("keys=2,expires=1,avg_ttl="), "{}", all["db0"]);
    let ttl: u64 = all["db0"].rsplit('=').next().and_then(|ttl| ttl.parse().ok()).expect("a time");
    assert!((900_000..=1_000_000).contains(&ttl), "{ttl}");
    assert!(number(&all, "used_memory_dataset") > 10_000);
    assert!(number(&all, "used_memory") >= number(&all, "used_memory_dataset"));
    assert!(number(&all, "used_memory_peak") >= number(&all, "used_memory"));
    assert_eq!(all["run_id"].len(), 40);
    assert!(all["run_id"].bytes().all(|byte| byte.is_ascii_hexdigit()));
    ours.ask(&["CONFIG", "RESETSTAT"]);
    let all = fields(&info(&mut ours, &["everything"]));
    assert_eq!(number(&all, "keyspace_hits"), 0);
    assert!(!all.contains_key("cmdstat_get"));
    assert_eq!(number(&all, "rdb_changes_since_last_save"), 2);
}

#[test]
fn the_longest_time_of_a_lock_is_told_until_it_is_reset() {
    let mut ours = Ours::fresh();
    assert_eq!(ours.ask(&["DEBUG", "SLEEP", "0.05"]), Frame::Simple("OK".into()));
    let longest = |ours: &mut Ours| number(&fields(&info(ours, &["stats"])), "larder_longest_lock_usec");
    let before = longest(&mut ours);
    assert!(before >= 50_000, "{before}");
    ours.ask(&["CONFIG", "RESETSTAT"]);
    assert!(longest(&mut ours) < before);
}

#[test]
fn it_can_be_asked_inside_a_transaction() {
    let mut ours = Ours::fresh();
    ours.ask(&["MULTI"]);
    ours.ask(&["SET", "a", "1"]);
    ours.ask(&["INFO", "keyspace"]);
    let Frame::Array(replies) = ours.ask(&["EXEC"]) else { panic!("no array") };
    assert_eq!(replies[1].as_bytes().expect("text"), b"# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n");
}

//! Commands that are asked about before they run.

use crate::session::is;

/// The question; `None` for a command that needs none.
pub(crate) fn question(args: &[Vec<u8>], place: &str, db: i64) -> Option<String> {
    let what = match args {
        _ if is(args, 0, "flushall") => "This deletes all keys of all databases".to_owned(),
        _ if is(args, 0, "flushdb") => format!("This deletes all keys of database {db}"),
        _ if is(args, 0, "shutdown") && !is(args, 1, "abort") => "This stops the server".to_owned(),
        _ if is(args, 0, "swapdb") => "This exchanges two databases for all clients".to_owned(),
        _ if is(args, 0, "keys") => {
            "This walks through all keys in one go, and other clients may wait".to_owned()
        }
        _ if is(args, 0, "replicaof") || is(args, 0, "slaveof") => {
            if is(args, 1, "no") {
                return None;
            }
            "This replaces all data by another server's".to_owned()
        }
        _ if is(args, 0, "cluster") && (is(args, 1, "reset") || is(args, 1, "flushslots")) => {
            "This takes the server out of its cluster".to_owned()
        }
        _ if is(args, 0, "debug")
            && ["segfault", "panic", "restart", "crash-and-recover", "oom", "assert"]
                .iter()
                .any(|word| is(args, 1, word)) =>
        {
            "This ends the server process".to_owned()
        }
        _ => return None,
    };
    Some(format!("{what} ({place}). Go on?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(line: &str) -> bool {
        let args = larder_resp::split_words(line.as_bytes()).expect("balanced");
        question(&args, "here", 0).is_some()
    }

    #[test]
    fn what_destroys_much_is_asked_about() {
        for line in
            ["FLUSHALL", "flushdb async", "SHUTDOWN NOSAVE", "keys *", "replicaof h 1", "debug segfault"]
        {
            assert!(asks(line), "{line}");
        }
        for line in ["get a", "del a", "shutdown abort", "replicaof no one", "debug object a", "scan 0"] {
            assert!(!asks(line), "{line}");
        }
    }
}

//! In a shell script our client does what Debian's redis-cli does there.

use std::path::Path;

use testkit::server::redis_version;
use testkit::shell::compare;

#[test]
fn scripts_print_and_leave_the_same() {
    if redis_version().is_none() && std::env::var_os("CI").is_none() {
        println!("skipped: redis-server is not installed (cargo x setup installs it)");
        return;
    }
    let compared = compare(Path::new(env!("CARGO_BIN_EXE_larder-cli")), 2_000);
    let compared = compared.unwrap_or_else(|why| panic!("{why}"));
    assert!(compared.scripts >= 30, "{compared:?}");
}

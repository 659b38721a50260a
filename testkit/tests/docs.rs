//! Every command of redis-server 7.0.15: its documented arguments can be written as a usage line, and its arity follows.

use larder::usage::Usage;
use testkit::docs::documented;
use testkit::{Client, Server};

/// Commands whose arity their documented arguments do not give: some document none, some check less or more than they
/// document.
const BY_HAND: &[&str] = &[
    "CLIENT KILL",
    "COMMAND GETKEYS",
    "COMMAND GETKEYSANDFLAGS",
    "DEBUG",
    "GEOHASH",
    "GEOPOS",
    "PFMERGE",
    "PSYNC",
    "QUIT",
    "REPLCONF",
];

#[test]
fn arity_follows_from_the_documented_arguments() {
    let Some(server) = Server::oracle_or_skip() else { return };
    let mut client: Client = server.connect();
    let all = documented(&mut client);
    assert!(all.len() > 300, "{} commands", all.len());
    let mut wrong = Vec::new();
    for command in all.iter().filter(|c| !c.is_container) {
        let words = command.name.split(' ').count();
        match Usage::try_parse(command.usage.clone().leak()) {
            Ok(usage) if usage.arity(words) == command.arity => {}
            Ok(_) => wrong.push(command.name.clone()),
            Err(why) => panic!("{}: {why}: {}", command.name, command.usage),
        }
    }
    assert_eq!(wrong, BY_HAND);
}

//! Every command there is, within a transaction: none may wait for the locks that its own transaction holds. Debug
//! builds panic where that is tried.

use crate::support::{Caller, still_engine, watched};
use larder::command::{Run, Trait};
use larder::registry;

#[test]
fn no_command_waits_for_its_own_transaction() {
    watched(|| {
        for registered in registry::all() {
            let command = registered.command;
            let leaves = matches!(command.run, Run::Container)
                || ["SHUTDOWN", "MONITOR", "PAUSE"].contains(&command.name);
            if leaves || command.is(Trait::RunsInMulti) || command.is(Trait::NoMulti) {
                continue;
            }
            for extra in 0..3 {
                let (engine, _) = still_engine();
                let mut caller = Caller::new(&engine);
                caller.ok("SET 1 1");
                let mut request: Vec<&str> = registered.full_name.split('|').collect();
                let words = registered.arity.unsigned_abs() as usize + extra;
                request.resize(words.max(request.len()), "1");
                // Once with a plan for few shards only, once with one for all.
                for prelude in ["PING", "DBSIZE"] {
                    let mut caller = Caller::new(&engine);
                    caller.ok("MULTI");
                    caller.ok(prelude);
                    // It may be refused, and the transaction aborted; SUBSCRIBE answers several times.
                    caller.send(&request);
                    caller.send(&["EXEC"]);
                }
                assert!(!engine.is_poisoned());
            }
        }
    });
}

//! ADMISSION: what is checked before a command's handler runs, in Redis' order.
//!
//! Whatever fails here has had no effect; inside MULTI it also spoils the transaction.

use crate::command::{Command, Memory, Trait};
use crate::engine::Engine;
use crate::fault::{Fault, Outcome};
use crate::pause::changes_something;
use crate::registry::{self, Registered};
use crate::session::{Multi, Session};
use larder_resp::{Proto, Request};

/// The command a request names, if there is one and its arity fits; otherwise [`refusal`] knows why not.
#[inline]
pub(crate) fn resolve(request: Request<'_>) -> Option<&'static Registered> {
    let top = registry::find(request.arg(0))?;
    let registered = if top.command.subcommands.is_empty() || request.len() < 2 {
        top
    } else {
        top.subcommand(request.arg(1))?
    };
    registered.accepts(request.len()).then_some(registered)
}

/// Why a request that [`resolve`] knows nothing of cannot run, with the command if there is one of its name.
#[cold]
pub(crate) fn refusal(request: Request<'_>) -> (Option<&'static Registered>, Fault) {
    let Some(top) = registry::find(request.arg(0)) else { return (None, unknown_command(request)) };
    let registered = match top.subcommand(request.arg(1)) {
        Some(subcommand) => subcommand,
        None if top.command.subcommands.is_empty() || request.len() < 2 => top,
        None => return (None, unknown_subcommand(top, request)),
    };
    (Some(registered), Fault::arity(&registered.full_name))
}

/// Names and arguments of strangers are shown up to 128 bytes, and as far as the first zero byte, where a real server
/// ends them too.
const SHOWN_MAX: usize = 128;

fn shown(bytes: &[u8]) -> String {
    let end = bytes.iter().take(SHOWN_MAX).take_while(|byte| **byte != 0).count();
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn unknown_command(request: Request<'_>) -> Fault {
    let mut text = format!("unknown command '{}', with args beginning with: ", shown(request.arg(0)));
    let mut room = SHOWN_MAX;
    for argument in request.iter().skip(1) {
        if room == 0 {
            break;
        }
        let part = shown(&argument[..argument.len().min(room)]);
        room = room.saturating_sub(argument.len().min(room) + 3);
        text.push_str(&format!("'{part}' "));
    }
    Fault::err(text)
}

fn unknown_subcommand(container: &Registered, request: Request<'_>) -> Fault {
    Fault::err(format!(
        "unknown subcommand '{}'. Try {} HELP.",
        shown(request.arg(1)),
        container.command.name
    ))
}

impl Engine {
    /// The ordered checks before a handler, after the command is known and its arity fits.
    #[inline]
    pub(crate) fn admit(&self, session: &Session, registered: &Registered, has_room: bool) -> Outcome {
        let command = registered.command;
        if self.is_poisoned() {
            return Err(Fault::POISONED);
        }
        if !session.is_authenticated && !command.is(Trait::NoAuth) {
            return Err(Fault::NO_AUTH);
        }
        if session.multi.is_some() && command.is(Trait::NoMulti) {
            return Err(Fault::err("Command not allowed inside a transaction"));
        }
        if !has_room && may_need_memory(session, command) {
            return Err(Fault::OUT_OF_MEMORY);
        }
        if self.pause.is_begun() && (command.name == "PING" || changes_something(session, registered)) {
            self.refuse_what_cannot_persist()?;
        }
        if session.proto == Proto::Resp2
            && session.client.is_subscriber()
            && !allowed_to_subscribers(registered)
        {
            return Err(Fault::err(format!(
                "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                registered.full_name
            )));
        }
        if self.pause.is_begun() && self.is_loading() && !session.is_loader && !command.is(Trait::Loading) {
            return Err(Fault::LOADING);
        }
        Ok(())
    }
}

/// Whether a command may need more memory: by itself, by being queued, or by what it runs.
fn may_need_memory(session: &Session, command: &Command) -> bool {
    let grows = |command: &Command| command.memory == Memory::Grows;
    let in_transaction = |multi: &Multi| match command.name {
        "EXEC" => multi.queue.iter().any(|(queued, _)| grows(queued.command)),
        "DISCARD" | "QUIT" | "RESET" => false,
        _ => true,
    };
    grows(command) || session.multi.as_ref().is_some_and(in_transaction)
}

fn allowed_to_subscribers(registered: &Registered) -> bool {
    matches!(
        registered.command.name,
        "PING"
            | "QUIT"
            | "RESET"
            | "SUBSCRIBE"
            | "UNSUBSCRIBE"
            | "PSUBSCRIBE"
            | "PUNSUBSCRIBE"
            | "SSUBSCRIBE"
            | "SUNSUBSCRIBE"
    )
}

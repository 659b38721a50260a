//! Moving an Express record to another key, in one step.
//!
//! An Express id is the key itself, so another id is another key: the record is set there and deleted here in one
//! transaction, which is carried out only if nobody has touched the old key since it was read. Whatever fails, the one
//! key or the other holds the session, never both and never none.

use larder_client::{Command, Error, Larder, Result, Ttl};
use std::time::Duration;

/// Puts `text` under `new` and deletes `old`, if `old` still holds `seen` and `new` nothing. Returns whether that was
/// so.
pub(crate) async fn relocate(
    larder: &Larder,
    old: &str,
    seen: &[u8],
    new: &str,
    text: &str,
    ttl: Duration,
) -> Result<bool> {
    if larder.is_cluster() {
        return in_two_steps(larder, old, seen, new, text, ttl).await;
    }
    let mut connection = larder.dedicated().await.map_err(unsent)?;
    connection.execute(Command::new("WATCH").arg(old).arg(new)).await.map_err(unsent)?;
    let there = connection.execute(Command::new("GET").arg(old)).await.map_err(unsent)?;
    if there.as_bytes() != Some(seen) {
        return Ok(false);
    }
    let set =
        Command::new("SET").arg(new).arg(text).arg("PX").number(ttl.as_millis().max(1) as i64).arg("NX");
    let transaction = [Command::new("MULTI"), set, Command::new("DEL").arg(old)];
    for command in transaction {
        connection.execute(command).await.map_err(unsent)?;
    }
    Ok(!connection.execute(Command::new("EXEC")).await?.is_null())
}

/// Before EXEC is sent nothing happens, so that what became of the session is known.
fn unsent(error: Error) -> Error {
    match error {
        Error::Lost(why) => Error::Unreachable(why),
        other => other,
    }
}

/// In a cluster the two keys are on two nodes. The new one comes first: a crash in between leaves both until the old one
/// expires, rather than none.
async fn in_two_steps(
    larder: &Larder,
    old: &str,
    seen: &[u8],
    new: &str,
    text: &str,
    ttl: Duration,
) -> Result<bool> {
    if !larder.compare_and_set(new, None, text, Ttl::In(ttl)).await? {
        return Ok(false);
    }
    match larder.compare_and_delete(old, seen).await {
        Ok(true) => Ok(true),
        // Somebody changed or ended the session: what is under the new id is not the truth.
        Ok(false) => larder.del(&[new]).await.map(|_| false),
        // Whether the old one is there is not known, and one must be: the new one stays.
        Err(error) if error.is_outcome_unknown() => Err(error),
        // The old one stays, and the new one, which nobody has heard of, goes.
        Err(error) => {
            let _ = larder.del(&[new]).await;
            Err(error)
        }
    }
}

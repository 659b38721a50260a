//! Lua scripts.

use crate::command::Command;

/// A Lua script with its digest; to be made once and run with [`Larder::run`](crate::Larder::run).
///
/// ```no_run
/// # use larder_client::{Larder, Script};
/// # async fn example() -> larder_client::Result<()> {
/// let larder = Larder::open("redis://localhost").await?;
/// let take = Script::new("local v = redis.call('GET', KEYS[1]) redis.call('DEL', KEYS[1]) return v");
/// let taken = larder.run(&take, &["token"], &[""; 0]).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    text: String,
    digest: String,
}

impl Script {
    /// A script of this text.
    pub fn new(text: &str) -> Script {
        Script { text: text.to_owned(), digest: redis::Script::new(text).get_hash().to_owned() }
    }

    /// The SHA-1 digest of its text, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// EVALSHA, for pipelines; a server that does not know the script replies NOSCRIPT.
    pub fn by_digest<K: AsRef<[u8]>, A: AsRef<[u8]>>(&self, keys: &[K], arguments: &[A]) -> Command {
        Command::new("EVALSHA").arg(&self.digest).arg(keys.len().to_string()).args(keys).args(arguments)
    }

    /// EVAL, for pipelines.
    pub fn by_text<K: AsRef<[u8]>, A: AsRef<[u8]>>(&self, keys: &[K], arguments: &[A]) -> Command {
        Command::new("EVAL").arg(&self.text).arg(keys.len().to_string()).args(keys).args(arguments)
    }
}

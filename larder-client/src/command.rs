//! Commands to be sent, one by one, as a pipeline or as a transaction.

use larder::command::Find;
use larder::registry;

/// A command: its name and its arguments, all of them bytes.
///
/// ```
/// use larder_client::Command;
///
/// let get = Command::new("GET").arg("page:/");
/// let set = Command::new("SET").arg("page:/").arg([0xff, 0xfe]).arg("PX").number(1500);
/// assert_eq!(set.words().len(), 5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Command {
    words: Vec<Vec<u8>>,
}

impl Command {
    /// A command without arguments. Of a name with spaces each word is sent for itself: `CONFIG GET`.
    pub fn new(name: &str) -> Command {
        Command { words: name.split(' ').map(|word| word.as_bytes().to_vec()).collect() }
    }

    /// A command of these words.
    pub fn of<A: AsRef<[u8]>>(words: impl IntoIterator<Item = A>) -> Command {
        Command { words: words.into_iter().map(|word| word.as_ref().to_vec()).collect() }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<[u8]>) -> Command {
        self.words.push(argument.as_ref().to_vec());
        self
    }

    /// Adds several.
    pub fn args<A: AsRef<[u8]>>(mut self, arguments: impl IntoIterator<Item = A>) -> Command {
        self.words.extend(arguments.into_iter().map(|argument| argument.as_ref().to_vec()));
        self
    }

    /// Adds a number.
    pub fn number(self, number: impl Into<i128>) -> Command {
        let number: i128 = number.into();
        self.arg(number.to_string())
    }

    /// The words it consists of, its name first.
    pub fn words(&self) -> &[Vec<u8>] {
        &self.words
    }

    fn is(&self, name: &str) -> bool {
        self.words.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// What the engine's registry knows about it.
    fn registered(&self) -> Option<&'static registry::Registered> {
        let top = registry::find(self.words.first()?)?;
        Some(self.words.get(1).and_then(|word| top.subcommand(word)).unwrap_or(top))
    }

    /// Whether it changes nothing, so that it may be sent again when nobody knows whether it arrived.
    pub(crate) fn is_read(&self) -> bool {
        const OTHERS: &[&str] = &["PING", "ECHO", "INFO", "TIME", "EVAL_RO", "EVALSHA_RO"];
        OTHERS.iter().any(|name| self.is(name))
            || self.registered().is_some_and(|registered| registered.command.is_read())
    }

    /// Its first key, which decides where in a cluster it goes.
    pub(crate) fn first_key(&self) -> Option<&[u8]> {
        if ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"].iter().any(|name| self.is(name)) {
            let has_keys = self.words.get(2).is_some_and(|count| count != b"0");
            return self.words.get(3).filter(|_| has_keys).map(Vec::as_slice);
        }
        let at = match self.registered()?.command.keys.first()?.find {
            Find::Range { first, .. } | Find::Count { first, .. } => first,
        };
        self.words.get(at).map(Vec::as_slice)
    }

    pub(crate) fn to_redis(&self) -> redis::Cmd {
        let mut cmd = redis::Cmd::new();
        for word in &self.words {
            cmd.arg(word.as_slice());
        }
        cmd
    }
}

/// Commands sent together: one round trip, or one for each node of a cluster that they concern.
///
/// Each has its own reply, in the order in which they were added, an error of one being [`Value::Failed`](crate::Value);
/// others may come between them. With [`Pipeline::atomic`] they are a transaction instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Pipeline {
    pub(crate) commands: Vec<Command>,
    pub(crate) is_atomic: bool,
}

impl Pipeline {
    /// No commands yet.
    pub fn new() -> Pipeline {
        Pipeline::default()
    }

    /// Adds a command.
    pub fn with(mut self, command: Command) -> Pipeline {
        self.commands.push(command);
        self
    }

    /// Adds a command to a pipeline that is being made in a loop.
    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Lets nothing come between the commands (MULTI and EXEC). In a cluster all keys must be of one hash slot.
    pub fn atomic(mut self) -> Pipeline {
        self.is_atomic = true;
        self
    }

    /// How many commands it has.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(crate) fn is_read(&self) -> bool {
        self.commands.iter().all(Command::is_read)
    }
}

/// The hash slot of a key in a Redis Cluster: CRC-16/XMODEM of it, or of what stands between its first braces, modulo
/// 16,384.
pub fn hash_slot(key: &[u8]) -> u16 {
    let open = key.iter().position(|byte| *byte == b'{');
    let tag = open.and_then(|open| {
        let rest = &key[open + 1..];
        let length = rest.iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &rest[..length])
    });
    crc16(tag.unwrap_or(key)) % 16_384
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc: u16, _| {
                if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        // The check value of CRC-16/XMODEM, and the tag rules.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(hash_slot(b"{user1000}.following"), hash_slot(b"user1000"));
        assert_eq!(hash_slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % 16_384);
        assert_eq!(hash_slot(b"foo{{bar}}zap"), hash_slot(b"{bar"));
        assert_eq!(hash_slot(b"foo{bar}{zap}"), hash_slot(b"bar"));
    }

    #[test]
    fn reads_and_first_keys_follow_from_the_declarations() {
        assert!(Command::new("GET").arg("a").is_read());
        assert!(!Command::new("set").arg("a").arg("1").is_read());
        assert!(!Command::new("NOSUCH").is_read());
        assert_eq!(Command::new("GET").arg("a").first_key(), Some(b"a".as_slice()));
        assert_eq!(Command::new("ZUNION").arg("1").arg("z").first_key(), Some(b"z".as_slice()));
        assert_eq!(Command::new("PING").first_key(), None);
        assert_eq!(Command::of(["EVAL", "return 1", "0", "x"]).first_key(), None);
        assert_eq!(Command::of(["EVAL", "return 1", "1", "x"]).first_key(), Some(b"x".as_slice()));
    }
}

//! What kind of server answers, and what follows from that.

/// The maker of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Kind {
    /// Larder, in this process or as a server.
    Larder,
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// Something that speaks the protocol and does not say what it is.
    #[default]
    Other,
}

/// Kind and version of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerInfo {
    /// Whose it is.
    pub kind: Kind,
    /// Its own version: major, minor, patch.
    pub version: (u32, u32, u32),
}

impl ServerInfo {
    /// Whether SET has IFEQ.
    pub fn has_set_if_equal(&self) -> bool {
        match self.kind {
            Kind::Larder => true,
            Kind::Valkey => self.version >= (8, 1, 0),
            Kind::Redis => self.version >= (8, 4, 0),
            Kind::Other => false,
        }
    }

    /// Whether there is DELIFEQ.
    pub fn has_delete_if_equal(&self) -> bool {
        match self.kind {
            Kind::Larder => true,
            Kind::Valkey => self.version >= (9, 0, 0),
            Kind::Redis | Kind::Other => false,
        }
    }

    /// Whether it runs Lua scripts.
    pub fn has_scripts(&self) -> bool {
        self.kind != Kind::Larder
    }
}

/// Reads the section `server` of INFO.
pub(crate) fn detect(info: &str) -> ServerInfo {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let of = |kind, text: &str| ServerInfo { kind, version: version(text) };
    if let Some(text) = field("larder_version") {
        return of(Kind::Larder, text);
    }
    if let Some(text) = field("valkey_version") {
        return of(Kind::Valkey, text);
    }
    // Others that are compatible give the version of Redis and a word of their own.
    let is_other =
        ["dragonfly_version", "keydb_version", "server_name"].iter().any(|name| field(name).is_some());
    match field("redis_version") {
        Some(text) if !is_other => of(Kind::Redis, text),
        _ => ServerInfo::default(),
    }
}

fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.trim().split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart_by_their_info() {
        let larder = detect("# Server\r\nredis_version:7.0.15\r\nlarder_version:0.1.0\r\n");
        assert_eq!((larder.kind, larder.version, larder.has_scripts()), (Kind::Larder, (0, 1, 0), false));
        let redis = detect("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n");
        assert_eq!((redis.kind, redis.version), (Kind::Redis, (7, 0, 15)));
        assert!(!redis.has_set_if_equal() && redis.has_scripts());
        let valkey = detect("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n");
        assert!(valkey.has_set_if_equal() && !valkey.has_delete_if_equal());
        assert_eq!(detect("nonsense").kind, Kind::Other);
        assert_eq!(detect("redis_version:7.4.0\r\ndragonfly_version:df-v1\r\n").kind, Kind::Other);
    }
}

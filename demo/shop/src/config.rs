//! What the environment says.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the shop listens, and where it keeps what it knows.
#[derive(Clone, Debug)]
pub struct Config {
    /// `SHOP_ADDR`; 127.0.0.1:3000.
    pub addr: SocketAddr,
    /// `LARDER_URL`; the engine in this process, kept in a folder beside the database.
    pub larder: String,
    /// `DATABASE_URL`; a file of SQLite, or `postgres://...`.
    pub database: String,
    /// `SHOP_PROFILE`.
    pub profile: Profile,
    /// `SHOP_SECRET`, which signs cookies; without it one is made at the first start and kept beside the database.
    pub secret: Option<String>,
    /// `SHOP_HTTPS=yes`: the shop is reached by https, through a proxy, so cookies may be `Secure`.
    pub is_secure: bool,
    /// `SHOP_CACHE=no` asks the database each time, to compare.
    pub caches: bool,
}

/// Whose sessions they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The shop's own.
    Native,
    /// Those of an Express application with express-session and connect-redis.
    Express,
}

/// A variable that makes no sense.
#[derive(Debug)]
pub struct ConfigError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}: expected {}", self.name, self.value, self.expected)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// The first variable that makes no sense.
    pub fn from_env() -> Result<Config, ConfigError> {
        Config::read(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(of: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let wrong = |name, value, expected| ConfigError { name, value, expected };
        let addr = of("SHOP_ADDR").unwrap_or_else(|| "127.0.0.1:3000".to_owned());
        let addr = addr.parse().map_err(|_| wrong("SHOP_ADDR", addr, "an address and a port"))?;
        let profile = match of("SHOP_PROFILE").as_deref() {
            None | Some("native") => Profile::Native,
            Some("express") => Profile::Express,
            Some(other) => return Err(wrong("SHOP_PROFILE", other.to_owned(), "native or express")),
        };
        let yes = |name: &'static str, default: bool| match of(name).as_deref() {
            None => Ok(default),
            Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(other) => Err(wrong(name, other.to_owned(), "yes or no")),
        };
        Ok(Config {
            addr,
            larder: of("LARDER_URL")
                .unwrap_or_else(|| format!("embedded://{}", folder().join("larder").display())),
            database: of("DATABASE_URL")
                .unwrap_or_else(|| format!("sqlite://{}", folder().join("shop.db").display())),
            profile,
            secret: of("SHOP_SECRET"),
            is_secure: yes("SHOP_HTTPS", false)?,
            caches: yes("SHOP_CACHE", true)?,
        })
    }
}

/// Where the shop keeps its files unless told otherwise: `shop-data`, here.
pub(crate) fn folder() -> PathBuf {
    std::env::current_dir().unwrap_or_default().join("shop-data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_needs_to_be_said_and_nonsense_is_refused() {
        let config = Config::read(|_| None).expect("the defaults make sense");
        assert_eq!((config.addr.port(), config.profile, config.caches), (3000, Profile::Native, true));
        for (name, value) in [("SHOP_ADDR", "here"), ("SHOP_PROFILE", "php"), ("SHOP_CACHE", "1")] {
            let error = Config::read(|asked| (asked == name).then(|| value.to_owned())).expect_err(name);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}

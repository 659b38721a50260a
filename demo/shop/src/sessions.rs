//! Whose sessions they are, what signs their cookies, and how many there are.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use axum::extract::ConnectInfo;
use larder_cache::{Cache, Policy};
use larder_client::Larder;
use larder_session::{
    CookieSpec, ExpressProfile, KeyRing, NativeProfile, Outage, Overflow, SameSite, Sessions,
};

use crate::Error;
use crate::config::{self, Config, Profile};

/// Logins of one customer at once; the oldest ends.
const LOGINS: usize = 10;
/// How long people are still known while the store is away.
const OUTAGE: Duration = Duration::from_secs(60);
/// How old the number of sessions may be.
const COUNT_TTL: Duration = Duration::from_secs(10);
/// Keys that are looked at in one step of counting.
const COUNT_STEP: u32 = 1000;

/// Sessions as the configuration wants them.
pub(crate) fn open(larder: Larder, config: &Config) -> Result<Sessions, Error> {
    if config.profile == Profile::Express {
        let secret = config.secret.clone();
        let secret = secret.ok_or("SHOP_SECRET is missing: the secret that the Express application has")?;
        let profile = ExpressProfile::new([secret])
            .max_age(Duration::from_secs(86_400))
            .same_site(SameSite::Lax)
            .prefix(prefix(config.profile))
            .user_member("username");
        return Ok(Sessions::express(larder, profile)?);
    }
    let key = match &config.secret {
        Some(secret) => secret.clone().into_bytes(),
        None => kept_key(&config::folder().join("key"))?,
    };
    let cookie =
        if config.is_secure { CookieSpec::host("shop") } else { CookieSpec::named("shop").secure(false) };
    let profile = NativeProfile::new(KeyRing::new(key))
        .cookie(cookie.persistent())
        .prefix(prefix(config.profile))
        .limit_per_user(LOGINS, Overflow::EndOldest)
        .outage(Outage::ReadOnly(OUTAGE))
        .client_ip(|parts| parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()));
    Ok(Sessions::native(larder, profile)?)
}

/// What the keys of sessions begin with.
fn prefix(profile: Profile) -> &'static str {
    match profile {
        Profile::Native => "shop:session:",
        Profile::Express => "sess:",
    }
}

/// The key in a file that only its owner may read, made if there is none.
fn kept_key(path: &Path) -> Result<Vec<u8>, Error> {
    if let Ok(key) = std::fs::read(path)
        && key.len() >= 32
    {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| format!("random bytes: {error}"))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(&key)?;
    Ok(key.to_vec())
}

/// The number of sessions. It is counted by a walk over their keys, and cached: all processes together walk once in ten
/// seconds.
pub(crate) struct Count {
    larder: Larder,
    prefix: &'static str,
    kept: Cache<str, u64>,
}

impl Count {
    /// Counts the sessions of a profile.
    ///
    /// # Errors
    /// When the cache cannot be reached.
    pub(crate) async fn open(larder: Larder, profile: Profile) -> Result<Count, larder_cache::Error> {
        let kept = Cache::builder(&larder, "shop").policy(Policy::ttl(COUNT_TTL)).build().await?;
        Ok(Count { larder, prefix: prefix(profile), kept })
    }

    /// How many there are, or were a moment ago; `None` while the store is away.
    pub(crate) async fn get(&self) -> Option<u64> {
        let (larder, prefix) = (self.larder.clone(), self.prefix);
        let counted = self.kept.get_or_load("sessions", move |_| count(larder, prefix)).await;
        counted.ok().map(|count| *count)
    }
}

async fn count(larder: Larder, prefix: &'static str) -> Result<u64, larder_client::Error> {
    // The lists of each user's sessions are beside them.
    let lists = format!("{prefix}user:");
    let mut walk = larder.scan(format!("{prefix}*")).count(COUNT_STEP);
    let mut found = HashSet::new();
    while let Some(keys) = walk.next_batch().await? {
        found.extend(keys.into_iter().filter(|key| !key.starts_with(lists.as_bytes())));
    }
    Ok(found.len() as u64)
}

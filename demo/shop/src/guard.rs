//! Counters that hold attackers up: wrong passwords by name and by address, new accounts and messages by address.
//!
//! A counter is a key that expires with its window. All shop processes count together.

use std::net::IpAddr;
use std::time::Duration;

use larder_client::{Command, Error, Larder};

/// Wrong passwords for one name before it is locked.
const WRONG_BY_NAME: i64 = 5;
/// Wrong passwords from one address before it is locked.
const WRONG_BY_ADDRESS: i64 = 50;
/// How long wrong passwords are remembered.
const WRONG_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Accounts made from one address in a window.
const SIGN_UPS: i64 = 50;
/// That window.
const SIGN_UP_WINDOW: Duration = Duration::from_secs(3600);
/// Things said from one address in a window.
const SAID: i64 = 30;
/// That window.
const SAID_WINDOW: Duration = Duration::from_secs(60);

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Pass,
    /// Not before that time.
    Wait(Duration),
}

/// The counters.
#[derive(Clone)]
pub(crate) struct Guard {
    larder: Larder,
}

impl Guard {
    /// Counters in this store.
    pub(crate) fn new(larder: Larder) -> Guard {
        Guard { larder }
    }

    /// Counts a try, before its password is looked at: as many tries at once as anybody likes are no more than these. Names
    /// are counted whether they exist or not, so that a lock tells nothing about them.
    ///
    /// # Errors
    /// When the store cannot be reached: then nobody can log in.
    pub(crate) async fn may_try(&self, name: &str, from: IpAddr) -> Result<Verdict, Error> {
        match self.within(&by_name(name), WRONG_BY_NAME, WRONG_WINDOW).await? {
            Verdict::Pass => self.within(&key("wrong:from", from), WRONG_BY_ADDRESS, WRONG_WINDOW).await,
            wait => Ok(wait),
        }
    }

    /// The password was right: forgets the tries for the name, and takes this one back from the address.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) async fn was_right(&self, name: &str, from: IpAddr) -> Result<(), Error> {
        self.larder.del(&[by_name(name)]).await?;
        self.count(&key("wrong:from", from), -1, WRONG_WINDOW).await?;
        Ok(())
    }

    /// Counts an account to be made.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) async fn may_sign_up(&self, from: IpAddr) -> Result<Verdict, Error> {
        self.within(&key("signups", from), SIGN_UPS, SIGN_UP_WINDOW).await
    }

    /// Counts something said in the chat room.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) async fn may_say(&self, from: IpAddr) -> Result<Verdict, Error> {
        self.within(&key("said", from), SAID, SAID_WINDOW).await
    }

    async fn within(&self, key: &str, most: i64, window: Duration) -> Result<Verdict, Error> {
        if self.count(key, 1, window).await? <= most {
            return Ok(Verdict::Pass);
        }
        Ok(Verdict::Wait(self.larder.time_left(key).await?.unwrap_or(window)))
    }

    /// So many more. The window begins with the first: a counter without an end would lock for ever.
    async fn count(&self, key: &str, by: i64, window: Duration) -> Result<i64, Error> {
        let count = self.larder.incr_by(key, by).await?;
        let seconds = i128::from(window.as_secs());
        self.larder.execute(Command::new("EXPIRE").arg(key).number(seconds).arg("NX")).await?;
        Ok(count)
    }
}

fn by_name(name: &str) -> String {
    format!("shop:wrong:name:{}", name.to_lowercase())
}

/// Addresses of version 6 are handed out as whole networks.
fn key(what: &str, from: IpAddr) -> String {
    match from {
        IpAddr::V4(address) => format!("shop:{what}:{address}"),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("shop:{what}:{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_names_from_one_address_are_held_up_and_others_go_on() {
        let larder = Larder::open("embedded://").await.expect("the engine starts");
        let guard = Guard::new(larder.clone());
        let [here, there]: [IpAddr; 2] =
            ["2001:db8::1", "2001:db8:0:1::1"].map(|address| address.parse().expect("it is an address"));
        let mut passed = 0;
        for number in 0..WRONG_BY_ADDRESS + 10 {
            let verdict = guard.may_try(&format!("name {number}"), here).await.expect("the engine answers");
            passed += i64::from(verdict == Verdict::Pass);
        }
        assert_eq!(passed, WRONG_BY_ADDRESS);
        let neighbour: IpAddr = "2001:db8::2".parse().expect("it is an address");
        assert!(
            matches!(guard.may_try("new", neighbour).await, Ok(Verdict::Wait(_))),
            "it is of the same network"
        );
        assert_eq!(guard.may_try("new", there).await, Ok(Verdict::Pass));
        let left = larder.time_left(&key("wrong:from", here)).await.expect("the engine answers");
        assert!(left.is_some_and(|left| left <= WRONG_WINDOW), "a counter without an end locks for ever");
    }

    #[tokio::test]
    async fn who_knows_the_password_is_not_held_up() {
        let guard = Guard::new(Larder::open("embedded://").await.expect("the engine starts"));
        let from = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..WRONG_BY_ADDRESS * 2 {
            assert_eq!(guard.may_try("Ann", from).await, Ok(Verdict::Pass));
            guard.was_right("ann", from).await.expect("the engine answers");
        }
    }
}

//! Signing up and logging in.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use tokio::sync::Semaphore;

use crate::db::Database;
use crate::guard::{Guard, Verdict};

/// Characters of a name.
const NAME_MAX: usize = 30;
/// Bytes of a password; a longer one only costs time.
const PASSWORD_MAX: usize = 200;
/// Characters that a new password has at least.
const PASSWORD_MIN: usize = 8;

/// A hash is memory and time on purpose: only some at once, or logging in stops everything else.
static HASHING: Semaphore = Semaphore::const_new(2);

/// What names that do not exist are compared with, so that they take as long as others.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash("nobody's").unwrap_or_default());

/// Why nobody was logged in or signed up.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Name and password do not belong together, or there is no such name.
    Wrong,
    /// Too many tries: not before that time.
    Locked(Duration),
    /// The name is taken.
    Taken,
    /// What was sent cannot be a name or a password.
    Unfit(&'static str),
    /// The database or the store failed.
    Failed(String),
}

/// The accounts.
#[derive(Clone)]
pub(crate) struct Accounts {
    database: Arc<Database>,
    guard: Guard,
}

impl Accounts {
    /// Those of a database.
    pub(crate) fn new(database: Arc<Database>, guard: Guard) -> Accounts {
        Accounts { database, guard }
    }

    /// Makes an account.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) async fn sign_up(&self, name: &str, password: &str, from: IpAddr) -> Result<(), Refusal> {
        check_name(name)?;
        if password.chars().count() < PASSWORD_MIN {
            return Err(Refusal::Unfit("A password has at least 8 characters."));
        }
        if password.len() > PASSWORD_MAX {
            return Err(Refusal::Unfit("A password has at most 200 bytes."));
        }
        held_up(self.guard.may_sign_up(from).await)?;
        let password = password.to_owned();
        let hash =
            hashing(move || hash(&password)).await?.ok_or_else(|| Refusal::Failed("hashing".to_owned()))?;
        match self.database.sign_up(name, &hash).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Taken),
            Err(error) => Err(Refusal::Failed(error.to_string())),
        }
    }

    /// Sees whether name and password belong together.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) async fn log_in(&self, name: &str, password: &str, from: IpAddr) -> Result<(), Refusal> {
        if check_name(name).is_err() || password.len() > PASSWORD_MAX {
            return Err(Refusal::Wrong);
        }
        held_up(self.guard.may_try(name, from).await)?;
        let known = self.database.hash_of(name).await.map_err(|error| Refusal::Failed(error.to_string()))?;
        let (exists, password) = (known.is_some(), password.to_owned());
        let fits = hashing(move || fits(known.as_ref().unwrap_or(&NOBODY), &password)).await?;
        if !(exists && fits) {
            return Err(Refusal::Wrong);
        }
        self.guard.was_right(name, from).await.map_err(|error| Refusal::Failed(error.to_string()))
    }
}

fn held_up(verdict: Result<Verdict, larder_client::Error>) -> Result<(), Refusal> {
    match verdict {
        Ok(Verdict::Pass) => Ok(()),
        Ok(Verdict::Wait(time)) => Err(Refusal::Locked(time)),
        Err(error) => Err(Refusal::Failed(error.to_string())),
    }
}

/// Names are shown, and lead to files nowhere: any letters and digits, and a little between them.
fn check_name(name: &str) -> Result<(), Refusal> {
    let is_fit = |c: char| c.is_alphanumeric() || ['-', '_', '.', ' '].contains(&c);
    if name.trim() != name || name.is_empty() || name.chars().count() > NAME_MAX || !name.chars().all(is_fit)
    {
        return Err(Refusal::Unfit(
            "A name has 1 to 30 letters, digits, dots, dashes or spaces between them.",
        ));
    }
    Ok(())
}

async fn hashing<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let _turn = HASHING.acquire().await.map_err(|error| Refusal::Failed(error.to_string()))?;
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::Failed(error.to_string()))
}

/// Argon2id with the parameters that OWASP recommends, which are the crate's default.
fn hash(password: &str) -> Option<String> {
    let salt = SaltString::generate(&mut OsRng);
    Argon2::default().hash_password(password.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

fn fits(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let kept = hash("correct horse").expect("there are random bytes");
        assert!(kept.starts_with("$argon2id$") && fits(&kept, "correct horse"));
        assert!(!fits(&kept, "correct house") && !fits("", "correct horse"));
    }

    #[test]
    fn names_are_plain() {
        assert!(check_name("Ann-Marie Öz_2").is_ok());
        for name in ["", " ann", "a\nb", "<b>", &"x".repeat(31)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}

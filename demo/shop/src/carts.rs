//! Carts: in the session while somebody shops, and in the database for those who come back.
//!
//! What changes is in the session at once, and in the database a moment later, once for many changes: a write-back. A
//! crash in between loses nothing, since the session has it, and the next change or login brings it to the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_session::{Result, Session};

use crate::db::{Database, Line};

/// The member of the session that a cart is.
const CART: &str = "cart";
/// Different products of a cart.
const LINES_MAX: usize = 50;
/// Of each.
const COUNT_MAX: u32 = 99;
/// How long changes gather before they are written.
const GATHER: Duration = Duration::from_millis(500);

/// Carts on their way to the database.
#[derive(Clone)]
pub(crate) struct Carts {
    database: Arc<Database>,
    waiting: Arc<Mutex<HashMap<String, Vec<Line>>>>,
}

impl Carts {
    /// Those of a database.
    pub(crate) fn new(database: Arc<Database>) -> Carts {
        Carts { database, waiting: Arc::default() }
    }

    /// What is in the cart.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn of(&self, session: &Session) -> Result<Vec<Line>> {
        Ok(session.get(CART).await?.unwrap_or_default())
    }

    /// Puts so many of a product into the cart, instead of what there was of it; none takes it out. What is in excess of
    /// the limits is left out.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn put(
        &self,
        session: &Session,
        product: i64,
        count: u32,
        adds: bool,
    ) -> Result<Vec<Line>> {
        let cart = session.update_now(CART, move |cart: &mut Vec<Line>| {
            change(cart, product, count, adds);
            cart.clone()
        });
        let cart = cart.await?;
        self.later(session, &cart).await?;
        Ok(cart)
    }

    /// After a login: what the account has kept joins what is in the session.
    ///
    /// # Errors
    /// When the store fails. Without the database the cart is what the session has.
    pub(crate) async fn come_back(&self, session: &Session, owner: &str) -> Result<()> {
        self.write(owner).await;
        let kept = match self.database.cart(owner).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!("a kept cart could not be read: {error}");
                return Ok(());
            }
        };
        let cart = session.update_now(CART, move |cart: &mut Vec<Line>| {
            for line in &kept {
                if !cart.iter().any(|other| other.product == line.product) {
                    change(cart, line.product, line.count, false);
                }
            }
            cart.clone()
        });
        let cart = cart.await?;
        self.later(session, &cart).await
    }

    /// Empties it, after an order.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn empty(&self, session: &Session) -> Result<()> {
        session.set(CART, &Vec::<Line>::new()).await?;
        self.later(session, &[]).await
    }

    /// Has the cart written soon, if it belongs to somebody.
    async fn later(&self, session: &Session, cart: &[Line]) -> Result<()> {
        let Some(owner) = session.user::<String>().await? else { return Ok(()) };
        let is_first = self.locked().insert(owner.clone(), cart.to_vec()).is_none();
        if is_first {
            let carts = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                carts.write(&owner).await;
            });
        }
        Ok(())
    }

    /// Writes what waits for an owner now. If the database fails it waits on.
    async fn write(&self, owner: &str) {
        let Some(cart) = self.locked().remove(owner) else { return };
        if let Err(error) = self.database.keep_cart(owner, &cart).await {
            tracing::warn!("a cart could not be written: {error}");
            self.locked().entry(owner.to_owned()).or_insert(cart);
        }
    }

    /// Writes all that waits; at the end.
    pub(crate) async fn flush(&self) {
        let owners: Vec<String> = self.locked().keys().cloned().collect();
        for owner in owners {
            self.write(&owner).await;
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Line>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(cart: &mut Vec<Line>, product: i64, count: u32, adds: bool) {
    let at = cart.iter().position(|line| line.product == product);
    let before = at.map_or(0, |at| cart[at].count);
    let count = count.saturating_add(if adds { before } else { 0 }).min(COUNT_MAX);
    match at {
        Some(at) if count == 0 => drop(cart.remove(at)),
        Some(at) => cart[at].count = count,
        None if count > 0 && cart.len() < LINES_MAX => cart.push(Line { product, count }),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cart_keeps_its_limits() {
        let mut cart = Vec::new();
        change(&mut cart, 1, 2, true);
        change(&mut cart, 1, 3, true);
        assert_eq!(cart, [Line { product: 1, count: 5 }]);
        change(&mut cart, 1, 500, true);
        assert_eq!(cart[0].count, COUNT_MAX);
        change(&mut cart, 1, 0, false);
        assert_eq!(cart, []);
        (0..60).for_each(|product| change(&mut cart, product, 1, false));
        assert_eq!(cart.len(), LINES_MAX);
    }
}

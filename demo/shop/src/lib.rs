//! A web shop on Larder: cached answers, sessions, a chat room and a leaderboard in one application.
//!
//! It uses nothing of Larder but what everybody can: `larder-cache`, `larder-session` and `larder-client`. `README.md` of
//! this folder says how to start it; the modules say how each of its parts works.

mod accounts;
mod api;
mod carts;
pub mod config;
mod db;
mod guard;
mod live;
mod pages;
mod panel;
mod products;
mod sessions;
mod streams;
mod web;

use std::sync::Arc;

use axum::Router;
use larder_client::Larder;
use larder_session::Sessions;
use tokio::sync::watch;

use accounts::Accounts;
use carts::Carts;
use config::{Config, Profile};
use db::Database;
use guard::Guard;
use live::Live;
use panel::Panel;
use products::Products;

/// Why the shop cannot open.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The shop.
pub struct Shop {
    database: Arc<Database>,
    products: Products,
    accounts: Accounts,
    carts: Carts,
    guard: Guard,
    live: Live,
    panel: Arc<Panel>,
    sessions: Sessions,
    sessions_count: sessions::Count,
    profile: Profile,
    caches: bool,
    closing: watch::Sender<bool>,
}

impl Shop {
    /// Opens the database and the store, and fills an empty shop.
    ///
    /// # Errors
    /// When one of them cannot be reached, or the sessions cannot be made as the configuration says.
    pub async fn open(config: &Config) -> Result<Arc<Shop>, Error> {
        let failed = |what: &str, why: &dyn std::fmt::Display| Error::from(format!("{what}: {why}"));
        let database =
            Database::open(&config.database).await.map_err(|e| failed(&plain(&config.database), &e))?;
        let larder = Larder::open(&config.larder).await.map_err(|e| failed(&plain(&config.larder), &e))?;
        let (database, panel) = (Arc::new(database), Arc::new(Panel::default()));
        let products =
            Products::open(&larder, Arc::clone(&database), Arc::clone(&panel), config.caches).await?;
        let guard = Guard::new(larder.clone());
        Ok(Arc::new(Shop {
            products,
            accounts: Accounts::new(Arc::clone(&database), guard.clone()),
            carts: Carts::new(Arc::clone(&database)),
            guard,
            live: Live::open(larder.clone()).await?,
            sessions_count: sessions::Count::open(larder.clone(), config.profile).await?,
            sessions: sessions::open(larder, config)?,
            database,
            panel,
            profile: config.profile,
            caches: config.caches,
            closing: watch::Sender::new(false),
        }))
    }

    /// All its routes.
    pub fn router(self: Arc<Self>) -> Router {
        web::router(self)
    }

    /// Ends what would go on for ever: what browsers listen to.
    pub fn begin_to_close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until the shop begins to close.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closing = self.closing.subscribe();
        async move {
            // An error says that the shop is gone.
            let _ = closing.wait_for(|is_closing| *is_closing).await;
        }
    }

    /// Writes what waits; to be called at the end.
    pub async fn close(&self) {
        self.carts.flush().await;
    }
}

/// A URL without its password.
fn plain(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start + 3 <= end => format!("{}{}", &url[..start + 3], &url[end + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_shown() {
        assert_eq!(plain("redis://ann:secret@host:6379"), "redis://host:6379");
        assert_eq!(plain("sqlite:///a/b"), "sqlite:///a/b");
    }
}

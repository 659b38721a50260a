//! Sessions for axum and tower: of our own, or shared with an Express application.
//!
//! ```
//! use axum::{Router, routing::get};
//! use larder_client::Larder;
//! use larder_session::{KeyRing, NativeProfile, Session, SessionError, Sessions, User};
//!
//! async fn login(session: Session) -> Result<(), SessionError> {
//!     session.login("ann").await // the id that was there before is worth nothing now
//! }
//!
//! async fn visit(session: Session, User(name): User<String>) -> Result<String, SessionError> {
//!     // Of parallel requests each counts.
//!     let visits: u32 = session.update_now("visits", |visits| { *visits += 1; *visits }).await?;
//!     Ok(format!("{name} was here {visits} times"))
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let larder = Larder::open("embedded://").await?; // or redis://host, where several programs share them
//! let keys = KeyRing::new([7; 32]); // 32 random bytes that only this application knows
//! let sessions = Sessions::native(larder, NativeProfile::new(keys))?;
//! let app: Router = Router::new().route("/login", get(login)).route("/", get(visit)).layer(sessions.layer());
//! # use tower::ServiceExt;
//! # let request = axum::extract::Request::builder().uri("/login").body(axum::body::Body::empty())?;
//! # let response = app.clone().oneshot(request).await?;
//! # let cookie = response.headers()["set-cookie"].to_str()?.split(';').next().unwrap();
//! # assert!(cookie.starts_with("__Host-sid="));
//! # let request = axum::extract::Request::builder().header("cookie", cookie).body(axum::body::Body::empty())?;
//! # let response = app.clone().oneshot(request).await?;
//! # assert_eq!(axum::body::to_bytes(response.into_body(), 99).await?, "ann was here 1 times");
//! let admin = sessions.admin();
//! assert_eq!(admin.list("ann").await?.len(), 1);
//! admin.revoke_all("ann", None).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! With [`Sessions::express`] and an [`ExpressProfile`] in their place the cookie, its signature, the key, and the
//! JSON under it are those of express-session 1 with connect-redis 7 to 10, to the byte: a login on either side is a
//! login on both, and what Node wrote into a record and Rust does not touch stays as it was.
//!
//! # What both keep
//!
//! - A request that does not ask for its session makes no call to the store and sets no cookie; one that reads it
//!   makes one (and with Express' sessions one that keeps it alive, as Express does).
//! - Parallel requests that change different members keep both changes, and parallel [updates](Session::update) of one
//!   member all count, also against Express' writes that came before: a commit is a compare-and-set.
//! - A request that read the session before it ended, or before another login, never brings it back. Its changes are
//!   dropped: [`Session::commit`] says so, the layer lets the response go without a cookie.
//! - Whatever fails while a session gets another id, exactly one id works.
//! - The response is released after the store has acknowledged the changes.
//! - Settings that contradict each other, are unsafe together, or that browsers refuse are errors when the sessions
//!   are made.
//!
//! # What native sessions have beside that
//!
//! A cookie that only this host can set, ids that the store has hashes of alone, keys that can be exchanged, time-outs
//! without use, altogether and of ids, a list of a user's sessions with their metadata and their end
//! ([`SessionAdmin`]), a limit of them, refusal of forged requests ([`Csrf`]), [events](Sessions::events), and a
//! choice of what happens in an [`Outage`]. What each recommendation of OWASP comes to is in
//! `docs/security-sessions.md`.
//!
//! # What is not there
//!
//! - Express writes blindly: its slow request can undo a logout. `session-guard-prefixes sess:` on larder-server ends
//!   that; on another server nothing does. A change that Express makes to a member it read before still wins over
//!   ours.
//! - In a cluster an Express id is exchanged in two steps, and a crash between them leaves both until the old one
//!   expires.
//! - Of sessions on a server, [events](Sessions::events) tell what this program does to them: not that they expire.
//! - Express sessions have no list by user, no absolute or renewal time-out, and nothing against forged requests.
//! - connect-redis' `ttl` as a function, `disableTTL` and `disableTouch` have no counterpart; sessions that were
//!   written with them are read.

#[cfg(any(feature = "tower-sessions-0-14", feature = "tower-sessions-0-15"))]
mod adapter;
mod admin;
mod cookie;
mod error;
mod events;
mod express;
mod extract;
#[cfg(test)]
mod fuzz;
mod layer;
mod native;
mod profile;
mod record;
mod relocate;
mod session;
mod stale;
mod state;

#[cfg(any(feature = "tower-sessions-0-14", feature = "tower-sessions-0-15"))]
pub use adapter::TowerStore;
pub use admin::{SessionAdmin, SessionInfo};
pub use cookie::{Priority, SameSite, cookie_value, sign, unsign};
pub use error::{Result, SessionError};
pub use events::{NoHandle, SessionEvent, SessionEvents, SessionHandle, Why};
pub use express::{ConfigError, ExpressProfile};
pub use extract::{CsrfToken, Data, Flash, Slot, User};
pub use layer::{SessionLayer, SessionService, Sessions};
pub use native::{CookieSpec, Csrf, KeyRing, NativeProfile, Outage, Overflow};
pub use session::Session;

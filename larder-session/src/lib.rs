//! Sessions for axum and tower that an Express application shares: a login on either side is a login on both.
//!
//! The cookie, its signature, the key, and the JSON under it are those of express-session 1 with connect-redis, to the
//! byte. What Node wrote into a record and Rust does not touch stays as it was.
//!
//! ```
//! use axum::{Router, routing::get};
//! use larder_client::Larder;
//! use larder_session::{ExpressProfile, Session, SessionError, Sessions};
//!
//! async fn count(session: Session) -> Result<String, SessionError> {
//!     session.update("visits", |visits: &mut u32| *visits += 1).await?;
//!     Ok(format!("{:?}", session.get::<u32>("visits").await?))
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let larder = Larder::open("embedded://").await?; // or redis://host, where Express keeps its sessions
//! let sessions = Sessions::express(larder, ExpressProfile::new(["the secret of the Express application"]))?;
//! let app: Router = Router::new().route("/", get(count)).layer(sessions.layer());
//! # let request = axum::extract::Request::new(axum::body::Body::empty());
//! # let response = tower::ServiceExt::oneshot(app, request).await?;
//! # assert!(response.headers()["set-cookie"].to_str()?.starts_with("connect.sid=s%3A"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # What it keeps
//!
//! - A request that does not ask for its session makes no call to the store and sets no cookie.
//! - Parallel requests that change different members keep both changes, and parallel [updates](Session::update) of one
//!   member all count, also against Express' writes that came before: a commit is a compare-and-set.
//! - A request of ours that read the session before it was ended or [rotated](Session::rotate) never brings it back. Its
//!   changes are dropped: [`Session::commit`] says so, the layer lets the response go without a cookie.
//! - The response is released after the store has acknowledged the changes. When the store fails, it is 503.
//! - Settings that contradict each other or that browsers refuse are errors when the sessions are made.
//!
//! # What is not there yet
//!
//! - Only this profile: no hashed ids, no absolute or renewal time-out, no list of a user's sessions, no protection
//!   against forged requests, no answer to an outage but 503. Sessions touch the store on each request that reads, as
//!   Express does.
//! - Express writes blindly. Its slow request can still undo a change or an end that came from here; that needs the
//!   server's help, and the server has none yet.
//! - An error of the store in the middle of a rotation can leave the old id alive beside the new one until it expires.
//! - connect-redis' `ttl` as a function, `disableTTL` and `disableTouch` have no counterpart; sessions that were written
//!   with them are read.

mod cookie;
mod error;
mod express;
mod layer;
mod record;
mod session;

pub use cookie::{SameSite, cookie_value, sign, unsign};
pub use error::{Result, SessionError};
pub use express::{ConfigError, ExpressProfile};
pub use layer::{SessionLayer, SessionService, Sessions};
pub use session::Session;

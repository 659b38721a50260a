//! What sessions cost: `cost load [ROUNDS [express|native]]` prints nanoseconds of a request, and `cost fill URL express|native COUNT`
//! fills a server.
//!
//! `cargo x bars 6` runs both.

use axum_core::body::Body;
use axum_core::response::Response;
use bytes::Bytes;
use http::Request;
use http::header::{COOKIE, HeaderValue, USER_AGENT};
use larder_client::{Command, Larder};
use larder_session::{ExpressProfile, KeyRing, NativeProfile, Session, SessionError, Sessions};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tower::{Layer, Service, ServiceExt};

/// That of larder-server: what allocations cost is not what is measured here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A browser as most are.
const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
                     Safari/537.36";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn native(larder: &Larder) -> Result<Sessions, Failure> {
    let find = |_: &http::request::Parts| Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)));
    Ok(Sessions::native(larder.clone(), NativeProfile::new(KeyRing::new([7; 32])).client_ip(find))?)
}

fn express(larder: &Larder) -> Result<Sessions, Failure> {
    let profile = ExpressProfile::new(["keyboard cat"]).max_age(Duration::from_secs(86_400));
    Ok(Sessions::express(larder.clone(), profile)?)
}

/// Answers requests by doing something with their session.
fn service<F>(
    sessions: &Sessions,
    work: impl Fn(Session) -> F + Clone + Send + 'static,
) -> impl Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone
where
    F: Future<Output = Result<(), SessionError>> + Send + 'static,
{
    let handler = tower::service_fn(move |request: Request<Body>| {
        let session = request.extensions().get::<Session>().cloned().expect("the layer puts it there");
        let done = work(session);
        async move {
            done.await.expect("the store is there");
            Ok(Response::new(Body::empty()))
        }
    });
    sessions.layer().layer(handler)
}

/// A request whose headers are parts of one buffer, as a server that has read them from a connection makes them.
fn request(cookie: &str) -> Request<Body> {
    let head = Bytes::from([cookie, AGENT].concat());
    let part =
        |range| HeaderValue::from_maybe_shared(head.slice(range)).expect("it is the value of a header");
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert(COOKIE, part(0..cookie.len()));
    request.headers_mut().insert(USER_AGENT, part(cookie.len()..head.len()));
    request
}

/// Nanoseconds of a request.
async fn time<S>(service: &mut S, cookies: &[String]) -> u128
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
{
    // Few at a time: a server has just read the request that it answers, so that it is in the processor's cache.
    const AT_ONCE: usize = 8;
    let mut nanos = 0;
    for cookies in cookies.chunks(AT_ONCE) {
        let requests: Vec<Request<Body>> = cookies.iter().map(|cookie| request(cookie)).collect();
        let start = Instant::now();
        for request in requests {
            service.ready().await.expect("never fails").call(request).await.expect("never fails");
        }
        nanos += start.elapsed().as_nanos();
    }
    nanos / cookies.len() as u128
}

/// What each request pays for sessions that are in this process: the time through the layer without that of the same
/// service without a layer. `untouched` is a handler that does not ask for its session. `load` is one that asks who is
/// logged in: everything from finding the cookie, over checking its signature, reading the record, checking the id
/// against it and decoding the user, to the decision what the response does to the cookie. With Express' sessions moving
/// the end of the session is part of it, as it is of every request there. The best of several rounds counts.
async fn load(rounds: usize, profiles: &[&str]) -> Result<(), Failure> {
    /// Between rounds: machines that others use as well are slow for minutes.
    const PAUSE: Duration = Duration::from_secs(2);
    let mut bare = tower::service_fn(|_: Request<Body>| async { Ok(Response::new(Body::empty())) });
    for &profile in profiles {
        let larder = Larder::open("embedded://").await?;
        let sessions = if profile == "native" { native(&larder)? } else { express(&larder)? };
        let cookies = log_in(&sessions).await?;
        let untouched = service(&sessions, |_| async { Ok(()) });
        let read = service(&sessions, |session: Session| async move {
            assert!(session.user::<u64>().await?.is_some());
            Ok(())
        });
        let (mut untouched, mut read) = (untouched, read);
        let mut best = [u128::MAX; 3];
        for round in 0..rounds {
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let times = [
                time(&mut bare, &cookies).await,
                time(&mut untouched, &cookies).await,
                time(&mut read, &cookies).await,
            ];
            best.iter_mut().zip(times).for_each(|(best, time)| *best = time.min(*best));
        }
        let [bare, untouched, read] = best;
        println!("{profile}-untouched {}", untouched.saturating_sub(bare));
        println!("{profile}-load {}", read.saturating_sub(bare));
    }
    Ok(())
}

/// Logs in a hundred thousand users with the data of a typical login, and gives the cookies of some.
async fn log_in(sessions: &Sessions) -> Result<Vec<String>, Failure> {
    const SESSIONS: u64 = 100_000;
    const ASKED: u64 = 10_000;
    let next = Arc::new(AtomicU64::new(0));
    let mut logins = service(sessions, move |session: Session| {
        let user = next.fetch_add(1, Ordering::Relaxed);
        async move {
            session.set("profile", &data(user)).await?;
            session.login(&user).await
        }
    });
    let mut cookies = Vec::new();
    for n in 0..SESSIONS {
        let response = logins.ready().await?.call(request("")).await?;
        if n % (SESSIONS / ASKED) == 0 {
            let cookie = response.headers()["set-cookie"].to_str()?;
            cookies.push(cookie.split(';').next().unwrap_or_default().to_owned());
        }
    }
    Ok(cookies)
}

/// What an application keeps of a login: 150 bytes of JSON as a whole, with the braces and names around it.
fn data(user: u64) -> String {
    format!("{:x<1$}", format!("user{user:07}"), 150 - r#"{"profile":""}"#.len())
}

async fn fill(url: &str, profile: &str, count: u64) -> Result<(), Failure> {
    const TASKS: u64 = 64;
    let larder = Larder::open(url).await?;
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let (larder, next, is_native) = (larder.clone(), Arc::clone(&next), profile == "native");
        tasks.push(tokio::spawn(async move {
            let sessions = if is_native { native(&larder)? } else { express(&larder)? };
            let user = Arc::new(AtomicU64::new(0));
            let mine = Arc::clone(&user);
            let mut logins = service(&sessions, move |session: Session| {
                let user = mine.load(Ordering::Relaxed);
                async move {
                    if is_native {
                        session.set("profile", &data(user)).await?;
                        session.login(&format!("user{user:07}")).await
                    } else {
                        // With the cookie's member, 150 bytes.
                        session.set("userId", &(1_000_000 + user)).await?;
                        session.set("username", &format!("user-{user:07}")).await
                    }
                }
            });
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<(), Failure>(());
                }
                user.store(number, Ordering::Relaxed);
                logins.ready().await?.call(request("")).await?;
            }
        }));
    }
    for task in tasks {
        task.await??;
    }
    let keys = larder.execute(Command::new("DBSIZE")).await?.as_integer().unwrap_or(0);
    let sample = larder.execute(Command::new("RANDOMKEY")).await?;
    let mut sample = sample.as_str().unwrap_or_default().to_owned();
    while sample.starts_with("session:user:") {
        let key = larder.execute(Command::new("RANDOMKEY")).await?;
        key.as_str().unwrap_or_default().clone_into(&mut sample);
    }
    let record = larder.get(&sample).await?.unwrap_or_default();
    println!("keys {keys}");
    println!("record {} bytes, such as {}", record.len(), String::from_utf8_lossy(&record));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["load"] => load(25, &["native", "express"]).await,
        ["load", rounds] => load(rounds.parse()?, &["native", "express"]).await,
        ["load", rounds, profile @ ("express" | "native")] => load(rounds.parse()?, &[profile]).await,
        ["fill", url, profile @ ("express" | "native"), count] => fill(url, profile, count.parse()?).await,
        _ => Err("cost load [ROUNDS [express|native]] | cost fill URL express|native COUNT".into()),
    }
}

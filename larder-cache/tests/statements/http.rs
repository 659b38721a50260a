//! Statement K1: the cache of responses.

use crate::support::{Backend, SECOND, backends};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use larder_cache::http::{CachedBody, HttpCache, HttpCacheBuilder, Tags};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};

type Sent = BoxBody<Bytes, io::Error>;

fn whole(text: impl Into<Bytes>) -> Sent {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// A page, by path, headers and how often the application was asked.
type Page = dyn Fn(&Request<()>, u32) -> Response<Sent> + Send + Sync;

/// An application behind the cache.
struct Site {
    cache: HttpCache,
    asked: Arc<AtomicU32>,
    page: Arc<Page>,
    /// Permits to answer.
    gate: Arc<Semaphore>,
}

/// What a visitor gets.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<Bytes, io::Error>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    fn cache(&self) -> &str {
        self.header("cache-status").strip_prefix("larder; ").unwrap_or("")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().expect("it came whole")).expect("text")
    }
}

impl Site {
    async fn new(
        backend: &Backend,
        settings: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder,
        page: impl Fn(&Request<()>, u32) -> Response<Sent> + Send + Sync + 'static,
    ) -> Site {
        let builder = HttpCache::builder(&backend.node().await, &format!("{}:pages", backend.namespace));
        let cache = settings(builder).build().await.expect("the settings make sense");
        cache.clear().await.expect("the backend is there");
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Site { cache, asked: Arc::default(), page: Arc::new(page), gate }
    }

    fn service(
        &self,
    ) -> impl Service<Request<()>, Response = Response<CachedBody<Sent>>, Error = Infallible, Future: Send> + use<>
    {
        let (asked, page, gate) = (Arc::clone(&self.asked), Arc::clone(&self.page), Arc::clone(&self.gate));
        self.cache.layer(tower::service_fn(move |request: Request<()>| {
            let (asked, page, gate) = (Arc::clone(&asked), Arc::clone(&page), Arc::clone(&gate));
            async move {
                let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
                gate.acquire().await.expect("nobody closes it").forget();
                Ok::<_, Infallible>(page(&request, count))
            }
        }))
    }

    async fn send(&self, request: Request<()>) -> Got {
        let mut service = self.service();
        let response = service.ready().await.expect("never fails").call(request).await.expect("never fails");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map(|all| all.to_bytes());
        Got { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.ask(Method::GET, path, headers).await
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = Request::builder().method(method).uri(path).header("host", "shop.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(()).expect("a request")).await
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn minute(text: impl Into<Bytes>) -> Response<Sent> {
    Response::builder().header("cache-control", "max-age=60").body(whole(text)).expect("a response")
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_what_may_be_shared_comes_from_the_cache_with_its_headers_and_age() {
    for backend in backends().await {
        let site = Site::new(
            &backend,
            |b| b,
            |request, count| {
                let mut page = minute(format!("{} {count}", request.uri()));
                page.headers_mut().insert("x-made-by", "shop".parse().expect("a value"));
                page.headers_mut().insert("connection", "x-hop".parse().expect("a value"));
                page.headers_mut().insert("x-hop", "1".parse().expect("a value"));
                page
            },
        );
        let site = site.await;
        let first = site.get("/a?b=1", &[]).await;
        assert_eq!((first.text(), first.cache()), ("/a?b=1 1", "fwd=uri-miss; stored"), "{}", backend.name);
        let second = site.get("/a?b=1", &[]).await;
        assert_eq!(
            (second.text(), second.header("x-made-by"), second.header("age")),
            ("/a?b=1 1", "shop", "0")
        );
        assert!(
            second.cache().starts_with("hit; ttl=5") || second.cache() == "hit; ttl=60",
            "{}",
            second.cache()
        );
        assert_eq!((second.header("content-length"), second.header("x-hop")), ("8", ""));
        assert_eq!(site.get("/a?b=2", &[]).await.text(), "/a?b=2 2");
        assert_eq!(
            site.get("/a?b=1", &[("host", "other.example")]).await.text(),
            "/a?b=1 1",
            "the first host counts"
        );
        // Another program on the same backend has it, too.
        let other = HttpCache::builder(&backend.node().await, &format!("{}:pages", backend.namespace));
        let other = Site { cache: other.build().await.expect("it is there"), ..site };
        assert!(other.get("/a?b=1", &[]).await.cache().starts_with("hit"), "{}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_what_is_for_one_visitor_is_shared_with_nobody() {
    let personal: &[(&str, &str)] = &[
        ("cache-control", "private, max-age=60"),
        ("cache-control", "no-store"),
        ("set-cookie", "sid=1"),
        ("vary", "*"),
    ];
    for backend in backends().await {
        for (name, value) in personal {
            let (name, value) = (*name, *value);
            let site = Site::new(
                &backend,
                |b| b,
                move |_, count| {
                    let mut page = minute(count.to_string());
                    page.headers_mut().insert(name, value.parse().expect("a value"));
                    page
                },
            );
            let site = site.await;
            for count in 1..=3 {
                let got = site.get("/", &[]).await;
                assert_eq!((got.text(), got.header(name)), (&*count.to_string(), value), "{}", backend.name);
                assert!(got.cache().starts_with("fwd="), "{}", got.cache());
            }
        }
        let site = Site::new(&backend, |b| b, |_, count| minute(count.to_string())).await;
        assert_eq!(site.get("/", &[("authorization", "Basic YTpi")]).await.cache(), "fwd=bypass");
        assert_eq!(site.get("/", &[]).await.text(), "2");
        assert_eq!(site.get("/", &[("authorization", "Basic YTpi")]).await.text(), "3");
        let open =
            Site::new(&backend, HttpCacheBuilder::share_authorized, |_, count| minute(count.to_string()))
                .await;
        assert_eq!(open.get("/", &[("authorization", "Basic YTpi")]).await.text(), "1");
        assert_eq!(open.get("/", &[("authorization", "Basic Yzpk")]).await.text(), "1");
        let told = Site::new(
            &backend,
            |b| b.rule(|_, _| Some(SECOND * 60)),
            |_, count| {
                let page =
                    Response::builder().header("cache-control", "private").header("set-cookie", "theme=dark");
                page.body(whole(count.to_string())).expect("a response")
            },
        );
        let told = told.await;
        assert_eq!((told.get("/", &[]).await.text(), told.get("/", &[]).await.text()), ("1", "1"));
    }
}

/// Many ask at once for what turns out to be one visitor's: each gets their own.
#[tokio::test(flavor = "multi_thread")]
async fn k1_who_waited_for_a_response_that_is_not_for_all_goes_alone() {
    for backend in backends().await {
        for (control, asked) in [("private", 20), ("max-age=60", 1)] {
            let site = Site::new(
                &backend,
                |b| b,
                move |request, count| {
                    let who =
                        request.headers().get("cookie").and_then(|who| who.to_str().ok()).unwrap_or("nobody");
                    let page = Response::builder().header("cache-control", control);
                    page.body(whole(format!("{who} {count}"))).expect("a response")
                },
            );
            let mut site = site.await;
            site.gate = Arc::new(Semaphore::new(0));
            let site = Arc::new(site);
            let visitors: Vec<_> = (0..20)
                .map(|who| {
                    let site = Arc::clone(&site);
                    tokio::spawn(async move { (who, site.get("/", &[("cookie", &format!("u{who}"))]).await) })
                })
                .collect();
            while site.asked() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            site.gate.add_permits(100);
            for visitor in visitors {
                let (who, got) = visitor.await.expect("no panic");
                let is_own = got.text().starts_with(&format!("u{who} "));
                assert!(is_own || control != "private", "u{who} got {:?} on {}", got.text(), backend.name);
            }
            assert_eq!(site.asked(), asked, "{control} on {}", backend.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_vary_is_in_the_key() {
    for backend in backends().await {
        let site = Site::new(
            &backend,
            |b| b,
            |request, count| {
                let language =
                    request.headers().get("accept-language").map_or("none", |l| l.to_str().expect("text"));
                let mut page = minute(format!("{language} {count}"));
                page.headers_mut().insert("vary", "Accept-Language".parse().expect("a value"));
                page
            },
        );
        let site = site.await;
        let get = async |language: &str| {
            let got = site.get("/", &[("accept-language", language)]).await;
            (got.text().to_owned(), got.cache().split(';').next().unwrap_or("").to_owned())
        };
        assert_eq!(get("de").await, ("de 1".into(), "fwd=uri-miss".into()));
        assert_eq!(
            get("de").await,
            ("de 2".into(), "fwd=uri-miss".into()),
            "the first one tells what it varies by"
        );
        assert_eq!(get("de").await, ("de 2".into(), "hit".into()), "{}", backend.name);
        assert_eq!(get("en").await, ("en 3".into(), "fwd=uri-miss".into()));
        assert_eq!(get("en").await, ("en 3".into(), "hit".into()));
        assert_eq!(get("de").await, ("de 2".into(), "hit".into()));
        site.cache.remove_path("/").await.expect("the backend is there");
        get("de").await;
        assert_eq!(get("de").await.0, "de 5", "all of a path are removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_heads_conditions_and_ranges_are_answered_from_the_whole() {
    for backend in backends().await {
        let site = Site::new(
            &backend,
            |b| b,
            |request, _| {
                assert!(!request.headers().contains_key("range"), "the whole is asked for");
                let mut page = minute("0123456789");
                page.headers_mut().insert("etag", "\"v1\"".parse().expect("a value"));
                page.headers_mut()
                    .insert("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT".parse().expect("a value"));
                page
            },
        );
        let site = site.await;
        let head = site.ask(Method::HEAD, "/", &[]).await;
        assert_eq!(head.cache(), "fwd=uri-miss");
        let part = site.get("/", &[("range", "bytes=2-4")]).await;
        assert_eq!(
            (part.status, part.text(), part.header("content-range")),
            (StatusCode::PARTIAL_CONTENT, "234", "bytes 2-4/10")
        );
        let cases: &[(&str, StatusCode, &str)] = &[
            ("bytes=7-", StatusCode::PARTIAL_CONTENT, "789"),
            ("bytes=-2", StatusCode::PARTIAL_CONTENT, "89"),
            ("bytes=5-500", StatusCode::PARTIAL_CONTENT, "56789"),
            ("bytes=10-", StatusCode::RANGE_NOT_SATISFIABLE, ""),
            ("bytes=-0", StatusCode::RANGE_NOT_SATISFIABLE, ""),
            ("bytes=4-2", StatusCode::OK, "0123456789"),
            ("bytes=0-1,3-4", StatusCode::OK, "0123456789"),
            ("lines=1-2", StatusCode::OK, "0123456789"),
        ];
        for (range, status, body) in cases {
            let got = site.get("/", &[("range", range)]).await;
            assert_eq!((got.status, got.text()), (*status, *body), "{range} on {}", backend.name);
        }
        assert_eq!(
            site.get("/", &[("range", "bytes=0-1"), ("if-range", "\"v0\"")]).await.status,
            StatusCode::OK
        );
        assert_eq!(site.get("/", &[("range", "bytes=0-1"), ("if-range", "\"v1\"")]).await.text(), "01");
        for (name, value, status) in [
            ("if-none-match", "\"v0\", W/\"v1\"", StatusCode::NOT_MODIFIED),
            ("if-none-match", "*", StatusCode::NOT_MODIFIED),
            ("if-none-match", "\"v2\"", StatusCode::OK),
            ("if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT", StatusCode::NOT_MODIFIED),
            ("if-modified-since", "Tue, 20 Oct 2015 07:28:00 GMT", StatusCode::OK),
        ] {
            let got = site.get("/", &[(name, value)]).await;
            assert_eq!(got.status, status, "{name}: {value}");
            assert_eq!(got.text().is_empty(), status == StatusCode::NOT_MODIFIED);
            assert_eq!(got.header("etag"), "\"v1\"");
        }
        let head = site.ask(Method::HEAD, "/", &[]).await;
        assert_eq!((head.text(), head.header("content-length")), ("", "10"));
        assert!(head.cache().starts_with("hit"));
        assert_eq!(site.asked(), 2, "one HEAD, one GET on {}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_a_body_that_breaks_off_or_is_too_large_is_passed_on_and_not_kept() {
    for backend in backends().await {
        let site = Site::new(
            &backend,
            |b| b.body_max(10),
            |request, _| {
                let frames = |last| {
                    let frames =
                        [Ok(Frame::data(Bytes::from("01234"))), Ok(Frame::data(Bytes::from("56"))), last];
                    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
                };
                let body = match request.uri().path() {
                    "/broken" => frames(Err(io::Error::other("the disk is gone"))),
                    "/large" => frames(Ok(Frame::data(Bytes::from("789abc")))),
                    "/trailers" => frames(Ok(Frame::trailers(HeaderMap::new()))),
                    _ => frames(Ok(Frame::data(Bytes::from("789")))),
                };
                minute("").map(|_| body)
            },
        );
        let site = site.await;
        for (path, body, asked) in [
            ("/broken", None, 2),
            ("/large", Some("0123456789abc"), 4),
            ("/trailers", Some("0123456"), 6),
            ("/fits", Some("0123456789"), 7),
        ] {
            for _ in 0..2 {
                let got = site.get(path, &[]).await;
                assert_eq!(got.body.as_ref().ok().map(|body| &body[..]), body.map(str::as_bytes), "{path}");
            }
            assert_eq!(site.asked(), asked, "{path} on {}", backend.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_a_change_removes_what_its_path_shows_and_tags_what_they_name() {
    for backend in backends().await {
        let site = Site::new(
            &backend,
            |b| b,
            |request, count| {
                if request.method() == Method::PUT {
                    let status = if request.uri().query() == Some("refused") { 409 } else { 204 };
                    return Response::builder().status(status).body(whole("")).expect("a response");
                }
                let mut page = minute(count.to_string());
                page.extensions_mut().insert(Tags::new(["brand:3"]));
                page
            },
        );
        let site = site.await;
        let get = async |path: &str| site.get(path, &[]).await.text().to_owned();
        assert_eq!(
            (get("/p/1").await, get("/p/1?q").await, get("/p/2").await),
            ("1".into(), "2".into(), "3".into())
        );
        assert_eq!(site.ask(Method::PUT, "/p/1?refused", &[]).await.cache(), "fwd=method");
        assert_eq!(get("/p/1").await, "1", "nothing has changed");
        site.ask(Method::PUT, "/p/1", &[]).await;
        assert_eq!(
            (get("/p/1").await, get("/p/1?q").await, get("/p/2").await),
            ("6".into(), "7".into(), "3".into())
        );
        site.cache.remove_tag("brand:3").await.expect("the backend is there");
        assert_eq!((get("/p/1").await, get("/p/2").await), ("8".into(), "9".into()), "{}", backend.name);
    }
}

/// A load that began before a change does not bring the old page back.
#[tokio::test(flavor = "multi_thread")]
async fn k1_a_response_from_before_a_change_is_not_kept() {
    for backend in backends().await {
        let mut site = Site::new(&backend, |b| b, |_, count| minute(count.to_string())).await;
        site.gate = Arc::new(Semaphore::new(0));
        let site = Arc::new(site);
        let slow = tokio::spawn({
            let site = Arc::clone(&site);
            async move { site.get("/", &[]).await }
        });
        while site.asked() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        site.cache.remove_path("/").await.expect("the backend is there");
        site.gate.add_permits(100);
        assert_eq!(slow.await.expect("no panic").text(), "1");
        assert_eq!(site.get("/", &[]).await.text(), "2", "{}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_errors_of_the_application_are_nobody_elses() {
    for backend in backends().await {
        let site = Site::new(
            &backend,
            |b| b.default_ttl(SECOND),
            |_, count| {
                let status = if count == 1 { 503 } else { 200 };
                Response::builder().status(status).body(whole(count.to_string())).expect("a response")
            },
        );
        let site = site.await;
        assert_eq!(site.get("/", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((site.get("/", &[]).await.text(), site.get("/", &[]).await.text()), ("2", "2"));
        let panics = Site::new(&backend, |b| b, |_, _| panic!("a page that panics")).await;
        assert_eq!(panics.get("/", &[]).await.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", backend.name);
    }
}

#[tokio::test]
async fn k1_it_is_a_layer_for_axum() {
    use axum::Router;
    use axum::body::Body as AxumBody;
    use axum::routing::get;
    let larder = larder_client::Larder::open("embedded://").await.expect("memory");
    let cache = HttpCache::builder(&larder, "axum").build().await.expect("the settings make sense");
    let page = || async { ([(header::CACHE_CONTROL, "max-age=60")], "Hello") };
    let mut shop: Router = Router::new().route("/", get(page)).layer(cache);
    for status in ["fwd=uri-miss; stored", "hit"] {
        let request = Request::get("/").body(AxumBody::empty()).expect("a request");
        let response = Service::<Request<AxumBody>>::call(&mut shop, request).await.expect("never fails");
        let told = response.headers()["cache-status"].to_str().expect("text").to_owned();
        assert!(told.contains(status), "{told}");
        assert!(!response.body().is_end_stream());
    }
    assert!(HttpCache::builder(&larder, "axum").name("two words").build().await.is_err());
}

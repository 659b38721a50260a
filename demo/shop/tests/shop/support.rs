//! A shop of its own for each test, and browsers that keep their cookies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use shop::Shop;
use shop::config::{Config, Profile};
use testkit::temp::TempDir;
use tower::ServiceExt as _;

/// A shop in a folder that goes with it.
pub(crate) struct Place {
    pub(crate) shop: Arc<Shop>,
    router: Router,
    _folder: TempDir,
}

pub(crate) fn config(folder: &TempDir) -> Config {
    Config {
        addr: "127.0.0.1:0".parse().expect("it is an address"),
        larder: "embedded://".to_owned(),
        database: format!("sqlite://{}/shop.db", folder.path().display()),
        profile: Profile::Native,
        secret: Some("thirty-two bytes for the tests only".to_owned()),
        is_secure: false,
        caches: true,
    }
}

impl Place {
    pub(crate) async fn open() -> Place {
        Place::open_with(|_| {}).await
    }

    pub(crate) async fn open_with(change: impl FnOnce(&mut Config)) -> Place {
        let folder = TempDir::new();
        let mut config = config(&folder);
        change(&mut config);
        let shop = Shop::open(&config).await.expect("the shop opens");
        Place { router: Arc::clone(&shop).router(), shop, _folder: folder }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser {
            router: self.router.clone(),
            cookies: BTreeMap::new(),
            from: "192.0.2.7:4000".parse().expect("it is one"),
        }
    }

    pub(crate) async fn stats(&self) -> Value {
        self.browser().get("/api/stats").await.json()
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("pages are UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

pub(crate) struct Browser {
    router: Router,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) from: SocketAddr,
}

impl Browser {
    /// Sends a request with these headers beside the cookies, and keeps the cookies that come back.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "shop.test");
        if !self.cookies.is_empty() {
            let all: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, all.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body)).expect("the request is well formed");
        request.extensions_mut().insert(ConnectInfo(self.from));
        let response = self.router.clone().oneshot(request).await.expect("routers answer");
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().expect("cookies are ASCII");
            let (name, value) =
                cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("it is a pair");
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await.expect("the body comes").to_bytes().to_vec();
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    /// Sends JSON as a page of the shop would.
    pub(crate) async fn json(&mut self, method: Method, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
        self.send(method, path, &headers, body.to_string().into_bytes()).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, body).await
    }

    /// Sends a form as a page of the shop would.
    pub(crate) async fn form(&mut self, path: &str, body: &str) -> Answer {
        let headers =
            [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
        self.send(Method::POST, path, &headers, body.as_bytes().to_vec()).await
    }

    pub(crate) async fn sign_up(&mut self, name: &str) {
        let body = serde_json::json!({ "username": name, "password": "a good password" });
        let answer = self.post("/signup", &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
}

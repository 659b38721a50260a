//! The ways to a server other than plain TCP.

use larder_client::{Larder, Options};
use std::fs;
use testkit::{Ready, Server};

#[tokio::test]
async fn a_unix_socket_leads_to_the_server() {
    let temp = testkit::temp::TempDir::new();
    let socket = temp.path().join("larder.sock").display().to_string();
    let _server = Server::larder(&["--unixsocket", &socket]);
    let larder = Larder::open(&format!("unix://{socket}")).await.unwrap();
    larder.set("k", "v").await.unwrap();
    assert_eq!(larder.get("k").await.unwrap().as_deref(), Some(b"v".as_slice()));
}

#[tokio::test]
async fn tls_is_spoken_and_the_certificate_is_checked() {
    let temp = testkit::temp::TempDir::new();
    let path = |name: &str| temp.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = testkit::port::Port::take();
    let options = testkit::Options::larder()
        .args(["--port", "0", "--tls-port", &port.number().to_string(), "--tls-auth-clients", "no"])
        .args(["--tls-cert-file", &path("cert.pem"), "--tls-key-file", &path("key.pem")])
        .ready(Ready::Log("Ready to accept connections".to_owned()));
    let _server = Server::start(options);
    let url = format!("rediss://localhost:{}", port.number());
    let trusting = Options::new().root_certificate(made.cert.pem());
    let larder = Larder::open_with(&url, trusting).await.unwrap();
    larder.set("k", "v").await.unwrap();
    assert_eq!(larder.get("k").await.unwrap().as_deref(), Some(b"v".as_slice()));
    let strict = Options::new().retries(0, std::time::Duration::ZERO);
    let refused = Larder::open_with(&url, strict).await.err().expect("nobody has signed the certificate");
    assert!(refused.is_outage(), "{refused:?}");
}

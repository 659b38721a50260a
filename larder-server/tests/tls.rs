//! TLS on the same loops as everything else.

mod support;

use larder_resp::Frame;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use support::{SOON, info, is_served, larder, wait_for};
use testkit::port::Port;
use testkit::temp::TempDir;
use testkit::{Ready, Rng, Server};

/// An authority, a certificate of ours, one of a client, and one of a stranger's authority.
struct Certificates {
    directory: TempDir,
}

impl Certificates {
    fn new() -> Certificates {
        let directory = TempDir::new();
        for (authority, leaves) in [("ca", &["server", "client"][..]), ("other-ca", &["stranger"])] {
            let key = KeyPair::generate().expect("randomness");
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let certificate = params.self_signed(&key).expect("valid parameters");
            write(directory.path(), authority, "crt", &certificate.pem());
            let issuer = Issuer::new(params, key);
            for leaf in leaves {
                let key = KeyPair::generate().expect("randomness");
                let params =
                    CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).expect("names");
                let certificate = params.signed_by(&key, &issuer).expect("valid parameters");
                write(directory.path(), leaf, "crt", &certificate.pem());
                write(directory.path(), leaf, "key", &key.serialize_pem());
            }
        }
        Certificates { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// What a server needs, with this value of `tls-auth-clients`.
    fn arguments(&self, port: u16, auth_clients: &str) -> Vec<String> {
        let words = [
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &self.path("server.crt"),
            "--tls-key-file",
            &self.path("server.key"),
            "--tls-ca-cert-file",
            &self.path("ca.crt"),
            "--tls-auth-clients",
            auth_clients,
        ];
        words.map(str::to_owned).to_vec()
    }

    /// A connection that shows this certificate, or none.
    fn connect(
        &self,
        port: u16,
        shows: Option<&str>,
    ) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.path("ca.crt")).expect("the file was written");
        roots.add(ca).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("there are some").with_root_certificates(roots);
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain =
                    CertificateDer::from_pem_file(self.path(&format!("{name}.crt"))).expect("written");
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("written");
                builder.with_client_auth_cert(vec![chain], key).expect("they belong together")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name).expect("a configuration");
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(SOON))?;
        Ok(StreamOwned::new(tls, socket))
    }
}

fn write(directory: &Path, name: &str, extension: &str, text: &str) {
    std::fs::write(directory.join(format!("{name}.{extension}")), text).expect("the directory is ours");
}

fn ping(stream: &mut (impl std::io::Read + std::io::Write)) -> std::io::Result<()> {
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"+PONG\r\n");
    Ok(())
}

fn start(certificates: &Certificates, port: &Port, auth_clients: &str) -> Server {
    Server::start(larder(&["--io-threads", "2"]).args(certificates.arguments(port.number(), auth_clients)))
}

#[test]
fn encrypted_and_plain_clients_share_a_server() {
    let (certificates, port) = (Certificates::new(), Port::take());
    let server = start(&certificates, &port, "no");
    let mut encrypted = certificates.connect(port.number(), None).expect("a connection");
    ping(&mut encrypted).expect("an answer");
    let mut plain = server.connect();
    assert_eq!(plain.cmd(&["SET", "k", "plain"]), Frame::Simple(b"OK".to_vec()));
    encrypted.write_all(b"GET k\r\n").expect("sent");
    let mut answer = [0; 11];
    encrypted.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"$5\r\nplain\r\n");
}

#[test]
fn large_values_and_long_pipelines_go_through() {
    let (certificates, port) = (Certificates::new(), Port::take());
    let _server = start(&certificates, &port, "no");
    let mut stream = certificates.connect(port.number(), None).expect("a connection");
    let value: Vec<u8> = (0..9_000_000_u32).map(|at| (at % 253) as u8).collect();
    let header = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len());
    stream.write_all(&[header.as_bytes(), &value, b"\r\n"].concat()).expect("sent");
    let mut ok = [0; 5];
    stream.read_exact(&mut ok).expect("an answer");
    stream.write_all(&b"GET k\r\n".repeat(3)).expect("sent");
    stream.write_all(&b"PING\r\n".repeat(10_000)).expect("sent");
    for _ in 0..3 {
        let mut answer = vec![0; value.len() + 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert!(answer[10..].starts_with(&value) && answer.starts_with(b"$9000000\r\n"));
    }
    let mut pongs = vec![0; 70_000];
    stream.read_exact(&mut pongs).expect("answers");
    assert_eq!(pongs, b"+PONG\r\n".repeat(10_000));
}

#[test]
fn clients_show_their_certificate_as_far_as_asked_for() {
    let certificates = Certificates::new();
    for (auth_clients, shows, is_welcome) in [
        ("no", None, true),
        ("optional", None, true),
        ("optional", Some("client"), true),
        ("optional", Some("stranger"), false),
        ("yes", None, false),
        ("yes", Some("client"), true),
        ("yes", Some("stranger"), false),
    ] {
        let port = Port::take();
        let server = start(&certificates, &port, auth_clients);
        let mut neighbour = server.connect();
        let answer = certificates.connect(port.number(), shows).and_then(|mut stream| ping(&mut stream));
        assert_eq!(answer.is_ok(), is_welcome, "{auth_clients} {shows:?}: {answer:?}");
        assert!(is_served(&mut neighbour));
    }
}

#[test]
fn a_handshake_that_fails_or_stops_disturbs_nobody() {
    let (certificates, port) = (Certificates::new(), Port::take());
    let server = start(&certificates, &port, "no");
    let mut neighbour = certificates.connect(port.number(), None).expect("a connection");
    ping(&mut neighbour).expect("an answer");
    let mut rng = Rng::new(0x7157_0bad);
    let mut silent = Vec::new();
    for nth in 0..200 {
        let mut stranger = TcpStream::connect(("127.0.0.1", port.number())).expect("the server accepts");
        let bytes: Vec<u8> = match nth % 3 {
            0 => b"PING\r\n".to_vec(),
            // The start of a handshake record, and then anything.
            1 => [b"\x16\x03\x01\x02\x00".to_vec(), (0..rng.below(600)).map(|_| rng.bits() as u8).collect()]
                .concat(),
            _ => (0..rng.below(100)).map(|_| rng.bits() as u8).collect(),
        };
        // The server may be faster to close than we are to write.
        let _may_be_closed = stranger.write_all(&bytes);
        silent.push(stranger);
        ping(&mut neighbour).expect("an answer");
    }
    drop(silent);
    let mut plain = server.connect();
    wait_for("the end of the strangers", || {
        (info(&mut plain, "clients", "connected_clients") == "2").then_some(())
    });
}

#[test]
fn tls_can_be_the_only_way_in() {
    let (certificates, port) = (Certificates::new(), Port::take());
    let options = larder(&["--port", "0"]).args(certificates.arguments(port.number(), "no"));
    let server = Server::start(options.ready(Ready::Log("Ready to accept connections".into())));
    assert!(TcpStream::connect(server.addr()).is_err());
    ping(&mut certificates.connect(port.number(), None).expect("a connection")).expect("an answer");
}

#[test]
fn what_tls_cannot_work_with_stops_the_start() {
    let (certificates, port) = (Certificates::new(), Port::take());
    let number = port.number().to_string();
    let key = certificates.path("client.key");
    let cert = certificates.path("server.crt");
    for (arguments, expected) in [
        (vec!["--tls-port", &number], "TLS needs tls-cert-file and tls-key-file"),
        (vec!["--tls-port", &number, "--tls-cert-file", &cert, "--tls-key-file", &key], "tls-ca-cert-file"),
        (
            vec![
                "--tls-port",
                &number,
                "--tls-auth-clients",
                "no",
                "--tls-cert-file",
                &cert,
                "--tls-key-file",
                &key,
            ],
            "Failed to configure TLS",
        ),
        (
            vec![
                "--tls-port",
                &number,
                "--tls-auth-clients",
                "no",
                "--tls-cert-file",
                "/nonexistent",
                "--tls-key-file",
                &key,
            ],
            "/nonexistent",
        ),
        (vec!["--tls-key-file-pass", "hunter2"], "Encrypted private keys"),
    ] {
        let why = Server::try_start(larder(&arguments)).err().unwrap_or_default();
        assert!(why.contains(expected) && !why.contains("hunter2"), "{arguments:?}: {why}");
    }
}

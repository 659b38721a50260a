//! TLS between a TCP socket and a connection, on the same event loops as everything else.
//!
//! rustls does no I/O of its own: it is fed with what the socket has, and its output goes to the socket as far as that
//! takes it. So a handshake is nothing but turns in which no command arrives, and one that fails ends its connection
//! like a broken socket would.

use super::transport::{Received, is_transient};
use crate::config::Settings;
use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::io::{self, BufRead as _, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

/// Plaintext taken from one connection in one turn, about.
const READ_MAX: usize = 64 * 1024;
/// Encrypted bytes that may wait for the socket: beyond, replies stay in the outbox, where limits apply.
const ENCRYPTED_MAX: usize = 64 * 1024;

/// A TLS connection over a TCP socket.
pub(crate) struct TlsStream {
    socket: TcpStream,
    tls: ServerConnection,
}

impl TlsStream {
    /// A connection whose handshake is still to come.
    ///
    /// # Errors
    /// The configuration cannot be used, which was found when it was made.
    pub(crate) fn new(socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<TlsStream> {
        let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(ENCRYPTED_MAX));
        Ok(TlsStream { socket, tls })
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The socket, to be registered.
    pub(crate) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether it has encrypted bytes to send.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Takes what the socket has, up to a turn's share, and appends what it meant.
    ///
    /// # Errors
    /// The socket's, or that the peer does not keep to the protocol or has no certificate that counts.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> io::Result<Received> {
        let before = into.len();
        loop {
            let mut probe = Probe { socket: &self.socket, is_drained: false };
            let is_end = match self.tls.read_tls(&mut probe) {
                Ok(count) => count == 0,
                Err(error) if is_transient(&error) => false,
                Err(error) => return Err(error),
            };
            let is_drained = probe.is_drained;
            if let Err(error) = self.tls.process_new_packets() {
                // Tell the peer why, if the socket takes it.
                let _peer_may_be_gone = self.tls.write_tls(&mut self.socket);
                return Err(io::Error::other(error));
            }
            let is_closed = self.take_plaintext(into)?;
            let count = into.len() - before;
            if is_end || is_closed {
                // What came before the end comes first; the next read finds the end again.
                return Ok(if count > 0 {
                    Received::Bytes { count, may_be_more: true }
                } else {
                    Received::End
                });
            }
            if is_drained || count >= READ_MAX {
                return Ok(Received::Bytes { count, may_be_more: !is_drained });
            }
        }
    }

    /// Appends the plaintext there is. Returns whether the peer said that it is all.
    fn take_plaintext(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let mut reader = self.tls.reader();
        loop {
            let taken = match reader.fill_buf() {
                Ok([]) => return Ok(true),
                Ok(chunk) => {
                    into.extend_from_slice(chunk);
                    chunk.len()
                }
                Err(error) if is_transient(&error) => return Ok(false),
                // The socket ended without a good-bye: the end is the end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
                Err(error) => return Err(error),
            };
            reader.consume(taken);
        }
    }

    /// Encrypts as much as there is room for, and sends what the socket takes. Returns how much was taken from `bytes`;
    /// nothing of them is taken only if the socket has just refused more, so that an event will tell when it takes more.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_encrypted()?;
        if bytes.is_empty() || self.tls.wants_write() {
            return Ok(0);
        }
        let taken = self.tls.writer().write(bytes)?;
        self.send_encrypted()?;
        Ok(taken)
    }

    /// Sends what is encrypted until there is nothing more or the socket refuses it.
    fn send_encrypted(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub(crate) fn say_good_bye(&mut self) {
        self.tls.send_close_notify();
        let _peer_may_be_gone = self.write(&[]);
    }
}

/// Reads from a socket and notes whether that emptied it.
struct Probe<'s> {
    socket: &'s TcpStream,
    is_drained: bool,
}

impl Read for Probe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.socket.read(buffer);
        self.is_drained = match &result {
            Ok(count) => *count < buffer.len(),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        result
    }
}

/// The TLS configuration that the parameters ask for.
///
/// # Errors
/// Which file cannot be used, and why.
pub(crate) fn configure(settings: &Settings) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = versions(&settings.text("tls-protocols"))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| format!("tls-protocols: {error}"))?;
    let builder = match settings.text("tls-auth-clients").as_str() {
        "no" => builder.with_no_client_auth(),
        how => {
            let roots =
                Arc::new(roots(&settings.text("tls-ca-cert-file"), &settings.text("tls-ca-cert-dir"))?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if how == "optional" {
                verifier = verifier.allow_unauthenticated();
            }
            let verifier = verifier.build().map_err(|error| format!("tls-ca-cert-file: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (cert_file, key_file) = (settings.text("tls-cert-file"), settings.text("tls-key-file"));
    let chain = certificates(Path::new(&cert_file))?;
    let key = PrivateKeyDer::from_pem_file(&key_file).map_err(|error| format!("{key_file}: {error}"))?;
    let config = builder.with_single_cert(chain, key);
    config.map(Arc::new).map_err(|error| format!("{cert_file} and {key_file}: {error}"))
}

fn versions(words: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    if words.is_empty() {
        return Ok(rustls::ALL_VERSIONS.to_vec());
    }
    let version = |word: &str| match word.to_ascii_lowercase().as_str() {
        "tlsv1.2" => Ok(&rustls::version::TLS12),
        "tlsv1.3" => Ok(&rustls::version::TLS13),
        _ => Err(format!("tls-protocols: '{word}' is not supported; TLSv1.2 and TLSv1.3 are")),
    };
    words.split_ascii_whitespace().map(version).collect()
}

fn roots(file: &str, directory: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let mut add = |path: &Path| {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok::<(), String>(())
    };
    if !file.is_empty() {
        add(Path::new(file))?;
    }
    if !directory.is_empty() {
        let entries = std::fs::read_dir(directory).map_err(|error| format!("{directory}: {error}"))?;
        for entry in entries.flatten() {
            let path = entry.path();
            // A directory of certificates may hold other things as well.
            if path.is_file()
                && CertificateDer::pem_file_iter(&path).is_ok_and(|mut found| found.any(|one| one.is_ok()))
            {
                add(&path)?;
            }
        }
    }
    if roots.is_empty() { Err("no certificate to check those of clients against".into()) } else { Ok(roots) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let problem = |error| format!("{}: {error}", path.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(problem)?.collect();
    match found.map_err(problem)? {
        none if none.is_empty() => Err(format!("{}: no certificate in it", path.display())),
        found => Ok(found),
    }
}

//! TLS as a client: whom to trust, what to show.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::options::Tls;

/// A TLS session with a server that is reached as `host`.
///
/// # Errors
/// A file that cannot be read or used, or a name that is none.
pub(crate) fn client(settings: &Tls, host: &str) -> Result<ClientConnection, String> {
    let config = config(settings)?;
    let name = settings.sni.as_deref().unwrap_or(host);
    let name =
        ServerName::try_from(name.to_owned()).map_err(|_| format!("'{name}' is no host name for TLS"))?;
    ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())
}

fn config(settings: &Tls) -> Result<ClientConfig, String> {
    let mut provider = rustls::crypto::ring::default_provider();
    choose_suites(&mut provider, settings)?;
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if settings.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnybody(provider)))
    } else {
        builder.with_root_certificates(roots(settings)?)
    };
    match (&settings.cert, &settings.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("{}: {error}", cert.display()))
        }
        _ => Err("--cert and --key go together".to_owned()),
    }
}

/// Authorities to trust: those that are named, or the system's.
fn roots(settings: &Tls) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &settings.ca_file {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    if let Some(dir) = &settings.ca_dir {
        let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        for entry in entries.flatten() {
            roots.add_parsable_certificates(certificates(&entry.path()).unwrap_or_default());
        }
    }
    if settings.ca_file.is_none() && settings.ca_dir.is_none() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err("there are no certificates to trust: name some with --cacert".to_owned());
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?.collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong(&"there is no certificate in it")),
        Ok(all) => Ok(all),
        Err(error) => Err(wrong(&error)),
    }
}

/// The suites that rustls has, by OpenSSL's names.
const SUITES: &[(&str, CipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Leaves only the suites that the user lists, in that order. A list speaks of one protocol version only; the suites of
/// the other stay.
fn choose_suites(provider: &mut CryptoProvider, settings: &Tls) -> Result<(), String> {
    for (list, is_13, flag) in
        [(&settings.suites, true, "--tls-ciphersuites"), (&settings.ciphers, false, "--tls-ciphers")]
    {
        let Some(list) = list else { continue };
        let wanted: Vec<CipherSuite> = list
            .split(':')
            .filter_map(|name| SUITES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)))
            .map(|(_, suite)| *suite)
            .collect();
        let (own, other): (Vec<rustls::SupportedCipherSuite>, Vec<_>) =
            provider.cipher_suites.iter().copied().partition(|suite| suite.tls13().is_some() == is_13);
        let chosen: Vec<_> =
            wanted.iter().filter_map(|id| own.iter().find(|suite| suite.suite() == *id)).copied().collect();
        if chosen.is_empty() {
            return Err(format!("{flag}: none of '{list}' is known here"));
        }
        provider.cipher_suites = chosen.into_iter().chain(other).collect();
    }
    Ok(())
}

/// `--insecure`: any certificate will do. Signatures are still checked, as the protocol needs them.
#[derive(Debug)]
struct TrustAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

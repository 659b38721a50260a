//! The keys that sign what browsers bring back, and the ids that are signed.
//!
//! An id has two halves. The *handle* names the session: it is the key in the store, stays the same for as long as the
//! session lives, and may be shown, in a list of devices say. The *secret* proves that a browser owns it: the store
//! holds a hash of it alone, and another id means another secret. So giving a session another id changes one key, in
//! one compare-and-set: at every moment exactly one id works, whatever fails, on every kind of server, a cluster too.
//!
//! The signature keeps made-up ids away from the store. It is bound to the cookie's name and to its purpose.

use crate::cookie::{Signer, decode_signature};
use crate::error::{Result, SessionError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;

/// Shortest key, in bytes: the strength of the signature's hash.
pub(crate) const KEY_BYTES_MIN: usize = 32;
/// Characters of a handle: 96 bits. Handles are not secret; two of the same are kept apart when one is made.
pub(crate) const HANDLE_CHARS: usize = 16;
/// Characters of a secret: 132 bits, of which 128 are random.
const SECRET_CHARS: usize = 22;
/// Characters of an id.
pub(crate) const ID_CHARS: usize = HANDLE_CHARS + SECRET_CHARS;
/// Bytes of a secret's hash that are kept: nobody finds a secret of 128 bits by trying more easily than this.
const HASH_BYTES: usize = 16;
/// Characters of such a hash.
pub(crate) const HASH_CHARS: usize = 22;
/// Random bytes of a token against forged requests.
const NONCE_BYTES: usize = 16;

/// Keys that sign cookies: the first one signs, all of them verify. What an accepted key has signed is signed again with
/// the first one when it is next used, so that an old key can be dropped after a while.
///
/// `Debug` shows none of them, and they are wiped from memory when the ring is dropped.
#[derive(Clone)]
#[must_use]
pub struct KeyRing {
    signers: Vec<Signer>,
    /// The length of the shortest key, in bytes.
    shortest: usize,
}

impl KeyRing {
    /// A ring with the key that signs: 32 bytes or more, from a generator of random numbers.
    pub fn new(key: impl AsRef<[u8]>) -> KeyRing {
        KeyRing { signers: Vec::new(), shortest: usize::MAX }.accept(key)
    }

    /// Also accepts what this key, which signed before, has signed.
    pub fn accept(mut self, key: impl AsRef<[u8]>) -> KeyRing {
        self.signers.push(Signer::new(key.as_ref()));
        self.shortest = self.shortest.min(key.as_ref().len());
        self
    }

    /// The length of the shortest key, in bytes.
    pub(crate) fn shortest(&self) -> usize {
        self.shortest
    }

    /// Signs with the first key.
    fn sign(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        mac(&self.signers[0], purpose, parts).finalize().into_bytes().into()
    }

    /// Which key has signed this. Compares in constant time.
    fn signer(&self, purpose: &str, parts: &[&[u8]], signature: &[u8]) -> Option<usize> {
        self.signers.iter().position(|key| mac(key, purpose, parts).verify_slice(signature).is_ok())
    }

    /// The value of a cookie for an id: letters, digits, `-`, `_` and a dot.
    pub(crate) fn cookie_value(&self, name: &str, id: &str) -> String {
        let signature = self.sign("cookie", &[name.as_bytes(), id.as_bytes()]);
        format!("{id}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The id in the value of a cookie, and which key has signed it.
    pub(crate) fn id_of<'a>(&self, name: &str, value: &'a str) -> Option<(&'a str, usize)> {
        let (id, signature) = value.split_once('.')?;
        let is_shaped =
            id.len() == ID_CHARS && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let signature = decode_signature(&URL_SAFE_NO_PAD, signature).filter(|_| is_shaped)?;
        let key = self.signer("cookie", &[name.as_bytes(), id.as_bytes()], &signature)?;
        Some((id, key))
    }

    /// A token against forged requests that is good for one login of one session. No two are alike, so that what a
    /// compressed page gives away of one is worth nothing.
    pub(crate) fn token(&self, handle: &str, login_us: u64) -> Result<String> {
        let mut token = [0; NONCE_BYTES + 32];
        getrandom::fill(&mut token[..NONCE_BYTES]).map_err(|_| SessionError::NoRandomBytes)?;
        let signature =
            self.sign("token", &[&token[..NONCE_BYTES], handle.as_bytes(), &login_us.to_be_bytes()]);
        token[NONCE_BYTES..].copy_from_slice(&signature);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Whether this is such a token.
    pub(crate) fn is_token(&self, token: &str, handle: &str, login_us: u64) -> bool {
        let mut bytes = [0; NONCE_BYTES + 32];
        let Ok(length) = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) else { return false };
        let (nonce, signature) = bytes[..length].split_at(NONCE_BYTES.min(length));
        self.signer("token", &[nonce, handle.as_bytes(), &login_us.to_be_bytes()], signature).is_some()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.signers.len())
    }
}

fn mac(key: &Signer, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = key.mac();
    mac.update(b"larder-session ");
    mac.update(purpose.as_bytes());
    for part in parts {
        // Parts that may hold a zero byte are of a fixed length, so that no two lists of parts are the same bytes.
        mac.update(&[0]);
        mac.update(part);
    }
    mac
}

fn random(chars: usize) -> Result<String> {
    let mut bytes = vec![0; chars * 6 / 8];
    getrandom::fill(&mut bytes).map_err(|_| SessionError::NoRandomBytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A fresh id: of a new session, or another one of the session with this handle.
pub(crate) fn fresh_id(handle: Option<&str>) -> Result<String> {
    let mut id = match handle {
        Some(handle) => handle.to_owned(),
        None => random(HANDLE_CHARS)?,
    };
    id.push_str(&random(SECRET_CHARS)?);
    Ok(id)
}

/// The handle in an id.
pub(crate) fn handle_of(id: &str) -> &str {
    id.get(..HANDLE_CHARS).unwrap_or(id)
}

/// What the store keeps of the secret in an id: text.
pub(crate) fn hash_of(id: &str) -> [u8; HASH_CHARS] {
    let digest = Sha256::digest(id.get(HANDLE_CHARS..).unwrap_or_default());
    let mut text = [0; HASH_CHARS];
    URL_SAFE_NO_PAD.encode_slice(&digest[..HASH_BYTES], &mut text).expect("16 bytes are 22 characters");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ring() -> KeyRing {
        KeyRing::new([1; 32]).accept([2; 32])
    }

    #[test]
    fn only_what_a_key_of_the_ring_signed_is_an_id() {
        let id = fresh_id(None).expect("random bytes");
        let value = ring().cookie_value("sid", &id);
        assert_eq!(ring().id_of("sid", &value), Some((id.as_str(), 0)));
        assert_eq!(KeyRing::new([3; 32]).accept([1; 32]).id_of("sid", &value), Some((id.as_str(), 1)));
        assert_eq!(KeyRing::new([3; 32]).id_of("sid", &value), None);
        // A cookie of another name is another cookie.
        assert_eq!(ring().id_of("other", &value), None);
        for at in 0..value.len() {
            let mut bytes = value.clone().into_bytes();
            bytes[at] ^= 1;
            let flipped = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(ring().id_of("sid", &flipped), None, "{at}");
        }
        for bad in ["", ".", &id, &format!("{id}."), &format!(".{id}")] {
            assert_eq!(ring().id_of("sid", bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_good_for_its_login_alone() {
        let token = ring().token("handle", 7).expect("random bytes");
        assert_ne!(token, ring().token("handle", 7).expect("random bytes"));
        assert!(ring().is_token(&token, "handle", 7));
        assert!(!ring().is_token(&token, "handle", 8) && !ring().is_token(&token, "other", 7));
        assert!(!ring().is_token("", "handle", 7) && !ring().is_token("é", "handle", 7));
    }

    /// Statement 6.
    #[test]
    fn s06_a_million_ids_do_not_repeat() {
        let count = if std::env::var_os("LARDER_SESSION_FULL").is_some() { 1_000_000 } else { 20_000 };
        let mut secrets = HashSet::new();
        for _ in 0..count {
            let id = fresh_id(None).expect("random bytes");
            assert_eq!(id.len(), ID_CHARS);
            assert!(secrets.insert(id[HANDLE_CHARS..].to_owned()));
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", KeyRing::new("a key that nobody may see ......")), "KeyRing(1 keys)");
    }
}

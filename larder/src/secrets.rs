//! Which arguments MONITOR and the slow log must not show.
//!
//! Secrets are hidden by where they stand, before anybody knows whether the command succeeds, so a mistyped AUTH gives
//! nothing away either.

use larder_resp::Request;

/// What is shown instead.
pub(crate) const REDACTED: &[u8] = b"(redacted)";

/// Parameters whose values are secrets.
const PARAMETERS: &[&str] =
    &["requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass"];

/// The positions of secrets in a request, in ascending order.
pub(crate) fn positions(request: Request<'_>) -> Vec<usize> {
    let is = |at: usize, word: &str| {
        request.get(at).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    };
    let all = request.len();
    if is(0, "AUTH") {
        return (1..all).collect();
    }
    if is(0, "HELLO") {
        let auth = (2..all).find(|at| is(*at, "AUTH"));
        return auth.map_or(Vec::new(), |at| (at + 1..all.min(at + 3)).collect());
    }
    if is(0, "CONFIG") && is(1, "SET") {
        let names = (2..all).step_by(2).filter(|at| PARAMETERS.iter().any(|name| is(*at, name)));
        return names.map(|at| at + 1).filter(|at| *at < all).collect();
    }
    Vec::new()
}

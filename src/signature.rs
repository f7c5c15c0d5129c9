//! TitanX's signature: `Base64(HMAC-SHA256(webhook secret, exact bytes of the body))`.
//!
//! Signing and verifying live together, so that the sender's side (tests, `operator send`) cannot
//! drift from the receiver's. Pure: no I/O, no clock.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The request header that carries the signature.
pub const SIGNATURE_HEADER: &str = "X-TitanX-Signature";

/// A well-formed signature: the 32 bytes of an HMAC-SHA256, from whomever.
#[derive(Clone, Copy)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Reads the header's value: 44 characters of padded standard Base64, nothing around them.
    ///
    /// Returns `None` for anything else; such a signature can match no body.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        const ENCODED_LENGTH: usize = 44;
        if header.len() != ENCODED_LENGTH {
            return None;
        }
        BASE64_STANDARD
            .decode(header)
            .ok()?
            .try_into()
            .ok()
            .map(Self)
    }
}

/// The exact bytes of a body that TitanX signed with one of the live secrets.
///
/// Only [`Verifier::verify`] makes one, hence nothing that takes a `Verified` can be reached with
/// bytes from a stranger.
#[derive(Clone, Copy)]
pub struct Verified<'a>(&'a [u8]);

impl<'a> Verified<'a> {
    /// The signed bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// The live webhook secrets, ready to verify with.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<Hmac<Sha256>>,
}

impl Verifier {
    /// Takes the secrets as TitanX gave them: the whole string is the key, prefix and all.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let keys = secrets.into_iter().map(keyed).collect();
        Self { keys }
    }

    /// Verifies `body` against every secret, in a time that depends on neither signature nor
    /// secrets: each comparison is constant-time and a match does not end the search.
    #[must_use]
    pub fn verify<'a>(&self, body: &'a [u8], signature: &Signature) -> Option<Verified<'a>> {
        let mut matched = false;
        for key in &self.keys {
            let mac = key.clone().chain_update(body);
            matched |= mac.verify_slice(&signature.0).is_ok();
        }
        matched.then_some(Verified(body))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Verifier({} secrets)", self.keys.len())
    }
}

/// The signature header's value for `body`, as TitanX computes it with `secret`.
#[must_use]
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mac = keyed(secret).chain_update(body).finalize();
    BASE64_STANDARD.encode(mac.into_bytes())
}

fn keyed(secret: &str) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length")
}

//! TitanX's signature: `Base64(HMAC-SHA256(webhook secret, exact bytes of the body))`.
//!
//! Signing and verifying live together, so that the sender's side (tests, `operator send`) cannot
//! drift from the receiver's. No I/O, no clock.
//!
//! ```
//! use titanx_receiver::signature::{Signature, Verifier, sign};
//!
//! let header = sign("wh_sk_example", b"{}");
//! let signature = Signature::parse(&header).expect("44 characters of Base64");
//!
//! let verifier = Verifier::new(["wh_sk_retired", "wh_sk_example"]);
//! assert!(verifier.verify(b"{}", &signature).is_some());
//! assert!(verifier.verify(b"{ }", &signature).is_none());
//! ```

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The request header that carries the signature.
pub const SIGNATURE_HEADER: &str = "X-TitanX-Signature";

/// A well-formed signature: 32 bytes that claim to be the HMAC-SHA256 of a body.
#[derive(Clone, Copy)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Parses the header's value: exactly 44 characters of padded standard Base64. `None` for anything
    /// else, which can be the signature of no body.
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

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Signature([REDACTED])")
    }
}

/// The exact bytes of a body that TitanX signed with one of the live secrets.
///
/// Only [`Verifier::verify`] constructs one, so code that takes a `Verified` cannot be given bytes
/// from a stranger.
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
    /// The verifier for these secrets. The whole string is the key, its prefix included.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let secrets = secrets.into_iter().map(str::as_bytes);
        let keys = secrets.map(keyed).collect();
        Self { keys }
    }

    /// Verifies `body` against every secret. The time that this takes depends on neither signature nor
    /// secrets: each comparison is constant-time, and a match does not end the loop.
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
    sign_with_key(secret.as_bytes(), body)
}

/// As [`sign`], with any key: to find out how TitanX derives the key from a secret.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the sender's side compares nothing"
)]
pub fn sign_with_key(key: &[u8], body: &[u8]) -> String {
    let mac = keyed(key).chain_update(body).finalize();
    BASE64_STANDARD.encode(mac.into_bytes())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    // The vector of TitanX's contract, computed elsewhere.
    const SECRET: &str = "wh_sk_TESTONLYsyntheticSecret0000000000000000000000000";
    const BODY: &[u8] = br#"{"payload":{"jobId":"11111111-2222-4333-8444-555555555555","jobType":"scoring","jobName":"Synthetic batch","jobStatus":"Finalized","modifiedAt":"2026-01-05T12:00:00Z"},"eventType":"job.completed","timestamp":1767614400000,"apiVersion":"v2","id":"99999999-8888-4777-8666-555555555555"}"#;
    const SIGNATURE: &str = "YzzZKFd/hCf0djG3sdsaru2wIUTSgPQx4QB2M7OwMMI=";

    fn verifies(secrets: &[&str], body: &[u8], header: &str) -> bool {
        let verifier = Verifier::new(secrets.iter().copied());
        Signature::parse(header).is_some_and(|it| verifier.verify(body, &it).is_some())
    }

    #[test]
    fn the_published_vector_is_reproduced_and_verified() {
        assert_eq!(sign(SECRET, BODY), SIGNATURE);
        assert!(verifies(&[SECRET], BODY, SIGNATURE));
    }

    #[test]
    fn any_of_several_secrets_will_do_wherever_it_stands() {
        assert!(verifies(&[SECRET, "other"], BODY, SIGNATURE));
        assert!(verifies(&["other", SECRET], BODY, SIGNATURE));
        assert!(verifies(&[SECRET, SECRET], BODY, SIGNATURE));
    }

    /// As long as the search takes as many hashes wherever the right secret stands, its place cannot
    /// be told from the time. One hash instead of eight shows in the thread's own CPU time, on which
    /// a busy machine has no influence.
    #[test]
    fn a_match_does_not_end_the_search() {
        let body = vec![b'x'; 1 << 20];
        let signature = Signature::parse(&sign(SECRET, &body)).unwrap();
        let least_cpu = |place| {
            let mut secrets = ["other"; 8];
            secrets[place] = SECRET;
            let verifier = Verifier::new(secrets);
            let took = (0..5).map(|_| {
                let began_ns = cpu_time_ns();
                assert!(verifier.verify(&body, &signature).is_some());
                cpu_time_ns() - began_ns
            });
            took.min().unwrap()
        };
        let (first, last) = (least_cpu(0), least_cpu(7));
        assert!(first > last / 3, "{first} ns, not {last} ns");
    }

    fn cpu_time_ns() -> i64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    #[test]
    fn no_secret_verifies_nothing() {
        assert!(!verifies(&[], BODY, SIGNATURE));
        assert!(!verifies(&["other"], BODY, SIGNATURE));
    }

    #[test]
    fn the_prefix_is_part_of_the_key() {
        let stripped = SECRET.strip_prefix("wh_sk_").unwrap();
        assert!(!verifies(&[stripped], BODY, SIGNATURE));
    }

    #[test]
    fn every_flipped_bit_of_body_or_signature_is_refused() {
        for bit in 0..BODY.len() * 8 {
            let mut body = BODY.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert!(!verifies(&[SECRET], &body, SIGNATURE), "body bit {bit}");
        }
        let bytes = BASE64_STANDARD.decode(SIGNATURE).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let header = BASE64_STANDARD.encode(&bytes);
            assert!(!verifies(&[SECRET], BODY, &header), "signature bit {bit}");
        }
    }

    #[test]
    fn a_header_that_is_not_exactly_one_standard_base64_value_is_none() {
        let hex = "633cd9285777842 7f47631b7b1db1aaeedb02154d280f431e1007633b3b030c2";
        let url_safe = SIGNATURE.replace('/', "_");
        let twice = format!("{SIGNATURE},{SIGNATURE}");
        let around = [
            format!(" {SIGNATURE}"),
            format!("{SIGNATURE} "),
            format!("{SIGNATURE}\n"),
            format!("sha256={SIGNATURE}"),
            format!("v1,{SIGNATURE}"),
        ];
        // The last character before the padding carries two bits that have to be zero.
        let not_canonical = SIGNATURE.replace("I=", "J=");
        let others = [
            "",
            "=",
            &SIGNATURE[..43],
            &SIGNATURE[1..],
            hex,
            &url_safe,
            &twice,
            &not_canonical,
            "é====================",
            "\u{FFFE}",
        ];
        let all = others.into_iter().chain(around.iter().map(String::as_str));
        for header in all {
            assert!(Signature::parse(header).is_none(), "{header:?}");
        }
        assert!(Signature::parse(SIGNATURE).is_some());
    }

    #[test]
    fn the_keys_are_not_printed() {
        let printed = format!("{:?}", Verifier::new([SECRET]));
        assert_eq!(printed, "Verifier(1 secrets)");
    }
}

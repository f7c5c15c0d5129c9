//! TitanX's signature: `Base64(HMAC-SHA256(key, exact bytes of the body))`. How the key is derived from
//! the webhook secret is not documented, so a [`Verifier`] tries each [`KeyForm`].
//!
//! Signing and verifying live together, so that the sender's side (tests, `operator send`) cannot
//! drift from the receiver's. No I/O, no clock.
//!
//! ```
//! use titanx_receiver::signature::{KeyForm, Signature, Verifier, sign};
//!
//! let header = sign("wh_sk_example", b"{}");
//! let signature = Signature::parse(&header).expect("44 characters of Base64");
//!
//! let verifier = Verifier::new(["wh_sk_retired", "wh_sk_example"], &KeyForm::ALL);
//! assert!(verifier.verify(b"{}", &signature, KeyForm::Whole).is_some());
//! assert!(verifier.verify(b"{ }", &signature, KeyForm::Whole).is_none());
//! ```

use std::{borrow::Cow, fmt, str::FromStr};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
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

/// Only the length, since the body is personal data.
impl fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Verified({} bytes)", self.0.len())
    }
}

impl<'a> Verified<'a> {
    /// The signed bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// How the key of the HMAC is derived from a webhook secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// The whole secret, its prefix included.
    Whole,
    /// The secret without its prefix `whsec_` or `wh_sk_`.
    WithoutPrefix,
    /// The secret without its prefix, decoded as Base64: at least 16 bytes.
    Decoded,
}

impl KeyForm {
    /// Every form, the likeliest first.
    pub const ALL: [Self; 3] = [Self::Whole, Self::WithoutPrefix, Self::Decoded];

    /// Its name in the configuration and in log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::WithoutPrefix => "without-prefix",
            Self::Decoded => "decoded",
        }
    }

    /// The key in this form; `None` when `secret` has no such form, or one that anybody could guess.
    #[must_use]
    pub fn key(self, secret: &str) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Whole => Some(secret.as_bytes().into()),
            Self::WithoutPrefix => {
                let rest = without_prefix(secret);
                (rest.len() < secret.len() && !rest.is_empty()).then(|| rest.as_bytes().into())
            }
            Self::Decoded => {
                const MIN_KEY_BYTES: usize = 16;
                let decoded = decode_base64(without_prefix(secret))?;
                (decoded.len() >= MIN_KEY_BYTES).then(|| decoded.into())
            }
        }
    }
}

/// No key form has this name.
#[derive(Debug, thiserror::Error)]
#[error("not one of whole, without-prefix and decoded")]
pub struct UnknownKeyForm;

impl FromStr for KeyForm {
    type Err = UnknownKeyForm;

    fn from_str(name: &str) -> Result<Self, UnknownKeyForm> {
        let mut all = Self::ALL.into_iter();
        all.find(|form| form.as_str() == name).ok_or(UnknownKeyForm)
    }
}

/// `secret` without the prefix of TitanX's secrets.
#[must_use]
pub fn without_prefix(secret: &str) -> &str {
    const PREFIXES: [&str; 2] = ["whsec_", "wh_sk_"];
    let mut prefixes = PREFIXES.iter();
    prefixes
        .find_map(|prefix| secret.strip_prefix(prefix))
        .unwrap_or(secret)
}

/// Decodes either alphabet of Base64, with or without padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let decode = |alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok();
    decode(&STANDARD).or_else(|| decode(&URL_SAFE))
}

/// The live webhook secrets, ready to verify with.
#[derive(Clone)]
pub struct Verifier {
    /// The keys of every secret in each form, in the order of [`KeyForm::ALL`].
    keys: [Vec<Hmac<Sha256>>; KeyForm::ALL.len()],
}

impl Verifier {
    /// The verifier for these secrets, whose keys have one of `forms`.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>, forms: &[KeyForm]) -> Self {
        let mut keys = <[Vec<_>; KeyForm::ALL.len()]>::default();
        for secret in secrets {
            for form in forms {
                let key = form.key(secret).as_deref().map(keyed);
                keys[*form as usize].extend(key);
            }
        }
        Self { keys }
    }

    /// Verifies `body` against the keys of every secret, those of the form `first` before the others.
    /// Returns the form that matched, too.
    ///
    /// The time that this takes tells nothing of signature or secrets but the form: each comparison is
    /// constant-time, and a match does not end the loop over the secrets.
    #[must_use]
    pub fn verify<'a>(
        &self,
        body: &'a [u8],
        signature: &Signature,
        first: KeyForm,
    ) -> Option<(Verified<'a>, KeyForm)> {
        let others = KeyForm::ALL.into_iter().filter(|form| *form != first);
        std::iter::once(first)
            .chain(others)
            .find(|form| self.matches(body, signature, *form))
            .map(|form| (Verified(body), form))
    }

    fn matches(&self, body: &[u8], signature: &Signature, form: KeyForm) -> bool {
        let mut matched = false;
        for key in &self.keys[form as usize] {
            let mac = key.clone().chain_update(body);
            matched |= mac.verify_slice(&signature.0).is_ok();
        }
        matched
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Verifier([REDACTED])")
    }
}

/// The signature header's value for `body`, with the whole of `secret` as the key.
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
        let verifier = Verifier::new(secrets.iter().copied(), &KeyForm::ALL);
        Signature::parse(header)
            .is_some_and(|it| verifier.verify(body, &it, KeyForm::Whole).is_some())
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
            let verifier = Verifier::new(secrets, &KeyForm::ALL);
            let took = (0..5).map(|_| {
                let began_ns = cpu_time_ns();
                assert!(verifier.verify(&body, &signature, KeyForm::Whole).is_some());
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

    /// Keys that the three rules give, worked out by hand: printf 'whsec_' | base64 and the like.
    #[test]
    fn a_key_of_each_form_verifies_and_is_named() {
        const DECODED: &str = "sixteen bytes ok";
        for (secret, form, key) in [
            ("wh_sk_abc", KeyForm::Whole, "wh_sk_abc"),
            ("wh_sk_abc", KeyForm::WithoutPrefix, "abc"),
            ("whsec_abc", KeyForm::WithoutPrefix, "abc"),
            ("whsec_c2l4dGVlbiBieXRlcyBvaw==", KeyForm::Decoded, DECODED),
            ("wh_sk_c2l4dGVlbiBieXRlcyBvaw", KeyForm::Decoded, DECODED),
            ("c2l4dGVlbiBieXRlcyBvaw==", KeyForm::Decoded, DECODED),
        ] {
            let signature = Signature::parse(&sign(key, BODY)).unwrap();
            let verified = |forms: &[KeyForm], first| {
                let verifier = Verifier::new(["other", secret], forms);
                verifier.verify(BODY, &signature, first).map(|it| it.1)
            };
            for first in KeyForm::ALL {
                assert_eq!(verified(&KeyForm::ALL, first), Some(form), "{secret}");
                assert_eq!(verified(&[form], first), Some(form), "{secret}");
            }
            let others = KeyForm::ALL.into_iter().filter(|it| *it != form);
            let others: Vec<_> = others.collect();
            assert_eq!(verified(&others, form), None, "{secret}");
        }
    }

    #[test]
    fn no_key_is_derived_that_anybody_could_guess() {
        for (secret, form) in [
            ("wh_sk_", KeyForm::WithoutPrefix),
            ("abc", KeyForm::WithoutPrefix),
            ("whsec_", KeyForm::Decoded),
            // 15 bytes.
            ("whsec_Zmlmcyw0ZWVuIGJ5dGVz", KeyForm::Decoded),
            ("whsec_not*Base64*at*all*not*Base64", KeyForm::Decoded),
        ] {
            assert_eq!(form.key(secret), None, "{secret} {form:?}");
        }
    }

    #[test]
    fn a_form_is_known_by_its_name() {
        for form in KeyForm::ALL {
            assert_eq!(form.as_str().parse::<KeyForm>().unwrap(), form);
        }
        assert!("any".parse::<KeyForm>().is_err());
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
    fn neither_keys_nor_signatures_nor_bodies_are_printed() {
        let verifier = Verifier::new([SECRET], &KeyForm::ALL);
        assert_eq!(format!("{verifier:?}"), "Verifier([REDACTED])");
        let signature = Signature::parse(SIGNATURE);
        assert_eq!(format!("{signature:?}"), "Some(Signature([REDACTED]))");
        assert_eq!(format!("{:?}", Verified(b"body")), "Verified(4 bytes)");
    }
}

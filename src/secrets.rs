//! The live webhook secrets.
//!
//! A 401 is final for TitanX: the event is lost. So one leaves only when the secrets were read after
//! the request came and none of them fits. Until then a signature that does not fit is a doubt: the
//! secret may have been stored a moment ago.
//!
//! Anybody can send such a signature, so reads are rationed. While none is left, the doubt remains,
//! and the answer asks TitanX to retry.

use std::{
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueInput,
};
use aws_smithy_types::error::operation::BuildError;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use tokio::sync::Mutex;

use crate::{
    aws::{CallError, SecretsManager},
    budget::now_ms,
    gateway::Request,
    signature::{KeyForm, Signature, Verified, Verifier, without_prefix},
};

/// Reads that strangers can cause at once.
const BURST: i64 = 5;
/// How long it takes until one more read is allowed.
pub const READ_INTERVAL: Duration = Duration::from_secs(30);
const READ_INTERVAL_MS: i64 = 30_000;
/// How long secrets are used after they were read, in milliseconds. A secret that was removed stops
/// being accepted by then.
pub const MAX_AGE_MS: i64 = 60 * 60 * 1_000;

/// The live secrets, wherever they are kept.
#[derive(Debug)]
pub struct Secrets {
    live: RwLock<Option<Arc<Live>>>,
    /// The forms that a key may have.
    forms: Vec<KeyForm>,
    /// The form of the first key that matched, which is tried first.
    learned: OnceLock<KeyForm>,
    /// `None` when the secrets are part of the configuration.
    store: Option<Store>,
}

#[derive(Debug)]
struct Live {
    verifier: Verifier,
    /// The number of the read that returned them.
    read: u64,
    /// When that read began, in Unix milliseconds.
    read_at_ms: i64,
}

#[derive(Debug)]
struct Store {
    secrets_manager: SecretsManager,
    arn: String,
    /// How many reads have begun.
    reads: AtomicU64,
    /// Held during a read that a request caused, so that others wait for its result.
    ration: Mutex<Ration>,
}

/// The result of verifying a request.
#[derive(Debug)]
#[must_use]
pub enum Verification<'a> {
    /// A live secret made the signature.
    Verified {
        /// The body.
        body: Verified<'a>,
        /// The form of the key, when this is the first match of the process.
        learned: Option<KeyForm>,
        /// Whether the secrets were read for this request.
        read: bool,
    },
    /// For certain no live secret made the signature, or there is none.
    Invalid {
        /// Whether the secrets were read for this request.
        read: bool,
    },
    /// No secret that is known made the signature, and none may be read now.
    Undecided {
        /// When one may be read again, in Unix milliseconds.
        retry_at_ms: i64,
    },
}

impl Secrets {
    /// The secrets given by the configuration. They stay the same as long as the process lives.
    #[must_use]
    pub fn fixed(secrets: &[String], forms: Vec<KeyForm>) -> Self {
        let live = Live {
            verifier: Verifier::new(secrets.iter().map(String::as_str), &forms),
            read: 0,
            read_at_ms: 0,
        };
        Self {
            live: RwLock::new(Some(Arc::new(live))),
            forms,
            learned: OnceLock::new(),
            store: None,
        }
    }

    /// The secrets kept in Secrets Manager under `arn`. Nothing is read yet.
    #[must_use]
    pub fn stored(secrets_manager: SecretsManager, arn: String, forms: Vec<KeyForm>) -> Self {
        Self {
            live: RwLock::new(None),
            forms,
            learned: OnceLock::new(),
            store: Some(Store {
                secrets_manager,
                arn,
                reads: AtomicU64::new(0),
                ration: Mutex::default(),
            }),
        }
    }

    /// Reads the secrets if they are stored. No request causes this read, so it is not rationed.
    ///
    /// # Errors
    ///
    /// When they cannot be read. The next request will cause another read.
    pub async fn load(&self) -> Result<(), SecretsError> {
        if let Some(store) = &self.store {
            self.read(store, now_ms()).await?;
        }
        Ok(())
    }

    /// Forgets stored secrets that were read. The next request will cause another read.
    pub fn forget(&self) {
        if self.store.is_some() {
            self.set_live(None);
        }
    }

    /// Verifies a request that came at `now_ms` (Unix milliseconds) against every live secret. Reads the
    /// secrets when those that are known do not fit or are too old.
    ///
    /// # Errors
    ///
    /// [`SecretsError`] when they had to be read and could not be.
    pub async fn verify<'a>(
        &self,
        request: &'a Request,
        now_ms: i64,
    ) -> Result<Verification<'a>, SecretsError> {
        let (Some(body), Some(signature)) = (&request.body, &request.signature) else {
            return Ok(Verification::Invalid { read: false });
        };
        let Some(store) = &self.store else {
            let verified = self
                .live()
                .and_then(|it| self.matches(&it, body, signature, false));
            return Ok(verified.unwrap_or(Verification::Invalid { read: false }));
        };
        let reads_before = store.reads.load(Ordering::Relaxed);
        let fresh = self.live().filter(|it| it.is_fresh(now_ms));
        let checked = fresh.as_ref().map(|it| it.read);
        let verified = fresh.and_then(|it| self.matches(&it, body, signature, false));
        if let Some(verified) = verified {
            return Ok(verified);
        }
        // One read at a time. Its result may settle what others wait for.
        let mut ration = store.ration.lock().await;
        let latest = self.live().filter(|it| it.is_fresh(now_ms));
        if let Some(live) = latest.as_ref().filter(|it| Some(it.read) != checked) {
            let verified = self.matches(live, body, signature, false);
            if verified.is_some() || live.read > reads_before {
                return Ok(verified.unwrap_or(Verification::Invalid { read: false }));
            }
        }
        // Taken before the read, so that one that hangs until its request gives up counts too.
        match ration.take(now_ms) {
            Ok(()) => {
                let live = self.read(store, now_ms).await?;
                let verified = self.matches(&live, body, signature, true);
                Ok(verified.unwrap_or(Verification::Invalid { read: true }))
            }
            Err(UsedUp { retry_at_ms }) if latest.is_some() => {
                Ok(Verification::Undecided { retry_at_ms })
            }
            Err(UsedUp { .. }) => Err(SecretsError::UsedUp),
        }
    }

    fn matches<'a>(
        &self,
        live: &Live,
        body: &'a [u8],
        signature: &Signature,
        read: bool,
    ) -> Option<Verification<'a>> {
        let known = self.learned.get().copied();
        let first = known.unwrap_or(KeyForm::Whole);
        let (body, form) = live.verifier.verify(body, signature, first)?;
        // Of several that learn it at once, one tells.
        let learned = known.is_none() && self.learned.set(form).is_ok();
        Some(Verification::Verified {
            body,
            learned: learned.then_some(form),
            read,
        })
    }

    fn live(&self) -> Option<Arc<Live>> {
        let live = self.live.read();
        live.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_live(&self, live: Option<Arc<Live>>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    async fn read(&self, store: &Store, now_ms: i64) -> Result<Arc<Live>, SecretsError> {
        let read = 1 + store.reads.fetch_add(1, Ordering::Relaxed);
        let get = GetSecretValueInput::builder()
            .secret_id(&store.arn)
            .build()?;
        let value = store.secrets_manager.get_secret_value.call(get).await?;
        let secrets = parse_stored(value.secret_string().unwrap_or_default())?;
        let live = Arc::new(Live {
            verifier: Verifier::new(secrets.iter().map(String::as_str), &self.forms),
            read,
            read_at_ms: now_ms,
        });
        self.set_live(Some(Arc::clone(&live)));
        Ok(live)
    }
}

impl Live {
    /// Whether the secrets are young enough to be used. A wall clock can be set back, by which they
    /// seem to come from the future.
    fn is_fresh(&self, now_ms: i64) -> bool {
        const CLOCK_STEP_MS: i64 = 60_000;
        (-CLOCK_STEP_MS..MAX_AGE_MS).contains(&now_ms.saturating_sub(self.read_at_ms))
    }
}

/// How many reads are left: [`BURST`], and one more after each [`READ_INTERVAL_MS`].
#[derive(Debug, Default)]
struct Ration {
    /// When the ration is whole again, in Unix milliseconds.
    whole_at_ms: i64,
}

/// No read is left.
#[derive(Debug, PartialEq, Eq)]
struct UsedUp {
    /// When one is, in Unix milliseconds.
    retry_at_ms: i64,
}

impl Ration {
    fn take(&mut self, now_ms: i64) -> Result<(), UsedUp> {
        const WHOLE_MS: i64 = BURST * READ_INTERVAL_MS;
        // After a step back of the clock the ration would be whole only in a far future.
        let latest_ms = now_ms.saturating_add(WHOLE_MS);
        let whole_at_ms = self.whole_at_ms.clamp(now_ms, latest_ms);
        let after_ms = whole_at_ms.saturating_add(READ_INTERVAL_MS);
        if after_ms > latest_ms {
            let retry_at_ms = now_ms.saturating_add(after_ms.saturating_sub(latest_ms));
            return Err(UsedUp { retry_at_ms });
        }
        self.whole_at_ms = after_ms;
        Ok(())
    }
}

/// Why the secrets could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Secrets Manager refused, failed or did not answer.
    #[error(transparent)]
    Get(#[from] CallError<GetSecretValueError>),
    /// The SDK does not take the request.
    #[error(transparent)]
    Request(#[from] BuildError),
    /// The stored value holds no secret that can be used.
    #[error(transparent)]
    Unusable(#[from] UnusableSecret),
    /// No secret is known, and none may be read again yet.
    #[error("no webhook secret is known, and the reads of Secrets Manager are used up for now")]
    UsedUp,
}

/// Why a value is no secret that can be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnusableSecret {
    /// There is none, or an empty one among others.
    #[error("a webhook secret is empty")]
    Empty,
    /// It begins as JSON does, and is none of the forms in which secrets are stored.
    #[error(
        "the value begins with '{{', '[' or '\"', but is none of: a secret, a JSON array of secrets, \
         a JSON object whose only member is a secret"
    )]
    UnknownForm,
}

/// The secrets in an environment variable, one in each line.
///
/// # Errors
///
/// [`UnusableSecret`] when there is none, or a line is none.
pub fn parse_lines(value: &str) -> Result<Vec<String>, UnusableSecret> {
    let lines = value.lines().filter(|line| !trimmed(line).is_empty());
    let secrets: Vec<_> = lines.map(secret).collect::<Result<_, _>>()?;
    if secrets.is_empty() {
        return Err(UnusableSecret::Empty);
    }
    if value.ends_with('\n') {
        warn_trimmed();
    }
    Ok(secrets)
}

/// The secrets in a stored value: one secret, a JSON array of secrets, or a JSON object with exactly
/// one member, as the console stores a key and its value.
///
/// # Errors
///
/// [`UnusableSecret`] when it is none of these.
pub fn parse_stored(value: &str) -> Result<Vec<String>, UnusableSecret> {
    let json = trimmed(value);
    let unknown_form = |_| UnusableSecret::UnknownForm;
    let secrets = if json.starts_with('[') {
        serde_json::from_str(json).map_err(unknown_form)?
    } else if json.starts_with('{') {
        let OnlyMember(secret) = serde_json::from_str(json).map_err(unknown_form)?;
        vec![secret]
    } else {
        vec![value.to_owned()]
    };
    if secrets.is_empty() {
        return Err(UnusableSecret::Empty);
    }
    secrets.iter().map(|it| secret(it)).collect()
}

/// The value of the only member of a JSON object.
struct OnlyMember(String);

impl<'de> Deserialize<'de> for OnlyMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = OnlyMember;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object with exactly one member, a string")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OnlyMember, A::Error> {
                let first = map.next_entry::<String, String>()?;
                let (_, secret) = first.ok_or_else(|| A::Error::custom("no member"))?;
                if map.next_key::<String>()?.is_some() {
                    return Err(A::Error::custom("several members"));
                }
                Ok(OnlyMember(secret))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// A secret without what consoles, shells and editors put around it. No signature would ever match
/// with that.
fn secret(value: &str) -> Result<String, UnusableSecret> {
    let secret = unquoted(trimmed(value))?;
    if without_prefix(&secret).is_empty() {
        return Err(UnusableSecret::Empty);
    }
    if secret.starts_with(['{', '[', '"']) {
        return Err(UnusableSecret::UnknownForm);
    }
    if secret != value {
        warn_trimmed();
    }
    Ok(secret)
}

/// The text in a pair of quotes, trimmed; another text as it is.
fn unquoted(text: &str) -> Result<String, UnusableSecret> {
    const PAIRS: [(char, char); 3] = [
        ('\'', '\''),
        ('\u{2018}', '\u{2019}'),
        ('\u{201C}', '\u{201D}'),
    ];
    if text.starts_with('"') {
        let text: String = serde_json::from_str(text).map_err(|_| UnusableSecret::UnknownForm)?;
        return Ok(trimmed(&text).to_owned());
    }
    let mut pairs = PAIRS.into_iter();
    let inner = pairs.find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close));
    Ok(inner.map_or(text, trimmed).to_owned())
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|character: char| {
        character.is_whitespace()
            || character.is_control()
            // Zero-width characters, and the byte order mark.
            || matches!(character, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}')
    })
}

fn warn_trimmed() {
    tracing::warn!(
        "blanks, newlines, quotes or invisible characters around a webhook secret were ignored"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_holds_one_secret_a_line() {
        assert_eq!(parse_lines("wh_sk_a").unwrap(), ["wh_sk_a"]);
        assert_eq!(parse_lines("a\nb\r\n\n c \n").unwrap(), ["a", "b", "c"]);
        for empty in ["", " ", "\n", " \r\n\t", "\u{FEFF}", "wh_sk_", "a\nwhsec_"] {
            assert_eq!(parse_lines(empty), Err(UnusableSecret::Empty), "{empty:?}");
        }
        assert_eq!(parse_lines("a\n{}"), Err(UnusableSecret::UnknownForm));
    }

    #[test]
    fn a_stored_value_is_one_secret_an_array_or_an_object_of_one_member() {
        assert_eq!(parse_stored("whsec_a+/=").unwrap(), ["whsec_a+/="]);
        assert_eq!(parse_stored(r#" ["a", "b\n"]"#).unwrap(), ["a", "b"]);
        let console = r#"{"TITANX_WEBHOOK_SECRET": "wh_sk_a"}"#;
        assert_eq!(parse_stored(console).unwrap(), ["wh_sk_a"]);
    }

    #[test]
    fn what_consoles_shells_and_editors_put_around_a_secret_is_ignored() {
        for value in [
            " wh_sk_a\r\n",
            "\u{FEFF}wh_sk_a",
            "wh_sk_a\u{200B}",
            "\u{2060}\u{200D}wh_sk_a\0",
            r#""wh_sk_a""#,
            r#" "wh_sk_a\n" "#,
            "'wh_sk_a'",
            "\u{201C}wh_sk_a\u{201D}",
            "\u{FEFF}[\"wh_sk_a\"]",
            "\u{FEFF}{\"secret\": \" 'wh_sk_a'\"}",
            r#"["\"wh_sk_a\""]"#,
        ] {
            assert_eq!(parse_stored(value).unwrap(), ["wh_sk_a"], "{value:?}");
        }
        // Not a pair, so it may be part of the secret.
        assert_eq!(parse_stored("'wh_sk_a").unwrap(), ["'wh_sk_a"]);
    }

    #[test]
    fn a_stored_value_without_a_secret_is_refused() {
        for empty in [
            "",
            " \n",
            "[]",
            r#"["a", ""]"#,
            r#"[" "]"#,
            r#"{"a": ""}"#,
            r#""""#,
        ] {
            assert_eq!(parse_stored(empty), Err(UnusableSecret::Empty), "{empty:?}");
        }
        for unknown in [
            "[",
            r#"["a""#,
            "[1]",
            r#"["a"] x"#,
            "[[]]",
            r#"["[\"a\"]"]"#,
            "{",
            "{}",
            r#"{"a": 1}"#,
            r#"{"a": "b", "c": "d"}"#,
            r#"{"a": "b", "a": "c"}"#,
            r#"{"a": "b", "c": 1}"#,
            r#"{"a": "{}"}"#,
            r#"{"a": ["b"]}"#,
            "\"wh_sk_a",
            r#""wh_sk_a" x"#,
            r#""[\"a\"]""#,
        ] {
            assert_eq!(
                parse_stored(unknown),
                Err(UnusableSecret::UnknownForm),
                "{unknown:?}"
            );
        }
    }

    #[test]
    fn five_reads_are_left_at_first_and_one_more_after_thirty_seconds() {
        let began_ms = 1_767_614_400_000;
        let mut ration = Ration::default();
        for _ in 0..5 {
            assert_eq!(ration.take(began_ms), Ok(()));
        }
        let retry_at_ms = began_ms + 30_000;
        assert_eq!(ration.take(began_ms), Err(UsedUp { retry_at_ms }));
        assert_eq!(ration.take(began_ms + 29_999), Err(UsedUp { retry_at_ms }));
        assert_eq!(ration.take(retry_at_ms), Ok(()));
        let retry_at_ms = retry_at_ms + 30_000;
        assert_eq!(ration.take(began_ms + 30_001), Err(UsedUp { retry_at_ms }));
        // Long after, no more than five have gathered.
        let later_ms = began_ms + 86_400_000;
        let taken = (0..10).filter(|_| ration.take(later_ms).is_ok()).count();
        assert_eq!(taken, 5);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_read_away_for_long() {
        let mut ration = Ration::default();
        for _ in 0..5 {
            ration.take(86_400_000_000).unwrap();
        }
        let UsedUp { retry_at_ms } = ration.take(1_000).unwrap_err();
        assert!(retry_at_ms <= 31_000, "{retry_at_ms}");
    }
}

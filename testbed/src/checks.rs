//! Properties that hold for every input, one check for each part that parses untrusted bytes. The
//! property tests, the corpus and the fuzz targets in `fuzz/` call these checks.
//!
//! The expectations are computed here independently, with a `serde_json::Value` or by hand.

use std::{fmt, str};

use futures_util::FutureExt;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use titanx_receiver::{
    answer::answer,
    error::Error,
    event::{DeliveryId, Event, Kind, NotUnderstood, Reason},
    gateway::Request,
    queue::{Message, Source},
    secrets::{Secrets, UnusableSecret, Verification, parse_lines, parse_stored},
    signature::{KeyForm, Signature, Verified, Verifier, sign},
};

/// The synthetic secret of these checks.
const SECRET: &str = "wh_sk_TESTONLYsyntheticSecret0000000000000000000000000";

/// The oldest event that is not stale, in Unix milliseconds.
pub const OLDEST_MS: i64 = 1_767_614_400_000;

/// Checks the verification of signatures. The input is a secret, a header and a body, separated by
/// newlines.
pub fn signature(input: &[u8]) {
    let mut parts = input.splitn(3, |&byte| byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (secret, header, body) = (part(), part(), part());
    let secret = String::from_utf8_lossy(secret);
    let header = String::from_utf8_lossy(header);

    let signed = sign(&secret, body);
    let mac = hmac_sha256(secret.as_bytes(), body);
    assert_eq!(signed, base64(&mac), "TitanX's formula");

    let other = format!("{secret}.");
    for secrets in [
        &[&*secret][..],
        &[&other, &*secret],
        &[&*secret, &other],
        &[&other],
        &[],
    ] {
        let secret_keys = Verifier::new(secrets.iter().copied(), &KeyForm::ALL);
        let accepts = |body, header| {
            let signature = Signature::parse(header)?;
            let verified = secret_keys.verify(body, &signature, KeyForm::Whole)?;
            Some(verified.0.bytes())
        };
        let ours = secrets.contains(&&*secret);
        let as_signed = ours.then_some(body);
        assert_eq!(accepts(body, &signed), as_signed);
        let only_if_equal = as_signed.filter(|_| header == signed);
        assert_eq!(accepts(body, &header), only_if_equal, "{header:?}");
        assert_eq!(accepts(&changed(body), &signed), None);
    }
    let is_signature = is_base64_of_32_bytes(&header);
    assert_eq!(Signature::parse(&header).is_some(), is_signature);
}

/// The body with one bit changed, or with one byte if it is empty.
fn changed(body: &[u8]) -> Vec<u8> {
    let mut changed = body.to_vec();
    let sum: usize = body.iter().map(|&byte| usize::from(byte)).sum();
    match changed.len() {
        0 => changed.push(0),
        length => changed[sum % length] ^= 1 << (sum % 8),
    }
    changed
}

/// HMAC as defined in RFC 2104, computed from the hash function.
fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad| block.map(|byte: u8| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text);
    let outer = Sha256::new().chain_update(padded(0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut bits = [0, 0, 0, 0];
        bits[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(bits);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            text.push(if place > three.len() {
                '='
            } else {
                char::from(ALPHABET[sextet as usize])
            });
        }
    }
    text
}

/// 43 characters of the alphabet and the padding. The two unused bits of the last character are zero.
fn is_base64_of_32_bytes(text: &str) -> bool {
    let sextet = |character: &u8| ALPHABET.iter().position(|it| it == character);
    let Some((b'=', characters)) = text.as_bytes().split_last() else {
        return false;
    };
    let last = characters.last().and_then(sextet);
    characters.len() == 43
        && characters.iter().all(|it| sextet(it).is_some())
        && last.is_some_and(|bits| bits % 4 == 0)
}

/// Checks the parsing of a signed body.
pub fn envelope(input: &[u8]) {
    let signature = Signature::parse(&sign(SECRET, input)).expect("it was signed");
    let secret_keys = Verifier::new([SECRET], &KeyForm::ALL);
    let verified = secret_keys.verify(input, &signature, KeyForm::Whole);
    match Event::parse(verified.expect("it was signed").0, OLDEST_MS) {
        Ok(event) => understood(input, &event),
        Err(NotUnderstood { reason, id }) => {
            let id = id.as_ref();
            match expected(input) {
                Expected::Refused(expected) => {
                    let id = id.map(|id| id.as_str().to_owned());
                    assert_eq!((reason, id), expected);
                }
                Expected::Event { .. } => panic!("not understood: {reason:?}"),
                Expected::Unclear => {}
            }
            let quarantined = Message::quarantined(input, reason, id);
            assert!(quarantined.is_ok() || input.len() > 700_000);
        }
    }
}

fn understood(input: &[u8], event: &Event<'_>) {
    assert_eq!(event.body.as_bytes(), input, "the exact bytes");
    let id = event.id.as_str();
    assert!((1..=128).contains(&id.len()) && id.bytes().all(|it| it.is_ascii_graphic()));
    assert!(event.timestamp_ms >= OLDEST_MS);
    assert_eq!(event.digest().len(), 43);
    let job_id = match &event.kind {
        Kind::ContactScored(contact) => contact.job_id.as_deref(),
        Kind::JobCompleted(job) => Some(&*job.job_id),
    };
    match expected(input) {
        Expected::Event {
            id: expected_id,
            event_type,
            timestamp_ms,
            job_id: expected_job_id,
        } => {
            assert_eq!(id, expected_id);
            assert_eq!(event.event_type(), event_type);
            assert_eq!(event.timestamp_ms, timestamp_ms);
            assert_eq!(job_id, expected_job_id.as_deref());
        }
        Expected::Refused(refusal) => panic!("understood, not {refusal:?}"),
        Expected::Unclear => {}
    }
    let message = Message::contact(event, job_id, Source::Webhook);
    assert!(message.is_ok() || input.len() > 500_000);
}

/// The expected result of parsing an envelope.
#[derive(Debug)]
enum Expected {
    Event {
        id: String,
        event_type: String,
        timestamp_ms: i64,
        job_id: Option<String>,
    },
    Refused((Reason, Option<String>)),
    /// The input may be valid JSON that a `Value` cannot represent. The check is then only that nothing
    /// panics.
    Unclear,
}

fn expected(input: &[u8]) -> Expected {
    let refused = |reason| Expected::Refused((reason, None));
    let Ok(text) = str::from_utf8(input) else {
        return refused(Reason::NotJson);
    };
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) if beyond_a_value(text) => return Expected::Unclear,
        // The reason depends on which of two errors comes first.
        Err(_) => return refused_as_broken(text),
    };
    let Some(envelope) = members(text) else {
        return refused(Reason::NotEnvelope);
    };
    let id = one(&envelope, "id").and_then(|id| id.as_str().map(ToOwned::to_owned));
    let usable_id = id.clone().filter(|id| DeliveryId::new(&**id).is_some());
    let text_of = |name| one(&envelope, name).and_then(|it| it.as_str().map(ToOwned::to_owned));
    let timestamp = one(&envelope, "timestamp").and_then(|it| milliseconds(&it));
    let payload = one(&envelope, "payload");
    let (Some(payload), Some(event_type), Some(timestamp_ms), Some(version), Some(_)) = (
        payload,
        text_of("eventType"),
        timestamp,
        text_of("apiVersion"),
        id,
    ) else {
        return Expected::Refused((Reason::NotEnvelope, usable_id));
    };
    let Some(id) = usable_id else {
        return refused(Reason::UnusableId);
    };
    let refused = |reason| Expected::Refused((reason, Some(id.clone())));
    if version != "v2" {
        return refused(Reason::UnknownApiVersion);
    }
    if !payload.is_object() {
        return refused(Reason::NotEnvelope);
    }
    assert_eq!(value["payload"], payload);
    let payload = envelope.iter().find(|member| member.0 == "payload");
    let payload = members(payload.expect("there is one").1.get()).expect("an object");
    let job_id = match &*event_type {
        "job.contact.scored" => contacts_job(&payload),
        "job.completed" => completed_job(&payload).map(Some),
        _ => return refused(Reason::UnknownEventType),
    };
    match job_id {
        None => refused(Reason::NotEnvelope),
        Some(_) if timestamp_ms < OLDEST_MS => refused(Reason::Stale),
        Some(job_id) => Expected::Event {
            id,
            event_type,
            timestamp_ms,
            job_id,
        },
    }
}

/// The job id of a contact, if it has one. `None` if the payload is not a contact.
#[expect(
    clippy::option_option,
    reason = "a contact without a job id is a contact"
)]
fn contacts_job(payload: &[Member]) -> Option<Option<String>> {
    if payload.iter().filter(|it| it.0 == "jobId").count() > 1 {
        return None;
    }
    let job_id = one(payload, "jobId").and_then(|it| it.as_str().map(ToOwned::to_owned));
    Some(job_id.filter(|id| !id.is_empty()))
}

fn completed_job(payload: &[Member]) -> Option<String> {
    for optional in ["jobType", "jobName", "jobStatus", "modifiedAt"] {
        // Of any type, but only once.
        if payload.iter().filter(|it| it.0 == optional).count() > 1 {
            return None;
        }
    }
    let job_id = one(payload, "jobId")?.as_str()?.to_owned();
    (1..=2048).contains(&job_id.len()).then_some(job_id)
}

fn milliseconds(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    let beyond = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    number.as_i64().or(number.as_u64().map(beyond)).or_else(|| {
        let ms = number.as_f64()?;
        // An i64 is at least −2⁶³ and less than 2⁶³.
        let end = 2_f64.powi(63);
        Some(if ms >= end {
            i64::MAX
        } else if ms < -end {
            i64::MIN
        } else {
            format!("{:.0}", ms.trunc()).parse().expect("whole")
        })
    })
}

/// Checks a text that is not JSON: it is quarantined for that reason or for an earlier error.
fn refused_as_broken(text: &str) -> Expected {
    let signature = Signature::parse(&sign(SECRET, text.as_bytes())).expect("it was signed");
    let secret_keys = Verifier::new([SECRET], &KeyForm::ALL);
    let verified = secret_keys.verify(text.as_bytes(), &signature, KeyForm::Whole);
    let refusal = Event::parse(verified.expect("it was signed").0, OLDEST_MS).unwrap_err();
    assert!(
        matches!(refusal.reason, Reason::NotJson | Reason::NotEnvelope),
        "{refusal:?}"
    );
    assert!(refusal.id.is_none(), "an id of what is not JSON");
    Expected::Unclear
}

/// Whether a text may be valid JSON that a `Value` cannot represent: it is deeply nested, or may
/// contain an unpaired surrogate or a number out of the range of a double.
fn beyond_a_value(text: &str) -> bool {
    let opens = text.bytes().filter(|it| matches!(it, b'[' | b'{')).count();
    let bytes = text.as_bytes();
    let surrogate = bytes.windows(3).any(|it| it.eq_ignore_ascii_case(br"\ud"));
    let exponent = bytes
        .windows(2)
        .any(|it| matches!(it, [b'0'..=b'9', b'e' | b'E']));
    let digits = bytes
        .split(|it| !it.is_ascii_digit())
        .any(|digits| digits.len() > 300);
    opens > 127 || surrogate || exponent || digits
}

type Member<'a> = (String, &'a RawValue);

/// The members of an object in their order, including duplicates. `None` if it is not an object.
fn members(json: &str) -> Option<Vec<Member<'_>>> {
    serde_json::from_str(json).ok().map(|Members(it)| it)
}

/// The member with this name, if there is exactly one.
fn one(members: &[Member], name: &str) -> Option<Value> {
    let mut named = members.iter().filter(|member| member.0 == name);
    let (_, value) = named.next()?;
    (named.next().is_none()).then(|| serde_json::from_str(value.get()).expect("JSON"))
}

struct Members<'a>(Vec<Member<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Checks the parsing of a gateway's event.
pub fn gateway(input: &[u8]) {
    let json: Result<&RawValue, _> = serde_json::from_slice(input);
    let text = str::from_utf8(input).ok();
    let request = text.and_then(|text| Request::from_event(text).ok());
    // Lambda delivers nothing but JSON.
    assert_eq!(
        request.is_some(),
        json.is_ok(),
        "every JSON value is a request"
    );
    let Some(request) = request else { return };

    let secrets = Secrets::fixed(&[SECRET.to_owned()], KeyForm::ALL.to_vec());
    let verified = verified(&secrets, &request);
    if let Some(verified) = verified {
        assert_eq!(Some(verified.bytes()), request.body.as_deref());
    }

    let unavailable = answer(&Err(Error::Panicked), 0);
    let response = serde_json::to_value(request.respond(unavailable)).expect("it is JSON");
    assert_eq!(response["statusCode"], 503);
    let (one, many) = ("/headers/retry-after", "/multiValueHeaders/retry-after/0");
    let retry_after = response.pointer(one).or(response.pointer(many));
    assert_eq!(retry_after.and_then(Value::as_str), Some("5"));

    if let Ok(event) = serde_json::from_slice(input) {
        as_the_event_says(&event, &request, verified.is_some());
    }
}

/// Compares a request with the event as a `Value`. A `Value` keeps only one of duplicate members.
fn as_the_event_says(event: &Value, request: &Request, verified: bool) {
    if !event.is_object() {
        assert!(request.signature.is_none());
    }
    let mac = request
        .body
        .as_deref()
        .map(|body| base64(&hmac_sha256(SECRET.as_bytes(), body)));
    let is_mac = |value: &str| Some(value) == mac.as_deref();
    if request.signature.is_some() {
        assert!(signatures(event).next().is_some(), "a signature made up");
        assert!(verified || !signatures(event).all(is_mac), "refused");
    }
    assert!(!verified || signatures(event).any(is_mac), "not signed");
    let Some(body) = request.body.as_deref() else {
        // The body is not valid Base64, or the event has an unknown shape.
        assert!(event["isBase64Encoded"] == true || request.signature.is_none());
        return;
    };
    match event["body"].as_str() {
        Some(text) if event["isBase64Encoded"] == true => assert_eq!(base64(body), text),
        Some(text) => assert_eq!(body, text.as_bytes()),
        None => assert!(body.is_empty()),
    }
}

/// All values of the signature header, in both header maps.
fn signatures(event: &Value) -> impl Iterator<Item = &str> {
    let maps = ["headers", "multiValueHeaders"].map(|name| event[name].as_object());
    let members = maps.into_iter().flatten().flatten();
    members
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-titanx-signature"))
        .map(|(_, value)| value)
        .flat_map(|value| match value {
            Value::Array(list) => list.iter().collect(),
            one => vec![one],
        })
        .filter_map(Value::as_str)
}

/// The result of verifying a request with secrets of the environment, which needs no call to AWS.
fn verified<'a>(secrets: &Secrets, request: &'a Request) -> Option<Verified<'a>> {
    let verification = secrets.verify(request, 0).now_or_never();
    let verification = verification.expect("nothing is waited for");
    match verification.expect("the secrets are known") {
        Verification::Verified { body, .. } => Some(body),
        Verification::Invalid { .. } => None,
        Verification::Undecided { .. } => panic!("the environment leaves no doubt"),
    }
}

/// Checks the parsing of a stored secret and of the environment variable.
pub fn secrets(input: &[u8]) {
    let value = &*String::from_utf8_lossy(input);
    let lines = value.lines().filter(|it| !bare(it).is_empty());
    let lines: Result<Vec<_>, _> = lines.map(usable).collect();
    let expected = lines.and_then(|lines| match lines.len() {
        0 => Err(UnusableSecret::Empty),
        _ => Ok(lines),
    });
    assert_eq!(parse_lines(value), expected);

    let expected = match bare(value).chars().next() {
        Some('[') => match serde_json::from_str::<Vec<String>>(bare(value)) {
            Err(_) => Err(UnusableSecret::UnknownForm),
            Ok(secrets) if secrets.is_empty() => Err(UnusableSecret::Empty),
            Ok(secrets) => secrets.iter().map(|it| usable(it)).collect(),
        },
        Some('{') => match members(bare(value)).as_deref() {
            Some([only]) => match serde_json::from_str::<String>(only.1.get()) {
                Ok(secret) => usable(&secret).map(|it| vec![it]),
                Err(_) => Err(UnusableSecret::UnknownForm),
            },
            _ => Err(UnusableSecret::UnknownForm),
        },
        _ => usable(value).map(|it| vec![it]),
    };
    let stored = parse_stored(value);
    assert_eq!(stored, expected);

    for secrets in [parse_lines(value), stored].into_iter().flatten() {
        let any = vec!["any".to_owned(); secrets.len()];
        let like_any = Secrets::fixed(&any, KeyForm::ALL.to_vec());
        let ours = Secrets::fixed(&secrets, KeyForm::ALL.to_vec());
        assert_eq!(format!("{ours:?}"), format!("{like_any:?}"), "told");
        for secret in &secrets {
            let mut request = Request::default();
            request.signature = Signature::parse(&sign(secret, input));
            request.body = Some(input.to_vec());
            assert!(verified(&ours, &request).is_some());
        }
    }
}

/// The text without blanks, control characters and invisible characters at both ends.
fn bare(mut text: &str) -> &str {
    const UNSEEN: [char; 7] = [
        '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2060}', '\u{feff}',
    ];
    loop {
        let less = text
            .trim()
            .trim_matches(char::is_control)
            .trim_matches(UNSEEN);
        if less == text {
            return text;
        }
        text = less;
    }
}

/// The secret in a text, or why there is none.
fn usable(text: &str) -> Result<String, UnusableSecret> {
    let mut secret = bare(text).to_owned();
    if secret.starts_with('"') {
        let quoted: Result<String, _> = serde_json::from_str(&secret);
        let quoted = quoted.map_err(|_| UnusableSecret::UnknownForm)?;
        bare(&quoted).clone_into(&mut secret);
    } else {
        for (open, close) in [
            ("'", "'"),
            ("\u{2018}", "\u{2019}"),
            ("\u{201c}", "\u{201d}"),
        ] {
            let long = secret.len() >= open.len() + close.len();
            if long && secret.starts_with(open) && secret.ends_with(close) {
                let inner = secret[open.len()..secret.len() - close.len()].to_owned();
                bare(&inner).clone_into(&mut secret);
                break;
            }
        }
    }
    match secret.chars().next() {
        None => Err(UnusableSecret::Empty),
        Some('{' | '[' | '"') => Err(UnusableSecret::UnknownForm),
        Some(_) if ["whsec_", "wh_sk_"].contains(&&*secret) => Err(UnusableSecret::Empty),
        Some(_) => Ok(secret),
    }
}

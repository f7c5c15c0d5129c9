//! Checks the format of the stored secrets. No finding contains a secret.

use titanx_receiver::{secrets::parse_stored, signature::KeyForm};

use super::Finding;
use crate::secret_store::SecretStore;

const SUBJECT: &str = "secret";

/// Checks the stored secrets. The function accepts keys in the forms `accepted`. If these are unknown, what no form
/// allows is found all the same.
pub(super) async fn check(
    store: &SecretStore,
    accepted: anyhow::Result<Vec<KeyForm>>,
) -> anyhow::Result<Vec<Finding>> {
    let Some(value) = store.raw_value().await? else {
        return Ok(vec![Finding::problem(
            SUBJECT,
            "no secret is stored, so the receiver answers every delivery with 503",
            "run `operator subscribe`, or store the secret that TitanX showed",
        )]);
    };
    let secrets = match parse_stored(&value) {
        Ok(secrets) => secrets,
        Err(error) => {
            return Ok(vec![Finding::problem(
                SUBJECT,
                format!("{error}; the receiver answers every delivery with 503"),
                "store the secret itself, a JSON array of all live secrets, or a JSON object with \
                 one member",
            )]);
        }
    };
    let (form, written) = stored_form(&value);
    let mut findings = vec![Finding::fine(
        SUBJECT,
        format!("{}, stored as {form}", count(secrets.len())),
    )];
    findings.extend(ignored(&value, written.as_deref(), &secrets));
    let accepted = accepted.unwrap_or_else(|error| {
        findings.push(Finding::unknown(SUBJECT, &error));
        KeyForm::ALL.to_vec()
    });
    findings.extend(secrets.iter().filter_map(|it| check_key(it, &accepted)));
    if secrets.len() > 2 {
        findings.push(Finding::problem(
            SUBJECT,
            format!("{} secrets are live", secrets.len()),
            "remove the old secrets: run `operator rotate` again after its grace period",
        ));
    }
    Ok(findings)
}

fn count(secrets: usize) -> String {
    if secrets == 1 {
        "one secret is live".to_owned()
    } else {
        format!("{secrets} secrets are live")
    }
}

/// How a usable value is stored, and the secrets that its JSON holds, if it is JSON.
fn stored_form(value: &str) -> (&'static str, Option<Vec<String>>) {
    let between = |open, close| {
        let json = &value[value.find(open)?..=value.rfind(close)?];
        serde_json::from_str::<serde_json::Value>(json).ok()
    };
    let text = |it: &serde_json::Value| it.as_str().map(str::to_owned);
    if let Some(serde_json::Value::Array(items)) = between('[', ']') {
        let items = items.iter().filter_map(text).collect();
        return ("a JSON array", Some(items));
    }
    if let Some(serde_json::Value::Object(members)) = between('{', '}') {
        let items = members.values().filter_map(text).collect();
        return ("a JSON object with one member", Some(items));
    }
    ("plain text", None)
}

/// What the receiver ignores around the secrets. It accepts them, but logs a warning at each read, and
/// other readers of the secret may take it for part of the key.
fn ignored(value: &str, written: Option<&[String]>, secrets: &[String]) -> Vec<Finding> {
    let mut around: Vec<&'static str> = Vec::new();
    let mut note = |text: &str, secret: &str| {
        let outside = match text.find(secret) {
            Some(start) => format!("{}{}", &text[..start], &text[start + secret.len()..]),
            // The escapes of a JSON string.
            None => "\"".to_owned(),
        };
        for name in outside.chars().map(name_of) {
            if !around.contains(&name) {
                around.push(name);
            }
        }
    };
    match written {
        Some(written) => {
            for (text, secret) in written.iter().zip(secrets) {
                note(text, secret);
            }
            // JSON itself may have blanks and newlines around it.
            let json = |it: char| it.is_ascii_whitespace() || "[]{}".contains(it);
            let open = value.find(['[', '{']).unwrap_or(0);
            let close = value.rfind([']', '}']).unwrap_or(open);
            let outside = [&value[..open], &value[close..]].concat();
            note(&outside.replace(json, ""), "");
        }
        None => {
            for secret in secrets {
                note(value, secret);
            }
        }
    }
    if around.is_empty() {
        return Vec::new();
    }
    vec![Finding::problem(
        SUBJECT,
        format!(
            "has {} around it, which the receiver ignores",
            around.join(", ")
        ),
        "store it without anything around it; consoles, shells and editors add such characters",
    )]
}

fn name_of(character: char) -> &'static str {
    match character {
        '\n' | '\r' => "a newline",
        '"' | '\'' | '\u{2018}' | '\u{2019}' | '\u{201C}' | '\u{201D}' => "quotes",
        '\u{FEFF}' => "a byte order mark (U+FEFF)",
        '\u{200B}'..='\u{200F}' | '\u{2060}' => "zero-width characters",
        it if it.is_whitespace() => "blanks",
        _ => "control characters",
    }
}

/// Checks that a secret can be a signing key in one of the `accepted` forms.
fn check_key(secret: &str, accepted: &[KeyForm]) -> Option<Finding> {
    const PREFIXES: [&str; 2] = ["wh_sk_", "whsec_"];
    if accepted.iter().all(|form| form.key(secret).is_none()) {
        let names: Vec<_> = accepted.iter().map(|form| form.as_str()).collect();
        return Some(Finding::problem(
            SUBJECT,
            format!(
                "a stored secret has no key of the form {}, which SIGNING_KEY_FORM demands, so no \
                 signature made with it is accepted",
                names.join(", ")
            ),
            "set SIGNING_KEY_FORM of the function to any, or find the form with `operator verify-sample`",
        ));
    }
    // Not a problem: TitanX does not specify the format.
    let known = PREFIXES.iter().any(|prefix| secret.starts_with(prefix));
    (!known).then(|| {
        Finding::note(
            SUBJECT,
            "has neither known prefix (wh_sk_, whsec_)",
            "if requests are refused, check a captured one with `operator verify-sample`",
        )
    })
}

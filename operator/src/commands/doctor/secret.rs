//! Checks the format of the stored secrets. No finding contains a secret.

use titanx_receiver::{secrets::parse_stored, signature::without_prefix};

use super::Finding;
use crate::secret_store::SecretStore;

const SUBJECT: &str = "secret";

pub(super) async fn check(store: &SecretStore) -> anyhow::Result<Vec<Finding>> {
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
                error.to_string(),
                "store the secret itself, or a JSON array of all live secrets",
            )]);
        }
    };
    let mut findings = vec![Finding::fine(SUBJECT, count(secrets.len()))];
    findings.extend(check_surroundings(&value, &secrets));
    findings.extend(secrets.iter().filter_map(|secret| check_prefix(secret)));
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

/// Checks whether something stands around a secret, a sign that it was copied with it.
fn check_surroundings(value: &str, secrets: &[String]) -> Option<Finding> {
    let stored: Vec<String> = match serde_json::from_str(value) {
        Ok(serde_json::Value::Array(items)) => items.iter().map(text).collect(),
        Ok(serde_json::Value::Object(members)) => members.values().map(text).collect(),
        _ => vec![value.to_owned()],
    };
    (stored != secrets).then(|| {
        Finding::problem(
            SUBJECT,
            "has whitespace, quotes or invisible characters around it, which the receiver ignores",
            "store the secret alone; consoles, shells and editors add such characters",
        )
    })
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Not a problem in any case: TitanX does not specify the format.
fn check_prefix(secret: &str) -> Option<Finding> {
    (without_prefix(secret) == secret).then(|| Finding {
        advice: Some("if requests are refused, check a captured one with `operator verify-sample`"),
        ..Finding::fine(SUBJECT, "has neither known prefix (wh_sk_, whsec_)")
    })
}

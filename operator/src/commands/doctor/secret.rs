//! Checks the format of the stored secrets. No finding contains a secret.

use titanx_receiver::secrets::parse_stored;

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
    let stored: Vec<String> = serde_json::from_str(&value).unwrap_or_else(|_| vec![value.clone()]);
    let mut findings = vec![Finding::fine(SUBJECT, count(secrets.len()))];
    findings.extend(stored.iter().flat_map(|secret| check_format(secret)));
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

/// Checks one secret for signs that it was copied with something around it.
fn check_format(secret: &str) -> Vec<Finding> {
    const PREFIXES: [&str; 2] = ["wh_sk_", "whsec_"];
    let mut findings = Vec::new();
    let trimmed = secret.trim();
    if trimmed.len() != secret.len() {
        findings.push(Finding::problem(
            SUBJECT,
            "has whitespace around it, which the receiver trims",
            "store it without whitespace; consoles and shells may add a newline",
        ));
    }
    if trimmed.starts_with(['"', '\'']) || trimmed.starts_with('{') {
        findings.push(Finding::problem(
            SUBJECT,
            "starts with a quote or a brace, which would be part of the key",
            "store the secret alone, without quotes or JSON around it",
        ));
    }
    if !PREFIXES.iter().any(|prefix| trimmed.starts_with(prefix)) {
        // Not a problem: TitanX does not specify the format.
        findings.push(Finding {
            advice: Some(
                "if requests are refused, check a captured one with `operator verify-sample`",
            ),
            ..Finding::fine(SUBJECT, "has neither known prefix (wh_sk_, whsec_)")
        });
    }
    findings
}

//! The form of the stored secret, which is told without telling the secret.

use titanx_receiver::secrets::parse_stored;

use super::Finding;
use crate::store::Store;

const SUBJECT: &str = "secret";

pub(super) async fn form(store: &Store) -> anyhow::Result<Vec<Finding>> {
    let Some(value) = store.raw().await? else {
        return Ok(vec![Finding::problem(
            SUBJECT,
            "nothing is stored, so every delivery is answered 503",
            "run `operator subscribe`, or store the secret that TitanX gave",
        )]);
    };
    let secrets = match parse_stored(&value) {
        Ok(secrets) => secrets,
        Err(error) => {
            return Ok(vec![Finding::problem(
                SUBJECT,
                error.to_string(),
                "store the secret as it is, or a JSON array of all live ones",
            )]);
        }
    };
    let stored: Vec<String> = serde_json::from_str(&value).unwrap_or_else(|_| vec![value.clone()]);
    let mut findings = vec![Finding::fine(SUBJECT, count(secrets.len()))];
    findings.extend(stored.iter().flat_map(|secret| oddities(secret)));
    if secrets.len() > 2 {
        findings.push(Finding::problem(
            SUBJECT,
            format!("{} secrets are live", secrets.len()),
            "finish the rotation with `operator rotate` after its grace",
        ));
    }
    Ok(findings)
}

fn count(secrets: usize) -> String {
    if secrets == 1 {
        "one is live".to_owned()
    } else {
        format!("{secrets} are live")
    }
}

/// What looks as if it came along by mistake.
fn oddities(secret: &str) -> Vec<Finding> {
    const PREFIXES: [&str; 2] = ["wh_sk_", "whsec_"];
    let mut oddities = Vec::new();
    let trimmed = secret.trim();
    if trimmed.len() != secret.len() {
        oddities.push(Finding::problem(
            SUBJECT,
            "a newline or blank stands around it; the receiver trims it",
            "store it without: consoles and shells add them",
        ));
    }
    if trimmed.starts_with(['"', '\'']) || trimmed.starts_with('{') {
        oddities.push(Finding::problem(
            SUBJECT,
            "it begins with a quote or a brace, which would be part of the key",
            "store the bare secret, not JSON around it",
        ));
    }
    if !PREFIXES.iter().any(|prefix| trimmed.starts_with(prefix)) {
        // TitanX promises no form, so this is no fault.
        oddities.push(Finding {
            advice: Some("if requests are refused, try a captured one: `operator verify-sample`"),
            ..Finding::fine(
                SUBJECT,
                "has neither of the prefixes known, wh_sk_ and whsec_",
            )
        });
    }
    oddities
}

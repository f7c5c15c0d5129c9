//! `operator verify-sample`

use std::{fs, path::PathBuf};

use anyhow::Context;
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use clap::Args;
use serde::Serialize;
use titanx_receiver::signature::sign_with_key;

use crate::{
    commands::Outcome,
    deployment::Deployment,
    screen::{BAD, GOOD, NOTICE, Screen, styled},
    store::Place,
};

/// Find out which key rule a captured request was signed by
///
/// The receiver takes the whole secret as the key, as TitanX's formula says. Other senders strip a
/// prefix, or decode the rest as Base64 besides. Works offline with TITANX_WEBHOOK_SECRET or
/// --secret-file.
///
/// Exit status 0: the receiver accepts this request. 3: another rule fits, or the body was captured
/// with a newline too many. 1: no rule fits.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator verify-sample --body captured.json --signature YzzZ…MI= --secret-file webhook-secret
  TITANX_WEBHOOK_SECRET=wh_sk_… operator verify-sample --body captured.json --signature YzzZ…MI=")]
pub(crate) struct VerifySample {
    /// File with the exact bytes of the body
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// Value of the header X-TitanX-Signature
    #[arg(long, value_name = "BASE64")]
    signature: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    deployment: Deployment,
}

/// How a key is made of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    WholeSecret,
    PrefixStripped,
    PrefixStrippedBase64Decoded,
}

#[derive(Serialize)]
struct Verdict {
    rule: Option<Rule>,
    /// Which of the secrets, counted from 1.
    secret: Option<usize>,
    /// Whether the body fits only without the newline at its end.
    newline_at_end: bool,
}

impl VerifySample {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        let body = fs::read(&self.body);
        let body = body.with_context(|| format!("cannot read {}", self.body.display()))?;
        let secrets = self.place.live_secrets(&self.deployment).await?;
        let signature = self.signature.trim();
        let verdict = verdict(&secrets, &body, signature);
        screen.result(&verdict, || verdict.print())?;
        if verdict.rule.is_none() {
            anyhow::bail!(
                "no rule fits: another secret, other bytes (was the body parsed and written \
                 again?), or a signature that was cut"
            );
        }
        let accepted = verdict.rule == Some(Rule::WholeSecret) && !verdict.newline_at_end;
        Ok(Outcome::findings_if(!accepted))
    }
}

fn verdict(secrets: &[String], body: &[u8], signature: &str) -> Verdict {
    let trimmed = body.trim_ascii_end();
    let bodies = [(body, false), (trimmed, true)];
    for (body, newline_at_end) in bodies {
        for (index, secret) in secrets.iter().enumerate() {
            let mut keys = keys(secret).into_iter();
            if let Some((rule, _)) = keys.find(|(_, key)| sign_with_key(key, body) == signature) {
                return Verdict {
                    rule: Some(rule),
                    secret: Some(index + 1),
                    newline_at_end,
                };
            }
        }
    }
    Verdict {
        rule: None,
        secret: None,
        newline_at_end: false,
    }
}

/// Every key that a sender might make of a secret, TitanX's documented one first.
fn keys(secret: &str) -> Vec<(Rule, Vec<u8>)> {
    const PREFIXES: [&str; 2] = ["whsec_", "wh_sk_"];
    let mut keys = vec![(Rule::WholeSecret, secret.as_bytes().to_vec())];
    for rest in PREFIXES
        .iter()
        .filter_map(|prefix| secret.strip_prefix(prefix))
    {
        keys.push((Rule::PrefixStripped, rest.as_bytes().to_vec()));
        let decoded = [
            BASE64_STANDARD.decode(rest),
            BASE64_STANDARD_NO_PAD.decode(rest),
            BASE64_URL_SAFE_NO_PAD.decode(rest),
        ];
        let decoded = decoded.into_iter().flatten().next();
        keys.extend(decoded.map(|key| (Rule::PrefixStrippedBase64Decoded, key)));
    }
    keys
}

impl Verdict {
    fn print(&self) {
        let fits = match self.rule {
            None => styled(BAD, "no rule fits"),
            Some(Rule::WholeSecret) => styled(GOOD, "the whole secret is the key"),
            Some(Rule::PrefixStripped) => styled(
                NOTICE,
                "the secret without its prefix is the key; the receiver refuses this",
            ),
            Some(Rule::PrefixStrippedBase64Decoded) => styled(
                NOTICE,
                "the secret without its prefix, Base64-decoded, is the key; the receiver refuses \
                 this",
            ),
        };
        say!("{fits}");
        if let Some(secret) = self.secret.filter(|secret| *secret > 1) {
            say!("it is secret number {secret} of those stored");
        }
        if self.newline_at_end {
            say!("but only without the blank or newline at the end of the file");
        }
    }
}

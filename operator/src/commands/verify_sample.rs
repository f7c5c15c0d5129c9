//! `operator verify-sample`

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use titanx_receiver::signature::{KeyForm, sign_with_key};

use crate::{
    commands::CommandStatus,
    screen::{BAD, GOOD, Screen, styled},
    secret_store::SecretSource,
    stack::StackOptions,
};

/// Find out which key a captured request was signed with
///
/// The receiver uses the whole secret as the HMAC key, as TitanX documents. Other senders strip a
/// prefix from the secret, or strip it and decode the rest as Base64. This command tries all three.
/// It works offline with TITANX_WEBHOOK_SECRET or --secret-file.
///
/// Exit status 0: the receiver accepts this request. 3: another key matches, or the captured body
/// has an extra newline at its end. 1: no key matches.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator verify-sample --body captured.json --signature YzzZ…MI= --secret-file webhook-secret
  TITANX_WEBHOOK_SECRET=wh_sk_… operator verify-sample --body captured.json --signature YzzZ…MI=")]
pub(crate) struct VerifySample {
    /// File that contains the exact bytes of the request body
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// Value of the X-TitanX-Signature header
    #[arg(long, value_name = "BASE64")]
    signature: String,
    #[command(flatten)]
    secret: SecretSource,
    #[command(flatten)]
    stack: StackOptions,
}

/// How the HMAC key is derived from a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum KeyRule {
    WholeSecret,
    PrefixStripped,
    PrefixStrippedBase64Decoded,
}

impl From<KeyForm> for KeyRule {
    fn from(form: KeyForm) -> Self {
        match form {
            KeyForm::Whole => Self::WholeSecret,
            KeyForm::WithoutPrefix => Self::PrefixStripped,
            KeyForm::Decoded => Self::PrefixStrippedBase64Decoded,
        }
    }
}

/// The key that matches the signature, if one does.
#[derive(Serialize)]
struct SampleResult {
    rule: Option<KeyRule>,
    /// The position of the secret among the live secrets, from 1.
    secret: Option<usize>,
    /// Whether the signature matches only without the whitespace at the end of the body.
    newline_at_end: bool,
}

impl VerifySample {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let body = fs::read(&self.body);
        let body = body.with_context(|| format!("cannot read {}", self.body.display()))?;
        let secrets = self.secret.live_secrets(&self.stack).await?;
        let signature = self.signature.trim();
        let result = find_key(&secrets, &body, signature);
        screen.result(&result, || result.print())?;
        if result.rule.is_none() {
            anyhow::bail!(
                "no key matches the signature: check that the secret is TitanX's, that the body \
                 was captured byte for byte (not parsed and serialised again), and that the \
                 signature is complete"
            );
        }
        Ok(CommandStatus::action_needed_if(result.newline_at_end))
    }
}

fn find_key(secrets: &[String], body: &[u8], signature: &str) -> SampleResult {
    let trimmed = body.trim_ascii_end();
    let bodies = [(body, false), (trimmed, true)];
    for (body, newline_at_end) in bodies {
        for (index, secret) in secrets.iter().enumerate() {
            let mut forms = KeyForm::ALL.into_iter();
            let matching = forms.find(|form| {
                let key = form.key(secret);
                key.is_some_and(|key| sign_with_key(&key, body) == signature)
            });
            if let Some(form) = matching {
                return SampleResult {
                    rule: Some(form.into()),
                    secret: Some(index + 1),
                    newline_at_end,
                };
            }
        }
    }
    SampleResult {
        rule: None,
        secret: None,
        newline_at_end: false,
    }
}

impl SampleResult {
    fn print(&self) {
        let matching = match self.rule {
            None => styled(BAD, "no key matches the signature"),
            Some(KeyRule::WholeSecret) => styled(GOOD, "the key is the whole secret"),
            Some(KeyRule::PrefixStripped) => {
                styled(GOOD, "the key is the secret without its prefix")
            }
            Some(KeyRule::PrefixStrippedBase64Decoded) => styled(
                GOOD,
                "the key is the secret without its prefix, decoded as Base64",
            ),
        };
        print_line!("{matching}");
        if let Some(secret) = self.secret.filter(|secret| *secret > 1) {
            print_line!("the secret is number {secret} of the live secrets");
        }
        if self.newline_at_end {
            print_line!("the signature matches only without the whitespace at the end of the body");
        }
    }
}

//! `operator verify-sample`

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use titanx_receiver::signature::{KeyForm, Signature, Verifier};

use crate::{
    commands::CommandStatus,
    plain_error::PlainError,
    screen::{BAD, GOOD, NOTICE, Screen, styled},
    secret_store::SecretSource,
    stack::StackOptions,
};

/// Find out which key a captured request was signed with
///
/// TitanX does not document how the HMAC key is derived from the secret. This command tries the forms
/// that the receiver knows: whole, the whole secret; without-prefix, the secret without its prefix
/// whsec_ or wh_sk_; decoded, the rest decoded as Base64. The receiver accepts all of them unless its
/// setting SIGNING_KEY_FORM pins one. Works offline with TITANX_WEBHOOK_SECRET or --secret-file.
///
/// Exit status 0: the receiver accepts this request. 3: the receiver's setting pins another form, or
/// the captured body has an extra newline at its end. 1: no key matches.
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
    /// Form of the key that the receiver accepts [default: the setting of the stack's function, or any]
    #[arg(long, env = "SIGNING_KEY_FORM", value_name = "FORM", value_parser = ["any", "whole", "without-prefix", "decoded"])]
    key_form: Option<String>,
    #[command(flatten)]
    secret: SecretSource,
    #[command(flatten)]
    stack: StackOptions,
}

/// The key that matches the signature, if one does.
#[derive(Serialize)]
struct SampleResult {
    /// The form of the key.
    form: Option<&'static str>,
    /// The position of the secret among the live secrets, from 1.
    secret: Option<usize>,
    /// Whether the signature matches only without the whitespace at the end of the body.
    newline_at_end: bool,
    /// The form that the receiver accepts, or `any`.
    accepted_form: String,
    /// Whether the receiver accepts this request.
    accepted: bool,
}

impl VerifySample {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let body = fs::read(&self.body);
        let body = body.with_context(|| format!("cannot read {}", self.body.display()))?;
        let Some(signature) = Signature::parse(self.signature.trim()) else {
            bail!(
                "the signature is not the 44 characters of Base64 that TitanX sends: copy the whole \
                 value of the X-TitanX-Signature header"
            );
        };
        let secrets = self.secret.live_secrets(&self.stack).await?;
        let accepted_form = self.accepted_form(screen).await?;
        let key = find_key(&secrets, &body, &signature);
        let pinned = accepted_form != "any";
        let form = key.as_ref().map(|key| key.form.as_str());
        let newline_at_end = key.as_ref().is_some_and(|key| key.newline_at_end);
        let result = SampleResult {
            form,
            secret: key.as_ref().map(|key| key.secret),
            newline_at_end,
            accepted: form.is_some_and(|it| !pinned || it == accepted_form) && !newline_at_end,
            accepted_form,
        };
        screen.result(&result, || result.print())?;
        if key.is_none() {
            bail!(
                "no key matches the signature: check that the secret is TitanX's, that the body \
                 was captured byte for byte (not parsed and serialised again), and that the \
                 signature is complete"
            );
        }
        Ok(CommandStatus::action_needed_if(!result.accepted))
    }

    /// The form that the receiver accepts: as the option says, else as its function is configured.
    async fn accepted_form(&self, screen: Screen) -> anyhow::Result<String> {
        if let Some(form) = &self.key_form {
            return Ok(form.clone());
        }
        let stack = self.stack.connect().await?;
        if stack.name().is_err() {
            return Ok("any".to_owned());
        }
        match stack.function_environment().await {
            Ok(environment) => {
                let form = environment.get("SIGNING_KEY_FORM").map(|it| it.trim());
                let form = form.filter(|form| !form.is_empty());
                Ok(form.unwrap_or("any").to_owned())
            }
            Err(error) => {
                screen.warn(format!(
                    "the function's SIGNING_KEY_FORM cannot be read, so it is taken for any: {}",
                    PlainError(error.as_ref())
                ));
                Ok("any".to_owned())
            }
        }
    }
}

/// A key that matches a signature.
struct MatchingKey {
    form: KeyForm,
    /// The position of its secret, from 1.
    secret: usize,
    /// Whether it matches only without the whitespace at the end of the body.
    newline_at_end: bool,
}

fn find_key(secrets: &[String], body: &[u8], signature: &Signature) -> Option<MatchingKey> {
    let bodies = [(body, false), (body.trim_ascii_end(), true)];
    bodies.into_iter().find_map(|(body, newline_at_end)| {
        let mut numbered = (1..).zip(secrets);
        numbered.find_map(|(secret, text)| {
            let verifier = Verifier::new([text.as_str()], &KeyForm::ALL);
            let (_, form) = verifier.verify(body, signature, KeyForm::Whole)?;
            Some(MatchingKey {
                form,
                secret,
                newline_at_end,
            })
        })
    })
}

impl SampleResult {
    fn print(&self) {
        let Some(form) = self.form else {
            print_line!("{}", styled(BAD, "no key matches the signature"));
            return;
        };
        let described = match form {
            "whole" => "the key is the whole secret",
            "without-prefix" => "the key is the secret without its prefix",
            _ => "the key is the secret without its prefix, decoded as Base64",
        };
        let fits = self.accepted_form == "any" || self.accepted_form == form;
        let style = if fits { GOOD } else { NOTICE };
        print_line!("{} (form {form})", styled(style, described));
        match self.accepted_form.as_str() {
            "any" => print_line!(
                "the receiver accepts it; SIGNING_KEY_FORM={form} on the function would refuse the \
                 other forms"
            ),
            pinned if fits => {
                print_line!("the receiver accepts it (SIGNING_KEY_FORM is {pinned})");
            }
            pinned => print_line!(
                "the receiver refuses it, because SIGNING_KEY_FORM is {pinned}: set it to {form} or \
                 any on the function"
            ),
        }
        if let Some(secret) = self.secret.filter(|secret| *secret > 1) {
            print_line!("the secret is number {secret} of the live secrets");
        }
        if self.newline_at_end {
            print_line!("the signature matches only without the whitespace at the end of the body");
        }
    }
}

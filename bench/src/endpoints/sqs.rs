//! The one call of SQS that a delivery makes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::json;
use titanx_testbed::http::Response;

#[derive(Default)]
pub struct Sqs {
    digests: Mutex<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage {
    message_body: String,
    #[serde(default)]
    message_attributes: BTreeMap<String, Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    data_type: String,
    string_value: Option<String>,
}

impl Sqs {
    /// Digests of the messages sent since this was last asked.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.digests.lock().expect("no panic"))
    }

    pub fn answer(&self, operation: &str, body: &[u8]) -> Result<Response> {
        if operation != "SendMessage" {
            bail!("{operation} is not here");
        }
        let message: SendMessage = serde_json::from_slice(body)?;
        let digest = hex(&Md5::digest(&message.message_body));
        let mut answer = json!({
            "MessageId": "00000000-0000-4000-8000-000000000000",
            "MD5OfMessageBody": digest,
        });
        if !message.message_attributes.is_empty() {
            answer["MD5OfMessageAttributes"] =
                json!(attributes_digest(&message.message_attributes)?);
        }
        self.digests.lock().expect("no panic").push(digest);
        Ok(Response::new(200, answer.to_string())
            .with("content-type", "application/x-amz-json-1.0"))
    }
}

/// As SQS documents it: name, type and value of each attribute in the order of the names, each behind its length.
fn attributes_digest(attributes: &BTreeMap<String, Attribute>) -> Result<String> {
    const STRING: [u8; 1] = [1];
    let mut digest = Md5::new();
    for (name, attribute) in attributes {
        let value = attribute
            .string_value
            .as_deref()
            .context("a string attribute")?;
        update_with_length(&mut digest, name)?;
        update_with_length(&mut digest, &attribute.data_type)?;
        digest.update(STRING);
        update_with_length(&mut digest, value)?;
    }
    Ok(hex(&digest.finalize()))
}

fn update_with_length(digest: &mut Md5, text: &str) -> Result<()> {
    digest.update(u32::try_from(text.len())?.to_be_bytes());
    digest.update(text);
    Ok(())
}

/// The digest as SQS writes it.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

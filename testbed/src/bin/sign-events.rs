//! Updates the sample events after a change of a body: writes the body `events/bodies/<body>.json`
//! and its signature with the published test secret into every `events/<gateway>.<body>.json`.
//!
//! ```text
//! cargo run -p titanx-testbed --bin sign-events             # after a change of a body
//! cargo run -p titanx-testbed --bin sign-events -- --fresh  # also set new delivery ids and timestamps
//! ```

use std::{env, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use titanx_testbed::{
    samples,
    titanx::{now_ms, signature},
};
use uuid::Uuid;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let secret = fs::read_to_string(samples::directory().join("test-secret.txt"))?;
    if env::args().any(|argument| argument == "--fresh") {
        for body in samples::bodies() {
            freshen(&body)?;
        }
    }
    for event in samples::events() {
        sign_event(&event, secret.trim())?;
        println!("signed {}", event.display());
    }
    Ok(())
}

/// Gives a body an id that was never delivered and the present time.
fn freshen(body: &Path) -> Result<(), Error> {
    let mut envelope: Map<String, Value> = serde_json::from_slice(&fs::read(body)?)?;
    envelope.insert("id".to_owned(), Uuid::new_v4().to_string().into());
    envelope.insert("timestamp".to_owned(), now_ms().into());
    fs::write(body, serde_json::to_vec(&envelope)?)?;
    Ok(())
}

fn sign_event(path: &Path, secret: &str) -> Result<(), Error> {
    let body = fs::read_to_string(samples::body_of(path))?;
    let mut event: Map<String, Value> = serde_json::from_slice(&fs::read(path)?)?;

    let signature = signature(secret, body.as_bytes());
    for headers in ["headers", "multiValueHeaders"] {
        let Some(Value::Object(headers)) = event.get_mut(headers) else {
            continue;
        };
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("x-titanx-signature") {
                match value {
                    Value::Array(values) => *values = vec![signature.as_str().into()],
                    value => *value = signature.as_str().into(),
                }
            } else if name.eq_ignore_ascii_case("content-length") {
                *value = body.len().to_string().into();
            }
        }
    }
    let encoded = event.get("isBase64Encoded") == Some(&Value::Bool(true));
    let body = if encoded {
        BASE64_STANDARD.encode(body)
    } else {
        body
    };
    event.insert("body".to_owned(), body.into());
    fs::write(path, serde_json::to_string_pretty(&event)? + "\n")?;
    Ok(())
}

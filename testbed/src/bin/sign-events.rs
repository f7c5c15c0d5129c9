//! Updates the sample events after a change of a body: writes the body `events/bodies/<body>.json`
//! and its signature with the published test secret into every `events/<gateway>.<body>.json`.
//!
//! ```text
//! cargo run -p titanx-testbed --bin sign-events             # after a change of a body
//! cargo run -p titanx-testbed --bin sign-events -- --fresh  # also set new delivery ids and timestamps
//! ```

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use titanx_receiver::signature::{SIGNATURE_HEADER, sign};
use uuid::Uuid;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let secret = fs::read_to_string(events.join("test-secret.txt"))?;
    if env::args().any(|argument| argument == "--fresh") {
        for body in json_files(&events.join("bodies"))? {
            freshen(&body)?;
        }
    }
    for event in json_files(&events)? {
        sign_event(&event, &events, secret.trim())?;
        println!("signed {}", event.display());
    }
    Ok(())
}

fn json_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Gives a body a new delivery id and the current timestamp.
fn freshen(body: &Path) -> Result<(), Error> {
    let mut envelope: Map<String, Value> = serde_json::from_slice(&fs::read(body)?)?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    envelope.insert("id".to_owned(), Uuid::new_v4().to_string().into());
    envelope.insert("timestamp".to_owned(), u64::try_from(now_ms)?.into());
    fs::write(body, serde_json::to_vec(&envelope)?)?;
    Ok(())
}

fn sign_event(path: &Path, events: &Path, secret: &str) -> Result<(), Error> {
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let (_gateway, body) = name.and_then(|name| name.split_once('.')).ok_or_else(|| {
        let path = path.display();
        format!("{path}: the file name must be <gateway>.<body>.json")
    })?;
    let body = fs::read_to_string(events.join("bodies").join(body).with_extension("json"))?;
    let mut event: Map<String, Value> = serde_json::from_slice(&fs::read(path)?)?;

    let signature = sign(secret, body.as_bytes());
    for headers in ["headers", "multiValueHeaders"] {
        let Some(Value::Object(headers)) = event.get_mut(headers) else {
            continue;
        };
        for (name, value) in headers {
            if name.eq_ignore_ascii_case(SIGNATURE_HEADER) {
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

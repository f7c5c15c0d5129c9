use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::TempDir;

use crate::operator::{Operator, Run};

/// The test vector that TitanX publishes.
const SECRET: &str = "wh_sk_TESTONLYsyntheticSecret0000000000000000000000000";
const BODY: &str = r#"{"payload":{"jobId":"11111111-2222-4333-8444-555555555555","jobType":"scoring","jobName":"Synthetic batch","jobStatus":"Finalized","modifiedAt":"2026-01-05T12:00:00Z"},"eventType":"job.completed","timestamp":1767614400000,"apiVersion":"v2","id":"99999999-8888-4777-8666-555555555555"}"#;
const SIGNATURE: &str = "YzzZKFd/hCf0djG3sdsaru2wIUTSgPQx4QB2M7OwMMI=";

fn verify(secret: &str, body: &str, signature: &str) -> Run {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body.json");
    fs::write(&file, body).unwrap();
    let operator = Operator::default().set("TITANX_WEBHOOK_SECRET", secret);
    let file = file.to_str().unwrap();
    operator.run_with(&[
        "--json",
        "verify-sample",
        "--body",
        file,
        "--signature",
        signature,
    ])
}

#[expect(
    clippy::disallowed_methods,
    reason = "the sender computes a signature and compares nothing"
)]
fn signed(key: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    BASE64_STANDARD.encode(mac.chain_update(BODY).finalize().into_bytes())
}

#[test]
fn the_published_vector_matches_the_whole_secret() {
    let run = verify(SECRET, BODY, SIGNATURE).exits(0);
    assert_eq!(run.json()["rule"], "whole_secret");
    run.does_not_contain(&[SECRET]);
}

#[test]
fn detects_a_stripped_prefix() {
    let signature = signed(b"c2FtcGxl");
    let run = verify("whsec_c2FtcGxl", BODY, &signature).exits(0);
    assert_eq!(run.json()["rule"], "prefix_stripped");
}

#[test]
fn detects_a_decoded_secret() {
    // printf 'sixteen bytes ok' | base64
    let secret = "whsec_c2l4dGVlbiBieXRlcyBvaw==";
    let run = verify(secret, BODY, &signed(b"sixteen bytes ok")).exits(0);
    assert_eq!(run.json()["rule"], "prefix_stripped_base64_decoded");
    // Too short for a key that the receiver takes.
    verify("whsec_c2FtcGxl", BODY, &signed(b"sample")).exits(1);
}

#[test]
fn detects_a_newline_added_by_the_capture() {
    let run = verify(SECRET, &format!("{BODY}\n"), SIGNATURE).exits(3);
    assert_eq!(run.json()["newline_at_end"], true);
}

#[test]
fn tries_each_live_secret() {
    let run = verify(&format!("another\n{SECRET}"), BODY, SIGNATURE).exits(0);
    assert_eq!(run.json()["secret"], 2);
}

#[test]
fn fails_if_no_key_matches() {
    let run = verify("another", BODY, SIGNATURE).exits(1);
    assert!(
        run.stderr.contains("no key matches the signature"),
        "{}",
        run.stderr
    );
}

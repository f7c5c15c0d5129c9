use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::TempDir;

use crate::operator::{Operator, Run};

/// The published vector.
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
    reason = "the sender's side compares nothing"
)]
fn signed(key: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    BASE64_STANDARD.encode(mac.chain_update(BODY).finalize().into_bytes())
}

#[test]
fn the_published_vector_fits_the_whole_secret() {
    let run = verify(SECRET, BODY, SIGNATURE).exits(0);
    assert_eq!(run.json()["rule"], "whole_secret");
    run.tells_nothing_of(&[SECRET]);
}

#[test]
fn a_stripped_prefix_is_found_out() {
    let signature = signed(b"c2FtcGxl");
    let run = verify("whsec_c2FtcGxl", BODY, &signature).exits(3);
    assert_eq!(run.json()["rule"], "prefix_stripped");
}

#[test]
fn a_decoded_secret_is_found_out() {
    // "c2FtcGxl" is "sample" in Base64.
    let run = verify("whsec_c2FtcGxl", BODY, &signed(b"sample")).exits(3);
    assert_eq!(run.json()["rule"], "prefix_stripped_base64_decoded");
}

#[test]
fn a_newline_that_the_capture_added_is_found_out() {
    let run = verify(SECRET, &format!("{BODY}\n"), SIGNATURE).exits(3);
    assert_eq!(run.json()["newline_at_end"], true);
}

#[test]
fn each_of_several_secrets_is_tried() {
    let run = verify(&format!("another\n{SECRET}"), BODY, SIGNATURE).exits(0);
    assert_eq!(run.json()["secret"], 2);
}

#[test]
fn it_is_said_when_no_rule_fits() {
    let run = verify("another", BODY, SIGNATURE).exits(1);
    assert!(run.stderr.contains("no rule fits"), "{}", run.stderr);
}

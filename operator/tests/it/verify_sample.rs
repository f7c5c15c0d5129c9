use std::fs;

use tempfile::TempDir;
use titanx_testbed::titanx::signature;

use crate::{
    doctor::DoctorTest,
    operator::{Operator, Run},
};

/// The test vector that TitanX publishes.
const SECRET: &str = "wh_sk_TESTONLYsyntheticSecret0000000000000000000000000";
const BODY: &str = r#"{"payload":{"jobId":"11111111-2222-4333-8444-555555555555","jobType":"scoring","jobName":"Synthetic batch","jobStatus":"Finalized","modifiedAt":"2026-01-05T12:00:00Z"},"eventType":"job.completed","timestamp":1767614400000,"apiVersion":"v2","id":"99999999-8888-4777-8666-555555555555"}"#;
const SIGNATURE: &str = "YzzZKFd/hCf0djG3sdsaru2wIUTSgPQx4QB2M7OwMMI=";

fn verify(secret: &str, body: impl AsRef<[u8]>, signature: &str) -> Run {
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

#[test]
fn the_published_vector_matches_the_whole_secret() {
    let run = verify(SECRET, BODY, SIGNATURE).exits(0);
    assert_eq!(run.json()["form"], "whole");
    assert_eq!(run.json()["accepted"], true);
    run.does_not_contain(&[SECRET]);
}

/// A secret whose rest is the Base64 of 18 bytes, and its key in each form.
const CODED: &str = "whsec_c2FtcGxlIGtleSBvZiAxOCBi";
const FORMS: [(&str, &[u8]); 3] = [
    ("whole", CODED.as_bytes()),
    ("without-prefix", b"c2FtcGxlIGtleSBvZiAxOCBi"),
    ("decoded", b"sample key of 18 b"),
];

#[test]
fn names_the_form_of_the_key_which_the_receiver_accepts() {
    for (form, key) in FORMS {
        let run = verify(CODED, BODY, &signature(key, BODY)).exits(0);
        assert_eq!(run.json()["form"], form);
        assert_eq!(run.json()["accepted_form"], "any");
        run.does_not_contain(&[CODED]);
    }
}

#[test]
fn a_pinned_form_refuses_the_others() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body.json");
    fs::write(&file, BODY).unwrap();
    for (form, key) in FORMS {
        for (pinned, _) in FORMS {
            let operator = Operator::default()
                .set("TITANX_WEBHOOK_SECRET", CODED)
                .set("SIGNING_KEY_FORM", pinned);
            let line = format!(
                "verify-sample --body {} --signature {}",
                file.display(),
                signature(key, BODY)
            );
            let run = operator
                .run(&line)
                .exits(if form == pinned { 0 } else { 3 });
            assert!(
                run.stdout.contains(&format!("form {form}")),
                "{}",
                run.stdout
            );
            let said = format!("SIGNING_KEY_FORM is {pinned}");
            assert!(run.stdout.contains(&said), "{}", run.stdout);
        }
    }
}

#[test]
fn says_that_a_signature_is_not_complete() {
    let run = verify(SECRET, BODY, &SIGNATURE[..40]).exits(1);
    assert!(run.stderr.contains("44 characters"), "{}", run.stderr);
}

#[test]
fn detects_a_newline_added_by_the_capture() {
    for end in ["\n", "\r\n", "\n\n", " \n", "\t\r\n\r\n"] {
        let run = verify(SECRET, format!("{BODY}{end}"), SIGNATURE).exits(3);
        assert_eq!(run.json()["newline_at_end"], true, "{end:?}");
    }
    // What stands before the body is no such newline.
    verify(SECRET, format!("\n{BODY}"), SIGNATURE).exits(1);
    verify(SECRET, format!(" {BODY}\n"), SIGNATURE).exits(1);
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

/// A captured body is bytes: what is no text, and what an editor would change, are signed as they are.
#[test]
fn a_body_is_verified_byte_for_byte() {
    for body in [
        &b"\xff\xfe{}"[..],
        b"{}\r\n",
        b"\xef\xbb\xbf{}",
        b" {} ",
        b"",
    ] {
        let run = verify(SECRET, body, &signature(SECRET.as_bytes(), body)).exits(0);
        assert_eq!(run.json()["form"], "whole", "{body:?}");
    }
}

/// What cannot be read does not keep anybody from finding the key.
#[test]
fn a_form_that_cannot_be_read_is_taken_for_any() {
    let test = DoctorTest::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body.json");
    fs::write(&file, BODY).unwrap();
    let operator = test.operator.clone().set("TITANX_WEBHOOK_SECRET", SECRET);
    // After the stack is read.
    test.control.restart(Some(1));
    let line = format!(
        "verify-sample --body {} --signature {SIGNATURE}",
        file.display()
    );
    operator.run(&line).exits(0).tells(
        "warning: the function's SIGNING_KEY_FORM cannot be read, so it is taken for any: cannot read \
         the function receiver: InternalFailure: refused by the control plane",
    );
    let run = operator
        .run(&line.replace("body.json", "none.json"))
        .exits(1);
    let none = folder.path().join("none.json");
    run.tells(&format!(
        "error: cannot read {}: No such file or directory (os error 2)",
        none.display()
    ));
}

//! Deliveries that are sent or were captured: `send`, `verify-sample`.

use std::fs;

use tempfile::TempDir;
use titanx_testbed::{
    server::Server,
    titanx::{contact, signature},
};

use super::Screens;
use crate::{System, doctor::DoctorTest, operator::Operator, titanx_api::Form};

#[tokio::test(flavor = "multi_thread")]
async fn send() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let mut screens = Screens::of(&system).with(folder.display().to_string(), "<folder>");
    let operator = &system.operator;
    screens.show("Contacts", operator, "send --count 3 --job job-1");
    let job = "send --count 1 --event job.completed";
    screens.show("A completed job", operator, job);
    for (name, body) in [("contact", &*contact("delivery-1")), ("text", "no JSON")] {
        fs::write(folder.join(name), body).unwrap();
    }
    let folder = folder.display();
    let files = format!("send {folder}/contact {folder}/text");
    screens.show("Files", operator, &files);
    // A completion mark follows its answer.
    system.gateway.idle().await;
    let again = format!("send {folder}/contact");
    screens.show("One of them again", operator, &again);
    let wrong = operator.clone().set("TITANX_WEBHOOK_SECRET", "another");
    screens.show("A wrong secret", &wrong, "send --count 2");
    let fails = Server::start("fails", |_| async { None });
    screens = screens.with(&fails.origin, "<endpoint>");
    let silent = operator.clone().set("WEBHOOK_URL", &fails.origin);
    screens.show("No answer", &silent, "send --count 1");
    let absent = format!("send {folder}/absent");
    screens.show("A file that is not there", operator, &absent);
    screens.compare("send");
}

#[test]
fn verify_sample() {
    const SECRET: &str = "whsec_c2FtcGxlIGtleSBvZiAxOCBi";
    let test = DoctorTest::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body");
    fs::write(&file, "a body\n").unwrap();
    let file = file.display().to_string();
    let mut screens = Screens::of(&test.system).with(&file, "<file>");
    let line = |key: &str, body: &str| {
        let signature = signature(key, body);
        format!("verify-sample --body {file} --signature {signature}")
    };
    let alone = Operator::default().set("TITANX_WEBHOOK_SECRET", SECRET);
    let plain = line("c2FtcGxlIGtleSBvZiAxOCBi", "a body\n");
    screens.show("Accepted", &alone, &plain);
    let several = format!("one\nanother\n{SECRET}");
    let several = alone.clone().set("TITANX_WEBHOOK_SECRET", several);
    let trimmed = line(SECRET, "a body");
    screens.show("The third secret, without the newline", &several, &trimmed);
    let pinned = format!("{plain} --key-form decoded");
    screens.show("Another form is pinned", &alone, &pinned);
    let same = format!("{plain} --key-form without-prefix");
    screens.show("This form is pinned", &alone, &same);
    screens.show("No key", &alone, &line("another", "a body\n"));
    let short = format!("verify-sample --body {file} --signature abc");
    screens.show("No signature", &alone, &short);
    let stack = test.operator.clone().set("TITANX_WEBHOOK_SECRET", SECRET);
    test.control
        .update(|it| _ = it.outputs.remove("ReceiverFunction"));
    screens.show("The function cannot be read", &stack, &plain);
    let none = Operator::default();
    screens.show("No secret is named", &none, &plain);
    screens.compare("verify-sample");
}

//! The check that the receiver answers at the webhook URL.

use http_body_util::Full;
use hyper::Response;
use serde_json::json;
use titanx_testbed::{
    emulators::SIGNING_SECRET,
    server::{Server, json as respond},
};

use crate::{System, titanx_answers::Scripted, titanx_api::Form};

/// A server that answers every request alike, and its webhook URL.
fn server(status: u16, body: &'static str) -> (String, Server) {
    let server = Server::start("another-server", move |_| async move {
        let response = Response::builder()
            .status(status)
            .header("server", "another-gateway")
            .header("location", "https://example.com/elsewhere");
        Some(response.body(Full::from(body)).unwrap())
    });
    (format!("{}/webhooks/titanx", server.origin), server)
}

const NEEDS_NO_SIGNATURE: &str =
    "whatever answers there accepts requests that nobody signed: check the host and the path";
const REDIRECTS: &str = "it redirects to https://example.com/elsewhere, and TitanX may not follow: use \
                         the URL of the receiver itself";
const DEMANDS_MORE: &str =
    "something before the receiver demands authentication: remove its authoriser";
const REFUSES: &str = "something before the receiver refuses it: check firewall, resource policy, and that \
                       the function URL needs no IAM authentication";
const NO_ROUTE: &str =
    "the gateway has no such route: compare path and stage with the stack's output WebhookUrl";
const THROTTLED: &str = "the receiver or its gateway is throttled: check its concurrency limits";
const FAILS: &str =
    "the receiver fails, or is not deployed: check `operator doctor` and the function's log";
const UNKNOWN: &str = "compare the URL with the stack's output WebhookUrl";

const OTHERS: [(u16, &str, &str); 13] = [
    (404, r#"{"message":"Not Found"}"#, NO_ROUTE),
    (403, r#"{"message":"Forbidden"}"#, REFUSES),
    (401, r#"{"message":"Unauthorized"}"#, DEMANDS_MORE),
    (401, "Invalid signature", DEMANDS_MORE),
    // Receivers of other senders.
    (401, r#"{"error":"Signature required"}"#, DEMANDS_MORE),
    (401, r#"{"error":"invalid signature"}"#, DEMANDS_MORE),
    (401, r#"{"message":"Invalid signature"}"#, DEMANDS_MORE),
    (
        401,
        r#"{"error":"Invalid signature","code":7}"#,
        DEMANDS_MORE,
    ),
    (200, r#"{"error":"Invalid signature"}"#, NEEDS_NO_SIGNATURE),
    (302, "", REDIRECTS),
    (400, r#"{"error":"Invalid signature"}"#, UNKNOWN),
    (429, "", THROTTLED),
    (500, "oops", FAILS),
];

#[test]
fn nothing_is_created_unless_the_receiver_itself_answers() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let before = system.api.subscriptions();
    let secrets = system.live_secrets();
    let check = |url: &str, said: &str| {
        let operator = system.operator.clone().set("WEBHOOK_URL", url);
        for command in [
            "subscribe --settle 0".to_owned(),
            format!("rotate --settle 0 --grace 0 --yes --old {}", before[0].id),
        ] {
            let run = operator.run(&command).exits(1);
            run.tells(&format!(
                "error: nothing was changed, because the receiver does not answer at {url}: an unsigned \
                 request got {said} (--skip-probe skips this check)"
            ));
            assert_eq!(system.api.subscriptions(), before, "{command}");
            assert_eq!(system.live_secrets(), secrets, "{command}");
            run.does_not_contain(&[SIGNING_SECRET]);
        }
    };
    for (status, body, advice) in OTHERS {
        let (url, _server) = server(status, body);
        let colon = if body.is_empty() { "" } else { ": " };
        let said = format!("{status} from another-gateway{colon}{body}; {advice}");
        check(&url, &said);
    }
    let no_answer = |url: &str, reason: &str| {
        let origin = url.trim_end_matches("/webhooks/titanx");
        let said = format!(
            "no answer (no response from {origin}: {reason}); check the host name, the TLS \
             certificate, and that this machine can reach the URL"
        );
        check(url, &said);
    };
    let refused = "tcp connect error: Connection refused (os error 111)";
    no_answer("http://127.0.0.1:9/webhooks/titanx", refused);
    // TLS to a server that speaks none.
    let tls = system.gateway.url.replace("http://", "https://");
    no_answer(
        &tls,
        "TLS handshake failed: received corrupt message of type InvalidContentType",
    );
}

/// Whatever another server answers, its beginning is told, on one line.
#[test]
fn the_beginning_of_the_answer_is_told() {
    for (character, told) in [("é", "é"), ("名", "名"), ("\u{9b}", "\\u{9b}"), ("\n", "")] {
        let body = format!("a{}", character.repeat(150));
        let (url, _server) = server(404, body.leak());
        let system = System::start(Form::Schema);
        let operator = system.operator.set("WEBHOOK_URL", &url);
        let run = operator.run("subscribe --settle 0").exits(1);
        // A hundred characters at most.
        let said = format!("a{}", told.repeat(99));
        assert!(run.stderr.contains(&said), "{said}: {}", run.stderr);
        let more = format!("a{}", told.repeat(100));
        let is_whole = more == said;
        assert!(is_whole || !run.stderr.contains(&more), "{}", run.stderr);
    }
}

#[test]
fn every_path_of_the_deployed_gateway_reaches_the_receiver() {
    let system = System::start(Form::Schema);
    let url = format!("{}/more", system.gateway.url);
    let operator = system.operator.clone().set("WEBHOOK_URL", &url);
    operator.run("subscribe --settle 0").exits(0);
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn the_probe_can_be_skipped_but_not_by_yes() {
    let system = System::start(Form::Schema);
    let (url, _server) = server(404, "");
    let operator = system.operator.clone().set("WEBHOOK_URL", &url);
    operator.run("subscribe --settle 0").exits(1);
    operator.run("subscribe --settle 0 --skip-probe").exits(0);
    operator.run("rotate --settle 0 --grace 0 --yes").exits(1);
    operator
        .run("rotate --settle 0 --grace 0 --yes --skip-probe")
        .exits(0);
    assert_eq!(system.api.active().len(), 1);
    assert_eq!(system.api.subscriptions().len(), 2);
}

#[test]
fn only_what_may_recover_is_asked_again_and_three_times_at_most() {
    let refusal = || respond(401, &json!({"error": "Invalid signature"}));
    let other = |status| respond(status, &json!({}));
    for (answers, status, requests) in [
        (vec![other(429), refusal()], 0, 2),
        (vec![other(500), other(503), refusal()], 0, 3),
        (vec![other(503), other(503), other(503), refusal()], 1, 3),
        (vec![other(404), refusal()], 1, 1),
        (vec![other(499), refusal()], 1, 1),
    ] {
        let system = System::start(Form::Schema);
        let webhook = Scripted::new(answers);
        let operator = system.operator.set("WEBHOOK_URL", webhook.url());
        operator.run("subscribe --settle 0").exits(status);
        assert_eq!(webhook.lines(), vec!["POST /"; requests]);
    }
}

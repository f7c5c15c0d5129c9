//! What a command makes of an answer of TitanX: its status, its headers and its members. The answers are
//! scripted, one for each request in turn.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use serde_json::{Value, json};
use tempfile::TempDir;
use titanx_testbed::server::{Server, json as respond, text};

use crate::operator::{Operator, Run};

const API_KEY: &str = "synthetic-api-key";

/// A request as TitanX receives it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method, path and query.
    pub(crate) line: String,
    content_type: Option<String>,
    accept: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
    at: SystemTime,
}

/// A TitanX that gives these answers, and the last one again and again.
pub(crate) struct Scripted {
    pub(crate) operator: Operator,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: Server,
}

impl Scripted {
    pub(crate) fn new(answers: Vec<Response<Full<Bytes>>>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let record = Arc::clone(&seen);
        let server = Server::start("titanx", move |request: Request<Bytes>| {
            let header = |name: &str| {
                let value = request.headers().get(name)?;
                Some(value.to_str().unwrap().to_owned())
            };
            record.lock().unwrap().push(Seen {
                line: format!("{} {}", request.method(), request.uri()),
                content_type: header("content-type"),
                accept: header("accept"),
                authorization: header("authorization"),
                body: String::from_utf8_lossy(request.body()).into_owned(),
                at: SystemTime::now(),
            });
            let mut answers = answers.lock().unwrap();
            let answer = if answers.len() > 1 {
                answers.pop_front()
            } else {
                answers.front().cloned()
            };
            async { answer }
        });
        let operator = Operator::default()
            .set("TITANX_API_URL", &server.origin)
            .set("TITANX_API_KEY", API_KEY);
        Self {
            operator,
            seen,
            server,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.server.origin
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|it| it.line).collect()
    }

    /// The time between two requests in a row, the first of them with this index.
    fn pause_after(&self, index: usize) -> Duration {
        let seen = self.seen();
        seen[index + 1].at.duration_since(seen[index].at).unwrap()
    }
}

fn in_seconds(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() + seconds
}

/// An answer with the headers of TitanX's rate limits: what remains in each window, and its reset.
fn limited(status: u16, body: &Value, windows: &[(&str, u64, u64)]) -> Response<Full<Bytes>> {
    let mut response = respond(status, body);
    for (window, remaining, reset) in windows {
        for (kind, value) in [("remaining", remaining), ("reset", reset)] {
            let name = format!("x-ratelimit-{kind}-{window}");
            let name: hyper::header::HeaderName = name.parse().unwrap();
            response.headers_mut().insert(name, (*value).into());
        }
    }
    response
}

fn subscription(id: &str) -> Value {
    json!({
        "id": id,
        "url": "http://127.0.0.1:9/webhooks/titanx",
        "status": "inactive",
        "events": ["job.contact.scored", "job.completed"],
    })
}

/// `subscribe` at a TitanX that creates a subscription with this secret, and a folder with the file of
/// the secret.
fn subscribe(secret: &str) -> (Scripted, Run, TempDir) {
    let mut created = subscription("one");
    created["secret"] = secret.into();
    let titanx = Scripted::new(vec![
        respond(200, &json!([])),
        respond(201, &created),
        respond(200, &json!({})),
    ]);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    let line = format!(
        "subscribe --skip-probe --url http://127.0.0.1:9/webhooks/titanx --settle 0 --secret-file {}",
        file.display()
    );
    let run = titanx.operator.run(&line);
    (titanx, run, folder)
}

#[test]
fn only_a_request_with_a_body_has_a_content_type() {
    let (titanx, run, _folder) = subscribe("wh_sk_synthetic-secret");
    run.exits(0);
    let requests: Vec<_> = titanx
        .seen()
        .into_iter()
        .map(|it| (it.line, it.content_type))
        .collect();
    assert_eq!(
        requests,
        [
            ("GET /webhooks".to_owned(), None),
            (
                "POST /webhooks".to_owned(),
                Some("application/json".to_owned())
            ),
            ("POST /webhooks/one/active".to_owned(), None),
        ]
    );
    let seen = titanx.seen();
    assert!(
        seen.iter()
            .all(|it| it.accept.as_deref() == Some("application/json"))
    );
}

/// The pages of a list of two, the first with these headers.
fn two_pages(windows: &[(&str, u64, u64)]) -> Vec<Response<Full<Bytes>>> {
    let page = |id: &str, more: bool| json!({"data": [subscription(id)], "hasMore": more});
    vec![
        limited(200, &page("one", true), windows),
        respond(200, &page("two", false)),
    ]
}

#[test]
fn no_request_is_sent_into_an_exhausted_rate_limit() {
    // The latest reset of the exhausted ones counts. It has whole seconds.
    let reset = in_seconds(4);
    let titanx = Scripted::new(two_pages(&[
        ("second", 0, in_seconds(1)),
        ("minute", 0, reset),
        ("day", 7, in_seconds(3_600)),
    ]));
    let listed = titanx.operator.run("--json subscriptions").exits(0).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let second = titanx.seen()[1].at.duration_since(UNIX_EPOCH).unwrap();
    assert!(second >= Duration::from_secs(reset), "{second:?}");

    // What resets later than the patience is not waited for.
    let titanx = Scripted::new(two_pages(&[("day", 0, in_seconds(3_600))]));
    let run = titanx.operator.run("subscriptions --patience 60").exits(1);
    let seconds = run.stderr.strip_prefix(
        "error: GET /webhooks?page=2: TitanX's rate limit is exhausted and resets in ",
    );
    let seconds = seconds
        .and_then(|it| it.strip_suffix(" s: run the command again later, or raise --patience\n"));
    let seconds = seconds.unwrap_or_else(|| panic!("{}", run.stderr));
    let seconds: u64 = seconds.parse().unwrap();
    assert!((3_500..=3_600).contains(&seconds), "{}", run.stderr);
    assert_eq!(titanx.lines(), ["GET /webhooks"]);

    // Nor is the one request that is not sent as the others are.
    let exhausted = [("day", 0, in_seconds(3_600))];
    let titanx = Scripted::new(vec![limited(200, &json!([]), &exhausted)]);
    let url = "http://127.0.0.1:9/webhooks/titanx";
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    let line = format!(
        "subscribe --patience 60 --skip-probe --url {url} --secret-file {}",
        file.display()
    );
    let run = titanx.operator.run(&line).exits(1);
    assert!(
        run.stderr.contains("rate limit is exhausted"),
        "{}",
        run.stderr
    );
    assert_eq!(titanx.lines(), ["GET /webhooks"]);

    // A limit of which something is left is none, nor is one that was reset.
    for window in [
        ("day", 1, in_seconds(3_600)),
        ("minute", 0, in_seconds(0) - 10),
    ] {
        let titanx = Scripted::new(two_pages(&[window]));
        titanx.operator.run("subscriptions --patience 60").exits(0);
        assert_eq!(titanx.lines().len(), 2);
    }
}

#[test]
fn a_429_is_repeated_after_the_latest_reset_of_its_limits() {
    // It says of no limit that nothing is left.
    let reset = in_seconds(4);
    let windows = [("second", 3, in_seconds(1)), ("minute", 5, reset)];
    let refused = limited(429, &json!({"error": "No."}), &windows);
    let titanx = Scripted::new(vec![refused.clone(), respond(200, &json!([]))]);
    titanx.operator.run("subscriptions").exits(0);
    let second = titanx.seen()[1].at.duration_since(UNIX_EPOCH).unwrap();
    assert!(second >= Duration::from_secs(reset), "{second:?}");
}

#[test]
fn a_failure_is_repeated_whatever_limits_it_states() {
    let windows = [("day", 5, in_seconds(3_600))];
    let failed = limited(503, &json!({"error": "No."}), &windows);
    let titanx = Scripted::new(vec![failed, respond(200, &json!([]))]);
    titanx.operator.run("subscriptions --patience 60").exits(0);
    assert!(titanx.pause_after(0) < Duration::from_secs(30));
}

/// `Retry-After` counts with every status whose request is repeated, not with 429 alone.
#[test]
fn a_failure_is_repeated_when_its_answer_says() {
    let exhausted = "TitanX's rate limit is exhausted and resets in 3 s";
    for (status, said) in [
        (429, exhausted),
        (500, "TitanX answered 500 and takes the next request in 3 s"),
        (503, "TitanX answered 503 and takes the next request in 3 s"),
    ] {
        let mut failed = respond(status, &json!({"error": "No."}));
        failed.headers_mut().insert("retry-after", 3.into());
        let titanx = Scripted::new(vec![failed.clone(), respond(200, &json!([]))]);
        titanx.operator.run("subscriptions").exits(0);
        // Without it, the first pause is half a second at most.
        let told = Duration::from_secs(3)..Duration::from_secs(13);
        let pause = titanx.pause_after(0);
        assert!(told.contains(&pause), "{status}: {pause:?}");
        // Nobody waits for longer than the patience lasts.
        let titanx = Scripted::new(vec![failed]);
        let run = titanx.operator.run("subscriptions --patience 2").exits(1);
        run.tells(&format!(
            "error: GET /webhooks: {said}: run the command again later, or raise --patience"
        ));
        assert_eq!(titanx.lines().len(), 1, "{status}");
    }
}

const UNKNOWN_OUTCOME: &str = "it is unknown whether TitanX created the subscription: list the subscriptions with `operator \
     subscriptions`, delete the new one if it is there, and run this command again";

/// It may have created a subscription, whose secret nobody knows. Only 429 says that it has not.
#[test]
fn a_creation_is_repeated_only_after_429() {
    for status in [429, 500, 502, 503, 504] {
        for retry_after in [None, Some(0)] {
            let mut failed = respond(status, &json!({"error": "No."}));
            if let Some(seconds) = retry_after {
                failed.headers_mut().insert("retry-after", seconds.into());
            }
            let mut created = subscription("one");
            created["secret"] = "wh_sk_synthetic-secret".into();
            let titanx = Scripted::new(vec![
                respond(200, &json!([])),
                failed,
                respond(201, &created),
                respond(200, &json!({})),
            ]);
            let folder = tempfile::tempdir().unwrap();
            let line = format!(
                "subscribe --skip-probe --settle 0 --url http://127.0.0.1:9/webhooks/titanx --secret-file {}",
                folder.path().join("secret").display()
            );
            let run = titanx.operator.run(&line);
            let creations = titanx.lines().into_iter();
            let creations = creations.filter(|it| it == "POST /webhooks").count();
            if status == 429 {
                assert_eq!(creations, 2, "{retry_after:?}");
                run.exits(0);
            } else {
                assert_eq!(creations, 1, "{status} {retry_after:?}");
                let run = run.exits(1);
                run.tells(&format!(
                    "error: {UNKNOWN_OUTCOME}: TitanX answered {status}"
                ));
            }
        }
    }
}

/// Whatever the answer to its creation says, or does not say.
#[test]
fn a_new_subscription_is_activated_unless_it_is_active() {
    for status in [
        Value::Null,
        "inactive".into(),
        "pending".into(),
        "".into(),
        true.into(),
        "active".into(),
    ] {
        let mut created = subscription("one");
        created["status"] = status.clone();
        created["url"] = if status.is_null() {
            Value::Null
        } else {
            "http://127.0.0.1:9/Webhooks/TitanX/".into()
        };
        created["secret"] = "wh_sk_synthetic-secret".into();
        let titanx = Scripted::new(vec![
            respond(200, &json!([])),
            respond(201, &created),
            respond(200, &json!({})),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let line = format!(
            "subscribe --skip-probe --settle 0 --url http://127.0.0.1:9/webhooks/titanx --secret-file {}",
            folder.path().join("secret").display()
        );
        titanx.operator.run(&line).exits(0);
        // What was subscribed, however the answer spells it.
        let ledger = std::fs::read(folder.path().join("secret.ledger")).unwrap();
        let ledger: Value = serde_json::from_slice(&ledger).unwrap();
        let url = &ledger["subscriptions"][0]["url"];
        assert_eq!(*url, "http://127.0.0.1:9/webhooks/titanx");
        let lines = titanx.lines();
        let activated = lines.contains(&"POST /webhooks/one/active".to_owned());
        assert_eq!(activated, status != "active", "{status}: {lines:?}");
    }
}

/// It is no empty list: a job would have no contacts, and an account no subscriptions.
#[test]
fn an_answer_without_a_list_is_an_error() {
    for body in [
        json!({}),
        json!({"error": "Try later."}),
        json!({"payload": {}}),
        json!({"data": null}),
        json!({"items": "none"}),
        json!("none"),
        Value::Null,
    ] {
        let titanx = Scripted::new(vec![respond(200, &body)]);
        let run = titanx.operator.run("subscriptions").exits(1);
        run.tells("error: GET /webhooks: TitanX's response has no list");
    }
    for empty in [
        json!([]),
        json!({"payload": []}),
        json!({"data": {"webhooks": []}}),
    ] {
        let titanx = Scripted::new(vec![respond(200, &empty)]);
        titanx.operator.run("subscriptions").exits(0);
    }
}

/// The error of a command whose request got this answer.
fn error_after(answer: Response<Full<Bytes>>) -> String {
    let titanx = Scripted::new(vec![answer]);
    titanx.operator.run("resume one").exits(1).stderr
}

#[test]
fn an_error_repeats_what_titanx_says() {
    let request = "POST /webhooks/one/active: TitanX answered 400";
    for (body, message) in [
        (json!({"message": "Not now."}), ": Not now."),
        (json!({"error": "Not now."}), ": Not now."),
        (json!({"detail": "Not now."}), ": Not now."),
        (json!({"error": {"message": "Not now."}}), ": Not now."),
        (json!({"message": "", "error": "Not now."}), ": Not now."),
        (json!({"message": 17}), ": 17"),
        (json!({"reason": "Not now."}), ""),
        (json!([]), ""),
    ] {
        let stderr = error_after(respond(400, &body));
        assert_eq!(stderr, format!("error: {request}{message}\n"), "{body}");
    }
    let stderr = error_after(text(400, "text/html", "<html>"));
    assert_eq!(stderr, format!("error: {request}\n"));
    let long = "x".repeat(301);
    let stderr = error_after(respond(400, &json!({ "message": long })));
    assert_eq!(stderr, format!("error: {request}: {}\n", &long[..300]));
    let key = "it does not accept the API key for this; check TITANX_API_KEY or the file of --api-key-file";
    for (status, said) in [
        (401, &*format!("TitanX answered 401: Not now: {key}")),
        (403, &*format!("TitanX answered 403: Not now: {key}")),
        (
            404,
            "not supported by TitanX, or no such id (TitanX answered 404)",
        ),
        (
            405,
            "not supported by TitanX, or no such id (TitanX answered 405)",
        ),
        (409, "TitanX answered 409: Not now"),
    ] {
        let stderr = error_after(respond(status, &json!({"error": "Not now"})));
        assert_eq!(
            stderr,
            format!("error: POST /webhooks/one/active: {said}\n")
        );
    }
}

#[test]
fn a_list_has_the_members_that_titanx_gives() {
    let titanx = Scripted::new(vec![respond(
        200,
        &json!([
            {"id": 17, "name": "seventeen", "url": "https://a.example/", "status": "active",
             "eventTypes": ["job.completed", 1]},
            {"id": "eighteen", "name": "", "triggers": "all"},
            {"id": "", "url": "https://b.example/"},
            {"url": "https://c.example/"},
            "nineteen",
        ]),
    )]);
    let listed = titanx.operator.run("--json subscriptions").exits(0).json();
    assert_eq!(
        listed,
        json!([
            {"id": "17", "name": "seventeen", "url": "https://a.example/", "status": "active",
             "events": ["job.completed"]},
            {"id": "eighteen", "name": null, "url": null, "status": null, "events": []},
        ])
    );
}

#[test]
fn a_secret_that_is_empty_is_none() {
    let (_titanx, run, folder) = subscribe("");
    let run = run.exits(1);
    run.tells(
        "error: TitanX created the subscription one but did not return its secret; the subscription is \
         inactive: delete it with `operator delete one --yes` and run this command again",
    );
    assert!(!folder.path().join("secret").exists());
}

/// Whether TitanX has activated it in spite of what was asked is known only if it could be deactivated.
#[test]
fn a_subscription_without_a_secret_is_inactive_only_if_titanx_says_so() {
    for (status, said) in [
        (200, "inactive"),
        (403, "possibly active"),
        (404, "possibly active"),
    ] {
        let titanx = Scripted::new(vec![
            respond(200, &json!([])),
            respond(201, &subscription("one")),
            respond(status, &json!({})),
        ]);
        let run = titanx.operator.run(SUBSCRIBE).exits(1);
        run.tells(&format!(
            "error: TitanX created the subscription one but did not return its secret; the subscription \
             is {said}: delete it with `operator delete one --yes` and run this command again"
        ));
        assert_eq!(titanx.lines()[2], "POST /webhooks/one/inactive");
    }
}

const SUBSCRIBE: &str = "subscribe --skip-probe --url http://127.0.0.1:9/webhooks/titanx --settle 0 \
                         --secret-file /nonexistent/secret";

/// It is the answer to what the documentation has first, so it says most.
#[test]
fn of_several_refusals_the_first_is_told() {
    let refusal = |said: &str| respond(422, &json!({"message": format!("{said} of events")}));
    let titanx = Scripted::new(vec![
        respond(200, &json!([])),
        refusal("the first"),
        refusal("the second"),
        refusal("the third"),
        refusal("the fourth"),
    ]);
    let run = titanx.operator.run(SUBSCRIBE).exits(1);
    run.tells("error: POST /webhooks: TitanX answered 422: the first of events");
    assert_eq!(titanx.lines().len(), 5);
}

/// A subscription counts as deleted if TitanX lists others only, or has no list and says 404. With any doubt,
/// it is there.
#[test]
fn a_subscription_counts_as_deleted_only_without_a_doubt() {
    let others = json!([subscription("two")]);
    let all = json!([subscription("two"), subscription("one")]);
    for (activation, list, is_deleted) in [
        (404, respond(200, &others), true),
        (405, respond(200, &others), true),
        (404, respond(200, &all), false),
        (409, respond(200, &others), false),
        (404, respond(404, &json!({})), true),
        (404, respond(405, &json!({})), true),
        (405, respond(404, &json!({})), false),
        (404, respond(403, &json!({})), false),
    ] {
        let mut created = subscription("one");
        created["secret"] = "wh_sk_synthetic-secret".into();
        let titanx = Scripted::new(vec![
            respond(200, &json!([])),
            respond(201, &created),
            respond(activation, &json!({})),
            list,
        ]);
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("secret");
        let line = SUBSCRIBE.replace("/nonexistent/secret", file.to_str().unwrap());
        let run = titanx.operator.run(&line).exits(1);
        let said = if is_deleted {
            "the subscription one was deleted: re-run with --another to create a new subscription"
        } else {
            "the secret of the subscription one is stored, but the subscription could not be activated: \
             run this command again"
        };
        let said = format!("error: {said}: POST /webhooks/one/active: ");
        assert!(
            run.stderr.starts_with(&said),
            "{activation}: {}",
            run.stderr
        );
    }
}

#[test]
fn an_id_is_one_segment_of_the_path() {
    let titanx = Scripted::new(vec![respond(200, &json!({}))]);
    for (line, request) in [
        ("resume a/b?c#d", "POST /webhooks/a%2Fb%3Fc%23d/active"),
        ("pause ../jobs --yes", "POST /webhooks/..%2Fjobs/inactive"),
        ("delete a%2Fb --yes", "DELETE /webhooks/a%252Fb"),
    ] {
        titanx.operator.run(line).exits(0);
        assert_eq!(titanx.lines().last().unwrap(), request, "{line}");
    }
}

//! Every row of the answer table, and the state that each leaves.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use titanx_receiver::{
    budget::Budget, config::Config, deliveries::Claim, event::Event, gateway::Request, log::Log,
    queue::Source, receiver::Receiver, secrets::Verification, signature::Verified,
};
use titanx_testbed::{
    emulators::{AttributeValue, Emulators, Fault, Harm, Item, SIGNING_SECRET, When},
    front_door::{
        Answer, Proxies, TIMEOUT, deliver, deliver_within, environment, now_ms, receiver,
        receiver_behind_proxies,
    },
    titanx::{
        NOT_STALE, completed_job, contact, envelope, incompressible, request, signature, signed,
        signed_bytes,
    },
};

fn text(item: &Item, name: &str) -> Option<String> {
    match item.get(name)? {
        AttributeValue::S(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(item: &Item, name: &str) -> Option<i64> {
    match item.get(name)? {
        AttributeValue::N(number) => number.parse().ok(),
        _ => None,
    }
}

fn item(attributes: &[(&str, AttributeValue)]) -> Item {
    let attributes = attributes.iter().cloned();
    attributes
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn now() -> i64 {
    i64::try_from(now_ms()).unwrap()
}

#[tokio::test]
async fn a_contact_is_on_the_queue_before_it_is_acknowledged() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let body = contact("delivery-1");

    let before_s = now() / 1000;
    assert_eq!(deliver(&receiver, &signed(&body)).await, Answer::accepted());

    let [message] = &emulators.contacts.messages()[..] else {
        panic!("not one message");
    };
    assert_eq!(message.body, body);
    assert_eq!(message.attribute("eventType"), Some("job.contact.scored"));
    assert_eq!(message.attribute("deliveryId"), Some("delivery-1"));
    assert_eq!(message.attribute("apiVersion"), Some("v2"));
    assert_eq!(message.attribute("timestamp"), Some("4102444800000"));
    assert_eq!(message.attribute("source"), Some("webhook"));
    assert_eq!(message.attribute("jobId"), Some("job-1"));
    assert_eq!(message.attributes.len(), 6);
    assert_eq!(message.group_id.as_deref(), Some("job-1"));
    assert_eq!(message.deduplication_id, None);

    let record = emulators.deliveries.get("delivery-1").unwrap();
    assert_eq!(text(&record, "status").as_deref(), Some("COMPLETED"));
    let expiration = number(&record, "expiration").unwrap();
    let week_s = 7 * 24 * 60 * 60;
    assert!((before_s + week_s..=now() / 1000 + week_s).contains(&expiration));
    assert_eq!(emulators.jobs.len(), 0);
    assert_eq!(emulators.quarantine.len(), 0);
}

#[tokio::test]
async fn on_a_fifo_queue_the_delivery_id_deduplicates_and_the_job_orders() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    environment.insert("CONTACTS_QUEUE_URL", emulators.contacts_fifo.url.clone());
    let receiver = receiver(&environment);

    deliver(&receiver, &signed(&contact("delivery-1"))).await;
    let jobless = envelope("delivery-2", "job.contact.scored", &json!({}));
    deliver(&receiver, &signed(&jobless)).await;

    let messages = emulators.contacts_fifo.messages();
    let ids = messages.iter().map(|it| {
        let deduplication_id = it.deduplication_id.as_deref();
        (it.group_id.as_deref(), deduplication_id)
    });
    let expected = [
        (Some("job-1"), Some("delivery-1")),
        (Some("delivery-2"), Some("delivery-2")),
    ];
    assert!(ids.eq(expected));
}

#[tokio::test]
async fn a_completed_job_is_marked_completed() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));

    let finished = signed(&completed_job("delivery-1", "job-1"));
    assert_eq!(deliver(&receiver, &finished).await, Answer::accepted());

    let expected = item(&[
        ("job_id", s("job-1")),
        ("name", s("Synthetic batch")),
        ("type", s("scoring")),
        ("status", s("Finalized")),
        ("modified_at", s("2100-01-01T00:00:00Z")),
        ("completed_at", n(NOT_STALE)),
        ("delivery_id", s("delivery-1")),
    ]);
    assert_eq!(emulators.jobs.get("job-1"), Some(expected));
    assert_eq!(emulators.contacts.len(), 0);
}

#[tokio::test]
async fn a_job_without_a_name_is_marked_completed() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let bare = envelope("delivery-1", "job.completed", &json!({"jobId": "job-1"}));

    assert_eq!(deliver(&receiver, &signed(&bare)).await, Answer::accepted());

    let expected = item(&[
        ("job_id", s("job-1")),
        ("completed_at", n(NOT_STALE)),
        ("delivery_id", s("delivery-1")),
    ]);
    assert_eq!(emulators.jobs.get("job-1"), Some(expected));
}

#[tokio::test]
async fn a_job_of_any_size_is_marked_completed_with_as_much_text_as_a_record_holds() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let long = "n".repeat(500_000);
    let payload = json!({
        "jobId": "j".repeat(2_048), "jobName": long, "jobType": long, "jobStatus": long,
        "modifiedAt": long,
    });
    let event = signed(&envelope("delivery-1", "job.completed", &payload));
    assert_eq!(deliver(&receiver, &event).await, Answer::accepted());
    let record = emulators.jobs.get(&"j".repeat(2_048)).unwrap();
    for name in ["name", "type", "status", "modified_at"] {
        assert_eq!(text(&record, name).unwrap(), long[..65_536], "{name}");
    }
}

#[tokio::test]
async fn an_older_event_of_a_job_never_overwrites_a_newer_one() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let at = |id: &str, timestamp: i64, status: &str| {
        let mut event: Value = serde_json::from_str(&completed_job(id, "job-1")).unwrap();
        event["timestamp"] = timestamp.into();
        event["payload"]["jobStatus"] = status.into();
        signed(&event.to_string())
    };
    let status = || text(&emulators.jobs.get("job-1").unwrap(), "status").unwrap();

    deliver(&receiver, &at("newer", NOT_STALE, "Finalized")).await;
    let older = deliver(&receiver, &at("older", NOT_STALE - 1, "Running")).await;
    assert_eq!(older, Answer::accepted());
    assert_eq!(status(), "Finalized");
    deliver(&receiver, &at("newest", NOT_STALE + 1, "Not Enriched")).await;
    assert_eq!(status(), "Not Enriched");
}

#[tokio::test]
async fn a_job_record_keeps_the_attributes_that_another_program_wrote() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    emulators.jobs.put(&item(&[
        ("job_id", s("job-1")),
        ("submitted_by", s("someone")),
    ]));

    deliver(&receiver, &signed(&completed_job("delivery-1", "job-1"))).await;

    let job = emulators.jobs.get("job-1").unwrap();
    assert_eq!(text(&job, "submitted_by").as_deref(), Some("someone"));
    assert_eq!(text(&job, "status").as_deref(), Some("Finalized"));
}

#[tokio::test]
async fn a_completed_delivery_is_a_duplicate_even_with_another_timestamp() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    for body in [contact("delivery-1"), completed_job("delivery-2", "job-1")] {
        deliver(&receiver, &signed(&body)).await;
        assert_eq!(
            deliver(&receiver, &signed(&body)).await,
            Answer::duplicate()
        );
        let again = body.replace("4102444800000", "4102444860000");
        assert_ne!(again, body);
        assert_eq!(
            deliver(&receiver, &signed(&again)).await,
            Answer::duplicate()
        );
    }
    assert_eq!(emulators.contacts.len(), 1);
}

#[tokio::test]
async fn unsigned_requests_make_no_call_to_aws_and_get_the_same_answer() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let body = contact("delivery-1");
    let good = signature(SIGNING_SECRET, body.as_bytes());

    let mut requests = vec![
        request(&body, None),
        request(&body, Some("")),
        request(&body, Some("not a signature")),
        request(&body, Some(&good[..43])),
        request(&body, Some(&format!("sha256={good}"))),
        request(&body, Some(&format!("{good},{good}"))),
        request(&body, Some(&signature("another secret", body.as_bytes()))),
        request(
            &body,
            Some(&signature(&SIGNING_SECRET[1..], body.as_bytes())),
        ),
        request(&body, Some(&signature("", body.as_bytes()))),
        request(&format!("{body} "), Some(&good)),
        request(&body.replace("555-0101", "555-0102"), Some(&good)),
        request("", Some(&good)),
        json!(null),
        json!({}),
    ];
    let mut lie = request(&body, Some(&good));
    lie["isBase64Encoded"] = true.into();
    requests.push(lie);
    for request in requests {
        assert_eq!(
            deliver(&receiver, &request).await,
            Answer::refused(),
            "{request}"
        );
    }
    assert_eq!(proxies.operations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_new_contact_takes_three_calls_a_duplicate_one_and_quarantine_one() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);

    let new = signed(&contact("delivery-1"));
    deliver(&receiver, &new).await;
    assert_eq!(proxies.operations(), ["PutItem", "PutItem", "SendMessage"]);
    deliver(&receiver, &new).await;
    assert_eq!(proxies.operations().len(), 4);
    deliver(&receiver, &signed("nonsense")).await;
    assert_eq!(proxies.operations().len(), 5);
}

#[tokio::test]
async fn a_delivery_that_is_not_understood_is_quarantined_whole_with_its_reason() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let stale_ms = now() - 4 * 24 * 60 * 60 * 1000 - 1000;
    let stale = contact("stale").replace("4102444800000", &stale_ms.to_string());
    let other_version = contact("version").replace("\"v2\"", "\"v3\"");
    let cases: [(Value, &str, &str, &str, Option<&str>); 7] = [
        (signed("nonsense"), "nonsense", "not_json", "text", None),
        (
            signed_bytes(b"\xff\x00"),
            "/wA=",
            "not_json",
            "base64",
            None,
        ),
        (signed(""), "empty", "not_json", "empty", None),
        (
            signed(r#"{"id":"d"}"#),
            r#"{"id":"d"}"#,
            "not_envelope",
            "text",
            Some("d"),
        ),
        (signed(&stale), &stale, "stale", "text", Some("stale")),
        (
            signed(&other_version),
            &other_version,
            "unknown_api_version",
            "text",
            Some("version"),
        ),
        (
            signed(&contact("a b")),
            &contact("a b"),
            "unusable_id",
            "text",
            None,
        ),
    ];
    for (event, body, reason, encoding, id) in cases {
        assert_eq!(
            deliver(&receiver, &event).await,
            Answer::quarantined(),
            "{event}"
        );
        let message = emulators.quarantine.messages().pop().unwrap();
        assert_eq!(message.body, body);
        assert_eq!(message.attribute("reason"), Some(reason));
        assert_eq!(message.attribute("encoding"), Some(encoding));
        assert_eq!(message.attribute("deliveryId"), id);
    }
    assert_eq!(emulators.quarantine.len(), 7);
    assert_eq!(emulators.contacts.len(), 0);
    assert_eq!(emulators.deliveries.len(), 0);
}

#[tokio::test]
async fn an_event_just_young_enough_is_accepted() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let young_ms = now() - 4 * 24 * 60 * 60 * 1000 + 60_000;
    let young = contact("young").replace("4102444800000", &young_ms.to_string());
    assert_eq!(
        deliver(&receiver, &signed(&young)).await,
        Answer::accepted()
    );
}

#[tokio::test]
async fn an_event_that_reuses_an_id_is_quarantined_and_the_first_record_unchanged() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    deliver(&receiver, &signed(&contact("delivery-1"))).await;
    let first = emulators.deliveries.get("delivery-1");

    let other_payload = contact("delivery-1").replace("555-0101", "555-0102");
    let other_type = completed_job("delivery-1", "job-1");
    for other in [other_payload, other_type] {
        assert_eq!(
            deliver(&receiver, &signed(&other)).await,
            Answer::quarantined()
        );
        let message = emulators.quarantine.messages().pop().unwrap();
        assert_eq!(message.body, other);
        assert_eq!(message.attribute("reason"), Some("id_reused"));
        assert_eq!(message.attribute("deliveryId"), Some("delivery-1"));
    }
    assert_eq!(emulators.deliveries.get("delivery-1"), first);
    assert_eq!(emulators.contacts.len(), 1);
    assert_eq!(emulators.jobs.len(), 0);
}

pub(crate) fn in_progress(id: &str, lease_ends_ms: i64) -> Item {
    item(&[
        ("delivery_id", s(id)),
        ("status", s("INPROGRESS")),
        ("in_progress_expiration", n(lease_ends_ms)),
        ("expiration", n(now() / 1000 + 86_400)),
        ("claimed_by", s("somebody")),
    ])
}

#[tokio::test]
async fn a_live_lease_is_answered_429_and_an_ended_one_taken_over() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let event = signed(&contact("delivery-1"));

    let held = in_progress("delivery-1", now() + 7_000);
    emulators.deliveries.put(&held);
    let answer = deliver(&receiver, &event).await;
    assert_eq!(answer.status, 429);
    assert!(answer.is_in_the_table());
    assert!((1..=7).contains(&answer.retry_after.unwrap()), "{answer:?}");
    assert_eq!(emulators.deliveries.get("delivery-1"), Some(held));
    assert_eq!(emulators.contacts.len(), 0);

    emulators
        .deliveries
        .put(&in_progress("delivery-1", now() - 1));
    assert_eq!(deliver(&receiver, &event).await, Answer::accepted());
    assert_eq!(emulators.contacts.len(), 1);
}

#[tokio::test]
async fn an_expired_record_counts_as_deleted() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    emulators.deliveries.put(&item(&[
        ("delivery_id", s("delivery-1")),
        ("status", s("COMPLETED")),
        ("in_progress_expiration", n(1)),
        ("expiration", n(now() / 1000 - 1)),
        ("claimed_by", s("somebody")),
    ]));
    let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
    assert_eq!(answer, Answer::accepted());
}

/// TitanX retries for three days. With the minimum retention, which is the default, no retry is stale.
#[tokio::test]
async fn an_event_is_stale_three_days_before_its_record_expires_and_no_sooner() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    for (retention_days, limit_days) in [(None, 4), (Some("7"), 4), (Some("30"), 27)] {
        let emulators = Emulators::start();
        let mut environment = environment(&emulators);
        environment.extend(retention_days.map(|days| ("DELIVERY_RETENTION_DAYS", days.to_owned())));
        let receiver = receiver(&environment);
        let aged = |id: &str, age_ms: i64| {
            let timestamp = (now() - age_ms).to_string();
            signed(&contact(id).replace(&NOT_STALE.to_string(), &timestamp))
        };
        let younger = aged("younger", limit_days * DAY_MS - 60_000);
        assert_eq!(deliver(&receiver, &younger).await, Answer::accepted());
        let older = aged("older", limit_days * DAY_MS + 1000);
        assert_eq!(deliver(&receiver, &older).await, Answer::quarantined());
    }
}

#[tokio::test]
async fn a_completed_delivery_stays_completed_after_its_lease() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let completed = item(&[
        ("delivery_id", s("delivery-1")),
        ("status", s("COMPLETED")),
        ("in_progress_expiration", n(1)),
        ("expiration", n(now() / 1000 + 60)),
        ("claimed_by", s("somebody")),
    ]);
    emulators.deliveries.put(&completed);
    let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
    assert_eq!(answer, Answer::duplicate());
    assert_eq!(emulators.deliveries.get("delivery-1"), Some(completed));
    assert_eq!(emulators.contacts.len(), 0);
}

#[tokio::test]
async fn a_record_of_unknown_form_is_answered_503_and_left_unchanged() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let foreign = item(&[("delivery_id", s("delivery-1")), ("status", s("OTHER"))]);
    emulators.deliveries.put(&foreign);
    let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
    assert_eq!(answer.status, 503);
    assert!(answer.is_in_the_table());
    assert_eq!(emulators.deliveries.get("delivery-1"), Some(foreign));
    assert_eq!(emulators.contacts.len(), 0);
}

#[tokio::test]
async fn the_lease_lasts_as_long_as_the_invocation_and_names_its_owner() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    proxies.sqs.inject(When::Always, Fault::Before(Harm::Stop));
    let event = signed(&contact("delivery-1"));

    let began_ms = now();
    tokio::select! {
        answer = deliver(&receiver, &event) => panic!("answered {answer:?}"),
        () = proxies.sqs.stopped() => {}
    }
    let record = emulators.deliveries.get("delivery-1").unwrap();
    assert_eq!(text(&record, "status").as_deref(), Some("INPROGRESS"));
    assert_eq!(text(&record, "claimed_by").unwrap().len(), 32);
    let deadline_ms = i64::try_from(TIMEOUT.as_millis()).unwrap();
    let lease_ms = number(&record, "in_progress_expiration").unwrap();
    let margin_ms = lease_ms - deadline_ms - began_ms;
    assert!(
        (1_000..now() - began_ms + 1_001).contains(&margin_ms),
        "{margin_ms}"
    );
}

#[tokio::test]
async fn an_event_that_no_message_can_hold_even_as_gzip_is_too_large_and_claims_nothing() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let sized = |bytes: usize| {
        let empty = envelope("delivery-1", "job.contact.scored", &json!({"notes": ""}));
        let notes = incompressible(bytes - empty.len());
        signed(&envelope(
            "delivery-1",
            "job.contact.scored",
            &json!({"notes": notes}),
        ))
    };
    // Names, types and values of the five attributes.
    let attributes = [
        "eventTypeStringjob.contact.scored",
        "deliveryIdStringdelivery-1",
        "apiVersionStringv2",
        "timestampNumber4102444800000",
        "sourceStringwebhook",
    ]
    .concat()
    .len();
    let limit = 1024 * 1024 - attributes;

    // A message in quarantine has fewer attributes.
    let too_large = deliver(&receiver, &sized(limit + 1)).await;
    assert_eq!(too_large, Answer::quarantined());
    assert_eq!(emulators.quarantine.len(), 1);
    let too_large = deliver(&receiver, &sized(1024 * 1024 + 1)).await;
    assert_eq!(too_large.status, 413);
    assert!(too_large.is_in_the_table());
    let unreadable = signed(&incompressible(1024 * 1024 + 1));
    assert_eq!(deliver(&receiver, &unreadable).await.status, 413);
    assert_eq!(emulators.quarantine.len(), 1);
    let huge = deliver(&receiver, &sized(6 * 1024 * 1024)).await;
    assert_eq!(huge.status, 413);
    assert_eq!(emulators.deliveries.len(), 0);

    assert_eq!(deliver(&receiver, &sized(limit)).await, Answer::accepted());
}

#[tokio::test]
async fn characters_that_sqs_refuses_do_not_keep_a_contact_from_its_queue() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let body = contact("delivery-1").replace("+1", "a\u{FFFE}b\u{FFFF}c");
    assert_eq!(deliver(&receiver, &signed(&body)).await, Answer::accepted());
    let sent = emulators.contacts.messages().pop().unwrap().body;
    assert_eq!(
        sent,
        body.replace('\u{FFFE}', "\\ufffe")
            .replace('\u{FFFF}', "\\uffff")
    );
    let (sent, body): (Value, Value) = (
        serde_json::from_str(&sent).unwrap(),
        serde_json::from_str(&body).unwrap(),
    );
    assert_eq!(sent, body);
}

#[tokio::test]
async fn with_too_little_time_left_nothing_is_begun() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let event = signed(&contact("delivery-1"));
    for timeout in [Duration::ZERO, Duration::from_millis(500)] {
        let answer = deliver_within(&receiver, &event, timeout).await;
        assert_eq!(answer.status, 503, "{timeout:?}");
        assert!(answer.is_in_the_table());
    }
    assert_eq!(emulators.contacts.len(), 0);
    assert_eq!(deliver(&receiver, &event).await, Answer::accepted());
}

#[tokio::test]
async fn a_failed_completion_mark_is_still_an_acknowledgement() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    for attempt in 2..=4 {
        let complete = When::NthOf(attempt, "PutItem");
        proxies
            .dynamodb
            .inject(complete, Fault::Before(Harm::ServerError));
    }
    let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
    assert_eq!(answer, Answer::accepted());
    assert_eq!(emulators.contacts.len(), 1);
    let record = emulators.deliveries.get("delivery-1").unwrap();
    assert_eq!(text(&record, "status").as_deref(), Some("INPROGRESS"));
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_recognised_as_our_own() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let claim = When::NthOf(1, "PutItem");
    proxies.dynamodb.inject(claim, Fault::After(Harm::Reset));
    let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
    assert_eq!(answer, Answer::accepted());
    assert_eq!(emulators.contacts.len(), 1);
}

#[tokio::test]
async fn a_failed_send_releases_the_claim_for_the_next_attempt() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let event = signed(&contact("delivery-1"));
    proxies
        .sqs
        .inject(When::Always, Fault::Before(Harm::ServerError));
    let answer = deliver(&receiver, &event).await;
    assert_eq!(answer.status, 503);
    assert!(answer.is_in_the_table());
    assert_eq!(emulators.deliveries.get("delivery-1"), None);
    proxies.heal();
    assert_eq!(deliver(&receiver, &event).await, Answer::accepted());
}

#[tokio::test]
async fn nothing_is_acknowledged_that_could_not_be_stored() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let fails = Fault::Before(Harm::ServerError);
    proxies.sqs.inject(When::Always, fails);
    proxies.dynamodb.inject(When::Every("UpdateItem"), fails);
    let events = [
        signed(&contact("delivery-1")),
        signed(&completed_job("delivery-2", "job-1")),
        signed("nonsense"),
    ];
    for event in &events {
        let answer = deliver(&receiver, event).await;
        assert_eq!(answer.status, 503, "{event}");
        assert!(answer.is_in_the_table());
    }
    assert_eq!(emulators.deliveries.len(), 0);
    proxies.heal();
    for event in &events {
        assert_eq!(deliver(&receiver, event).await.status, 200);
    }
    assert_eq!(emulators.contacts.len(), 1);
    assert_eq!(emulators.jobs.len(), 1);
    assert_eq!(emulators.quarantine.len(), 1);
}

#[tokio::test]
async fn without_a_claim_nothing_is_begun() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let claim = When::Every("PutItem");
    proxies
        .dynamodb
        .inject(claim, Fault::Before(Harm::ServerError));
    for body in [contact("delivery-1"), completed_job("delivery-2", "job-1")] {
        assert_eq!(deliver(&receiver, &signed(&body)).await.status, 503);
    }
    assert_eq!(emulators.contacts.len(), 0);
    assert_eq!(emulators.jobs.len(), 0);
}

#[tokio::test]
async fn a_send_that_hangs_is_abandoned_in_time_to_release_the_claim() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let hangs = Fault::Before(Harm::Delay(Duration::from_mins(1)));
    proxies.sqs.inject(When::Always, hangs);
    // The time reserved for the release is less than a second, which may be too short on a busy machine.
    for attempt in 1..=5 {
        let id = format!("delivery-{attempt}");
        let event = signed(&contact(&id));
        let answer = deliver_within(&receiver, &event, Duration::from_secs(3)).await;
        assert_eq!(answer.status, 503);
        if emulators.deliveries.get(&id).is_none() {
            return;
        }
    }
    panic!("never given back");
}

#[tokio::test]
async fn releasing_a_lost_claim_succeeds_and_an_unreachable_table_is_an_error() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let request = Request::from_event(&signed(&contact("delivery-1")).to_string()).unwrap();
    let body = verified(&receiver, &request).await;
    let event = Event::parse(body, 0).unwrap();
    let claim = receiver
        .intake
        .deliveries
        .claim(&event, now(), now() + 60_000);
    let Claim::Granted(lease) = claim.await.unwrap() else {
        panic!("the delivery is free");
    };
    assert_eq!(lease.delivery_id(), "delivery-1");

    proxies
        .dynamodb
        .inject(When::Always, Fault::Before(Harm::ServerError));
    assert!(receiver.intake.deliveries.release(&lease).await.is_err());
    proxies.heal();

    // The claim is now another invocation's. Then it is ours again, but completed.
    let ours = emulators.deliveries.get("delivery-1").unwrap();
    emulators
        .deliveries
        .put(&in_progress("delivery-1", now() + 60_000));
    receiver.intake.deliveries.release(&lease).await.unwrap();
    assert!(emulators.deliveries.get("delivery-1").is_some());
    let mut completed = ours.clone();
    completed.insert("status".to_owned(), s("COMPLETED"));
    emulators.deliveries.put(&completed);
    receiver.intake.deliveries.release(&lease).await.unwrap();
    assert_eq!(emulators.deliveries.get("delivery-1"), Some(completed));

    emulators.deliveries.put(&ours);
    receiver.intake.deliveries.release(&lease).await.unwrap();
    assert_eq!(emulators.deliveries.get("delivery-1"), None);
}

#[tokio::test]
async fn a_completion_is_unconditional_and_its_record_expires() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let request = Request::from_event(&signed(&contact("delivery-1")).to_string()).unwrap();
    let body = verified(&receiver, &request).await;
    let event = Event::parse(body, 0).unwrap();
    let others = [None, Some(in_progress("delivery-1", now() + 60_000))];
    for record in others {
        emulators.deliveries.delete("delivery-1");
        let claim = receiver
            .intake
            .deliveries
            .claim(&event, now(), now() + 60_000);
        let Claim::Granted(lease) = claim.await.unwrap() else {
            panic!("the delivery is free");
        };
        emulators.deliveries.delete("delivery-1");
        if let Some(record) = record {
            emulators.deliveries.put(&record);
        }
        let completion = lease.into_completion();
        let complete = receiver.intake.deliveries.complete(completion, now());
        complete.await.unwrap();
        let record = emulators.deliveries.get("delivery-1").unwrap();
        assert_eq!(text(&record, "status").as_deref(), Some("COMPLETED"));
        let week_s = now() / 1000 + 7 * 24 * 60 * 60;
        assert!((week_s - 60..=week_s).contains(&number(&record, "expiration").unwrap()));
    }
}

#[tokio::test]
async fn a_completed_contact_can_be_recognised_once_its_job_is_reconciled() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let (longest, longer) = ("j".repeat(128), "j".repeat(129));
    // printf %s crm-1 | sha256sum, the first 16 bytes in Base64.
    let key = AttributeValue::SS(vec!["contactCrmId:5uL7v5SzpdYP2MFkPrKKMg".to_owned()]);
    let scored = "job.contact.scored";
    let cases = [
        (
            scored,
            json!({"jobId": "job-1", "contactCrmId": "crm-1"}),
            (Some("job-1"), Some(key)),
        ),
        (scored, json!({"jobId": longest}), (Some(&*longest), None)),
        (scored, json!({"jobId": longer}), (None, None)),
        ("job.completed", json!({"jobId": "job-1"}), (None, None)),
    ];
    for (number, (event_type, payload, (job_id, keys))) in cases.into_iter().enumerate() {
        let id = format!("delivery-{number}");
        deliver(&receiver, &signed(&envelope(&id, event_type, &payload))).await;
        let record = emulators.deliveries.get(&id).unwrap();
        assert_eq!(text(&record, "status").as_deref(), Some("COMPLETED"));
        assert_eq!(text(&record, "job_id").as_deref(), job_id, "{payload}");
        assert_eq!(record.get("contact_keys"), keys.as_ref(), "{payload}");
    }
}

#[tokio::test]
async fn nothing_is_dispatched_under_a_lease_that_may_end_first() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let request = Request::from_event(&signed(&contact("delivery-1")).to_string()).unwrap();
    let body = verified(&receiver, &request).await;
    let event = Event::parse(body, 0).unwrap();
    for (lease_ms, covers) in [(-1, false), (1_000, false), (60_000, true)] {
        let mut budget = Budget::begin(now_ms() + 8_000);
        budget.lease_ends_ms = now() + lease_ms;
        let mut log = Log::default();
        let accept = receiver
            .intake
            .accept(&event, Source::Webhook, budget, &mut log);
        let accepted = accept.await;
        assert_eq!(accepted.is_ok(), covers, "{accepted:?}");
        assert_eq!(emulators.contacts.len(), usize::from(covers));
    }
}

/// No service answers, so connecting times out: this must not delay the start.
#[tokio::test]
async fn dynamodb_and_sqs_are_connected_before_the_first_delivery() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    let stores = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SQS"].map(|name| {
        let store = TcpListener::bind("127.0.0.1:0").unwrap();
        environment.insert(name, format!("http://{}/", store.local_addr().unwrap()));
        store
    });
    let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
    config.build().unwrap().1.connect().await;
    for store in stores {
        store.set_nonblocking(true).unwrap();
        let (mut connection, _) = store.accept().unwrap();
        let mut request = [0; 19];
        connection.read_exact(&mut request).unwrap();
        assert_eq!(str::from_utf8(&request), Ok("GET /ping HTTP/1.1\r"));
    }
}

/// The environment of a receiver whose secrets are in Secrets Manager, and the proxies it uses.
pub(crate) fn stored_secrets(emulators: &Emulators) -> (BTreeMap<&'static str, String>, Proxies) {
    let mut environment = emulators.environment();
    let proxies = Proxies::between(&mut environment, emulators);
    (environment, proxies)
}

/// A receiver that has read its secrets from Secrets Manager, and the proxies that it uses.
pub(crate) async fn receiver_with_stored_secrets(emulators: &Emulators) -> (Receiver, Proxies) {
    let (environment, proxies) = stored_secrets(emulators);
    let receiver = receiver(&environment);
    receiver.secrets.load().await.unwrap();
    (receiver, proxies)
}

/// The signed body of a request.
async fn verified<'a>(receiver: &Receiver, request: &'a Request) -> Verified<'a> {
    match receiver.secrets.verify(request, now()).await {
        Ok(Verification::Verified { body, .. }) => body,
        other => panic!("{other:?}"),
    }
}

fn signed_with(secret: &str, id: &str) -> Value {
    let body = contact(id);
    request(&body, Some(&signature(secret, body.as_bytes())))
}

#[tokio::test]
async fn a_rotated_secret_is_read_before_anything_is_refused() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    let reads = || proxies.secrets_manager.calls().len();
    assert_eq!(
        deliver(&receiver, &signed(&contact("1"))).await,
        Answer::accepted()
    );
    assert_eq!(reads(), 1);

    emulators
        .secret
        .rotate(&json!([SIGNING_SECRET, "new-secret"]).to_string());
    let with_new = signed_with("new-secret", "2");
    assert_eq!(deliver(&receiver, &with_new).await, Answer::accepted());
    assert_eq!(reads(), 2);
    assert_eq!(
        deliver(&receiver, &signed(&contact("3"))).await,
        Answer::accepted()
    );

    let malformed = request(&contact("5"), Some("malformed"));
    assert_eq!(deliver(&receiver, &malformed).await, Answer::refused());
    assert_eq!(reads(), 2);
}

/// After a mismatch, an answer is final only if the secrets were read after the request came.
#[tokio::test]
async fn an_event_whose_secret_is_stored_a_moment_later_is_accepted_when_it_comes_again() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    let reads = || proxies.secrets_manager.calls().len();

    // A forged request causes a read of the secrets. That read decides about this request and no later one.
    let forged = signed_with("wrong", "1");
    assert_eq!(deliver(&receiver, &forged).await, Answer::refused());
    assert_eq!(reads(), 2);
    let both = json!([SIGNING_SECRET, "new-secret"]).to_string();
    emulators.secret.rotate(&both);
    for id in ["2", "3", "4"] {
        let answer = deliver(&receiver, &signed_with("new-secret", id)).await;
        assert_eq!(answer, Answer::accepted());
    }
    assert_eq!(reads(), 3);
}

#[tokio::test]
async fn a_flood_of_forged_requests_costs_five_reads_and_is_answered_429() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    let reads = || proxies.secrets_manager.calls().len() - 1;
    let mut refused = 0;
    for number in 0..10_000 {
        let forged = signed_with("wrong", &number.to_string());
        let answer = deliver(&receiver, &forged).await;
        if answer == Answer::refused() {
            refused += 1;
        } else {
            assert_eq!(answer.status, 429);
            assert_eq!(
                answer.body,
                json!({"error": "Signature not recognised yet"})
            );
            assert!(
                (1..=30).contains(&answer.retry_after.unwrap()),
                "{answer:?}"
            );
        }
    }
    assert_eq!((refused, reads()), (5, 5));

    // An event signed with a secret that was stored meanwhile is answered 429 too, so it is not lost.
    let both = json!([SIGNING_SECRET, "new-secret"]).to_string();
    emulators.secret.rotate(&both);
    let event = signed_with("new-secret", "delivery-1");
    assert_eq!(deliver(&receiver, &event).await.status, 429);
    let known = deliver(&receiver, &signed(&contact("delivery-2"))).await;
    assert_eq!(known, Answer::accepted());
    assert_eq!(reads(), 5);

    // Half a minute later.
    let request = Request::from_event(&event.to_string()).unwrap();
    let verification = receiver.secrets.verify(&request, now() + 30_000).await;
    assert!(matches!(verification, Ok(Verification::Verified { .. })));
    assert_eq!(reads(), 6);
    assert_eq!(deliver(&receiver, &event).await, Answer::accepted());
}

#[tokio::test]
async fn a_removed_secret_stops_being_accepted_within_an_hour() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    let read_ms = now();
    emulators.secret.rotate("new-secret");
    let request = Request::from_event(&signed(&contact("delivery-1")).to_string()).unwrap();
    let verify = async |age_ms| receiver.secrets.verify(&request, read_ms + age_ms).await;

    let nearly_an_hour = 60 * 60 * 1_000 - 1_000;
    let verification = verify(nearly_an_hour).await.unwrap();
    assert!(matches!(verification, Verification::Verified { .. }));
    assert_eq!(proxies.secrets_manager.calls().len(), 1);
    let throttled = Fault::Before(Harm::Throttle);
    proxies.secrets_manager.inject(When::Always, throttled);
    assert!(verify(nearly_an_hour + 2_000).await.is_err());
    proxies.heal();
    let verification = verify(nearly_an_hour + 2_000).await.unwrap();
    assert!(matches!(verification, Verification::Invalid { .. }));
}

/// The keys of the three forms, computed without the code under test.
#[tokio::test]
async fn a_key_of_each_form_is_accepted_logged_once_and_can_be_pinned() {
    let secret = "wh_sk_c2l4dGVlbiBieXRlcyBvaw==";
    for (form, key) in [
        ("whole", secret),
        ("without-prefix", "c2l4dGVlbiBieXRlcyBvaw=="),
        ("decoded", "sixteen bytes ok"),
    ] {
        for pinned in [
            None,
            Some("any"),
            Some("whole"),
            Some("without-prefix"),
            Some("decoded"),
        ] {
            let emulators = Emulators::start();
            let mut environment = environment(&emulators);
            environment.insert("TITANX_WEBHOOK_SECRET", secret.to_owned());
            environment.extend(pinned.map(|it| ("SIGNING_KEY_FORM", it.to_owned())));
            let receiver = receiver(&environment);
            let log = crate::alarms::Log::default();
            for id in ["1", "2"] {
                let event = signed_with(key, id);
                let answer = log.of(Box::pin(deliver(&receiver, &event))).await;
                let accepted = pinned.is_none_or(|it| it == "any" || it == form);
                let expected = if accepted {
                    Answer::accepted()
                } else {
                    Answer::refused()
                };
                assert_eq!(answer, expected, "{form} {pinned:?}");
            }
            let forms = log
                .told()
                .into_iter()
                .filter_map(|line| line.get("key_form").cloned());
            let forms: Vec<_> = forms.collect();
            if emulators.contacts.len() == 2 {
                assert_eq!(forms, [form], "{pinned:?}");
            } else {
                assert_eq!(forms, [""; 0]);
            }
        }
    }
}

#[tokio::test]
async fn a_contact_too_large_for_its_queue_is_kept_in_quarantine() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let large = |id: &str, bytes: usize| {
        let notes = "Sample text. ".repeat(bytes / 13);
        envelope(id, "job.contact.scored", &json!({"notes": notes}))
    };
    // More than the limit of SQS, and then more than the limit of this queue.
    let body = large("delivery-1", 1_200_000);
    let answer = deliver(&receiver, &signed(&body)).await;
    assert_eq!(answer, Answer::quarantined());
    emulators.contacts.set_maximum_message_size(262_144);
    let smaller = large("delivery-2", 300_000);
    let answer = deliver(&receiver, &signed(&smaller)).await;
    assert_eq!(answer, Answer::quarantined());
    assert_eq!(emulators.contacts.len(), 0);
    assert_eq!(emulators.deliveries.get("delivery-2"), None);

    let parked = emulators.quarantine.messages();
    let [first, second] = &parked[..] else {
        panic!("{} messages", parked.len());
    };
    for message in &parked {
        assert_eq!(message.attribute("reason"), Some("too_large"));
    }
    assert_eq!(first.attribute("encoding"), Some("gzip-base64"));
    assert_eq!(gunzip(&first.body), body);
    assert_eq!(second.attribute("encoding"), Some("text"));
    assert_eq!(second.body, smaller);

    // The quarantine queue has the same limit.
    emulators.quarantine.set_maximum_message_size(262_144);
    let answer = deliver(&receiver, &signed(&large("delivery-3", 300_000))).await;
    assert_eq!(answer, Answer::quarantined());
    let parked = emulators.quarantine.messages();
    assert_eq!(parked[2].attribute("encoding"), Some("gzip-base64"));
}

/// Decodes with the system's `gzip` and `base64`.
fn gunzip(text: &str) -> String {
    let command = "base64 -d | gzip -dc";
    let mut unpack = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    unpack
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    String::from_utf8(unpack.wait_with_output().unwrap().stdout).unwrap()
}

/// Only its id is required to mark a job completed.
#[tokio::test]
async fn a_job_is_completed_whatever_its_free_text_holds() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let long = format!("\"{}\"", "x".repeat(500_000));
    for (number, (name, recorded)) in [
        (r#""Q1 \ud83d""#, Some("Q1 \u{FFFD}")),
        (
            r#""\udcde and \ud83d\udcde""#,
            Some("\u{FFFD} and \u{1F4DE}"),
        ),
        (r#""\ud83d\ud83d\udcde""#, Some("\u{FFFD}\u{1F4DE}")),
        ("5", None),
        ("null", None),
        (r#"{"a": []}"#, None),
        (&long, Some(&long[1..=65_536])),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, job) = (format!("delivery-{number}"), format!("job-{number}"));
        let body = format!(
            r#"{{"payload": {{"jobId": "{job}", "jobType": "scoring", "jobName": {name}}},
                "eventType": "job.completed", "timestamp": {NOT_STALE}, "apiVersion": "v2", "id": "{id}"}}"#
        );
        assert_eq!(
            deliver(&receiver, &signed(&body)).await,
            Answer::accepted(),
            "{name:.40}"
        );
        let record = emulators.jobs.get(&job).unwrap();
        assert_eq!(text(&record, "name").as_deref(), recorded, "{name:.40}");
        assert_eq!(text(&record, "type").as_deref(), Some("scoring"));
    }
    // The same text in a contact does not keep it from its queue.
    let body = format!(
        r#"{{"payload": {{"jobId": "job-1", "Note \ud83d": "\udcde"}}, "eventType": "job.contact.scored",
            "timestamp": {NOT_STALE}, "apiVersion": "v2", "id": "delivery-9"}}"#
    );
    assert_eq!(deliver(&receiver, &signed(&body)).await, Answer::accepted());
    assert_eq!(emulators.contacts.messages()[0].body, body);
}

#[tokio::test]
async fn concurrent_mismatches_share_one_read() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    emulators.secret.rotate("new-secret");
    let events = ["1", "2", "3"].map(|id| signed_with("new-secret", id));
    let [one, two, three] = &events;
    let answers = tokio::join!(
        deliver(&receiver, one),
        deliver(&receiver, two),
        deliver(&receiver, three)
    );
    assert_eq!(
        answers,
        (Answer::accepted(), Answer::accepted(), Answer::accepted())
    );
    assert_eq!(proxies.secrets_manager.calls().len(), 2);
}

/// The answer of a read that had begun before may not have the secret that was stored meanwhile.
#[tokio::test]
async fn a_read_that_began_before_a_request_came_does_not_refuse_it() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    delay_next_read(&proxies);
    let forged = signed_with("wrong", "1");
    let later = async {
        delayed_read(&proxies).await;
        let both = json!([SIGNING_SECRET, "new-secret"]).to_string();
        emulators.secret.rotate(&both);
        deliver(&receiver, &signed_with("new-secret", "2")).await
    };
    let answers = tokio::join!(deliver(&receiver, &forged), later);
    assert_eq!(answers, (Answer::refused(), Answer::accepted()));
    assert_eq!(proxies.secrets_manager.calls().len(), 3);
}

#[tokio::test]
async fn a_read_that_begins_after_requests_came_refuses_all_of_them() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    delay_next_read(&proxies);
    let forged = ["1", "2", "3"].map(|id| signed_with("wrong", id));
    let [one, two, three] = &forged;
    let later = async {
        delayed_read(&proxies).await;
        tokio::join!(deliver(&receiver, two), deliver(&receiver, three))
    };
    let (first, (second, third)) = tokio::join!(deliver(&receiver, one), later);
    let all = [first, second, third];
    assert!(all.iter().all(|it| *it == Answer::refused()), "{all:?}");
    // At the start, for the first, and for the other two.
    assert_eq!(proxies.secrets_manager.calls().len(), 3);
}

const LATE: Duration = Duration::from_millis(400);

/// Delays the answer of the next read.
fn delay_next_read(proxies: &Proxies) {
    let late = Fault::After(Harm::Delay(LATE));
    proxies.secrets_manager.inject(When::Nth(1), late);
}

/// Waits until that read has taken effect, while its answer is still on its way.
async fn delayed_read(proxies: &Proxies) {
    while proxies.secrets_manager.calls().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(LATE / 4).await;
}

#[tokio::test]
async fn without_any_secret_nothing_is_refused_for_good() {
    let emulators = Emulators::start();
    let (environment, proxies) = stored_secrets(&emulators);
    let receiver = receiver(&environment);
    proxies
        .secrets_manager
        .inject(When::Always, Fault::Before(Harm::ServerError));
    assert!(receiver.secrets.load().await.is_err());
    let event = signed(&contact("delivery-1"));
    let answer = deliver(&receiver, &event).await;
    assert_eq!(answer.status, 503);
    assert!(answer.is_in_the_table());
    proxies.heal();
    assert_eq!(deliver(&receiver, &event).await, Answer::accepted());
}

#[tokio::test]
async fn without_any_secret_nothing_is_refused_for_good_when_no_more_reads_are_left() {
    let emulators = Emulators::start();
    let (environment, proxies) = stored_secrets(&emulators);
    let receiver = receiver(&environment);
    proxies
        .secrets_manager
        .inject(When::Always, Fault::Before(Harm::ServerError));
    for number in 1..=7 {
        let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
        assert_eq!(answer.status, 503, "{number}");
    }
}

/// A snapshot may be restored weeks later, and its secrets rotated by then.
#[tokio::test]
async fn forgotten_secrets_accept_nothing_until_they_are_read_again() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    receiver.secrets.forget();
    proxies
        .secrets_manager
        .inject(When::Always, Fault::Before(Harm::ServerError));
    let event = signed(&contact("delivery-1"));
    assert_eq!(deliver(&receiver, &event).await.status, 503);
    proxies.heal();
    assert_eq!(deliver(&receiver, &event).await, Answer::accepted());
}

#[tokio::test]
async fn a_mismatch_is_not_final_while_the_secrets_cannot_be_read_again() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_with_stored_secrets(&emulators).await;
    emulators.secret.rotate("new-secret");
    proxies
        .secrets_manager
        .inject(When::Always, Fault::Before(Harm::Throttle));
    for _ in 0..2 {
        let answer = deliver(&receiver, &signed_with("new-secret", "1")).await;
        assert_eq!(answer.status, 503);
        assert!(answer.is_in_the_table());
    }
}

#[tokio::test]
async fn a_stored_value_that_holds_no_secret_refuses_nothing_for_good() {
    let emulators = Emulators::start();
    let (environment, _proxies) = stored_secrets(&emulators);
    let receiver = receiver(&environment);
    for value in ["[]", "[\"\"]", "[broken", " \n"] {
        emulators.secret.rotate(value);
        let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
        assert_eq!(answer.status, 503, "{value:?}");
    }
    emulators.secret.rotate(&format!("{SIGNING_SECRET}\n"));
    let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
    assert_eq!(answer, Answer::accepted());
}

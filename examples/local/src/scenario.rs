//! The scenario: what TitanX delivers and in which order, and which forged requests are sent.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use titanx_testbed::{
    gateway::Gateway,
    promises::Destination,
    titanx::{SIGNING_SECRET, envelope_at, now_ms},
};
use uuid::Uuid;

use crate::{
    screen::Screen,
    system::System,
    titanx::{Delivery, TitanxSender},
};

/// Contacts of the job, all of which TitanX delivers.
pub(crate) const CONTACTS: usize = 40;
/// The number of concurrent deliveries.
const CONCURRENCY: usize = 8;
/// One in this many contacts is delivered again later, as if its answer had been lost.
const ONE_IN_REPEATED_LATER: usize = 10;
/// One in this many contacts is delivered twice concurrently.
const ONE_IN_REPEATED_CONCURRENTLY: usize = 5;

/// Delivers the events of one job to the gateway. Returns its id, and the number of AWS calls that the forged
/// requests caused.
pub(crate) async fn run(
    titanx: &TitanxSender,
    gateway: &Gateway,
    system: &System,
    screen: Screen,
) -> (String, usize) {
    let job_id = Uuid::new_v4().to_string();
    let mut contacts: Vec<_> = (1..CONTACTS).map(|n| contact(n, &job_id)).collect();
    let late = Delivery {
        url_suffix: "/",
        ..contact(CONTACTS, &job_id)
    };
    let completed = completed_job(&job_id);
    fastrand::shuffle(&mut contacts);

    screen
        .text("  TitanX delivers a job's contacts out of order, some of them twice concurrently,");
    screen.text("  while some calls to DynamoDB and SQS fail.\n");
    system.break_some_calls();
    stream::iter(&with_concurrent_repeats(&contacts))
        .for_each_concurrent(CONCURRENCY, |contact| titanx.deliver(contact))
        .await;

    screen.text(
        "\n  The job is completed. One of its contacts arrives late, at the URL with a slash at its end.\n",
    );
    titanx.deliver(&completed).await;
    titanx.deliver(&late).await;
    system.heal();

    screen.text("\n  TitanX delivers some events again, the last one with another timestamp.\n");
    for contact in contacts.iter().step_by(ONE_IN_REPEATED_LATER) {
        titanx.deliver(contact).await;
    }
    titanx.deliver(&completed).await;
    titanx.deliver(&with_later_timestamp(&late)).await;

    screen.text("\n  An attacker sends forged requests.\n");
    // A completion mark follows its answer.
    gateway.idle().await;
    let calls_before = system.calls();
    for forged in forgeries(&job_id) {
        titanx.deliver(&forged).await;
    }
    gateway.idle().await;
    let calls = system.calls() - calls_before;

    screen.text("\n  TitanX delivers signed events that the receiver does not understand.\n");
    for delivery in not_understood(&job_id, &late) {
        titanx.deliver(&delivery).await;
    }
    (job_id, calls)
}

/// All contacts, some of them followed by a second delivery of the same contact.
fn with_concurrent_repeats(contacts: &[Delivery]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for (n, contact) in contacts.iter().enumerate() {
        deliveries.push(contact.clone());
        if n.is_multiple_of(ONE_IN_REPEATED_CONCURRENTLY) {
            let name = format!("{} again", contact.name);
            deliveries.push(Delivery {
                name,
                ..contact.clone()
            });
        }
    }
    deliveries
}

/// A synthetic contact. Phone numbers with 555-01xx are reserved for fictional use.
pub(crate) fn contact(n: usize, job_id: &str) -> Delivery {
    let person = [
        ("firstName", format!("Prénom{n:02}")),
        ("lastName", format!("Nachname{n:02}")),
        ("email", format!("person{n:02}@example.com")),
        ("phone", format!("+1 202-555-01{n:02}")),
        ("street", format!("{n} Sample Street")),
    ];
    let mut payload = json!({
        "jobId": job_id,
        "customerContactId": format!("customer-contact-{n}"),
        "leadStatus": "High Propensity",
    });
    for (field, value) in &person {
        payload[field] = json!(value);
    }
    Delivery {
        personal: person.into_iter().map(|(_, value)| value).collect(),
        ..event(
            Destination::ContactsQueue,
            &format!("contact {n:02}"),
            "job.contact.scored",
            &payload,
        )
    }
}

fn completed_job(job_id: &str) -> Delivery {
    let payload = json!({
        "jobId": job_id,
        "jobType": "scoring",
        "jobName": "Synthetic batch",
        "jobStatus": "Finalized",
        "modifiedAt": "2026-01-05T12:00:00Z",
    });
    event(
        Destination::JobsTable,
        "job completed",
        "job.completed",
        &payload,
    )
}

/// Requests without a valid signature.
fn forgeries(job_id: &str) -> [Delivery; 3] {
    let forged = |n, name: &str| Delivery {
        destination: None,
        name: name.to_owned(),
        ..contact(n, job_id)
    };
    let guessed = forged(41, "wrong secret").signed("wh_sk_guessed");
    let mut unsigned = forged(42, "not signed");
    unsigned.signature = None;
    let mut changed = forged(43, "body changed");
    changed.body = changed.body.replace("High", "Low");
    [guessed, unsigned, changed]
}

/// Signed deliveries that the receiver does not understand. One reuses the id of `earlier`.
fn not_understood(job_id: &str, earlier: &Delivery) -> [Delivery; 3] {
    let expect = |reason, name: &str, delivery: Delivery| Delivery {
        destination: Some(Destination::Quarantine(reason)),
        name: name.to_owned(),
        ..delivery
    };
    let job_started = event(
        Destination::Quarantine("unknown_event_type"),
        "",
        "job.started",
        &json!({"jobId": job_id}),
    );
    let mut truncated = contact(44, job_id);
    truncated.body.pop();
    let mut reused = contact(45, job_id);
    reused.body = reused.body.replace(&reused.id, &earlier.id);
    reused.id.clone_from(&earlier.id);
    [
        expect("unknown_event_type", "unknown event type", job_started),
        expect(
            "not_json",
            "truncated body",
            truncated.signed(SIGNING_SECRET),
        ),
        expect("id_reused", "reused id", reused.signed(SIGNING_SECRET)),
    ]
}

/// An event as TitanX delivers it.
fn event(destination: Destination, name: &str, event_type: &str, payload: &Value) -> Delivery {
    let id = Uuid::new_v4().to_string();
    Delivery {
        destination: Some(destination),
        name: name.to_owned(),
        body: envelope_at(now_ms(), &id, event_type, payload),
        id,
        url_suffix: "",
        signature: None,
        personal: Vec::new(),
    }
    .signed(SIGNING_SECRET)
}

/// The same event with a timestamp one minute later, as a retry may have.
fn with_later_timestamp(delivery: &Delivery) -> Delivery {
    let mut envelope: Value = serde_json::from_str(&delivery.body).expect("the body is JSON");
    let timestamp = envelope["timestamp"]
        .as_u64()
        .expect("the timestamp is an integer");
    envelope["timestamp"] = json!(timestamp + 60_000);
    Delivery {
        body: envelope.to_string(),
        ..delivery.clone()
    }
    .signed(SIGNING_SECRET)
}

#[cfg(test)]
mod tests {
    use titanx_testbed::titanx::signature;

    use super::*;

    /// The five values that tell something of this person.
    fn person(n: usize) -> Vec<String> {
        vec![
            format!("Prénom{n:02}"),
            format!("Nachname{n:02}"),
            format!("person{n:02}@example.com"),
            format!("+1 202-555-01{n:02}"),
            format!("{n} Sample Street"),
        ]
    }

    /// Whatever becomes of a delivery, its person is in its body, and is what the checks look for.
    #[test]
    fn what_the_checks_look_for_is_the_person_in_the_body_of_each_delivery() {
        let (first, late) = (contact(1, "job-1"), contact(40, "job-1"));
        let twice = with_concurrent_repeats(std::slice::from_ref(&first));
        let later = with_later_timestamp(&late);
        let nobody = completed_job("job-1");
        let about = |n: usize, delivery: Delivery| (person(n), delivery);
        let deliveries = twice.into_iter().map(|delivery| about(1, delivery));
        let forged = (41..).zip(forgeries("job-1"));
        let forged = forged.map(|(n, delivery)| about(n, delivery));
        let [started, truncated, reused] = not_understood("job-1", &late);
        let others = [
            about(40, later),
            about(40, late),
            about(44, truncated),
            about(45, reused),
            (Vec::new(), nobody),
            (Vec::new(), started),
        ];
        let deliveries: Vec<_> = deliveries.chain(forged).chain(others).collect();
        assert_eq!(deliveries.len(), 11);
        for (person, delivery) in deliveries {
            let Delivery {
                name,
                body,
                personal,
                ..
            } = &delivery;
            assert_eq!(*personal, person, "{name}");
            assert!(
                person.iter().all(|value| body.contains(value)),
                "{name}: {body}"
            );
            assert_eq!(body.contains('@'), !person.is_empty(), "{name}: {body}");
        }
    }

    /// The payload of a contact has nothing of a person that is not looked for.
    #[test]
    fn nothing_else_in_a_contact_tells_of_a_person() {
        let envelope: Value = serde_json::from_str(&contact(7, "job-1").body).unwrap();
        let payload = envelope["payload"].as_object().unwrap();
        let values = payload.values().map(|value| value.as_str().unwrap());
        let others: Vec<_> = values
            .filter(|it| !person(7).contains(&(*it).to_owned()))
            .collect();
        assert_eq!(others, ["job-1", "customer-contact-7", "High Propensity"]);
    }

    /// Else each of them would be refused, or taken, for another reason than its own.
    #[test]
    fn each_forgery_has_its_own_mistake_and_what_is_not_understood_is_signed() {
        let signed = |delivery: &Delivery| {
            let right = signature(SIGNING_SECRET, &delivery.body);
            delivery.signature.as_ref().map(|it| *it == right)
        };
        let [guessed, unsigned, changed] = forgeries("job-1");
        assert_eq!(
            [&guessed, &unsigned, &changed].map(signed),
            [Some(false), None, Some(false)]
        );
        let late = contact(40, "job-1");
        let [started, truncated, reused] = not_understood("job-1", &late);
        let later = with_later_timestamp(&late);
        let all = [&late, &later, &started, &truncated, &reused];
        assert_eq!(all.map(signed), [Some(true); 5]);
        assert_ne!(later.body, late.body);
        assert_eq!((&later.id, &reused.id), (&late.id, &late.id));
    }
}

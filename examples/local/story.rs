//! The story: what TitanX delivers and in which order, and what strangers try.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use titanx_testbed::emulators::SIGNING_SECRET;
use uuid::Uuid;

use crate::{
    screen::Screen,
    system::System,
    titanx::{Delivery, TitanX, What},
};

const CONTACTS: usize = 40;
/// How many deliveries are under way at once.
const CONCURRENCY: usize = 8;
/// An answer to TitanX gets lost so often, whence the event is delivered again later.
const ONE_IN_LATER: usize = 10;
/// And so often it is delivered twice at the same moment.
const ONE_IN_AT_ONCE: usize = 5;

/// Tells the story of one job. Returns how many calls to AWS the strangers caused.
pub(crate) async fn tell(titanx: &TitanX, system: &System, screen: Screen) -> usize {
    let job_id = Uuid::new_v4().to_string();
    let mut contacts: Vec<_> = (1..CONTACTS).map(|n| contact(n, &job_id)).collect();
    let late = contact(CONTACTS, &job_id);
    let finished = finished_job(&job_id);
    fastrand::shuffle(&mut contacts);

    screen.text("  A job's contacts, out of order, some twice at the same moment, while DynamoDB");
    screen.text("  and SQS fail now and then.\n");
    system.break_some_calls();
    stream::iter(&some_twice(&contacts))
        .for_each_concurrent(CONCURRENCY, |contact| titanx.deliver(contact))
        .await;

    screen.text("\n  The job is done, and one of its contacts is late.\n");
    titanx.deliver(&finished).await;
    titanx.deliver(&late).await;
    system.heal();

    screen.text("\n  TitanX delivers some of it again, the last one with another timestamp.\n");
    for contact in contacts.iter().step_by(ONE_IN_LATER) {
        titanx.deliver(contact).await;
    }
    titanx.deliver(&finished).await;
    titanx.deliver(&with_other_timestamp(&late)).await;

    screen.text("\n  Strangers try.\n");
    let calls_before = system.calls();
    for forged in forgeries(&job_id) {
        titanx.deliver(&forged).await;
    }
    let calls = system.calls() - calls_before;

    screen.text("\n  TitanX signs what the receiver does not understand.\n");
    for riddle in riddles(&job_id, &late) {
        titanx.deliver(&riddle).await;
    }
    calls
}

/// All contacts, every fifth with a twin right behind it.
fn some_twice(contacts: &[Delivery]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for (n, contact) in contacts.iter().enumerate() {
        deliveries.push(contact.clone());
        if n.is_multiple_of(ONE_IN_AT_ONCE) {
            let name = format!("{}, twin", contact.name);
            deliveries.push(Delivery {
                name,
                ..contact.clone()
            });
        }
    }
    deliveries
}

/// Nobody's data: the names are made up, and 555-01xx is set aside for that.
fn contact(n: usize, job_id: &str) -> Delivery {
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
            What::Contact,
            &format!("contact {n:02}"),
            "job.contact.scored",
            &payload,
        )
    }
}

fn finished_job(job_id: &str) -> Delivery {
    let payload = json!({
        "jobId": job_id,
        "jobType": "scoring",
        "jobName": "Synthetic batch",
        "jobStatus": "Finalized",
        "modifiedAt": "2026-01-05T12:00:00Z",
    });
    event(
        What::FinishedJob,
        "job completed",
        "job.completed",
        &payload,
    )
}

/// What nobody with the secret has sent so.
fn forgeries(job_id: &str) -> [Delivery; 3] {
    let forged = |n, name: &str| Delivery {
        what: What::Forged,
        name: name.to_owned(),
        ..contact(n, job_id)
    };
    let guessed = forged(41, "signed by a stranger").signed("wh_sk_guessed");
    let mut unsigned = forged(42, "not signed");
    unsigned.signature = None;
    let mut changed = forged(43, "changed on the way");
    changed.body = changed.body.replace("High", "Low");
    [guessed, unsigned, changed]
}

/// What TitanX has signed, and might one day send.
fn riddles(job_id: &str, taken: &Delivery) -> [Delivery; 3] {
    let riddle = |reason, name: &str, delivery: Delivery| Delivery {
        what: What::NotUnderstood { reason },
        name: name.to_owned(),
        ..delivery
    };
    let job_started = event(
        What::FinishedJob,
        "",
        "job.started",
        &json!({"jobId": job_id}),
    );
    let mut torn = contact(44, job_id);
    torn.body.pop();
    let mut reused = contact(45, job_id);
    reused.body = reused.body.replace(&reused.id, &taken.id);
    reused.id.clone_from(&taken.id);
    [
        riddle("unknown_event_type", "job started", job_started),
        riddle("not_json", "torn off", torn.signed(SIGNING_SECRET)),
        riddle("id_reused", "id used before", reused.signed(SIGNING_SECRET)),
    ]
}

/// An event as TitanX delivers it.
fn event(what: What, name: &str, event_type: &str, payload: &Value) -> Delivery {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.expect("the clock stands after 1970").as_millis();
    let id = Uuid::new_v4().to_string();
    let envelope = json!({
        "payload": payload,
        "eventType": event_type,
        "timestamp": u64::try_from(now_ms).expect("it is not the year 584,556,019 yet"),
        "apiVersion": "v2",
        "id": id,
    });
    Delivery {
        what,
        name: name.to_owned(),
        id,
        body: envelope.to_string(),
        signature: None,
        personal: Vec::new(),
    }
    .signed(SIGNING_SECRET)
}

/// The same event, delivered a minute later.
fn with_other_timestamp(delivery: &Delivery) -> Delivery {
    let mut envelope: Value = serde_json::from_str(&delivery.body).expect("written as JSON above");
    let timestamp = envelope["timestamp"]
        .as_u64()
        .expect("written as one above");
    envelope["timestamp"] = json!(timestamp + 60_000);
    Delivery {
        body: envelope.to_string(),
        ..delivery.clone()
    }
    .signed(SIGNING_SECRET)
}

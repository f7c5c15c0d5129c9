use std::time::{Duration, Instant};

use serde_json::json;
use titanx_testbed::{
    emulators::{Emulators, Queue},
    front_door,
    titanx::{contact, signed},
};

use crate::{System, operator::Operator, titanx_api::Form};

/// A system with dead letters: contacts that a consumer has failed to process.
pub(crate) struct DeadLetters {
    pub(crate) system: System,
    pub(crate) operator: Operator,
    pub(crate) queue: Queue,
    fifo: bool,
}

impl DeadLetters {
    pub(crate) async fn new(ids: &[&str], fifo: bool) -> Self {
        let system = System::start(Form::Schema);
        let emulators = &system.emulators;
        let queue = if fifo {
            emulators.create_fifo_queue("dead-letters.fifo")
        } else {
            emulators.create_queue("dead-letters")
        };
        let policy = json!({"deadLetterTargetArn": queue.arn(), "maxReceiveCount": 1});
        let contacts = contacts(emulators, fifo);
        contacts.set_attribute("RedrivePolicy", &policy.to_string());
        let mut environment = front_door::environment(emulators);
        environment.insert("CONTACTS_QUEUE_URL", contacts.url.clone());
        let receiver = front_door::receiver(&environment);
        for id in ids {
            let answer = front_door::deliver(&receiver, &signed(&contact(id))).await;
            assert_eq!(answer, front_door::Answer::accepted());
        }
        contacts.exhaust();
        assert_eq!((contacts.len(), queue.len()), (0, ids.len()));
        let operator = system.operator.clone();
        let operator = operator.set("CONTACTS_QUEUE_URL", &contacts.url);
        Self {
            system,
            operator,
            queue,
            fifo,
        }
    }

    pub(crate) fn contacts(&self) -> &Queue {
        contacts(&self.system.emulators, self.fifo)
    }
}

fn contacts(emulators: &Emulators, fifo: bool) -> &Queue {
    if fifo {
        &emulators.contacts_fifo
    } else {
        &emulators.contacts
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_dead_letters_and_moves_none_without_yes() {
    let dead = DeadLetters::new(&["delivery-1", "delivery-2"], false).await;
    let run = dead.operator.run("contacts redrive").exits(3);
    let expected = format!(
        "would move about 2 dead letters to\n  {}\nre-run with --yes, once the consumer can handle them\n",
        dead.contacts().url
    );
    assert_eq!(run.stdout, expected);
    let run = dead.operator.run("--json contacts redrive").exits(3);
    let expected = json!({
        "from": dead.queue.url, "to": dead.contacts().url, "dead_letters": 2, "moved": null,
    });
    assert_eq!(run.json(), expected);
    assert_eq!((dead.contacts().len(), dead.queue.len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_the_dead_letters_of_either_type_of_queue_unchanged() {
    for fifo in [false, true] {
        let dead = DeadLetters::new(&["delivery-1", "delivery-2", "delivery-3"], fifo).await;
        let before = dead.queue.messages();
        let run = dead.operator.run("contacts redrive --yes").exits(0);
        let expected = format!("moved 3 dead letters to\n  {}\n", dead.contacts().url);
        assert_eq!(run.stdout, expected);
        let after = dead.contacts().messages();
        assert_eq!((after.len(), dead.queue.len()), (3, 0));
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.body, after.body);
            assert_eq!(before.group_id, after.group_id);
            // SQS has given the dead letter another one, which is therefore no duplicate of the contact.
            assert_eq!(before.deduplication_id, after.deduplication_id);
            assert_ne!(
                after.deduplication_id.as_deref(),
                after.attribute("deliveryId")
            );
            for name in ["deliveryId", "source"] {
                assert!(before.attribute(name).is_some(), "{name}");
                assert_eq!(before.attribute(name), after.attribute(name));
            }
        }
        let run = dead.operator.run("contacts redrive --yes").exits(0);
        let expected = format!("no dead letter in\n  {}\n", dead.queue.url);
        assert_eq!(run.stdout, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_redrive_goes_on_and_is_watched_by_the_next_run() {
    let ids: Vec<_> = (0..4).map(|number| format!("delivery-{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let dead = DeadLetters::new(&ids, false).await;
    let mut first = dead.operator.start("contacts redrive --yes --per-second 1");
    let patience = Instant::now() + Duration::from_secs(20);
    while dead.contacts().len() == 0 {
        assert!(Instant::now() < patience, "nothing is moved");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(dead.queue.len() > 0, "it was too fast to be interrupted");
    let run = dead.operator.run("--json contacts redrive --yes").exits(0);
    assert_eq!(run.json()["moved"], 4);
    assert_eq!((dead.contacts().len(), dead.queue.len()), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fails_if_sqs_stops() {
    let dead = DeadLetters::new(&["delivery-1"], false).await;
    dead.contacts().set_maximum_message_size(10);
    let run = dead.operator.run("contacts redrive --yes").exits(1);
    run.tells(
        "error: SQS moved 0 messages and then stopped (FAILED: InvalidParameterValue): run this \
         command again",
    );
    assert_eq!(dead.queue.len(), 1);
}

#[test]
fn a_queue_without_dead_letter_queue_is_an_error() {
    let system = System::start(Form::Schema);
    let contacts = &system.emulators.contacts;
    let run = || system.operator.run("contacts redrive --yes").exits(1);
    let url = &contacts.url;
    run().tells(&format!(
        "error: the queue {url} has no dead-letter queue: deploy the template again, or name \
         another queue with --contacts-queue-url"
    ));
    contacts.set_attribute("RedrivePolicy", "{}");
    run().tells(&format!(
        "error: the redrive policy of {url} names no queue"
    ));
}

//! Checks whether every signed event is durable at its destination, unchanged, and only as often as the
//! promises allow. The contents of the queues and of the jobs table are the only evidence, and the
//! expectations share no code with the receiver.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::emulators::{AttributeValue, Emulators, Item, Queue};

/// Where an event has to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A message on the contacts queue.
    ContactsQueue,
    /// The record of its job.
    JobsTable,
    /// A message on the quarantine queue, with this reason and the body as text.
    Quarantine(&'static str),
}

/// An event of TitanX, however many times it was delivered.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub destination: Destination,
    pub id: String,
    pub body: String,
}

/// A cause that allows an event to be durable again, and how many times.
pub type Cause = (&'static str, usize);

/// The result for all events.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many contacts are durable.
    pub contacts: usize,
    /// How many jobs are marked completed.
    pub jobs: usize,
    /// How many events are in quarantine.
    pub quarantined: usize,
    /// How many times events are durable again, by cause.
    pub repeated: BTreeMap<&'static str, usize>,
    /// The events that are not durable, or changed.
    pub lost: Vec<String>,
    /// The events that are durable again without a cause.
    pub unexplained: Vec<String>,
    /// Everything durable that belongs to no event.
    pub unexpected: Vec<String>,
}

impl Delivery {
    pub fn new(destination: Destination, id: impl Into<String>, body: impl Into<String>) -> Self {
        let (id, body) = (id.into(), body.into());
        Self {
            destination,
            id,
            body,
        }
    }

    /// How many times the event is durable now.
    pub fn times_durable(&self, emulators: &Emulators) -> usize {
        Durable::read(emulators).take(self).len()
    }

    fn envelope(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn job_id(&self) -> String {
        let id = &self.envelope()["payload"]["jobId"];
        id.as_str().unwrap_or_default().to_owned()
    }

    /// The expected record of its job.
    fn record(&self) -> Item {
        let envelope = self.envelope();
        let number = AttributeValue::N(envelope["timestamp"].to_string());
        let mut record = Item::from([
            ("job_id".to_owned(), AttributeValue::S(self.job_id())),
            ("completed_at".to_owned(), number),
            ("delivery_id".to_owned(), AttributeValue::S(self.id.clone())),
        ]);
        for (attribute, member) in [
            ("name", "jobName"),
            ("type", "jobType"),
            ("status", "jobStatus"),
            ("modified_at", "modifiedAt"),
        ] {
            if let Some(text) = envelope["payload"][member].as_str() {
                let text = AttributeValue::S(as_recorded(text));
                record.insert(attribute.to_owned(), text);
            }
        }
        record
    }
}

/// The part of a job's text that its record has room for: at most 65,536 bytes of whole characters.
fn as_recorded(text: &str) -> String {
    let mut recorded = String::new();
    for character in text.chars() {
        if recorded.len() + character.len_utf8() > 65_536 {
            break;
        }
        recorded.push(character);
    }
    recorded
}

/// Checks what the emulators store after these events were acknowledged. The list has each event once,
/// even if it was delivered several times. `causes` returns what allows an event to be durable again.
pub fn judge<'a>(
    emulators: &Emulators,
    deliveries: impl IntoIterator<Item = &'a Delivery>,
    causes: impl Fn(&Delivery) -> Vec<Cause>,
) -> Verdict {
    let mut durable = Durable::read(emulators);
    let mut verdict = Verdict::default();
    for delivery in deliveries {
        verdict.add(delivery, &durable.take(delivery), causes(delivery));
    }
    let unexpected = durable.into_rest();
    let unexpected = unexpected.map(|it| format!("stored, but not delivered: {it}"));
    verdict.unexpected.extend(unexpected);
    verdict
}

impl Verdict {
    /// Adds a delivery, with the bodies that are durable for it.
    fn add(&mut self, delivery: &Delivery, bodies: &[String], causes: Vec<Cause>) {
        let Delivery {
            destination,
            id,
            body,
        } = delivery;
        if bodies.is_empty() {
            self.lost.push(format!("{id}: lost"));
            return;
        }
        if bodies.iter().any(|durable| durable != body) {
            self.lost.push(format!("{id}: changed"));
        }
        match destination {
            Destination::ContactsQueue => self.contacts += 1,
            Destination::JobsTable => self.jobs += 1,
            Destination::Quarantine(_) => self.quarantined += 1,
        }
        let mut unexplained = bodies.len() - 1;
        for (cause, times) in causes {
            let explained = unexplained.min(times);
            *self.repeated.entry(cause).or_default() += explained;
            unexplained -= explained;
        }
        if unexplained > 0 {
            let violation = format!("{id}: durable {unexplained} times more, without a cause");
            self.unexplained.push(violation);
        }
    }

    /// Everything that contradicts the promises.
    pub fn violations(&self) -> Vec<String> {
        [&*self.lost, &*self.unexplained, &*self.unexpected].concat()
    }

    /// How many times events are durable again, for any cause.
    pub fn repetitions(&self) -> usize {
        self.repeated.values().sum()
    }
}

/// Everything durable that no delivery has taken yet.
struct Durable {
    /// Bodies by delivery id.
    contacts: HashMap<String, Vec<String>>,
    /// Bodies by reason and body, since a body that cannot be parsed has no id.
    quarantined: HashMap<(String, String), Vec<String>>,
    /// Records by job id.
    jobs: HashMap<String, Item>,
}

impl Durable {
    fn read(emulators: &Emulators) -> Self {
        let mut contacts = HashMap::<_, Vec<_>>::new();
        let queues = [&emulators.contacts, &emulators.contacts_fifo];
        for message in queues.into_iter().flat_map(Queue::messages) {
            let id = message.attribute("deliveryId").unwrap_or_default();
            contacts
                .entry(id.to_owned())
                .or_default()
                .push(message.body);
        }
        let mut quarantined = HashMap::<_, Vec<_>>::new();
        for message in emulators.quarantine.messages() {
            let reason = message.attribute("reason").unwrap_or_default();
            let key = (reason.to_owned(), message.body.clone());
            quarantined.entry(key).or_default().push(message.body);
        }
        let jobs = emulators.jobs.items().into_iter();
        let jobs = jobs.map(|record| match record.get("job_id") {
            Some(AttributeValue::S(id)) => (id.clone(), record),
            _ => unreachable!("the table's key is a string"),
        });
        Self {
            contacts,
            quarantined,
            jobs: jobs.collect(),
        }
    }

    /// Takes what is durable of this event at its destination. The record of a job counts as the body
    /// if it is the expected one.
    fn take(&mut self, delivery: &Delivery) -> Vec<String> {
        let Delivery {
            destination,
            id,
            body,
        } = delivery;
        let taken = match destination {
            Destination::ContactsQueue => self.contacts.remove(id),
            Destination::Quarantine(reason) => {
                let key = (String::from(*reason), body.clone());
                self.quarantined.remove(&key)
            }
            Destination::JobsTable => self.jobs.remove(&delivery.job_id()).map(|record| {
                let is_expected = record == delivery.record();
                vec![if is_expected {
                    body.clone()
                } else {
                    format!("{record:?}")
                }]
            }),
        };
        taken.unwrap_or_default()
    }

    fn into_rest(self) -> impl Iterator<Item = String> {
        let contacts = self.contacts.into_values().flatten();
        let quarantined = self.quarantined.into_values().flatten();
        let jobs = self.jobs.into_values().map(|record| format!("{record:?}"));
        contacts.chain(quarantined).chain(jobs)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::titanx::{completed_job, contact, envelope};

    /// The verdict on a contact, a completed job and an event for quarantine, if these messages and this
    /// record are stored. A second message of the contact has one cause.
    fn verdict(contacts: &[&str], quarantined: &[&str], record: Option<Item>) -> Verdict {
        let emulators = Emulators::start();
        for body in contacts {
            let id = [("deliveryId", "contact")];
            emulators.contacts.put(body, &id);
        }
        for body in quarantined {
            let reason = [("reason", "unknown_event_type")];
            emulators.quarantine.put(body, &reason);
        }
        if let Some(record) = record {
            emulators.jobs.put(&record);
        }
        judge(&emulators, &deliveries(), |delivery| {
            match delivery.destination {
                Destination::ContactsQueue => vec![("a cause", 1)],
                _ => Vec::new(),
            }
        })
    }

    fn deliveries() -> [Delivery; 3] {
        let unknown = envelope("unknown", "job.started", &Value::Null);
        let quarantine = Destination::Quarantine("unknown_event_type");
        [
            Delivery::new(Destination::ContactsQueue, "contact", contact("contact")),
            Delivery::new(Destination::JobsTable, "job", completed_job("job", "job-1")),
            Delivery::new(quarantine, "unknown", unknown),
        ]
    }

    #[test]
    fn events_that_are_durable_once_violate_nothing() {
        let [contact, job, unknown] = deliveries();
        let verdict = verdict(&[&contact.body], &[&unknown.body], Some(job.record()));
        assert_eq!(verdict.violations(), [""; 0]);
        assert_eq!(
            (verdict.contacts, verdict.jobs, verdict.quarantined),
            (1, 1, 1)
        );
        assert_eq!(verdict.repetitions(), 0);
    }

    #[test]
    fn events_that_are_not_durable_are_lost() {
        let verdict = verdict(&[], &[], None);
        let lost = ["contact: lost", "job: lost", "unknown: lost"];
        assert_eq!(verdict.violations(), lost);
    }

    #[test]
    fn changed_events_are_lost_and_anything_else_is_unexpected() {
        let [contact, job, unknown] = deliveries();
        let mut record = job.record();
        record.remove("name");
        let changed = unknown.body.replace("started", "stopped");
        let verdict = verdict(&[&contact.body, "{}"], &[&changed], Some(record));
        let lost = ["contact: changed", "job: changed", "unknown: lost"];
        assert_eq!(verdict.lost, lost);
        let unexpected = format!("stored, but not delivered: {changed}");
        assert_eq!(verdict.unexpected, [unexpected]);
    }

    #[test]
    fn a_second_message_needs_a_cause() {
        let [contact, job, unknown] = deliveries();
        let (contact, unknown) = (&*contact.body, &*unknown.body);
        let one_cause = verdict(&[contact; 2], &[unknown], Some(job.record()));
        assert_eq!(one_cause.violations(), [""; 0]);
        assert_eq!(one_cause.repeated, BTreeMap::from([("a cause", 1)]));

        let verdict = verdict(&[contact; 3], &[unknown; 2], Some(job.record()));
        let unexplained = [
            "contact: durable 1 times more, without a cause",
            "unknown: durable 1 times more, without a cause",
        ];
        assert_eq!(verdict.violations(), unexplained);
    }

    #[test]
    fn the_record_of_a_job_has_what_its_event_names_and_at_most_65_536_bytes_of_each_text() {
        let payload = json!({
            "jobId": "job-1", "jobName": format!("{}éé", "n".repeat(65_533)),
            "jobStatus": "s".repeat(65_537), "modifiedAt": null,
        });
        let body = envelope("delivery-1", "job.completed", &payload);
        let job = Delivery::new(Destination::JobsTable, "delivery-1", body);
        let text = |value: String| AttributeValue::S(value);
        let expected = Item::from(
            [
                ("job_id", text("job-1".to_owned())),
                ("name", text(format!("{}é", "n".repeat(65_533)))),
                ("status", text("s".repeat(65_536))),
                (
                    "completed_at",
                    AttributeValue::N("4102444800000".to_owned()),
                ),
                ("delivery_id", text("delivery-1".to_owned())),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        assert_eq!(job.record(), expected);
    }
}

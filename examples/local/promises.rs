//! Checks whether the promises held, from the answers to TitanX and the contents of the emulators.
//! The checks share no code with the receiver: every name and answer is repeated here.

use std::collections::BTreeMap;

use titanx_testbed::emulators::{AttributeValue, Emulators, Message, SIGNING_SECRET};

use crate::{
    screen::{Screen, Tone},
    titanx::{Answer, Attempt, Delivery, Kind},
};

/// The answer table: status, body, and whether the answer has a `Retry-After` header.
const ANSWERS: [(u16, &str, bool); 6] = [
    (200, r#"{"received": true}"#, false),
    (200, r#"{"received": true, "duplicate": true}"#, false),
    (200, r#"{"received": true, "quarantined": true}"#, false),
    (401, r#"{"error": "Invalid signature"}"#, false),
    (429, r#"{"error": "Already in progress"}"#, true),
    (503, r#"{"error": "Unavailable"}"#, true),
];

/// What the checks are based on.
pub(crate) struct Evidence<'a> {
    pub(crate) attempts: Vec<Attempt>,
    /// The number of calls to DynamoDB and SQS during the forged requests.
    pub(crate) calls_for_forged: usize,
    /// The delivery ids of the messages that SQS accepted without the receiver getting its response.
    pub(crate) lost_sends: Vec<String>,
    pub(crate) log_lines: Vec<String>,
    pub(crate) emulators: &'a Emulators,
}

/// A promise with its result.
pub(crate) struct Promise {
    text: &'static str,
    /// What was checked.
    evidence: String,
    /// Everything that contradicts the promise.
    violations: Vec<String>,
}

impl Promise {
    pub(crate) fn held(&self) -> bool {
        self.violations.is_empty()
    }

    pub(crate) fn show(&self, screen: Screen) {
        let (mark, tone) = if self.held() {
            ("held  ", Tone::Good)
        } else {
            ("BROKEN", Tone::Bad)
        };
        screen.text(&format!(
            "  {}  {:<45}{}",
            screen.tone(tone, mark),
            self.text,
            screen.tone(Tone::Faint, &self.evidence)
        ));
        for violation in &self.violations {
            screen.text(&format!("          {}", screen.tone(Tone::Bad, violation)));
        }
    }
}

impl Evidence<'_> {
    pub(crate) fn examine(&self) -> [Promise; 5] {
        [
            self.nothing_acknowledged_is_lost(),
            self.nothing_unacknowledged_is_lost(),
            self.almost_always_once(),
            self.nothing_unsigned_gets_in(),
            self.no_personal_data_leaves(),
        ]
    }

    fn nothing_acknowledged_is_lost(&self) -> Promise {
        let mut violations = Vec::new();
        let mut acknowledged = 0;
        for (delivery, answer) in self.answered().filter(|(_, answer)| answer.status < 300) {
            acknowledged += 1;
            if !self.is_durable(delivery, answer) {
                violations.push(format!("{}: answered with 200, but lost", delivery.name));
            }
        }
        Promise {
            text: "Nothing acknowledged is lost",
            evidence: format!("for each of {acknowledged} answers with 200, the event is durable"),
            violations,
        }
    }

    fn is_durable(&self, delivery: &Delivery, answer: &Answer) -> bool {
        let same_id = |it: &&Message| it.attribute("deliveryId") == Some(&*delivery.id);
        // A duplicate may have another timestamp than the message on the queue.
        let same_event = |it: &Message| it.body == delivery.body || answer.has_flag("duplicate");
        match delivery.kind {
            Kind::Contact => {
                let contacts = self.emulators.contacts.messages();
                contacts.iter().filter(same_id).any(same_event)
            }
            Kind::CompletedJob => self.is_job_completed(delivery),
            Kind::NotUnderstood { reason } => {
                let quarantine = self.emulators.quarantine.messages();
                quarantine
                    .iter()
                    .any(|it| it.body == delivery.body && it.attribute("reason") == Some(reason))
            }
            Kind::Forged => false,
        }
    }

    fn is_job_completed(&self, delivery: &Delivery) -> bool {
        let Ok(envelope) = serde_json::from_str::<serde_json::Value>(&delivery.body) else {
            return false;
        };
        let job = &envelope["payload"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let expected = [
            ("job_id", AttributeValue::S(text(&job["jobId"]))),
            ("name", AttributeValue::S(text(&job["jobName"]))),
            ("type", AttributeValue::S(text(&job["jobType"]))),
            ("status", AttributeValue::S(text(&job["jobStatus"]))),
            ("modified_at", AttributeValue::S(text(&job["modifiedAt"]))),
            (
                "completed_at",
                AttributeValue::N(envelope["timestamp"].to_string()),
            ),
            ("delivery_id", AttributeValue::S(delivery.id.clone())),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        self.emulators.jobs.items() == [expected.into()]
    }

    fn nothing_unacknowledged_is_lost(&self) -> Promise {
        let mut violations = Vec::new();
        let mut last = BTreeMap::new();
        let mut failures = 0;
        for Attempt { delivery, answer } in &self.attempts {
            let status = answer.as_ref().map(|answer| answer.status);
            if delivery.kind != Kind::Forged {
                failures += usize::from(status != Some(200));
                last.insert((&delivery.id, &delivery.name), status);
            }
            if !answer.as_ref().is_some_and(is_in_the_table) {
                violations.push(format!("{}: the answer is not in the table", delivery.name));
            }
        }
        for ((_, name), _) in last.iter().filter(|(_, status)| **status != Some(200)) {
            violations.push(format!("{name}: not answered with 200 in the end"));
        }
        Promise {
            text: "Nothing unacknowledged is lost by us",
            evidence: format!("{failures} attempts failed, and their last retries succeeded"),
            violations,
        }
    }

    fn almost_always_once(&self) -> Promise {
        let mut by_delivery = BTreeMap::<String, Vec<Message>>::new();
        for message in self.emulators.contacts.messages() {
            let id = message.attribute("deliveryId").unwrap_or_default();
            by_delivery.entry(id.to_owned()).or_default().push(message);
        }
        let mut violations = Vec::new();
        let mut second_messages = 0;
        for (id, messages) in &by_delivery {
            let repeats = messages.len() - 1;
            let lost = self.lost_sends.iter().filter(|it| *it == id).count();
            second_messages += repeats;
            if repeats > lost {
                violations.push(format!(
                    "{id}: sent again, although no response of SQS was lost"
                ));
            }
            if messages.iter().any(|it| it.body != messages[0].body) {
                violations.push(format!("{id}: two messages differ"));
            }
        }
        Promise {
            text: "Almost always once",
            evidence: format!(
                "{second_messages} second messages, {} lost responses of SQS",
                self.lost_sends.len()
            ),
            violations,
        }
    }

    fn nothing_unsigned_gets_in(&self) -> Promise {
        let mut violations = Vec::new();
        let forged = || {
            let all = self.answered();
            all.filter(|(delivery, _)| delivery.kind == Kind::Forged)
        };
        for (delivery, answer) in forged() {
            if answer.status != 401 {
                violations.push(format!("\"{}\": not refused", delivery.name));
            }
            if self.stored().any(|text| text.contains(&delivery.id)) {
                violations.push(format!("\"{}\": stored", delivery.name));
            }
        }
        if self.calls_for_forged > 0 {
            violations.push("a forged request caused a call to AWS".to_owned());
        }
        Promise {
            text: "Nothing unsigned gets in",
            evidence: format!(
                "{} forged requests were refused, with {} calls to DynamoDB and SQS",
                forged().count(),
                self.calls_for_forged
            ),
            violations,
        }
    }

    /// Everything that the emulators store, as text.
    fn stored(&self) -> impl Iterator<Item = String> {
        let Emulators {
            deliveries,
            jobs,
            contacts,
            quarantine,
            ..
        } = self.emulators;
        let items = deliveries.items().into_iter().chain(jobs.items());
        let items = items.map(|item| format!("{item:?}"));
        let messages = contacts.messages().into_iter().chain(quarantine.messages());
        items.chain(messages.map(|message| format!("{message:?}")))
    }

    fn no_personal_data_leaves(&self) -> Promise {
        let mut secrets = vec![SIGNING_SECRET];
        for Attempt { delivery, .. } in &self.attempts {
            secrets.extend(delivery.personal.iter().map(String::as_str));
            secrets.extend(delivery.signature.as_deref());
        }
        let answers = self.answered().map(|(_, answer)| &answer.body);
        let output = || answers.clone().chain(&self.log_lines);
        let mut violations = Vec::new();
        for line in output().filter(|line| secrets.iter().any(|it| line.contains(it))) {
            violations.push(line.clone());
        }
        if self.log_lines.len() < answers.clone().count() {
            violations.push("there are fewer log lines than answers".to_owned());
        }
        Promise {
            text: "No personal data leaves but in the message",
            evidence: format!(
                "none in {} log lines and {} answers",
                self.log_lines.len(),
                answers.clone().count()
            ),
            violations,
        }
    }

    fn answered(&self) -> impl Iterator<Item = (&Delivery, &Answer)> + Clone {
        self.attempts
            .iter()
            .filter_map(|Attempt { delivery, answer }| Some((delivery, answer.as_ref()?)))
    }

    pub(crate) fn show_totals(&self, screen: Screen) {
        let count = |is: &dyn Fn(&Answer) -> bool| {
            let answers = self.answered();
            answers.filter(|(_, answer)| is(answer)).count()
        };
        let ok = |it: &Answer| it.status == 200;
        let (duplicate, quarantined) = (
            |it: &Answer| it.has_flag("duplicate"),
            |it: &Answer| it.has_flag("quarantined"),
        );
        let contacts = self.emulators.contacts.len();
        let in_quarantine = self.emulators.quarantine.len();
        screen.title("Summary");
        screen.row("sent", self.attempts.len(), "requests, including retries");
        screen.row(
            "accepted",
            count(&|it| ok(it) && !duplicate(it) && !quarantined(it)),
            "200: contacts, and the completed job",
        );
        screen.row(
            "duplicate",
            count(&duplicate),
            "200: an earlier delivery is completed",
        );
        screen.row(
            "quarantined",
            count(&quarantined),
            "200: signed, but not understood",
        );
        screen.row(
            "refused",
            count(&|it| it.status == 401),
            "401: not signed by TitanX",
        );
        screen.row(
            "in flight",
            count(&|it| it.status == 429),
            "429: another invocation holds the delivery, TitanX retries",
        );
        screen.row(
            "unavailable",
            count(&|it| it.status == 503),
            "503: an AWS service failed, TitanX retries",
        );
        screen.row("contacts", contacts, "messages in the contacts queue");
        screen.row(
            "quarantine",
            in_quarantine,
            "messages in the quarantine queue",
        );
        for job in self.emulators.jobs.items() {
            let status = job.get("status");
            let Some(AttributeValue::S(status)) = status else {
                continue;
            };
            screen.row("job", status, "status in the jobs table");
        }
    }
}

fn is_in_the_table(answer: &Answer) -> bool {
    let Answer {
        status,
        body,
        retry_after,
    } = answer;
    let seconds = retry_after.as_deref().map(str::parse::<u32>);
    ANSWERS
        .iter()
        .any(|(known_status, known_body, has_retry_after)| {
            status == known_status
                && body == known_body
                && match &seconds {
                    Some(seconds) => *has_retry_after && matches!(seconds, Ok(1..)),
                    None => !has_retry_after,
                }
        })
}

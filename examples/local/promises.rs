//! Whether the promises held, judged by what TitanX was answered and by what the emulators hold.
//! Nothing here is the receiver's own code: every name and answer is written out again.

use std::collections::BTreeMap;

use titanx_testbed::emulators::{AttributeValue, Emulators, Message, SIGNING_SECRET};

use crate::{
    screen::{Screen, Tone},
    titanx::{Answer, Attempt, Delivery, What},
};

/// The answer table: status, body, and whether it says when to come again.
const ANSWERS: [(u16, &str, bool); 6] = [
    (200, r#"{"received": true}"#, false),
    (200, r#"{"received": true, "duplicate": true}"#, false),
    (200, r#"{"received": true, "quarantined": true}"#, false),
    (401, r#"{"error": "Invalid signature"}"#, false),
    (429, r#"{"error": "Already in progress"}"#, true),
    (503, r#"{"error": "Unavailable"}"#, true),
];

/// Everything there is to judge by.
pub(crate) struct Evidence<'a> {
    pub(crate) attempts: Vec<Attempt>,
    /// Calls to DynamoDB and SQS while strangers were answered.
    pub(crate) calls_of_strangers: usize,
    /// The delivery ids of the messages that SQS took without the receiver getting to know it.
    pub(crate) lost_sends: Vec<String>,
    pub(crate) log_lines: Vec<String>,
    pub(crate) emulators: &'a Emulators,
}

/// One promise, what shows it, and what speaks against it.
pub(crate) struct Promise {
    text: &'static str,
    shown_by: String,
    broken: Vec<String>,
}

impl Promise {
    pub(crate) fn held(&self) -> bool {
        self.broken.is_empty()
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
            screen.tone(Tone::Faint, &self.shown_by)
        ));
        for broken in &self.broken {
            screen.text(&format!("          {}", screen.tone(Tone::Bad, broken)));
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
        let mut broken = Vec::new();
        let mut acknowledged = 0;
        for (delivery, answer) in self.answered().filter(|(_, answer)| answer.status < 300) {
            acknowledged += 1;
            if !self.is_durable(delivery, answer) {
                broken.push(format!("{} was answered 200 and is lost", delivery.name));
            }
        }
        Promise {
            text: "Nothing acknowledged is lost",
            shown_by: format!("behind each of {acknowledged} answers 200 the event is durable"),
            broken,
        }
    }

    fn is_durable(&self, delivery: &Delivery, answer: &Answer) -> bool {
        let same_id = |it: &&Message| it.attribute("deliveryId") == Some(&*delivery.id);
        // A duplicate may carry another timestamp than what is on the queue.
        let same_event = |it: &Message| it.body == delivery.body || answer.says("duplicate");
        match delivery.what {
            What::Contact => {
                let contacts = self.emulators.contacts.messages();
                contacts.iter().filter(same_id).any(same_event)
            }
            What::FinishedJob => self.job_is_done(delivery),
            What::NotUnderstood { reason } => {
                let quarantine = self.emulators.quarantine.messages();
                quarantine
                    .iter()
                    .any(|it| it.body == delivery.body && it.attribute("reason") == Some(reason))
            }
            What::Forged => false,
        }
    }

    fn job_is_done(&self, delivery: &Delivery) -> bool {
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
        let mut broken = Vec::new();
        let mut last = BTreeMap::new();
        let mut failures = 0;
        for Attempt { delivery, answer } in &self.attempts {
            let status = answer.as_ref().map(|answer| answer.status);
            if delivery.what != What::Forged {
                failures += usize::from(status != Some(200));
                last.insert((&delivery.id, &delivery.name), status);
            }
            if !answer.as_ref().is_some_and(is_in_the_table) {
                broken.push(format!("{} got no answer of the table", delivery.name));
            }
        }
        for ((_, name), _) in last.iter().filter(|(_, status)| **status != Some(200)) {
            broken.push(format!("{name} did not come through"));
        }
        Promise {
            text: "Nothing unacknowledged is lost by us",
            shown_by: format!("{failures} attempts failed, and all came through in the end"),
            broken,
        }
    }

    fn almost_always_once(&self) -> Promise {
        let mut times = BTreeMap::<String, Vec<Message>>::new();
        for message in self.emulators.contacts.messages() {
            let id = message.attribute("deliveryId").unwrap_or_default();
            times.entry(id.to_owned()).or_default().push(message);
        }
        let mut broken = Vec::new();
        let mut second_messages = 0;
        for (id, messages) in &times {
            let again = messages.len() - 1;
            let lost = self.lost_sends.iter().filter(|it| *it == id).count();
            second_messages += again;
            if again > lost {
                broken.push(format!(
                    "{id} was sent again, and no answer of SQS was lost"
                ));
            }
            if messages.iter().any(|it| it.body != messages[0].body) {
                broken.push(format!("two messages of {id} differ"));
            }
        }
        Promise {
            text: "Almost always once",
            shown_by: format!(
                "second messages: {second_messages}, answers of SQS that were lost: {}",
                self.lost_sends.len()
            ),
            broken,
        }
    }

    fn nothing_unsigned_gets_in(&self) -> Promise {
        let mut broken = Vec::new();
        let forged = || {
            let all = self.answered();
            all.filter(|(delivery, _)| delivery.what == What::Forged)
        };
        for (delivery, answer) in forged() {
            if answer.status != 401 {
                broken.push(format!("\"{}\" was not refused", delivery.name));
            }
            if self.stored().any(|text| text.contains(&delivery.id)) {
                broken.push(format!("\"{}\" is stored", delivery.name));
            }
        }
        if self.calls_of_strangers > 0 {
            broken.push("a stranger caused a call to AWS".to_owned());
        }
        Promise {
            text: "Nothing unsigned gets in",
            shown_by: format!(
                "{} refused, which took {} calls to DynamoDB and SQS",
                forged().count(),
                self.calls_of_strangers
            ),
            broken,
        }
    }

    /// All that the emulators hold, as text.
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
        let told = || answers.clone().chain(&self.log_lines);
        let mut broken = Vec::new();
        for line in told().filter(|line| secrets.iter().any(|it| line.contains(it))) {
            broken.push(line.clone());
        }
        if self.log_lines.len() < answers.clone().count() {
            broken.push("not every answer has its log line".to_owned());
        }
        Promise {
            text: "No personal data leaves but in the message",
            shown_by: format!(
                "none in {} log lines and {} answers",
                self.log_lines.len(),
                answers.clone().count()
            ),
            broken,
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
            |it: &Answer| it.says("duplicate"),
            |it: &Answer| it.says("quarantined"),
        );
        let queued = self.emulators.contacts.len();
        let parked = self.emulators.quarantine.len();
        screen.title("What came of it");
        screen.row("sent", self.attempts.len(), "requests, retries included");
        screen.row(
            "accepted",
            count(&|it| ok(it) && !duplicate(it) && !quarantined(it)),
            "200: contacts, and the finished job",
        );
        screen.row("duplicate", count(&duplicate), "200: nothing done again");
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
            "put off",
            count(&|it| matches!(it.status, 429 | 503)),
            "429 or 503: TitanX comes again",
        );
        screen.row("on the queue", queued, "messages with contacts");
        screen.row("in quarantine", parked, "messages for a person to look at");
        for job in self.emulators.jobs.items() {
            let status = job.get("status");
            let Some(AttributeValue::S(status)) = status else {
                continue;
            };
            screen.row("job", status, "in the jobs table, in TitanX's word");
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
        .any(|(known_status, known_body, comes_again)| {
            status == known_status
                && body == known_body
                && match &seconds {
                    Some(seconds) => *comes_again && matches!(seconds, Ok(1..)),
                    None => !comes_again,
                }
        })
}

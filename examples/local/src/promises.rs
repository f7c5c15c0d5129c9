//! Checks whether the promises held, from the answers to TitanX and the contents of the emulators.
//! The checks share no code with the receiver.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use titanx_testbed::{
    answer::Answer,
    emulators::{AttributeValue, Emulators, SIGNING_SECRET},
    promises::{self, Verdict},
};

use crate::{
    screen::{Screen, Tone},
    titanx::{Attempt, Delivery},
};

/// How long the receiver waits for the response to a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

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
        let verdict = self.verdict();
        [
            self.nothing_acknowledged_is_lost(&verdict),
            self.nothing_unacknowledged_is_lost(),
            self.almost_always_once(&verdict),
            self.nothing_unsigned_gets_in(&verdict),
            self.no_personal_data_leaves(),
        ]
    }

    /// The verdict on every event that was acknowledged. If an event was delivered several times, perhaps
    /// with another timestamp, its first delivery has to be durable.
    fn verdict(&self) -> Verdict {
        let mut first = BTreeMap::new();
        for (delivery, _) in self.acknowledged() {
            let Some(destination) = delivery.destination else {
                continue;
            };
            let event = promises::Delivery::new(destination, &delivery.id, &delivery.body);
            first.entry((destination, &delivery.id)).or_insert(event);
        }
        promises::judge(self.emulators, first.values(), |event| {
            let lost = self.lost_sends.iter().filter(|id| **id == event.id);
            let unmarked = self.failed_marks().filter(|id| *id == event.id);
            vec![
                ("a response of SQS was lost", lost.count()),
                ("the completion mark failed", unmarked.count()),
                ("a call was given up", self.calls_given_up(&event.id)),
            ]
        })
    }

    /// How many calls for a delivery the receiver gave up, as it does on a busy machine. After that it sends a message again that SQS may
    /// have. The number is what its log says, but no more than there was time for.
    fn calls_given_up(&self, id: &str) -> usize {
        let attempts = self.attempts.iter().filter(|it| it.delivery.id == id);
        let at_most = attempts.map(|it| it.took.as_secs() / CALL_TIMEOUT.as_secs());
        let lines = self.parsed_lines().filter(|line| line["id"] == id);
        let told = lines.map(|line| {
            let repeated = line["retries"].as_u64().unwrap_or(0);
            let for_good = line["outcome"] == "unavailable" || line["taken_over"] == true;
            repeated + u64::from(for_good)
        });
        usize::try_from(at_most.sum::<u64>().min(told.sum())).unwrap_or(usize::MAX)
    }

    /// The delivery ids of the completion marks that the receiver could not write, by its log.
    fn failed_marks(&self) -> impl Iterator<Item = String> {
        let lines = self.parsed_lines();
        let failed = lines.filter(|line| line["message"] == "completion mark failed");
        failed.map(|line| line["id"].as_str().unwrap_or_default().to_owned())
    }

    fn parsed_lines(&self) -> impl Iterator<Item = Value> {
        let lines = self.log_lines.iter();
        lines.filter_map(|line| serde_json::from_str(line).ok())
    }

    fn nothing_acknowledged_is_lost(&self, verdict: &Verdict) -> Promise {
        let acknowledged = self.acknowledged().count();
        Promise {
            text: "Nothing acknowledged is lost",
            evidence: format!("for each of {acknowledged} answers with 200, the event is durable"),
            violations: verdict.lost.clone(),
        }
    }

    fn nothing_unacknowledged_is_lost(&self) -> Promise {
        let mut violations = Vec::new();
        let mut last = BTreeMap::new();
        let mut failures = 0;
        for attempt in &self.attempts {
            let Attempt {
                delivery, answer, ..
            } = attempt;
            let status = answer.as_ref().map(|answer| answer.status);
            if delivery.destination.is_some() {
                failures += usize::from(status != Some(200));
                last.insert((&delivery.id, &delivery.name), status);
            }
            if !answer.as_ref().is_some_and(Answer::is_in_the_table) {
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

    fn almost_always_once(&self, verdict: &Verdict) -> Promise {
        Promise {
            text: "Almost always once",
            evidence: format!(
                "{} second messages, {} lost responses of SQS, {} failed completion marks",
                verdict.repetitions(),
                self.lost_sends.len(),
                self.failed_marks().count()
            ),
            violations: verdict.unexplained.clone(),
        }
    }

    fn nothing_unsigned_gets_in(&self, verdict: &Verdict) -> Promise {
        let mut violations = verdict.unexpected.clone();
        let forged = || {
            let all = self.answered();
            all.filter(|(delivery, _)| delivery.destination.is_none())
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
        let answers = self.answered().map(|(_, answer)| answer.body.to_string());
        let output = answers.clone().chain(self.log_lines.iter().cloned());
        let is_violation = |line: &String| secrets.iter().any(|it| line.contains(it));
        let mut violations: Vec<_> = output.filter(is_violation).collect();
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

    fn acknowledged(&self) -> impl Iterator<Item = (&Delivery, &Answer)> {
        self.answered().filter(|(_, answer)| answer.status < 300)
    }

    fn answered(&self) -> impl Iterator<Item = (&Delivery, &Answer)> + Clone {
        self.attempts
            .iter()
            .filter_map(|it| Some((&it.delivery, it.answer.as_ref()?)))
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

/// What no wrong configuration and no wrong answer of AWS brings about, as evidence.
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONTACT: Option<promises::Destination> = Some(promises::Destination::ContactsQueue);

    fn attempt(destination: Option<promises::Destination>, answer: Answer) -> Attempt {
        let delivery = Delivery {
            destination,
            name: "a delivery".to_owned(),
            id: "delivery-1".to_owned(),
            body: "{}".to_owned(),
            url_suffix: "",
            signature: None,
            personal: Vec::new(),
        };
        let answer = Some(answer);
        Attempt {
            delivery,
            answer,
            took: Duration::ZERO,
        }
    }

    fn evidence(emulators: &Emulators, attempt: Attempt) -> Evidence<'_> {
        Evidence {
            attempts: vec![attempt],
            calls_for_forged: 0,
            lost_sends: Vec::new(),
            log_lines: vec!["a line".to_owned()],
            emulators,
        }
    }

    #[test]
    fn an_answer_that_is_not_in_the_table_is_a_violation() {
        let emulators = Emulators::start();
        // Of what is signed, and of what is forged.
        for (destination, in_the_table) in
            [(CONTACT, Answer::accepted()), (None, Answer::refused())]
        {
            let retried = Answer {
                retry_after: Some(1),
                ..in_the_table.clone()
            };
            for (answer, is_right) in [(in_the_table, true), (retried, false)] {
                let evidence = evidence(&emulators, attempt(destination, answer));
                assert_eq!(evidence.nothing_unacknowledged_is_lost().held(), is_right);
            }
        }
        // No answer is none of them either, whatever a later attempt is answered.
        let mut evidence = evidence(&emulators, attempt(CONTACT, Answer::accepted()));
        let unanswered = Attempt {
            answer: None,
            ..attempt(CONTACT, Answer::accepted())
        };
        evidence.attempts.insert(0, unanswered);
        assert!(!evidence.nothing_unacknowledged_is_lost().held());
    }

    #[test]
    fn a_forged_request_that_is_stored_or_causes_a_call_is_a_violation() {
        let emulators = Emulators::start();
        let held = |calls_for_forged: usize| {
            let refused = evidence(&emulators, attempt(None, Answer::refused()));
            let evidence = Evidence {
                calls_for_forged,
                ..refused
            };
            let verdict = evidence.verdict();
            evidence.nothing_unsigned_gets_in(&verdict).violations
        };
        assert_eq!(held(0), [""; 0]);
        assert_eq!(held(1), ["a forged request caused a call to AWS"]);
        emulators.quarantine.put("delivery-1", &[]);
        assert!(held(0).contains(&"\"a delivery\": stored".to_owned()));
    }

    /// A lost response and a failed completion mark each allow one message more, for their own delivery.
    #[test]
    fn a_second_message_without_a_cause_of_its_own_is_a_violation() {
        let emulators = Emulators::start();
        for _ in 0..2 {
            emulators
                .contacts
                .put("{}", &[("deliveryId", "delivery-1")]);
        }
        let failed = |id: &str| json!({"message": "completion mark failed", "id": id}).to_string();
        for (lost_sends, log_line, held) in [
            (vec![], "a line".to_owned(), false),
            (vec!["delivery-1".to_owned()], "a line".to_owned(), true),
            (vec!["delivery-2".to_owned()], failed("delivery-2"), false),
            (vec![], failed("delivery-1"), true),
            (
                vec![],
                json!({"outcome": "accepted", "id": "delivery-1"}).to_string(),
                false,
            ),
        ] {
            let mut evidence = evidence(&emulators, attempt(CONTACT, Answer::accepted()));
            evidence.lost_sends = lost_sends;
            evidence.log_lines = vec![log_line];
            let verdict = evidence.verdict();
            assert_eq!(evidence.almost_always_once(&verdict).held(), held);
        }
    }

    /// A call is given up after a second, and the log says so.
    #[test]
    fn a_second_message_after_a_call_that_was_given_up_has_a_cause() {
        let emulators = Emulators::start();
        for _ in 0..2 {
            emulators
                .contacts
                .put("{}", &[("deliveryId", "delivery-1")]);
        }
        let retried = json!({"outcome": "accepted", "id": "delivery-1", "retries": 1});
        let another = json!({"outcome": "accepted", "id": "delivery-2", "retries": 1});
        let unavailable = json!({"outcome": "unavailable", "id": "delivery-1"});
        let taken_over = json!({"outcome": "accepted", "id": "delivery-1", "taken_over": true});
        let usual = json!({"outcome": "accepted", "id": "delivery-1"});
        for (ms, line, held) in [
            (1_000, &retried, true),
            (1_000, &unavailable, true),
            (1_000, &taken_over, true),
            (1_000, &usual, false),
            (1_000, &another, false),
            (999, &retried, false),
        ] {
            let mut attempt = attempt(CONTACT, Answer::accepted());
            attempt.took = Duration::from_millis(ms);
            let mut evidence = evidence(&emulators, attempt);
            evidence.log_lines = vec![line.to_string()];
            let verdict = evidence.verdict();
            let promise = evidence.almost_always_once(&verdict);
            assert_eq!(promise.held(), held, "{ms} {line}");
        }
    }

    /// In an answer as well as in a log line, whatever other promise that breaks.
    #[test]
    fn a_name_a_signature_or_a_secret_that_is_told_is_a_violation() {
        let emulators = Emulators::start();
        for told in ["Prénom01", "a signature", SIGNING_SECRET] {
            let quoting = json!({"received": true, "note": format!("of {told}.")});
            let line = quoting.to_string();
            for (answer, log_line, violations) in [
                (Answer::accepted(), "a line", vec![]),
                (Answer::accepted(), &line, vec![line.clone()]),
                (Answer::of(200, quoting), "a line", vec![line.clone()]),
            ] {
                let mut attempt = attempt(CONTACT, answer);
                attempt.delivery.personal = vec!["Prénom01".to_owned()];
                attempt.delivery.signature = Some("a signature".to_owned());
                let mut evidence = evidence(&emulators, attempt);
                evidence.log_lines = vec![log_line.to_owned()];
                assert_eq!(evidence.no_personal_data_leaves().violations, violations);
            }
        }
    }

    #[test]
    fn an_answer_without_a_log_line_is_a_violation() {
        let emulators = Emulators::start();
        let mut evidence = evidence(&emulators, attempt(CONTACT, Answer::accepted()));
        assert!(evidence.no_personal_data_leaves().held());
        evidence.log_lines.clear();
        assert!(!evidence.no_personal_data_leaves().held());
    }
}

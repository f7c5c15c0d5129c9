//! Checks whether the promises held, from the answers to TitanX and the contents of the emulators.
//! The checks share no code with the receiver.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use titanx_testbed::{
    answer::Answer,
    emulators::{AttributeValue, Emulators, SIGNING_SECRET},
    promises::{self, Verdict},
    titanx::signature,
};

use crate::{
    screen::{Screen, Tone},
    titanx::{Attempt, Delivery, Outcome},
};

/// How long the receiver waits for the response to a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// The outcomes in the summary, with what they mean. Every attempt has one of them.
const OUTCOMES: [(Outcome, &str); 9] = [
    (Outcome::Accepted, "200: contacts, and the completed job"),
    (Outcome::Duplicate, "200: an earlier delivery is completed"),
    (Outcome::Quarantined, "200: signed, but not understood"),
    (Outcome::Refused, "401: not signed by TitanX"),
    (
        Outcome::Unrecognised,
        "429: no secret fits, and the secrets may not be read again yet",
    ),
    (
        Outcome::InFlight,
        "429: another invocation holds the delivery, TitanX retries",
    ),
    (
        Outcome::Unavailable,
        "503: an AWS service failed, TitanX retries",
    ),
    (Outcome::Unexpected, "any other answer"),
    (Outcome::NoAnswer, "within TitanX's time limit"),
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

    /// Neither what is known of a person, nor what would let somebody else sign: the secret, and the signatures
    /// that came or were expected.
    fn no_personal_data_leaves(&self) -> Promise {
        let mut secrets = vec![SIGNING_SECRET.to_owned()];
        for Attempt { delivery, .. } in &self.attempts {
            secrets.extend(delivery.personal.iter().cloned());
            secrets.extend(delivery.signature.clone());
            secrets.push(signature(SIGNING_SECRET, &delivery.body));
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
        screen.title("Summary");
        for (name, value, note) in self.totals() {
            screen.row(name, value, note);
        }
    }

    /// The rows of the summary: name, value, and what it means.
    fn totals(&self) -> Vec<(&'static str, String, &'static str)> {
        let Emulators {
            contacts,
            quarantine,
            jobs,
            ..
        } = self.emulators;
        let attempts = self.attempts.iter();
        let outcomes: Vec<_> = attempts.map(|it| Outcome::of(it.answer.as_ref())).collect();
        let sent = ("sent", outcomes.len(), "requests, including retries");
        let ended = OUTCOMES.iter().map(|&(outcome, note)| {
            let times = outcomes.iter().filter(|it| **it == outcome).count();
            (outcome.name(), times, note)
        });
        let stored = [
            ("contacts", contacts.len(), "messages in the contacts queue"),
            (
                "quarantine",
                quarantine.len(),
                "messages in the quarantine queue",
            ),
        ];
        let numbers = [sent].into_iter().chain(ended).chain(stored);
        let numbers = numbers.map(|(name, value, note)| (name, value.to_string(), note));
        let jobs = jobs.items().into_iter().filter_map(|job| {
            let AttributeValue::S(status) = job.get("status")? else {
                return None;
            };
            Some(("job", status.clone(), "status in the jobs table"))
        });
        numbers.chain(jobs).collect()
    }
}

/// What no wrong configuration and no wrong answer of AWS brings about, as evidence.
#[cfg(test)]
mod tests {
    use serde_json::json;
    use titanx_testbed::{emulators::Item, promises::Destination};

    use super::*;
    use crate::scenario;

    const CONTACT: Option<Destination> = Some(Destination::ContactsQueue);

    fn attempt(destination: Option<Destination>, answer: Answer) -> Attempt {
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

    /// There is time for one call that is given up in each whole second of the delivery's own attempts, and
    /// each one was told by a log line of its own.
    #[test]
    fn calls_given_up_are_what_the_delivery_itself_was_told_and_had_time_for() {
        let emulators = Emulators::start();
        let line = |id: &str, retries: u64| json!({"id": id, "retries": retries}).to_string();
        for (own_ms, others_ms, own_retries, others_retries, calls) in [
            (&[0][..], &[][..], 1, 0, 0),
            (&[999], &[1_000, 60_000], 9, 9, 0),
            (&[1_999], &[60_000], 9, 9, 1),
            (&[5_000], &[60_000], 2, 9, 2),
            (&[5_000], &[60_000], 0, 9, 0),
            (&[2_000, 3_000], &[0], 9, 0, 5),
            // Two halves of a second in two attempts are no second.
            (&[500, 500], &[500, 500], 9, 9, 0),
        ] {
            let took = |id: &str, ms: u64| {
                let mut attempt = attempt(CONTACT, Answer::accepted());
                id.clone_into(&mut attempt.delivery.id);
                attempt.took = Duration::from_millis(ms);
                attempt
            };
            let own = own_ms.iter().map(|&ms| took("delivery-1", ms));
            let others = others_ms.iter().map(|&ms| took("delivery-2", ms));
            let evidence = Evidence {
                attempts: own.chain(others).collect(),
                log_lines: vec![
                    line("delivery-1", own_retries),
                    line("delivery-2", others_retries),
                ],
                ..evidence(&emulators, attempt(CONTACT, Answer::accepted()))
            };
            assert_eq!(
                evidence.calls_given_up("delivery-1"),
                calls,
                "{own_ms:?} {others_ms:?} {own_retries} {others_retries}"
            );
        }
    }

    /// Each row counts one thing, and each attempt is in one row.
    #[test]
    fn the_rows_of_the_summary_count_what_they_name_and_add_up() {
        let emulators = Emulators::start();
        let error = |status, text: &str| Some(Answer::of(status, json!({ "error": text })));
        let answers = [
            Some(Answer::accepted()),
            Some(Answer::duplicate()),
            Some(Answer::quarantined()),
            Some(Answer::refused()),
            error(429, "Signature not recognised yet"),
            error(429, "Already in progress"),
            error(503, "Unavailable"),
            error(413, "Too large"),
            None,
        ];
        // The first answer once, the second twice, and so on.
        let answers = (1..).zip(answers);
        let answers = answers.flat_map(|(times, answer)| vec![answer; times]);
        let mut evidence = evidence(&emulators, attempt(CONTACT, Answer::accepted()));
        evidence.attempts = answers
            .map(|answer| Attempt {
                answer,
                ..attempt(CONTACT, Answer::accepted())
            })
            .collect();
        (0..10).for_each(|_| emulators.contacts.put("{}", &[]));
        (0..11).for_each(|_| emulators.quarantine.put("{}", &[]));
        let text = |value: &str| AttributeValue::S(value.to_owned());
        emulators.jobs.put(&Item::from([
            ("job_id".to_owned(), text("job-1")),
            ("status".to_owned(), text("Finalized")),
        ]));

        let rows = evidence.totals().into_iter();
        let rows: Vec<_> = rows.map(|(name, value, _)| (name, value)).collect();
        let expected = [
            ("sent", "45"),
            ("accepted", "1"),
            ("duplicate", "2"),
            ("quarantined", "3"),
            ("refused", "4"),
            ("unrecognised", "5"),
            ("in flight", "6"),
            ("unavailable", "7"),
            ("unexpected", "8"),
            ("no answer", "9"),
            ("contacts", "10"),
            ("quarantine", "11"),
            ("job", "Finalized"),
        ];
        assert_eq!(rows, expected.map(|(name, value)| (name, value.to_owned())));
    }

    /// What stands beside a promise, from a run in which every number is another one.
    #[test]
    fn the_evidence_of_a_promise_counts_what_it_names() {
        let emulators = Emulators::start();
        let unavailable = || Answer::of(503, json!({"error": "Unavailable"}));
        let mut attempts = Vec::new();
        for (times, destination, answer) in [
            (8, CONTACT, Some(Answer::accepted())),
            (3, CONTACT, Some(unavailable())),
            (2, CONTACT, None),
            (4, None, Some(Answer::refused())),
        ] {
            attempts.extend((0..times).map(|_| Attempt {
                answer: answer.clone(),
                ..attempt(destination, Answer::accepted())
            }));
        }
        // A second message, for which one of the lost responses is the cause.
        for id in ["delivery-1", "delivery-1"] {
            emulators.contacts.put("{}", &[("deliveryId", id)]);
        }
        let failed = json!({"message": "completion mark failed", "id": "delivery-2"}).to_string();
        let lines = vec![failed; 6];
        let evidence = Evidence {
            attempts,
            calls_for_forged: 7,
            lost_sends: ["1", "2", "3", "4", "5"]
                .map(|it| format!("delivery-{it}"))
                .into(),
            log_lines: [lines, vec!["a line".to_owned(); 20]].concat(),
            emulators: &emulators,
        };
        assert_eq!(
            evidence.examine().map(|promise| promise.evidence),
            [
                "for each of 8 answers with 200, the event is durable",
                "5 attempts failed, and their last retries succeeded",
                "1 second messages, 5 lost responses of SQS, 6 failed completion marks",
                "4 forged requests were refused, with 7 calls to DynamoDB and SQS",
                "none in 26 log lines and 15 answers",
            ]
        );
    }

    /// Of every person of the scenario, each value for itself.
    #[test]
    fn any_value_of_a_person_in_a_log_line_is_a_violation() {
        let emulators = Emulators::start();
        let delivery = scenario::contact(7, "job-1");
        for value in [
            "Prénom07",
            "Nachname07",
            "person07@example.com",
            "+1 202-555-0107",
            "7 Sample Street",
        ] {
            let told = |value: &str| json!({"message": format!("of {value}.")}).to_string();
            let of = |line: String| {
                let attempt = Attempt {
                    delivery: delivery.clone(),
                    ..attempt(CONTACT, Answer::accepted())
                };
                let mut evidence = evidence(&emulators, attempt);
                evidence.log_lines = vec![line];
                evidence.no_personal_data_leaves().violations
            };
            assert_eq!(of(told(value)), [told(value)]);
            // Somebody else's, and what tells nothing of a person.
            for other in [
                value.replace('7', "8"),
                format!("{} of job-1", delivery.id),
                "firstName, lastName, email, phone, street".to_owned(),
            ] {
                assert_eq!(of(told(&other)), [""; 0]);
            }
        }
    }

    /// A signature that did not come would let a forger in, if it were told.
    #[test]
    fn the_signature_that_a_forged_request_should_have_had_is_not_told() {
        let emulators = Emulators::start();
        // The body is `{}`, and this was made with openssl.
        let expected = "abHIKF5vZbAWm6nN6bOlfjD3grQjdxkCfFKr0a2NtGM=";
        for signature in [None, Some("another".to_owned())] {
            let mut attempt = attempt(None, Answer::refused());
            attempt.delivery.signature = signature;
            let mut evidence = evidence(&emulators, attempt);
            evidence.log_lines = vec![format!("not {expected}")];
            assert_eq!(
                evidence.no_personal_data_leaves().violations,
                evidence.log_lines
            );
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

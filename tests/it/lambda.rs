//! The order of an invocation at the Lambda Runtime API: the answer is posted, then the completion mark is
//! written, then the next event is asked for. Also the end of the process if the API is unreachable.
//!
//! The Runtime API is the testbed's, because AWS's emulator passes an answer on only when the next event is
//! asked for.

use std::{collections::BTreeMap, path::Path, time::Duration};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    join,
    time::{Instant, sleep, timeout},
};

use titanx_testbed::{
    answer::{Answer, read},
    emulators::{AttributeValue, Emulators, Fault, Harm, When},
    lambda::{Lambda, Outcome, Posting, Process},
    surroundings::{Proxies, environment},
    titanx::{completed_job, contact, request, signed},
};

/// The function's timeout.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Longer than anything takes that is not stopped.
const A_WHILE: Duration = Duration::from_millis(300);
/// Longer than anything immediate takes, on a busy machine too.
const AT_ONCE: Duration = Duration::from_secs(3);

const BINARY: &str = env!("CARGO_BIN_EXE_receiver");

/// The function's program with a Runtime API, and the AWS services behind fault proxies.
struct Scene {
    emulators: Emulators,
    proxies: Proxies,
    environment: BTreeMap<&'static str, String>,
    lambda: Lambda,
    process: Process,
}

impl Scene {
    /// Starts a process for this many concurrent invocations, and waits until it asks for them.
    async fn prepare(at_once: usize) -> Self {
        Self::prepare_within(TIMEOUT, at_once).await
    }

    async fn prepare_within(invocation: Duration, at_once: usize) -> Self {
        let emulators = Emulators::start();
        let mut environment = environment(&emulators);
        if at_once > 1 {
            environment.insert("AWS_LAMBDA_MAX_CONCURRENCY", at_once.to_string());
        }
        let proxies = Proxies::between(&mut environment, &emulators);
        let lambda = Lambda::new(invocation);
        let process = lambda.start(Path::new(BINARY), &environment);
        process.has_asked(at_once).await;
        Self {
            emulators,
            proxies,
            environment,
            lambda,
            process,
        }
    }

    async fn answer(&self, event: &Value) -> Answer {
        match self.lambda.invoke(event).await {
            Outcome::Answered(response) => read(&response),
            other => panic!("not answered: {other:?}"),
        }
    }

    /// Delivers a first event. It is answered, and its completion mark is stopped at the proxy.
    async fn answered_and_not_marked(&self, event: &Value) {
        let mark = When::NthOf(2, "PutItem");
        let stop = Fault::Before(Harm::Stop);
        self.proxies.dynamodb.inject(mark, stop);
        assert_eq!(self.answer(event).await, Answer::accepted());
        self.proxies.dynamodb.stopped().await;
        assert!(!self.is_completed("delivery-1"));
    }

    fn is_completed(&self, id: &str) -> bool {
        let record = self.emulators.deliveries.get(id).expect("it was claimed");
        record["status"] == AttributeValue::S("COMPLETED".to_owned())
    }

    /// The calls to DynamoDB so far.
    fn operations(&self) -> Vec<String> {
        let calls = self.proxies.dynamodb.calls().into_iter();
        calls.map(|call| call.operation).collect()
    }

    /// The number of attempts to write a completion mark.
    fn marks_asked_for(&self, claims: usize) -> usize {
        let puts = self.operations();
        puts.iter().filter(|it| *it == "PutItem").count() - claims
    }

    /// All log lines of the process, which is killed if it still runs.
    fn lines(&mut self) -> Vec<Value> {
        self.process.kill();
        let lines = self.process.take_output().into_iter();
        lines
            .map(|line| serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }

    /// Asserts that the process ended by itself without an error.
    async fn has_ended_with_its_environment(&mut self) {
        let status = self.process.ended(AT_ONCE).await;
        let status = status.expect("the process ends by itself");
        assert_eq!(status.code(), Some(0));
        // There is no error, so there is no log line about one.
        let lines = self.lines();
        assert!(lines.iter().all(|it| it["level"] != "ERROR"), "{lines:?}");
    }

    /// Asserts that the process ended by itself with an error and one log line about it.
    async fn has_ended(&mut self, because: &str) -> Vec<Value> {
        let status = self.process.ended(AT_ONCE).await;
        let status = status.expect("the process ends by itself");
        assert_eq!(status.code(), Some(1));
        let lines = self.lines();
        let (deliveries, others): (Vec<_>, Vec<_>) = lines
            .into_iter()
            .partition(|line| line["outcome"].is_string());
        assert_eq!(others.len(), 1, "{others:?}");
        assert_eq!(others[0]["message"], "the receiver stopped");
        assert_eq!(others[0]["level"], "ERROR");
        let error = others[0]["error"].as_str().unwrap();
        assert!(error.contains(because), "{error}");
        // Its cause follows.
        assert!(!error.trim_end().ends_with(':'), "{error}");
        deliveries
    }
}

fn deliveries(count: usize) -> Vec<(String, Value)> {
    let ids = (1..=count).map(|number| format!("delivery-{number}"));
    ids.map(|id| (id.clone(), signed(&contact(&id)))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_posted_before_the_mark_and_the_next_event_asked_for_after_it() {
    for at_once in [1, 4] {
        let scene = Scene::prepare(at_once).await;
        let deliveries = deliveries(at_once);
        let stop = Posting::StopBefore;
        scene.process.on_answers(vec![stop; at_once]);
        let stop = Fault::Before(Harm::Stop);
        for mark in 1..=at_once {
            let mark = When::NthOf(at_once + mark, "PutItem");
            scene.proxies.dynamodb.inject(mark, stop);
        }

        let answers = async {
            let answers = deliveries.iter().map(|(_, event)| scene.answer(event));
            for answer in join_all(answers).await {
                assert_eq!(answer, Answer::accepted());
            }
        };
        let watch = async {
            // The answers are being posted. The contacts are on the queue, and no completion mark is written.
            let posting = scene.process.stands_at_answer(at_once);
            timeout(AT_ONCE, posting).await.expect("answers are posted");
            sleep(A_WHILE).await;
            assert_eq!(scene.emulators.contacts.len(), at_once);
            assert_eq!(scene.operations(), vec!["PutItem"; at_once]);
            scene.process.release_answers();
        };
        join!(answers, watch);

        // The senders have their answers, while every completion mark is stopped.
        let dynamodb = &scene.proxies.dynamodb;
        timeout(AT_ONCE, dynamodb.stopped()).await.expect("a mark");
        sleep(A_WHILE).await;
        assert_eq!(scene.marks_asked_for(at_once), at_once);
        assert_eq!(scene.process.asked(), at_once);
        for (id, _) in &deliveries {
            assert!(!scene.is_completed(id));
        }
        assert_eq!(scene.process.take_output(), [""; 0]);

        dynamodb.heal();
        let asked = scene.process.has_asked(2 * at_once);
        timeout(AT_ONCE, asked)
            .await
            .expect("the next is asked for");
        for (id, event) in &deliveries {
            assert!(scene.is_completed(id));
            assert_eq!(scene.answer(event).await, Answer::duplicate());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_between_answer_and_mark_is_answered_429_and_a_later_one_as_a_duplicate() {
    let scene = Scene::prepare(2).await;
    let event = signed(&contact("delivery-1"));
    scene.answered_and_not_marked(&event).await;

    let between = scene.answer(&event).await;
    assert_eq!(between.status, 429);
    assert!(between.is_in_the_table());
    assert!(!scene.is_completed("delivery-1"));

    scene.proxies.dynamodb.heal();
    let marked = async {
        while !scene.is_completed("delivery-1") {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(AT_ONCE, marked).await.expect("the mark is written");
    assert_eq!(scene.answer(&event).await, Answer::duplicate());
    assert_eq!(scene.emulators.contacts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_logged_once_and_after_its_completion_mark() {
    let mut scene = Scene::prepare(1).await;
    let event = signed(&contact("delivery-1"));
    scene.answered_and_not_marked(&event).await;
    sleep(A_WHILE).await;
    assert_eq!(scene.process.take_output(), [""; 0]);

    scene.proxies.dynamodb.heal();
    scene.process.has_asked(2).await;
    let lines = scene.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["outcome"], "accepted");
    assert_eq!(lines[0]["id"], "delivery-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_mark_that_hangs_is_abandoned_within_the_invocation() {
    let invocation = Duration::from_secs(3);
    let mut scene = Scene::prepare_within(invocation, 1).await;
    let hang = Fault::Before(Harm::Delay(4 * invocation));
    for mark in 2..=4 {
        let mark = When::NthOf(mark, "PutItem");
        scene.proxies.dynamodb.inject(mark, hang);
    }
    let began = Instant::now();
    let event = signed(&contact("delivery-1"));
    assert_eq!(scene.answer(&event).await, Answer::accepted());
    assert!(began.elapsed() < Duration::from_secs(1));

    let asked = scene.process.has_asked(2);
    let left = invocation.saturating_sub(began.elapsed());
    timeout(left, asked).await.expect("the next is asked for");
    let lines = scene.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["message"], "completion mark failed");
    assert_eq!(lines[0]["id"], "delivery-1");
    assert!(lines[0]["request_id"].is_string(), "{lines:?}");
    assert_eq!(lines[1]["id"], "delivery-1");
    assert_eq!(lines[1]["outcome"], "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_posted_is_followed_by_the_mark_and_the_end_of_the_process() {
    for at_once in [1, 4] {
        for posting in [Posting::ResetBefore, Posting::ResetAfter] {
            let mut scene = Scene::prepare(at_once).await;
            scene.process.on_answers([posting]);
            let event = signed(&contact("delivery-1"));
            let job = signed(&completed_job("delivery-2", "job-1"));
            tokio::select! {
                outcome = scene.lambda.invoke(&event) => {
                    assert_eq!(posting, Posting::ResetAfter, "{outcome:?}");
                }
                () = sleep(A_WHILE) => assert_eq!(posting, Posting::ResetBefore),
            }
            let lines = scene.has_ended("an answer could not be posted").await;
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(lines[0]["id"], "delivery-1");
            assert!(scene.is_completed("delivery-1"), "{at_once} {posting:?}");

            // A new process continues, and no event is durable twice.
            let binary = Path::new(BINARY);
            scene.process = scene.lambda.start(binary, &scene.environment);
            assert_eq!(scene.answer(&event).await, Answer::duplicate());
            assert_eq!(scene.answer(&job).await, Answer::accepted());
            assert_eq!(scene.emulators.contacts.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_api_lost_while_an_answer_is_posted_ends_the_process_after_the_mark() {
    for at_once in [1, 4] {
        let mut scene = Scene::prepare(at_once).await;
        scene.process.on_answers([Posting::StopBefore]);
        let event = signed(&contact("delivery-1"));
        tokio::select! {
            outcome = scene.lambda.invoke(&event) => panic!("{outcome:?}"),
            () = scene.process.stands_at_answer(1) => {}
        }
        assert!(!scene.is_completed("delivery-1"));
        scene.process.lose_interface();
        if at_once == 1 {
            scene.has_ended("an answer could not be posted").await;
            assert!(scene.is_completed("delivery-1"));
        } else {
            // The workers that wait for an event notice it at the same time.
            scene.has_ended("").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_answer_is_followed_by_the_mark_and_the_next_event() {
    let mut scene = Scene::prepare(1).await;
    scene.process.on_answers([Posting::ServerError]);
    let event = signed(&contact("delivery-1"));
    tokio::select! {
        outcome = scene.lambda.invoke(&event) => panic!("{outcome:?}"),
        () = scene.process.has_asked(2) => {}
    }
    assert!(scene.is_completed("delivery-1"));
    assert_eq!(scene.answer(&event).await, Answer::duplicate());
    scene.process.has_asked(3).await;
    // Only the runtime logs it, once.
    let lines = scene.lines();
    let refused = "Lambda Runtime API returned non-200 response";
    let told = lines.iter().filter(|line| line["message"] == refused);
    assert_eq!(told.count(), 1);
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_runtime_api_ends_the_process_at_once_with_one_log_line() {
    for at_once in [1, 4] {
        let mut scene = Scene::prepare(at_once).await;
        assert_eq!(
            scene.answer(&request("nothing", None)).await,
            Answer::refused()
        );
        scene.process.has_asked(at_once + 1).await;
        scene.process.lose_interface();
        if at_once == 1 {
            scene.has_ended_with_its_environment().await;
        } else {
            let lines = scene.has_ended("Error polling /next").await;
            assert_eq!(lines.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_answer_and_mark_duplicates_nothing_unless_titanx_retries() {
    let invocation = Duration::from_secs(3);
    let lease_over = invocation + Duration::from_millis(1_200);
    for told in [false, true] {
        let mut scene = Scene::prepare_within(invocation, 1).await;
        let event = signed(&contact("delivery-1"));
        if told {
            // Its answer is posted, and it waits for the completion mark.
            scene.answered_and_not_marked(&event).await;
        } else {
            // Its answer was accepted, and it waits for the response.
            scene.process.on_answers([Posting::StopAfter]);
            assert_eq!(scene.answer(&event).await, Answer::accepted());
            scene.process.stands_at_answer(1).await;
        }
        scene.process.kill();
        scene.proxies.heal();
        assert!(!scene.is_completed("delivery-1"));
        assert_eq!(scene.emulators.contacts.len(), 1);

        // TitanX has got a 200. If it retries all the same, the lease has to end, and the event is sent again.
        let binary = Path::new(BINARY);
        scene.process = scene.lambda.start(binary, &scene.environment);
        assert_eq!(scene.answer(&event).await.status, 429);
        sleep(lease_over).await;
        assert_eq!(scene.answer(&event).await, Answer::accepted());
        scene.process.has_asked(3).await;
        assert_eq!(scene.answer(&event).await, Answer::duplicate());
        let messages = scene.emulators.contacts.messages();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].body, messages[1].body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_process_that_continues_late_writes_its_mark_and_undoes_nothing() {
    let invocation = Duration::from_secs(3);
    let scene = Scene::prepare_within(invocation, 1).await;
    let event = signed(&contact("delivery-1"));
    scene.answered_and_not_marked(&event).await;
    scene.process.freeze(true);
    scene.proxies.heal();

    // Another process takes over the delivery and completes it.
    sleep(invocation + Duration::from_millis(1_200)).await;
    let binary = Path::new(BINARY);
    let other = scene.lambda.start(binary, &scene.environment);
    assert_eq!(scene.answer(&event).await, Answer::accepted());
    other.has_asked(2).await;
    assert!(scene.is_completed("delivery-1"));

    scene.process.freeze(false);
    scene.process.has_asked(2).await;
    assert!(scene.is_completed("delivery-1"));
    assert_eq!(scene.answer(&event).await, Answer::duplicate());
    assert_eq!(scene.emulators.contacts.len(), 2);
}

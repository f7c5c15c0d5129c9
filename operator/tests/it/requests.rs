//! What a command asks AWS for, where the emulators answer alike whatever is asked.

use std::sync::{Arc, Mutex};

use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{AttributeValue, FaultProxy, Item},
    server::{Server, json as respond},
    titanx::now_ms,
};

use crate::{System, operator::Operator, titanx_api::Form};

/// Operations, with what was asked.
type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// What was asked with this operation. It was asked once.
fn asked(requests: &Requests, operation: &str) -> Value {
    let requests = requests.lock().unwrap();
    let mut asked = requests.iter().filter(|(name, _)| name == operation);
    let (_, request) = asked.next().unwrap_or_else(|| panic!("{requests:?}"));
    assert!(asked.next().is_none(), "{requests:?}");
    request.clone()
}

/// The operator's command behind a proxy to DynamoDB, and what it asks there.
fn watched(system: &System) -> (FaultProxy, Operator, Requests) {
    let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 1);
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    proxy.observe(move |call| {
        let request = serde_json::from_slice(&call.request).unwrap();
        seen.lock().unwrap().push((call.operation.clone(), request));
    });
    let operator = system.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
    (proxy, operator, requests)
}

/// If the command is killed, nobody else can work on the job for as long.
#[test]
fn a_job_is_held_for_a_quarter_of_an_hour() {
    const JOB: &str = "11111111-2222-4333-8444-555555555555";
    for (line, margin_ms) in [("reconcile --yes", 0), ("heal --job", 1_000)] {
        let system = System::start(Form::Schema);
        let contacts = [
            json!({"customerContactId": "contact-1", "leadStatus": "High"}),
            json!({"customerContactId": "contact-2"}),
        ];
        let created = "2100-01-05T12:00:00Z";
        system
            .api
            .put_job(JOB, json!({"id": JOB, "createdAt": created}), &contacts);
        let record = [
            ("job_id", AttributeValue::S(JOB.to_owned())),
            ("completed_at", AttributeValue::N(now_ms().to_string())),
        ];
        let record = record.map(|(name, value)| (name.to_owned(), value));
        system.emulators.jobs.put(&Item::from(record));
        let (_proxy, operator, requests) = watched(&system);
        let before = now_ms();
        operator.run(&format!("{line} {JOB}")).exits(0);
        let (earliest, latest) = (before + 900_000, now_ms() + 900_000);
        let expected = earliest + margin_ms..=latest + margin_ms;
        let ends = || {
            let requests = std::mem::take(&mut *requests.lock().unwrap());
            let ends = requests.into_iter().filter_map(|(_, request)| {
                let ends = &request["ExpressionAttributeValues"][":ends"]["N"];
                ends.as_str()?.parse().ok()
            });
            ends.collect::<Vec<u64>>()
        };
        let taken = ends();
        assert!(!taken.is_empty());
        assert!(taken.iter().all(|it| expected.contains(it)), "{taken:?}");
        // With nothing to queue, a person does not take it.
        if line.starts_with("reconcile") {
            operator.run(&format!("{line} {JOB}")).exits(0);
            assert_eq!(ends(), [0; 0]);
        }
    }
}

/// A read that is only eventually consistent shows a claim that has ended meanwhile, or none yet.
#[test]
fn a_delivery_is_read_consistently_and_removed_on_condition() {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let now = now_ms();
    let expiration = now / 1_000 + 604_800;
    let record = [
        ("delivery_id", text("delivery-1")),
        ("status", text("INPROGRESS")),
        ("in_progress_expiration", number(now - 70_000)),
        ("expiration", number(expiration)),
        ("claimed_by", text("somebody")),
        ("validation", text("a digest")),
    ];
    let record = record.map(|(name, value)| (name.to_owned(), value));
    let system = System::start(Form::Schema);
    system.emulators.deliveries.put(&Item::from(record));
    let (_proxy, operator, requests) = watched(&system);
    operator.run("delivery delivery-1 --release --yes").exits(0);

    assert_eq!(asked(&requests, "GetItem")["ConsistentRead"], true);
    let mut delete = asked(&requests, "DeleteItem");
    // A minute ago: the clock of this machine may be fast.
    let over = delete["ExpressionAttributeValues"][":over"]["N"].take();
    let over: u64 = over.as_str().unwrap().parse().unwrap();
    assert!((now - 60_000..now_ms() - 59_999).contains(&over), "{over}");
    assert_eq!(
        delete["ConditionExpression"],
        "#status = :status AND claimed_by = :claimed_by AND expiration = :expiration \
         AND in_progress_expiration < :over"
    );
    assert_eq!(
        delete["ExpressionAttributeNames"],
        json!({"#status": "status"})
    );
    assert_eq!(
        delete["ExpressionAttributeValues"],
        json!({
            ":status": {"S": "INPROGRESS"},
            ":claimed_by": {"S": "somebody"},
            ":expiration": {"N": expiration.to_string()},
            ":over": {"N": null},
        })
    );
}

const CONTACTS: &str = "arn:aws:sqs:us-east-1:000000000000:contacts";
const DEAD_LETTERS: &str = "arn:aws:sqs:us-east-1:000000000000:dead-letters";

/// An SQS with dead letters: those that can be received, are in flight, and are delayed. The latest task to
/// move them has these statuses in turn, and the last one again and again; with none there is no task.
fn sqs(requests: &Requests, dead: [u32; 3], tasks: &[&'static str]) -> Server {
    let (seen, tasks) = (Arc::clone(requests), tasks.to_vec());
    Server::start("sqs", move |request: Request<Bytes>| {
        let target = request.headers()["x-amz-target"].to_str().unwrap();
        let operation = target.split('.').nth(1).unwrap().to_owned();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let mut seen = seen.lock().unwrap();
        let looks = seen
            .iter()
            .filter(|(name, _)| name == "ListMessageMoveTasks");
        let task = tasks
            .get(looks.count())
            .or(tasks.last())
            .filter(|it| !it.is_empty());
        let answer = match operation.as_str() {
            "GetQueueAttributes" if body["QueueUrl"].as_str().unwrap().ends_with("dead") => json!({
                "Attributes": {
                    "QueueArn": DEAD_LETTERS,
                    "ApproximateNumberOfMessages": dead[0].to_string(),
                    "ApproximateNumberOfMessagesNotVisible": dead[1].to_string(),
                    "ApproximateNumberOfMessagesDelayed": dead[2].to_string(),
                },
            }),
            "GetQueueAttributes" => {
                let policy = json!({"deadLetterTargetArn": DEAD_LETTERS, "maxReceiveCount": 5});
                json!({"Attributes": {"QueueArn": CONTACTS, "RedrivePolicy": policy.to_string()}})
            }
            "GetQueueUrl" => json!({"QueueUrl": "http://sqs.example/dead"}),
            "ListMessageMoveTasks" => {
                let told =
                    |status| json!({"Status": status, "ApproximateNumberOfMessagesMoved": 7});
                json!({ "Results": task.map(told).as_slice() })
            }
            _ => json!({"TaskHandle": "a task"}),
        };
        seen.push((operation, body));
        async move { Some(respond(200, &answer)) }
    })
}

/// An operator with credentials, and this server as SQS.
fn operator(sqs: &Server) -> Operator {
    Operator::default()
        .set("AWS_ENDPOINT_URL_SQS", &sqs.origin)
        .set("AWS_REGION", "us-east-1")
        .set("AWS_ACCESS_KEY_ID", "synthetic-key")
        .set("AWS_SECRET_ACCESS_KEY", "synthetic-secret")
}

#[test]
fn all_dead_letters_are_counted_and_moved_to_the_contacts_queue() {
    let requests = Requests::default();
    let sqs = sqs(&requests, [1, 2, 4], &["", "", "COMPLETED"]);
    let operator = operator(&sqs).set("CONTACTS_QUEUE_URL", "http://sqs.example/contacts");
    let run = operator.run("--json contacts redrive").exits(3);
    assert_eq!(run.json()["dead_letters"], 7);
    let run = operator.run("--json contacts redrive --yes --per-second 10");
    assert_eq!(run.exits(0).json()["moved"], 7);
    // A dead letter that did not come by the redrive policy has no origin to return to.
    assert_eq!(
        asked(&requests, "StartMessageMoveTask"),
        json!({
            "SourceArn": DEAD_LETTERS,
            "DestinationArn": CONTACTS,
            "MaxNumberOfMessagesPerSecond": 10,
        })
    );
}

/// A task that runs is watched to its end, whatever is left in the queue, and none is started beside it.
#[test]
fn a_task_that_runs_is_watched_and_one_that_has_ended_is_not() {
    for (tasks, dead, starts, status, moved) in [
        (
            &["RUNNING", "RUNNING", "COMPLETED"][..],
            0,
            false,
            0,
            json!(7),
        ),
        (&["CANCELLING", "COMPLETED"], 0, false, 0, json!(7)),
        (
            &["CANCELLING", "CANCELLING", "CANCELLED"],
            1,
            false,
            1,
            Value::Null,
        ),
        (&["RUNNING", "FAILED"], 1, false, 1, Value::Null),
        (&["COMPLETED", "RUNNING", "COMPLETED"], 1, true, 0, json!(7)),
        (&["CANCELLED", "COMPLETED"], 1, true, 0, json!(7)),
        (&["FAILED", "FAILED"], 1, true, 1, Value::Null),
        (&["FAILED"], 0, false, 0, Value::Null),
    ] {
        let requests = Requests::default();
        let sqs = sqs(&requests, [dead, 0, 0], tasks);
        let operator = operator(&sqs).set("CONTACTS_QUEUE_URL", "http://sqs.example/contacts");
        let run = operator.run("--json contacts redrive --yes").exits(status);
        if status == 0 {
            assert_eq!(run.json()["moved"], moved, "{tasks:?}");
        }
        let requests = requests.lock().unwrap();
        let mut names = requests.iter().map(|(name, _)| name);
        let is_started = names.any(|it| it == "StartMessageMoveTask");
        assert_eq!(is_started, starts, "{tasks:?}");
    }
    // Without --yes, it is told that there is something to watch.
    let requests = Requests::default();
    let sqs = sqs(&requests, [0, 0, 0], &["RUNNING"]);
    let operator = operator(&sqs).set("CONTACTS_QUEUE_URL", "http://sqs.example/contacts");
    operator.run("contacts redrive").exits(3);
}

/// A queue that always has as many messages as it is asked for.
fn endless_sqs(requests: &Requests) -> Server {
    let seen = Arc::clone(requests);
    Server::start("sqs", move |request: Request<Bytes>| {
        let target = request.headers()["x-amz-target"].to_str().unwrap();
        let operation = target.split('.').nth(1).unwrap().to_owned();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let most = body["MaxNumberOfMessages"].as_u64().unwrap_or(0);
        let message = |number: u64| {
            json!({
                "MessageId": format!("message-{number}"), "ReceiptHandle": format!("receipt-{number}"),
                "Body": "{}",
            })
        };
        let messages: Vec<_> = (0..most).map(message).collect();
        seen.lock().unwrap().push((operation, body));
        async move { Some(respond(200, &json!({ "Messages": messages }))) }
    })
}

/// More than was asked for would be posted and deleted as well. A message that came back before its answer
/// is due would be posted twice at once.
#[test]
fn listen_receives_no_more_than_is_left_and_hides_it_for_longer_than_an_answer_takes() {
    let endpoint = Server::start("endpoint", |_| async { Some(respond(200, &json!({}))) });
    for (count, received) in [(1, &[1][..]), (10, &[10]), (13, &[10, 3])] {
        let requests = Requests::default();
        let sqs = endless_sqs(&requests);
        let operator = operator(&sqs).set("TITANX_WEBHOOK_SECRET", "synthetic");
        let to = &endpoint.origin;
        let line =
            format!("listen --copy http://sqs.example/copy --forward-to {to} --count {count}");
        operator
            .set("DELIVERIES_TABLE", "deliveries")
            .run(&line)
            .exits(0);
        let requests = requests.lock().unwrap();
        let receives = requests.iter().filter(|(name, _)| name == "ReceiveMessage");
        let receives: Vec<_> = receives.map(|(_, body)| body).collect();
        let most: Vec<_> = receives
            .iter()
            .map(|it| it["MaxNumberOfMessages"].as_u64())
            .collect();
        let expected: Vec<_> = received.iter().copied().map(Some).collect();
        assert_eq!(most, expected);
        for receive in receives {
            assert_eq!(receive["QueueUrl"], "http://sqs.example/copy");
            assert_eq!(receive["VisibilityTimeout"], 30);
            assert_eq!(receive["WaitTimeSeconds"], 20);
        }
    }
}

/// A quarantine queue of five messages that gives them in three answers, though one has room for ten.
fn hesitant_sqs(requests: &Requests) -> Server {
    let seen = Arc::clone(requests);
    Server::start("sqs", move |request: Request<Bytes>| {
        let target = request.headers()["x-amz-target"].to_str().unwrap();
        let operation = target.split('.').nth(1).unwrap().to_owned();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let mut seen = seen.lock().unwrap();
        let received = seen.iter().filter(|(name, _)| name == "ReceiveMessage");
        let numbers = match (operation.as_str(), received.count()) {
            ("ReceiveMessage", 0) => 0..3,
            ("ReceiveMessage", 1) => 3..4,
            ("ReceiveMessage", 2) => 4..5,
            _ => 0..0,
        };
        let message = |number: u32| {
            json!({
                "MessageId": format!("message-{number}"), "ReceiptHandle": format!("receipt-{number}"),
                "Body": "{}",
            })
        };
        let messages: Vec<_> = numbers.map(message).collect();
        seen.push((operation, body));
        async move { Some(respond(200, &json!({ "Messages": messages }))) }
    })
}

/// SQS may return fewer messages than were asked for, although there are more.
#[test]
fn messages_are_received_until_there_is_no_other() {
    let requests = Requests::default();
    let sqs = hesitant_sqs(&requests);
    let operator = operator(&sqs).set("QUARANTINE_QUEUE_URL", "http://sqs.example/quarantine");
    let listed = operator.run("--json quarantine list").exits(0).json();
    let ids = listed.as_array().unwrap().iter().map(|it| &it["id"]);
    let expected = (0..5).map(|number| format!("message-{number}"));
    assert!(ids.eq(expected.map(Value::from).collect::<Vec<_>>().iter()));
    let requests = requests.lock().unwrap();
    for (_, receive) in requests.iter().filter(|(name, _)| name == "ReceiveMessage") {
        assert_eq!(receive["MaxNumberOfMessages"], 10);
        // A minute, in which all of them are posted.
        assert_eq!(receive["VisibilityTimeout"], 60);
        assert_eq!(receive["MessageAttributeNames"], json!(["All"]));
    }
    // All of them are visible again.
    let visible = requests
        .iter()
        .filter(|(name, body)| name == "ChangeMessageVisibility" && body["VisibilityTimeout"] == 0);
    assert_eq!(visible.count(), 5);
}

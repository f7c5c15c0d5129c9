//! Tests that the fault proxy breaks only the selected calls, and that a client sees the same as with a
//! broken network or service.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use titanx_testbed::emulators::{Call, Emulators, Fault, FaultProxy, Harm, When};

const SEND: &str = "AmazonSQS.SendMessage";
const BODY: &str = r#"{"QueueUrl":"contacts","MessageBody":"body"}"#;
/// Longer than any delay on a busy machine.
const LATE: Duration = Duration::from_secs(2);
const FOREVER: Duration = Duration::MAX;

/// SQS behind a proxy.
struct Proxied {
    emulators: Emulators,
    proxy: FaultProxy,
}

impl Proxied {
    fn start() -> Self {
        let emulators = Emulators::start();
        let proxy = FaultProxy::start(&emulators.sqs_url, 0);
        Self { emulators, proxy }
    }

    fn with(when: When, fault: Fault) -> Self {
        let proxied = Self::start();
        proxied.proxy.inject(when, fault);
        proxied
    }

    /// Sends a message over a new connection. Returns the status of the response.
    fn send(&self) -> io::Result<u16> {
        self.call(SEND)
    }

    fn call(&self, target: &str) -> io::Result<u16> {
        Ok(self.connect()?.call(target)?.0)
    }

    fn connect(&self) -> io::Result<Connection> {
        let address = self.proxy.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address)?;
        Ok(Connection { stream })
    }

    /// The number of messages on the queue.
    fn sent(&self) -> usize {
        self.emulators.contacts.len()
    }
}

/// A minimal client with one persistent connection.
struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Sends a call. Returns the status and the whole response.
    fn call(&mut self, target: &str) -> io::Result<(u16, String)> {
        let body = BODY;
        let length = body.len();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: {target}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<(u16, String)> {
        let mut answer = String::new();
        // Head and body of the response arrive in one or two reads.
        while !answer.contains("\r\n\r\n{") && !answer.ends_with("healthy") {
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes)?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            answer += std::str::from_utf8(&bytes[..read]).unwrap();
        }
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        Ok((status, answer))
    }
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("the call is to fail"),
        Err(error) => error.kind(),
    }
}

/// Waits up to ten seconds for a condition.
fn eventually(happened: impl Fn() -> bool) {
    let soon = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        happened()
    });
    assert!(soon, "it did not happen");
}

#[test]
fn forwards_and_records_calls_without_a_fault() {
    let proxied = Proxied::start();
    let mut connection = proxied.connect().unwrap();
    assert_eq!(connection.call(SEND).unwrap().0, 200);
    assert_eq!(connection.call("AmazonSQS.NoSuchThing").unwrap().0, 400);
    let call = |operation: &str, served| Call {
        operation: operation.to_owned(),
        fault: None,
        served: Some(served),
    };
    let calls = [call("SendMessage", 200), call("NoSuchThing", 400)];
    assert_eq!(proxied.proxy.calls(), calls);
    assert_eq!(proxied.sent(), 1);
}

#[test]
fn forwards_other_requests_without_recording_them() {
    let proxied = Proxied::with(When::Always, Fault::Before(Harm::Reset));
    let mut connection = proxied.connect().unwrap();
    let ping = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.stream.write_all(ping).unwrap();
    assert_eq!(connection.answer().unwrap().0, 200);
    assert!(proxied.proxy.calls().is_empty());
}

#[test]
fn a_reset_before_the_call_leaves_no_effect() {
    let proxied = Proxied::with(When::Always, Fault::Before(Harm::Reset));
    assert_eq!(kind(proxied.send()), ErrorKind::ConnectionReset);
    assert_eq!(proxied.sent(), 0);
    assert_eq!(proxied.proxy.calls()[0].served, None);
}

#[test]
fn a_reset_after_the_call_loses_only_the_response() {
    let proxied = Proxied::with(When::Always, Fault::After(Harm::Reset));
    assert_eq!(kind(proxied.send()), ErrorKind::ConnectionReset);
    assert_eq!(proxied.sent(), 1);
    assert_eq!(proxied.proxy.calls()[0].served, Some(200));
}

#[test]
fn a_server_error_is_sent_before_or_after_the_effect() {
    let before = Proxied::with(When::Always, Fault::Before(Harm::ServerError));
    assert_eq!(before.send().unwrap(), 500);
    assert_eq!(before.sent(), 0);
    let after = Proxied::with(When::Always, Fault::After(Harm::ServerError));
    assert_eq!(after.send().unwrap(), 500);
    assert_eq!(after.sent(), 1);
}

#[test]
fn throttles_with_the_error_of_the_service() {
    let proxied = Proxied::with(When::Always, Fault::Before(Harm::Throttle));
    for (target, error) in [
        (
            "DynamoDB_20120810.PutItem",
            "ProvisionedThroughputExceededException",
        ),
        (SEND, "x-amzn-query-error: RequestThrottled;Sender"),
        ("secretsmanager.GetSecretValue", "ThrottlingException"),
    ] {
        let (status, answer) = proxied.connect().unwrap().call(target).unwrap();
        assert_eq!(status, 400);
        assert!(answer.contains(error), "{answer}");
    }
    assert_eq!(proxied.sent(), 0);
}

#[test]
fn a_delayed_call_takes_effect_although_the_client_timed_out() {
    let proxied = Proxied::with(When::Always, Fault::Before(Harm::Delay(LATE)));
    let mut connection = proxied.connect().unwrap();
    let patience = Some(Duration::from_millis(20));
    connection.stream.set_read_timeout(patience).unwrap();
    assert_eq!(kind(connection.call(SEND)), ErrorKind::WouldBlock);
    drop(connection);
    eventually(|| proxied.sent() == 1);
}

#[test]
fn a_delayed_response_comes_after_the_effect() {
    let proxied = Proxied::with(When::Nth(1), Fault::After(Harm::Delay(FOREVER)));
    let mut connection = proxied.connect().unwrap();
    let patience = Some(Duration::from_millis(20));
    connection.stream.set_read_timeout(patience).unwrap();
    assert_eq!(kind(connection.call(SEND)), ErrorKind::WouldBlock);
    eventually(|| proxied.sent() == 1);
    assert_eq!(proxied.send().unwrap(), 200);

    let proxied = Proxied::with(When::Always, Fault::After(Harm::Delay(LATE)));
    assert_eq!(proxied.send().unwrap(), 200);
}

#[tokio::test]
async fn stops_a_call_before_or_after_its_effect_until_healed() {
    for (fault, sent) in [
        (Fault::Before(Harm::Stop), 0),
        (Fault::After(Harm::Stop), 1),
    ] {
        let proxied = std::sync::Arc::new(Proxied::with(When::Nth(1), fault));
        let client = std::sync::Arc::clone(&proxied);
        let client = tokio::task::spawn_blocking(move || client.send());
        proxied.proxy.stopped().await;
        assert_eq!(proxied.sent(), sent);
        assert!(!client.is_finished());
        proxied.proxy.heal();
        assert_eq!(kind(client.await.unwrap()), ErrorKind::ConnectionReset);
        assert_eq!(proxied.sent(), sent);
    }
}

#[test]
fn an_outage_refuses_connections_until_healed() {
    let proxied = Proxied::with(When::Nth(1), Fault::Refuse(FOREVER));
    for _ in 0..3 {
        assert_eq!(kind(proxied.send()), ErrorKind::ConnectionRefused);
    }
    proxied.proxy.heal();
    assert_eq!(proxied.send().unwrap(), 200);
    assert_eq!(proxied.proxy.calls().len(), 1);
}

#[test]
fn an_outage_ends_by_itself() {
    let proxied = Proxied::with(When::Nth(1), Fault::Refuse(LATE));
    assert_eq!(kind(proxied.send()), ErrorKind::ConnectionRefused);
    eventually(|| proxied.send().is_ok());
}

#[test]
fn an_outage_at_the_second_call_refuses_its_connection() {
    // Repeated, because it is a race.
    for _ in 0..50 {
        let proxied = Proxied::with(When::Nth(2), Fault::Refuse(FOREVER));
        let mut connection = proxied.connect().unwrap();
        let (status, answer) = connection.call(SEND).unwrap();
        assert_eq!(status, 200);
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(kind(proxied.send()), ErrorKind::ConnectionRefused);
        assert_eq!(proxied.proxy.calls().len(), 1);
    }
}

#[test]
fn an_outage_closes_idle_connections() {
    let proxied = Proxied::start();
    let mut idle = proxied.connect().unwrap();
    idle.call(SEND).unwrap();
    proxied.proxy.inject(When::Nth(1), Fault::Refuse(FOREVER));
    let closed = idle.stream.read(&mut [0]).unwrap();
    assert_eq!(closed, 0);
}

#[test]
fn an_outage_at_a_named_call_starts_with_its_reset() {
    let proxied = Proxied::with(When::NthOf(1, "SendMessage"), Fault::Refuse(FOREVER));
    assert_eq!(kind(proxied.send()), ErrorKind::ConnectionReset);
    assert_eq!(kind(proxied.send()), ErrorKind::ConnectionRefused);
    assert_eq!(proxied.sent(), 0);
}

#[test]
fn counts_calls_from_the_injection() {
    let proxied = Proxied::start();
    proxied.send().unwrap();
    let fault = Fault::Before(Harm::ServerError);
    proxied.proxy.inject(When::Nth(2), fault);
    let statuses = [(); 3].map(|()| proxied.send().unwrap());
    assert_eq!(statuses, [200, 500, 200]);
    let faults = proxied.proxy.calls().into_iter().map(|call| call.fault);
    assert!(faults.eq([None, None, Some(fault), None]));
}

#[test]
fn a_fault_can_apply_to_one_operation() {
    let proxied = Proxied::start();
    let fault = Fault::Before(Harm::ServerError);
    proxied.proxy.inject(When::NthOf(2, "SendMessage"), fault);
    proxied.proxy.inject(When::Every("Other"), fault);
    let statuses = [SEND, "AmazonSQS.Other", SEND, "AmazonSQS.Other", SEND];
    let statuses = statuses.map(|target| proxied.call(target).unwrap());
    assert_eq!(statuses, [200, 500, 500, 500, 200]);
}

#[test]
fn the_first_injected_of_two_matching_faults_applies() {
    let proxied = Proxied::with(When::Nth(1), Fault::Before(Harm::Throttle));
    let fault = Fault::Before(Harm::ServerError);
    proxied.proxy.inject(When::Always, fault);
    assert_eq!(proxied.send().unwrap(), 400);
    assert_eq!(proxied.send().unwrap(), 500);
}

/// What an observer is told: the operation, the status of the service's response, and whether the client got
/// that response.
type Told = Arc<Mutex<Vec<(String, u16, bool)>>>;

fn observe(proxied: &Proxied) -> Told {
    let told = Told::default();
    let observed = Arc::clone(&told);
    proxied.proxy.observe(move |call| {
        assert_eq!(call.request, BODY);
        let call = (call.operation.clone(), call.status, call.answered);
        observed.lock().unwrap().push(call);
    });
    told
}

/// Waits until an observer was told of these calls, in any order, and of no other.
fn assert_told(told: &Told, expected: &[(&str, u16, bool)]) {
    let mut expected: Vec<_> = expected
        .iter()
        .map(|&(operation, status, answered)| (operation.to_owned(), status, answered))
        .collect();
    expected.sort();
    eventually(|| told.lock().unwrap().len() >= expected.len());
    let mut told = told.lock().unwrap().clone();
    told.sort();
    assert_eq!(told, expected);
}

/// Whoever counts responses that were lost counts these.
#[test]
fn an_observer_is_told_of_each_call_that_took_effect_and_whether_its_response_arrived() {
    let short = Duration::from_millis(1);
    for (fault, told) in [
        (Fault::Before(Harm::Reset), None),
        (Fault::Before(Harm::ServerError), None),
        (Fault::Before(Harm::Throttle), None),
        (Fault::Before(Harm::Delay(short)), Some(true)),
        (Fault::After(Harm::Reset), Some(false)),
        (Fault::After(Harm::ServerError), Some(false)),
        (Fault::After(Harm::Throttle), Some(false)),
        (Fault::After(Harm::Delay(short)), Some(true)),
    ] {
        let proxied = Proxied::with(When::Nth(1), fault);
        let observed = observe(&proxied);
        let _any = proxied.send();
        // Without a fault: the service accepts one, and not the other.
        proxied.send().unwrap();
        proxied.call("AmazonSQS.NoSuchThing").unwrap();
        let mut expected = vec![("SendMessage", 200, true), ("NoSuchThing", 400, true)];
        expected.extend(told.map(|answered| ("SendMessage", 200, answered)));
        assert_told(&observed, &expected);
        assert_eq!(proxied.sent(), expected.len() - 1, "{fault:?}");
    }
}

#[test]
fn a_response_to_a_client_that_is_gone_has_not_arrived() {
    let proxied = Proxied::with(When::Always, Fault::After(Harm::Delay(LATE)));
    let observed = observe(&proxied);
    let mut connection = proxied.connect().unwrap();
    let patience = Some(Duration::from_millis(20));
    connection.stream.set_read_timeout(patience).unwrap();
    assert_eq!(kind(connection.call(SEND)), ErrorKind::WouldBlock);
    drop(connection);
    assert_told(&observed, &[("SendMessage", 200, false)]);
}

#[test]
fn a_share_fails_the_same_calls_for_the_same_seed() {
    let emulators = Emulators::start();
    let faults = |seed| {
        let proxy = FaultProxy::start(&emulators.sqs_url, seed);
        proxy.inject(When::Share(0.2), Fault::Before(Harm::ServerError));
        let address = proxy.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let mut connection = Connection { stream };
        let calls = (0..200).map(|_| connection.call(SEND).unwrap().0 == 500);
        calls.collect::<Vec<_>>()
    };
    let first = faults(1);
    assert_eq!(first, faults(1));
    assert_ne!(first, faults(2));
    let failed = first.iter().filter(|&&failed| failed).count();
    assert!((20..=60).contains(&failed), "{failed} of 200");
}

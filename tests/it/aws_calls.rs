//! The function's calls to AWS, compared with the same calls of the SDK's clients: the requests on the wire,
//! and the reactions to responses.
//!
//! A scripted server replaces the service. The function's calls and the client's calls get the same script.
//! Their requests and results are compared with each other and with the expectations here.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_dynamodb::{
    operation::{
        delete_item::DeleteItemInput, put_item::PutItemInput, update_item::UpdateItemInput,
    },
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueInput;
use aws_sdk_sqs::{operation::send_message::SendMessageInput, types::MessageAttributeValue};
use aws_smithy_runtime::client::retries::RetryPartition;
use aws_smithy_runtime_api::client::{
    behavior_version::BehaviorVersion, http::http_client_fn, result::SdkError,
};
use aws_smithy_types::{
    error::metadata::ProvideErrorMetadata, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_types::region::Region;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use titanx_receiver::aws::{Aws, AwsConfig, CallError, Endpoints, HttpPool, Identity, connector};
use titanx_receiver::budget::{ATTEMPT_TIMEOUT, ATTEMPTS};
use titanx_receiver::error::Chain;
use titanx_testbed::{
    emulators::Emulators,
    front_door::{deliver, environment, receiver},
    titanx::{envelope, signed},
};

/// The additional headers of the SDK's clients, which tell AWS about the caller and its attempts. On Lambda
/// the clients would also send `x-amzn-trace-id`, by which AWS detects a recursion.
const LEFT_OUT: [&str; 4] = [
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "user-agent",
    "x-amz-user-agent",
];

const REGION: &str = "eu-central-1";
const KEY_ID: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The reaction of the service to one request.
#[derive(Debug, Clone)]
enum Reaction {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: &'static str,
    },
    /// Sends the head and half of the body, then closes the connection.
    Cut,
    /// Sends the head only. The connection stays open.
    Head,
    /// Sends nothing. The connection stays open.
    Silence,
    /// Closes the connection without a response.
    Close,
}

fn answer(status: u16, body: &'static str) -> Reaction {
    Reaction::Answer {
        status,
        headers: Vec::new(),
        body,
    }
}

impl Reaction {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

/// A request as it was received.
#[derive(Debug, Clone)]
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
    at: Instant,
    connection: usize,
}

/// A service that follows its script, and then repeats the last step.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(script: Vec<Reaction>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                thread::spawn(move || serve(stream, connection, &script, &seen));
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    connection: usize,
    script: &Mutex<VecDeque<Reaction>>,
    seen: &Mutex<Vec<Request>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader, connection) {
        seen.lock().unwrap().push(request);
        let reaction = {
            let mut script = script.lock().unwrap();
            match script.len() {
                1 => script[0].clone(),
                _ => script.pop_front().expect("a script has a line"),
            }
        };
        match reaction {
            Reaction::Answer {
                status,
                headers,
                body,
            } => {
                let length = body.len();
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}\r\n"))
                    .collect();
                let text = format!(
                    "HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n\
                     x-amzn-requestid: REQUEST-1\r\n{}\r\n{body}",
                    headers.concat()
                );
                stream.write_all(text.as_bytes()).unwrap();
            }
            Reaction::Cut => {
                let head = b"HTTP/1.1 200 -\r\ncontent-length: 2\r\n\r\n{";
                stream.write_all(head).unwrap();
                return;
            }
            Reaction::Head => {
                let head = b"HTTP/1.1 200 -\r\ncontent-length: 2\r\n\r\n";
                stream.write_all(head).unwrap();
            }
            Reaction::Silence => {}
            Reaction::Close => return,
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
    let at = Instant::now();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        let previous = headers.insert(name.to_lowercase(), value.trim().to_owned());
        assert_eq!(previous, None, "{name} stands twice");
    }
    let length = headers.get("content-length");
    let mut body = vec![0; length.map_or(0, |it| it.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
        at,
        connection,
    })
}

/// One call of the function.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Put,
    Update,
    Delete,
    Send,
    Get,
}

const CALLS: [Call; 5] = [Call::Put, Call::Update, Call::Delete, Call::Send, Call::Get];

impl Call {
    /// The body of a successful response.
    fn done(self) -> &'static str {
        match self {
            Self::Put | Self::Update | Self::Delete => "{}",
            Self::Send => r#"{"MessageId":"1","MD5OfMessageBody":"x"}"#,
            Self::Get => r#"{"SecretString":"wh_sk_x"}"#,
        }
    }

    fn service(self) -> &'static str {
        match self {
            Self::Put | Self::Update | Self::Delete => "dynamodb",
            Self::Send => "sqs",
            Self::Get => "secretsmanager",
        }
    }
}

fn put() -> PutItemInput {
    let input = PutItemInput::builder()
        .table_name("deliveries")
        .item("delivery_id", AttributeValue::S("é \u{FFFE}\"".to_owned()))
        .item("expiration", AttributeValue::N("1767614400".to_owned()))
        .item("contact_keys", AttributeValue::Ss(vec!["id:1".to_owned()]))
        .condition_expression("attribute_not_exists(#id)")
        .expression_attribute_names("#id", "delivery_id")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    input.build().unwrap()
}

fn update() -> UpdateItemInput {
    let input = UpdateItemInput::builder()
        .table_name("jobs")
        .key("job_id", AttributeValue::S("job-1".to_owned()))
        .update_expression("SET #name = :name")
        .expression_attribute_names("#name", "name")
        .expression_attribute_values(":name", AttributeValue::S("Job".to_owned()));
    input.build().unwrap()
}

fn delete() -> DeleteItemInput {
    let input = DeleteItemInput::builder()
        .table_name("deliveries")
        .key("delivery_id", AttributeValue::S("1".to_owned()));
    input.build().unwrap()
}

fn send() -> SendMessageInput {
    let attribute = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("job.contact.scored");
    let input = SendMessageInput::builder()
        .queue_url("https://sqs.eu-central-1.amazonaws.com/000000000000/contacts.fifo")
        .message_body("{\"a\": \"\u{e9}\\n\"}")
        .message_attributes("eventType", attribute.build().unwrap())
        .message_deduplication_id("1")
        .message_group_id("job-1");
    input.build().unwrap()
}

fn get() -> GetSecretValueInput {
    let input = GetSecretValueInput::builder().secret_id("arn:aws:secretsmanager:x");
    input.build().unwrap()
}

fn credentials() -> Credentials {
    Credentials::from_keys(KEY_ID, SECRET_KEY, Some("session token".to_owned()))
}

/// The function's calls, with one retry token bucket.
struct Ours(Aws);

impl Ours {
    fn at(url: &str) -> Self {
        let config = AwsConfig {
            region: REGION.to_owned(),
            identity: Identity::fixed(credentials()),
            endpoints: Endpoints {
                dynamodb: Some(url.to_owned()),
                sqs: Some(url.to_owned()),
                secrets_manager: Some(url.to_owned()),
                ..Endpoints::default()
            },
        };
        Self(Aws::new(HttpPool::new(|| connector(None)), &config).unwrap())
    }

    async fn call(&self, call: Call) -> Result<(), String> {
        fn told<T, E>(called: Result<T, CallError<E>>) -> Result<(), String>
        where
            E: std::error::Error + ProvideErrorMetadata + 'static,
        {
            called
                .map(|_| ())
                .map_err(|error| match error.service_error() {
                    Some(error) => error.code().unwrap_or("no code").to_owned(),
                    None => "no answer".to_owned(),
                })
        }
        match call {
            Call::Put => told(self.0.dynamodb().put_item.call(put()).await),
            Call::Update => told(self.0.dynamodb().update_item.call(update()).await),
            Call::Delete => told(self.0.dynamodb().delete_item.call(delete()).await),
            Call::Send => told(self.0.sqs().send_message.call(send()).await),
            Call::Get => told(self.0.secrets_manager().get_secret_value.call(get()).await),
        }
    }
}

/// The SDK's clients, with the function's timeouts and number of attempts.
struct Ordinary {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    secrets_manager: aws_sdk_secretsmanager::Client,
}

impl Ordinary {
    fn at(url: &str) -> Self {
        let connector = connector(None);
        let shared = http_client_fn(move |_, _| connector.clone());
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(ATTEMPT_TIMEOUT);
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        macro_rules! client {
            ($sdk:ident) => {
                $sdk::Client::from_conf(
                    $sdk::Config::builder()
                        .behavior_version(BehaviorVersion::latest())
                        .region(Region::new(REGION))
                        .credentials_provider(SharedCredentialsProvider::new(credentials()))
                        .endpoint_url(url)
                        .http_client(shared.clone())
                        .retry_config(retries.clone())
                        // A separate token bucket: the default one is shared by the whole process.
                        .retry_partition(RetryPartition::custom(url.to_owned()).build())
                        .timeout_config(timeouts.clone())
                        .build(),
                )
            };
        }
        Self {
            dynamodb: client!(aws_sdk_dynamodb),
            sqs: client!(aws_sdk_sqs),
            secrets_manager: client!(aws_sdk_secretsmanager),
        }
    }

    async fn call(&self, call: Call) -> Result<(), String> {
        fn told<T, E, R>(called: Result<T, SdkError<E, R>>) -> Result<(), String>
        where
            E: ProvideErrorMetadata,
        {
            called
                .map(|_| ())
                .map_err(|error| match error.as_service_error() {
                    Some(error) => error.code().unwrap_or("no code").to_owned(),
                    None => "no answer".to_owned(),
                })
        }
        match call {
            Call::Put => {
                let input = put();
                let call = self.dynamodb.put_item();
                let call = call
                    .set_table_name(input.table_name)
                    .set_item(input.item)
                    .set_condition_expression(input.condition_expression)
                    .set_expression_attribute_names(input.expression_attribute_names)
                    .set_return_values_on_condition_check_failure(
                        input.return_values_on_condition_check_failure,
                    );
                told(call.send().await)
            }
            Call::Update => {
                let input = update();
                let call = self.dynamodb.update_item();
                let call = call
                    .set_table_name(input.table_name)
                    .set_key(input.key)
                    .set_update_expression(input.update_expression)
                    .set_expression_attribute_names(input.expression_attribute_names)
                    .set_expression_attribute_values(input.expression_attribute_values);
                told(call.send().await)
            }
            Call::Delete => {
                let input = delete();
                let call = self.dynamodb.delete_item();
                let call = call.set_table_name(input.table_name).set_key(input.key);
                told(call.send().await)
            }
            Call::Send => {
                let input = send();
                let call = self.sqs.send_message();
                let call = call
                    .set_queue_url(input.queue_url)
                    .set_message_body(input.message_body)
                    .set_message_attributes(input.message_attributes)
                    .set_message_deduplication_id(input.message_deduplication_id)
                    .set_message_group_id(input.message_group_id);
                told(call.send().await)
            }
            Call::Get => {
                let input = get();
                let call = self.secrets_manager.get_secret_value();
                told(call.set_secret_id(input.secret_id).send().await)
            }
        }
    }
}

/// Makes the same call in both ways with the same script. Returns the results and the requests.
async fn both(call: Call, script: &[Reaction]) -> [(Result<(), String>, Vec<Request>); 2] {
    let server = Server::start(script.to_vec());
    let ours = Ours::at(&server.url).call(call).await;
    let ours = (ours, server.requests());
    let server = Server::start(script.to_vec());
    let ordinary = Ordinary::at(&server.url).call(call).await;
    [ours, (ordinary, server.requests())]
}

#[tokio::test]
async fn requests_equal_those_of_the_sdk_clients_except_for_the_omitted_headers() {
    for call in CALLS {
        let [ours, ordinary] = both(call, &[answer(200, call.done())]).await;
        assert_eq!((ours.0, ordinary.0), (Ok(()), Ok(())), "{call:?}");
        let (ours, ordinary) = (&ours.1[0], &ordinary.1[0]);
        assert_eq!(ours.line, ordinary.line, "{call:?}");
        let json = |it: &Request| serde_json::from_str::<serde_json::Value>(&it.body).unwrap();
        assert_eq!(json(ours), json(ordinary), "{call:?}");
        let names =
            |request: &Request| -> BTreeSet<String> { request.headers.keys().cloned().collect() };
        let left_out: Vec<_> = names(ordinary).difference(&names(ours)).cloned().collect();
        assert_eq!(left_out, LEFT_OUT, "{call:?}");
        assert_eq!(
            names(ours).difference(&names(ordinary)).count(),
            0,
            "{call:?}"
        );
        let same = ours
            .headers
            .iter()
            .filter(|(name, _)| !["authorization", "host", "x-amz-date"].contains(&name.as_str()));
        for (name, value) in same {
            assert_eq!(ordinary.headers.get(name), Some(value), "{call:?}: {name}");
        }
        for request in [ours, ordinary] {
            assert_eq!(
                request.headers["authorization"],
                authorization(request, call.service()),
                "{call:?}"
            );
        }
    }
}

/// The value of `Authorization` as AWS documents it, computed from the request:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
#[expect(
    clippy::disallowed_methods,
    reason = "works a signature out, compares none that came from outside"
)]
fn authorization(request: &Request, service: &str) -> String {
    let hex = |bytes: &[u8]| -> String {
        let digits: Vec<_> = bytes.iter().map(|it| format!("{it:02x}")).collect();
        digits.concat()
    };
    let mac = |key: &[u8], text: &str| -> Vec<u8> {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.chain_update(text).finalize().into_bytes().to_vec()
    };
    let named = request.headers["authorization"]
        .split_once("SignedHeaders=")
        .unwrap()
        .1;
    let signed = named.split_once(',').unwrap().0;
    // Headers that may change on the way, or that belong to the connection, are not signed. All others are.
    for name in [
        "content-type",
        "host",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-target",
    ] {
        assert!(signed.split(';').any(|it| it == name), "{name} in {signed}");
    }
    let headers: Vec<_> = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", request.headers[name]))
        .collect();
    let headers = headers.concat();
    let path = request.line.split(' ').nth(1).unwrap();
    let body = hex(&Sha256::digest(&request.body));
    let canonical = format!("POST\n{path}\n\n{headers}\n{signed}\n{body}");
    let date = &request.headers["x-amz-date"];
    let scope = format!("{}/{REGION}/{service}/aws4_request", &date[..8]);
    let digest = hex(&Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let key = mac(format!("AWS4{SECRET_KEY}").as_bytes(), &date[..8]);
    let key = [REGION, service, "aws4_request"]
        .iter()
        .fold(key, |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &to_sign));
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
}

/// Asserts that both ways make this many attempts, with this result.
async fn react(call: Call, script: &[Reaction], attempts: usize, outcome: Result<(), &str>) {
    for ((came_of_it, requests), way) in both(call, script)
        .await
        .into_iter()
        .zip(["ours", "ordinary"])
    {
        assert_eq!(
            came_of_it,
            outcome.map_err(str::to_owned),
            "{way}: {call:?} {script:?}"
        );
        assert_eq!(requests.len(), attempts, "{way}: {call:?} {script:?}");
    }
}

#[tokio::test]
async fn throttling_is_recognised_in_the_body_and_in_either_header() {
    for call in CALLS {
        let done = answer(200, call.done());
        for throttled in [
            answer(
                400,
                r#"{"__type":"com.amazonaws.x#ThrottlingException","message":"Slow down"}"#,
            ),
            answer(400, "{}").with(
                "x-amzn-errortype",
                "ThrottlingException:http://internal.example/",
            ),
        ] {
            react(call, &[throttled.clone(), done.clone()], 2, Ok(())).await;
        }
    }
    let queried = answer(400, r#"{"__type":"com.amazonaws.sqs#SomethingElse"}"#)
        .with("x-amzn-query-error", "RequestThrottled;Sender");
    react(
        Call::Send,
        &[queried, answer(200, Call::Send.done())],
        2,
        Ok(()),
    )
    .await;
}

#[tokio::test]
async fn errors_that_the_services_model_names_retryable_are_retried() {
    let conflict = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ReplicatedWriteConflictException"}"#,
    );
    for call in [Call::Put, Call::Update, Call::Delete] {
        react(call, &[conflict.clone(), answer(200, "{}")], 2, Ok(())).await;
    }
}

#[tokio::test]
async fn server_errors_are_retried_but_not_implemented_is_final() {
    for call in CALLS {
        let done = answer(200, call.done());
        // The SDK does not regard a 429 without an error code as an error that it knows.
        react(call, &[answer(429, "")], 1, Err("no code")).await;
        for status in [500, 502, 503, 504] {
            react(call, &[answer(status, "{}"), done.clone()], 2, Ok(())).await;
        }
        let attempts = usize::try_from(ATTEMPTS).unwrap();
        react(call, &[answer(500, "{}")], attempts, Err("no code")).await;
        react(call, &[answer(501, "{}")], 1, Err("no code")).await;
    }
}

#[tokio::test]
async fn refusals_are_final() {
    for call in CALLS {
        let denied =
            r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"No"}"#;
        react(
            call,
            &[answer(400, denied)],
            1,
            Err("AccessDeniedException"),
        )
        .await;
        let expired =
            r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"Old"}"#;
        react(
            call,
            &[answer(400, expired)],
            1,
            Err("ExpiredTokenException"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_call_whose_response_breaks_off_or_never_comes_is_retried() {
    for call in CALLS {
        let done = answer(200, call.done());
        for broken in [
            Reaction::Cut,
            Reaction::Head,
            Reaction::Silence,
            Reaction::Close,
        ] {
            react(call, &[broken, done.clone()], 2, Ok(())).await;
        }
    }
}

#[tokio::test]
async fn a_response_that_is_not_the_services_json_is_an_error() {
    for call in [Call::Put, Call::Update, Call::Send, Call::Get] {
        let page = answer(200, "<html>Welcome to the network</html>");
        for (came_of_it, requests) in both(call, &[page]).await {
            assert!(came_of_it.is_err(), "{call:?}");
            assert_eq!(requests.len(), 1, "{call:?}");
        }
    }
}

#[tokio::test]
async fn skewed_clocks_are_corrected_both_ways() {
    let refused = r#"{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired"}"#;
    for call in CALLS {
        for offset_s in [-600_i64, 600] {
            let now = i64::try_from(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap()
                    .as_secs(),
            );
            let service_s = now.unwrap() + offset_s;
            let refused = answer(400, refused).with("date", http_date(service_s));
            let done = answer(200, call.done()).with("date", http_date(service_s));
            for (came_of_it, requests) in both(call, &[refused.clone(), done.clone()]).await {
                assert_eq!(came_of_it, Ok(()), "{call:?}");
                let signed_s = unix_seconds(&requests[1].headers["x-amz-date"]);
                assert!(
                    (signed_s - service_s).abs() <= 5,
                    "{signed_s} at {service_s}"
                );
            }
        }
    }
}

fn http_date(seconds: i64) -> String {
    let date = aws_smithy_types::DateTime::from_secs(seconds);
    date.fmt(aws_smithy_types::date_time::Format::HttpDate)
        .unwrap()
}

/// `20260105T120000Z` in Unix seconds.
fn unix_seconds(basic: &str) -> i64 {
    let (date, time) = basic.trim_end_matches('Z').split_once('T').unwrap();
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    let date =
        aws_smithy_types::DateTime::from_str(&iso, aws_smithy_types::date_time::Format::DateTime);
    date.unwrap().secs()
}

#[tokio::test]
async fn a_retry_waits_as_long_as_the_service_asks() {
    for call in [Call::Put, Call::Send, Call::Get] {
        let later = answer(503, "{}").with("x-amz-retry-after", "700");
        for (came_of_it, requests) in both(call, &[later, answer(200, call.done())]).await {
            assert_eq!(came_of_it, Ok(()), "{call:?}");
            let waited = requests[1].at - requests[0].at;
            assert!(waited >= Duration::from_millis(690), "{call:?}: {waited:?}");
        }
    }
}

#[tokio::test]
async fn a_service_that_always_fails_soon_gets_no_more_retries() {
    async fn asked(calls: impl AsyncFn()) {
        for _ in 0..60 {
            calls().await;
        }
    }
    let server = Server::start(vec![answer(500, "{}")]);
    let put_item = Ours::at(&server.url).0.dynamodb().put_item;
    asked(async || drop(put_item.call(put()).await)).await;
    let by_us = server.requests().len();
    let server = Server::start(vec![answer(500, "{}")]);
    let ordinary = Ordinary::at(&server.url);
    asked(async || drop(ordinary.call(Call::Put).await)).await;
    assert_eq!(by_us, server.requests().len());
    // 500 tokens, ten for each retry: fifty retries, besides the first attempts.
    assert_eq!(by_us, 60 + 50);
}

#[tokio::test]
async fn after_an_attempt_that_timed_out_the_next_takes_a_new_connection() {
    const POOLED: usize = 8;
    // Eight concurrent calls leave eight connections in the pool. Then all of them are closed.
    let mut script = vec![answer(200, "{}"); POOLED];
    script.extend([Reaction::Silence, answer(200, "{}")]);
    let server = Server::start(script);
    let ours = Ours::at(&server.url);
    futures_util::future::join_all((0..POOLED).map(|_| ours.call(Call::Put))).await;
    let opened: BTreeSet<_> = server.requests().iter().map(|it| it.connection).collect();
    assert!(opened.len() > 1, "several connections are in the pool");

    assert_eq!(ours.call(Call::Put).await, Ok(()));
    let requests = server.requests();
    let [.., first, second] = &requests[..] else {
        panic!()
    };
    assert_eq!(requests.len(), POOLED + 2);
    assert!(
        opened.contains(&first.connection),
        "the first attempt took a pooled connection"
    );
    assert!(
        !opened.contains(&second.connection),
        "the second attempt took a new one"
    );
}

#[tokio::test]
async fn the_error_of_a_call_is_one_line_with_the_request_id() {
    let denied = r#"{"__type":"x#AccessDeniedException","Message":"Not authorized"}"#;
    let server = Server::start(vec![answer(400, denied)]);
    let error = Ours::at(&server.url)
        .0
        .dynamodb()
        .put_item
        .call(put())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the service answered 400 AccessDeniedException Not authorized (request id REQUEST-1)"
    );
}

/// The log has nothing else that tells why there is none.
#[tokio::test]
async fn the_error_of_a_call_without_an_answer_has_its_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let call = Ours::at(&nowhere).0.dynamodb().put_item.call(put()).await;
    let error = call.unwrap_err();
    assert!(!error.to_string().contains("Connection refused"), "{error}");
    let error = Chain(&error).to_string();
    assert!(error.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn only_an_expired_session_is_recognised_as_one() {
    for (code, expired) in [
        ("ExpiredTokenException", true),
        ("ExpiredToken", true),
        ("AccessDeniedException", false),
    ] {
        for call in CALLS {
            let body = match code {
                "ExpiredTokenException" => r#"{"__type":"x#ExpiredTokenException"}"#,
                "ExpiredToken" => r#"{"__type":"x#ExpiredToken"}"#,
                _ => r#"{"__type":"x#AccessDeniedException"}"#,
            };
            let server = Server::start(vec![answer(400, body)]);
            let ours = Ours::at(&server.url);
            assert!(!ours.0.session_expired());
            assert!(ours.call(call).await.is_err());
            assert_eq!(ours.0.session_expired(), expired, "{code} {call:?}");
        }
    }
}

/// What the function sends for a contact of this job, to a standard queue at a service with this script:
/// each request's `MessageGroupId` and answer.
async fn contacts_sent(script: &[Reaction], job: &str) -> Vec<(Option<String>, u64)> {
    let emulators = Emulators::start();
    let sqs = Server::start(script.to_vec());
    let mut environment = environment(&emulators);
    environment.insert("AWS_ENDPOINT_URL_SQS", sqs.url.clone());
    let receiver = receiver(&environment);
    let mut sent = Vec::new();
    for number in 0..script.len() {
        let payload = serde_json::json!({ "jobId": job, "phone": "+1 202-555-0101" });
        let body = envelope(&number.to_string(), "job.contact.scored", &payload);
        let answer = deliver(&receiver, &signed(&body)).await;
        let requests = sqs.requests();
        assert_eq!(requests.len(), number + 1);
        let request: Value = serde_json::from_str(&requests[number].body).unwrap();
        assert_eq!(request.get("MessageDeduplicationId"), None);
        let group = request.get("MessageGroupId");
        let group = group.map(|it| it.as_str().unwrap().to_owned());
        sent.push((group, answer.status));
    }
    sent
}

#[tokio::test]
async fn a_standard_queue_gets_the_job_as_message_group() {
    let taken = answer(200, Call::Send.done());
    let sent = contacts_sent(&[taken.clone(), taken], "job-1").await;
    let group = Some("job-1".to_owned());
    assert_eq!(sent, [(group.clone(), 200), (group, 200)]);
}

/// As SQS answered before it had fair queues.
#[tokio::test]
async fn a_queue_that_refuses_groups_costs_one_retry_and_no_delivery() {
    let refused = answer(
        400,
        r#"{"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "Value job-1 for parameter MessageGroupId is invalid. Reason: The request include parameter that is not valid for this queue type."}"#,
    );
    let taken = answer(200, Call::Send.done());
    let sent = contacts_sent(&[refused, taken.clone(), taken], "job-1").await;
    let group = Some("job-1".to_owned());
    assert_eq!(sent, [(group, 503), (None, 200), (None, 200)]);
}

/// Whoever consumes the queue fairly does not lose that to a moment of SQS.
#[tokio::test]
async fn an_error_that_is_not_about_the_group_changes_no_group() {
    let other = answer(
        400,
        r#"{"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "Value x for parameter DelaySeconds is invalid."}"#,
    );
    let taken = answer(200, Call::Send.done());
    let sent = contacts_sent(&[other, taken], "job-1").await;
    let group = Some("job-1".to_owned());
    assert_eq!(sent, [(group.clone(), 503), (group, 200)]);
}

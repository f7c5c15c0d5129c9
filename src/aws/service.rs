//! One AWS service: sign a call, send it, and try again what may yet succeed.
//!
//! The SDK's clients do the same, and more: for each call they put together a configuration, dozens
//! of interceptors, and metrics that nobody reads, which took a third of a delivery's CPU and more
//! (`docs/speed.md`). What stays the SDK's is its connector, the keys of its signatures and its list
//! of what is worth another attempt.

use std::{
    borrow::Cow,
    error::Error as StdError,
    fmt,
    time::{Duration, SystemTime},
};

use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError,
};
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_smithy_runtime_api::{
    client::{
        connection::CaptureSmithyConnection,
        http::{HttpConnector, SharedHttpConnector},
        orchestrator::HttpRequest,
        result::ConnectorError,
    },
    http::HttpError,
};
use aws_smithy_types::{
    body::SdkBody,
    byte_stream::{ByteStream, error::Error as BodyError},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{sleep, timeout};

use super::signer::{Scope, Signed, sign};
use crate::budget::BUDGET;

/// Three attempts of one step, each slow past its timeout, take half the budget: the steps after
/// it still have theirs.
pub(super) const ATTEMPTS: u32 = 3;
pub(super) const ATTEMPT_TIMEOUT: Duration = BUDGET.checked_div(2 * ATTEMPTS).expect("not by zero");
/// A service that speaks one of AWS's JSON protocols, and the way to it.
#[derive(Debug, Clone)]
pub struct Service {
    pub(super) api: &'static Api,
    pub(super) connector: SharedHttpConnector,
    /// Scheme and authority, without a slash at the end.
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) credentials: SharedCredentialsProvider,
}

/// The answer to a write, which tells nothing but that it was done: any JSON object.
#[derive(Debug, Deserialize)]
pub struct Done {}

/// What tells one service's calls from another's.
#[derive(Debug)]
pub(super) struct Api {
    /// Its name in signatures, and in its endpoint's.
    pub(super) name: &'static str,
    /// What stands before an operation's name in `x-amz-target`.
    pub(super) target: &'static str,
    pub(super) content_type: &'static str,
}

impl Service {
    /// Calls `operation` with `input`, both as the service's JSON has them, and reads the answer. One
    /// that cannot be read is none: whatever stands in the way may have made it.
    ///
    /// # Errors
    ///
    /// When the service refuses, or fails or keeps silent at each of three attempts. The call may
    /// have taken effect all the same.
    pub async fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<T, CallError> {
        let answer = self.answer(operation, input).await?;
        serde_json::from_slice(&answer).map_err(CallError::Unreadable)
    }

    async fn answer(&self, operation: &str, input: &impl Serialize) -> Result<Vec<u8>, CallError> {
        let target = format!("{}.{operation}", self.api.target);
        let body = SdkBody::from(serde_json::to_vec(input).map_err(CallError::Unwritable)?);
        for attempt in 1..ATTEMPTS {
            match self.attempt(&target, &body).await {
                Err(error) if error.is_transient() => {
                    // At random, lest those who failed together come again together.
                    sleep(longest_backoff(attempt).mul_f64(fastrand::f64())).await;
                }
                outcome => return outcome,
            }
        }
        self.attempt(&target, &body).await
    }

    async fn attempt(&self, target: &str, body: &SdkBody) -> Result<Vec<u8>, CallError> {
        let exchange = timeout(ATTEMPT_TIMEOUT, self.exchange(target, body));
        exchange.await.unwrap_or(Err(CallError::TimedOut))
    }

    async fn exchange(&self, target: &str, body: &SdkBody) -> Result<Vec<u8>, CallError> {
        let mut request = self.request(target, body).await?;
        let connection = CaptureSmithyConnection::new();
        request.add_extension(connection.clone());
        let response = self.connector.call(request).await?;
        let status = response.status();
        if status.is_server_error() {
            // Behind it may be a host that is not well: the next attempt takes another.
            if let Some(connection) = connection.get() {
                connection.poison();
            }
        }
        let answer = ByteStream::new(response.into_body()).collect().await?;
        if status.is_success() {
            Ok(answer.to_vec())
        } else {
            Err(CallError::Refused(Refusal::new(
                status.as_u16(),
                answer.to_vec(),
            )))
        }
    }

    async fn request(&self, target: &str, body: &SdkBody) -> Result<HttpRequest, CallError> {
        let credentials = self.credentials.provide_credentials().await?;
        let host = host(&self.endpoint);
        let headers = Signed {
            content_type: self.api.content_type,
            host,
            target,
        };
        let scope = Scope {
            region: &self.region,
            service: self.api.name,
        };
        let body = body.try_clone().expect("it is in memory");
        let bytes = body.bytes().expect("it is in memory");
        let signature = sign(headers, bytes, scope, &credentials, SystemTime::now());
        let mut request = HttpRequest::new(body);
        request.set_method("POST")?;
        request.set_uri(format!("{}/", self.endpoint))?;
        let all = request.headers_mut();
        all.try_insert("authorization", signature.authorization)?;
        all.try_insert("content-type", self.api.content_type)?;
        all.try_insert("host", host.to_owned())?;
        all.try_insert("x-amz-date", signature.date)?;
        if let Some(token) = credentials.session_token() {
            all.try_insert("x-amz-security-token", token.to_owned())?;
        }
        all.try_insert("x-amz-target", target.to_owned())?;
        Ok(request)
    }
}

/// The longest that is waited after the given attempt: twice as long after each.
fn longest_backoff(attempt: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    FIRST * 2_u32.pow(attempt - 1)
}

fn host(endpoint: &str) -> &str {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host)
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The input has no form in JSON.
    #[error("the call cannot be written")]
    Unwritable(#[source] serde_json::Error),
    /// There are no credentials to sign it with.
    #[error("the call cannot be signed")]
    Unsigned(#[from] CredentialsError),
    /// Endpoint or session token are of characters that HTTP does not carry.
    #[error("the call cannot be sent")]
    Unsendable(#[from] HttpError),
    /// The service cannot be reached, or the connection failed.
    #[error("the service cannot be reached")]
    Unreachable(#[from] ConnectorError),
    /// The answer broke off.
    #[error("the answer broke off")]
    BrokenOff(#[from] BodyError),
    /// The answer is not the service's.
    #[error("the answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// There was no answer in time.
    #[error("the service did not answer in time")]
    TimedOut,
    /// The service answered with an error.
    #[error("the service refused")]
    Refused(#[from] Refusal),
}

impl CallError {
    /// Whether the same call may yet succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unwritable(_) | Self::Unsendable(_) | Self::Unreadable(_) => false,
            Self::Unsigned(_) | Self::Unreachable(_) | Self::BrokenOff(_) | Self::TimedOut => true,
            Self::Refused(refusal) => refusal.is_transient(),
        }
    }
}

/// A service's error.
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    /// What went wrong, for example `ConditionalCheckFailedException`; empty if that is not said.
    pub code: String,
    message: String,
    /// The whole answer.
    pub answer: Vec<u8>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.status)?;
        let said = [&self.code, &self.message].into_iter();
        said.filter(|it| !it.is_empty())
            .try_for_each(|it| write!(f, " {it}"))
    }
}

impl StdError for Refusal {}

impl Refusal {
    fn new(status: u16, answer: Vec<u8>) -> Self {
        #[derive(Default, Deserialize)]
        struct Wire<'a> {
            #[serde(borrow, default, rename = "__type")]
            code: Cow<'a, str>,
            #[serde(borrow, default, alias = "Message")]
            message: Cow<'a, str>,
        }
        let wire: Wire = serde_json::from_slice(&answer).unwrap_or_default();
        // `namespace#Code:address`, of which only the middle is certain to be there.
        let code = wire.code.split(':').next().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default().to_owned();
        Self {
            status,
            code,
            message: wire.message.into_owned(),
            answer,
        }
    }

    fn is_transient(&self) -> bool {
        let code = self.code.as_str();
        self.status >= 500
            || self.status == 429
            || THROTTLING_ERRORS.contains(&code)
            || TRANSIENT_ERRORS.contains(&code)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread::{self, JoinHandle},
    };

    use aws_credential_types::Credentials;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::{Account, Aws, Endpoints, connector};

    /// What a service answers on one connection.
    #[derive(Clone, Copy)]
    enum Answer {
        /// Status and body; the connection stays open.
        Whole(u16, &'static str),
        /// The same, and the connection is closed.
        Last(u16, &'static str),
        /// One byte of two, and the connection is closed.
        Cut,
        /// All but the body.
        Head,
        /// Not a byte.
        Silence,
    }

    const OK: Answer = Answer::Whole(200, r#"{"a":1}"#);
    const INTERNAL: Answer = Answer::Whole(500, "{}");
    const THROTTLED: Answer = Answer::Last(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Slowly."}"#,
    );
    const DENIED: Answer = Answer::Whole(
        400,
        r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"Not you."}"#,
    );

    /// A service that takes one request on each connection, and what it was asked in the end.
    fn service(answers: &'static [Answer]) -> (Service, JoinHandle<Asked>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let credentials = Credentials::from_keys("id", "key", Some("token".to_owned()));
        let account = Account {
            region: "us-east-1".to_owned(),
            credentials: SharedCredentialsProvider::new(credentials),
            endpoints: Endpoints {
                dynamodb: Some(url),
                ..Endpoints::default()
            },
        };
        let asked = thread::spawn(move || {
            let mut asked = Asked::default();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                asked.requests.push(read(&mut stream));
                let (text, stays) = match answer {
                    Answer::Whole(status, body) => (answer_of(*status, body.len(), body), true),
                    Answer::Last(status, body) => (answer_of(*status, body.len(), body), false),
                    Answer::Cut => (answer_of(200, 2, "{"), false),
                    Answer::Head => (answer_of(200, 2, ""), true),
                    Answer::Silence => (String::new(), true),
                };
                stream.write_all(text.as_bytes()).unwrap();
                if stays {
                    asked.open.push(stream);
                }
            }
            asked
        });
        (Aws::new(connector(None), account).dynamodb(), asked)
    }

    #[derive(Default)]
    struct Asked {
        requests: Vec<String>,
        open: Vec<TcpStream>,
    }

    fn answer_of(status: u16, length: usize, body: &str) -> String {
        format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    /// A request whose body is `{}`.
    fn read(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n{}") {
            let mut buffer = [0; 8_192];
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the request ends before its body");
            request.extend_from_slice(&buffer[..length]);
        }
        String::from_utf8(request).unwrap()
    }

    async fn call(service: &Service) -> Result<Value, CallError> {
        service.call("PutItem", &json!({})).await
    }

    #[tokio::test]
    async fn a_call_says_what_it_must_and_no_more() {
        let (service, asked) = service(&[OK]);
        assert_eq!(call(&service).await.unwrap(), json!({"a": 1}));
        let request = asked.join().unwrap().requests[0].to_lowercase();
        let mut lines = request.lines();
        assert_eq!(lines.next(), Some("post / http/1.1"));
        let mut headers: Vec<_> = lines.map_while(|line| line.split_once(": ")).collect();
        headers.sort_unstable();
        let names: Vec<_> = headers.iter().map(|it| it.0).collect();
        assert_eq!(
            names,
            [
                "authorization",
                "content-length",
                "content-type",
                "host",
                "x-amz-date",
                "x-amz-security-token",
                "x-amz-target",
            ]
        );
        assert!(headers[0].1.starts_with("aws4-hmac-sha256 credential=id/"));
        assert_eq!(headers[2].1, "application/x-amz-json-1.0");
        assert_eq!(format!("http://{}", headers[3].1), service.endpoint);
        assert_eq!(headers[5].1, "token");
        assert_eq!(headers[6].1, "dynamodb_20120810.putitem");
    }

    #[tokio::test]
    async fn a_host_that_is_not_well_is_not_asked_again() {
        // Each request comes on a connection of its own, although those before are still open.
        let (service, asked) = service(&[INTERNAL, INTERNAL, OK]);
        assert_eq!(call(&service).await.unwrap(), json!({"a": 1}));
        assert_eq!(asked.join().unwrap().requests.len(), 3);
    }

    #[tokio::test]
    async fn after_three_attempts_the_last_error_is_told() {
        let (service, asked) = service(&[INTERNAL, INTERNAL, THROTTLED]);
        let error = call(&service).await.unwrap_err();
        assert_eq!(
            crate::error::Chain(&error).to_string(),
            "the service refused: 400 ThrottlingException Slowly."
        );
        assert_eq!(asked.join().unwrap().requests.len(), 3);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_services_is_none() {
        const PROXYS: Answer = Answer::Whole(200, "<html>Welcome!</html>");
        let (service, asked) = service(&[PROXYS]);
        let done: Result<Done, _> = service.call("PutItem", &json!({})).await;
        assert!(matches!(done, Err(CallError::Unreadable(_))), "{done:?}");
        assert_eq!(asked.join().unwrap().requests.len(), 1);
    }

    #[test]
    fn a_code_is_found_among_what_stands_around_it() {
        for code in [
            "RequestThrottled",
            "com.amazonaws.sqs#RequestThrottled",
            "RequestThrottled:http://internal.example.com/coral/",
            "com.amazonaws.sqs#RequestThrottled:http://internal.example.com/#x",
        ] {
            let refusal = Refusal::new(403, json!({"__type": code}).to_string().into());
            assert_eq!(refusal.to_string(), "403 RequestThrottled", "{code}");
            assert!(refusal.is_transient());
        }
        assert!(Refusal::new(429, Vec::new()).is_transient());
        assert!(!Refusal::new(499, Vec::new()).is_transient());
    }

    #[test]
    fn a_refusal_that_says_nothing_is_its_status() {
        for answer in ["", "<html>", "[]", "{}", r#"{"message":1}"#] {
            assert_eq!(Refusal::new(503, answer.into()).to_string(), "503");
        }
    }

    #[tokio::test]
    async fn what_is_throttled_is_tried_again_and_what_is_refused_is_not() {
        let (service, asked) = service(&[THROTTLED, DENIED]);
        let Err(CallError::Refused(refusal)) = call(&service).await else {
            panic!("it was refused");
        };
        assert_eq!(
            (refusal.status, refusal.code.as_str()),
            (400, "AccessDeniedException")
        );
        assert_eq!(refusal.message, "Not you.");
        assert_eq!(asked.join().unwrap().requests.len(), 2);
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_given_up_and_so_is_one_whose_body_does_not() {
        let (service, asked) = service(&[Answer::Silence, Answer::Head, Answer::Head]);
        let error = call(&service).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut), "{error:?}");
        assert_eq!(asked.join().unwrap().requests.len(), 3);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_tried_again() {
        let (service, asked) = service(&[Answer::Cut, OK]);
        assert_eq!(call(&service).await.unwrap(), json!({"a": 1}));
        assert_eq!(asked.join().unwrap().requests.len(), 2);
    }

    #[test]
    fn what_is_waited_doubles() {
        let waits = [1, 2].map(|attempt| longest_backoff(attempt).as_millis());
        assert_eq!(waits, [50, 100]);
    }

    #[test]
    fn three_slow_attempts_of_a_step_leave_half_the_budget() {
        assert_eq!(ATTEMPTS * ATTEMPT_TIMEOUT, BUDGET / 2);
    }
}

//! `operator send`

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use titanx_client::http::{HttpClient, require_secure};
use titanx_receiver::{
    budget::now_ms,
    event::{API_VERSION, CONTACT_SCORED, JOB_COMPLETED},
    signature::{SIGNATURE_HEADER, sign},
};
use uuid::Uuid;

use crate::{
    commands::CommandStatus,
    plain_error::PlainError,
    screen::{BAD, GOOD, Screen, check_written, escape_control, styled},
    secret_store::SecretSource,
    stack::StackOptions,
};

/// Send signed deliveries to the receiver, as TitanX does
///
/// The request bodies are the contents of FILEs, or synthetic deliveries with --count. The secret
/// comes from --secret-file, else from TITANX_WEBHOOK_SECRET, else from the stack's secret.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator send --count 10 --url http://127.0.0.1:9000/webhooks/titanx --secret-file webhook-secret
  operator send --stack titanx-receiver events/bodies/contact-full.json
  operator send --as apigw-v2 --count 1 > event.json
  cargo lambda invoke receiver --data-file event.json
  operator send --as apigw-v2 body.json | sam local invoke ReceiverFunction --event -")]
pub(crate) struct Send {
    /// Files that contain one request body each
    #[arg(value_name = "FILE", required_unless_present = "count", conflicts_with_all = ["count", "event"])]
    files: Vec<PathBuf>,
    /// Number of synthetic deliveries to send
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Event type of the synthetic deliveries
    #[arg(long, value_name = "TYPE", default_value = CONTACT_SCORED, value_parser = [CONTACT_SCORED, JOB_COMPLETED])]
    event: String,
    /// Job id of the synthetic deliveries [default: a random id]
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Print the gateway's event for each delivery, one per line, instead of sending it
    #[arg(long = "as", value_name = "GATEWAY")]
    gateway: Option<Gateway>,
    #[command(flatten)]
    secret: SecretSource,
    #[command(flatten)]
    stack: StackOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Gateway {
    /// API Gateway HTTP API
    ApigwV2,
    /// API Gateway REST API
    ApigwV1,
    /// Lambda function URL
    Url,
}

/// The result of sending one delivery.
#[derive(Serialize)]
struct SendResult {
    /// The file, or the delivery id of a synthetic delivery.
    body: String,
    status: Option<u16>,
    answer: Option<String>,
    milliseconds: u128,
}

impl Send {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let bodies = self.bodies()?;
        let secret = self.secret.signing_secret(&self.stack).await?;
        if let Some(gateway) = self.gateway {
            for (_, body) in &bodies {
                print_line!("{}", gateway.event(body, &sign(&secret, body)));
            }
            check_written()?;
            return Ok(CommandStatus::Success);
        }
        let url = self.stack.webhook_url().await?;
        require_secure(&url)?;
        let http = HttpClient::new()?;
        let bar = screen.progress("sending", bodies.len() as u64);
        let mut results = Vec::new();
        for (name, body) in bodies {
            results.push(post(&http, &url, &secret, name, body).await);
            bar.inc(1);
        }
        bar.finish_and_clear();
        screen.result(&results, || results.iter().for_each(SendResult::print))?;
        let failed = results.iter().filter(|it| !it.was_received()).count();
        if failed > 0 {
            bail!(
                "{failed} of {} deliveries were not answered with 2xx: see their statuses above",
                results.len()
            );
        }
        Ok(CommandStatus::Success)
    }

    /// The request bodies, each with its file name or delivery id.
    fn bodies(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        if let Some(count) = self.count {
            let job = self
                .job
                .clone()
                .unwrap_or_else(|| Uuid::new_v4().to_string());
            return Ok((1..=count)
                .map(|number| synthetic_delivery(&self.event, &job, number))
                .collect());
        }
        let read = |path: &PathBuf| {
            let body = fs::read(path);
            let body = body.with_context(|| format!("cannot read {}", path.display()))?;
            Ok((path.display().to_string(), body))
        };
        self.files.iter().map(read).collect()
    }
}

async fn post(
    http: &HttpClient,
    url: &str,
    secret: &str,
    name: String,
    body: Vec<u8>,
) -> SendResult {
    let signature = sign(secret, &body);
    let headers = [
        ("content-type", "application/json"),
        ("user-agent", "TitanX-Webhooks/1.0"),
        (SIGNATURE_HEADER, signature.as_str()),
    ];
    let started = Instant::now();
    let response = http.call("POST", url, &headers, body).await;
    let milliseconds = started.elapsed().as_millis();
    let (status, answer) = match response {
        Ok(response) => {
            let body = String::from_utf8_lossy(&response.body).into_owned();
            (Some(response.status), Some(body))
        }
        Err(error) => (None, Some(PlainError(&error).to_string())),
    };
    SendResult {
        body: name,
        status,
        answer,
        milliseconds,
    }
}

impl SendResult {
    fn was_received(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    fn print(&self) {
        let style = if self.was_received() { GOOD } else { BAD };
        let status = self
            .status
            .map_or_else(|| "---".to_owned(), |status| status.to_string());
        let answer = escape_control(self.answer.as_deref().unwrap_or_default());
        let Self {
            body, milliseconds, ..
        } = self;
        print_line!(
            "{}  {body}  {answer}  {milliseconds} ms",
            styled(style, status)
        );
    }
}

/// The delivery id and the body of a synthetic delivery, which contains no real person's data.
fn synthetic_delivery(event: &str, job: &str, number: u32) -> (String, Vec<u8>) {
    let id = Uuid::new_v4().to_string();
    let payload = if event == JOB_COMPLETED {
        json!({
            "jobId": job,
            "jobType": "scoring",
            "jobName": "Synthetic batch",
            "jobStatus": "Finalized",
            "modifiedAt": crate::screen::format_time(now_ms()),
        })
    } else {
        json!({
            "jobId": job,
            "firstName": "Sample",
            "lastName": format!("Person {number}"),
            "email": format!("sample.person.{number}@example.com"),
            "companyAccount": "Example Company",
            "title": "Head of Examples",
            "phone": format!("+1 206 555 {:04}", 100 + number % 100),
            "phoneStatus": "High",
            "leadStatus": "High",
            "customerContactId": format!("sample-{number}"),
        })
    };
    let body = json!({
        "payload": payload,
        "eventType": event,
        "timestamp": now_ms(),
        "apiVersion": API_VERSION,
        "id": id,
    });
    (id, body.to_string().into_bytes())
}

impl Gateway {
    /// The event with which the gateway invokes the function for a request with this body.
    fn event(self, body: &[u8], signature: &str) -> Value {
        let (body, is_base64) = match std::str::from_utf8(body) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (BASE64_STANDARD.encode(body), true),
        };
        let headers = json!({
            "content-type": "application/json",
            "user-agent": "TitanX-Webhooks/1.0",
            SIGNATURE_HEADER.to_ascii_lowercase(): signature,
        });
        match self {
            Self::ApigwV2 => http_event("/webhooks/titanx", &headers, &body, is_base64),
            Self::Url => http_event("/", &headers, &body, is_base64),
            Self::ApigwV1 => rest_event(&headers, &body, is_base64),
        }
    }
}

/// An event in payload format 2.0, for HTTP APIs and function URLs, on the default route: the only one
/// that the template has.
fn http_event(path: &str, headers: &Value, body: &str, is_base64: bool) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "example",
            "domainName": "example.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "example",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "TitanX-Webhooks/1.0",
            },
            "requestId": Uuid::new_v4().to_string(),
            "routeKey": "$default",
            "stage": "$default",
            "time": "05/Jan/2026:12:00:00 +0000",
            "timeEpoch": now_ms(),
        },
        "body": body,
        "isBase64Encoded": is_base64,
    })
}

/// An event in payload format 1.0, for REST APIs.
fn rest_event(headers: &Value, body: &str, is_base64: bool) -> Value {
    let lists: serde_json::Map<_, _> = headers
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), json!([value])))
        .collect();
    json!({
        "resource": "/webhooks/titanx",
        "path": "/webhooks/titanx",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": lists,
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": null,
        "stageVariables": null,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "example",
            "httpMethod": "POST",
            "identity": {"sourceIp": "192.0.2.1", "userAgent": "TitanX-Webhooks/1.0"},
            "path": "/webhooks/titanx",
            "protocol": "HTTP/1.1",
            "requestId": Uuid::new_v4().to_string(),
            "requestTimeEpoch": now_ms(),
            "resourcePath": "/webhooks/titanx",
            "stage": "prod",
        },
        "body": body,
        "isBase64Encoded": is_base64,
    })
}

//! The cost of a delivery without the network: `cargo bench -p titanx-bench --bench delivery`.
//!
//! Each pure step by the size of the body, compared with the HMAC that every receiver needs. Then whole
//! deliveries, with a connector that answers immediately instead of the network. Allocations are counted too.

use std::hint::black_box;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use divan::{AllocProfiler, Bencher};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use titanx_receiver::{
    aws::{Aws, AwsConfig, Endpoints, HttpPool, Identity},
    deliveries::Deliveries,
    event::{Event, Kind},
    gateway::Request,
    intake::Intake,
    jobs::Jobs,
    quarantine::Quarantine,
    queue::{Message, Queue, Source},
    receiver::Receiver,
    secrets::Secrets,
    signature::{KeyForm, Signature, Verified, Verifier},
};
use titanx_testbed::titanx::{SIGNING_SECRET, envelope, request, signature};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// As long as Lambda's are.
const REQUEST_ID: &str = "7e3f0001-0000-4000-8000-000000000000";
/// Bytes of the payload's free text: a sparse contact, a full one, and two that are unusually large.
const SIZES: [usize; 4] = [300, 3_000, 30_000, 300_000];

fn main() {
    divan::main();
}

fn body(bytes: usize) -> String {
    let field = "Sample text, 40 characters, no escapes. ";
    let notes: Vec<_> = std::iter::repeat_n(field, bytes / field.len()).collect();
    let payload = json!({"jobId": "job-1", "notes": notes});
    let id = "00000000-0000-4000-8000-000000000001";
    envelope(id, "job.contact.scored", &payload)
}

fn gateway_event(body: &str, secret: &str) -> String {
    request(body, Some(&signature(secret, body.as_bytes()))).to_string()
}

#[divan::bench(args = SIZES)]
fn bare_hmac(bencher: Bencher, bytes: usize) {
    let body = body(bytes);
    bencher.bench_local(|| {
        let mut mac = Hmac::<Sha256>::new_from_slice(SIGNING_SECRET.as_bytes()).unwrap();
        mac.update(black_box(body.as_bytes()));
        mac.finalize()
    });
}

#[divan::bench(args = SIZES)]
fn verify(bencher: Bencher, bytes: usize) {
    let body = body(bytes);
    let header = Signature::parse(&signature(SIGNING_SECRET, body.as_bytes())).unwrap();
    let secrets = Verifier::new([SIGNING_SECRET], &KeyForm::ALL);
    bencher.bench_local(|| {
        let verified = secrets.verify(black_box(body.as_bytes()), &header, KeyForm::Whole);
        verified.unwrap().0.bytes().len()
    });
}

#[divan::bench(args = SIZES)]
fn read_gateway_event(bencher: Bencher, bytes: usize) {
    let event = gateway_event(&body(bytes), SIGNING_SECRET);
    bencher.bench_local(|| Request::from_event(black_box(&event)).unwrap());
}

fn verified(body: &str) -> Verified<'_> {
    let header = Signature::parse(&signature(SIGNING_SECRET, body.as_bytes())).unwrap();
    let secrets = Verifier::new([SIGNING_SECRET], &KeyForm::ALL);
    let verified = secrets.verify(body.as_bytes(), &header, KeyForm::Whole);
    verified.unwrap().0
}

#[divan::bench(args = SIZES)]
fn parse(bencher: Bencher, bytes: usize) {
    let body = body(bytes);
    let verified = verified(&body);
    bencher.bench_local(|| Event::parse(black_box(verified), 0).unwrap().timestamp_ms);
}

#[divan::bench(args = SIZES)]
fn digest_and_message(bencher: Bencher, bytes: usize) {
    let body = body(bytes);
    let event = Event::parse(verified(&body), 0).unwrap();
    bencher.bench_local(|| {
        let Kind::ContactScored(contact) = &event.kind else {
            unreachable!("the body is a contact's");
        };
        let message = Message::contact(&event, contact.job_id.as_deref(), Source::Webhook);
        black_box(message.unwrap());
        event.digest()
    });
}

#[divan::bench(args = SIZES)]
fn contact_keys(bencher: Bencher, bytes: usize) {
    let body = body(bytes);
    let event = Event::parse(verified(&body), 0).unwrap();
    bencher.bench_local(|| {
        let Kind::ContactScored(contact) = &event.kind else {
            unreachable!("the body is a contact's");
        };
        black_box(contact).keys()
    });
}

#[divan::bench(args = SIZES)]
fn whole_delivery(bencher: Bencher, bytes: usize) {
    deliver(bencher, &gateway_event(&body(bytes), SIGNING_SECRET), 200);
}

#[divan::bench(args = SIZES)]
fn forged_delivery(bencher: Bencher, bytes: usize) {
    deliver(bencher, &gateway_event(&body(bytes), "another secret"), 401);
}

fn deliver(bencher: Bencher, event: &str, status: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (runtime, receiver) = (runtime.unwrap(), receiver());
    bencher.bench_local(|| {
        let request = Request::from_event(black_box(event)).unwrap();
        let handled = receiver.handle(request, REQUEST_ID.to_owned(), u64::MAX);
        let (response, follow_up) = runtime.block_on(handled);
        let answered = serde_json::to_string(&response).unwrap();
        runtime.block_on(receiver.finish(follow_up));
        assert!(
            answered.starts_with(&format!("{{\"statusCode\":{status},")),
            "{answered}"
        );
    });
}

fn receiver() -> Receiver {
    let aws = Aws::new(
        HttpPool::new(|| SharedHttpConnector::new(AllIsWell)),
        &AwsConfig {
            region: "us-east-1".to_owned(),
            identity: Identity::fixed(Credentials::from_keys("id", "key", None)),
            endpoints: Endpoints::default(),
        },
    );
    let aws = aws.expect("the region has endpoints");
    let url = "https://sqs.us-east-1.amazonaws.com/000000000000/queue";
    let retention = std::time::Duration::from_hours(7 * 24);
    Receiver::new(
        Secrets::fixed(&[SIGNING_SECRET.to_owned()], KeyForm::ALL.to_vec()),
        Intake {
            deliveries: Deliveries::new(aws.dynamodb(), "deliveries".to_owned(), retention),
            jobs: Jobs::new(aws.dynamodb(), "jobs".to_owned()),
            contacts: Queue::new(aws.sqs(), url.to_owned()),
        },
        Quarantine {
            queue: Queue::new(aws.sqs(), url.to_owned()),
        },
    )
}

/// Answers every request immediately with success.
#[derive(Debug, Clone)]
struct AllIsWell;

impl HttpConnector for AllIsWell {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let ok = 200_u16.try_into().expect("a status code");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            ok,
            SdkBody::from(r#"{"MessageId":"1"}"#),
        )))
    }
}

//! Measures the comparison of a round: one scan of a deliveries table with millions of records, and the
//! match of a million contacts, in a process of its own.
//!
//! ```text
//! cargo run --profile driver -p titanx-healer --example scale -- 10000000 1000000          # payloads name their job
//! cargo run --profile driver -p titanx-healer --example scale -- 10000000 1000000 no-jobs  # they do not
//! ```
//!
//! The table is a server that makes its pages when they are asked for, since an emulator would take hours
//! to fill. A page has the megabyte that DynamoDB's has; the records have what the receiver writes. One
//! contact in twenty has no record.

use std::{env, fs, process::Command, time::Instant};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Region},
};
use aws_smithy_runtime_api::client::http::http_client_fn;
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde_json::{Value, json};
use titanx_receiver::aws::connector;
use titanx_reconcile::{
    JobId,
    delivery_records::TableScan,
    keys::{KeyFilter, Keys, Kinds},
    matching::{Contacts, RecordPool},
};
use titanx_testbed::server::{Server, text};

const CONTACTS_A_JOB: u64 = 1_000;
/// One contact in so many was never delivered.
const DROPPED: u64 = 20;
/// The size of the usual record, of which a page of a megabyte has as many as fit.
const RECORD_BYTES: u64 = 326;
const PAGE: u64 = 1024 * 1024 / RECORD_BYTES;
const URL: &str = "SCALE_URL";

#[derive(Clone, Copy)]
struct Scale {
    records: u64,
    contacts: u64,
    names_job: bool,
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let number = |index: usize, default| {
        let number = arguments.get(index);
        number.map_or(default, |it| it.parse().expect("a number"))
    };
    let scale = Scale {
        records: number(0, 10_000_000),
        contacts: number(1, 1_000_000),
        names_job: arguments.get(2).is_none_or(|it| it != "no-jobs"),
    };
    if let Ok(url) = env::var(URL) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        return runtime.block_on(compare(&url, scale));
    }
    let server = Server::start("table", move |request| {
        let scan: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        async move { Some(text(200, "application/x-amz-json-1.0", page(scale, &scan))) }
    });
    let measured = Command::new(env::current_exe().expect("a path"))
        .args(&arguments)
        .env(URL, &server.origin)
        .status();
    assert!(measured.expect("it can be started").success());
}

/// The page that a scan asks for.
fn page(scale: Scale, scan: &Value) -> String {
    let number = |name: &str| scan[name].as_u64().unwrap_or(0);
    let (segment, segments) = (number("Segment"), number("TotalSegments").max(1));
    let end = scale.records * (segment + 1) / segments;
    let begin = scan["ExclusiveStartKey"]["delivery_id"]["S"].as_str();
    let begin = begin.map_or(scale.records * segment / segments, |it| {
        it.parse::<u64>().expect("a number") + 1
    });
    let last = end.min(begin + PAGE);
    let items: Vec<_> = (begin..last).map(|record| item(scale, record)).collect();
    let next = (last < end).then(|| json!({"delivery_id": {"S": (last - 1).to_string()}}));
    let mut page = json!({
        "Count": items.len(),
        "ScannedCount": items.len(),
        "ConsumedCapacity": {"TableName": "t", "CapacityUnits": ((last - begin) * RECORD_BYTES).div_ceil(8_192)},
        "Items": items,
    });
    if let Some(next) = next {
        page["LastEvaluatedKey"] = next;
    }
    page.to_string()
}

fn item(scale: Scale, record: u64) -> Value {
    // The contacts that were delivered, in an order that has nothing to do with the jobs.
    let delivered = record / (DROPPED - 1) * DROPPED + record % (DROPPED - 1) + 1;
    let encoded = |kind: &str, key: u64| {
        let digest = [key.to_be_bytes(), (!key).to_be_bytes()].concat();
        format!("{kind}:{}", BASE64_STANDARD_NO_PAD.encode(digest))
    };
    let [id, digest] = keys(delivered);
    let mut item = json!({
        "delivery_id": {"S": format!("{record:08}-8888-4777-8666-555555555555")},
        "status": {"S": "COMPLETED"},
        "contact_keys": {"SS": [encoded("customerContactId", id), encoded("digest", digest)]},
    });
    if scale.names_job {
        item["job_id"] = json!({"S": job_id(delivered / CONTACTS_A_JOB)});
    }
    item
}

fn job_id(job: u64) -> String {
    format!("{job:08}-2222-4333-8444-555555555555")
}

/// Two keys of a contact, spread as digests are.
fn keys(contact: u64) -> [u64; 2] {
    [1, 2].map(|salt: u64| {
        let mut hash = contact
            .wrapping_mul(2)
            .wrapping_add(salt)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ (hash >> 32)
    })
}

async fn compare(url: &str, scale: Scale) {
    let client = client(url);
    let jobs = scale.contacts / CONTACTS_A_JOB;
    let ids: Vec<JobId> = (0..jobs).map(|job| job_id(job).as_str().into()).collect();
    let lists: Vec<_> = (0..jobs).map(list).collect();
    let all = lists.iter().flat_map(Contacts::all_keys).copied().collect();
    let filter = KeyFilter::new(all);
    let began = Instant::now();
    let scan = TableScan {
        client: &client,
        table: "deliveries",
        jobs: &ids,
        filter: Some(&filter),
        consistent: false,
    };
    let units = std::sync::Mutex::new((0, 0.0));
    let records = scan.run(|page| {
        let mut units = units.lock().expect("not poisoned");
        *units = (units.0 + page.records, units.1 + page.units);
    });
    let records = records.await.expect("the table answers");
    let (scanned, kept, matching) = (began.elapsed(), records.len(), Instant::now());
    let mut pool = RecordPool::new(records, Kinds::named(&[]));
    let mut missing = 0;
    for (job, contacts) in lists.into_iter().enumerate() {
        let result = pool.match_job(job, &contacts);
        assert_eq!(result.unmatched_records, 0);
        missing += result.missing.len() as u64;
    }
    assert_eq!(
        missing,
        scale.contacts / DROPPED,
        "each dropped contact, and no other"
    );
    let (passed, units) = *units.lock().expect("not poisoned");
    assert_eq!(passed, scale.records);
    println!(
        "{passed} records, {units} read units (${:.4}), {kept} kept, {missing} of {} contacts missing",
        units * 0.125 / 1e6,
        scale.contacts
    );
    println!(
        "scan {:.1} s, match {:.1} s, CPU {:.1} s, peak memory {:.0} MB",
        scanned.as_secs_f64(),
        matching.elapsed().as_secs_f64(),
        cpu_seconds(),
        peak_mb()
    );
}

fn list(job: u64) -> Contacts {
    let mut contacts = Contacts::default();
    for contact in job * CONTACTS_A_JOB..(job + 1) * CONTACTS_A_JOB {
        // The third and the sixth kind.
        let keys = Keys::from_parts(0b10_0100, keys(contact).into_iter());
        contacts.push(&keys.expect("two keys"), true);
    }
    contacts
}

fn client(url: &str) -> Client {
    let connector = connector(None);
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("id", "key", None))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .endpoint_url(url);
    Client::from_conf(config.build())
}

/// The largest resident set so far.
fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|it| it.parse::<f64>().ok())
        .expect("a number")
        / 1024.0
}

/// The user and system time so far.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The fields 14 and 15. The name before them may hold blanks, and ends in a parenthesis.
    let (_, after_name) = stat.rsplit_once(") ").expect("a name");
    let fields: Vec<_> = after_name.split(' ').collect();
    let ticks: f64 = [12, 13]
        .map(|at| fields[at - 1].parse::<f64>().expect("ticks"))
        .iter()
        .sum();
    ticks / 100.0
}

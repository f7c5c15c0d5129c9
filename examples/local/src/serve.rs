//! Serves requests until the process ends (`--serve`).

use std::{collections::BTreeMap, fs, future::pending, path::Path, sync::Arc};

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::Emulators,
    gateway::Gateway,
    titanx::{SIGNING_SECRET, envelope_at, now_ms, signature},
};
use uuid::Uuid;

use crate::{
    containers,
    error::Error,
    screen::{Screen, Tone},
    system::System,
};

pub(crate) const PORT: u16 = 9000;
/// The name of the copy of the contacts queue.
const COPY: &str = "contacts-copy";

/// Serves until the process ends, and prints a line for each delivery.
pub(crate) async fn forever(system: System, screen: Screen) -> Result<(), Error> {
    let system = Arc::new(system);
    let (receiver, shown) = (Arc::clone(&system.receiver), Arc::clone(&system));
    let gateway = Gateway::start_on(PORT, receiver, move |body, response| {
        screen.text(&line(body, response, &shown.emulators, screen));
    })?;
    let exposed = containers::expose(&ports(&system.emulators)).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // It is elsewhere if Cargo was told so.
    fs::create_dir_all(root.join("target"))?;
    for (file, text) in environment_files(&system.emulators) {
        fs::write(root.join(file), text)?;
    }
    screen.title(&format!("Serving {} until Ctrl-C", gateway.url));
    screen.text(&instructions(&gateway.url, &system.emulators, &exposed));
    pending().await
}

/// The ports of the services that the function calls.
fn ports(emulators: &Emulators) -> [u16; 3] {
    let Emulators {
        dynamodb_url,
        sqs_url,
        secrets_manager_url,
        ..
    } = emulators;
    [dynamodb_url, sqs_url, secrets_manager_url].map(|url| {
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("the URL has a port")
    })
}

/// The environment files with which the function uses the emulated services, and their texts: for `cargo lambda
/// watch`, and for `sam local invoke`, which starts the function in a container. The first names a copy of the
/// contacts queue, too, for `operator listen`.
pub(crate) fn environment_files(emulators: &Emulators) -> [(&'static str, String); 2] {
    let copy = emulators.contacts.copy_to(COPY);
    let environment = emulators.environment();
    let lines: Vec<_> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .chain([format!("CONTACTS_COPY_QUEUE_URL={}", copy.url)])
        .collect();
    let in_container = environment.into_iter();
    let in_container = in_container.map(|(name, value)| (name, containers::url(&value)));
    let in_container: BTreeMap<_, _> = in_container.collect();
    let variables = json!({ "ReceiverFunction": in_container });
    [
        ("target/local.env", lines.join("\n") + "\n"),
        ("target/local.json", variables.to_string()),
    ]
}

/// Commands that send deliveries and show their results.
pub(crate) fn instructions(url: &str, emulators: &Emulators, exposed: &str) -> String {
    let Emulators {
        dynamodb_url,
        sqs_url,
        jobs,
        contacts,
        ..
    } = emulators;
    let contact = event("job.contact.scored", &json!({"phone": "+1 202-555-0199"}));
    let signature = signature(SIGNING_SECRET, contact.as_bytes());
    let completed = json!({"jobId": "job-1", "jobStatus": "Finalized"});
    let completed = event("job.completed", &completed);
    let receive = json!({
        "QueueUrl": contacts.url,
        "MaxNumberOfMessages": 10,
        "MessageAttributeNames": ["All"],
    });
    let scan = json!({ "TableName": jobs.name });
    let host = containers::HOST;
    format!(
        r#"  Deliver a contact. A second run of this command is answered as a duplicate:

curl -i {url} \
  -H 'Content-Type: application/json' \
  -H 'X-TitanX-Signature: {signature}' \
  -d '{contact}'

  Deliver any body, signed as TitanX signs it:

BODY='{completed}'
SIGNATURE=$(printf %s "$BODY" | openssl dgst -sha256 -hmac '{SIGNING_SECRET}' -binary | base64)
curl -i {url} \
  -H 'Content-Type: application/json' \
  -H "X-TitanX-Signature: $SIGNATURE" \
  -d "$BODY"

  Invoke the function's program with a sample event. It uses the same tables and queues:

cargo lambda watch --env-file target/local.env --invoke-address 127.0.0.1 --invoke-port 9001
cargo lambda invoke receiver --invoke-address 127.0.0.1 --invoke-port 9001 \
  --data-file events/apigw-v2.contact-full.json

  Invoke it in a container, where this machine is {host}:
  {exposed}

sam build --template events/local.yaml
sam local invoke ReceiverFunction --event events/apigw-v2.job-finalized.json \
  --env-vars target/local.json --add-host {host}:host-gateway

  Forward a copy of each contact to an endpoint of your own, signed as TitanX signs it. The contacts
  queue keeps its messages:

set -a; . target/local.env; set +a
cargo run -p titanx-operator -- listen --forward-to http://127.0.0.1:3000/webhooks

  Receive messages from the contacts queue, and scan the jobs table:

curl {sqs_url} \
  -H 'X-Amz-Target: AmazonSQS.ReceiveMessage' \
  -d '{receive}'
curl {dynamodb_url} --aws-sigv4 aws:amz:us-east-1:dynamodb --user emulators:emulators \
  -H 'Content-Type: application/x-amz-json-1.0' -H 'X-Amz-Target: DynamoDB_20120810.Scan' \
  -d '{scan}'
"#
    )
}

/// The body of an event with a new delivery id.
fn event(event_type: &str, payload: &Value) -> String {
    envelope_at(now_ms(), &Uuid::new_v4().to_string(), event_type, payload)
}

/// The line for a delivery: its answer, its id if the signature was valid, and the number of messages and
/// jobs so far.
fn line(body: &[u8], response: &Value, emulators: &Emulators, screen: Screen) -> String {
    let status = &response["statusCode"];
    let (id, tone) = match status.as_u64() {
        Some(200) => (delivery_id(body), Tone::Good),
        _ => ("-".to_owned(), Tone::Bad),
    };
    let answer = response["body"].as_str().unwrap_or_default();
    let answer = format!("{status} {answer:<40}");
    let Emulators {
        jobs,
        contacts,
        quarantine,
        ..
    } = emulators;
    let totals = format!(
        "contacts {}   quarantine {}   jobs {}",
        contacts.len(),
        quarantine.len(),
        jobs.len()
    );
    format!(
        "  {}   {id:<36}   {}",
        screen.tone(tone, &answer),
        screen.tone(Tone::Faint, &totals)
    )
}

fn delivery_id(body: &[u8]) -> String {
    serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|envelope| Some(envelope.get("id")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use titanx_testbed::emulators::{AttributeValue, Item};

    use super::*;

    /// What `operator listen` takes from the copy stays on the contacts queue.
    #[test]
    fn the_files_name_what_is_served_and_a_copy_of_the_contacts() {
        let emulators = Emulators::start();
        let environment = emulators.environment();
        let [(_, lines), (_, variables)] = environment_files(&emulators);
        let variables: Value = serde_json::from_str(&variables).unwrap();
        let lines = lines.lines().filter_map(|line| line.split_once('='));
        let mut named: BTreeMap<_, _> = lines.collect();

        let copy = named.remove("CONTACTS_COPY_QUEUE_URL");
        emulators.contacts.put("{}", &[]);
        // It is there already.
        let copied = emulators.create_queue(COPY);
        assert_eq!(copy, Some(&*copied.url));
        assert_eq!((emulators.contacts.len(), copied.len()), (1, 1));

        let served = environment.iter().map(|(name, value)| (*name, &**value));
        assert_eq!(named, served.collect());
        // In a container, 127.0.0.1 is the container itself.
        let reachable = environment.iter().map(|(name, value)| {
            let value = value.replace("127.0.0.1", "host.docker.internal");
            ((*name).to_owned(), value.into())
        });
        let reachable = Value::Object(reachable.collect());
        assert_eq!(variables, json!({ "ReceiverFunction": reachable }));
    }

    /// Without one of them, the function in a container would wait for a service until its time is up.
    #[test]
    fn each_service_that_a_container_is_told_of_is_made_reachable_for_it() {
        let emulators = Emulators::start();
        let [_, (_, variables)] = environment_files(&emulators);
        let hosts = variables.split("http://host.docker.internal:").skip(1);
        let named: BTreeSet<u16> = hosts
            .map(|rest| {
                let port = rest.split(|it: char| !it.is_ascii_digit()).next();
                port.unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(named.len(), 3);
        assert_eq!(BTreeSet::from(ports(&emulators)), named);
    }

    #[test]
    fn the_line_of_a_delivery_has_its_answer_the_id_of_what_is_signed_and_each_total() {
        let emulators = Emulators::start();
        emulators.contacts.put("{}", &[]);
        (0..2).for_each(|_| emulators.quarantine.put("{}", &[]));
        for job in ["1", "2", "3"] {
            let id = AttributeValue::S(job.to_owned());
            emulators.jobs.put(&Item::from([("job_id".to_owned(), id)]));
        }
        let shown = |body: &str, status: u16, answer: &str| {
            let response = json!({"statusCode": status, "body": answer});
            let line = line(body.as_bytes(), &response, &emulators, Screen::new());
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let totals = "contacts 1 quarantine 2 jobs 3";
        let (received, refused) = (r#"{"received": true}"#, r#"{"error": "Invalid signature"}"#);
        for (body, status, answer, id) in [
            (r#"{"id": "delivery-1"}"#, 200, received, "delivery-1"),
            ("not JSON", 200, received, "-"),
            // Anybody may have sent it.
            (r#"{"id": "delivery-1"}"#, 401, refused, "-"),
        ] {
            assert_eq!(
                shown(body, status, answer),
                format!("{status} {answer} {id} {totals}")
            );
        }
    }
}

//! Tests the receiver's own calls, which it makes without the SDK's clients: each service accepts the
//! requests with their signatures, and the receiver understands the responses.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use aws_sdk_sqs::types::QueueAttributeName::FifoQueue;
use serde_json::{Value, json};
use titanx_receiver::{queue::is_fifo, receiver::Receiver};

use super::{Service, client, unique};
use titanx_testbed::{
    emulators::{Emulators, SIGNING_SECRET},
    front_door::{Answer, deliver, receiver},
    titanx::{completed_job, contact, envelope, signed},
};

/// A receiver with its own services, and SDK clients to check their state.
struct World {
    receiver: Receiver,
    environment: BTreeMap<&'static str, String>,
    dynamodb: Service<aws_sdk_dynamodb::Client>,
    sqs: Service<aws_sdk_sqs::Client>,
    _secrets_manager: Service<aws_sdk_secretsmanager::Client>,
}

impl World {
    async fn new(contacts: &str) -> Self {
        let dynamodb = Service::start(
            "CROSS_CHECK_DYNAMODB",
            |emulators| &emulators.dynamodb_url,
            |url| client!(aws_sdk_dynamodb, url),
        );
        let sqs = Service::start(
            "CROSS_CHECK_SQS",
            |emulators| &emulators.sqs_url,
            |url| client!(aws_sdk_sqs, url),
        );
        let secrets_manager = Service::start(
            "CROSS_CHECK_SECRETS_MANAGER",
            |emulators| &emulators.secrets_manager_url,
            |url| client!(aws_sdk_secretsmanager, url),
        );
        let secret = secrets_manager.create_secret().name(unique("secret"));
        let secret = secret.secret_string(SIGNING_SECRET).send().await.unwrap();
        let environment = BTreeMap::from([
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "emulators".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "emulators".to_owned()),
            (
                "AWS_ENDPOINT_URL_DYNAMODB",
                url("CROSS_CHECK_DYNAMODB", &dynamodb, |it| &it.dynamodb_url),
            ),
            (
                "AWS_ENDPOINT_URL_SQS",
                url("CROSS_CHECK_SQS", &sqs, |it| &it.sqs_url),
            ),
            (
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                url("CROSS_CHECK_SECRETS_MANAGER", &secrets_manager, |it| {
                    &it.secrets_manager_url
                }),
            ),
            ("DELIVERIES_TABLE", table(&dynamodb, "delivery_id").await),
            ("JOBS_TABLE", table(&dynamodb, "job_id").await),
            ("CONTACTS_QUEUE_URL", queue(&sqs, contacts).await),
            ("QUARANTINE_QUEUE_URL", queue(&sqs, "quarantine").await),
            ("TITANX_WEBHOOK_SECRET_ARN", secret.arn.unwrap()),
        ]);
        Self {
            receiver: receiver(&environment),
            environment,
            dynamodb,
            sqs,
            _secrets_manager: secrets_manager,
        }
    }

    async fn deliver(&self, body: &str) -> Answer {
        deliver(&self.receiver, &signed(body)).await
    }

    async fn item(&self, table: &str, key: &str, id: &str) -> HashMap<String, AttributeValue> {
        let get = self.dynamodb.get_item();
        let get = get
            .table_name(&self.environment[table])
            .consistent_read(true);
        let get = get.key(key, AttributeValue::S(id.to_owned()));
        get.send().await.unwrap().item.expect("a record")
    }

    /// The messages on a queue, each with body, attributes and group id.
    async fn messages(&self, queue: &str) -> Vec<(String, Value, Option<String>)> {
        let receive = self.sqs.receive_message();
        let receive = receive.queue_url(&self.environment[queue]);
        let receive = receive
            .max_number_of_messages(10)
            .message_attribute_names("All");
        let receive = receive.message_system_attribute_names(
            aws_sdk_sqs::types::MessageSystemAttributeName::MessageGroupId,
        );
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        let messages = messages.into_iter().map(|message| {
            let attributes = message.message_attributes.unwrap_or_default();
            let attributes = attributes.into_iter().map(|(name, value)| {
                let value = json!([value.data_type, value.string_value.unwrap()]);
                (name, value)
            });
            let group = message.attributes.and_then(|it| it.into_values().next());
            (message.body.unwrap(), attributes.collect(), group)
        });
        messages.collect()
    }
}

fn url<C>(reference: &str, service: &Service<C>, url: fn(&Emulators) -> &str) -> String {
    std::env::var(reference).unwrap_or_else(|_| url(service.emulators()).to_owned())
}

async fn table(client: &aws_sdk_dynamodb::Client, key: &str) -> String {
    let name = unique("table");
    let attribute = AttributeDefinition::builder()
        .attribute_name(key)
        .attribute_type(ScalarAttributeType::S);
    let schema = KeySchemaElement::builder()
        .attribute_name(key)
        .key_type(KeyType::Hash);
    let create = client.create_table().table_name(&name);
    create
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(schema.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    name
}

/// A queue whose name ends as `kind` does.
async fn queue(client: &aws_sdk_sqs::Client, kind: &str) -> String {
    let name = format!("{}-{kind}", unique("queue"));
    let mut create = client.create_queue().queue_name(&name);
    if is_fifo(kind) {
        create = create.attributes(FifoQueue, "true");
    }
    create.send().await.unwrap().queue_url.unwrap()
}

/// A contact of unusual characters, with a job and ids to recognise it by.
fn unusual_contact(id: &str) -> String {
    let payload = json!({
        "id": "contact-1", "jobId": "job-1", "phone": "+1 (555) 010-0000",
        "firstName": "Zo\u{eb} \"\\ \u{7f} \u{2028} \u{1F600}", "lastName": "Example",
    });
    envelope(id, "job.contact.scored", &payload)
}

#[tokio::test]
async fn claims_sends_and_completes_a_contact_and_answers_duplicate_to_a_repeat() {
    let world = World::new("contacts").await;
    let body = unusual_contact("delivery-1");
    assert_eq!(world.deliver(&body).await, Answer::accepted());
    assert_eq!(world.deliver(&body).await, Answer::duplicate());

    let messages = world.messages("CONTACTS_QUEUE_URL").await;
    assert_eq!(messages.len(), 1);
    let (sent, attributes, _) = &messages[0];
    assert_eq!(*sent, body);
    assert_eq!(attributes["deliveryId"], json!(["String", "delivery-1"]));
    assert_eq!(attributes["jobId"], json!(["String", "job-1"]));
    assert_eq!(attributes["timestamp"][0], "Number");
    assert_eq!(attributes.as_object().unwrap().len(), 6);

    let record = world
        .item("DELIVERIES_TABLE", "delivery_id", "delivery-1")
        .await;
    assert_eq!(record["status"].as_s().unwrap(), "COMPLETED");
    assert_eq!(record["job_id"].as_s().unwrap(), "job-1");
    assert_eq!(record["contact_keys"].as_ss().unwrap().len(), 2);
    for number in ["expiration", "in_progress_expiration"] {
        assert!(record[number].as_n().unwrap().parse::<i64>().unwrap() > 0);
    }
    assert_eq!(record.len(), 8);
}

#[tokio::test]
async fn sends_group_and_deduplication_id_to_a_fifo_queue() {
    let world = World::new("contacts.fifo").await;
    let body = unusual_contact("delivery-1");
    assert_eq!(world.deliver(&body).await, Answer::accepted());
    let messages = world.messages("CONTACTS_QUEUE_URL").await;
    assert_eq!(messages[0].0, body);
    assert_eq!(messages[0].2.as_deref(), Some("job-1"));
}

#[tokio::test]
async fn takes_over_an_in_flight_delivery_only_after_its_lease() {
    let world = World::new("contacts").await;
    let now = i64::try_from(titanx_testbed::front_door::now_ms()).unwrap();
    for (id, lease_ends_ms, answered) in [
        ("delivery-1", now + 60_000, 429),
        ("delivery-2", now - 1, 200),
    ] {
        let put = world.dynamodb.put_item();
        let put = put.table_name(&world.environment["DELIVERIES_TABLE"]);
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let number = |value: i64| AttributeValue::N(value.to_string());
        put.item("delivery_id", text(id))
            .item("status", text("INPROGRESS"))
            .item("claimed_by", text("another"))
            .item("in_progress_expiration", number(lease_ends_ms))
            .item("expiration", number(now / 1000 + 600_000))
            .send()
            .await
            .unwrap();
        let answer = world.deliver(&contact(id)).await;
        assert_eq!(answer.status, answered, "{id}");
        // The lease that stands in the way says how long.
        let waits = answer.retry_after.is_some_and(|it| (50..=61).contains(&it));
        assert_eq!(waits, answered == 429, "{answer:?}");
    }
}

#[tokio::test]
async fn releases_the_claim_if_the_send_fails() {
    let world = World::new("contacts").await;
    let mut elsewhere = world.environment.clone();
    *elsewhere.get_mut("CONTACTS_QUEUE_URL").unwrap() += "-that-is-not-there";
    let event = signed(&contact("delivery-1"));
    assert_eq!(deliver(&receiver(&elsewhere), &event).await.status, 503);
    assert_eq!(
        world.deliver(&contact("delivery-1")).await,
        Answer::accepted()
    );
}

#[tokio::test]
async fn marks_a_job_completed_and_ignores_an_older_event() {
    let world = World::new("contacts").await;
    let newer = completed_job("delivery-1", "job-1");
    assert_eq!(world.deliver(&newer).await, Answer::accepted());
    let completed = world.item("JOBS_TABLE", "job_id", "job-1").await;
    assert_eq!(completed["delivery_id"].as_s().unwrap(), "delivery-1");

    let mut older: Value = serde_json::from_str(&completed_job("delivery-2", "job-1")).unwrap();
    older["timestamp"] = json!(older["timestamp"].as_i64().unwrap() - 1);
    assert_eq!(world.deliver(&older.to_string()).await, Answer::accepted());
    assert_eq!(world.item("JOBS_TABLE", "job_id", "job-1").await, completed);
}

#[tokio::test]
async fn quarantines_a_delivery_that_is_not_understood() {
    let world = World::new("contacts").await;
    let body = envelope("delivery-1", "job.unheard.of", &json!({}));
    assert_eq!(world.deliver(&body).await, Answer::quarantined());
    let messages = world.messages("QUARANTINE_QUEUE_URL").await;
    assert_eq!(messages[0].0, body);
    assert_eq!(
        messages[0].1,
        json!({
            "reason": ["String", "unknown_event_type"],
            "encoding": ["String", "text"],
            "deliveryId": ["String", "delivery-1"],
        })
    );
}

//! Tests that direct access to the emulators shows the same state as a client sees.

use aws_sdk_dynamodb::types::{StreamViewType, TimeToLiveStatus};

use super::client;
use titanx_testbed::emulators::{AttributeValue, Emulators, Item, SIGNING_SECRET};

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

#[tokio::test]
async fn starts_with_empty_tables_and_queues_and_the_secret() {
    let emulators = Emulators::start();
    let dynamodb = client!(aws_sdk_dynamodb, &emulators.dynamodb_url);
    let expiry = dynamodb.describe_time_to_live().table_name("deliveries");
    let expiry = expiry
        .send()
        .await
        .unwrap()
        .time_to_live_description
        .unwrap();
    assert_eq!(expiry.attribute_name(), Some("expiration"));
    assert_eq!(
        expiry.time_to_live_status(),
        Some(&TimeToLiveStatus::Enabled)
    );
    for (table, key) in [("deliveries", "delivery_id"), ("jobs", "job_id")] {
        let table = dynamodb.describe_table().table_name(table).send().await;
        let table = table.unwrap().table.unwrap();
        assert_eq!(table.key_schema()[0].attribute_name(), key);
        let stream = table.stream_specification();
        let view = stream.and_then(|stream| stream.stream_view_type());
        let followed = (key == "job_id").then_some(&StreamViewType::NewAndOldImages);
        assert_eq!(view, followed);
    }
    let counts = [
        emulators.deliveries.len(),
        emulators.jobs.len(),
        emulators.contacts.len(),
        emulators.contacts_fifo.len(),
        emulators.quarantine.len(),
    ];
    assert_eq!(counts, [0; 5]);
    assert_eq!(emulators.secret.value(), SIGNING_SECRET);
}

#[tokio::test]
async fn a_copied_queue_keeps_its_messages_and_what_was_refused_is_not_copied() {
    let emulators = Emulators::start();
    let copy = emulators.contacts.copy_to("copy");
    let sqs = client!(aws_sdk_sqs, &emulators.sqs_url);
    let send = |body: &str| {
        let send = sqs.send_message().queue_url(&emulators.contacts.url);
        send.message_body(body).send()
    };
    send("first").await.unwrap();
    send("").await.unwrap_err();
    let received = sqs.receive_message().queue_url(&copy.url).send().await;
    let [message] = received.unwrap().messages.unwrap().try_into().unwrap();
    assert_eq!(message.body(), Some("first"));
    let delete = sqs.delete_message().queue_url(&copy.url);
    let delete = delete.receipt_handle(message.receipt_handle().unwrap());
    delete.send().await.unwrap();
    assert_eq!([emulators.contacts.len(), copy.len()], [1, 0]);
    // Nothing flows back.
    copy.put("second", &[]);
    assert_eq!([emulators.contacts.len(), copy.len()], [1, 1]);
}

#[tokio::test]
async fn the_environment_names_every_resource() {
    let emulators = Emulators::start();
    let environment = emulators.environment();
    let dynamodb = client!(aws_sdk_dynamodb, &environment["AWS_ENDPOINT_URL_DYNAMODB"]);
    for table in ["DELIVERIES_TABLE", "JOBS_TABLE"] {
        let table = dynamodb.describe_table().table_name(&environment[table]);
        table.send().await.unwrap();
    }
    let sqs = client!(aws_sdk_sqs, &environment["AWS_ENDPOINT_URL_SQS"]);
    for queue in ["CONTACTS_QUEUE_URL", "QUARANTINE_QUEUE_URL"] {
        let send = sqs.send_message().queue_url(&environment[queue]);
        send.message_body(queue).send().await.unwrap();
    }
    assert_eq!(emulators.contacts.messages()[0].body, "CONTACTS_QUEUE_URL");
    assert_eq!(
        emulators.quarantine.messages()[0].body,
        "QUARANTINE_QUEUE_URL"
    );
    let url = &environment["AWS_ENDPOINT_URL_SECRETS_MANAGER"];
    let secrets = client!(aws_sdk_secretsmanager, url);
    let get = secrets.get_secret_value();
    let get = get.secret_id(&environment["TITANX_WEBHOOK_SECRET_ARN"]);
    let got = get.send().await.unwrap();
    assert_eq!(got.secret_string(), Some(SIGNING_SECRET));
}

#[tokio::test]
async fn puts_reads_and_deletes_items() {
    let emulators = Emulators::start();
    let dynamodb = client!(aws_sdk_dynamodb, &emulators.dynamodb_url);
    let item = Item::from([
        ("delivery_id".to_owned(), text("a")),
        ("expiration".to_owned(), AttributeValue::N("17".to_owned())),
    ]);
    emulators.deliveries.put(&item);
    let stored = aws_sdk_dynamodb::types::AttributeValue::S("a".to_owned());
    let get = dynamodb.get_item().table_name("deliveries");
    let got = get
        .key("delivery_id", stored)
        .send()
        .await
        .unwrap()
        .item
        .unwrap();
    assert_eq!(got["expiration"].as_n().unwrap(), "17");

    assert_eq!(emulators.deliveries.get("a"), Some(item.clone()));
    assert_eq!(emulators.deliveries.items(), [item]);
    emulators.deliveries.delete("a");
    assert_eq!(emulators.deliveries.get("a"), None);
    assert_eq!(emulators.deliveries.len(), 0);
}

#[test]
fn reads_more_items_than_fit_in_a_page() {
    let emulators = Emulators::start();
    for n in 0..30 {
        emulators.jobs.put(&Item::from([
            ("job_id".to_owned(), text(&n.to_string())),
            ("name".to_owned(), text(&"x".repeat(100_000))),
        ]));
    }
    assert_eq!(emulators.jobs.len(), 30);
}

#[tokio::test]
async fn reading_the_messages_does_not_change_the_queue() {
    let emulators = Emulators::start();
    let sqs = client!(aws_sdk_sqs, &emulators.sqs_url);
    let send = sqs.send_message().queue_url(&emulators.contacts_fifo.url);
    let send = send.message_group_id("group").message_deduplication_id("1");
    let attribute = aws_sdk_sqs::types::MessageAttributeValue::builder()
        .data_type("String")
        .string_value("webhook");
    let send = send.message_attributes("source", attribute.build().unwrap());
    send.message_body("body").send().await.unwrap();

    let look = || {
        let message = &emulators.contacts_fifo.messages()[0];
        assert_eq!(message.body, "body");
        assert_eq!(message.attribute("source"), Some("webhook"));
        assert_eq!(message.attribute("absent"), None);
        assert_eq!(message.attributes.len(), 1);
        assert_eq!(message.group_id.as_deref(), Some("group"));
        assert_eq!(message.deduplication_id.as_deref(), Some("1"));
    };
    look();
    let receive = sqs
        .receive_message()
        .queue_url(&emulators.contacts_fifo.url);
    let received = receive.send().await.unwrap().messages.unwrap();
    let id = received[0].message_id();
    assert_eq!(id, Some(&*emulators.contacts_fifo.messages()[0].id));
    look();
}

#[tokio::test]
async fn the_next_call_reads_a_rotated_secret() {
    let emulators = Emulators::start();
    let secrets = client!(aws_sdk_secretsmanager, &emulators.secrets_manager_url);
    emulators.secret.rotate("[\"first\",\"second\"]");
    let get = secrets.get_secret_value().secret_id(&emulators.secret.arn);
    let got = get.send().await.unwrap();
    assert_eq!(got.secret_string(), Some("[\"first\",\"second\"]"));
    assert_eq!(got.secret_string(), Some(&*emulators.secret.value()));
}

#[tokio::test]
async fn two_starts_are_independent() {
    let (one, other) = (Emulators::start(), Emulators::start());
    one.jobs
        .put(&Item::from([("job_id".to_owned(), text("a"))]));
    let sqs = client!(aws_sdk_sqs, &one.sqs_url);
    let send = sqs.send_message().queue_url(&one.contacts.url);
    send.message_body("body").send().await.unwrap();
    assert_eq!((one.jobs.len(), one.contacts.len()), (1, 1));
    assert_eq!((other.jobs.len(), other.contacts.len()), (0, 0));
}

#[test]
fn dropping_the_emulators_closes_their_ports() {
    let emulators = Emulators::start();
    let environment = emulators.environment();
    let urls = environment
        .values()
        .filter_map(|url| url.strip_prefix("http://"));
    let addresses = urls.filter(|url| !url.contains('/')).collect::<Vec<_>>();
    assert_eq!(addresses.len(), 3);
    for address in &addresses {
        std::net::TcpStream::connect(address).unwrap();
    }
    drop(emulators);
    let closed = |address: &&str| std::net::TcpStream::connect(address).is_err();
    // The runtime ends in its own time.
    let ended = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        addresses.iter().all(closed)
    });
    assert!(ended);
}

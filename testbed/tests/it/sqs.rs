//! Tests of SQS: messages arrive, a FIFO queue drops duplicates, and invalid messages are refused.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::QueueAttributeName::{
    ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible, ContentBasedDeduplication,
    FifoQueue, QueueArn, RedrivePolicy, VisibilityTimeout,
};
use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
};

use super::{Service, client, unique};

const MIB: usize = 1_048_576;

/// A queue for one test.
struct Queue {
    service: Service<Client>,
    url: String,
}

impl Queue {
    async fn standard() -> Self {
        Self::create(&unique("queue"), &[]).await
    }

    async fn fifo() -> Self {
        Self::create(&unique_fifo(), &[(FifoQueue, "true")]).await
    }

    async fn create(name: &str, attributes: &[(QueueAttributeName, &str)]) -> Self {
        let service = Service::start(
            "CROSS_CHECK_SQS",
            |emulators| &emulators.sqs_url,
            |url| client!(aws_sdk_sqs, url),
        );
        let url = create(&service, name, attributes).await.unwrap();
        Self { service, url }
    }

    fn send(&self, body: &str) -> SendMessageFluentBuilder {
        let send = self.service.send_message().queue_url(&self.url);
        send.message_body(body)
    }

    /// A request to send a message to a FIFO queue.
    fn send_in(&self, group: &str, deduplication_id: &str) -> SendMessageFluentBuilder {
        let send = self.send(deduplication_id).message_group_id(group);
        send.message_deduplication_id(deduplication_id)
    }

    /// A request to receive up to ten messages with all attributes.
    fn receive(&self) -> ReceiveMessageFluentBuilder {
        let receive = self.service.receive_message().queue_url(&self.url);
        receive
            .max_number_of_messages(10)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All)
    }

    async fn delete(&self, message: &Message) {
        let delete = self.service.delete_message().queue_url(&self.url);
        let delete = delete.receipt_handle(message.receipt_handle().unwrap());
        delete.send().await.unwrap();
    }

    async fn make_visible(&self, message: &Message) {
        let change = self
            .service
            .change_message_visibility()
            .queue_url(&self.url);
        let change = change.receipt_handle(message.receipt_handle().unwrap());
        change.visibility_timeout(0).send().await.unwrap();
    }

    async fn attribute(&self, name: QueueAttributeName) -> String {
        let get = self.service.get_queue_attributes().queue_url(&self.url);
        let attributes = get.attribute_names(name.clone()).send().await.unwrap();
        attributes.attributes.unwrap()[&name].clone()
    }

    /// The numbers of visible messages and of messages in flight.
    async fn counts(&self) -> (String, String) {
        let in_flight = self.attribute(ApproximateNumberOfMessagesNotVisible).await;
        (self.attribute(ApproximateNumberOfMessages).await, in_flight)
    }
}

fn unique_fifo() -> String {
    unique("queue") + ".fifo"
}

async fn create(
    client: &Client,
    name: &str,
    attributes: &[(QueueAttributeName, &str)],
) -> Result<String, String> {
    let mut create = client.create_queue().queue_name(name);
    for (attribute, value) in attributes {
        create = create.attributes(attribute.clone(), *value);
    }
    match create.send().await {
        Ok(created) => Ok(created.queue_url.unwrap()),
        Err(error) => Err(code(&error)),
    }
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    let error = error.as_service_error().expect("the service answered");
    error.code().expect("an error has a code").to_owned()
}

/// The error code with which the message is refused.
async fn refusal(send: SendMessageFluentBuilder) -> String {
    code(&send.send().await.expect_err("the message is to be refused"))
}

async fn sent(send: SendMessageFluentBuilder) -> SendMessageOutput {
    send.send().await.expect("the message is to be taken")
}

async fn received(receive: ReceiveMessageFluentBuilder) -> Vec<Message> {
    receive.send().await.unwrap().messages.unwrap_or_default()
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.body().unwrap())
        .collect()
}

fn text(value: &str) -> MessageAttributeValue {
    typed("String", value)
}

fn typed(data_type: &str, value: &str) -> MessageAttributeValue {
    let attribute = MessageAttributeValue::builder().data_type(data_type);
    attribute.string_value(value).build().unwrap()
}

fn binary(value: &[u8]) -> MessageAttributeValue {
    let attribute = MessageAttributeValue::builder().data_type("Binary");
    attribute.binary_value(Blob::new(value)).build().unwrap()
}

#[tokio::test]
async fn receives_a_message_with_body_and_attributes() {
    let queue = Queue::standard().await;
    let send = queue.send("{\"name\":\"Zoë\"}\n");
    let send = send.message_attributes("eventType", text("job.contact.scored"));
    let send = send.message_attributes("timestamp", typed("Number", "1767614400000"));
    let answer = sent(send.message_attributes("raw", binary(&[0, 255]))).await;

    let messages = received(queue.receive()).await;
    assert_eq!(bodies(&messages), ["{\"name\":\"Zoë\"}\n"]);
    assert_eq!(messages[0].message_id(), answer.message_id());
    let attributes = messages[0].message_attributes().unwrap();
    assert_eq!(attributes.len(), 3);
    assert_eq!(attributes["eventType"], text("job.contact.scored"));
    assert_eq!(attributes["timestamp"], typed("Number", "1767614400000"));
    assert_eq!(attributes["raw"], binary(&[0, 255]));
    let system = messages[0].attributes().unwrap();
    assert_eq!(
        system[&MessageSystemAttributeName::ApproximateReceiveCount],
        "1"
    );
    assert!(system.contains_key(&MessageSystemAttributeName::SentTimestamp));
}

/// The expected digests were computed with Python's `hashlib` and `struct`, as the developer guide
/// describes.
#[tokio::test]
async fn returns_digests_of_body_and_attributes() {
    let queue = Queue::standard().await;
    let id = "99999999-8888-4777-8666-555555555555";
    let send = queue.send("{\"name\":\"Zoë\"}");
    let send = send.message_attributes("timestamp", typed("Number", "1767614400000"));
    let send = send.message_attributes("raw", binary(&[0, 1, 2, 255]));
    let answer = sent(send.message_attributes("deliveryId", text(id))).await;
    let body = Some("5b48968cc531f2a1dc6d5369932f42b5");
    let attributes = Some("46ae6f70b368fa66c042572eb20fc412");
    assert_eq!(answer.md5_of_message_body(), body);
    assert_eq!(answer.md5_of_message_attributes(), attributes);

    let messages = received(queue.receive().visibility_timeout(0)).await;
    assert_eq!(messages[0].md5_of_body(), body);
    assert_eq!(messages[0].md5_of_message_attributes(), attributes);

    // The digest covers only the requested attributes.
    let receive = queue.service.receive_message().queue_url(&queue.url);
    let messages = received(receive.message_attribute_names("deliveryId")).await;
    let of_one = Some("76bb71bef99c0b03c50feeca06b3872d");
    assert_eq!(messages[0].md5_of_message_attributes(), of_one);
    assert_eq!(messages[0].message_attributes().unwrap().len(), 1);
}

#[tokio::test]
async fn receives_only_requested_attributes() {
    let queue = Queue::standard().await;
    sent(
        queue
            .send("body")
            .message_attributes("source", text("webhook")),
    )
    .await;
    let receive = queue.service.receive_message().queue_url(&queue.url);
    let messages = received(receive).await;
    assert_eq!(bodies(&messages), ["body"]);
    assert!(
        messages[0]
            .message_attributes()
            .is_none_or(HashMap::is_empty)
    );
    assert!(messages[0].attributes().is_none_or(HashMap::is_empty));
    assert_eq!(messages[0].md5_of_message_attributes(), None);
}

#[tokio::test]
async fn refuses_an_empty_body() {
    let queue = Queue::standard().await;
    assert_eq!(refusal(queue.send("")).await, "MissingParameter");
}

#[tokio::test]
async fn refuses_every_disallowed_character_in_a_body() {
    let queue = Queue::standard().await;
    let controls = (0..=0x1f).filter(|c| ![0x9, 0xa, 0xd].contains(c));
    for refused in controls.chain([0xfffe, 0xffff]) {
        let refused = char::from_u32(refused).unwrap();
        let code = refusal(queue.send(&format!("before{refused}after"))).await;
        assert_eq!(code, "InvalidMessageContents", "{refused:?}");
    }
}

#[tokio::test]
async fn accepts_every_boundary_of_the_allowed_characters() {
    let queue = Queue::standard().await;
    let carried = "\t\n\r \u{7f}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{1fffe}\u{1ffff}\u{10ffff}";
    sent(queue.send(carried)).await;
    assert_eq!(bodies(&received(queue.receive()).await), [carried]);
}

#[tokio::test]
async fn a_body_has_up_to_one_mebibyte() {
    let queue = Queue::standard().await;
    // Two bytes each.
    let longest = "é".repeat(MIB / 2);
    sent(queue.send(&longest)).await;
    let code = refusal(queue.send(&(longest.clone() + "x"))).await;
    assert_eq!(code, "InvalidParameterValue");
    assert_eq!(bodies(&received(queue.receive()).await), [longest]);
}

#[tokio::test]
async fn a_received_message_is_invisible_until_its_timeout() {
    let timeout = [(VisibilityTimeout, "1")];
    let queue = Queue::create(&unique("queue"), &timeout).await;
    sent(queue.send("body")).await;
    let long = queue.receive().visibility_timeout(600);
    let first = received(long).await;
    assert_eq!(bodies(&first), ["body"]);
    assert!(received(queue.receive()).await.is_empty());
    assert_eq!(queue.counts().await, ("0".to_owned(), "1".to_owned()));

    queue.make_visible(&first[0]).await;
    assert_eq!(queue.counts().await, ("1".to_owned(), "0".to_owned()));
    assert_eq!(bodies(&received(queue.receive()).await), ["body"]);

    // Now the queue's own visibility timeout ends during a long poll.
    let again = received(queue.receive().wait_time_seconds(20)).await;
    let system = again[0].attributes().unwrap();
    assert_eq!(
        system[&MessageSystemAttributeName::ApproximateReceiveCount],
        "3"
    );
    assert_eq!(again[0].message_id(), first[0].message_id());
}

#[tokio::test]
async fn deletes_a_message() {
    let queue = Queue::standard().await;
    sent(queue.send("body")).await;
    let messages = received(queue.receive()).await;
    queue.delete(&messages[0]).await;
    assert_eq!(queue.counts().await, ("0".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn purges_a_queue() {
    let queue = Queue::standard().await;
    for _ in 0..3 {
        sent(queue.send("body")).await;
    }
    assert_eq!(queue.counts().await.0, "3");
    let purge = queue.service.purge_queue().queue_url(&queue.url);
    purge.send().await.unwrap();
    assert_eq!(queue.counts().await.0, "0");
}

#[tokio::test]
async fn receives_one_to_ten_messages() {
    let queue = Queue::standard().await;
    for _ in 0..12 {
        sent(queue.send("body")).await;
    }
    for refused in [0, 11] {
        let receive = queue.receive().max_number_of_messages(refused);
        let error = receive.send().await.unwrap_err();
        assert_eq!(code(&error), "InvalidParameterValue");
    }
    let one = queue.service.receive_message().queue_url(&queue.url);
    assert_eq!(received(one).await.len(), 1);
    assert_eq!(received(queue.receive()).await.len(), 10);
    assert_eq!(received(queue.receive()).await.len(), 1);
}

#[tokio::test]
async fn refuses_an_invalid_receipt_handle() {
    let queue = Queue::standard().await;
    let delete = queue.service.delete_message().queue_url(&queue.url);
    let error = delete.receipt_handle("none").send().await.unwrap_err();
    assert_eq!(code(&error), "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn moves_a_message_received_too_often_to_the_dead_letter_queue() {
    let dead = Queue::standard().await;
    let target = dead.attribute(QueueArn).await;
    let policy = format!("{{\"deadLetterTargetArn\":\"{target}\",\"maxReceiveCount\":2}}");
    let attributes = [(RedrivePolicy, &*policy)];
    let url = create(&dead.service, &unique("queue"), &attributes).await;
    let receive = |url: &str| {
        let receive = dead.service.receive_message().queue_url(url);
        received(receive.visibility_timeout(0).message_attribute_names("All"))
    };

    let url = url.unwrap();
    let send = dead.service.send_message().queue_url(&url);
    let send = send.message_attributes("source", text("webhook"));
    sent(send.message_body("body")).await;
    for _ in 0..2 {
        assert_eq!(bodies(&receive(&url).await), ["body"]);
        assert!(receive(&dead.url).await.is_empty());
    }
    assert!(receive(&url).await.is_empty());
    let moved = receive(&dead.url).await;
    assert_eq!(bodies(&moved), ["body"]);
    let attributes = moved[0].message_attributes().unwrap();
    assert_eq!(attributes["source"], text("webhook"));
}

#[tokio::test]
async fn reports_an_absent_queue() {
    let mut queue = Queue::standard().await;
    queue.url += "-absent";
    let code = refusal(queue.send("body")).await;
    assert_eq!(code, "AWS.SimpleQueueService.NonExistentQueue");
}

#[tokio::test]
async fn finds_a_queue_by_its_name() {
    let name = unique("queue");
    let queue = Queue::create(&name, &[]).await;
    let found = queue.service.get_queue_url().queue_name(&name).send().await;
    assert_eq!(found.unwrap().queue_url(), Some(&*queue.url));
    assert!(
        queue
            .attribute(QueueArn)
            .await
            .ends_with(&format!(":{name}"))
    );
    let absent = queue.service.get_queue_url().queue_name(unique("absent"));
    let error = absent.send().await.unwrap_err();
    assert_eq!(code(&error), "AWS.SimpleQueueService.NonExistentQueue");
}

#[tokio::test]
async fn creating_a_queue_again_changes_nothing() {
    let name = unique("queue");
    let queue = Queue::create(&name, &[(VisibilityTimeout, "40")]).await;
    let again = create(&queue.service, &name, &[(VisibilityTimeout, "40")]).await;
    assert_eq!(again, Ok(queue.url.clone()));
    let other = create(&queue.service, &name, &[(VisibilityTimeout, "41")]).await;
    assert_eq!(other, Err("QueueAlreadyExists".to_owned()));
}

#[tokio::test]
async fn a_fifo_queue_needs_a_message_group() {
    let queue = Queue::fifo().await;
    let send = queue.send("body").message_deduplication_id("1");
    assert_eq!(refusal(send).await, "MissingParameter");
}

#[tokio::test]
async fn a_fifo_queue_needs_a_deduplication_id() {
    let queue = Queue::fifo().await;
    let send = queue.send("body").message_group_id("group");
    assert_eq!(refusal(send).await, "InvalidParameterValue");
}

#[tokio::test]
async fn a_fifo_queue_refuses_a_delay_for_one_message() {
    let queue = Queue::fifo().await;
    let send = queue.send_in("group", "1").delay_seconds(1);
    assert_eq!(refusal(send).await, "InvalidParameterValue");
}

#[tokio::test]
async fn a_fifo_queue_drops_a_message_whose_deduplication_id_it_has_seen() {
    let queue = Queue::fifo().await;
    let first = sent(queue.send_in("group", "1")).await;
    // Even with another group and another body.
    let second = queue.send_in("other", "1").message_body("other");
    let second = sent(second).await;
    assert_eq!(second.message_id(), first.message_id());
    assert_eq!(second.sequence_number(), first.sequence_number());
    assert_ne!(second.md5_of_message_body(), first.md5_of_message_body());
    let messages = received(queue.receive()).await;
    assert_eq!(bodies(&messages), ["1"]);

    // Even after the first message was deleted.
    queue.delete(&messages[0]).await;
    sent(queue.send_in("group", "1")).await;
    assert_eq!(queue.counts().await, ("0".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn receives_the_group_and_deduplication_id_of_a_fifo_message() {
    let queue = Queue::fifo().await;
    sent(queue.send_in("group", "1")).await;
    let messages = received(queue.receive()).await;
    let system = messages[0].attributes().unwrap();
    assert_eq!(system[&MessageSystemAttributeName::MessageGroupId], "group");
    assert_eq!(
        system[&MessageSystemAttributeName::MessageDeduplicationId],
        "1"
    );
}

#[tokio::test]
async fn a_fifo_queue_can_deduplicate_by_content() {
    let attributes = [(FifoQueue, "true"), (ContentBasedDeduplication, "true")];
    let queue = Queue::create(&unique_fifo(), &attributes).await;
    for body in ["one", "two", "one"] {
        let send = queue.send(body).message_group_id("group");
        // The content does not include attributes.
        sent(send.message_attributes("at", text(&unique("now")))).await;
    }
    assert_eq!(bodies(&received(queue.receive()).await), ["one", "two"]);
}

#[tokio::test]
async fn a_fifo_queue_keeps_the_order_of_a_group() {
    let queue = Queue::fifo().await;
    for id in ["1", "2", "3"] {
        sent(queue.send_in("group", id)).await;
    }
    let first = queue.receive().max_number_of_messages(1);
    let first = received(first).await;
    assert_eq!(bodies(&first), ["1"]);
    // A message in flight blocks its own group, but not the others.
    sent(queue.send_in("other", "4")).await;
    assert_eq!(bodies(&received(queue.receive()).await), ["4"]);
    queue.delete(&first[0]).await;
    assert_eq!(bodies(&received(queue.receive()).await), ["2", "3"]);
}

/// Behaviour that AWS documents but the other implementations lack.
mod documented {
    use std::time::Duration;

    use super::*;

    /// A queue and its dead-letter queue, which has these messages.
    async fn with_dead_letters(bodies: &[&str]) -> (Queue, String, String) {
        let dead = Queue::standard().await;
        let source = dead.attribute(QueueArn).await;
        let policy = format!("{{\"deadLetterTargetArn\":\"{source}\",\"maxReceiveCount\":1}}");
        let attributes = [(RedrivePolicy, &*policy)];
        let url = create(&dead.service, &unique("queue"), &attributes).await;
        for body in bodies {
            sent(
                dead.send(body)
                    .message_attributes("source", text("webhook")),
            )
            .await;
        }
        (dead, source, url.unwrap())
    }

    #[tokio::test]
    async fn a_task_moves_dead_letters_back() {
        let (dead, source, url) = with_dead_letters(&["a", "b"]).await;
        let client = &dead.service;
        let tasks = || {
            let list = client.list_message_move_tasks().source_arn(&source);
            async { list.send().await.unwrap().results.unwrap_or_default() }
        };
        assert!(tasks().await.is_empty());
        let start = client.start_message_move_task().source_arn(&source);
        let handle = start.send().await.unwrap().task_handle;
        assert!(handle.is_some());
        let [task] = &tasks().await[..] else { panic!() };
        assert_eq!(task.status(), Some("COMPLETED"));
        assert_eq!(task.approximate_number_of_messages_moved(), 2);
        let receive = client.receive_message().queue_url(&url);
        let receive = receive
            .max_number_of_messages(10)
            .message_attribute_names("All");
        let moved = received(receive).await;
        assert_eq!(bodies(&moved), ["a", "b"]);
        let attributes = moved[0].message_attributes().unwrap();
        assert_eq!(attributes["source"], text("webhook"));
        assert_eq!(dead.counts().await, ("0".to_owned(), "0".to_owned()));
    }

    #[tokio::test]
    async fn a_task_moves_so_many_messages_in_a_second() {
        let (dead, source, _) = with_dead_letters(&["a", "b", "c"]).await;
        let client = &dead.service;
        let start = || client.start_message_move_task().source_arn(&source);
        let slowly = start().max_number_of_messages_per_second(2);
        slowly.send().await.unwrap();
        let emulators = dead.service.emulators();
        for (seconds, status, moved) in [(0, "RUNNING", 0), (1, "RUNNING", 2), (1, "COMPLETED", 3)]
        {
            emulators.advance_queues(Duration::from_secs(seconds));
            let list = client.list_message_move_tasks().source_arn(&source);
            let listed = list.send().await.unwrap().results.unwrap();
            assert_eq!(listed[0].status(), Some(status));
            assert_eq!(listed[0].approximate_number_of_messages_moved(), moved);
            if status == "RUNNING" {
                let error = start().send().await.unwrap_err();
                assert_eq!(code(&error), "UnsupportedOperation");
            }
        }
    }

    #[tokio::test]
    async fn only_a_dead_letter_queue_is_moved() {
        let queue = Queue::standard().await;
        let arn = queue.attribute(QueueArn).await;
        let start = queue.service.start_message_move_task().source_arn(&arn);
        let error = start.send().await.unwrap_err();
        assert_eq!(code(&error), "InvalidParameterValue");
        let absent = format!("{arn}-absent");
        let start = queue.service.start_message_move_task().source_arn(absent);
        let error = start.send().await.unwrap_err();
        assert_eq!(code(&error), "ResourceNotFoundException");
    }

    #[tokio::test]
    async fn attributes_count_towards_the_size_of_a_message() {
        let queue = Queue::standard().await;
        let attribute = "name".len() + "String".len() + "value".len();
        let with = |body: usize| {
            let send = queue.send(&"x".repeat(body));
            send.message_attributes("name", text("value"))
        };
        sent(with(MIB - attribute)).await;
        let code = refusal(with(MIB - attribute + 1)).await;
        assert_eq!(code, "InvalidParameterValue");
    }

    #[tokio::test]
    async fn a_string_attribute_allows_the_same_characters_as_a_body() {
        let queue = Queue::standard().await;
        let carried = text("\t\n\r \u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}");
        sent(queue.send("body").message_attributes("name", carried)).await;
        for refused in ["\0", "\u{b}", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            let send = queue.send("body").message_attributes("name", text(refused));
            assert_eq!(refusal(send).await, "InvalidParameterValue", "{refused:?}");
        }
    }

    #[tokio::test]
    async fn an_attribute_needs_a_value() {
        let queue = Queue::standard().await;
        for empty in [text(""), typed("Number", ""), binary(&[])] {
            let send = queue.send("body").message_attributes("name", empty);
            assert_eq!(refusal(send).await, "InvalidParameterValue");
        }
    }

    #[tokio::test]
    async fn an_attribute_is_a_string_a_number_or_binary() {
        let queue = Queue::standard().await;
        sent(
            queue
                .send("body")
                .message_attributes("name", typed("String.uuid", "x")),
        )
        .await;
        for refused in ["string", "Text", ""] {
            let send = queue.send("body");
            let send = send.message_attributes("name", typed(refused, "x"));
            assert_eq!(refusal(send).await, "InvalidParameterValue", "{refused:?}");
        }
    }

    #[tokio::test]
    async fn an_attribute_has_a_name_of_letters_digits_and_single_dots() {
        let queue = Queue::standard().await;
        for name in ["a", "A-1_b.c", &"x".repeat(256)] {
            sent(queue.send("body").message_attributes(name, text("x"))).await;
        }
        let long = "x".repeat(257);
        for name in [
            "", ".a", "a.", "a..b", "a b", "é", "AWS.a", "aws.a", "Amazon.a", &long,
        ] {
            let send = queue.send("body").message_attributes(name, text("x"));
            assert_eq!(refusal(send).await, "InvalidParameterValue", "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_message_has_up_to_ten_attributes() {
        let queue = Queue::standard().await;
        let with = |attributes: usize| {
            (0..attributes).fold(queue.send("body"), |send, n| {
                send.message_attributes(format!("name{n}"), text("x"))
            })
        };
        sent(with(10)).await;
        assert_eq!(refusal(with(11)).await, "InvalidParameterValue");
    }

    #[tokio::test]
    async fn a_group_or_deduplication_id_has_up_to_128_letters_digits_and_punctuation_marks() {
        let queue = Queue::fifo().await;
        let marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
        let longest = format!("{marks:0<128}");
        sent(queue.send_in(&longest, &longest)).await;
        for refused in ["", " ", "a b", "é", "\u{7f}", "a\n", &(longest + "0")] {
            let group = queue.send("body").message_group_id(refused);
            let group = group.message_deduplication_id("1");
            assert_eq!(refusal(group).await, "InvalidParameterValue", "{refused:?}");
            let id = queue.send("body").message_group_id("group");
            let id = id.message_deduplication_id(refused);
            assert_eq!(refusal(id).await, "InvalidParameterValue", "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_standard_queue_accepts_a_group_but_no_deduplication_id() {
        let queue = Queue::standard().await;
        sent(queue.send("body").message_group_id("group")).await;
        let send = queue.send("body").message_deduplication_id("1");
        assert_eq!(refusal(send).await, "InvalidParameterValue");
    }

    #[tokio::test]
    async fn only_the_name_of_a_fifo_queue_ends_in_fifo() {
        let queue = Queue::standard().await;
        let plain = create(&queue.service, &unique_fifo(), &[]).await;
        assert_eq!(plain, Err("InvalidParameterValue".to_owned()));
        let fifo = create(&queue.service, &unique("queue"), &[(FifoQueue, "true")]).await;
        assert_eq!(fifo, Err("InvalidParameterValue".to_owned()));
    }

    #[tokio::test]
    async fn a_message_can_be_deleted_only_by_its_latest_receipt() {
        let queue = Queue::standard().await;
        sent(queue.send("body")).await;
        let first = received(queue.receive().visibility_timeout(0)).await;
        let second = received(queue.receive()).await;
        queue.delete(&first[0]).await;
        assert_eq!(queue.counts().await.1, "1");
        queue.delete(&second[0]).await;
        queue.delete(&second[0]).await;
        assert_eq!(queue.counts().await.1, "0");
    }

    #[tokio::test]
    async fn only_the_visibility_of_a_message_in_flight_can_be_changed() {
        let queue = Queue::standard().await;
        sent(queue.send("body")).await;
        let message = &received(queue.receive()).await[0];
        queue.make_visible(message).await;
        let change = queue.service.change_message_visibility();
        let change = change.queue_url(&queue.url).visibility_timeout(10);
        let change = change.receipt_handle(message.receipt_handle().unwrap());
        let error = change.send().await.unwrap_err();
        assert_eq!(code(&error), "AWS.SimpleQueueService.MessageNotInflight");
    }

    #[tokio::test]
    async fn a_fifo_queue_forgets_a_deduplication_id_after_five_minutes() {
        let queue = Queue::fifo().await;
        let emulators = queue.service.emulators();
        let first = sent(queue.send_in("group", "1")).await;
        emulators.advance_queues(Duration::from_secs(5 * 60 - 10));
        let within = sent(queue.send_in("group", "1")).await;
        assert_eq!(within.message_id(), first.message_id());
        emulators.advance_queues(Duration::from_secs(10));
        let after = sent(queue.send_in("group", "1")).await;
        assert_ne!(after.message_id(), first.message_id());
        assert_eq!(queue.counts().await.0, "2");
    }
}

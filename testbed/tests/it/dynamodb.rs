//! Tests of DynamoDB: conditional writes of one item.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue::{self, N, S};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ReturnValue,
    ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TimeToLiveSpecification,
    TimeToLiveStatus,
};

use super::{Service, client, unique};

type Item = HashMap<String, AttributeValue>;

/// A table for one test, with the key `delivery_id`.
struct Table {
    service: Service<Client>,
    name: String,
}

impl Table {
    async fn create() -> Self {
        let service = Service::start(
            "CROSS_CHECK_DYNAMODB",
            |emulators| &emulators.dynamodb_url,
            |url| client!(aws_sdk_dynamodb, url),
        );
        let name = unique("deliveries");
        let key = AttributeDefinition::builder()
            .attribute_name("delivery_id")
            .attribute_type(ScalarAttributeType::S);
        let schema = KeySchemaElement::builder()
            .attribute_name("delivery_id")
            .key_type(KeyType::Hash);
        let table = service.create_table().table_name(&name);
        table
            .attribute_definitions(key.build().unwrap())
            .key_schema(schema.build().unwrap())
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await
            .unwrap();
        Self { service, name }
    }

    fn put(&self, item: Item) -> PutItemFluentBuilder {
        let put = self.service.put_item().table_name(&self.name);
        put.set_item(Some(item))
    }

    fn update(&self, id: &str) -> UpdateItemFluentBuilder {
        let update = self.service.update_item().table_name(&self.name);
        update.key("delivery_id", text(id))
    }

    fn delete(&self, id: &str) -> DeleteItemFluentBuilder {
        let delete = self.service.delete_item().table_name(&self.name);
        delete.key("delivery_id", text(id))
    }

    async fn get(&self, id: &str) -> Option<Item> {
        let get = self.service.get_item().table_name(&self.name);
        let get = get.key("delivery_id", text(id)).consistent_read(true);
        get.send().await.unwrap().item
    }
}

fn text(value: &str) -> AttributeValue {
    S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    N(value.to_string())
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// A record with the status `INPROGRESS`, claimed by `owner` until `lease`.
fn record(id: &str, owner: &str, lease: u64) -> Item {
    item([
        ("delivery_id", text(id)),
        ("status", text("INPROGRESS")),
        ("claimed_by", text(owner)),
        ("in_progress_expiration", number(lease)),
    ])
}

/// A claim at the time `now`, of an absent id or of one whose lease has ended.
fn claim(put: PutItemFluentBuilder, now: u64) -> PutItemFluentBuilder {
    put.condition_expression(
        "attribute_not_exists(delivery_id) OR (#status = :p AND in_progress_expiration < :now)",
    )
    .expression_attribute_names("#status", "status")
    .expression_attribute_values(":p", text("INPROGRESS"))
    .expression_attribute_values(":now", number(now))
    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

/// The old item that a failed condition returned.
fn refused_by(error: PutItemError) -> Option<Item> {
    match error {
        PutItemError::ConditionalCheckFailedException(failed) => failed.item,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_conditional_put_creates_an_absent_item() {
    let table = Table::create().await;
    let mine = record("a", "me", 10);
    claim(table.put(mine.clone()), 5).send().await.unwrap();
    assert_eq!(table.get("a").await, Some(mine));
}

#[tokio::test]
async fn a_failed_condition_returns_the_old_item_and_changes_nothing() {
    let table = Table::create().await;
    let theirs = record("a", "they", 10);
    table.put(theirs.clone()).send().await.unwrap();
    let refused = claim(table.put(record("a", "me", 20)), 5).send().await;
    let refused = refused.unwrap_err().into_service_error();
    assert_eq!(refused_by(refused), Some(theirs.clone()));
    assert_eq!(table.get("a").await, Some(theirs));
}

#[tokio::test]
async fn a_failed_condition_returns_no_item_unless_requested() {
    let table = Table::create().await;
    table.put(record("a", "they", 10)).send().await.unwrap();
    let put = table.put(record("a", "me", 20));
    let put = put.condition_expression("attribute_not_exists(delivery_id)");
    let refused = put.send().await.unwrap_err().into_service_error();
    assert_eq!(refused_by(refused), None);
}

#[tokio::test]
async fn a_put_replaces_all_attributes_of_the_old_item() {
    let table = Table::create().await;
    let mut theirs = record("a", "they", 10);
    theirs.insert("expiration".to_owned(), number(1));
    table.put(theirs).send().await.unwrap();
    let mine = record("a", "me", 20);
    claim(table.put(mine.clone()), 11).send().await.unwrap();
    assert_eq!(table.get("a").await, Some(mine));
}

#[tokio::test]
async fn a_lease_that_ends_now_is_still_live() {
    let table = Table::create().await;
    table.put(record("a", "they", 10)).send().await.unwrap();
    let refused = claim(table.put(record("a", "me", 20)), 10).send().await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn one_of_fifty_concurrent_claims_succeeds() {
    let table = Table::create().await;
    let claims = (0..50).map(|owner| {
        let put = table.put(record("a", &owner.to_string(), 10));
        tokio::spawn(claim(put, 5).send())
    });
    let mut winners = 0;
    let mut seen = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        match claim.await.unwrap() {
            Ok(_) => winners += 1,
            Err(error) => seen.push(refused_by(error.into_service_error())),
        }
    }
    let standing = table.get("a").await;
    assert_eq!(winners, 1);
    assert_eq!(seen, vec![standing; 49]);
}

#[tokio::test]
async fn a_comparison_with_an_absent_attribute_is_false() {
    let table = Table::create().await;
    let bare = item([("delivery_id", text("a")), ("status", text("INPROGRESS"))]);
    table.put(bare).send().await.unwrap();
    let refused = claim(table.put(record("a", "me", 20)), u64::MAX)
        .send()
        .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn compares_numbers_by_value() {
    let table = Table::create().await;
    table.put(record("a", "they", 9)).send().await.unwrap();
    claim(table.put(record("a", "me", 20)), 10)
        .send()
        .await
        .unwrap();

    let later = 1_767_614_400_000_u64;
    table.put(record("b", "they", later)).send().await.unwrap();
    let early = claim(table.put(record("b", "me", later)), 999_999_999_999)
        .send()
        .await;
    assert!(early.is_err());
}

#[tokio::test]
async fn a_comparison_of_a_number_with_a_string_is_false() {
    let table = Table::create().await;
    let mut odd = record("a", "they", 0);
    odd.insert("in_progress_expiration".to_owned(), text("1"));
    table.put(odd).send().await.unwrap();
    let refused = claim(table.put(record("a", "me", 20)), 100).send().await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn only_the_owner_can_delete_a_record_in_progress() {
    let table = Table::create().await;
    let release = |id, owner| {
        let delete = table.delete(id);
        delete
            .condition_expression("claimed_by = :me AND #status = :p")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":me", text(owner))
            .expression_attribute_values(":p", text("INPROGRESS"))
            .send()
    };
    let mut completed = record("completed", "me", 10);
    completed.insert("status".to_owned(), text("COMPLETED"));
    table.put(completed).send().await.unwrap();
    table.put(record("open", "me", 10)).send().await.unwrap();

    assert!(release("open", "they").await.is_err());
    assert!(release("completed", "me").await.is_err());
    assert!(release("absent", "me").await.is_err());
    release("open", "me").await.unwrap();

    assert!(table.get("open").await.is_none());
    assert!(table.get("completed").await.is_some());
}

#[tokio::test]
async fn an_update_keeps_other_attributes() {
    let table = Table::create().await;
    table.put(record("a", "me", 10)).send().await.unwrap();
    let update = table.update("a");
    let update = update
        .update_expression(
            "SET #status = :completed, expiration = :end REMOVE in_progress_expiration",
        )
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":completed", text("COMPLETED"))
        .expression_attribute_values(":end", number(99))
        .return_values(ReturnValue::AllOld);
    let answer = update.send().await.unwrap();
    assert_eq!(answer.attributes, Some(record("a", "me", 10)));
    let updated = item([
        ("delivery_id", text("a")),
        ("status", text("COMPLETED")),
        ("claimed_by", text("me")),
        ("expiration", number(99)),
    ]);
    assert_eq!(table.get("a").await, Some(updated));
}

#[tokio::test]
async fn an_update_creates_an_absent_item() {
    let table = Table::create().await;
    let update = table.update("a");
    let update = update
        .update_expression("SET claimed_by = :me")
        .expression_attribute_values(":me", text("me"));
    update.send().await.unwrap();
    let created = item([("delivery_id", text("a")), ("claimed_by", text("me"))]);
    assert_eq!(table.get("a").await, Some(created));
}

#[tokio::test]
async fn a_conditional_update_does_not_overwrite_a_newer_item() {
    let table = Table::create().await;
    let complete = |at: u64| {
        let update = table.update("job");
        update
            .update_expression("SET completed_at = :at")
            .condition_expression("attribute_not_exists(completed_at) OR completed_at < :at")
            .expression_attribute_values(":at", number(at))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
    };
    complete(20).await.unwrap();
    let standing = item([("delivery_id", text("job")), ("completed_at", number(20))]);
    for not_newer in [10, 20] {
        let refused = complete(not_newer).await.unwrap_err().into_service_error();
        let UpdateItemError::ConditionalCheckFailedException(failed) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(failed.item, Some(standing.clone()));
    }
    complete(30).await.unwrap();
    assert_eq!(table.get("job").await.unwrap()["completed_at"], number(30));
}

#[tokio::test]
async fn a_reserved_word_needs_a_placeholder() {
    let table = Table::create().await;
    let put = table.put(record("a", "me", 10));
    let put = put.condition_expression("attribute_not_exists(status)");
    let error = put.send().await.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("ValidationException"));
}

#[tokio::test]
async fn refuses_a_value_that_no_expression_uses() {
    let table = Table::create().await;
    let put = claim(table.put(record("a", "me", 10)), 5);
    let put = put.expression_attribute_values(":unused", number(1));
    let error = put.send().await.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("ValidationException"));
}

#[tokio::test]
async fn a_key_has_1_to_2048_bytes() {
    let table = Table::create().await;
    // Two bytes each.
    let longest = "é".repeat(1024);
    let put = table.put(item([("delivery_id", text(&longest))]));
    put.send().await.unwrap();
    assert!(table.get(&longest).await.is_some());
    for refused in [String::new(), longest + "x"] {
        let put = table.put(item([("delivery_id", text(&refused))]));
        let error = put.send().await.unwrap_err().into_service_error();
        assert_eq!(error.code(), Some("ValidationException"));
    }
}

#[tokio::test]
async fn refuses_an_item_without_its_key() {
    let table = Table::create().await;
    let put = table.put(item([("status", text("INPROGRESS"))]));
    let error = put.send().await.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("ValidationException"));
}

#[tokio::test]
async fn keys_are_sensitive_to_case_and_unicode_normalisation() {
    let table = Table::create().await;
    for id in ["é", "e\u{301}", "É"] {
        let put = claim(table.put(record(id, "me", 10)), 5);
        put.send().await.unwrap();
    }
    assert!(table.get("e").await.is_none());
}

#[tokio::test]
async fn an_item_has_up_to_400_kib_including_names() {
    let table = Table::create().await;
    let names = "delivery_id".len() + "a".len() + "name".len();
    let fitting = "x".repeat(400 * 1024 - names);
    let with = |name: &str| item([("delivery_id", text("a")), ("name", text(name))]);
    table.put(with(&fitting)).send().await.unwrap();
    let put = table.put(with(&(fitting + "x")));
    let error = put.send().await.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("ValidationException"));
}

#[tokio::test]
async fn an_empty_string_is_allowed_except_in_a_key() {
    let table = Table::create().await;
    let unnamed = item([("delivery_id", text("a")), ("name", text(""))]);
    table.put(unnamed.clone()).send().await.unwrap();
    assert_eq!(table.get("a").await, Some(unnamed));
}

#[tokio::test]
async fn a_number_has_up_to_38_digits() {
    let table = Table::create().await;
    let with = |digits| item([("delivery_id", text("a")), ("n", N("9".repeat(digits)))]);
    table.put(with(38)).send().await.unwrap();
    assert_eq!(table.get("a").await, Some(with(38)));
    let error = table
        .put(with(39))
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert_eq!(error.code(), Some("ValidationException"));
}

#[tokio::test]
async fn reports_an_absent_table() {
    let mut table = Table::create().await;
    table.name = unique("absent");
    let error = table.put(record("a", "me", 10)).send().await.unwrap_err();
    let error = error.into_service_error();
    assert!(matches!(error, PutItemError::ResourceNotFoundException(_)));
}

#[tokio::test]
async fn sets_and_returns_the_ttl_attribute() {
    let table = Table::create().await;
    let expiry = TimeToLiveSpecification::builder()
        .attribute_name("expiration")
        .enabled(true);
    let update = table.service.update_time_to_live().table_name(&table.name);
    let update = update.time_to_live_specification(expiry.build().unwrap());
    update.send().await.unwrap();
    let describe = table
        .service
        .describe_time_to_live()
        .table_name(&table.name);
    let described = describe
        .send()
        .await
        .unwrap()
        .time_to_live_description
        .unwrap();
    assert_eq!(described.attribute_name(), Some("expiration"));
    assert_eq!(
        described.time_to_live_status(),
        Some(&TimeToLiveStatus::Enabled)
    );
}

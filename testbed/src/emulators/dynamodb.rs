//! The tables in an in-memory DynamoDB.

use dynoxide::Database;
pub use dynoxide::{AttributeValue, Item};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Direct access to a table with a string key, without a request.
pub struct Table {
    pub name: &'static str,
    key: &'static str,
    database: Database,
}

impl Table {
    /// Creates the deliveries table, with TTL.
    pub(super) fn deliveries(database: &Database) -> Self {
        Self::with_ttl(database, "deliveries", "delivery_id")
    }

    /// Creates the healer's table of checks, with TTL.
    pub(super) fn checks(database: &Database) -> Self {
        Self::with_ttl(database, "checks", "check_id")
    }

    fn with_ttl(database: &Database, name: &'static str, key: &'static str) -> Self {
        let table = Self::create(database, name, key, json!({}));
        let expiry = json!({
            "TableName": table.name,
            "TimeToLiveSpecification": { "AttributeName": "expiration", "Enabled": true },
        });
        let expiry = database.update_time_to_live(request(expiry));
        expiry.expect("the table exists");
        table
    }

    /// Creates the jobs table, with a stream.
    pub(super) fn jobs(database: &Database) -> Self {
        let stream = json!({
            "StreamSpecification": {
                "StreamEnabled": true,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        });
        Self::create(database, "jobs", "job_id", stream)
    }

    fn create(database: &Database, name: &'static str, key: &'static str, more: Value) -> Self {
        let mut table = json!({
            "TableName": name,
            "AttributeDefinitions": [{ "AttributeName": key, "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": key, "KeyType": "HASH" }],
            "BillingMode": "PAY_PER_REQUEST",
        });
        let fields = table.as_object_mut().expect("written as one above");
        fields.extend(request::<serde_json::Map<_, _>>(more));
        let created = database.create_table(request(table));
        created.expect("an empty database has no such table");
        Self {
            name,
            key,
            database: database.clone(),
        }
    }

    /// The item with this key.
    pub fn get(&self, key: &str) -> Option<Item> {
        let get = json!({ "TableName": self.name, "Key": self.key(key) });
        let got = self.database.get_item(request(get));
        got.expect("the table exists").item
    }

    /// All items.
    pub fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut scan = json!({ "TableName": self.name });
        loop {
            let page = self.database.scan(request(scan.clone()));
            let page = page.expect("the table exists");
            items.extend(page.items.unwrap_or_default());
            // A page has at most 1 MiB.
            let Some(last) = page.last_evaluated_key else {
                return items;
            };
            scan["ExclusiveStartKey"] = json!(last);
        }
    }

    pub fn len(&self) -> usize {
        self.items().len()
    }

    /// Puts an item, and replaces any with the same key.
    pub fn put(&self, item: &Item) {
        let put = json!({ "TableName": self.name, "Item": item });
        let put = self.database.put_item(request(put));
        put.expect("the item has the table's key");
    }

    pub fn delete(&self, key: &str) {
        let delete = json!({ "TableName": self.name, "Key": self.key(key) });
        let deleted = self.database.delete_item(request(delete));
        deleted.expect("the table exists");
    }

    fn key(&self, value: &str) -> Item {
        Item::from([(self.key.to_owned(), AttributeValue::S(value.to_owned()))])
    }
}

/// Parses a request in the form of DynamoDB's API reference.
fn request<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("written to the API reference")
}

//! The four calls of DynamoDB that a delivery may make.
//!
//! A conditional put fails when the key is there: no lease ends and no record expires while a benchmark runs.

use std::collections::HashMap;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use titanx_testbed::http::Response;

type Item = Map<String, Value>;

#[derive(Default)]
pub struct DynamoDb {
    items: Mutex<HashMap<(String, String), Item>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Call {
    table_name: String,
    #[serde(default)]
    item: Item,
    #[serde(default)]
    key: Item,
    condition_expression: Option<String>,
    return_values_on_condition_check_failure: Option<String>,
    #[serde(default)]
    update_expression: String,
    #[serde(default)]
    expression_attribute_names: HashMap<String, String>,
    #[serde(default)]
    expression_attribute_values: HashMap<String, Value>,
}

impl DynamoDb {
    pub fn clear(&self) {
        self.items.lock().expect("no panic").clear();
    }

    pub fn answer(&self, operation: &str, body: &[u8]) -> Result<Response> {
        let call: Call = serde_json::from_slice(body)?;
        match operation {
            "PutItem" => self.put(call),
            "UpdateItem" => self.update(&call),
            "DeleteItem" => self.delete(&call),
            "GetItem" => self.get(&call),
            _ => bail!("{operation} is not here"),
        }
    }

    fn put(&self, call: Call) -> Result<Response> {
        let key = key_of(&call.table_name, &call.item)?;
        let mut items = self.items.lock().expect("no panic");
        match items.get(&key) {
            Some(old) if call.condition_expression.is_some() => {
                let wanted =
                    call.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD");
                Ok(condition_failed(wanted.then_some(old)))
            }
            _ => {
                items.insert(key, call.item);
                Ok(answer(200, &json!({})))
            }
        }
    }

    fn update(&self, call: &Call) -> Result<Response> {
        let key = key_of(&call.table_name, &call.key)?;
        let mut items = self.items.lock().expect("no panic");
        let item = items.entry(key).or_insert_with(|| call.key.clone());
        for (name, value) in call.assignments()? {
            item.insert(name, value);
        }
        Ok(answer(200, &json!({})))
    }

    fn delete(&self, call: &Call) -> Result<Response> {
        self.items
            .lock()
            .expect("no panic")
            .remove(&key_of(&call.table_name, &call.key)?);
        Ok(answer(200, &json!({})))
    }

    fn get(&self, call: &Call) -> Result<Response> {
        let items = self.items.lock().expect("no panic");
        let item = items.get(&key_of(&call.table_name, &call.key)?);
        Ok(answer(
            200,
            &item.map_or_else(|| json!({}), |item| json!({ "Item": item })),
        ))
    }
}

impl Call {
    /// What `SET a = :b, #c = :d` sets; nothing else is understood.
    fn assignments(&self) -> Result<Vec<(String, Value)>> {
        let clauses = self
            .update_expression
            .trim()
            .strip_prefix("SET ")
            .context("an update that sets")?;
        let assignment = |clause: &str| {
            let (name, value) = clause.split_once('=').context("an assignment")?;
            let (name, value) = (name.trim(), value.trim());
            let name = self
                .expression_attribute_names
                .get(name)
                .map_or(name, String::as_str);
            let value = self
                .expression_attribute_values
                .get(value)
                .context("a value that is given")?;
            Ok((name.to_owned(), value.clone()))
        };
        clauses.split(',').map(assignment).collect()
    }
}

/// Every table here has one key attribute, and that is a string.
fn key_of(table: &str, item: &Item) -> Result<(String, String)> {
    let key = ["delivery_id", "job_id"]
        .iter()
        .find_map(|name| item.get(*name));
    let key = key
        .and_then(|key| key["S"].as_str())
        .context("an item with its key")?;
    Ok((table.to_owned(), key.to_owned()))
}

fn condition_failed(old: Option<&Item>) -> Response {
    let mut error = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
    });
    if let Some(old) = old {
        error["Item"] = json!(old);
    }
    answer(400, &error)
}

fn answer(status: u16, body: &Value) -> Response {
    let body = body.to_string();
    let checksum = crc32fast::hash(body.as_bytes()).to_string();
    Response::new(status, body)
        .with("content-type", "application/x-amz-json-1.0")
        .with("x-amz-crc32", checksum)
}

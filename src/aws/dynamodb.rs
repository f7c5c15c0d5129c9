//! DynamoDB's operations on one item, as its JSON writes them.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::CallError;

/// An item, a key or an expression's values, by name.
pub type Attributes<'a> = BTreeMap<&'a str, Attribute<'a>>;

/// An attribute's value.
#[derive(Debug, Serialize)]
pub enum Attribute<'a> {
    /// A text.
    #[serde(rename = "S")]
    Text(Cow<'a, str>),
    /// A number.
    #[serde(rename = "N")]
    Number(String),
    /// A set of texts: neither empty, nor one of them twice.
    #[serde(rename = "SS")]
    Texts(Vec<String>),
}

/// A text.
pub fn text<'a>(value: impl Into<Cow<'a, str>>) -> Attribute<'a> {
    Attribute::Text(value.into())
}

/// A whole number.
#[must_use]
pub fn number(value: i64) -> Attribute<'static> {
    Attribute::Number(value.to_string())
}

/// Writes an item anew.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutItem<'a> {
    /// Where to.
    pub table_name: &'a str,
    /// All that it holds.
    pub item: Attributes<'a>,
    /// When it may be.
    #[serde(flatten)]
    pub condition: Option<Condition<'a>>,
}

/// Changes some of an item's attributes, or makes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateItem<'a> {
    /// Where.
    pub table_name: &'a str,
    /// Which.
    pub key: Attributes<'a>,
    /// What becomes of it.
    pub update_expression: String,
    /// When it may be.
    #[serde(flatten)]
    pub condition: Condition<'a>,
}

/// Deletes an item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteItem<'a> {
    /// Where.
    pub table_name: &'a str,
    /// Which.
    pub key: Attributes<'a>,
    /// When it may be.
    #[serde(flatten)]
    pub condition: Condition<'a>,
}

/// When a write may be, and what its expressions' placeholders stand for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Condition<'a> {
    /// The condition.
    #[serde(rename = "ConditionExpression")]
    pub expression: &'a str,
    /// Attributes' names, by their placeholders.
    #[serde(rename = "ExpressionAttributeNames")]
    pub names: BTreeMap<&'a str, &'a str>,
    /// Values, by their placeholders.
    #[serde(rename = "ExpressionAttributeValues")]
    pub values: Attributes<'a>,
    /// What comes back when it does not hold.
    #[serde(rename = "ReturnValuesOnConditionCheckFailure")]
    pub on_failure: OnFailure,
}

/// What comes back when a condition does not hold.
#[derive(Debug, Serialize)]
pub enum OnFailure {
    /// Nothing but that.
    #[serde(rename = "NONE")]
    Nothing,
    /// The item as it stands.
    #[serde(rename = "ALL_OLD")]
    Item,
}

/// An item as DynamoDB tells of it.
pub type StoredItem = BTreeMap<String, StoredAttribute>;

/// A value as DynamoDB tells of it, of whatever type.
#[derive(Debug, Deserialize)]
pub struct StoredAttribute {
    #[serde(rename = "S")]
    text: Option<String>,
    #[serde(rename = "N")]
    number: Option<String>,
}

impl StoredAttribute {
    /// The value, if it is a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The value, if it is a whole number.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.number.as_deref()?.parse().ok()
    }
}

/// The item that failed a condition, empty unless it was asked for; `None` if that is not what failed.
#[must_use]
pub fn condition_failed(error: &CallError) -> Option<StoredItem> {
    #[derive(Deserialize)]
    struct Failure {
        #[serde(rename = "Item", default)]
        item: StoredItem,
    }
    let CallError::Refused(refusal) = error else {
        return None;
    };
    if refusal.code != "ConditionalCheckFailedException" {
        return None;
    }
    let failure: Failure = serde_json::from_slice(&refusal.answer).ok()?;
    Some(failure.item)
}

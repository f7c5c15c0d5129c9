//! The limits of SQS, from its API reference and developer guide.

use std::collections::BTreeMap;

use super::super::protocol::Refusal;
use super::queue::{Attribute, QueueState};
use super::{ReceiveMessage, SendMessage};

const MAX_ATTRIBUTES: usize = 10;

pub(super) fn check_queue(
    name: &str,
    attributes: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let (base, named_fifo) = match name.strip_suffix(".fifo") {
        Some(base) => (base, true),
        None => (name, false),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if base.is_empty() || name.len() > 80 || !base.chars().all(allowed) {
        return Err(invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    let fifo = attributes
        .get("FifoQueue")
        .is_some_and(|fifo| fifo == "true");
    if fifo != named_fifo {
        return Err(invalid(
            "The name of a FIFO queue, and no other, ends in .fifo",
        ));
    }
    Ok(())
}

pub(super) fn check_message(request: &SendMessage, queue: &QueueState) -> Result<(), Refusal> {
    if request.message_body.is_empty() {
        return Err(missing("MessageBody"));
    }
    if let Some(refused) = refused_character(&request.message_body) {
        let message = format!("Invalid binary character '{refused}' was found in the message body");
        return Err(Refusal::new("InvalidMessageContents", message)
            .with_query_code("InvalidMessageContents"));
    }
    if request.message_attributes.len() > MAX_ATTRIBUTES {
        return Err(invalid(
            "Number of message attributes exceeds the allowed maximum [10].",
        ));
    }
    for (name, attribute) in &request.message_attributes {
        check_attribute(name, attribute)?;
    }
    check_size(request, queue.max_message_size())?;
    check_id("MessageGroupId", request.message_group_id.as_deref())?;
    let deduplication_id = request.message_deduplication_id.as_deref();
    check_id("MessageDeduplicationId", deduplication_id)?;
    if queue.is_fifo() {
        check_fifo(request, queue)
    } else if deduplication_id.is_some() {
        Err(invalid(
            "The request includes MessageDeduplicationId, which is not valid for this queue type",
        ))
    } else {
        Ok(())
    }
}

fn check_fifo(request: &SendMessage, queue: &QueueState) -> Result<(), Refusal> {
    if request.message_group_id.is_none() {
        return Err(missing("MessageGroupId"));
    }
    if request.message_deduplication_id.is_none() && !queue.deduplicates_by_content() {
        return Err(invalid(
            "The queue should either have ContentBasedDeduplication enabled or \
             MessageDeduplicationId provided explicitly",
        ));
    }
    if request.delay_seconds.is_some_and(|delay| delay > 0) {
        return Err(invalid("DelaySeconds is not valid for this queue type"));
    }
    Ok(())
}

/// Checks the size, which is that of the body and of the name, type and value of every attribute.
fn check_size(request: &SendMessage, limit: usize) -> Result<(), Refusal> {
    let attributes = request.message_attributes.iter();
    let attributes = attributes.map(|(name, attribute)| name.len() + attribute.size());
    if request.message_body.len() + attributes.sum::<usize>() > limit {
        return Err(invalid(&format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {limit} \
             bytes."
        )));
    }
    Ok(())
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<(), Refusal> {
    if !is_attribute_name(name) {
        return Err(invalid(&format!(
            "Message (user) attribute name '{name}' is invalid."
        )));
    }
    let kind = attribute.data_type.split('.').next().unwrap_or_default();
    let value = match kind {
        "String" | "Number" => attribute.string_value.as_deref(),
        "Binary" => attribute.binary_value.as_deref(),
        _ => {
            return Err(invalid(&format!(
                "The type of message (user) attribute '{name}' is invalid. You must use only the \
                 following supported type prefixes: Binary, Number, String."
            )));
        }
    };
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Err(invalid(&format!(
            "Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."
        )));
    };
    match refused_character(value) {
        Some(refused) => Err(invalid(&format!(
            "Invalid binary character '{refused}' was found in the message attribute '{name}'"
        ))),
        None => Ok(()),
    }
}

fn is_attribute_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let lower = name.to_ascii_lowercase();
    (1..=256).contains(&name.len())
        && name.chars().all(allowed)
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        && !(lower.starts_with("aws.") || lower.starts_with("amazon."))
}

fn check_id(parameter: &str, id: Option<&str>) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_punctuation();
    match id {
        Some(id) if !(1..=128).contains(&id.len()) || !id.chars().all(allowed) => {
            Err(invalid(&format!(
                "Value {id} for parameter {parameter} is invalid. Reason: {parameter} can only \
                 include alphanumeric and punctuation characters. 1 to 128 in length."
            )))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_receive(request: &ReceiveMessage) -> Result<(), Refusal> {
    let count = request.max_number_of_messages.unwrap_or(1);
    if !(1..=10).contains(&count) {
        return Err(invalid(&format!(
            "Value {count} for parameter MaxNumberOfMessages is invalid. Reason: Must be between \
             1 and 10, if provided."
        )));
    }
    Ok(())
}

/// The first character that SQS does not allow, in the form of SQS's error message.
fn refused_character(text: &str) -> Option<String> {
    let carried = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let refused = text.chars().find(|&c| !carried(c))?;
    Some(format!("#x{:X}", u32::from(refused)))
}

fn missing(parameter: &str) -> Refusal {
    let message = format!("The request must contain the parameter {parameter}.");
    Refusal::new("MissingRequiredParameterException", message).with_query_code("MissingParameter")
}

fn invalid(message: &str) -> Refusal {
    Refusal::new("InvalidParameterValueException", message).with_query_code("InvalidParameterValue")
}

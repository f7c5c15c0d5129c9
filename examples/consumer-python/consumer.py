"""An example of a consumer in Python: the same as examples/consumer, with Powertools for AWS Lambda.

Needs the tables APPLIED_TABLE (key delivery_id, TTL attribute expiration) and CONTACTS_TABLE (key contact_id), and an event source
mapping with ReportBatchItemFailures. docs/consumers.md explains what it guards against.
"""

import json
import os
import time

import boto3
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

APPLIED_TABLE = os.environ["APPLIED_TABLE"]
CONTACTS_TABLE = os.environ["CONTACTS_TABLE"]

# A message lives for 14 days in its queue and for what is left of them in the dead-letter queue; `operator quarantine redrive` can send
# a delivery for 14 days more.
REMEMBERED_SECONDS = 60 * 24 * 60 * 60

# The members of the payload that identify a person, the most specific first.
IDS = ("databaseContactId", "customerContactId", "contactCrmId", "leadId", "phone")
# The members that this consumer stores.
FIELDS = ("firstName", "lastName", "email", "phone", "phoneStatus", "leadStatus")

dynamodb = boto3.client("dynamodb")
# By default, a batch in which every message failed raises an exception, as a crash would.
standard = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
# On a FIFO queue, what follows a failed message of its group must wait for it. Without skip_group_on_error, so must all other groups.
fifo = SqsFifoPartialProcessor(skip_group_on_error=True)
fifo.raise_on_entire_batch_failure = False


def handler(event, context):
    is_fifo = event["Records"][0]["eventSourceARN"].endswith(".fifo")
    return process_partial_response(
        event=event, record_handler=apply_message, processor=fifo if is_fifo else standard, context=context
    )


class Failure(Exception):
    """Without personal data, since Powertools and Lambda log it."""


def apply_message(record: SQSRecord):
    try:
        contact = read(record)
        print(f"delivery {contact['delivery_id']}: {apply(contact)}")
    except Exception as error:
        # Powertools reports the message and logs nothing. The text of an error may hold values.
        print(f"message {record.message_id} failed: {error if isinstance(error, Failure) else type(error).__name__}")
        raise


# ---- From a message to a contact ----


def read(record: SQSRecord):
    # Not record.json_body: the error of a body that is not JSON quotes it.
    try:
        envelope = json.loads(record.body)
    except ValueError:
        raise Failure("its body is no JSON") from None
    payload = envelope.get("payload") if isinstance(envelope, dict) else None
    if not isinstance(payload, dict):
        raise Failure("its payload is no object")
    # Not get(), which returns a plain dictionary. An attribute that is missing is None.
    attribute = record.message_attributes["deliveryId"]
    delivery_id = (attribute and attribute.string_value) or text(envelope, "id")
    scored_at = text(envelope, "timestamp")
    if not delivery_id or not scored_at:
        raise Failure("it has no delivery id or no timestamp")
    return {
        "delivery_id": delivery_id,
        # Messages come in any order.
        "scored_at": scored_at,
        "id": next(filter(None, (text(payload, name) for name in IDS)), delivery_id),
        "fields": {name: value for name in FIELDS if (value := text(payload, name))},
    }


def text(members, name):
    """A string or a number as text. None for null, an empty string, and every other type."""
    value = members.get(name)
    if isinstance(value, str):
        # Half of an emoji, which no other program could encode.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if value.strip() else None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# ---- Applied once ----


def apply(contact):
    """The effect and the mark that it was done are one transaction. With two writes, a process that is killed in between would leave an
    effect without a mark, which the next message repeats, or a mark without an effect, which nobody makes up for.
    """
    failed = write(contact, update(contact))
    if failed == "older":
        failed = write(contact, {"UpdateExpression": "ADD scorings :one", "ExpressionAttributeValues": {":one": {"N": "1"}}})
        return "a second message, applied before" if failed else "applied, older than what is stored"
    return "a second message, applied before" if failed else "applied"


def write(contact, effect):
    """Returns the condition that failed: "before" or "older", or None."""
    expiration = str(int(time.time()) + REMEMBERED_SECONDS)
    mark = {
        "TableName": APPLIED_TABLE,
        "Item": {"delivery_id": {"S": contact["delivery_id"]}, "expiration": {"N": expiration}},
        "ConditionExpression": "attribute_not_exists(delivery_id)",
    }
    effect = {"TableName": CONTACTS_TABLE, "Key": {"contact_id": {"S": contact["id"]}}} | effect
    try:
        dynamodb.transact_write_items(TransactItems=[{"Put": mark}, {"Update": effect}])
    except dynamodb.exceptions.TransactionCanceledException as cancelled:
        codes = [reason.get("Code") for reason in cancelled.response["CancellationReasons"]]
        if codes[0] == "ConditionalCheckFailed":
            return "before"
        if codes[1] == "ConditionalCheckFailed":
            return "older"
        # A conflict with another transaction, for example: SQS delivers the message again. Not the exception itself, which may
        # hold values.
        raise Failure(f"DynamoDB: {codes}") from None
    return None


def update(contact):
    """The values of the contact, and one more scoring."""
    values = {f":{name}": {"S": value} for name, value in contact["fields"].items()}
    sets = "".join(f", {name} = :{name}" for name in contact["fields"])
    return {
        "UpdateExpression": f"SET scored_at = :scored_at{sets} ADD scorings :one",
        "ConditionExpression": "attribute_not_exists(scored_at) OR scored_at <= :scored_at",
        "ExpressionAttributeValues": values | {":scored_at": {"N": contact["scored_at"]}, ":one": {"N": "1"}},
    }

"""What both Python peers share: the clients made at start, the signature, the answers."""

import base64
import hashlib
import hmac
import json
import os

import boto3
from botocore.config import Config

CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
    tcp_keepalive=True,
)
DYNAMODB = boto3.client("dynamodb", config=CONFIG)
SQS = boto3.client("sqs", config=CONFIG)

DELIVERIES_TABLE = os.environ["DELIVERIES_TABLE"]
JOBS_TABLE = os.environ["JOBS_TABLE"]
CONTACTS_QUEUE_URL = os.environ["CONTACTS_QUEUE_URL"]
SECRET = os.environ["TITANX_WEBHOOK_SECRET"].encode()
RETENTION_SECONDS = 7 * 24 * 60 * 60


def body_of(event):
    """The exact bytes that TitanX sent."""
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()


def is_signed(event, body):
    given = event["headers"].get("x-titanx-signature", "")
    expected = base64.b64encode(hmac.digest(SECRET, body, hashlib.sha256)).decode()
    return hmac.compare_digest(given.encode(), expected.encode())


def dispatch(delivery, body):
    """A contact goes to the queue as it was signed; a finished job is marked done."""
    if delivery["eventType"] == "job.contact.scored":
        send_contact(delivery, body)
    elif delivery["eventType"] == "job.completed":
        mark_done(delivery)
    else:
        raise ValueError("unknown event type")


def send_contact(delivery, body):
    labels = {
        "eventType": delivery["eventType"],
        "deliveryId": delivery["id"],
        "apiVersion": delivery["apiVersion"],
        "timestamp": str(delivery["timestamp"]),
        "source": "webhook",
    }
    if job_id := delivery["payload"].get("jobId"):
        labels["jobId"] = job_id
    SQS.send_message(
        QueueUrl=CONTACTS_QUEUE_URL,
        MessageBody=body.decode(),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in labels.items()
        },
    )


def mark_done(delivery):
    job = delivery["payload"]
    DYNAMODB.update_item(
        TableName=JOBS_TABLE,
        Key={"job_id": {"S": job["jobId"]}},
        UpdateExpression="SET job_status = :status, completed_at = :at, delivery_id = :id",
        ExpressionAttributeValues={
            ":status": {"S": job["jobStatus"]},
            ":at": {"N": str(delivery["timestamp"])},
            ":id": {"S": delivery["id"]},
        },
    )


def log(outcome, delivery_id):
    print(json.dumps({"level": "INFO", "message": outcome, "delivery_id": delivery_id}))


def answer(status, body):
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }

"""The receiver's work in Python with boto3 and nothing else."""

import json
import time

from webhook import DELIVERIES_TABLE, DYNAMODB, RETENTION_SECONDS
from webhook import answer, body_of, dispatch, is_signed, log


def handler(event, context):
    body = body_of(event)
    if not is_signed(event, body):
        log("refused", None)
        return answer(401, {"error": "Invalid signature"})
    delivery = json.loads(body)
    held = claim(delivery["id"], context)
    if held is not None:
        return duplicate(delivery["id"], held)
    try:
        dispatch(delivery, body)
    except Exception:
        release(delivery["id"], context)
        raise
    complete(delivery["id"])
    log("accepted", delivery["id"])
    return answer(200, {"received": True})


def claim(delivery_id, context):
    """None when the claim is ours, else the record that stands in the way."""
    now = time.time()
    lease = int(now * 1000) + context.get_remaining_time_in_millis()
    try:
        DYNAMODB.put_item(
            TableName=DELIVERIES_TABLE,
            Item={
                "delivery_id": {"S": delivery_id},
                "status": {"S": "INPROGRESS"},
                "claimed_by": {"S": context.aws_request_id},
                "in_progress_expiration": {"N": str(lease)},
                "expiration": {"N": str(int(now) + RETENTION_SECONDS)},
            },
            ConditionExpression=(
                "attribute_not_exists(delivery_id) OR expiration < :now"
                " OR (#status = :inprogress AND in_progress_expiration < :now_ms)"
            ),
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":now": {"N": str(int(now))},
                ":now_ms": {"N": str(int(now * 1000))},
                ":inprogress": {"S": "INPROGRESS"},
            },
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except DYNAMODB.exceptions.ConditionalCheckFailedException as refused:
        return refused.response["Item"]
    return None


def complete(delivery_id):
    DYNAMODB.update_item(
        TableName=DELIVERIES_TABLE,
        Key={"delivery_id": {"S": delivery_id}},
        UpdateExpression="SET #status = :completed, expiration = :expiration",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":completed": {"S": "COMPLETED"},
            ":expiration": {"N": str(int(time.time()) + RETENTION_SECONDS)},
        },
    )


def release(delivery_id, context):
    DYNAMODB.delete_item(
        TableName=DELIVERIES_TABLE,
        Key={"delivery_id": {"S": delivery_id}},
        ConditionExpression="claimed_by = :us",
        ExpressionAttributeValues={":us": {"S": context.aws_request_id}},
    )


def duplicate(delivery_id, held):
    if held["status"]["S"] == "COMPLETED":
        log("duplicate", delivery_id)
        return answer(200, {"received": True, "duplicate": True})
    return answer(429, {"error": "Delivery in progress"})

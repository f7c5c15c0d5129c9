"""The receiver's work in Python with boto3 and Powertools' idempotency."""

import json

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
)

from webhook import DELIVERIES_TABLE, DYNAMODB, RETENTION_SECONDS
from webhook import answer, body_of, dispatch, is_signed, log

DELIVERIES = DynamoDBPersistenceLayer(
    table_name=DELIVERIES_TABLE, key_attr="delivery_id", boto3_client=DYNAMODB
)
ONCE = IdempotencyConfig(event_key_jmespath="id", expires_after_seconds=RETENTION_SECONDS)


def handler(event, context):
    ONCE.register_lambda_context(context)
    body = body_of(event)
    if not is_signed(event, body):
        log("refused", None)
        return answer(401, {"error": "Invalid signature"})
    delivery = json.loads(body)
    try:
        receive(delivery=delivery, body=body)
    except IdempotencyAlreadyInProgressError:
        return answer(429, {"error": "Delivery in progress"})
    log("accepted", delivery["id"])
    return answer(200, {"received": True})


@idempotent_function(data_keyword_argument="delivery", config=ONCE, persistence_store=DELIVERIES)
def receive(delivery, body):
    dispatch(delivery, body)
    return {"received": True}

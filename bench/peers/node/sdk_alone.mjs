// The receiver's work in Node with the AWS SDK and nothing else.

import {
  ConditionalCheckFailedException,
  DeleteItemCommand,
  PutItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import {
  answer,
  bodyOf,
  DELIVERIES_TABLE,
  dispatch,
  dynamodb,
  isSigned,
  log,
  RETENTION_SECONDS,
} from "./webhook.mjs";

export async function handler(event, context) {
  const body = bodyOf(event);
  if (!isSigned(event, body)) {
    log("refused", null);
    return answer(401, { error: "Invalid signature" });
  }
  const delivery = JSON.parse(body);
  const held = await claim(delivery.id, context);
  if (held) return duplicate(delivery.id, held);
  try {
    await dispatch(delivery, body);
  } catch (error) {
    await release(delivery.id, context);
    throw error;
  }
  await complete(delivery.id);
  log("accepted", delivery.id);
  return answer(200, { received: true });
}

/** Undefined when the claim is ours, else the record that stands in the way. */
async function claim(deliveryId, context) {
  const now = Date.now();
  const seconds = Math.floor(now / 1000);
  try {
    await dynamodb.send(
      new PutItemCommand({
        TableName: DELIVERIES_TABLE,
        Item: {
          delivery_id: { S: deliveryId },
          status: { S: "INPROGRESS" },
          claimed_by: { S: context.awsRequestId },
          in_progress_expiration: { N: String(now + context.getRemainingTimeInMillis()) },
          expiration: { N: String(seconds + RETENTION_SECONDS) },
        },
        ConditionExpression:
          "attribute_not_exists(delivery_id) OR expiration < :now" +
          " OR (#status = :inprogress AND in_progress_expiration < :now_ms)",
        ExpressionAttributeNames: { "#status": "status" },
        ExpressionAttributeValues: {
          ":now": { N: String(seconds) },
          ":now_ms": { N: String(now) },
          ":inprogress": { S: "INPROGRESS" },
        },
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      }),
    );
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return error.Item;
    throw error;
  }
}

async function complete(deliveryId) {
  await dynamodb.send(
    new UpdateItemCommand({
      TableName: DELIVERIES_TABLE,
      Key: { delivery_id: { S: deliveryId } },
      UpdateExpression: "SET #status = :completed, expiration = :expiration",
      ExpressionAttributeNames: { "#status": "status" },
      ExpressionAttributeValues: {
        ":completed": { S: "COMPLETED" },
        ":expiration": { N: String(Math.floor(Date.now() / 1000) + RETENTION_SECONDS) },
      },
    }),
  );
}

async function release(deliveryId, context) {
  await dynamodb.send(
    new DeleteItemCommand({
      TableName: DELIVERIES_TABLE,
      Key: { delivery_id: { S: deliveryId } },
      ConditionExpression: "claimed_by = :us",
      ExpressionAttributeValues: { ":us": { S: context.awsRequestId } },
    }),
  );
}

function duplicate(deliveryId, held) {
  if (held.status.S === "COMPLETED") {
    log("duplicate", deliveryId);
    return answer(200, { received: true, duplicate: true });
  }
  return answer(429, { error: "Delivery in progress" });
}

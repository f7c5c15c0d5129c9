// What both Node peers share: the clients made at start, the signature, the answers.

import { createHmac, timingSafeEqual } from "node:crypto";
import { DynamoDBClient, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

const config = {
  maxAttempts: 3,
  requestHandler: { connectionTimeout: 1000, requestTimeout: 2000 },
};
export const dynamodb = new DynamoDBClient(config);
const sqs = new SQSClient(config);

export const DELIVERIES_TABLE = process.env.DELIVERIES_TABLE;
export const RETENTION_SECONDS = 7 * 24 * 60 * 60;
const JOBS_TABLE = process.env.JOBS_TABLE;
const CONTACTS_QUEUE_URL = process.env.CONTACTS_QUEUE_URL;
const SECRET = process.env.TITANX_WEBHOOK_SECRET;

/** The exact bytes that TitanX sent. */
export function bodyOf(event) {
  return Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
}

export function isSigned(event, body) {
  const given = Buffer.from(event.headers["x-titanx-signature"] ?? "");
  const expected = Buffer.from(createHmac("sha256", SECRET).update(body).digest("base64"));
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** A contact goes to the queue as it was signed; a finished job is marked done. */
export async function dispatch(delivery, body) {
  if (delivery.eventType === "job.contact.scored") {
    await sendContact(delivery, body);
  } else if (delivery.eventType === "job.completed") {
    await markDone(delivery);
  } else {
    throw new Error("unknown event type");
  }
}

async function sendContact(delivery, body) {
  const labels = {
    eventType: delivery.eventType,
    deliveryId: delivery.id,
    apiVersion: delivery.apiVersion,
    timestamp: String(delivery.timestamp),
    source: "webhook",
  };
  if (delivery.payload.jobId) labels.jobId = delivery.payload.jobId;
  await sqs.send(
    new SendMessageCommand({
      QueueUrl: CONTACTS_QUEUE_URL,
      MessageBody: body.toString(),
      MessageAttributes: Object.fromEntries(
        Object.entries(labels).map(([name, value]) => [
          name,
          { DataType: "String", StringValue: value },
        ]),
      ),
    }),
  );
}

async function markDone(delivery) {
  const job = delivery.payload;
  await dynamodb.send(
    new UpdateItemCommand({
      TableName: JOBS_TABLE,
      Key: { job_id: { S: job.jobId } },
      UpdateExpression: "SET job_status = :status, completed_at = :at, delivery_id = :id",
      ExpressionAttributeValues: {
        ":status": { S: job.jobStatus },
        ":at": { N: String(delivery.timestamp) },
        ":id": { S: delivery.id },
      },
    }),
  );
}

export function log(outcome, deliveryId) {
  console.log(JSON.stringify({ level: "INFO", message: outcome, delivery_id: deliveryId }));
}

export function answer(statusCode, body) {
  return {
    statusCode,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
}

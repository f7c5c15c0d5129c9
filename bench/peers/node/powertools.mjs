// The receiver's work in Node with the AWS SDK and Powertools' idempotency.

import {
  IdempotencyAlreadyInProgressError,
  IdempotencyConfig,
  makeIdempotent,
} from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
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

const once = new IdempotencyConfig({
  eventKeyJmesPath: "id",
  expiresAfterSeconds: RETENTION_SECONDS,
});
const receive = makeIdempotent(
  async (delivery, body) => {
    await dispatch(delivery, body);
    return { received: true };
  },
  {
    persistenceStore: new DynamoDBPersistenceLayer({
      tableName: DELIVERIES_TABLE,
      keyAttr: "delivery_id",
      awsSdkV3Client: dynamodb,
    }),
    config: once,
  },
);

export async function handler(event, context) {
  once.registerLambdaContext(context);
  const body = bodyOf(event);
  if (!isSigned(event, body)) {
    log("refused", null);
    return answer(401, { error: "Invalid signature" });
  }
  const delivery = JSON.parse(body);
  try {
    await receive(delivery, body);
  } catch (error) {
    if (error instanceof IdempotencyAlreadyInProgressError) {
      return answer(429, { error: "Delivery in progress" });
    }
    throw error;
  }
  log("accepted", delivery.id);
  return answer(200, { received: true });
}

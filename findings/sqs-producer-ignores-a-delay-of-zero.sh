#!/usr/bin/env bash
# sqs-producer does not send a delay of 0, so an urgent message waits for the queue's own delay.
#
# Expected: delaySeconds is sent as it is given. 0 is in the range that the README
# names, 0 to 900, and means: now, also on a queue that delays its messages by default.
# Observed: 0 counts as not given and is left out of the request. SQS then uses the queue's delay, up to 15 minutes. So on a
# queue that delays all messages, as for retries, no message can be sent at once, and no error says so. Every other value
# is sent. The AWS SDK itself sends 0.
# Versions: sqs-producer 8.0.4, @aws-sdk/client-sqs 3.1169.0, Node 20.
# Documented: no. boto had the same (boto/boto#3807); none found for sqs-producer.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  sqs-producer@8.0.4 @aws-sdk/client-sqs@3.1169.0 >log 2>&1 || { cat log; exit 1; }
cat >send.mjs <<'JS'
import { SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs';
import { Producer } from 'sqs-producer';

const queueUrl = 'https://sqs.us-east-1.amazonaws.com/000000000000/contacts';
const sqs = new SQSClient({ region: 'us-east-1', credentials: { accessKeyId: 'x', secretAccessKey: 'x' } });
// Nothing leaves the machine: the request is read as it would go out, and answered here.
let sent;
const answer = () => async ({ request }) => {
  sent = JSON.parse(request.body).Entries;
  return { response: {}, output: { $metadata: {}, Successful: [], Failed: [] } };
};
sqs.middlewareStack.add(answer, { step: 'finalizeRequest', priority: 'high' });

const tell = (name) => console.log(`${name}: ${sent.map(({ DelaySeconds }) => DelaySeconds ?? 'not sent').join(', ')}`);
const producer = Producer.create({ queueUrl, sqs });
const delays = [0, 1, 900];
await producer.send(delays.map((delaySeconds, index) => ({ id: `m${index}`, body: 'a contact', delaySeconds })));
tell('sqs-producer');
const Entries = delays.map((DelaySeconds, index) => ({ Id: `m${index}`, MessageBody: 'a contact', DelaySeconds }));
await sqs.send(new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries }));
tell('AWS SDK');
JS
seen=$(node send.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "sqs-producer: not sent, 1, 900
AWS SDK: 0, 1, 900" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

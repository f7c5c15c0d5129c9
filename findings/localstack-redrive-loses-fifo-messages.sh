#!/usr/bin/env bash
# LocalStack's redrive of a FIFO queue reports that it moved all dead letters, and they are gone.
#
# Expected, written down before the first run: after StartMessageMoveTask of a FIFO queue's dead letters, with COMPLETED and 3 moved, 3 messages
# are in the first queue. SQS gives a message another deduplication id when it becomes a dead letter (Amazon's guide, "Learn how to configure a
# dead-letter queue redrive"), so the way back is no duplicate.
# Observed: COMPLETED, 3 moved of 3, and both queues are empty. The dead letter has kept its deduplication id, so the first queue takes the
# message that comes back within five minutes for a duplicate, and drops it. The same steps with standard queues give 3 messages.
# A test of a consumer's repair that only looks at the task passes; one that looks at the queue finds a loss that AWS does not have.
# Versions: localstack-core 4.13.1 with cbor2 5.7.1, pyopenssl 24.2.1, service-identity 24.2.0 (newer ones do not start it), Python 3.11.
# localstack-core 4.14.0 needs Python 3.12 or newer; its code of this task is the same.
# Documented: no. https://docs.localstack.cloud/aws/services/sqs/ lists the operation as supported.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check \
  "localstack-core[base-runtime]==4.13.1" cbor2==5.7.1 pyopenssl==24.2.1 service-identity==24.2.0
port=$(python/bin/python -c 'import socket; it = socket.socket(); it.bind(("127.0.0.1", 0)); print(it.getsockname()[1])')
GATEWAY_LISTEN=127.0.0.1:$port SERVICES=sqs STRICT_SERVICE_LOADING=1 SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 \
  LOCALSTACK_VOLUME_DIR=$folder/volume python/bin/python -m localstack.runtime.main >log 2>&1 &
for _ in $(seq 600); do
  grep -q '^Ready' log && break
  kill -0 $! || { cat log; exit 1; }
  sleep 0.1
done
cat >redrive.py <<'PYTHON'
import json
import sys
import time

import boto3

account = {"region_name": "eu-central-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
sqs = boto3.client("sqs", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", **account)


def attributes(queue):
    return sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]


def length(queue):
    return int(attributes(queue)["ApproximateNumberOfMessages"])


for kind, end, more in (("standard", "", {}), ("FIFO", ".fifo", {"FifoQueue": "true"})):
    dead = sqs.create_queue(QueueName=f"dead{end}", Attributes=more)["QueueUrl"]
    arn = attributes(dead)["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    first = sqs.create_queue(QueueName=f"first{end}", Attributes=more | {"VisibilityTimeout": "0", "RedrivePolicy": policy})["QueueUrl"]
    for number in range(3):
        ids = {"MessageGroupId": "group", "MessageDeduplicationId": f"id-{number}"} if more else {}
        sqs.send_message(QueueUrl=first, MessageBody=f"message {number}", **ids)
    for _ in range(100):
        if length(dead) == 3:
            break
        sqs.receive_message(QueueUrl=first, MaxNumberOfMessages=10)
    before = length(dead)
    sqs.start_message_move_task(SourceArn=arn, DestinationArn=attributes(first)["QueueArn"])
    for _ in range(300):
        [task] = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
        if task["Status"] != "RUNNING":
            break
        time.sleep(0.1)
    moved = task["ApproximateNumberOfMessagesMoved"]
    print(f"{kind}: {before} dead letters, {task['Status']}, {moved} moved; then {length(first)} in the first queue, {length(dead)} dead")
PYTHON
seen=$(python/bin/python redrive.py "$port")
echo "$seen"
[ "$seen" = "standard: 3 dead letters, COMPLETED, 3 moved; then 3 in the first queue, 0 dead
FIFO: 3 dead letters, COMPLETED, 3 moved; then 0 in the first queue, 0 dead" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# The SQS broker for dramatiq deletes a message at the first retry that is more than 15 minutes away.
#
# Expected: with the broker's default middleware a message that keeps failing is tried again 20 times. SQS delays by at most
# 15 minutes, so longer waits are cut to that. Then it goes to the dead-letter queue.
# Observed: dramatiq doubles the wait from 15 seconds up to seven days. The broker raises for a delay of more than 15
# minutes, inside the middleware that sends the retry. The worker logs that error of the middleware and deletes the message,
# as it is not marked as failed: it is neither in the queue nor in the dead-letter queue. With the default waits that is the
# seventh failure at the latest, some 24 minutes after the first. So contacts are lost in the long outage that retries are
# for. With max_backoff=900000 the message is sent again.
# Versions: dramatiq-sqs 0.4.4, dramatiq 2.2.1, moto 5.2.5 as the queue, boto3 1.44.8.
# Documented: that messages can be delayed by at most 15 minutes. The example sets max_backoff=900000, without a word on why.
# None found in the tracker.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check \
  dramatiq-sqs==0.4.4 dramatiq==2.2.1 moto==5.2.5 boto3==1.44.8
cat >retry.py <<'PY'
import time

import boto3
import dramatiq
from dramatiq.middleware import Retries
from dramatiq_sqs import SQSBroker
from moto import mock_aws


def left(queue):
    attributes = queue.meta.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
    kinds = ["", "Delayed", "NotVisible"]
    return sum(int(attributes[f"ApproximateNumberOfMessages{kind}"]) for kind in kinds)


def attempt(name, failures, middleware=None):
    """The next failure of a contact that failed `failures` times before."""
    broker = SQSBroker(namespace=name, dead_letter=True, middleware=middleware, region_name="us-east-1")
    tried = []

    @dramatiq.actor(broker=broker)
    def send(phone):
        tried.append(phone)
        raise ConnectionError("the service is down")

    broker.enqueue(send.message_with_options(args=["+12125550123"], retries=failures))
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=1000)
    worker.start()
    while not tried:
        time.sleep(0.1)
    worker.stop()  # waits for the message at work to be acknowledged
    queue, dead = broker.queues["default"], broker.dead_letter_queues["default"]
    print(f"{name}: in the queue {left(queue)}, in the dead-letter queue {left(dead)}")


with mock_aws():
    attempt("default_first", 0)
    attempt("default_seventh", 6)
    attempt("default_last", 20)
    attempt("max_backoff_seventh", 6, [Retries(max_backoff=900_000)])
PY
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x
seen=$(python/bin/python retry.py 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "default_first: in the queue 1, in the dead-letter queue 0
default_seventh: in the queue 0, in the dead-letter queue 0
default_last: in the queue 0, in the dead-letter queue 1
max_backoff_seventh: in the queue 1, in the dead-letter queue 0" ] || {
  cat log
  echo "the result differs from the one observed before" >&2
  exit 1
}

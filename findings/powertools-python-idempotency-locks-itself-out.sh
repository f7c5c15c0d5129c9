#!/usr/bin/env bash
# Powertools for Python takes its own retried write for another execution and does not call the handler.
#
# Expected, written down before the first run: if DynamoDB stores the in-progress record but the answer is lost, boto3
# repeats the put, the layer recognises the record as its own, and the handler runs.
# Observed: the second put fails its condition on the record that the first one stored. The layer sees INPROGRESS and
# raises IdempotencyAlreadyInProgressError, although nothing is in progress. The handler has not run, and each retry of
# the event fails alike until the record expires: after the time that the invocation had left, if the Lambda context was
# registered, else after an hour. With total_max_attempts 1, the lost answer itself is raised, but the record stays.
# Versions: aws-lambda-powertools 3.37.0, boto3 1.44.8.
# Documented: no. The same in another library is idempot-dev/idempot-js#185.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aws-lambda-powertools==3.37.0 jmespath==1.1.0 boto3==1.44.8
cat >deliver.py <<'PY'
import http.server, json, threading
import boto3
from botocore.config import Config
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function,
)

items, puts, answers_to_lose = {}, 0, 0


class Table(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global puts, answers_to_lose
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, answer = 200, {}
        if self.headers["x-amz-target"].endswith(".PutItem"):
            puts += 1
            key = request["Item"]["id"]["S"]
            if key in items:
                status, answer = 400, {"__type": "a#ConditionalCheckFailedException", "Item": items[key]}
            else:
                items[key] = request["Item"]
            if answers_to_lose:
                answers_to_lose -= 1
                self.close_connection = True
                return
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Table)
threading.Thread(target=server.serve_forever, daemon=True).start()


def deliver(lost, **retries):
    """Delivers an event twice; of the puts of the first delivery, some lose their answers."""
    global puts, answers_to_lose
    items.clear()
    answers_to_lose = lost
    client = boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="key",
        config=Config(retries=retries),
    )
    calls = []

    @idempotent_function(
        data_keyword_argument="event",
        persistence_store=DynamoDBPersistenceLayer(table_name="t", boto3_client=client),
        config=IdempotencyConfig(),
    )
    def handle(event):
        calls.append(event)
        return "handled"

    seen = []
    for _ in range(2):
        puts = 0
        try:
            outcome = handle(event={"deliveryId": "a"})
        except Exception as error:
            outcome = type(error).__name__
        seen.append(f"{outcome} after {puts} puts")
        if lost == 0:
            break
    return f"{', '.join(seen)}; handler called {len(calls)} times"


print("no answer lost:", deliver(0))
print("one answer lost:", deliver(1))
print("one lost, no retry:", deliver(1, total_max_attempts=1))
PY
seen=$(python/bin/python -W ignore deliver.py)
echo "$seen"
[ "$seen" = "no answer lost: handled after 1 puts; handler called 1 times
one answer lost: IdempotencyAlreadyInProgressError after 2 puts, IdempotencyAlreadyInProgressError after 1 puts; \
handler called 0 times
one lost, no retry: IdempotencyPersistenceLayerError after 1 puts, IdempotencyAlreadyInProgressError after 1 puts; \
handler called 0 times" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

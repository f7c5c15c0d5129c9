#!/usr/bin/env bash
# A boto3 client makes one attempt a call after twelve failed calls, and goes on so when the service is back.
#
# Expected, written down before the first run: each call to DynamoDB is tried up to four times, whatever happened to the
# calls before it.
# Observed: all retries of a client share 500 tokens, also those of other operations. A retry takes 14 of them (5 if it
# was throttled), and a call that succeeds at once gives back one. In an outage the tokens are used up by the twelfth
# call. Then every call fails with its first error, until enough others have succeeded at once: 4 here, 14 from zero. A
# failed condition is no success, so it gives back nothing. A new client has all its tokens. So an environment of Lambda
# that lived through an outage is more brittle than a new one, as long as it lives and has little traffic.
# Versions: boto3 1.44.8 with its defaults. The retry mode is "standard" there; it was "legacy", which has no quota.
# Documented: the guide on retries says that the mode has a quota; neither its size nor how slowly it is filled.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check boto3==1.44.8
cat >call.py <<'PY'
import http.server, json, os, threading
import boto3

requests, failing = 0, 0
ANSWERS = {
    200: {"TableNames": []},
    400: {"__type": "a#ConditionalCheckFailedException"},
    500: {"__type": "a#InternalServerError"},
}


class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global requests, failing
        self.rfile.read(int(self.headers["content-length"]))
        requests += 1
        status = 400 if self.headers["x-amz-target"].endswith(".PutItem") else 200
        if failing:
            failing -= 1
            status = 500
        body = json.dumps(ANSWERS[status]).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_CONFIG_FILE"] = os.devnull


def new_client():
    return boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="key",
    )


def attempts(client, failures):
    """Requests that one call makes if its first requests fail."""
    global requests, failing
    requests, failing = 0, failures
    try:
        client.list_tables()
        return f"{requests} ok"
    except client.exceptions.InternalServerError:
        return str(requests)
    finally:
        failing = 0


client = new_client()
print("outage:", *(attempts(client, 100) for _ in range(16)))
print("back, one request fails:", attempts(client, 1))
for _ in range(20):
    try:
        client.put_item(TableName="t", Item={"id": {"S": "a"}}, ConditionExpression="attribute_not_exists(id)")
    except client.exceptions.ConditionalCheckFailedException:
        pass
print("after 20 failed conditions:", attempts(client, 1))
for successes in (3, 1):
    for _ in range(successes):
        client.list_tables()
    print(f"after {successes} more successes:", attempts(client, 1))
print("new client:", attempts(new_client(), 1))
PY
seen=$(python/bin/python call.py)
echo "$seen"
[ "$seen" = "outage: 4 4 4 4 4 4 4 4 4 4 4 3 1 1 1 1
back, one request fails: 1
after 20 failed conditions: 1
after 3 more successes: 1
after 1 more successes: 2 ok
new client: 2 ok" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# The SQS client of the AWS SDK for JavaScript v3 ignores AWS_ENDPOINT_URL_SQS for every call with a queue URL.
#
# Expected, written down before the first run: an endpoint from AWS_ENDPOINT_URL_SQS counts as much as one in the
# client's configuration. With a queue URL of another host, the request goes to the endpoint, in JavaScript and in
# Python.
# Observed: boto3 sends to the endpoint, whichever way it was given. The SDK for JavaScript obeys `endpoint` in the
# configuration. The endpoint from the environment it gives up in favour of the queue URL's host and prints one
# warning. So a process that was pointed at an emulator by the environment sends to AWS if the queue URL is one of AWS.
# Versions: @aws-sdk/client-sqs 3.1175.0 on Node 20, boto3 1.44.8.
# Documented: the option useQueueUrlAsEndpoint is, and that `endpoint` disables it; not that the variable does not.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  @aws-sdk/client-sqs@3.1175.0 >log 2>&1 ||
  { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check boto3==1.44.8
cat >send.mjs <<'JS'
import { SQSClient, SendMessageCommand } from '@aws-sdk/client-sqs';
const endpoint = process.argv[3];
const client = new SQSClient(endpoint ? { endpoint } : {});
await client.send(new SendMessageCommand({ QueueUrl: process.argv[2], MessageBody: 'a' }));
JS
cat >send.py <<'PY'
import sys, boto3
client = boto3.client("sqs", endpoint_url=sys.argv[2] if len(sys.argv) > 2 else None)
client.send_message(QueueUrl=sys.argv[1], MessageBody="a")
PY
cat >servers.py <<'PY'
"""Two servers that accept every message. Tells which of them the client called."""
import http.server, json, os, subprocess, threading

ANSWER = json.dumps({"MessageId": "1", "MD5OfMessageBody": "0cc175b9c0f1b6a831c399e269772661"}).encode()
called = []

def server(name):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            called.append(name)
            self.send_response(200)
            self.send_header("content-type", "application/x-amz-json-1.0")
            self.send_header("content-length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *_):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{listening.server_port}"

endpoint, queue = server("endpoint"), server("host of the queue URL") + "/123456789012/queue"
clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
clean |= {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
clean |= {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
for language, command in (("JavaScript", ["node", "send.mjs"]), ("Python", ["python/bin/python", "send.py"])):
    for way, arguments, variables in (
        ("configuration", [queue, endpoint], {}),
        ("environment", [queue], {"AWS_ENDPOINT_URL_SQS": endpoint}),
    ):
        called.clear()
        subprocess.run(command + arguments, env=clean | variables, check=True)
        print(f"{language}, endpoint from the {way}: {', '.join(called)}")
PY
seen=$(python/bin/python servers.py 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "JavaScript, endpoint from the configuration: endpoint
JavaScript, endpoint from the environment: host of the queue URL
Python, endpoint from the configuration: endpoint
Python, endpoint from the environment: endpoint" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

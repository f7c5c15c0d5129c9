#!/usr/bin/env bash
# The SQS extended client for Python marks small messages as stored in S3, and then no receive returns them.
#
# Expected: a dictionary of message attributes that two calls share is only read. A message below the threshold goes to
# the queue as it is, whatever was sent before it.
# Observed: for a large message the client adds ExtendedPayloadSize to the caller's dictionary. The small message after
# it takes the attribute along. The receiver takes its body for a pointer into S3 and raises an exception in
# receive_message, so the other messages of that call are lost to it as well, until their visibility timeout ends, and
# each further receive that meets the message fails alike. A second large message with the dictionary is refused before
# it is sent. In a batch whose entries share a dictionary, both happen within one call.
# Versions: amazon-sqs-extended-client 1.0.1, boto3 1.44.8.
# Documented: no. The same in another library is timothymugayi/boto3-sqs-extended-client-lib#13.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check amazon-sqs-extended-client==1.0.1 boto3==1.44.8
cat >send.py <<'PY'
import http.server, json, threading
import boto3
import sqs_extended_client  # noqa: F401, it extends boto3's client

queue = []


class Services(http.server.BaseHTTPRequestHandler):
    """A queue, and a bucket that accepts every object."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = {"MessageId": "1", "MD5OfMessageBody": "0"}
        if self.headers["x-amz-target"].endswith(".SendMessage"):
            queue.append({"Body": request["MessageBody"], "MessageAttributes": request.get("MessageAttributes", {})})
        else:
            answer = {"Messages": [{"MessageId": "1", "ReceiptHandle": "handle", **message} for message in queue]}
        self.answer(json.dumps(answer).encode())

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer(b"")

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Services)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{server.server_port}"
settings = {
    "endpoint_url": endpoint,
    "region_name": "us-east-1",
    "aws_access_key_id": "id",
    "aws_secret_access_key": "key",
}
client = boto3.client("sqs", **settings)
client.large_payload_support = "bucket"
client.s3_client = boto3.client("s3", **settings)
url = f"{endpoint}/123456789012/contacts"
attributes = {"source": {"DataType": "String", "StringValue": "titanx"}}


def send(name, body):
    try:
        client.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
        print(f"{name}: sent with", *sorted(queue[-1]["MessageAttributes"]))
    except Exception as error:
        print(f"{name}: {type(error).__name__}")


small, large = json.dumps({"score": 1}), json.dumps({"notes": "n" * 300_000})
send("small", small)
send("large", large)
send("small again", small)
send("large again", large)
for name, waiting in (("the first", queue[:1]), ("the first and the third", [queue[0], queue[2]])):
    queue[:] = waiting
    try:
        print(f"receiving {name}:", len(client.receive_message(QueueUrl=url)["Messages"]))
    except Exception as error:
        print(f"receiving {name}: {type(error).__name__}")
PY
seen=$(python/bin/python send.py)
echo "$seen"
[ "$seen" = "small: sent with source
large: sent with ExtendedPayloadSize source
small again: sent with ExtendedPayloadSize source
large again: SQSExtendedClientException
receiving the first: 1
receiving the first and the third: SQSExtendedClientException" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

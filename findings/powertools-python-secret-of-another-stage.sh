#!/usr/bin/env bash
# Powertools for Python answers a request for a secret's previous version with its current one.
#
# Expected, written down before the first run: get_secret("webhook") and the same with VersionStage="AWSPREVIOUS" are
# two values, as a receiver needs them that accepts the old and the new secret during a rotation. `max_age` is the
# greatest age that this call accepts, and max_age=0 asks Secrets Manager.
# Observed: the cache's key is the name (and the transform) alone. The second call gets the first one's value, so a
# signature made with the previous secret fails. In reverse order, the previous secret passes for the current one.
# `max_age` belongs to the call that stored the value: after max_age=300, a call with max_age=1 or 0 gets the old value,
# too. force_fetch=True asks.
# Versions: aws-lambda-powertools 3.37.0.
# Documented: that values are cached for max_age seconds; neither the key nor whose max_age counts. For TypeScript it is
# aws-powertools/powertools-lambda-typescript#5622.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aws-lambda-powertools==3.37.0 boto3==1.44.8
cat >read.py <<'PY'
import http.server, json, threading, time
import boto3
from aws_lambda_powertools.utilities.parameters import SecretsProvider

values = {"AWSCURRENT": "new", "AWSPREVIOUS": "old"}


class Secrets(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        wanted = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps({"SecretString": values[wanted.get("VersionStage", "AWSCURRENT")]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Secrets)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    "secretsmanager",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    region_name="us-east-1",
    aws_access_key_id="id",
    aws_secret_access_key="key",
)

provider = SecretsProvider(boto3_client=client)
print("current, previous:", provider.get("webhook"), provider.get("webhook", VersionStage="AWSPREVIOUS"))
provider = SecretsProvider(boto3_client=client)
print("previous, current:", provider.get("webhook", VersionStage="AWSPREVIOUS"), provider.get("webhook"))

provider = SecretsProvider(boto3_client=client)
provider.get("webhook", max_age=300)
values["AWSCURRENT"] = "newest"
time.sleep(1.5)
print("after 1.5 s with max_age=1:", provider.get("webhook", max_age=1))
print("with max_age=0:", provider.get("webhook", max_age=0))
print("with force_fetch:", provider.get("webhook", force_fetch=True))
PY
seen=$(python/bin/python read.py)
echo "$seen"
[ "$seen" = "current, previous: new new
previous, current: old old
after 1.5 s with max_age=1: new
with max_age=0: new
with force_fetch: newest" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

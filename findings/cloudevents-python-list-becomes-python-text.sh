#!/usr/bin/env bash
# The CloudEvents SDK for Python writes a list in binary mode as Python's text of it, labelled as JSON.
#
# Expected: an event that was read from a request in binary mode is written back with an equal body, whatever JSON its
# data is. So a relay passes on what it got.
# Observed: only an object survives. A list of contacts becomes [{'phone': ...}] with single quotes and None, true
# becomes True, a text loses its quotes: the Content-Type is application/json and the body is not JSON, without an
# error. The structured mode writes all of them as JSON, and so does the old interface in the same package,
# cloudevents.v1. So an update to the new interface changes what is sent.
# Versions: cloudevents 2.2.0.
# Documented: the type of `data` is an object, text or bytes in the reference; from_binary returns lists all the same.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0
cat >relay.py <<'PY'
import json
from cloudevents.core.bindings.http import HTTPMessage, from_http, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.v1 import conversion
from cloudevents.v1.http import CloudEvent

headers = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/contacts",
    "ce-type": "contacts.scored",
    "content-type": "application/json",
}
for data in ({"phone": "+12125550123", "score": None}, [{"phone": "+12125550123", "score": None}], True, "text"):
    body = json.dumps(data).encode()
    event = from_http(HTTPMessage(headers, body), JSONFormat())
    binary = to_binary(event, JSONFormat())
    structured = json.loads(to_structured(event, JSONFormat()).body)["data"]
    old = conversion.to_binary(conversion.from_http(CloudEvent, headers, body))[1]
    print(binary.headers["content-type"], binary.body.decode(), f"structured {structured == data}, v1 {old == body}")
PY
seen=$(python/bin/python relay.py)
echo "$seen"
[ "$seen" = "application/json {\"phone\": \"+12125550123\", \"score\": null} structured True, v1 True
application/json [{'phone': '+12125550123', 'score': None}] structured True, v1 True
application/json True structured True, v1 True
application/json text structured True, v1 True" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

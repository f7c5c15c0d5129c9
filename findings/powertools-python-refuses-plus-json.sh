#!/usr/bin/env bash
# Powertools for Python answers 415 to a webhook with a JSON type of its own, such as application/cloudevents+json.
#
# Expected: with enable_validation, the event handler reads a body as JSON if its Content-Type is application/json or
# ends in +json (RFC 6839), as FastAPI does, whose interface it follows.
# Observed: the type must begin with application/json. CloudEvents in structured mode and application/webhook+json are
# answered 415, which senders take for final, so the delivery is lost. No Content-Type at all is read as JSON. Without
# enable_validation, json_body reads each of them.
# Versions: aws-lambda-powertools 3.37.0, pydantic 2.13.5.
# Documented: no. For TypeScript it was aws-powertools/powertools-lambda-typescript#5566, fixed in August 2026.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check 'aws-lambda-powertools[parser]==3.37.0' pydantic==2.13.5
cat >deliver.py <<'PY'
import json
from pydantic import BaseModel
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver


class Contact(BaseModel):
    phone: str


validating, plain = APIGatewayHttpResolver(enable_validation=True), APIGatewayHttpResolver()


@validating.post("/webhook")
def receive(contact: Contact):
    return contact.phone


@plain.post("/webhook")
def receive_unvalidated():
    return plain.current_event.json_body["phone"]


for content_type in (
    "application/json",
    "application/json; charset=utf-8",
    "application/webhook+json",
    "application/cloudevents+json",
    None,
):
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/webhook",
        "rawQueryString": "",
        "headers": {"content-type": content_type} if content_type else {},
        "requestContext": {"http": {"method": "POST", "path": "/webhook"}, "stage": "$default"},
        "body": json.dumps({"phone": "+12125550123"}),
        "isBase64Encoded": False,
    }
    statuses = (int(app.resolve(event, None)["statusCode"]) for app in (validating, plain))
    print(f"{content_type}:", *statuses)
PY
seen=$(python/bin/python deliver.py)
echo "$seen"
[ "$seen" = "application/json: 200 200
application/json; charset=utf-8: 200 200
application/webhook+json: 415 200
application/cloudevents+json: 415 200
None: 200 200" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

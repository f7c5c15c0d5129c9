#!/usr/bin/env bash
# Powertools for TypeScript's router answers 500 to a delivery that was handled, and no log and no metric tells why.
#
# Expected: a handler that returns nothing is answered 2xx with an empty body or null, as by Powertools for Python. An
# exception in a handler fails the invocation, as there, or is logged at the level ERROR.
# Observed: a handler that returns nothing has done its work, then "Value is not JSON serializable" is thrown, and the
# answer is 500: the sender delivers again and again what is stored already. This error, like any that a handler throws,
# is logged at the level debug, and to no one if the router has no logger of its own. The invocation succeeds, so Lambda's
# metric Errors stays 0, and an alarm on lines with ERROR sees none; all that is left is the gateway's count of 5xx.
# Versions: @aws-lambda-powertools/event-handler 2.35.0, Node 20; aws-lambda-powertools 3.37.0 (Python).
# Documented: that an unhandled error is answered 500. Not that it is not logged. TypeScript refuses a handler that
# returns void; JavaScript, and a value of type any, do not show it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  @aws-lambda-powertools/event-handler@2.35.0 @aws-lambda-powertools/commons@2.35.0 >log 2>&1 ||
  { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aws-lambda-powertools==3.37.0
cat >event.json <<'JSON'
{
  "version": "2.0",
  "routeKey": "$default",
  "rawPath": "/",
  "rawQueryString": "",
  "headers": {"host": "example.com", "content-type": "application/json"},
  "requestContext": {
    "accountId": "123456789012",
    "apiId": "api",
    "domainName": "example.com",
    "domainPrefix": "example",
    "http": {"method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "sender"},
    "requestId": "id",
    "routeKey": "$default",
    "stage": "$default",
    "time": "05/Jan/2026:12:00:00 +0000",
    "timeEpoch": 1767614400000
  },
  "body": "{}",
  "isBase64Encoded": false
}
JSON
cat >routes.mjs <<'JS'
import fs from 'node:fs';
import { Router } from '@aws-lambda-powertools/event-handler/http';

const levels = [];
const logger = Object.fromEntries(['debug', 'warn', 'error'].map((level) => [level, (text) => levels.push(`${level} "${text}"`)]));
const event = JSON.parse(fs.readFileSync('event.json', 'utf8'));
const handled = [];
const handlers = {
  object: async () => ({ stored: handled.push(1) }),
  nothing: async () => {
    handled.push(1);
  },
  exception: async () => {
    throw new Error('no store');
  },
};
for (const options of [{}, { logger }]) {
  for (const [name, handler] of Object.entries(handlers)) {
    levels.length = handled.length = 0;
    const router = new Router(options);
    router.post('/', handler);
    const { statusCode } = await router.resolve(event, { awsRequestId: 'id' });
    console.log(`TypeScript, ${name}: handled ${handled.length}, answer ${statusCode}, logged ${levels.join(', ') || 'nothing'}`);
  }
}
JS
cat >routes.py <<'PY'
import json
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

event = json.load(open("event.json"))


def fail():
    raise RuntimeError("no store")


for name, handler in (("nothing", lambda: None), ("exception", fail)):
    router = APIGatewayHttpResolver()
    router.post("/")(handler)
    try:
        print(f"Python, {name}: answer {router.resolve(event, None)['statusCode']}")
    except RuntimeError:
        print(f"Python, {name}: the invocation fails")
PY
# What the router writes to the standard output or the standard error is in the result.
seen=$(env -u POWERTOOLS_DEV -u AWS_LAMBDA_LOG_LEVEL node routes.mjs 2>&1; python/bin/python routes.py)
echo "$seen"
[ "$seen" = 'TypeScript, object: handled 1, answer 200, logged nothing
TypeScript, nothing: handled 1, answer 500, logged nothing
TypeScript, exception: handled 0, answer 500, logged nothing
TypeScript, object: handled 1, answer 200, logged nothing
TypeScript, nothing: handled 1, answer 500, logged debug "There was an error processing the request: TypeError: Value is not JSON serializable"
TypeScript, exception: handled 0, answer 500, logged debug "There was an error processing the request: Error: no store"
Python, nothing: answer 200
Python, exception: the invocation fails' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# Powertools for Python turns the caller's address in an API Gateway event into a network.
#
# Expected, written down before the first run: the parser's model of an HTTP API event gives sourceIp as the event has
# it, or as an address (IPv4Address).
# Observed: it is an IPv4Network or IPv6Network of one address. As text and in JSON it ends in /32 or /128, so it
# equals no address in a log, a list or a table. The model of a function URL event is the same. Powertools' data
# classes and its parser for Transfer Family events give the address.
# Versions: aws-lambda-powertools 3.37.0, pydantic 2.13.5.
# Documented: the type IPvAnyNetwork stands in the reference of the model; its effect does not.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check 'aws-lambda-powertools[parser]==3.37.0' pydantic==2.13.5
cat >parse.py <<'PY'
import json
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.parser.models import APIGatewayProxyEventV2Model, LambdaFunctionUrlModel

for address in ("203.0.113.7", "2001:db8::1"):
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"host": "api.example.com"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {"method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": address, "userAgent": "agent"},
            "requestId": "request",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1773342238000,
        },
        "body": "{}",
        "isBase64Encoded": False,
    }
    for model in (APIGatewayProxyEventV2Model, LambdaFunctionUrlModel):
        parsed = model.model_validate(event)
        caller = parsed.requestContext.http.sourceIp
        written = json.loads(parsed.model_dump_json())["requestContext"]["http"]["sourceIp"]
        print(model.__name__, type(caller).__name__, caller, written)
    print("data class", APIGatewayProxyEventV2(event).request_context.http.source_ip)
PY
seen=$(python/bin/python parse.py)
echo "$seen"
[ "$seen" = "APIGatewayProxyEventV2Model IPv4Network 203.0.113.7/32 203.0.113.7/32
LambdaFunctionUrlModel IPv4Network 203.0.113.7/32 203.0.113.7/32
data class 203.0.113.7
APIGatewayProxyEventV2Model IPv6Network 2001:db8::1/128 2001:db8::1/128
LambdaFunctionUrlModel IPv6Network 2001:db8::1/128 2001:db8::1/128
data class 2001:db8::1" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

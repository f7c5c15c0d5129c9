#!/usr/bin/env bash
# moto runs a DynamoDB transaction a second time although it has the same ClientRequestToken.
#
# Expected: the second of two equal calls of TransactWriteItems with one token succeeds
# and changes nothing, and a call with that token and another content fails with IdempotentParameterMismatchException. AWS
# documents both for ten minutes, and boto3 sends a token with every transaction, so that its own retries are safe.
# Observed: moto does not look at the token. A counter is raised twice, and a Put with attribute_not_exists that succeeded is
# cancelled when it is repeated, so the claim of a delivery whose answer got lost looks like somebody else's. A test then
# asks for code against a fault that AWS does not have, and one that uses a token for two contents passes and fails on AWS.
# Versions: moto 5.2.5, boto3 1.44.8.
# Documented: no. None found in the tracker.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check "moto[dynamodb]==5.2.5" boto3==1.44.8
cat >transact.py <<'PY'
import boto3
from botocore.exceptions import ClientError
from moto import mock_aws


def name(key):
    return {"TableName": "deliveries", "Key": {"id": {"S": key}}}


def count(key, by="1"):
    values = {":by": {"N": by}}
    return {"Update": {**name(key), "UpdateExpression": "ADD attempts :by", "ExpressionAttributeValues": values}}


def claim(key):
    condition = "attribute_not_exists(id)"
    return {"Put": {"TableName": "deliveries", "Item": {"id": {"S": key}}, "ConditionExpression": condition}}


with mock_aws():
    dynamodb = boto3.client("dynamodb", region_name="us-east-1")
    dynamodb.create_table(
        TableName="deliveries",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def call(item, token):
        try:
            dynamodb.transact_write_items(TransactItems=[item], ClientRequestToken=token)
            return "done"
        except ClientError as error:
            return error.response["Error"]["Code"]

    calls = [call(count("counter"), "first"), call(count("counter"), "first")]
    item = dynamodb.get_item(**name("counter"))["Item"]
    print(f"a counter, twice with one token: {', '.join(calls)}; attempts {item['attempts']['N']}")
    print("another content with that token:", call(count("counter", "5"), "first"))
    print("a claim, twice with one token:", ", ".join([call(claim("claim"), "second"), call(claim("claim"), "second")]))
    print("the claim with another token:", call(claim("claim"), "third"))
PY
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x
seen=$(python/bin/python transact.py 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "a counter, twice with one token: done, done; attempts 2
another content with that token: done
a claim, twice with one token: done, TransactionCanceledException
the claim with another token: TransactionCanceledException" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

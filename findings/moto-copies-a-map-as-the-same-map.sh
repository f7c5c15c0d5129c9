#!/usr/bin/env bash
# moto's SET previous = contact makes both attributes one map, and a later change of the contact changes its copy.
#
# Expected, written down before the first run: an update expression's right sides read the item as it was before the update,
# so a swap works and a copy keeps the old value, as DynamoDB has it.
# Observed: texts and numbers are copied, a swap works. A map or a list is not copied: the two attributes share it from then
# on. Whatever updates one of them later shows in the other, over all later calls. A test of "keep the contact as it was"
# sees a copy that is never the old one, and a test that the two differ cannot pass. With an update in the same call the
# copy has the new value, although DynamoDB reads it first. An item that is put with both maps has two.
# Versions: moto 5.2.5, boto3 1.44.8.
# Documented: no. We found no issue about it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check 'moto[dynamodb]==5.2.5' boto3==1.44.8
cat >update.py <<'PY'
import boto3
from moto import mock_aws


def show(item):
    contact, previous = item["contact"], item["previous"]
    return f"contact {contact}, previous {previous}"


@mock_aws
def main():
    table = boto3.resource(
        "dynamodb", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
    ).create_table(
        TableName="contacts",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def update(name, expression, value=None):
        values = {"ExpressionAttributeValues": {":value": value}} if value else {}
        table.update_item(Key={"id": "1"}, UpdateExpression=expression, **values)
        print(f"{name}: {show(table.get_item(Key={'id': '1'})['Item'])}")

    table.put_item(Item={"id": "1", "contact": "Ann", "previous": "Bob"})
    update("text, swap", "SET contact = previous, previous = contact")
    update("text, copy", "SET previous = contact")
    update("text, change", "SET contact = :value", "Cat")
    table.put_item(Item={"id": "1", "contact": {"nick": "Ann"}, "previous": {"nick": "Ann"}})
    update("two maps, change", "SET contact.nick = :value", "Cat")
    table.put_item(Item={"id": "1", "contact": {"nick": "Ann"}})
    update("map, copy", "SET previous = contact")
    update("map, change", "SET contact.nick = :value", "Cat")
    update("map, change of the copy", "SET previous.nick = :value", "Dan")
    table.put_item(Item={"id": "1", "contact": ["Ann"]})
    update("list, copy", "SET previous = contact")
    update("list, change", "SET contact[1] = :value", "Cat")
    table.put_item(Item={"id": "1", "contact": {"nick": "Ann"}})
    update("map, both in one call", "SET contact.nick = :value, previous = contact", "Cat")


main()
PY
seen=$(python/bin/python update.py)
echo "$seen"
[ "$seen" = "text, swap: contact Bob, previous Ann
text, copy: contact Bob, previous Bob
text, change: contact Cat, previous Bob
two maps, change: contact {'nick': 'Cat'}, previous {'nick': 'Ann'}
map, copy: contact {'nick': 'Ann'}, previous {'nick': 'Ann'}
map, change: contact {'nick': 'Cat'}, previous {'nick': 'Cat'}
map, change of the copy: contact {'nick': 'Dan'}, previous {'nick': 'Dan'}
list, copy: contact ['Ann'], previous ['Ann']
list, change: contact ['Ann', 'Cat'], previous ['Ann', 'Cat']
map, both in one call: contact {'nick': 'Cat'}, previous {'nick': 'Cat'}" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

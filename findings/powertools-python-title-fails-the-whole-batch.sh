#!/usr/bin/env bash
# Powertools for Python reports no partial failure if the message's model has a title.
#
# Expected: of three SQS messages, the one that does not match the model is reported in batchItemFailures, whatever the
# model's title. A title is for JSON Schema alone.
# Observed: the processor recognises a failed validation by comparing the error's title with the class's name. With a
# title in model_config, the comparison fails, and the batch ends with an AttributeError about None. All three messages
# return to the queue, although two were processed; after enough attempts all three are in the dead-letter queue. The
# same happens if a validator raises anything but ValueError or AssertionError, such as KeyError for a missing field.
# Versions: aws-lambda-powertools 3.37.0, pydantic 2.13.5.
# Documented: no. The recognition by name came with aws-powertools/powertools-lambda-python#2091.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check \
  'aws-lambda-powertools[parser]==3.37.0' pydantic==2.13.5 boto3==1.44.8
cat >process.py <<'PY'
import json
from pydantic import BaseModel, ConfigDict, Json, field_validator
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.parser.models import SqsRecordModel


class Contact(BaseModel):
    phone: str


class Plain(SqsRecordModel):
    body: Json[Contact]


class Titled(SqsRecordModel):
    model_config = ConfigDict(title="Message with a contact")
    body: Json[Contact]


class Validated(SqsRecordModel):
    body: Contact

    @field_validator("body", mode="before")
    @classmethod
    def only_the_phone(cls, value):
        return {"phone": json.loads(value)["phone"]}


def record(number, body):
    return {
        "messageId": number,
        "receiptHandle": "handle",
        "body": json.dumps(body),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "sender",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:contacts",
        "awsRegion": "us-east-1",
    }


batch = [record("1", {"phone": "+12125550123"}), record("2", {}), record("3", {"phone": "+12125550124"})]
for model in (Plain, Titled, Validated):
    processed = []
    processor = BatchProcessor(EventType.SQS, model=model)
    try:
        answer = process_partial_response({"Records": batch}, lambda record: processed.append(record), processor)
    except Exception as error:
        answer = type(error).__name__
    print(f"{model.__name__}: {len(processed)} processed, {answer}")
PY
seen=$(python/bin/python process.py)
echo "$seen"
[ "$seen" = "Plain: 2 processed, {'batchItemFailures': [{'itemIdentifier': '2'}]}
Titled: 2 processed, AttributeError
Validated: 2 processed, AttributeError" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

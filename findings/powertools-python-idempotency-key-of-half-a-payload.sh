#!/usr/bin/env bash
# Powertools for Python accepts an idempotency key of which a part is missing.
#
# Expected, written down before the first run: with raise_on_no_idempotency_key, an event that lacks one of two fields
# in event_key_jmespath "[deliveryId, tenant]" raises IdempotencyKeyError, as one that lacks both does.
# Observed: it raises only if *all* parts are missing. One missing part counts as null. So if a sender renames the
# field that makes events distinct, all events of a tenant have one key, and the second event is answered with the
# first one's result without a call of the handler. Besides, Decimal("1") and "1" give the same key, 1 and 1.0 do not.
# Versions: aws-lambda-powertools 3.37.0.
# Documented: that the flag raises if there is no key; nothing about a key with a missing part, nor about Decimal.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aws-lambda-powertools==3.37.0 jmespath==1.1.0 boto3==1.44.8
cat >keys.py <<'PY'
from decimal import Decimal
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyItemAlreadyExistsError
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer


class Memory(BasePersistenceLayer):
    def __init__(self):
        super().__init__()
        self.records = {}

    def _get_record(self, idempotency_key):
        return self.records[idempotency_key]

    def _put_record(self, data_record):
        if data_record.idempotency_key in self.records:
            raise IdempotencyItemAlreadyExistsError(old_data_record=self.records[data_record.idempotency_key])
        self.records[data_record.idempotency_key] = data_record

    def _update_record(self, data_record):
        self.records[data_record.idempotency_key] = data_record

    def _delete_record(self, data_record):
        del self.records[data_record.idempotency_key]


def answers(expression, *events):
    config = IdempotencyConfig(event_key_jmespath=expression, raise_on_no_idempotency_key=True)
    calls = []

    @idempotent_function(data_keyword_argument="event", persistence_store=Memory(), config=config)
    def handle(event):
        calls.append(event)
        return len(calls)

    def answer(event):
        try:
            return str(handle(event=event))
        except Exception as error:
            return type(error).__name__

    return " ".join(answer(event) for event in events)


both = "[deliveryId, tenant]"
print("both parts:", answers(both, {"deliveryId": "a", "tenant": "t"}, {"deliveryId": "b", "tenant": "t"}))
print("one missing:", answers(both, {"delivery": "a", "tenant": "t"}, {"delivery": "b", "tenant": "t"}))
print("both missing:", answers(both, {"delivery": "a"}, {"delivery": "b"}))
print("Decimal and text:", answers("n", {"n": Decimal("1")}, {"n": "1"}))
print("1 and 1.0:", answers("n", {"n": 1}, {"n": 1.0}))
PY
seen=$(python/bin/python -W ignore keys.py)
echo "$seen"
[ "$seen" = "both parts: 1 2
one missing: 1 1
both missing: IdempotencyKeyError IdempotencyKeyError
Decimal and text: 1 1
1 and 1.0: 1 2" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

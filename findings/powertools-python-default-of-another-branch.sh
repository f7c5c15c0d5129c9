#!/usr/bin/env bash
# Powertools for Python's validation writes the default of a schema's branch into an event of another branch.
#
# Expected: of a schema with oneOf for two types of event, only the branch that matches has an effect. An event of the
# second type passes as it came.
# Observed: each branch writes its defaults into the event before its own checks have failed, and they stay. So a
# job.completed gets the score of a contact. If the second branch allows no additional properties, it refuses the valid
# event because of what the first one wrote. The caller's event is changed even then. anyOf does the same; the order of
# the branches and of their properties decides. jsonschema accepts both events and writes nothing.
# Versions: aws-lambda-powertools 3.37.0, fastjsonschema 2.22.3, jsonschema 4.26.0.
# Documented: the reference of validate() says that defaults are part of the event that it returns; nothing about
# branches, nor that the caller's event is changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check \
  'aws-lambda-powertools[validation]==3.37.0' fastjsonschema==2.22.3 jmespath==1.1.0 jsonschema==4.26.0
cat >check.py <<'PY'
import jsonschema
from aws_lambda_powertools.utilities.validation import SchemaValidationError, validate


def schema(keyword, job):
    contact = {"properties": {"score": {"type": "integer", "default": 0}, "type": {"const": "contact.scored"}}}
    return {keyword: [{"required": ["type"], **contact}, {"required": ["type"], **job}]}


open_job = {"properties": {"type": {"const": "job.completed"}}}
closed_job = {**open_job, "additionalProperties": False}
for name, job in (("open", open_job), ("closed", closed_job)):
    for keyword in ("oneOf", "anyOf"):
        jsonschema.validate({"type": "job.completed"}, schema(keyword, job))
        event = {"type": "job.completed"}
        try:
            validate(event=event, schema=schema(keyword, job))
            print(f"{keyword}, {name}: valid, {event}")
        except SchemaValidationError:
            print(f"{keyword}, {name}: refused, {event}")
PY
seen=$(python/bin/python check.py)
echo "$seen"
[ "$seen" = "oneOf, open: valid, {'type': 'job.completed', 'score': 0}
anyOf, open: valid, {'type': 'job.completed', 'score': 0}
oneOf, closed: refused, {'type': 'job.completed', 'score': 0}
anyOf, closed: refused, {'type': 'job.completed', 'score': 0}" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

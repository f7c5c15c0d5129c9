#!/usr/bin/env bash
# Powertools for Python writes log lines without a level once a key called level was added for a while.
#
# Expected, written down before the first run: append_context_keys(**contact) adds a contact's fields to the lines inside
# the block. A field called `level` does not touch the severity of the line, and after the block all is as before.
# Observed: inside the block the field replaces the severity. At its end it is removed, and the severity with it: from
# then on, no line of this logger has a level, in this invocation and in all later ones of the same environment, also
# with inject_lambda_context. A metric filter { $.level = "ERROR" } and its alarm see nothing more. The same happens with
# `timestamp`, and with append_keys and remove_keys. inject_lambda_context(clear_state=True) and the methods with
# thread_safe in their names do not have this; `extra` keeps the level; Powertools for TypeScript refuses the key with a
# warning.
# Versions: aws-lambda-powertools 3.37.0, @aws-lambda-powertools/logger 2.36.0.
# Documented: the reference of append_context_keys warns that a key of the same name that was *added* before is lost at
# the end. Not that level, location and timestamp are such keys.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aws-lambda-powertools==3.37.0
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  @aws-lambda-powertools/logger@2.36.0 @aws-lambda-powertools/commons@2.36.0 >log 2>&1 ||
  { cat log; exit 1; }
cat >lines.py <<'PY'
import io
import json
from types import SimpleNamespace
from aws_lambda_powertools import Logger

contact = {"phone": "+12125550123", "level": "Director"}
context = SimpleNamespace(
    function_name="receiver", memory_limit_in_mb=128, invoked_function_arn="arn", aws_request_id="1", tenant_id=None
)


def tell(name, add):
    lines = io.StringIO()
    logger = Logger(service=name, stream=lines)
    add(logger)

    @logger.inject_lambda_context
    def later(event, context):
        logger.error("later invocation")

    @logger.inject_lambda_context(clear_state=True)
    def cleared(event, context):
        logger.error("with clear_state")

    later({}, context)
    cleared({}, context)
    levels = [f"{line['message']} {line.get('level')}" for line in map(json.loads, lines.getvalue().splitlines())]
    print(f"{name}: {', '.join(levels)}")


def in_a_block(logger):
    logger.error("before")
    with logger.append_context_keys(**contact):
        logger.error("inside")
    logger.error("after")


def added_and_removed(logger):
    logger.append_keys(**contact)
    logger.error("inside")
    logger.remove_keys(contact)
    logger.error("after")


tell("append_context_keys", in_a_block)
tell("append_keys", added_and_removed)
tell("extra", lambda logger: logger.error("inside", extra=contact))
PY
cat >lines.mjs <<'JS'
import { Logger } from '@aws-lambda-powertools/logger';

const logger = new Logger({ serviceName: 'receiver' });
logger.appendKeys({ phone: '+12125550123', level: 'Director' });
logger.error('inside');
logger.removeKeys(['phone', 'level']);
logger.error('after');
JS
seen=$(
  python/bin/python lines.py
  env -u POWERTOOLS_DEV node lines.mjs 2>&1 | grep -o '"level":"ERROR","message":"[a-z]*"'
)
echo "$seen"
[ "$seen" = 'append_context_keys: before ERROR, inside Director, after None, later invocation None, with clear_state ERROR
append_keys: inside Director, after None, later invocation None, with clear_state ERROR
extra: inside ERROR, later invocation ERROR, with clear_state ERROR
"level":"ERROR","message":"inside"
"level":"ERROR","message":"after"' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

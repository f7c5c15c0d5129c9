#!/usr/bin/env bash
# Middy's validator turns null into 0 or "" and refuses null where a schema allows it by oneOf.
#
# Expected: the validator accepts or refuses an event and leaves it as it is, but for defaults. A null for {"type":
# "number"} is refused. A null for oneOf of a number and null is accepted.
# Observed: a null for a number is accepted and becomes 0, one for a text becomes "", one for a boolean false, one for a
# list [null]. So a contact that was not scored reaches the handler with a score of 0. With oneOf, the null that the
# schema allows is refused, because after the conversion both branches match. anyOf and type ["number", "null"] keep it.
# A list of one text passes for a text, a text of digits for a number, above 2^53 with other digits.
# Versions: @middy/core and @middy/validator 7.7.0, Node 20.
# Documented: that ajv's coerceTypes is "array" by default is in the page of the middleware; what it does to null is in
# ajv's table of conversions; oneOf is not.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  @middy/core@7.7.0 @middy/validator@7.7.0 >log 2>&1 ||
  { cat log; exit 1; }
cat >validate.mjs <<'JS'
import middy from '@middy/core';
import validator from '@middy/validator';
import { transpileSchema } from '@middy/validator/transpile';

const handle = async (properties, event) => {
  const eventSchema = transpileSchema({ type: 'object', properties });
  const handler = middy().use(validator({ eventSchema })).handler(async (valid) => JSON.stringify(valid));
  try {
    return await handler(event, {});
  } catch (error) {
    return error.message;
  }
};
const types = { score: 'number', phone: 'string', active: 'boolean', tags: 'array' };
console.log('types:', await handle(
  Object.fromEntries(Object.entries(types).map(([name, type]) => [name, { type }])),
  { score: null, phone: null, active: null, tags: null },
));
const branches = [{ type: 'number' }, { type: 'null' }];
console.log('oneOf:', await handle({ score: { oneOf: branches } }, { score: null }));
console.log('anyOf:', await handle({ score: { anyOf: branches } }, { score: null }));
console.log('list of types:', await handle({ score: { type: ['number', 'null'] } }, { score: null }));
console.log('list of one:', await handle({ phone: { type: 'string' } }, { phone: ['+12125550123'] }));
console.log('digits:', await handle({ id: { type: 'integer' } }, { id: '12345678901234567' }));
JS
seen=$(node validate.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'types: {"score":0,"phone":"","active":false,"tags":[null]}
oneOf: Event object failed validation
anyOf: {"score":null}
list of types: {"score":null}
list of one: {"phone":"+12125550123"}
digits: {"id":12345678901234568}' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# The AWS SDK for JavaScript v3 stores a Date as an empty map if one follows the advice of its own error message.
#
# Expected: marshall() refuses a Date, and the option that its error message names, convertClassInstanceToMap, makes a
# value of it from which the time can be read, or refuses it as well. (Written down before the first run: with
# removeUndefinedValues, a list keeps its positions.)
# Observed: with the option, a Date becomes the empty map {"M":{}}, without an error. The time is lost. A RegExp
# becomes one, too. A list loses its undefined elements under removeUndefinedValues, and what follows moves up.
# Versions: @aws-sdk/util-dynamodb 3.996.9, Node 20.
# Documented: the options are, in one sentence each; neither a Date nor the moved elements.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  @aws-sdk/util-dynamodb@3.996.9 @aws-sdk/client-dynamodb@3.1169.0 >log 2>&1 ||
  { cat log; exit 1; }
cat >marshall.mjs <<'JS'
import { marshall } from '@aws-sdk/util-dynamodb';
const date = new Date('2026-01-02T03:04:05Z');
try {
  marshall({ date });
} catch (error) {
  console.log(error.message.match(/Pass options.*/)[0]);
}
console.log(JSON.stringify(marshall({ date, expression: /a/ }, { convertClassInstanceToMap: true })));
console.log(JSON.stringify(marshall({ list: ['a', undefined, 'c'] }, { removeUndefinedValues: true })));
JS
seen=$(node marshall.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'Pass options.convertClassInstanceToMap=true to marshall typeof object as map attribute.
{"date":{"M":{}},"expression":{"M":{}}}
{"list":{"L":[{"S":"a"},{"S":"c"}]}}' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

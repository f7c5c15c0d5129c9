#!/usr/bin/env bash
# Powertools for TypeScript gives two payloads one idempotency key if they differ only in a Set, a Map or a form body.
#
# Expected: makeIdempotent on a function of an object calls it once for each distinct object, or refuses what it cannot
# turn into a key. Where a value has toJSON, the key holds its result.
# Observed: before the key is made, each object becomes a plain one of its own enumerable fields. A Set, a Map, a
# URLSearchParams and an object with private fields have none, with toJSON or without, so all of them count as {}. The
# second payload is not handled: it gets the first one's result, without a warning. The document client for DynamoDB
# returns string sets as Set, so this meets items that are read from a table. Date, URL and Buffer are told apart.
# Versions: @aws-lambda-powertools/idempotency 2.35.0, Node 20.
# Documented: the type of the payload is JSONValue in the reference; nothing about what else happens.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  @aws-lambda-powertools/idempotency@2.35.0 @aws-lambda-powertools/commons@2.35.0 \
  @aws-lambda-powertools/jmespath@2.35.0 >log 2>&1 ||
  { cat log; exit 1; }
cat >calls.mjs <<'JS'
import {
  IdempotencyConfig,
  IdempotencyItemAlreadyExistsError,
  makeIdempotent,
} from '@aws-lambda-powertools/idempotency';
import { BasePersistenceLayer } from '@aws-lambda-powertools/idempotency/persistence';

class Memory extends BasePersistenceLayer {
  records = new Map();
  async _getRecord(key) { return this.records.get(key); }
  async _putRecord(record) {
    const old = this.records.get(record.idempotencyKey);
    if (old) throw new IdempotencyItemAlreadyExistsError('exists', old);
    this.records.set(record.idempotencyKey, record);
  }
  async _updateRecord(record) { this.records.set(record.idempotencyKey, record); }
  async _deleteRecord(record) { this.records.delete(record.idempotencyKey); }
}

class Phone {
  #digits;
  constructor(digits) { this.#digits = digits; }
  toJSON() { return this.#digits; }
}

const answers = async (name, first, second) => {
  let calls = 0;
  const handle = makeIdempotent(async () => (calls += 1), {
    persistenceStore: new Memory(),
    config: new IdempotencyConfig({}),
  });
  console.log(`${name}:`, await handle({ tenant: 't', value: first }), await handle({ tenant: 't', value: second }));
};
await answers('list', ['a'], ['b']);
await answers('Set', new Set(['a']), new Set(['b']));
await answers('Map', new Map([['a', 1]]), new Map([['b', 2]]));
await answers('URLSearchParams', new URLSearchParams('id=a'), new URLSearchParams('id=b'));
await answers('private field with toJSON', new Phone('2125550123'), new Phone('2125550124'));
await answers('Date', new Date(1_000), new Date(2_000));
await answers('URL', new URL('https://example.com/a'), new URL('https://example.com/b'));
await answers('Buffer', Buffer.from('a'), Buffer.from('b'));
JS
seen=$(node calls.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "list: 1 2
Set: 1 1
Map: 1 1
URLSearchParams: 1 1
private field with toJSON: 1 1
Date: 1 2
URL: 1 2
Buffer: 1 2" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

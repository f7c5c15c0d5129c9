#!/usr/bin/env bash
# ElectroDB deletes a contact that its condition protects, if the last where() of two has an OR.
#
# Expected: a second where() narrows the first, in either order. The documentation says that they are joined by AND.
# Observed: what the earlier calls gave is put into parentheses, the last one is not. AND binds before OR, so
# version = 3 and then (new or done) is read as (version = 3 and new), or done: a contact of version 4 that is done is
# deleted. In the other order the delete is refused. create() adds "does not exist" as a first condition, so with one such
# where() it replaces a contact that exists. A scan or query with the two calls returns contacts of any version.
# Versions: electrodb 3.9.3, dynalite 4.0.0, @aws-sdk/client-dynamodb and lib-dynamodb 3.1169.0, Node 20.
# Documented: no. That chained calls mean AND is tywalch/electrodb#374; the parentheses are in no issue that we found.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts electrodb@3.9.3 dynalite@4.0.0 \
  @aws-sdk/client-dynamodb@3.1169.0 @aws-sdk/lib-dynamodb@3.1169.0 >log 2>&1 || { cat log; exit 1; }
cat >conditions.mjs <<'JS'
import { CreateTableCommand, DynamoDBClient, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import dynalite from 'dynalite';
import { Entity } from 'electrodb';

const server = dynalite({ createTableMs: 0 });
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const dynamodb = new DynamoDBClient({
  endpoint: `http://127.0.0.1:${server.address().port}`,
  region: 'eu-central-1',
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
});
const table = 'contacts';
await dynamodb.send(new CreateTableCommand({
  TableName: table,
  KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }],
  AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }],
  BillingMode: 'PAY_PER_REQUEST',
}));
await waitUntilTableExists({ client: dynamodb, maxWaitTime: 30 }, { TableName: table });

const client = DynamoDBDocumentClient.from(dynamodb);
const contacts = new Entity({
  model: { entity: 'contact', service: 'receiver', version: '1' },
  attributes: { id: { type: 'string' }, version: { type: 'number' }, state: { type: 'string' } },
  indexes: { primary: { pk: { field: 'pk', composite: ['id'] } } },
}, { table, client });

const three = ({ version }, { eq }) => eq(version, 3);
const open = ({ state }, { eq }) => `${eq(state, 'new')} OR ${eq(state, 'done')}`;
const tell = async (name, call) => {
  const { ConditionExpression: condition } = call.params();
  const result = await call.go().then(() => 'done', () => 'refused');
  console.log(`${name}: ${condition}: ${result}`);
};

await contacts.put({ id: 'ann', version: 4, state: 'done' }).go();
await tell('delete, version last', contacts.delete({ id: 'ann' }).where(open).where(three));
await tell('delete, version first', contacts.delete({ id: 'ann' }).where(three).where(open));
await contacts.put({ id: 'ann', version: 4, state: 'done' }).go();
await tell('create', contacts.create({ id: 'ann', version: 1, state: 'new' }));
await tell('create with where', contacts.create({ id: 'ann', version: 1, state: 'new' }).where(open));
console.log('version after it:', (await contacts.get({ id: 'ann' }).go()).data.version);
await contacts.put({ id: 'bob', version: 3, state: 'new' }).go();
await contacts.put({ id: 'cat', version: 4, state: 'done' }).go();
const ids = async (call) => (await call.go({ pages: 'all' })).data.map(({ id }) => id).sort().join(' ');
console.log('scan, version last:', await ids(contacts.scan.where(open).where(three)));
console.log('scan, version first:', await ids(contacts.scan.where(three).where(open)));
server.close();
JS
seen=$(node conditions.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "delete, version last: (#state = :state0 OR #state = :state1) AND #version = :version0: refused
delete, version first: (#version = :version0) AND #state = :state0 OR #state = :state1: done
create: attribute_not_exists(#pk): refused
create with where: attribute_not_exists(#pk) AND #state = :state0 OR #state = :state1: done
version after it: 1
scan, version last: bob
scan, version first: bob cat" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# dynamoose stores {} for a map and [] for a list in an attribute whose type and schema are both "any".
#
# Expected: {type: ANY, schema: ANY}, which dynamoose names in its description of the type "any" for a value that may be
# anything, with anything nested in it, keeps what it is given, such as the fields of a contact that differ from one
# customer to the next.
# Observed: a text is kept. Of a map only the keys that the schema knows are kept, and under "any" it knows none: an empty
# map is stored, without an error, by create and by update. A list loses all its items. A map that another program stored is
# read as empty, and the next save of the contact, for a change elsewhere, empties it in the table. {type: Object, schema:
# ANY} keeps all of a map.
# Versions: dynamoose 4.2.0, @aws-sdk/client-dynamodb 3.1169.0, dynalite 4.0.0 as the table, Node 20.
# Documented: the opposite. That ANY without a schema keeps nothing nested is documented, and for Object without a schema it
# is dynamoose/dynamoose#892. For ANY with a schema, none found in the tracker.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  dynamoose@4.2.0 @aws-sdk/client-dynamodb@3.1169.0 dynalite@4.0.0 >log 2>&1 || { cat log; exit 1; }
cat >any.mjs <<'JS'
import { once } from 'node:events';
import { DynamoDB } from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';
import dynamoose from 'dynamoose';

const server = dynalite({ createTableMs: 0 });
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const endpoint = `http://127.0.0.1:${server.address().port}`;
const client = new DynamoDB({ endpoint, region: 'us-east-1', credentials: { accessKeyId: 'x', secretAccessKey: 'x' } });
dynamoose.aws.ddb.set(client);

const { ANY } = dynamoose.type;
const model = (name, fields) =>
  dynamoose.model(name, new dynamoose.Schema({ id: String, score: Number, fields }), { waitForActive: { enabled: true } });
const Any = model('any', { type: ANY, schema: ANY });
const Mapped = model('map', { type: Object, schema: ANY });
const tell = async (name, table, id) => {
  const { Item } = await client.getItem({ TableName: table, Key: { id: { S: id } } });
  console.log(`${name}: ${JSON.stringify(Item.fields)}`);
};
const fields = { company: 'Example Inc.' };

await Any.create({ id: 'text', fields: 'Example Inc.' });
await tell('a text', 'any', 'text');
await Any.create({ id: 'list', fields: ['lead', 1] });
await tell('a list', 'any', 'list');
await Any.create({ id: 'map', fields: { ...fields } });
await tell('a map', 'any', 'map');
await Any.update({ id: 'map' }, { fields: { ...fields } });
await tell('a map by update', 'any', 'map');
const stored = { M: { company: { S: 'Example Inc.' } } };
await client.putItem({ TableName: 'any', Item: { id: { S: 'other' }, score: { N: '1' }, fields: stored } });
await tell('stored by another program', 'any', 'other');
const other = await Any.get('other');
other.score = 2;
await other.save();
await tell('then read and saved', 'any', 'other');
await Mapped.create({ id: 'map', fields: { ...fields } });
await tell('a map as Object with schema ANY', 'map', 'map');
server.close();
process.exit(0);
JS
seen=$(node any.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'a text: {"S":"Example Inc."}
a list: {"L":[]}
a map: {"M":{}}
a map by update: {"M":{}}
stored by another program: {"M":{"company":{"S":"Example Inc."}}}
then read and saved: {"M":{}}
a map as Object with schema ANY: {"M":{"company":{"S":"Example Inc."}}}' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

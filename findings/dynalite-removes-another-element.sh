#!/usr/bin/env bash
# dynalite removes another element than the one named, if an update removes two elements of one list.
#
# Expected: REMOVE calls[0], calls[1] takes the first two calls, as in the example of DynamoDB's guide, in either order.
# Observed: each removal moves up what is behind it, and the next position counts in the shortened list. So the third call
# is removed and the second one stays. From the last to the first the result is right. In the same way ADD comes before
# SET has read the item: a copy of a counter that is made in the call that adds to it has the new number, not the old one.
# Versions: dynalite 4.0.0, @aws-sdk/client-dynamodb 3.1169.0, Node 20; moto 5.2.5 does both as DynamoDB does.
# Documented: no. For moto it was getmoto/moto#5748, fixed there. We found no issue about dynalite.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts dynalite@4.0.0 \
  @aws-sdk/client-dynamodb@3.1169.0 >log 2>&1 || { cat log; exit 1; }
cat >remove.mjs <<'JS'
import { DynamoDB, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';

const server = dynalite({ createTableMs: 0 });
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const client = new DynamoDB({
  endpoint: `http://127.0.0.1:${server.address().port}`,
  region: 'eu-central-1',
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
});
const TableName = 'contacts';
await client.createTable({
  TableName,
  KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
  AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
  BillingMode: 'PAY_PER_REQUEST',
});
await waitUntilTableExists({ client, maxWaitTime: 30 }, { TableName });

for (const [UpdateExpression, ExpressionAttributeValues] of [
  ['REMOVE calls[0]'],
  ['REMOVE calls[1], calls[0]'],
  ['REMOVE calls[0], calls[1]'],
  ['REMOVE calls[1], calls[2]'],
  ['SET tries = tries + :one, earlier = tries', { ':one': { N: '1' } }],
  ['ADD tries :one SET earlier = tries', { ':one': { N: '1' } }],
]) {
  await client.putItem({
    TableName,
    Item: { id: { S: '1' }, calls: { L: ['Ann', 'Bob', 'Cat', 'Dan'].map((S) => ({ S })) }, tries: { N: '1' } },
  });
  const { Attributes: item } = await client.updateItem({
    TableName,
    Key: { id: { S: '1' } },
    UpdateExpression,
    ExpressionAttributeValues,
    ReturnValues: 'ALL_NEW',
  });
  const calls = item.calls.L.map(({ S }) => S).join(' ');
  console.log(`${UpdateExpression}: ${item.earlier ? `tries ${item.tries.N}, earlier ${item.earlier.N}` : calls}`);
}
server.close();
JS
seen=$(node remove.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "REMOVE calls[0]: Bob Cat Dan
REMOVE calls[1], calls[0]: Cat Dan
REMOVE calls[0], calls[1]: Bob Dan
REMOVE calls[1], calls[2]: Ann Cat
SET tries = tries + :one, earlier = tries: tries 2, earlier 1
ADD tries :one SET earlier = tries: tries 2, earlier 2" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

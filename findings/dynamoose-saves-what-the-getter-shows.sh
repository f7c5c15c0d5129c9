#!/usr/bin/env bash
# dynamoose writes what an attribute's get function shows back to the table, at each save of a contact that was read.
#
# Expected: `get` changes what the program sees of a stored value and not what is stored. A save after a change of one
# attribute writes the other attributes as they were.
# Observed: the getter's result replaces the value when the item is read, and save() puts the whole item with it. A phone
# number that is shown as "(212) 555-0123" is stored so as soon as anything else of the contact is saved. A getter that adds
# something, as the one in dynamoose's own description of `get`, adds it again each time. There is no error. Only a `set`
# that exactly undoes the `get` avoids it. Model.update leaves the other attributes alone.
# Versions: dynamoose 4.2.0, @aws-sdk/client-dynamodb 3.1169.0, dynalite 4.0.0 as the table, Node 20.
# Documented: no. None found in the tracker.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  dynamoose@4.2.0 @aws-sdk/client-dynamodb@3.1169.0 dynalite@4.0.0 >log 2>&1 || { cat log; exit 1; }
cat >save.mjs <<'JS'
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

const shown = (phone) => phone.replace(/^\+1(...)(...)(....)$/, '($1) $2-$3');
const schema = new dynamoose.Schema({
  id: String,
  phone: { type: String, get: shown },
  tag: { type: String, get: (tag) => `#${tag}` },
  score: Number,
});
const Contact = dynamoose.model('contacts', schema, { waitForActive: { enabled: true } });
const tell = async (name) => {
  const { Item } = await client.getItem({ TableName: 'contacts', Key: { id: { S: 'ann' } } });
  console.log(`${name}: phone ${Item.phone.S}, tag ${Item.tag.S}, score ${Item.score.N}`);
};

await Contact.create({ id: 'ann', phone: '+12125550123', tag: 'lead', score: 1 });
await tell('created');
await Contact.update({ id: 'ann' }, { score: 2 });
await tell('updated');
for (const score of [3, 4]) {
  const contact = await Contact.get('ann');
  contact.score = score;
  await contact.save();
  await tell('read and saved');
}
server.close();
process.exit(0);
JS
seen=$(node save.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "created: phone +12125550123, tag lead, score 1
updated: phone +12125550123, tag lead, score 2
read and saved: phone (212) 555-0123, tag #lead, score 3
read and saved: phone (212) 555-0123, tag ##lead, score 4" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# jsforce drops a condition with an empty list or an undefined value, and destroy() then deletes every contact.
#
# Expected, written down before the first run: a condition with an undefined value is an error or "= null", and never left
# out. Of two operators on one field both count.
# Observed: {Id: {$in: []}}, {Id: []} and {Email: undefined} leave the whole WHERE out. A job that deletes the contacts
# that opted out deletes all contacts on the first day on which nobody did. Of {$gte: 3, $lte: 5} only the first is sent,
# of $not with two fields only the first, and limit(0) is no limit. No error, no warning.
# Versions: @jsforce/jsforce-node 3.10.16 (jsforce 3.10.16 has the same builder), Node 20.
# Documented: not found. Tracker: jsforce/jsforce#876 for the empty list, open since 2019, and #1536 for two operators, closed.
# For undefined, destroy and limit(0) nothing was found.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts @jsforce/jsforce-node@3.10.16 >log 2>&1 ||
  { cat log; exit 1; }
cat >conditions.cjs <<'JS'
const { createServer } = require('node:http');
const { Connection } = require('@jsforce/jsforce-node');

// A Salesforce with three contacts. A query with a condition finds the first of them, one without finds all.
const all = ['003000000000001AAA', '003000000000002AAA', '003000000000003AAA'];
let deleted = [];
const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  let answer;
  if (request.method === 'DELETE') {
    const ids = url.searchParams.get('ids')?.split(',') ?? [url.pathname.split('/').pop()];
    deleted.push(...ids);
    answer = ids.map((id) => ({ id, success: true, errors: [] }));
  } else {
    const ids = url.searchParams.get('q').includes(' WHERE ') ? all.slice(0, 1) : all;
    const records = ids.map((Id) => ({ attributes: { type: 'Contact', url: `/${Id}` }, Id }));
    answer = { totalSize: records.length, done: true, records };
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
});
server.listen(0, '127.0.0.1', async () => {
  const instanceUrl = `http://127.0.0.1:${server.address().port}`;
  const contacts = new Connection({ instanceUrl, accessToken: 'none', version: '60.0' }).sobject('Contact');
  for (const conditions of [
    { Email: 'ann@example.com' },
    { Id: { $in: all.slice(0, 1) } },
    { Id: { $in: [] } },
    { Id: [] },
    { Email: undefined },
    { Score__c: { $gte: 3, $lte: 5 } },
    { $and: [{ Score__c: { $gte: 3 } }, { Score__c: { $lte: 5 } }] },
    { $not: { Email: 'ann@example.com', Phone: '+12125550123' } },
  ]) {
    console.log(await contacts.find(conditions, 'Id').toSOQL());
  }
  console.log(await contacts.find({ Email: 'ann@example.com' }, 'Id').limit(0).toSOQL());
  for (const optedOut of [all.slice(0, 1), []]) {
    deleted = [];
    await contacts.find({ Id: { $in: optedOut } }, 'Id').destroy();
    console.log(`${optedOut.length} to delete, ${deleted.length} deleted`);
  }
  server.close();
  server.closeAllConnections();
});
JS
seen=$(node conditions.cjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "SELECT Id FROM Contact WHERE Email = 'ann@example.com'
SELECT Id FROM Contact WHERE Id IN ('003000000000001AAA')
SELECT Id FROM Contact
SELECT Id FROM Contact
SELECT Id FROM Contact
SELECT Id FROM Contact WHERE Score__c >= 3
SELECT Id FROM Contact WHERE Score__c >= 3 AND Score__c <= 5
SELECT Id FROM Contact WHERE NOT Email = 'ann@example.com'
SELECT Id FROM Contact WHERE Email = 'ann@example.com'
1 to delete, 1 deleted
0 to delete, 3 deleted" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

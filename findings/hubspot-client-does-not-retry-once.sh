#!/usr/bin/env bash
# HubSpot's client for Node makes no retry if it is told to make one, and one less than any other number.
#
# Observed: numberOfApiCallRetries counts the attempts, not the retries. 1 is the same as 0 or nothing: the call fails at the
# first 502, and the contact is not written, although the server would have answered the next request. Nothing is logged,
# where with 2 the repeated attempt is. The range from 0 to 6 in the README means at most five retries.
# Versions: @hubspot/api-client 13.5.0, Node 20.
# Documented: otherwise. The README says that with a number greater than 0 a call that gets a 5xx is retried, and that the
# number of retries will not exceed the value.
# Not found on the tracker.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts @hubspot/api-client@13.5.0 >log 2>&1 ||
  { cat log; exit 1; }
cat >retries.mjs <<'JS'
import { createServer } from 'node:http';
import { Client } from '@hubspot/api-client';

// Each client finds the server down once, or for good.
let requests = 0;
let down = 0;
const server = createServer((request, response) => {
  request.resume().on('end', () => {
    requests += 1;
    response.writeHead(requests <= down ? 502 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(requests <= down ? { message: 'down' } : { id: '1', properties: {} }));
  });
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const basePath = `http://127.0.0.1:${server.address().port}`;
for (const [name, times] of [['once', 1], ['for good', Infinity]]) {
  for (const numberOfApiCallRetries of [undefined, 0, 1, 2, 3]) {
    requests = 0;
    down = times;
    let outcome = 'done';
    try {
      const client = new Client({ accessToken: 'none', basePath, numberOfApiCallRetries });
      await client.crm.contacts.basicApi.update('1', { properties: { phone: '+12125550123' } });
    } catch (error) {
      outcome = error.code;
    }
    console.log(`down ${name}, retries ${numberOfApiCallRetries}: ${requests} requests, ${outcome}`);
  }
}
server.close();
server.closeAllConnections();
JS
seen=$(node retries.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "down once, retries undefined: 1 requests, 502
down once, retries 0: 1 requests, 502
down once, retries 1: 1 requests, 502
down once, retries 2: 2 requests, done
down once, retries 3: 2 requests, done
down for good, retries undefined: 1 requests, 502
down for good, retries 0: 1 requests, 502
down for good, retries 1: 1 requests, 502
down for good, retries 2: 2 requests, 502
down for good, retries 3: 3 requests, 502" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# serverless-http ends a request without a body two times, so a delivery is handled twice.
#
# Expected: the request's stream emits "end" once, as Node's streams do.
# Observed: with a body it does. Without one, serverless-http emits an "end" of its own beside the stream's. A handler of
# Node's http module that reads the request by its events stores the delivery twice, for every POST, PUT or DELETE that has
# no body, such as a provider's ping. The answer is that of the first run, so the sender sees nothing of it.
# Versions: serverless-http 4.0.0, Node 20.
# Documented: no. A user of the library met it (mockoon/mockoon#2274); we found no issue in its own tracker.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts serverless-http@4.0.0 >log 2>&1 ||
  { cat log; exit 1; }
cat >deliver.mjs <<'JS'
import { createServer } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import serverless from 'serverless-http';

let stored = [];
const receive = (request, response) => {
  let body = '';
  request.on('data', (part) => (body += part));
  request.on('end', () => {
    stored.push(`${request.method} ${body || 'nothing'}`);
    response.statusCode = 204;
    response.end();
  });
};
const server = createServer(receive).listen(0, '127.0.0.1');
await new Promise((resolve) => server.on('listening', resolve));
const handler = serverless(receive);

for (const [method, body] of [['POST', '{"id":1}'], ['POST'], ['DELETE']]) {
  stored = [];
  await fetch(`http://127.0.0.1:${server.address().port}/hook`, { method, body });
  console.log('http:', stored.join(', '));
  stored = [];
  const { statusCode } = await handler({
    version: '2.0',
    routeKey: '$default',
    rawPath: '/hook',
    rawQueryString: '',
    headers: { host: 'hook.example.com', ...(body && { 'content-type': 'application/json' }) },
    requestContext: { stage: '$default', http: { method, path: '/hook', sourceIp: '192.0.2.1' } },
    body,
    isBase64Encoded: false,
  }, {});
  await wait(100);
  console.log(`serverless-http, ${statusCode}:`, stored.join(', '));
}
server.close();
JS
seen=$(node deliver.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'http: POST {"id":1}
serverless-http, 204: POST {"id":1}
http: POST nothing
serverless-http, 204: POST nothing, POST nothing
http: DELETE nothing
serverless-http, 204: DELETE nothing, DELETE nothing' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

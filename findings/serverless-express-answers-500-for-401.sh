#!/usr/bin/env bash
# serverless-express answers 500 where Express refuses a webhook before its body is read.
#
# Expected, written down before the first run: an Express application gives the same statuses behind API Gateway as
# behind its own HTTP server: 404 for an unknown path, 401 where a middleware hands an error with that status to Express.
# Observed: Express's last handler waits for the end of the request. The request that serverless-express has made has no
# socket with events, so it throws ("ee.on is not a function"), and the answer is 500. That happens only if nothing has
# read the body: behind express.json(), and with a body that is no JSON, the status is right, so a test with one of these
# does not show it. A sender takes 4xx for final and 500 for a reason to come again: each refused delivery is repeated
# for as long as it retries, and an alarm on 5xx fires for every stranger who asks for a path. serverless-http gives
# Express's own status.
# Versions: @codegenie/serverless-express 4.17.1 (5.0.0, which needs Node 24, gives the same), express 5.3.0 (4.22 too),
# serverless-http 4.0.0, Node 20.
# Documented: no. CodeGenieApp/serverless-express#698 reports the exception, since 4.16.0; open.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  @codegenie/serverless-express@4.17.1 serverless-http@4.0.0 express@5.3.0 >log 2>&1 ||
  { cat log; exit 1; }
cat >requests.mjs <<'JS'
import express from 'express';
import serverlessExpress from '@codegenie/serverless-express';
import serverlessHttp from 'serverless-http';

const refuse = (request, response, next) => next(Object.assign(new Error('wrong signature'), { status: 401 }));
const application = express();
application.post('/refused', refuse);
application.post('/read-and-refused', express.json(), refuse);
application.post('/accepted', (request, response) => response.status(204).end());

const event = (path, body) => ({
  version: '2.0',
  routeKey: '$default',
  rawPath: path,
  rawQueryString: '',
  headers: { host: 'example.com', 'content-type': 'application/json', 'content-length': `${body.length}` },
  requestContext: {
    accountId: '123456789012',
    apiId: 'api',
    domainName: 'example.com',
    domainPrefix: 'example',
    http: { method: 'POST', path, protocol: 'HTTP/1.1', sourceIp: '192.0.2.1', userAgent: 'sender' },
    requestId: 'id',
    routeKey: '$default',
    stage: '$default',
    time: '05/Jan/2026:12:00:00 +0000',
    timeEpoch: 1767614400000,
  },
  body,
  isBase64Encoded: false,
});
const server = application.listen(0, '127.0.0.1', async () => {
  const statuses = {
    express: async (path, body) => {
      const url = `http://127.0.0.1:${server.address().port}${path}`;
      return (await fetch(url, { method: 'POST', body, headers: { 'content-type': 'application/json' } })).status;
    },
  };
  for (const [name, handler] of [['serverless-http', serverlessHttp(application)], ['serverless-express', serverlessExpress({ app: application })]]) {
    statuses[name] = async (path, body) => (await handler(event(path, body), {}, () => {})).statusCode;
  }
  for (const [name, status] of Object.entries(statuses)) {
    const seen = [];
    for (const [path, body] of [
      ['/accepted', '{}'],
      ['/unknown', '{}'],
      ['/refused', '{}'],
      ['/read-and-refused', '{}'],
      ['/read-and-refused', '{'],
    ]) {
      seen.push(`${path} ${body} ${await status(path, body)}`);
    }
    console.log(`${name}: ${seen.join(', ')}`);
  }
  server.close();
});
JS
seen=$(node requests.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "express: /accepted {} 204, /unknown {} 404, /refused {} 401, /read-and-refused {} 401, /read-and-refused { 400
serverless-http: /accepted {} 204, /unknown {} 404, /refused {} 401, /read-and-refused {} 401, /read-and-refused { 400
serverless-express: /accepted {} 204, /unknown {} 500, /refused {} 500, /read-and-refused {} 401, /read-and-refused { 400" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

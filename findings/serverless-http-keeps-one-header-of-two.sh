#!/usr/bin/env bash
# serverless-http keeps the last of two header lines of one name, and a webhook that is signed with two keys is refused.
#
# Expected, written down before the first run: for one event of API Gateway the adapters give an application the same
# headers, and two lines of one name are joined by a comma, as Node's http module does it.
# Observed: an event of a REST API has all lines in multiValueHeaders and the last one in headers. serverless-http joins the
# lines and then writes the ones from headers over them. A sender that changes its key signs with both for a while, in one
# line each: the signature of the old key is lost on the way. hono and @fastify/aws-lambda keep both, and so does
# serverless-http for an event of an HTTP API, where API Gateway has joined them.
# Versions: serverless-http 4.0.0, hono 4.13.19, @fastify/aws-lambda 6.4.1, fastify 5.12.8, Node 20.
# Documented: no. It came with dougmoscrop/serverless-http#272, which reads both fields; we found no issue about it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts serverless-http@4.0.0 hono@4.13.19 \
  @fastify/aws-lambda@6.4.1 fastify@5.12.8 >log 2>&1 || { cat log; exit 1; }
cat >headers.mjs <<'JS'
import { createServer, request } from 'node:http';
import { once } from 'node:events';
import awsLambdaFastify from '@fastify/aws-lambda';
import fastify from 'fastify';
import { Hono } from 'hono';
import { handle } from 'hono/aws-lambda';
import serverless from 'serverless-http';

const lines = ['v1=old', 'v1=new'];
const context = { stage: 'live', domainName: 'hook.example.com', identity: { sourceIp: '192.0.2.1' } };
const rest = {
  resource: '/hook',
  path: '/hook',
  httpMethod: 'POST',
  headers: { Host: 'hook.example.com', 'X-Signature': lines[1] },
  multiValueHeaders: { Host: ['hook.example.com'], 'X-Signature': lines },
  queryStringParameters: null,
  multiValueQueryStringParameters: null,
  requestContext: { ...context, httpMethod: 'POST', path: '/live/hook' },
  body: '{}',
  isBase64Encoded: false,
};
const http = {
  version: '2.0',
  routeKey: '$default',
  rawPath: '/hook',
  rawQueryString: '',
  headers: { host: 'hook.example.com', 'x-signature': lines.join(',') },
  requestContext: { stage: '$default', http: { method: 'POST', path: '/hook', sourceIp: '192.0.2.1' } },
  body: '{}',
  isBase64Encoded: false,
};

const answer = (incoming, outgoing) => outgoing.end(incoming.headers['x-signature']);
const hono = new Hono();
hono.post('/hook', (c) => c.text(c.req.header('x-signature')));
const app = fastify();
app.post('/hook', (incoming, reply) => reply.send(incoming.headers['x-signature']));
app.addContentTypeParser('*', (incoming, payload, done) => done(null));

const server = createServer(answer).listen(0, '127.0.0.1');
await once(server, 'listening');
const sent = request({ port: server.address().port, host: '127.0.0.1', method: 'POST', path: '/hook' });
sent.setHeader('X-Signature', lines);
sent.end('{}');
const [received] = await once(sent, 'response');
console.log('http:', (await received.toArray()).join(''));
server.close();

for (const [name, handler] of [
  ['hono', handle(hono)],
  ['@fastify/aws-lambda', awsLambdaFastify(app)],
  ['serverless-http', serverless(answer)],
]) {
  console.log(`${name}, REST API:`, (await handler(structuredClone(rest), {})).body);
  console.log(`${name}, HTTP API:`, (await handler(structuredClone(http), {})).body);
}
JS
seen=$(node headers.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "http: v1=old, v1=new
hono, REST API: v1=old, v1=new
hono, HTTP API: v1=old,v1=new
@fastify/aws-lambda, REST API: v1=old, v1=new
@fastify/aws-lambda, HTTP API: v1=old,v1=new
serverless-http, REST API: v1=new
serverless-http, HTTP API: v1=old,v1=new" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

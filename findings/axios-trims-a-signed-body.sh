#!/usr/bin/env bash
# axios changes the bytes of a JSON body that it is given as a text, so a relayed webhook's signature is wrong.
#
# Expected, written down before the first run: a text as `data` is the request's body, byte for byte, whatever its
# Content-Type; only objects are serialised.
# Observed: with Content-Type application/json, axios parses a text, and if it is JSON, sends it without the white space
# around it. A body that ends in a line feed, as many tools write it, loses it, and the HMAC that came with it no longer
# matches: the relay's own check passed, the receiver refuses. None of this happens with a Buffer, with
# application/cloudevents+json, or with fetch, got and superagent. A body without white space around it passes, so a
# test with the output of JSON.stringify does not show it.
# Versions: axios 1.21.1, got 14.6.6, superagent 10.4.2, Node 20.
# Documented: no; the description of `data` says that a text is one of the types that it may have. axios/axios#4892 asked
# why, and is closed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  axios@1.21.1 got@14.6.6 superagent@10.4.2 >log 2>&1 ||
  { cat log; exit 1; }
cat >relay.mjs <<'JS'
import crypto from 'node:crypto';
import http from 'node:http';
import axios from 'axios';
import got from 'got';
import superagent from 'superagent';

const sign = (body) => crypto.createHmac('sha256', 'synthetic secret').update(body).digest('base64');
const receiver = http.createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray());
  const result = sign(body) === request.headers['x-signature'] ? 'verified' : `refused ${JSON.stringify(`${body}`)}`;
  response.setHeader('content-type', 'text/plain');
  response.end(JSON.stringify({ result }));
});
receiver.listen(0, '127.0.0.1', async () => {
  const url = `http://127.0.0.1:${receiver.address().port}`;
  const json = 'application/json';
  const post = (data, headers) => axios.post(url, data, { headers }).then((response) => response.data);
  const relays = {
    axios: post,
    'axios, Buffer': (body, headers) => post(Buffer.from(body), headers),
    'axios, cloudevents+json': (body, headers) => post(body, { ...headers, 'content-type': 'application/cloudevents+json' }),
    fetch: (body, headers) => fetch(url, { method: 'POST', body, headers }).then((response) => response.json()),
    got: (body, headers) => got.post(url, { body, headers }).json(),
    superagent: (body, headers) => superagent.post(url).set(headers).send(body).then(({ text }) => JSON.parse(text)),
  };
  for (const body of ['{"score":1}', '{"score":1}\n', '\r\n{"score":1}']) {
    for (const [name, relay] of Object.entries(relays)) {
      const { result } = await relay(body, { 'content-type': json, 'x-signature': sign(body) });
      console.log(`${JSON.stringify(body)} by ${name}: ${result}`);
    }
  }
  receiver.close();
  receiver.closeAllConnections();
});
JS
seen=$(node relay.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$(grep -v ': verified$' <<<"$seen")" = '"{\"score\":1}\n" by axios: refused "{\"score\":1}"
"\r\n{\"score\":1}" by axios: refused "{\"score\":1}"' ] &&
  [ "$(grep -c ': verified$' <<<"$seen")" = 16 ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

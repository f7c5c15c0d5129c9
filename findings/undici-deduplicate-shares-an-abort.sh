#!/usr/bin/env bash
# undici's deduplicate aborts a lookup because another caller's was aborted.
#
# Expected, written down before the first run: of two equal GETs in flight that share one request, each keeps its own
# AbortSignal and timeout. If the first caller gives up, the second still gets the answer, or its request is sent.
# Observed: the request belongs to whoever came first. When its signal aborts or its headersTimeout is over, all that wait
# for the same answer are rejected with its error, although they have no signal and the server is well. So where the deliveries of a batch look up the same contact, each with the time that it has left, one that
# is about to give up takes the others with it. A test with one caller, or without timeouts, shows nothing of it.
# Versions: undici 7.30.2, the newest for Node 20.
# Documented: no; the page says that all waiting handlers get the same response. It is nodejs/undici#5711, open.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts undici@7.30.2 >log 2>&1 ||
  { cat log; exit 1; }
cat >look-up.mjs <<'JS'
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { Agent, interceptors, request } from 'undici';

const crm = http.createServer(async (_, response) => {
  await pause(3000);
  response.end('contact');
});
crm.listen(0, '127.0.0.1', async () => {
  const url = `http://127.0.0.1:${crm.address().port}/contacts/1`;
  for (const [name, dispatcher] of [
    ['without', new Agent()],
    ['with deduplicate', new Agent().compose(interceptors.deduplicate())],
  ]) {
    const lookUp = (options) =>
      request(url, { dispatcher, ...options }).then(({ body }) => body.text(), (error) => error.name);
    for (const [who, first] of [
      ['no one gives up', {}],
      ['the first aborts', { signal: AbortSignal.timeout(1000) }],
      ['the first has a headersTimeout', { headersTimeout: 1000 }],
    ]) {
      const results = await Promise.all([lookUp(first), lookUp({})]);
      console.log(`${name}, ${who}: ${results.join(' and ')}`);
    }
  }
  crm.close();
  crm.closeAllConnections();
});
JS
seen=$(node look-up.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'without, no one gives up: contact and contact
without, the first aborts: TimeoutError and contact
without, the first has a headersTimeout: HeadersTimeoutError and contact
with deduplicate, no one gives up: contact and contact
with deduplicate, the first aborts: TimeoutError and TimeoutError
with deduplicate, the first has a headersTimeout: HeadersTimeoutError and HeadersTimeoutError' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# Twilio's library for Python sends a text message hours early: it writes the local time of an aware datetime as UTC.
#
# Expected, written down before the first run: a datetime with a time zone is converted to UTC before it is written with a
# Z, as Twilio's library for Node does it with a Date.
# Observed: the digits of the local time are written, and a Z is put behind them. A message scheduled for nine o'clock in
# Los Angeles is sent at one o'clock at night there, out of the hours in which a contact may be texted. A list of the calls
# since nine o'clock begins eight hours too early, and east of Greenwich it misses calls. No error and no warning: Twilio
# gets a valid time. Only a datetime in UTC, or a naive one that is meant as UTC, comes out right.
# Versions: twilio 9.13.0 (Python) and 6.3.1 (JavaScript), Node 20. No request leaves this script.
# Documented: no. Neither the README nor the docstrings name a time zone. No report of it was found in the tracker.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts twilio@6.3.1 >log 2>&1 ||
  { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check twilio==9.13.0 tzdata==2026.6
cat >schedule.py <<'PY'
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from twilio.http.http_client import HttpClient
from twilio.http.response import Response
from twilio.rest import Client


class Recorder(HttpClient):
    def __init__(self):
        super().__init__(None, False)

    def request(self, method, uri, params=None, data=None, **rest):
        self.seen = (data or {}).get("SendAt") or (params or {}).get("StartTime>")
        return Response(200, '{"calls": []}' if method == "GET" else "{}")


recorder = Recorder()
client = Client("AC" + 32 * "0", "token", http_client=recorder)
nine = datetime(2026, 1, 5, 9, tzinfo=ZoneInfo("America/Los_Angeles"))
for name, time in [("Los Angeles", nine), ("the same in UTC", nine.astimezone(timezone.utc))]:
    client.messages.create(
        to="+12125550123", messaging_service_sid="MG" + 32 * "0", body="Hello", schedule_type="fixed", send_at=time
    )
    print(f"Python, message, {name}: {recorder.seen}")
    client.calls.list(start_time_after=time)
    print(f"Python, calls, {name}: {recorder.seen}")
PY
cat >schedule.mjs <<'JS'
import twilio from 'twilio';

let seen;
const httpClient = {
  request: async ({ data, params }) => {
    seen = data?.SendAt ?? params?.['StartTime>'];
    return { statusCode: 200, body: { calls: [] } };
  },
};
const client = twilio(`AC${'0'.repeat(32)}`, 'token', { httpClient });
const nine = new Date('2026-01-05T09:00:00-08:00');
await client.messages.create({
  to: '+12125550123', messagingServiceSid: `MG${'0'.repeat(32)}`, body: 'Hello', scheduleType: 'fixed', sendAt: nine,
});
console.log(`Node, message: ${seen}`);
await client.calls.list({ startTimeAfter: nine });
console.log(`Node, calls: ${seen}`);
JS
seen=$({ python/bin/python schedule.py && node schedule.mjs; } 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "Python, message, Los Angeles: 2026-01-05T09:00:00Z
Python, calls, Los Angeles: 2026-01-05T09:00:00Z
Python, message, the same in UTC: 2026-01-05T17:00:00Z
Python, calls, the same in UTC: 2026-01-05T17:00:00Z
Node, message: 2026-01-05T17:00:00Z
Node, calls: 2026-01-05T17:00:00Z" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

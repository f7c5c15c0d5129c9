#!/usr/bin/env bash
# arrow, Pendulum and Day.js read a Unix timestamp hours late if they are given the zone to show it in.
#
# Observed: with the format X, or x for milliseconds, and a zone, all three work out the time in UTC and then put the zone on
# its digits: 1767603600 is 09:00 UTC and becomes 09:00 in New York, 14:00 UTC. With the timestamp as a number arrow and
# Pendulum are right, and so is moment-timezone with the same text and format. Without a zone all are right, and so they are
# in tests that use UTC. Day.js does the same to a time with an offset or a Z, arrow replaces the offset by the zone.
# Versions: arrow 1.4.0, pendulum 3.3.0, dayjs 1.11.23, moment-timezone 0.6.6, Python 3.11, Node 20.
# Documented: arrow says that tzinfo replaces the zone unless the input is explicitly UTC, which a Unix timestamp is. For
# Pendulum and Day.js it was not found. Tracker, for a text with an offset: iamkun/dayjs#1119 and others,
# arrow-py/arrow#1282. For timestamps: not found.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts dayjs@1.11.23 \
  moment-timezone@0.6.6 >log 2>&1 || { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check arrow==1.4.0 pendulum==3.3.0
cat >times.py <<'PY'
import arrow
import pendulum

ZONE = "America/New_York"
print("arrow, number:", arrow.get(1767603600, tzinfo=ZONE).isoformat())
print("arrow, X:", arrow.get("1767603600", "X", tzinfo=ZONE).isoformat())
print("arrow, x:", arrow.get("1767603600000", "x", tzinfo=ZONE).isoformat())
print("arrow, X without a zone:", arrow.get("1767603600", "X").isoformat())
print("pendulum, number:", pendulum.from_timestamp(1767603600, tz=ZONE).isoformat())
print("pendulum, X:", pendulum.from_format("1767603600", "X", tz=ZONE).isoformat())
print("pendulum, x:", pendulum.from_format("1767603600000", "x", tz=ZONE).isoformat())
print("pendulum, X without a zone:", pendulum.from_format("1767603600", "X").isoformat())
PY
cat >times.mjs <<'JS'
import dayjs from 'dayjs';
import customParseFormat from 'dayjs/plugin/customParseFormat.js';
import timezone from 'dayjs/plugin/timezone.js';
import utc from 'dayjs/plugin/utc.js';
import moment from 'moment-timezone';

[utc, timezone, customParseFormat].forEach((plugin) => dayjs.extend(plugin));
const zone = 'America/New_York';
console.log(`dayjs, X: ${dayjs.tz('1767603600', 'X', zone).format()}`);
console.log(`dayjs, x: ${dayjs.tz('1767603600000', 'x', zone).format()}`);
console.log(`dayjs, X without a zone: ${dayjs.utc('1767603600', 'X').format()}`);
console.log(`moment-timezone, X: ${moment.tz('1767603600', 'X', zone).format()}`);
JS
seen=$(export TZ=UTC; python/bin/python times.py 2>log && node times.mjs 2>>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "arrow, number: 2026-01-05T04:00:00-05:00
arrow, X: 2026-01-05T09:00:00-05:00
arrow, x: 2026-01-05T09:00:00-05:00
arrow, X without a zone: 2026-01-05T09:00:00+00:00
pendulum, number: 2026-01-05T04:00:00-05:00
pendulum, X: 2026-01-05T09:00:00-05:00
pendulum, x: 2026-01-05T09:00:00-05:00
pendulum, X without a zone: 2026-01-05T09:00:00+00:00
dayjs, X: 2026-01-05T09:00:00-05:00
dayjs, x: 2026-01-05T09:00:00-05:00
dayjs, X without a zone: 2026-01-05T09:00:00Z
moment-timezone, X: 2026-01-05T04:00:00-05:00" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

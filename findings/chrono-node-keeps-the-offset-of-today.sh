#!/usr/bin/env bash
# chrono-node places a call an hour off if the clocks change before it, although it is told the time zone.
#
# Expected, written down before the first run: with the reference { instant, timezone: 'ET' }, "January 6 2027 at 9am" is
# nine o'clock in Eastern Time on that day, as it is if ET stands in the text.
# Observed: the offset that the zone has at the reference's instant is used for all dates. In July, a call "on January 6 at
# 9am" is an hour early, in December one in July an hour late; on the eve of a change it is wrong for "tomorrow at 9am". ET
# behind the time in the text gives the right hour. A zone's name such as America/New_York is not known to the reference: it
# is ignored without an error, and the time zone of the machine counts.
# Versions: chrono-node 2.10.3, Node 20.
# Documented: the README says that the reference takes "minute-offset (number) and timezone name (e.g. "GMT", "CDT")". Of the
# change of the clocks it says nothing. wanasit/chrono#630, an open pull request, is about relative dates; #552, open, asks
# for names such as America/New_York in a text.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts chrono-node@2.10.3 >log 2>&1 ||
  { cat log; exit 1; }
cat >call.mjs <<'JS'
import * as chrono from 'chrono-node';

for (const [said, text, timezone] of [
  ['2026-07-01', 'January 6 2027 at 9am', 'ET'],
  ['2026-12-01', 'January 6 2027 at 9am', 'ET'],
  ['2026-12-01', 'July 6 2027 at 9am', 'ET'],
  ['2026-10-31', 'tomorrow at 9am', 'ET'],
  ['2026-07-01', 'January 6 2027 at 9am', 'America/New_York'],
  ['2026-07-01', 'January 6 2027 at 9am ET', 'America/New_York'],
]) {
  const call = chrono.parseDate(text, { instant: new Date(`${said}T16:00:00Z`), timezone });
  const there = call.toLocaleTimeString('en-GB', { timeZone: 'America/New_York', timeStyle: 'short' });
  console.log(`${timezone}, said on ${said}: ${text} is ${there} there`);
}
JS
seen=$(TZ=UTC node call.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "ET, said on 2026-07-01: January 6 2027 at 9am is 08:00 there
ET, said on 2026-12-01: January 6 2027 at 9am is 09:00 there
ET, said on 2026-12-01: July 6 2027 at 9am is 10:00 there
ET, said on 2026-10-31: tomorrow at 9am is 08:00 there
America/New_York, said on 2026-07-01: January 6 2027 at 9am is 04:00 there
America/New_York, said on 2026-07-01: January 6 2027 at 9am ET is 09:00 there" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

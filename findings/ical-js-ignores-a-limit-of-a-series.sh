#!/usr/bin/env bash
# ical.js puts calls on days that a series' rule leaves out: it ignores BYSETPOS, BYWEEKNO and the number of BYDAY=20MO.
#
# Expected, written down before the first run: ical.js gives the dates that RFC 5545 gives for a rule. dateutil shows them.
# Observed: a part that the iterator does not know for the rule's frequency is dropped without an error, and the wider rule
# is expanded. "The last working day of the week" is every working day, "the first Monday of the year", "the Monday of week
# 20" and "the 20th Monday" are every Monday, the first of week 20 itself left out. As COUNT is then used up within days, the
# calls that were meant never come. With two hours a day, one rule for Mondays has a Sunday, 1 February. "Each fifth day of a
# month", as a yearly rule, comes once a year. Monthly rules with weekdays alone are right, and BYWEEKNO beside BYMONTHDAY
# is an error, as it should be.
# Versions: ical.js 2.2.1, python-dateutil 2.9.0.post0, Node 20.
# Documented: no. For BYSETPOS, kewisch/ical.js#578 and #1039, both open; for the others no report was found.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts ical.js@2.2.1 >log 2>&1 ||
  { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check python-dateutil==2.9.0.post0
# Each rule stands behind its own first date.
cat >rules.txt <<'TXT'
20260109T090000 FREQ=WEEKLY;COUNT=3;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1
20260105T090000 FREQ=YEARLY;COUNT=3;BYDAY=MO;BYSETPOS=1
20260105T090000 FREQ=DAILY;COUNT=3;BYHOUR=9,14;BYSETPOS=1
20260105T090000 FREQ=MONTHLY;COUNT=3;BYDAY=MO;BYHOUR=9,14;BYSETPOS=1
20260511T090000 FREQ=YEARLY;COUNT=3;BYWEEKNO=20;BYDAY=MO
20260518T090000 FREQ=YEARLY;COUNT=3;BYDAY=20MO
20260105T090000 FREQ=YEARLY;COUNT=3;BYMONTHDAY=5
20260130T090000 FREQ=MONTHLY;COUNT=3;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1
20260105T090000 FREQ=MONTHLY;COUNT=3;BYDAY=1MO
TXT
cat >dates.mjs <<'JS'
import { readFileSync } from 'node:fs';
import ICAL from 'ical.js';

for (const line of readFileSync('rules.txt', 'utf8').trim().split('\n')) {
  const [start, rule] = line.split(' ');
  const dates = [];
  const first = new ICAL.Property(ICAL.parse.property(`DTSTART:${start}`)).getFirstValue();
  const iterator = ICAL.Recur.fromString(rule).iterator(first);
  for (let date = iterator.next(); date; date = iterator.next()) dates.push(date.toString().slice(0, 13));
  console.log(`${rule}: ${dates.join(' ')}`);
}
JS
cat >dates.py <<'PY'
from dateutil.rrule import rrulestr

for line in open("rules.txt").read().splitlines():
    start, rule = line.split()
    dates = rrulestr(f"DTSTART:{start}\nRRULE:{rule}")
    print(f"{rule}: {' '.join(date.isoformat()[:13] for date in dates)}")
PY
node dates.mjs >js 2>log || { cat log; exit 1; }
python/bin/python dates.py >python.txt
seen=$(paste -d '\n' js python.txt | sed '1~2s/^/ical.js: /; 2~2s/^.*: /   dateutil: /')
echo "$seen"
[ "$seen" = 'ical.js: FREQ=WEEKLY;COUNT=3;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1: 2026-01-09T09 2026-01-12T09 2026-01-13T09
   dateutil: 2026-01-09T09 2026-01-16T09 2026-01-23T09
ical.js: FREQ=YEARLY;COUNT=3;BYDAY=MO;BYSETPOS=1: 2026-01-05T09 2026-01-12T09 2026-01-19T09
   dateutil: 2026-01-05T09 2027-01-04T09 2028-01-03T09
ical.js: FREQ=DAILY;COUNT=3;BYHOUR=9,14;BYSETPOS=1: 2026-01-05T09 2026-01-05T14 2026-01-06T09
   dateutil: 2026-01-05T09 2026-01-06T09 2026-01-07T09
ical.js: FREQ=MONTHLY;COUNT=3;BYDAY=MO;BYHOUR=9,14;BYSETPOS=1: 2026-01-05T09 2026-01-05T14 2026-02-01T14
   dateutil: 2026-01-05T09 2026-02-02T09 2026-03-02T09
ical.js: FREQ=YEARLY;COUNT=3;BYWEEKNO=20;BYDAY=MO: 2026-05-18T09 2026-05-25T09 2026-06-01T09
   dateutil: 2026-05-11T09 2027-05-17T09 2028-05-15T09
ical.js: FREQ=YEARLY;COUNT=3;BYDAY=20MO: 2026-05-18T09 2026-05-25T09 2026-06-01T09
   dateutil: 2026-05-18T09 2027-05-17T09 2028-05-15T09
ical.js: FREQ=YEARLY;COUNT=3;BYMONTHDAY=5: 2026-01-05T09 2027-01-05T09 2028-01-05T09
   dateutil: 2026-01-05T09 2026-02-05T09 2026-03-05T09
ical.js: FREQ=MONTHLY;COUNT=3;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1: 2026-01-30T09 2026-02-27T09 2026-03-31T09
   dateutil: 2026-01-30T09 2026-02-27T09 2026-03-31T09
ical.js: FREQ=MONTHLY;COUNT=3;BYDAY=1MO: 2026-01-05T09 2026-02-02T09 2026-03-02T09
   dateutil: 2026-01-05T09 2026-02-02T09 2026-03-02T09' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

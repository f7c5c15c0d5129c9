#!/usr/bin/env bash
# node-ical's list of a recurring call's dates lacks the added ones, and keeps the old time after a change of all later ones.
#
# Expected, written down before the first run: expandRecurringEvent returns the right dates of a recurring event, moved ones
# included. The control, recurring-ical-events for Python, does.
# Observed: excluded dates and single moved ones are right. Dates added with RDATE are missing, with a rule or without one,
# though they were read: they stand in event.rdate as a text. A change with RANGE=THISANDFUTURE moves one call only and
# the later ones stay at the old time. A call moved into the period that is asked for, from a date outside it, is
# missing. A quoted name, place or link is cut at its first semicolon, and a category at its escaped comma. No error.
# Versions: node-ical 0.26.1, icalendar 7.3.2, recurring-ical-events 3.8.2, Node 20, Python 3.11.
# Documented: no. The README promises robust recurrence with exceptions and overrides and lists no limits; a comment in the
# source says that ranges are not handled. Not found on the tracker; jens-maus/node-ical#326, closed, was a colon in quotes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts node-ical@0.26.1 >log 2>&1 ||
  { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check icalendar==7.3.2 recurring-ical-events==3.8.2
cat >calendars.py <<'PY'
import json

START = "DTSTART:20260302T140000Z\r\nDTEND:20260302T143000Z\r\n"
WEEKLY = START + "RRULE:FREQ=WEEKLY;COUNT=4\r\n"


def event(lines):
    return f"BEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260301T000000Z\r\nSUMMARY:Call\r\n{lines}END:VEVENT\r\n"


def change(recurrence, start):
    return event(f"RECURRENCE-ID{recurrence}\r\nDTSTART:{start}\r\nDURATION:PT30M\r\n")


CALENDARS = {
    "rule": event(WEEKLY),
    "excluded": event(WEEKLY + "EXDATE:20260309T140000Z\r\n"),
    "one moved": event(WEEKLY) + change(":20260309T140000Z", "20260310T160000Z"),
    "added to a rule": event(WEEKLY + "RDATE:20260305T140000Z\r\n"),
    "added without a rule": event(START + "RDATE:20260305T140000Z,20260306T140000Z\r\n"),
    "all later ones moved": event(WEEKLY) + change(";RANGE=THISANDFUTURE:20260309T140000Z", "20260309T160000Z"),
    "moved from April": event(START + "RRULE:FREQ=MONTHLY;COUNT=2\r\n") + change(":20260402T140000Z", "20260330T140000Z"),
}
text = {
    name: f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//Calls//EN\r\n{events}END:VCALENDAR\r\n"
    for name, events in CALENDARS.items()
}
with open("calendars.json", "w") as file:
    json.dump(text, file)
PY
cat >dates.py <<'PY'
import json

import icalendar
import recurring_ical_events

with open("calendars.json") as file:
    calendars = json.load(file)
for name, text in calendars.items():
    events = recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between((2026, 3, 1), (2026, 4, 1))
    print(f"{name}: {', '.join(sorted(event.start.strftime('%d %H:%M') for event in events))}")
PY
cat >dates.mjs <<'JS'
import { readFileSync } from 'node:fs';
import ical from 'node-ical';

const read = (text) => Object.values(ical.sync.parseICS(text)).find(({ type }) => type === 'VEVENT');
const period = { from: new Date('2026-03-01T00:00:00Z'), to: new Date('2026-04-01T00:00:00Z') };
for (const [name, text] of Object.entries(JSON.parse(readFileSync('calendars.json')))) {
  const dates = ical.expandRecurringEvent(read(text), period).map(({ start }) => start.toISOString());
  console.log(`${name}: ${dates.map((date) => date.slice(8, 16).replace('T', ' ')).sort().join(', ')}`);
}
const { attendee, location, categories } = read(
  'BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:2\r\nDTSTART:20260302T140000Z\r\n' +
    'ATTENDEE;CN="Smith; Ann":mailto:ann@example.com\r\n' +
    'LOCATION;ALTREP="https://example.com/a;b":Room 1\r\nCATEGORIES:first\\, warm\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n',
);
console.log(`texts: ${attendee.params.CN}, ${location.params.ALTREP}, ${JSON.stringify(categories)}`);
JS
python/bin/python calendars.py
seen=$(echo recurring-ical-events && TZ=UTC python/bin/python dates.py 2>log && echo node-ical && TZ=UTC node dates.mjs 2>>log) ||
  { cat log; exit 1; }
echo "$seen"
[ "$seen" = "recurring-ical-events
rule: 02 14:00, 09 14:00, 16 14:00, 23 14:00
excluded: 02 14:00, 16 14:00, 23 14:00
one moved: 02 14:00, 10 16:00, 16 14:00, 23 14:00
added to a rule: 02 14:00, 05 14:00, 09 14:00, 16 14:00, 23 14:00
added without a rule: 02 14:00, 05 14:00, 06 14:00
all later ones moved: 02 14:00, 09 16:00, 16 16:00, 23 16:00
moved from April: 02 14:00, 30 14:00
node-ical
rule: 02 14:00, 09 14:00, 16 14:00, 23 14:00
excluded: 02 14:00, 16 14:00, 23 14:00
one moved: 02 14:00, 10 16:00, 16 14:00, 23 14:00
added to a rule: 02 14:00, 09 14:00, 16 14:00, 23 14:00
added without a rule: 02 14:00
all later ones moved: 02 14:00, 09 16:00, 16 14:00, 23 14:00
moved from April: 02 14:00
texts: \"Smith, \"https://example.com/a, [\"first\\\\\",\"warm\"]" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

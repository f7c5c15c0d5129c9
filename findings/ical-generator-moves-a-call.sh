#!/usr/bin/env bash
# ical-generator moves a call by hours when its calendar is saved as JSON and loaded, or when moment-timezone gives its time.
#
# Observed: a calendar with a call at 9:00 in New York is written as 9:00 in New York. JSON.stringify keeps the time's offset
# and the zone's name, but on loading the time is only a text, of which the digits in UTC are written beside the zone: the
# call is at 13:00 in New York. The documentation of toJSON calls it a way to persist a calendar. With an event in another
# zone, Luxon's and Day.js's times are converted to it; moment-timezone's keep their digits, so 9:00 in New York becomes 9:00
# in Berlin, five hours early, though the README says that a moment-timezone object is set to the event's zone. That is
# done only for one without a zone of its own. Without a zone on the event, the times are in UTC and right in all cases.
# Versions: ical-generator 10.2.0, luxon 3.7.2, dayjs 1.11.23, moment-timezone 0.6.6, Node 20.
# Documented: that a native Date or a text is taken to be in the event's zone, in one sentence; not for JSON, and for
# moment-timezone the other way round. Not found on the tracker.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  ical-generator@10.2.0 luxon@3.7.2 dayjs@1.11.23 moment-timezone@0.6.6 >log 2>&1 || { cat log; exit 1; }
cat >calls.mjs <<'JS'
import dayjs from 'dayjs';
import timezone from 'dayjs/plugin/timezone.js';
import utc from 'dayjs/plugin/utc.js';
import ical from 'ical-generator';
import { DateTime } from 'luxon';
import moment from 'moment-timezone';

dayjs.extend(utc);
dayjs.extend(timezone);
const zone = 'America/New_York';
const nine = '2026-03-09T09:00';
const calendar = (start, timezone) => {
  const made = ical({ name: 'Calls' });
  made.createEvent({ id: '1', summary: 'Call Ann', start, timezone });
  return made;
};
const start = (made) => made.toString().match(/DTSTART.*/)[0];

for (const timezone of [undefined, zone]) {
  const made = calendar(DateTime.fromISO(nine, { zone }), timezone);
  const saved = JSON.stringify(made);
  console.log(`written: ${start(made)}; saved: ${JSON.parse(saved).events[0].start}; loaded: ${start(ical(JSON.parse(saved)))}`);
}
for (const timezone of [undefined, zone, 'Europe/Berlin']) {
  console.log(`luxon ${start(calendar(DateTime.fromISO(nine, { zone }), timezone))}`);
  console.log(`dayjs ${start(calendar(dayjs.tz(nine, zone), timezone))}`);
  console.log(`moment-timezone ${start(calendar(moment.tz(nine, zone), timezone))}`);
}
JS
seen=$(TZ=UTC node calls.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "written: DTSTART:20260309T130000Z; saved: 2026-03-09T09:00:00.000-04:00; loaded: DTSTART:20260309T130000Z
written: DTSTART;TZID=America/New_York:20260309T090000; saved: 2026-03-09T09:00:00.000-04:00; loaded: DTSTART;TZID=America/New_York:20260309T130000
luxon DTSTART:20260309T130000Z
dayjs DTSTART:20260309T130000Z
moment-timezone DTSTART:20260309T130000Z
luxon DTSTART;TZID=America/New_York:20260309T090000
dayjs DTSTART;TZID=America/New_York:20260309T090000
moment-timezone DTSTART;TZID=America/New_York:20260309T090000
luxon DTSTART;TZID=Europe/Berlin:20260309T140000
dayjs DTSTART;TZID=Europe/Berlin:20260309T140000
moment-timezone DTSTART;TZID=Europe/Berlin:20260309T090000" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# Day.js adds a month's average length in place of a month if its quarterOfYear plugin is loaded after its duration plugin.
#
# Observed: with the duration plugin alone, adding P1M moves to the same day of the next month. quarterOfYear's add turns its
# first argument into a number, so a duration arrives as its milliseconds. A month is then 30 days and 10 hours and a year
# 365 days: a call to repeat in a month is at 19:00 of the day before in place of 9:00, and a year's retention over a leap
# day ends a day early. No error. subtract is right in the same process, and add is right if the plugins are loaded the
# other way round, so it depends on the order of imports in some other file. Hours and days are right in both.
# Versions: dayjs 1.11.23, Node 20.
# Documented: not found. iamkun/dayjs#1446, open since 2021, has the same order of plugins: the result was an invalid date
# then, and is a wrong one now.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts dayjs@1.11.23 >log 2>&1 ||
  { cat log; exit 1; }
cat >plugins.mjs <<'JS'
import dayjs from 'dayjs';
import utc from 'dayjs/plugin/utc.js';

dayjs.extend(utc);
const names = process.argv.slice(2);
for (const name of names) {
  dayjs.extend((await import(`dayjs/plugin/${name}.js`)).default);
}
const call = dayjs.utc('2026-01-05T09:00:00Z');
const leap = dayjs.utc('2027-06-01T09:00:00Z');
const tell = (date) => date.format('YYYY-MM-DD HH:mm');
console.log(names.join(', '));
console.log(`  add P1M ${tell(call.add(dayjs.duration('P1M')))}, subtract P1M ${tell(call.subtract(dayjs.duration('P1M')))}`);
console.log(`  add P1Y ${tell(leap.add(dayjs.duration('P1Y')))}, add P7D ${tell(call.add(dayjs.duration('P7D')))}`);
JS
seen=$(node plugins.mjs duration 2>log && node plugins.mjs quarterOfYear duration 2>>log &&
  node plugins.mjs duration quarterOfYear 2>>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "duration
  add P1M 2026-02-05 09:00, subtract P1M 2025-12-05 09:00
  add P1Y 2028-06-01 09:00, add P7D 2026-01-12 09:00
quarterOfYear, duration
  add P1M 2026-02-05 09:00, subtract P1M 2025-12-05 09:00
  add P1Y 2028-06-01 09:00, add P7D 2026-01-12 09:00
duration, quarterOfYear
  add P1M 2026-02-04 19:00, subtract P1M 2025-12-05 09:00
  add P1Y 2028-05-31 09:00, add P7D 2026-01-12 09:00" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

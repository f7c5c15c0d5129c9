#!/usr/bin/env bash
# date-fns reads a timestamp with a time zone's name as UTC and drops its offset.
#
# Expected, written down before the first run: parseISO gives the instant of a timestamp, or Invalid Date for a form that
# it does not read.
# Observed: RFC 9557 puts the zone's name behind the offset, as Java's ZonedDateTime and JavaScript's Temporal write it.
# If there is a capital T in the name, as in [Asia/Tokyo] or [UTC], the result is Invalid Date. With all other names the
# offset counts as zero: 12:00 in New York is 12:00 UTC, five hours too early, wherever the program runs, and valid. luxon,
# and date-fns's own parseJSON, give the instant.
# Versions: date-fns 4.4.0, luxon 3.7.2, Node 20.
# Documented: no; the page of parseISO says that what cannot be parsed is Invalid Date. date-fns/date-fns#4139, closed,
# wanted that for offsets such as +2, which count as zero for the same reason.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts date-fns@4.4.0 luxon@3.7.2 >log 2>&1 ||
  { cat log; exit 1; }
cat >parse.mjs <<'JS'
import { isValid, parseISO, parseJSON } from 'date-fns';
import { DateTime } from 'luxon';

const tell = (date) => (isValid(date) ? date.toISOString().slice(11, 16) : 'invalid');
for (const text of [
  '2026-01-05T12:00:00-05:00',
  '2026-01-05T12:00:00-05:00[America/New_York]',
  '2026-01-05T12:00:00+05:30[Asia/Kolkata]',
  '2026-01-05T12:00:00+01:00[Europe/Berlin]',
  '2026-01-05T12:00:00+09:00[Asia/Tokyo]',
  '2026-01-05T12:00:00+00:00[UTC]',
]) {
  const luxon = tell(DateTime.fromISO(text).toJSDate());
  console.log(`${text}: parseISO ${tell(parseISO(text))}, parseJSON ${tell(parseJSON(text))}, luxon ${luxon}`);
}
JS
seen=$(for zone in UTC America/Chicago; do TZ=$zone node parse.mjs; done | LC_ALL=C sort | uniq -c)
echo "$seen"
[ "$seen" = "      2 2026-01-05T12:00:00+00:00[UTC]: parseISO invalid, parseJSON 12:00, luxon 12:00
      2 2026-01-05T12:00:00+01:00[Europe/Berlin]: parseISO 12:00, parseJSON 11:00, luxon 11:00
      2 2026-01-05T12:00:00+05:30[Asia/Kolkata]: parseISO 12:00, parseJSON 06:30, luxon 06:30
      2 2026-01-05T12:00:00+09:00[Asia/Tokyo]: parseISO invalid, parseJSON 03:00, luxon 03:00
      2 2026-01-05T12:00:00-05:00: parseISO 17:00, parseJSON 17:00, luxon 17:00
      2 2026-01-05T12:00:00-05:00[America/New_York]: parseISO 12:00, parseJSON 17:00, luxon 17:00" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

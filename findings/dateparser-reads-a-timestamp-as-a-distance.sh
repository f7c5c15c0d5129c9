#!/usr/bin/env bash
# dateparser reads 20260105T120000Z as 120000 days ago.
#
# Expected, written down before the first run: a timestamp in a form of ISO 8601 gives its instant, or None where
# dateparser does not know the form.
# Observed: of the basic form, which X-Amz-Date and vCard's REV have, it drops the date and takes the digits before the Z
# for days in Lower Sorbian, where z is short for day. 120000Z is a day in 1698, 1200Z is three years ago; with 12Z, twelve
# days ago, the result looks like a delivery that was late. Week 2 of 2026 is 1 February, in Polish. STRICT_PARSING and
# REQUIRE_PARTS let all of that pass. With languages=["en"], or with an offset in place of Z, the result is None. The
# extended form with minutes is right, so a test with that shows nothing. dateutil's isoparse reads all of them.
# Versions: dateparser 1.5.0, python-dateutil 2.9.0.post0.
# Documented: no. Its settings page says that STRICT_PARSING returns a date only if day, month and year are there, and
# that REQUIRE_PARTS names the parts that must be there.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check dateparser==1.5.0 python-dateutil==2.9.0.post0
cat >parse.py <<'PY'
from datetime import datetime, timedelta
import dateparser
from dateparser.date import DateDataParser
from dateutil.parser import isoparse


def tell(value):
    if value is None or value.tzinfo:
        return value and value.isoformat()
    if value.time() == datetime.min.time():
        return value.date()
    return f"{(datetime.now() - value) / timedelta(days=1):.0f} days ago"


basic = ["20260105T120000Z", "20260105T1200Z", "2026-01-05T12Z", "20260105T120000+0000"]
strict = {"STRICT_PARSING": True, "REQUIRE_PARTS": ["year", "month", "day"]}
for text in ["2026-01-05T12:00Z", *basic, "2026-W02-1"]:
    results = [dateparser.parse(text), dateparser.parse(text, settings=strict), dateparser.parse(text, languages=["en"])]
    print("{}: {}, strict {}, English {}".format(text, *map(tell, results)))
print("languages:", *(DateDataParser().get_date_data(text).locale for text in (basic[0], "2026-W02-1")))
print("dateutil:", *{isoparse(text).isoformat() for text in basic}, isoparse("2026-W02-1").isoformat())
PY
seen=$(TZ=UTC python/bin/python -W ignore parse.py)
echo "$seen"
[ "$seen" = "2026-01-05T12:00Z: 2026-01-05T12:00:00+00:00, strict 2026-01-05T12:00:00+00:00, English 2026-01-05T12:00:00+00:00
20260105T120000Z: 120000 days ago, strict 120000 days ago, English None
20260105T1200Z: 1200 days ago, strict 1200 days ago, English None
2026-01-05T12Z: 12 days ago, strict 12 days ago, English None
20260105T120000+0000: None, strict None, English None
2026-W02-1: 2026-02-01, strict 2026-02-01, English None
languages: dsb pl
dateutil: 2026-01-05T12:00:00+00:00 2026-01-05T00:00:00" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

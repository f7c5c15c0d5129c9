#!/usr/bin/env bash
# pydantic reads a contact's phone number or ZIP code as a date or a number if it comes as JSON, not as a dict.
#
# The documentation leads one to expect: where a field may be a datetime or text, the default "smart" mode takes a text for
# text, since an exact match of the type counts most, and a contact gives the same values both ways.
# Observed: model_validate and validate_python do so. From JSON, a text made of digits is an exact match for datetime too: it
# is seconds since 1970, so 02139 is a minute of 1 January 1970, and 12125550123 a day in 2354. A text that is a date, such
# as 2026-01-05, stays text. Decimal drops the zero of a ZIP code and the plus of a phone number. Written as JSON again, the
# contact has the changed value. With str first nothing is changed, and int and float beside str are safe. Custom properties
# of a CRM, of which each may hold a date, a number or text, are declared like this.
# Versions: pydantic 2.14.4.
# Documented: only in parts. The page on strict mode says that dates may be texts in JSON, the one on datetime that a text
# may be a timestamp. That a union with str then prefers the date is not said. pydantic/pydantic#10413, closed, is about
# Decimal and str from a dict; no report for JSON was found.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check pydantic==2.14.4
cat >contact.py <<'PY'
import json
from datetime import datetime
from decimal import Decimal

from pydantic import TypeAdapter

for name, kind in [
    ("datetime | str", datetime | str),
    ("Decimal | str", Decimal | str),
    ("str | datetime | Decimal", str | datetime | Decimal),
    ("int | float | str", int | float | str),
]:
    properties = TypeAdapter(dict[str, kind])
    contact = {"phone": "+12125550123", "zip": "02139", "renewal": "2026-01-05"}
    for source, read in [
        ("dict", properties.validate_python(contact)),
        ("JSON", properties.validate_json(json.dumps(contact))),
    ]:
        print(f"{name}, from {source}: {' '.join(json.loads(properties.dump_json(read)).values())}")
PY
seen=$(python/bin/python contact.py 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'datetime | str, from dict: +12125550123 02139 2026-01-05
datetime | str, from JSON: 2354-03-31T00:22:03Z 1970-01-01T00:35:39Z 2026-01-05
Decimal | str, from dict: +12125550123 02139 2026-01-05
Decimal | str, from JSON: 12125550123 2139 2026-01-05
str | datetime | Decimal, from dict: +12125550123 02139 2026-01-05
str | datetime | Decimal, from JSON: +12125550123 02139 2026-01-05
int | float | str, from dict: +12125550123 02139 2026-01-05
int | float | str, from JSON: +12125550123 02139 2026-01-05' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

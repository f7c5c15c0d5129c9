#!/usr/bin/env bash
# tablib puts a contact's values under the wrong names if its keys come in another order than the first contact's.
#
# The members of a JSON object have no order, and many writers give each object its own. Dataset.load, Databook.load and
# Dataset.dict take the names from the first object and the values of all others by position.
# Observed: the second contact's phone number is its name, its score its phone number, and its name its score. No error:
# only an object with more or fewer keys is refused. The CSV or the spreadsheet that is made of it is wrong in the same way.
# stack does the same with two sets that have the same headers in another order. The csv module's DictWriter, the control,
# writes each value below its name.
# Versions: tablib 3.10.0, PyYAML 6.0.3, Python 3.11.
# Documented: no. The tracker has a pull request, open: jazzband/tablib#663.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check tablib==3.10.0 PyYAML==6.0.3
cat >orders.py <<'PY'
import csv
import io
import json

import tablib

ROWS = '[{"name": "Ann", "phone": "+12125550123", "score": 7}, {"phone": "+12125550124", "score": 8, "name": "Bob"}]'
YAML = "- {name: Ann, phone: '+12125550123'}\n- {phone: '+12125550124', name: Bob}\n"
SHORT = '[{"name": "Ann", "phone": "+12125550123"}, {"name": "Bob"}]'


def tell(label, rows):
    print(f"{label}: {', '.join(f'{key} {value}' for key, value in rows[1].items())}")


written = io.StringIO()
writer = csv.DictWriter(written, ["name", "phone", "score"])
writer.writerows(json.loads(ROWS))
print(f"csv.DictWriter: {written.getvalue().splitlines()[1]}")
data = tablib.Dataset().load(ROWS, format="json")
print(f"tablib's csv: {data.export('csv').splitlines()[2]}")
tell("json", data.dict)
data = tablib.Dataset()
data.dict = json.loads(ROWS)
tell("dict", data.dict)
tell("yaml", tablib.Dataset().load(YAML, format="yaml").dict)
book = tablib.Databook().load(f'[{{"title": "contacts", "data": {ROWS}}}]', format="json")
tell("book", book.sheets()[0].dict)
one = tablib.Dataset(["Ann", "+12125550123"], headers=["name", "phone"])
tell("stack", one.stack(tablib.Dataset(["+12125550124", "Bob"], headers=["phone", "name"])).dict)
try:
    tablib.Dataset().load(SHORT, format="json")
except tablib.InvalidDimensions:
    print("a key less: refused")
PY
seen=$(python/bin/python orders.py 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "csv.DictWriter: Bob,+12125550124,8
tablib's csv: +12125550124,8,Bob
json: name +12125550124, phone 8, score Bob
dict: name +12125550124, phone 8, score Bob
yaml: name +12125550124, phone Bob
book: name +12125550124, phone 8, score Bob
stack: name +12125550124, phone Bob
a key less: refused" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

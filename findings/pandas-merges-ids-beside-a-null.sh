#!/usr/bin/env bash
# pandas reads two contacts' ids as one number if a third contact has none.
#
# Expected, written down before the first run: read_json keeps ids of 19 digits apart that are texts in the JSON, whether
# or not a record beside them lacks its id. pandas 3.0 reads such texts without loss (pandas-dev/pandas#44684).
# Observed: without the third record both ids are exact, as integers. With a null or a missing id among them, or an id that
# is beyond 64 bits, the column goes through floats and the last digits change: the two ids are equal, and a join or
# drop_duplicates by id loses a contact, without a warning. An empty text keeps the column as text. With dtype=False or
# a dtype_backend, the ids are exact.
# Versions: pandas 3.1.1.
# Documented: that dtype=True infers types, not that texts become numbers or that a null changes other rows.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check pandas==3.1.1
cat >read.py <<'PY'
import io
import json
import pandas

contacts = [{"id": "1234567890123456789"}, {"id": "1234567890123456790"}]
for name, others in [
    ("two", []),
    ("and a null", [{"id": None}]),
    ("and one without", [{"name": "Ann"}]),
    ("and one of 20 digits", [{"id": "12345678901234567890"}]),
    ("and an empty text", [{"id": ""}]),
]:
    text = json.dumps(contacts + others)
    results = []
    for settings in ({}, {"dtype": False}, {"dtype_backend": "numpy_nullable"}):
        ids = pandas.read_json(io.StringIO(text), **settings)["id"][:2]
        results.append(f"{ids.nunique()} ids, {int(ids[0])}")
    default, untyped, nullable = results
    print(f"{name}: {default}; dtype=False {untyped}; dtype_backend {nullable}")
PY
seen=$(python/bin/python read.py 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'two: 2 ids, 1234567890123456789; dtype=False 2 ids, 1234567890123456789; dtype_backend 2 ids, 1234567890123456789
and a null: 1 ids, 1234567890123456768; dtype=False 2 ids, 1234567890123456789; dtype_backend 2 ids, 1234567890123456789
and one without: 1 ids, 1234567890123456768; dtype=False 2 ids, 1234567890123456789; dtype_backend 2 ids, 1234567890123456789
and one of 20 digits: 1 ids, 1234567890123456768; dtype=False 2 ids, 1234567890123456789; dtype_backend 2 ids, 1234567890123456789
and an empty text: 2 ids, 1234567890123456789; dtype=False 2 ids, 1234567890123456789; dtype_backend 2 ids, 1234567890123456789' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

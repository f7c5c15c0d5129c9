#!/usr/bin/env bash
# polars cuts a contact's score of 7.5 to 7 and DuckDB rounds it to 8 if the contacts before it have whole scores.
#
# Expected, of the columns written down before the first run: a table made of records holds what the records hold. Where
# the first rows have decided on a type or on the columns and a later row does not fit, there is an error.
# Observed: polars looks at the first 100 records, DuckDB at the first 20,480. Of a later score, polars drops what follows
# the point, from dictionaries and from a JSON array, and DuckDB rounds; true becomes 1. A field that appears only later is
# not in polars' table, from dictionaries and from lines; pyarrow takes the fields of the first record and no others. Other
# cases are errors, such as a score that is a word, so one trusts the check. A job of 100 contacts is read correctly, and
# of one of 101 the last score is another, or a phone number is gone.
# Versions: polars 2.1.0, duckdb 2.0.1, pyarrow 26.0.1.
# Documented: the reverse, by polars: strict=True raises an error for a value that does not exactly match the type. By all,
# that the types come from the first rows. pola-rs/polars#29330, duckdb/duckdb#25786 and apache/arrow#40124 are open.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check polars==2.1.0 duckdb==2.0.1 pyarrow==26.0.1
cat >read.py <<'PY'
import json
import duckdb
import polars
import pyarrow


def lines(contacts):
    return "".join(json.dumps(contact) + "\n" for contact in contacts)


def by_duckdb(contacts):
    with open("contacts.json", "w") as file:
        file.write(lines(contacts))
    table = duckdb.connect().execute("select * from read_json('contacts.json')")
    return dict(zip([column[0] for column in table.description], table.fetchall()[-1]))


readers = {
    "polars, dictionaries": (100, lambda contacts: polars.DataFrame(contacts, strict=True).row(-1, named=True)),
    "polars, JSON array": (100, lambda contacts: polars.read_json(json.dumps(contacts).encode()).row(-1, named=True)),
    "polars, lines": (100, lambda contacts: polars.read_ndjson(lines(contacts).encode()).row(-1, named=True)),
    "DuckDB": (20_480, by_duckdb),
    "pyarrow": (1, lambda contacts: pyarrow.Table.from_pylist(contacts).to_pylist()[-1]),
}
late = [{"score": 7.5}, {"score": True}, {"score": "high"}, {"score": 7, "phone": "+12125550123"}]
for name, (rows, read) in readers.items():
    for before in (rows - 1, rows):
        results = []
        for contact in late:
            try:
                results.append(json.dumps(read([{"score": 7}] * before + [contact])))
            except Exception:
                results.append("error")
        print(f"{name}, {before} before:", *results)
PY
seen=$(python/bin/python read.py)
echo "$seen"
[ "$seen" = 'polars, dictionaries, 99 before: {"score": 7.5} {"score": 1} {"score": "high"} {"score": 7, "phone": "+12125550123"}
polars, dictionaries, 100 before: {"score": 7} {"score": 1} error {"score": 7}
polars, JSON array, 99 before: {"score": 7.5} {"score": 1} {"score": "high"} {"score": 7, "phone": "+12125550123"}
polars, JSON array, 100 before: {"score": 7} {"score": 1} error error
polars, lines, 99 before: {"score": 7.5} error {"score": "high"} {"score": 7, "phone": "+12125550123"}
polars, lines, 100 before: error error error {"score": 7}
DuckDB, 20479 before: {"score": 7.5} {"score": "true"} {"score": "\"high\""} {"score": 7, "phone": "+12125550123"}
DuckDB, 20480 before: {"score": 8} {"score": 1} error error
pyarrow, 0 before: {"score": 7.5} {"score": true} {"score": "high"} {"score": 7, "phone": "+12125550123"}
pyarrow, 1 before: {"score": 7.5} error error {"score": 7}' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

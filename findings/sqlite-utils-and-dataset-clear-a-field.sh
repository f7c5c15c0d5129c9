#!/usr/bin/env bash
# sqlite-utils and dataset clear a contact's field that only another contact of the same batch names.
#
# Expected, written down before the first run: in a batch of rows with different fields, a field that a row does not name
# stays as it is.
# Observed: both libraries write one statement for the batch, with the fields of all rows, and fill in NULL for those
# that a row does not have. With one contact's new e-mail address and another's new phone number in one batch, the first
# loses the phone number and the second the e-mail address. dataset's upsert_many, which writes row by row, keeps them.
# peewee's insert_many, with such rows, takes the fields of the first row alone and drops the phone number without an error.
# Versions: sqlite-utils 4.2.1, dataset 2.0.0 (with SQLAlchemy 2.1.9), peewee 4.5.3, Python 3.11.
# Documented: the other way round for sqlite-utils, whose manual says that columns which a record does not name are left
# unchanged; for dataset no. sqlite-utils: simonw/sqlite-utils#873, open. dataset: not found. peewee: coleifer/peewee#1873
# and #2712, where it is called as expected.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check sqlite-utils==4.2.1 dataset==2.0.0 SQLAlchemy==2.1.9 peewee==4.5.3
cat >batch.py <<'PY'
import dataset
import peewee
import sqlite_utils

STORED = [
    {"id": 1, "email": "ann@example.com", "phone": "+12125550123"},
    {"id": 2, "email": "bob@example.com", "phone": "+12125550124"},
]
CHANGES = [{"id": 1, "email": "ann.smith@example.com"}, {"id": 2, "phone": "+12125550199"}]


def tell(name, rows):
    print(f"{name}: " + "; ".join(f"{row['email']} {row['phone']}" for row in rows))


def sqlite_utils_table():
    table = sqlite_utils.Database(memory=True)["contacts"]
    table.insert_all(STORED, pk="id")
    return table


def dataset_table():
    table = dataset.connect("sqlite:///:memory:").create_table("contacts")
    table.insert_many(STORED)
    return table


table = sqlite_utils_table()
for change in CHANGES:
    table.upsert(change, pk="id")
tell("sqlite-utils, upsert", table.rows)
table = sqlite_utils_table()
table.upsert_all(CHANGES, pk="id")
tell("sqlite-utils, upsert_all", table.rows)
table = dataset_table()
for change in CHANGES:
    table.update(dict(change), ["id"])
tell("dataset, update", table.all())
table = dataset_table()
table.upsert_many([dict(change) for change in CHANGES], ["id"])
tell("dataset, upsert_many", table.all())
table = dataset_table()
table.update_many([dict(change) for change in CHANGES], ["id"])
tell("dataset, update_many", table.all())

database = peewee.SqliteDatabase(":memory:")


class Contact(peewee.Model):
    email = peewee.CharField(null=True)
    phone = peewee.CharField(null=True)

    class Meta:
        database = database


database.create_tables([Contact])
Contact.insert_many([{"id": 1, "email": "ann@example.com"}, {"id": 2, "phone": "+12125550124"}]).execute()
tell("peewee, insert_many into an empty table", Contact.select().order_by(Contact.id).dicts())
PY
seen=$(python/bin/python batch.py 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "sqlite-utils, upsert: ann.smith@example.com +12125550123; bob@example.com +12125550199
sqlite-utils, upsert_all: ann.smith@example.com None; None +12125550199
dataset, update: ann.smith@example.com +12125550123; bob@example.com +12125550199
dataset, upsert_many: ann.smith@example.com +12125550123; bob@example.com +12125550199
dataset, update_many: ann.smith@example.com None; None +12125550199
peewee, insert_many into an empty table: ann@example.com None; None None" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

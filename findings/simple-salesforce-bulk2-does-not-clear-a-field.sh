#!/usr/bin/env bash
# simple-salesforce's bulk2 leaves a contact's field as it is where bulk, with the same records, clears it.
#
# Expected, written down before the first run: None clears a field, whichever of the library's interfaces is used: REST
# (Contact.update), bulk (Bulk API 1.0) or bulk2 (Bulk API 2.0). In CSV, Salesforce's word for it is #N/A.
# Observed: REST and bulk send null. bulk2 writes an empty value. In an update by CSV, Salesforce leaves the field as it
# is for an empty value and clears it only for #N/A (Bulk API 2.0's guide, "Prepare CSV Files"). The job reports all
# records as processed, and the phone number that was to be deleted stays. None is also indistinguishable from a field
# that only another record has. The text "#N/A" goes to the other two as text.
# Versions: simple-salesforce 1.12.10.
# Documented: no; the README's examples of bulk2 have no empty value.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check simple-salesforce==1.12.10 requests==2.34.2
cat >update.py <<'PY'
"""Updates two contacts by each interface. The session answers as Salesforce does and keeps what it is sent."""
import csv
import io
import json
import requests
from simple_salesforce import Salesforce

NOTHING = "not sent"
sent = []


class Answers(requests.adapters.BaseAdapter):
    job = {"id": "750", "object": "Contact", "operation": "update", "numberRecordsProcessed": 2, "numberRecordsFailed": 0}

    def send(self, request, **_):
        path, answer = request.path_url, requests.Response()
        answer.status_code, answer.request, answer.url, answer.encoding = 200, request, request.url, "utf-8"
        body = self.job | {"state": "Open" if request.method == "POST" else "JobComplete"}
        if "/sobjects/" in path or path.endswith("/batch") or request.method == "PUT":
            sent.append(request.body)
            answer.status_code = 201 if request.method == "PUT" else 200
        if path.endswith("/batch"):
            body = {"id": "751", "jobId": "750", "state": "Queued"}
        elif path.endswith("/batch/751"):
            body["state"] = "Completed"
        elif path.endswith("/result"):
            body = [{"success": True, "id": "003"}] * 2
        answer.raw = io.BytesIO(json.dumps(body).encode())
        return answer

    def close(self):
        pass


session = requests.Session()
session.mount("https://", Answers())
salesforce = Salesforce(instance="example.invalid", session_id="synthetic", session=session)


def tell(interface, records):
    phones = [json.dumps(record.get("Phone", NOTHING)) for record in records]
    print(f"{interface}: first phone {phones[0]}, second phone {phones[1]}")
    sent.clear()


for value in (None, "#N/A"):
    contacts = [{"Id": "003A", "Phone": value}, {"Id": "003B", "Title": "VP"}]
    for contact in contacts:
        salesforce.Contact.update(contact["Id"], {name: contact[name] for name in contact if name != "Id"})
    tell("REST", [json.loads(body) for body in sent])
    salesforce.bulk.Contact.update(contacts)
    tell("bulk", json.loads(sent[0]))
    [job] = salesforce.bulk2.Contact.update(records=contacts, wait=0.01)
    rows = csv.DictReader(io.StringIO(sent[0].decode() if isinstance(sent[0], bytes) else sent[0]))
    tell(f"bulk2 ({job['numberRecordsProcessed']} processed, {job['numberRecordsFailed']} failed)", list(rows))
PY
seen=$(python/bin/python update.py)
echo "$seen"
[ "$seen" = 'REST: first phone null, second phone "not sent"
bulk: first phone null, second phone "not sent"
bulk2 (2 processed, 0 failed): first phone "", second phone ""
REST: first phone "#N/A", second phone "not sent"
bulk: first phone "#N/A", second phone "not sent"
bulk2 (2 processed, 0 failed): first phone "#N/A", second phone ""' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# vobject cuts a contact's web address and photo at the first comma.
#
# Expected, written down before the first run: a valid vCard that is read and written has the same values. A comma in a
# URI is part of it: RFC 6350 allows it unescaped where the type of a value is URI.
# Observed: all properties but a few (such as N, ORG and CATEGORIES) are read as a list of texts, of which the first is
# kept. So a map's address ends at the latitude, a photo as data URI is "data:image/gif;base64" without a byte of the
# picture, and of two nicknames one is left, in vCard 3.0 and 4.0. There is no error, and who reads a card to add a field
# and writes it back has deleted the rest. ical.js reads all of them.
# Versions: vobject 0.9.9; ical.js 2.2.1 on Node 20.
# Documented: no. For nicknames it is skarim/vobject#140, open.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check vobject==0.9.9
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts ical.js@2.2.1 >log 2>&1 ||
  { cat log; exit 1; }
for version in 3.0 4.0; do
  sed 's/$/\r/' >"$version.vcf" <<VCARD
BEGIN:VCARD
VERSION:$version
N:Example;Ann;;;
FN:Ann Example
NICKNAME:Annie,Nan
TEL;TYPE=work:+1-212-555-0123
URL:https://example.com/map/@40.7,-73.9
PHOTO;VALUE=uri:data:image/gif;base64,R0lGODlhAQABAAAAACw=
CATEGORIES:hot,lead
END:VCARD
VCARD
done
cat >rewrite.py <<'PY'
import sys
import vobject

for name in sys.argv[1:]:
    with open(name, newline="") as file:
        print(vobject.readOne(file.read()).serialize())
PY
cat >read.mjs <<'JS'
import fs from 'node:fs';
import ICAL from 'ical.js';

for (const name of process.argv.slice(2)) {
  const card = new ICAL.Component(ICAL.parse(fs.readFileSync(name, 'utf8')));
  const values = ['nickname', 'url', 'photo'].map((property) => card.getFirstProperty(property).getValues());
  console.log(`ical.js: ${values.join(' ')}`);
}
JS
seen=$(
  python/bin/python rewrite.py ./*.vcf | tr -d '\r' | grep -E '^(VERSION|NICKNAME|TEL|URL|PHOTO|CATEGORIES)'
  node read.mjs ./*.vcf
)
echo "$seen"
[ "$seen" = 'VERSION:3.0
CATEGORIES:hot,lead
NICKNAME:Annie
PHOTO;VALUE=uri:data:image/gif\;base64
TEL;TYPE=work:+1-212-555-0123
URL:https://example.com/map/@40.7
VERSION:4.0
CATEGORIES:hot,lead
NICKNAME:Annie
PHOTO;VALUE=uri:data:image/gif\;base64
TEL;TYPE=work:+1-212-555-0123
URL:https://example.com/map/@40.7
ical.js: Annie,Nan https://example.com/map/@40.7,-73.9 data:image/gif;base64,R0lGODlhAQABAAAAACw=
ical.js: Annie,Nan https://example.com/map/@40.7,-73.9 data:image/gif;base64,R0lGODlhAQABAAAAACw=' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

#!/usr/bin/env bash
# phonenumbers appends a note behind a phone number to it as digits; libphonenumber-js cuts a number that has letters.
#
# Expected: "212-555-0123 home" is +12125550123, or is refused. Both libraries come from Google's and give the same
# E.164 form, so contacts can be matched between a consumer in Python and one in JavaScript.
# Observed: from three letters on, phonenumbers takes all of them for the letters of a keypad. "home" adds 4663. In
# North America the result is invalid by its length. Where lengths vary, as in Germany, it is another valid number, and
# a note that completes a number of six digits makes a valid one. A label before the number and an extension are
# understood. libphonenumber-js ignores notes, but of 212-555-HELP it keeps +1212555.
# Versions: phonenumbers 9.0.43, libphonenumber-js 1.13.16 (full metadata), Node 20.
# Documented: Google's FAQ says that what looks like a vanity number is converted. The note behind a number is
# google/libphonenumber#1302.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  libphonenumber-js@1.13.16 >log 2>&1 ||
  { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check phonenumbers==9.0.43
# The German number is one of those reserved for fiction.
cat >numbers.txt <<'TEXT'
212-555-0123
home: 212-555-0123
212-555-0123 home
212-555-0123 ext. 5
212-555 (cell)
212-555-HELP
+49 30 23125000
+49 30 23125000 mobil
TEXT
cat >parse.py <<'PY'
import phonenumbers

for text in open("numbers.txt").read().splitlines():
    number = phonenumbers.parse(text, "US")
    form = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    print(text, form, "valid" if phonenumbers.is_valid_number(number) else "invalid")
PY
cat >parse.mjs <<'JS'
import { readFileSync } from 'node:fs';
import { parsePhoneNumberFromString } from 'libphonenumber-js/max';

for (const text of readFileSync('numbers.txt', 'utf8').trimEnd().split('\n')) {
  const number = parsePhoneNumberFromString(text, 'US');
  console.log(text, number?.number, number?.isValid() ? 'valid' : 'invalid');
}
JS
seen=$(echo Python; python/bin/python parse.py; echo JavaScript; node parse.mjs)
echo "$seen"
[ "$seen" = "Python
212-555-0123 +12125550123 valid
home: 212-555-0123 +12125550123 valid
212-555-0123 home +121255501234663 invalid
212-555-0123 ext. 5 +12125550123 valid
212-555 (cell) +12125552355 valid
212-555-HELP +12125554357 valid
+49 30 23125000 +493023125000 valid
+49 30 23125000 mobil +49302312500066245 valid
JavaScript
212-555-0123 +12125550123 valid
home: 212-555-0123 +12125550123 valid
212-555-0123 home +12125550123 valid
212-555-0123 ext. 5 +12125550123 valid
212-555 (cell) +1212555 invalid
212-555-HELP +1212555 invalid
+49 30 23125000 +493023125000 valid
+49 30 23125000 mobil +493023125000 valid" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

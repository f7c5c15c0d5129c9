#!/usr/bin/env bash
# csv-parse's delimiter_auto takes the letter e for the delimiter of a file with e-mail addresses and scores.
#
# Expected, written down before the first run: the option finds the semicolon of a file that has commas in quoted fields.
# Observed: every character of the file is a candidate. The most frequent one wins, and the usual delimiters have a bonus of
# at most 1.8 to 1. Rows of an e-mail address and a score have two e's for one delimiter, so they are cut at each e, without
# an error: the header becomes "", "mail,scor" and "", and the e's are gone from the addresses. Names with times beside them
# are refused for their field lengths. With five columns the right delimiter wins: a file that was read well is cut up
# when columns are left out. A file with a quoted field beside another field is refused, because the rows are first read
# without a delimiter. Papa Parse, the control, reads all of them.
# Versions: csv-parse 7.0.3, papaparse 5.7.1, Node 20.
# Documented: a table of the bonuses, and that a scoring function decides; not that letters take part or that quotes do not
# work. The option came with adaltas/node-csv#486; an issue about this was not found.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts csv-parse@7.0.3 papaparse@5.7.1 >log 2>&1 ||
  { cat log; exit 1; }
cat >delimiters.mjs <<'JS'
import { parse } from 'csv-parse/sync';
import Papa from 'papaparse';

const contacts = [
  ['first_name', 'last_name', 'email', 'phone', 'score'],
  ['Ann', 'Smith', 'ann@example.com', '+12125550123', '7'],
  ['Bob', 'Jones', 'bob@example.com', '+12125550124', '8'],
  ['Cid', 'Brown', 'cid@example.com', '+12125550125', '9'],
];
const columns = (...names) =>
  contacts.map((contact) => names.map((name) => contact[contacts[0].indexOf(name)]));
const text = (rows, delimiter) => rows.map((row) => `${row.join(delimiter)}\n`).join('');
for (const [name, csv] of [
  ['all columns', text(contacts, ',')],
  ['e-mail and score', text(columns('email', 'score'), ',')],
  ['e-mail and score, semicolon', text(columns('email', 'score'), ';')],
  ['e-mail and score, tab', text(columns('email', 'score'), '\t')],
  ['name and time', 'name,created\nAnn Smith,2026-01-05T12:00:00Z\nBob Jones,2026-01-05T12:01:00Z\n'],
  ['all columns, one name quoted', text(contacts, ',').replace('Ann', '"Ann"')],
  ['quoted at the end', 'score;name\n7;"Smith, Ann"\n8;"Jones, Bob"\n'],
]) {
  let read;
  try {
    read = JSON.stringify(parse(csv, { delimiter_auto: true }).slice(0, 2));
  } catch (error) {
    read = error.code;
  }
  const control = JSON.stringify(Papa.parse(csv, { skipEmptyLines: true }).data.slice(0, 2));
  console.log(`${name}: ${read}${read === control ? '' : `, Papa Parse ${control}`}`);
}
JS
seen=$(node delimiters.mjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "all columns: [[\"first_name\",\"last_name\",\"email\",\"phone\",\"score\"],[\"Ann\",\"Smith\",\"ann@example.com\",\"+12125550123\",\"7\"]]
e-mail and score: [[\"\",\"mail,scor\",\"\"],[\"ann@\",\"xampl\",\".com,7\"]], Papa Parse [[\"email\",\"score\"],[\"ann@example.com\",\"7\"]]
e-mail and score, semicolon: [[\"\",\"mail;scor\",\"\"],[\"ann@\",\"xampl\",\".com;7\"]], Papa Parse [[\"email\",\"score\"],[\"ann@example.com\",\"7\"]]
e-mail and score, tab: [[\"\",\"mail\\tscor\",\"\"],[\"ann@\",\"xampl\",\".com\\t7\"]], Papa Parse [[\"email\",\"score\"],[\"ann@example.com\",\"7\"]]
name and time: CSV_RECORD_INCONSISTENT_FIELDS_LENGTH, Papa Parse [[\"name\",\"created\"],[\"Ann Smith\",\"2026-01-05T12:00:00Z\"]]
all columns, one name quoted: CSV_INVALID_CLOSING_QUOTE, Papa Parse [[\"first_name\",\"last_name\",\"email\",\"phone\",\"score\"],[\"Ann\",\"Smith\",\"ann@example.com\",\"+12125550123\",\"7\"]]
quoted at the end: INVALID_OPENING_QUOTE, Papa Parse [[\"score\",\"name\"],[\"7\",\"Smith, Ann\"]]" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

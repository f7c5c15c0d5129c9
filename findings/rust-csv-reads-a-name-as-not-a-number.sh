#!/usr/bin/env bash
# Rust's csv crate turns the name Nan or Infinity in a contact's row into null, on the way to JSON.
#
# Expected, written down before the first run: rows that are read as maps of serde_json::Value keep names as text. CSV has
# no types, so at most what is written in digits becomes a number.
# Observed: where the target leaves the type open, a field is tried as an integer, as a float and as true or false before
# it counts as text, and Rust's floats include nan, inf and infinity in any case, with a sign. JSON has no such number, so
# the name is null, without an error: Nan is a given name, Infinity a company's. In a struct behind #[serde(flatten)], where
# the field's type is String, both rows are errors; without flatten they are read. That 0212 is a number shows in the first
# rows, and a lost name not before the contact that has it.
# Versions: csv 1.4.0, serde 1.0.229, serde_json 1.0.154. Needs a Rust toolchain of 1.85 or later.
# Documented: no. For digits behind flatten it is BurntSushi/rust-csv#151, open.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "rows"
version = "0.0.0"
edition = "2024"

[dependencies]
csv = "=1.4.0"
serde = { version = "=1.0.229", features = ["derive"] }
serde_json = "=1.0.154"
TOML
cat >src/main.rs <<'RS'
use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

#[derive(Deserialize)]
struct Name {
    first: String,
    company: String,
}

#[derive(Deserialize)]
struct Row {
    #[serde(flatten)]
    name: Name,
}

const ROWS: &str = "first,company\nAnn,Example\nNan,Infinity\nANN,INF\nAnn,0212\n";

fn rows<T: DeserializeOwned>(tell: impl Fn(T) -> String) -> String {
    let mut reader = csv::Reader::from_reader(ROWS.as_bytes());
    let told = reader.deserialize().map(|row| row.map_or_else(|_| "an error".into(), &tell));
    told.collect::<Vec<_>>().join("; ")
}

fn main() {
    let text = |name: Name| format!("{} {}", name.first, name.company);
    println!("map of Value: {}", rows(|row: BTreeMap<String, Value>| format!("{} {}", row["first"], row["company"])));
    println!("map of String: {}", rows(|row: BTreeMap<String, String>| format!("{} {}", row["first"], row["company"])));
    println!("struct: {}", rows(text));
    println!("flattened struct: {}", rows(|row: Row| text(row.name)));
}
RS
seen=$(CARGO_TARGET_DIR=target cargo run --quiet 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'map of Value: "Ann" "Example"; null null; "ANN" null; "Ann" 212
map of String: Ann Example; Nan Infinity; ANN INF; Ann 0212
struct: Ann Example; Nan Infinity; ANN INF; Ann 0212
flattened struct: Ann Example; an error; an error; an error' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}

//! The format of stored results: compact JSON whose diff after a new measurement stays readable.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

/// Values that fit within this width are written on one line.
const WIDTH: usize = 200;
/// Objects and arrays at this depth are written on one line whatever their length.
const DEEPEST: usize = 4;
/// Significant digits. Two runs agree in about three.
const DIGITS: usize = 5;

/// Serialises to compact JSON, with floating-point numbers rounded to [`DIGITS`].
pub fn json(value: &impl Serialize) -> Result<String> {
    let mut text = String::new();
    write(&rounded(serde_json::to_value(value)?), 0, &mut text);
    text.push('\n');
    Ok(text)
}

fn rounded(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let text = format!(
                "{number:.*e}",
                DIGITS - 1,
                number = number.as_f64().unwrap()
            );
            text.parse::<f64>().expect("a number").into()
        }
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, rounded(value)))
            .collect(),
        other => other,
    }
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let flat = value.to_string();
    let short = depth > 0 && depth + flat.len() <= WIDTH;
    match value {
        Value::Array(values) if !short && !is_flat(values) && depth < DEEPEST => {
            let items = values.iter().map(|value| (String::new(), value));
            write_lines(('[', ']'), items, depth, text);
        }
        Value::Object(fields) if !short && depth < DEEPEST => {
            let items = fields
                .iter()
                .map(|(name, value)| (format!("{}:", Value::from(name.as_str())), value));
            write_lines(('{', '}'), items, depth, text);
        }
        _ => text.push_str(&flat),
    }
}

fn write_lines<'a>(
    (open, close): (char, char),
    items: impl Iterator<Item = (String, &'a Value)>,
    depth: usize,
    text: &mut String,
) {
    let line = |depth: usize| format!("\n{}", " ".repeat(depth));
    text.push(open);
    for (index, (name, value)) in items.enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        text.push_str(&line(depth + 1));
        text.push_str(&name);
        write(value, depth + 1, text);
    }
    text.push_str(&line(depth));
    text.push(close);
}

fn is_flat(values: &[Value]) -> bool {
    !values
        .iter()
        .any(|value| value.is_array() || value.is_object())
}

/// Stores a list of objects with the same fields as one object of lists: `[{"a": 1}, {"a": 2}]` as `{"a": [1, 2]}`.
pub mod by_figure {
    use std::collections::BTreeMap;

    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    use super::{columns, row};

    pub fn serialize<T: Serialize, S: Serializer>(
        lists: &BTreeMap<String, Vec<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let kept = lists.iter().map(|(name, list)| {
            let rows = list.iter().map(serde_json::to_value);
            let rows = rows.collect::<Result<_, _>>().map_err(S::Error::custom)?;
            Ok((name, columns(rows)))
        });
        kept.collect::<Result<BTreeMap<_, _>, _>>()?
            .serialize(serializer)
    }

    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<T>>, D::Error> {
        let kept = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let lists = kept.into_iter().map(|(name, columns)| {
            let rows = (0..).map_while(|index| row(&columns, index));
            let rows = rows.map(|row| T::deserialize(row).map_err(D::Error::custom));
            Ok((name, rows.collect::<Result<_, _>>()?))
        });
        lists.collect()
    }
}

fn columns(rows: Vec<Value>) -> Value {
    let Some(Value::Object(first)) = rows.first() else {
        return Value::Array(rows);
    };
    let names = first.keys().cloned().collect::<Vec<_>>();
    let column = |name: &String| columns(rows.iter().map(|row| row[name].clone()).collect());
    let fields = names.iter().map(|name| (name.clone(), column(name)));
    Value::Object(fields.collect())
}

/// Restores the object at `index`; `None` after the last.
fn row(columns: &Value, index: usize) -> Option<Value> {
    match columns {
        Value::Array(values) => values.get(index).cloned(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, column)| Some((name.clone(), row(column, index)?)));
            fields.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::compare::{self, Results, SceneResults};
    use crate::{contenders, example};

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Figures {
        #[serde(with = "by_figure")]
        starts: BTreeMap<String, Vec<Start>>,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Start {
        init: f64,
        warm: BTreeMap<String, f64>,
    }

    fn start(init: f64, warm: f64) -> Start {
        let warm = BTreeMap::from([("new".to_owned(), warm)]);
        Start { init, warm }
    }

    #[test]
    fn a_list_of_starts_is_kept_by_figure_and_read_back() {
        let figures = Figures {
            starts: BTreeMap::from([
                ("one".to_owned(), vec![start(1.5, 2.5), start(3.0, 4.0)]),
                ("never measured".to_owned(), Vec::new()),
            ]),
        };
        let kept = serde_json::to_value(&figures).unwrap();
        assert_eq!(
            kept,
            json!({"starts": {
                "never measured": [],
                "one": {"init": [1.5, 3.0], "warm": {"new": [2.5, 4.0]}},
            }})
        );
        assert_eq!(serde_json::from_value::<Figures>(kept).unwrap(), figures);
    }

    #[test]
    fn a_whole_comparison_is_kept_in_few_lines_and_read_back() {
        let names = contenders::all(
            contenders::release_build(),
            Some(contenders::release_build()),
        );
        let names = names.iter().map(|it| it.name.to_owned());
        let round = example::starts(
            [1_234.567, 2_345.678, 3_456.789],
            [123.456, 234.567, 345.678],
        );
        let driven = names
            .map(|name| (name, round.clone()))
            .collect::<Map<_, _>>();
        let mut results = example::results(&Value::Object(driven), Some("receiver-old"));
        let starts = results.scenes[0].starts.clone();
        results.scenes = compare::scenes(false)
            .iter()
            .map(SceneResults::new)
            .collect();
        for scene in &mut results.scenes {
            scene.starts.clone_from(&starts);
            // Nine rounds.
            let rounds = scene.starts.values_mut();
            rounds.for_each(|rounds| *rounds = [&rounds[..], rounds, rounds].concat());
        }
        let text = json(&results).unwrap();
        let lines = text.lines().count();
        assert!((80..=300).contains(&lines), "{lines} lines");
        let read: Results = serde_json::from_str(&text).unwrap();
        assert_eq!(read.scenes.len(), results.scenes.len());
        let floor = &read.scene("5ms-128").unwrap().starts["floor"];
        assert_eq!(floor.len(), 9);
        assert_eq!(floor[8].first_answer_ms.to_bits(), 3.4568_f64.to_bits());
    }

    #[test]
    fn figures_keep_five_digits_and_counts_all() {
        let text =
            json(&json!({"a": 1.366_218_999_999_999_9, "b": 1234.567, "c": 4_127_576})).unwrap();
        assert_eq!(
            text,
            "{\n \"a\":1.3662,\n \"b\":1234.6,\n \"c\":4127576\n}\n"
        );
    }

    #[test]
    fn deep_and_short_values_stand_on_one_line() {
        let long = "x".repeat(WIDTH);
        let value =
            json!({"short": {"a": {"b": 1}}, "long": [1, long], "two": [{"a": long}, {"a": 2}]});
        let text = json(&value).unwrap();
        let lines = text.lines().collect::<Vec<_>>();
        assert_eq!(lines[1], r#" "short":{"a":{"b":1}},"#);
        assert_eq!(lines[2], format!(r#" "long":[1,"{long}"],"#));
        assert_eq!(lines[3..5], [r#" "two":["#, "  {"]);
        assert_eq!(lines[6..], ["  },", r#"  {"a":2}"#, " ]", "}"]);
        let deep = json!({"1": {"2": {"3": {"4": {"5": long}}}}});
        assert_eq!(json(&deep).unwrap().lines().count(), 2 * DEEPEST + 1);
    }
}

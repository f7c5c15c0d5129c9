//! The part of `CloudWatch`'s languages that `template.yaml` uses: filter patterns for JSON lines, and metric math. Both are evaluated here as
//! AWS documents them, because no emulator evaluates them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Whether a metric filter counts this log line. A pattern is `{ condition }`, or conditions in parentheses that are joined by `||` or by
/// `&&`. Each condition compares one member with a string (in which `*` stands for any text) or a number, or says that it is true.
pub(crate) fn matches(pattern: &str, line: &Value) -> bool {
    let inner = pattern
        .strip_prefix("{ ")
        .and_then(|rest| rest.strip_suffix(" }"));
    let inner = inner.unwrap_or_else(|| panic!("not a pattern for JSON: {pattern}"));
    let condition = |text: &str| {
        let text = text
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        holds(
            text.unwrap_or_else(|| panic!("no parentheses: {pattern}")),
            line,
        )
    };
    match (inner.contains(" || "), inner.contains(" && ")) {
        (false, false) => holds(inner, line),
        (true, false) => inner.split(" || ").any(condition),
        (false, true) => inner.split(" && ").all(condition),
        (true, true) => panic!("both || and &&: {pattern}"),
    }
}

/// What a line that a filter counts adds to its metric: a number, or the number in one of the line's members.
pub(crate) fn metric_value(value: &str, line: &Value) -> f64 {
    match value.strip_prefix("$.") {
        Some(member) => line[member].as_f64().expect("a number in the line"),
        None => value.parse().expect("a number"),
    }
}

/// The members of a line that a pattern, or the value of a metric, reads.
pub(crate) fn members_of(pattern: &str) -> Vec<&str> {
    let selectors = pattern.split("$.").skip(1);
    let end = |it: char| !it.is_alphanumeric() && it != '_';
    selectors
        .map(|rest| rest.split(end).next().expect("the first of several"))
        .collect()
}

fn holds(condition: &str, line: &Value) -> bool {
    let parts: Vec<&str> = condition.splitn(3, ' ').collect();
    let [member, operator, literal] = parts.as_slice() else {
        panic!("not a comparison: {condition}");
    };
    let value = &line[member.strip_prefix("$.").expect("a member of the line")];
    if (*operator, *literal) == ("IS", "TRUE") {
        return *value == true;
    }
    let literal: Value = serde_json::from_str(literal).expect("a string or a number");
    if *operator == "=" {
        return match (literal.as_str(), value.as_str()) {
            (Some(pattern), Some(text)) if pattern.contains('*') => is_like(pattern, text),
            _ => *value == literal,
        };
    }
    // Only numbers are compared by size. A line without the member is not counted.
    let (Some(value), Some(literal)) = (value.as_f64(), literal.as_f64()) else {
        return false;
    };
    match *operator {
        ">=" => value >= literal,
        "<" => value < literal,
        other => panic!("not an operator: {other}"),
    }
}

/// Whether the text is the pattern, in which each `*` stands for any text.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).any(|end| text.get(end..).is_some_and(|it| is_like(rest, it)))
        }),
    }
}

/// The value of an expression for one period. A metric without a datum is absent, and so is what is computed of it.
pub(crate) fn evaluate(expression: &str, metrics: &BTreeMap<&str, f64>) -> Option<f64> {
    evaluate_after(expression, metrics, &BTreeMap::new())
}

/// As [`evaluate`], with the data of the period before, which `DIFF` compares with.
pub(crate) fn evaluate_after(
    expression: &str,
    metrics: &BTreeMap<&str, f64>,
    previous: &BTreeMap<&str, f64>,
) -> Option<f64> {
    let mut parser = Parser {
        rest: expression,
        metrics,
        previous,
    };
    let value = parser.both();
    assert_eq!(parser.rest.trim(), "", "left over of {expression}");
    value
}

/// A parser for each level of precedence, the weakest first.
struct Parser<'a> {
    rest: &'a str,
    metrics: &'a BTreeMap<&'a str, f64>,
    previous: &'a BTreeMap<&'a str, f64>,
}

impl<'a> Parser<'a> {
    fn both(&mut self) -> Option<f64> {
        let mut left = self.comparison();
        while self.takes("AND") {
            let right = self.comparison();
            left = truth(left? != 0.0 && right? != 0.0);
        }
        left
    }

    fn comparison(&mut self) -> Option<f64> {
        let left = self.sum();
        if self.takes("<=") {
            let right = self.sum();
            truth(left? <= right?)
        } else if self.takes(">=") {
            let right = self.sum();
            truth(left? >= right?)
        } else {
            left
        }
    }

    fn sum(&mut self) -> Option<f64> {
        let mut left = self.product();
        loop {
            let calculate: fn(f64, f64) -> f64 = if self.takes("-") {
                |left, right| left - right
            } else if self.takes("+") {
                |left, right| left + right
            } else {
                return left;
            };
            let right = self.product();
            left = left.zip(right).map(|(left, right)| calculate(left, right));
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut left = self.term();
        loop {
            let calculate: fn(f64, f64) -> f64 = if self.takes("*") {
                |left, right| left * right
            } else if self.takes("/") {
                |left, right| left / right
            } else {
                return left;
            };
            let right = self.term();
            left = left.zip(right).map(|(left, right)| calculate(left, right));
        }
    }

    fn term(&mut self) -> Option<f64> {
        if self.takes("(") {
            let inner = self.both();
            assert!(self.takes(")"), "no ) before {}", self.rest);
            return inner;
        }
        let word = self.word();
        if let Ok(number) = word.parse() {
            return Some(number);
        }
        if !self.takes("(") {
            return self.metrics.get(word).copied();
        }
        if word == "DIFF" {
            return self.difference();
        }
        let mut arguments = vec![self.both()];
        while self.takes(",") {
            arguments.push(self.both());
        }
        assert!(self.takes(")"), "no ) before {}", self.rest);
        match (word, arguments.as_slice()) {
            ("IF", [condition, then, otherwise]) => {
                if (*condition)? == 0.0 {
                    *otherwise
                } else {
                    *then
                }
            }
            ("FILL", [metric, filling]) => metric.or(*filling),
            ("FLOOR", [value]) => value.map(f64::floor),
            _ => panic!("not a function: {word} of {}", arguments.len()),
        }
    }

    /// What is in parentheses, less what it was in the period before.
    fn difference(&mut self) -> Option<f64> {
        let rest = self.rest;
        let present = self.both();
        let end = self.rest;
        (self.rest, self.metrics, self.previous) = (rest, self.previous, self.metrics);
        let before = self.both();
        (self.rest, self.metrics, self.previous) = (end, self.previous, self.metrics);
        assert!(self.takes(")"), "no ) before {}", self.rest);
        present
            .zip(before)
            .map(|(present, before)| present - before)
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|it: char| !it.is_alphanumeric());
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn takes(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every value")]
fn truth(holds: bool) -> Option<f64> {
    Some(f64::from(u8::from(holds)))
}

#[test]
fn a_pattern_and_a_value_name_the_members_that_they_read() {
    assert_eq!(
        members_of(r#"{ ($.a_b = "x") && ($.c >= 1) }"#),
        ["a_b", "c"]
    );
    assert_eq!(members_of("$.age_ms"), ["age_ms"]);
    assert_eq!(members_of("1"), [""; 0]);
    let line = serde_json::json!({"age_ms": 7});
    assert!((metric_value("$.age_ms", &line) - 7.0).abs() < f64::EPSILON);
    assert!((metric_value("1", &line) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn a_pattern_compares_members_of_the_line() {
    let line = serde_json::json!({"outcome": "refused", "status": 401, "again": true});
    for (pattern, counted) in [
        (r#"{ $.outcome = "refused" }"#, true),
        (r#"{ $.outcome = "accepted" }"#, false),
        ("{ $.status = 401 }", true),
        (r#"{ ($.outcome = "a") || ($.outcome = "refused") }"#, true),
        (r#"{ ($.outcome = "a") || ($.outcome = "b") }"#, false),
        ("{ ($.status >= 401) && ($.status < 402) }", true),
        ("{ ($.status >= 402) && ($.status < 500) }", false),
        ("{ ($.status >= 400) && ($.status < 401) }", false),
        ("{ $.absent >= 0 }", false),
        (r#"{ $.outcome = "*" }"#, true),
        (r#"{ $.outcome = "ref*d" }"#, true),
        (r#"{ $.outcome = "ref*x" }"#, false),
        (r#"{ $.status = "*" }"#, false),
        (r#"{ $.absent = "*" }"#, false),
        ("{ $.again IS TRUE }", true),
        ("{ $.outcome IS TRUE }", false),
        ("{ $.absent IS TRUE }", false),
        ("{ $.outcome >= 0 }", false),
    ] {
        assert_eq!(matches(pattern, &line), counted, "{pattern}");
    }
}

#[test]
fn metric_math_is_evaluated_by_precedence_and_absent_data_stay_absent() {
    let metrics = BTreeMap::from([("a", 7.0), ("b", 2.0)]);
    for (expression, value) in [
        ("a - b * 3", Some(1.0)),
        ("(a - b) * 3", Some(15.0)),
        ("a - b - 1", Some(4.0)),
        ("FLOOR(a / b)", Some(3.0)),
        ("a - c", None),
        ("a - FILL(c, 1)", Some(6.0)),
        ("IF((a <= 7) AND (b <= 1), 10, 20)", Some(20.0)),
        ("IF((a <= 7) AND (b <= 2), 10, 20)", Some(10.0)),
        ("IF(c <= 7, 10, 20)", None),
        ("a + b", Some(9.0)),
        ("IF(a >= 8, 10, 20)", Some(20.0)),
    ] {
        assert_eq!(evaluate(expression, &metrics), value, "{expression}");
    }
    let before = BTreeMap::from([("a", 4.0)]);
    let after = |expression| evaluate_after(expression, &metrics, &before);
    assert_eq!(after("DIFF(a)"), Some(3.0));
    assert_eq!(after("a - DIFF(a)"), Some(4.0));
    assert_eq!(after("DIFF(a * 2) + b"), Some(8.0));
    assert_eq!(after("DIFF(b)"), None);
}

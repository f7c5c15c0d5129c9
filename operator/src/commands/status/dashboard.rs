//! The text of a CloudWatch dashboard: which metrics its widgets show.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A metric of a widget, with its statistic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Figure {
    /// The title of the widget.
    pub(super) widget: String,
    pub(super) label: String,
    /// What the left axis says, unless it is of a count, which is one of another time here.
    pub(super) unit: Option<String>,
    pub(super) namespace: String,
    pub(super) metric: String,
    pub(super) dimensions: Vec<(String, String)>,
    pub(super) stat: String,
}

impl Figure {
    /// Whether the points of the figure can be added.
    pub(super) fn counts(&self) -> bool {
        is_count(&self.stat)
    }
}

fn is_count(stat: &str) -> bool {
    matches!(stat, "Sum" | "SampleCount")
}

#[derive(Deserialize)]
struct Body {
    widgets: Vec<Widget>,
}

#[derive(Deserialize)]
struct Widget {
    #[serde(default)]
    properties: Properties,
}

/// Those of a metric widget. Others have no metrics.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    title: Option<String>,
    stat: Option<String>,
    y_axis: Option<Value>,
    #[serde(default)]
    metrics: Vec<Vec<Value>>,
}

/// The metrics of all widgets, in the order of the dashboard. Leaves out what is computed of others, and
/// what is hidden.
pub(super) fn figures(body: &str) -> serde_json::Result<Vec<Figure>> {
    let Body { widgets } = serde_json::from_str(body)?;
    let figures = widgets
        .into_iter()
        .flat_map(|widget| widget.properties.figures());
    Ok(figures.collect())
}

impl Properties {
    fn figures(self) -> Vec<Figure> {
        let mut before = Vec::new();
        let entries = self.metrics.iter().filter_map(|entry| {
            let (options, names) = match entry.split_last() {
                Some((Value::Object(options), names)) => (Some(options), names),
                _ => (None, entry.as_slice()),
            };
            let names = expanded(names, &before)?;
            before.clone_from(&names);
            Some((names, options))
        });
        let entries: Vec<_> = entries.collect();
        let with_name = |name: &str| entries.iter().filter(|(names, _)| names[1] == name).count();
        let figure = |(names, options): &(Vec<String>, Option<&Map<String, Value>>)| {
            let option = |name: &str| Some(options.as_ref()?.get(name)?.as_str()?.to_owned());
            let visible = options.and_then(|it| it.get("visible")) != Some(&Value::Bool(false));
            let [namespace, metric, dimensions @ ..] = names.as_slice() else {
                return None;
            };
            let distinct = dimensions.last().filter(|_| with_name(metric) > 1);
            let stat = option("stat").or_else(|| self.stat.clone());
            let stat = stat.unwrap_or_else(|| "Average".to_owned());
            visible.then(|| Figure {
                widget: self.title.clone().unwrap_or_default(),
                label: option("label").unwrap_or_else(|| distinct.unwrap_or(metric).clone()),
                unit: self.axis().filter(|_| !is_count(&stat)),
                namespace: namespace.clone(),
                metric: metric.clone(),
                dimensions: dimensions
                    .chunks_exact(2)
                    .map(|pair| (pair[0].clone(), pair[1].clone()))
                    .collect(),
                stat,
            })
        };
        entries.iter().filter_map(figure).collect()
    }

    fn axis(&self) -> Option<String> {
        let label = self.y_axis.as_ref()?.get("left")?.get("label")?;
        Some(label.as_str()?.to_owned())
    }
}

/// Namespace, metric, and names and values of dimensions. A `.` stands for what the entry before has in
/// its place, and `...` for all that it has there. `None` if this is no metric.
fn expanded(names: &[Value], before: &[String]) -> Option<Vec<String>> {
    let mut expanded: Vec<String> = Vec::new();
    for name in names {
        match name.as_str()? {
            "." => expanded.push(before.get(expanded.len())?.clone()),
            "..." => {
                let rest = names.len() - 1;
                let end = before.len().checked_sub(rest)?;
                expanded.extend_from_slice(before.get(expanded.len()..end)?);
            }
            name => expanded.push(name.to_owned()),
        }
    }
    (expanded.len() >= 2 && expanded.len().is_multiple_of(2)).then_some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Vec<(String, String, String)> {
        let figures = figures(body).unwrap().into_iter();
        let parts = figures.map(|it| {
            let dimensions = it
                .dimensions
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            let dimensions = dimensions.collect::<Vec<_>>().join(" ");
            (
                it.label,
                it.stat,
                format!("{} {} {dimensions}", it.namespace, it.metric),
            )
        });
        parts.collect()
    }

    #[test]
    fn entries_may_repeat_the_one_before_them() {
        let body = r#"{"widgets": [{"type": "text", "properties": {"markdown": "a"}}, {"type": "metric",
            "properties": {"title": "Queues", "stat": "Maximum", "metrics": [
                ["AWS/SQS", "Visible", "QueueName", "a"],
                ["...", "b", {"label": "second"}],
                [".", "Age", ".", "."],
                [{"expression": "m1 + m2"}],
                ["AWS/Lambda", "Hidden", "FunctionName", "c", {"visible": false}],
                ["...", "d"],
                [".", "Shown", ".", "."],
                ["AWS/Usage", "Total", {"stat": "Sum"}]
            ]}}]}"#;
        let expected = [
            ("a", "Maximum", "AWS/SQS Visible QueueName=a"),
            ("second", "Maximum", "AWS/SQS Visible QueueName=b"),
            ("Age", "Maximum", "AWS/SQS Age QueueName=b"),
            ("d", "Maximum", "AWS/Lambda Hidden FunctionName=d"),
            ("Shown", "Maximum", "AWS/Lambda Shown FunctionName=d"),
            ("Total", "Sum", "AWS/Usage Total "),
        ];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(names(body), expected);
    }

    #[test]
    fn a_text_that_is_no_dashboard_is_an_error() {
        assert!(figures("").is_err());
        assert!(figures("{}").is_err());
    }
}

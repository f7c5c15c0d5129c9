//! What a person reads on the screen, whole: each command in its states, compared with what was reviewed.
//!
//! A snapshot has one paragraph for each run. Values that stand in one line differ from one another, so that two
//! that are swapped show.

mod deliveries;
mod missing;
mod provisioning;
mod queues;
mod records;
mod stack;

use std::{
    fmt::Write,
    io::{BufRead, BufReader},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_smithy_types::{DateTime, date_time::Format};
use titanx_testbed::{front_door, titanx::signed};

use crate::{
    System,
    operator::{Operator, Run},
};

/// The screens of a command. What differs from run to run has a name in them: ids are `ID-1` and so on in the
/// order of their appearance, times are so many hours from now, and durations are `<n> ms`.
#[derive(Default)]
struct Screens {
    text: String,
    /// Values that differ, such as URLs, and their names.
    names: Vec<(String, String)>,
    ids: Vec<String>,
}

impl Screens {
    fn of(system: &System) -> Self {
        let emulators = &system.emulators;
        let gateway = system.gateway.url.trim_end_matches("/webhooks/titanx");
        Self::default()
            .with(&system.api.url, "<titanx>")
            .with(gateway, "<gateway>")
            .with(&emulators.dynamodb_url, "<dynamodb>")
            .with(&emulators.sqs_url, "<sqs>")
            .with(&emulators.secret.arn, "<secret>")
    }

    fn with(mut self, value: impl Into<String>, name: &str) -> Self {
        self.names.push((value.into(), name.to_owned()));
        self
    }

    /// Runs a command in a state that the heading describes.
    fn show(&mut self, heading: &str, operator: &Operator, line: &str) {
        let run = operator.run(line);
        self.add(heading, line, &run);
    }

    /// As [`Self::show`], with the lines of both streams sorted, since they come in any order.
    fn show_sorted(&mut self, heading: &str, operator: &Operator, line: &str) {
        let mut run = operator.run(line);
        for stream in [&mut run.stdout, &mut run.stderr] {
            let mut lines: Vec<_> = stream.split_inclusive('\n').collect();
            lines.sort_unstable();
            *stream = lines.concat();
        }
        self.add(heading, line, &run);
    }

    /// Runs a command that waits, up to a line of standard error that begins so.
    fn show_until(&mut self, heading: &str, operator: &Operator, line: &str, last: &str) {
        let mut child = operator.start_with_pipes(line);
        let mut shown = String::new();
        let lines = BufReader::new(child.stderr.take().expect("it is a pipe")).lines();
        for line in lines.map_while(Result::ok) {
            shown.push_str(&line);
            shown.push('\n');
            if line.starts_with(last) {
                break;
            }
        }
        child.kill().expect("it is a process of ours");
        child.wait().expect("it is a process of ours");
        self.paragraph(heading, line, &[("err", &shown)], "interrupted");
    }

    fn add(&mut self, heading: &str, line: &str, run: &Run) {
        let streams = [("out", &*run.stdout), ("err", &*run.stderr)];
        self.paragraph(heading, line, &streams, &format!("exit {}", run.status));
    }

    fn paragraph(&mut self, heading: &str, line: &str, streams: &[(&str, &str)], end: &str) {
        let mut paragraph = format!("# {heading}\n$ operator {line}\n");
        for (stream, text) in streams {
            for line in text.lines() {
                paragraph += format!("{stream}| {line}").trim_end();
                paragraph += "\n";
            }
            let is_whole = text.is_empty() || text.ends_with('\n');
            assert!(is_whole, "the last line has no end: {text}");
        }
        let paragraph = self.named(&paragraph);
        write!(self.text, "{paragraph}{end}\n\n").expect("a String grows");
    }

    /// The text with names for what differs. In a table, a name takes the room of its value.
    fn named(&mut self, text: &str) -> String {
        let mut named = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let (length, name) = self
                .name_at(rest)
                .unwrap_or_else(|| (character.len_utf8(), character.to_string()));
            let room = if rest[length..].starts_with("  ") {
                length
            } else {
                0
            };
            write!(named, "{name:room$}").expect("a String grows");
            rest = &rest[length..];
        }
        named
    }

    /// The length of what this text begins with and its name, if it differs from run to run.
    fn name_at(&mut self, text: &str) -> Option<(usize, String)> {
        let known = self.names.iter().find(|it| text.starts_with(&it.0));
        let known = known.map(|(value, name)| (value.len(), name.clone()));
        let duration = || {
            let digits = text.find(|it: char| !it.is_ascii_digit())?;
            let is_duration = digits > 0 && text[digits..].starts_with(" ms");
            is_duration.then(|| (digits + 3, "<n> ms".to_owned()))
        };
        known
            .or_else(|| self.id_at(text))
            .or_else(|| time_at(text))
            .or_else(duration)
    }

    /// A UUID, or the id that a backfill computes.
    fn id_at(&mut self, text: &str) -> Option<(usize, String)> {
        const UUID: &str = "00000000-0000-0000-0000-000000000000";
        const BACKFILL: &str = "backfill-0000000000000000000000";
        let id = text.get(..UUID.len()).filter(|it| has_form(it, UUID));
        let id = id.or_else(|| {
            let id = text.get(..BACKFILL.len())?;
            id.starts_with("backfill-").then_some(id)
        })?;
        let known = self.ids.iter().position(|it| it == id);
        let number = known.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        Some((id.len(), format!("ID-{}", number + 1)))
    }

    /// Compares the screens with the snapshot of this name.
    fn compare(self, name: &str) {
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(name, self.text);
        });
    }
}

/// Whether a text has hexadecimal digits where the form has a zero, and what the form has elsewhere.
pub(crate) fn has_form(text: &str, form: &str) -> bool {
    let mut pairs = text.chars().zip(form.chars());
    pairs.all(|(it, form)| it == form || form == '0' && it.is_ascii_hexdigit())
}

/// A time of these weeks, as whole hours from now. Others are constants of a test.
fn time_at(text: &str) -> Option<(usize, String)> {
    const FORM: &str = "0000-00-00T00:00:00Z";
    const WEEKS_S: i64 = 60 * 24 * 3_600;
    let time = text.get(..FORM.len()).filter(|it| has_form(it, FORM))?;
    let time = DateTime::from_str(time, Format::DateTime).ok()?.secs();
    let from_now = time - now_ms() / 1_000;
    if from_now.abs() > WEEKS_S {
        return None;
    }
    let hours = (from_now + 1_800).div_euclid(3_600);
    let name = match hours {
        0 => "<now>".to_owned(),
        1.. => format!("<in {hours} h>"),
        _ => format!("<{} h ago>", -hours),
    };
    Some((FORM.len(), name))
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// Delivers these bodies to the receiver.
async fn deliver(system: &System, bodies: &[String]) {
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    for body in bodies {
        let answer = front_door::deliver(&receiver, &signed(body)).await;
        assert_eq!(answer, front_door::Answer::accepted());
    }
}

#[test]
fn what_differs_has_a_name_and_nothing_else() {
    let mut screens = Screens::default().with("http://127.0.0.1:12345", "<gateway>");
    let now = DateTime::from_secs(now_ms() / 1_000 + 7_200);
    let now = now.fmt(Format::DateTime).unwrap();
    let (one, other) = (
        "0f0f0f0f-aaaa-4bbb-8ccc-0123456789ab",
        "11111111-2222-4333-8444-555555555555",
    );
    let text = format!(
        "{other} {one}  {other} {now} 12 ms, 34 bytes 2020-01-05T12:00:00Z http://127.0.0.1:12345/a {one} é"
    );
    let expected = format!(
        "ID-1 ID-2{:32}  ID-1 <in 2 h> <n> ms, 34 bytes 2020-01-05T12:00:00Z <gateway>/a ID-2 é",
        ""
    );
    assert_eq!(screens.named(&text), expected);
}

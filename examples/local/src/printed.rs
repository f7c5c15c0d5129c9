//! Runs what `--serve` prints, as it is printed.
//!
//! The tests need nothing but Rust, so a shell, `curl` and `openssl` are replaced by as much of them as the
//! commands use. `scripts/runtime-check` runs the commands with the tools themselves.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    iter::Peekable,
    net::TcpStream,
    path::Path,
    str::Chars,
    sync::Arc,
};

use serde_json::Value;
use titanx_testbed::{
    gateway::Gateway,
    titanx::{now_ms, signature},
};

use crate::{
    serve::{PORT, environment_files, instructions},
    system::System,
};

/// The commands of a text, joined to one line each. What is indented or empty is for people.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", "");
    let lines = joined.lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(' '));
    lines.map(str::to_owned).collect()
}

/// A POSIX shell with the tools that make a signature.
#[derive(Default)]
struct Shell {
    variables: BTreeMap<String, String>,
}

impl Shell {
    /// Reads a command. Returns its words, or none if it only sets a variable.
    fn read(&mut self, command: &str) -> Vec<String> {
        let words = self.words(command);
        if let [word] = &*words
            && let Some((name, value)) = word.split_once('=')
            && name.chars().all(|it| it.is_ascii_uppercase() || it == '_')
        {
            self.variables.insert(name.to_owned(), value.to_owned());
            return Vec::new();
        }
        words
    }

    fn words(&self, command: &str) -> Vec<String> {
        let (mut words, mut word) = (Vec::new(), None::<String>);
        let mut rest = command.chars().peekable();
        while let Some(next) = rest.next() {
            if next.is_whitespace() {
                words.extend(word.take());
                continue;
            }
            let word = word.get_or_insert_default();
            match next {
                '\'' => word.extend(rest.by_ref().take_while(|&it| it != '\'')),
                '"' => word.push_str(&self.quoted(&mut rest)),
                '$' => {
                    // Its words would be words of the command, unless it is the value of a variable.
                    assert!(word.ends_with('='), "not quoted: {command}");
                    word.push_str(&self.expand(&mut rest));
                }
                '\\' | '`' | '*' | '?' | '[' | '<' | '>' | '&' | '|' | '#' | '!' | '~' => {
                    panic!("{next:?} has a meaning in a shell: {command}")
                }
                other => word.push(other),
            }
        }
        words.extend(word);
        words
    }

    /// The text up to the closing quotation mark.
    fn quoted(&self, rest: &mut Peekable<Chars>) -> String {
        let mut text = String::new();
        while let Some(next) = rest.next() {
            match next {
                '"' => return text,
                '$' => text.push_str(&self.expand(rest)),
                '\\' | '`' => panic!("{next:?} has a meaning in a shell"),
                other => text.push(other),
            }
        }
        panic!("the quotation does not end: {text}");
    }

    /// The value of what follows a dollar sign.
    fn expand(&self, rest: &mut Peekable<Chars>) -> String {
        if rest.next_if_eq(&'(').is_some() {
            let pipeline: String = rest.by_ref().take_while(|&it| it != ')').collect();
            return self.signature(&pipeline);
        }
        let mut name = String::new();
        while let Some(next) = rest.next_if(|&it| it.is_ascii_alphanumeric() || it == '_') {
            name.push(next);
        }
        let value = self.variables.get(&name);
        value.unwrap_or_else(|| panic!("{name} is not set")).clone()
    }

    /// What the pipeline makes of the bytes that its first command writes.
    fn signature(&self, pipeline: &str) -> String {
        let stages = pipeline.split('|').map(|stage| self.words(stage));
        let stages: Vec<_> = stages.collect();
        let stages = stages.iter().map(|stage| stage.iter().map(String::as_str));
        let stages: Vec<Vec<_>> = stages.map(Iterator::collect).collect();
        let stages: Vec<_> = stages.iter().map(Vec::as_slice).collect();
        let [
            source,
            ["openssl", "dgst", "-sha256", "-hmac", key, "-binary"],
            ["base64"],
        ] = &*stages
        else {
            panic!("no signature is made so: {pipeline}");
        };
        let signed = match source {
            ["printf", "%s", text] => (*text).to_owned(),
            ["echo", text] => format!("{text}\n"),
            other => panic!("it is not known what this writes: {other:?}"),
        };
        signature(key, signed)
    }
}

/// The status and the body that `curl` gets with these arguments.
fn curl(arguments: &[String]) -> (u16, String) {
    let mut arguments = arguments.iter();
    let (mut url, mut body, mut headers) = (None, None, BTreeMap::new());
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("the option has a value");
        match argument.as_str() {
            "-i" => {}
            "-H" => {
                let (name, value) = value().split_once(": ").expect("a header has a value");
                headers.insert(name.to_lowercase(), value.to_owned());
            }
            "-d" => body = Some(value()),
            "--user" => assert_eq!(value(), "emulators:emulators"),
            "--aws-sigv4" => {
                assert_eq!(value(), "aws:amz:us-east-1:dynamodb");
                // Nobody verifies it.
                let signature = "AWS4-HMAC-SHA256 Credential=emulators/20260101/us-east-1/dynamodb/aws4_request, \
                                 SignedHeaders=host, Signature=00";
                headers.insert("authorization".to_owned(), signature.to_owned());
                headers.insert("x-amz-date".to_owned(), "20260101T000000Z".to_owned());
            }
            option if option.starts_with('-') => panic!("{option} is not known"),
            address => assert_eq!(url.replace(address), None, "there is one URL"),
        }
    }
    let body = body.expect("every command posts something");
    let form = "application/x-www-form-urlencoded";
    headers
        .entry("content-type".to_owned())
        .or_insert(form.to_owned());
    post(url.expect("there is a URL"), &headers, body)
}

fn post(url: &str, headers: &BTreeMap<String, String>, body: &str) -> (u16, String) {
    let address = url.strip_prefix("http://").expect("it is not encrypted");
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let lines = headers
        .iter()
        .flat_map(|(name, value)| [name, ": ", value, "\r\n"]);
    let lines: String = lines.collect();
    let length = body.len();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\
         content-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(host).expect("a server listens there");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect("a whole response");
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// A system that is served, with what is printed of it.
struct Served {
    system: System,
    gateway: Gateway,
    printed: String,
}

async fn served() -> Served {
    let system = System::start().await.expect("the system starts");
    let gateway = Gateway::start(Arc::clone(&system.receiver));
    let printed = instructions(&gateway.url, &system.emulators, "Containers can connect.");
    Served {
        system,
        gateway,
        printed,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_curl_command_does_what_is_said_of_it() {
    let Served {
        system,
        gateway,
        printed,
    } = served().await;
    let commands = commands(&printed);
    let mut shell = Shell::default();
    let mut run = |command: &String| {
        let words = shell.read(command);
        let (name, arguments) = words.split_first()?;
        (name == "curl").then(|| curl(arguments))
    };
    let answers: Vec<_> = commands.iter().filter_map(&mut run).collect();
    let [contact, job, messages, jobs] = &*answers else {
        panic!("there are {} commands: {printed}", answers.len());
    };
    let received = (200, r#"{"received": true}"#.to_owned());
    assert_eq!((contact, job), (&received, &received), "{printed}");
    gateway.idle().await;

    let sent = system.emulators.contacts.messages();
    let [sent] = &*sent else {
        panic!("there are {} messages", sent.len())
    };
    assert_eq!(messages.0, 200, "{messages:?}");
    let messages: Value = serde_json::from_str(&messages.1).unwrap();
    let message = &messages["Messages"][0];
    assert_eq!(message["Body"], *sent.body);
    let id = &message["MessageAttributes"]["deliveryId"]["StringValue"];
    assert_eq!(id.as_str(), sent.attribute("deliveryId"));
    let timestamp = serde_json::from_str::<Value>(&sent.body).unwrap()["timestamp"].as_u64();
    // One that is too old or too new is put in quarantine.
    assert!(timestamp.unwrap().abs_diff(now_ms()) < 3_600_000);

    assert_eq!(jobs.0, 200, "{jobs:?}");
    let jobs: Value = serde_json::from_str(&jobs.1).unwrap();
    assert_eq!(jobs["Items"][0]["job_id"]["S"], "job-1", "{jobs}");
    assert_eq!(jobs["Items"][0]["status"]["S"], "Finalized", "{jobs}");

    assert!(printed.contains("A second run of this command is answered as a duplicate"));
    let duplicate = (200, r#"{"received": true, "duplicate": true}"#.to_owned());
    assert_eq!(run(&commands[0]), Some(duplicate), "{printed}");
}

/// With single spaces, and without comments.
fn normalized(command: &str) -> String {
    let command = command.split("  #").next().unwrap_or_default();
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
    command.replace("cargo run -p titanx-operator -- ", "operator ")
}

fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join(file));
    text.unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every other command is one of the documents, whose commands are run by the checks, and the files that it
/// names are there.
#[tokio::test(flavor = "multi_thread")]
async fn each_other_command_is_one_of_the_documents_and_finds_its_files() {
    let Served {
        system, printed, ..
    } = served().await;
    let documents = ["README.md", "docs/operations.md"].map(read).join("\n");
    let documents = documents.replace("\\\n", "");
    let documented: Vec<_> = documents.lines().map(normalized).collect();
    let commands = commands(&printed);
    let is_other = |command: &&String| {
        let run_above = ["curl ", "BODY=", "SIGNATURE="];
        !run_above.iter().any(|start| command.starts_with(start))
    };
    let others: Vec<_> = commands.iter().filter(is_other).collect();
    assert_eq!(others.len(), 6, "{printed}");
    let written = environment_files(&system.emulators).map(|(file, text)| (file.to_owned(), text));
    let written = BTreeMap::from(written);
    for command in others {
        let normalized = normalized(command);
        assert!(documented.contains(&normalized), "{normalized}");
        let words = normalized.split([' ', ';']).filter(|it| !it.is_empty());
        let words: Vec<_> = words.collect();
        for pair in words.windows(2) {
            match pair {
                // The shell and `cargo lambda` read lines, SAM reads JSON.
                ["." | "--env-file", file] => assert_reads_as_variables(&written[*file]),
                ["--env-vars", file] => {
                    assert!(serde_json::from_str::<Value>(&written[*file]).is_ok());
                }
                [_, file] if file.starts_with("events/") => assert!(!read(file).is_empty()),
                [_, file] => assert!(!file.starts_with("target/"), "{file} is not written"),
                _ => unreachable!("windows of two"),
            }
        }
    }
}

/// Each line sets one variable, and a shell changes nothing of its value.
#[track_caller]
fn assert_reads_as_variables(lines: &str) {
    let mut shell = Shell::default();
    for line in lines.lines() {
        assert_eq!(shell.read(line), [""; 0], "{line}");
        let (name, value) = line.split_once('=').unwrap();
        assert_eq!(shell.variables[name], value);
    }
    assert!(shell.variables.len() > 10, "{lines}");
}

/// The URL that the documents use is the one that is served.
#[tokio::test(flavor = "multi_thread")]
async fn the_documents_deliver_to_the_url_that_is_served() {
    let Served { gateway, .. } = served().await;
    let path = gateway.url.splitn(4, '/').nth(3).unwrap();
    let url = format!("http://127.0.0.1:{PORT}/{path}");
    let operations = read("docs/operations.md");
    assert!(operations.contains(&format!("--url {url}\n")), "{url}");
}

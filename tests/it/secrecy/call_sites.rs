//! The places in the function's sources that write to the log, with the message of each.
//!
//! The search for confidential fragments is as good as the lines that it sees. So every message in the
//! sources has to be among them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use serde_json::Value;

/// The macros of `tracing` that write a line, and those that print one.
const MACROS: [&str; 11] = [
    "dbg", "debug", "eprint", "eprintln", "error", "event", "info", "print", "println", "trace",
    "warn",
];
/// Functions by whose result a line can be written without a macro.
const STREAMS: [&str; 2] = ["stderr", "stdout"];

/// Messages that are in no line of the search, and why they need not be.
const NOT_REACHED: &[(&str, &str)] = &[];

/// A place that writes a line.
#[derive(Debug, PartialEq, Eq)]
struct Site {
    line: usize,
    /// The message, if it is a literal without placeholders.
    message: Option<String>,
}

/// The messages of these lines, as far as they are lines of the log. A usual delivery's line has its
/// outcome alone.
pub(super) fn messages(lines: &[String]) -> BTreeSet<String> {
    let lines = lines.iter();
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages = lines.filter_map(|line| {
        let message = line.get("message").or(line.get("outcome"))?;
        Some(message.as_str()?.to_owned())
    });
    messages.collect()
}

/// Checks that each place in the sources has written one of these messages.
#[track_caller]
pub(super) fn check_off(seen: &BTreeSet<String>) {
    let mut sites = BTreeMap::new();
    let mut text = String::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        for Site { line, message } in sites_of(&fs::read_to_string(&file).unwrap()) {
            let place = format!("{}:{line}", file.display());
            match message {
                Some(message) => _ = sites.insert(message, place),
                None => writeln!(text, "{place} writes a line without a fixed message").unwrap(),
            }
        }
    }
    for (message, place) in &sites {
        let excused = NOT_REACHED.iter().any(|(it, _)| it == message);
        match (seen.contains(message), excused) {
            (false, false) => writeln!(text, "{place} is never reached: {message:?}").unwrap(),
            (true, true) => writeln!(text, "{place} needs no reason: {message:?}").unwrap(),
            _ => {}
        }
    }
    for (message, reason) in NOT_REACHED
        .iter()
        .filter(|(it, _)| !sites.contains_key(*it))
    {
        writeln!(text, "nothing writes {message:?} any more ({reason})").unwrap();
    }
    // One line for each outcome, and the warnings and errors around it.
    assert!(sites.len() >= 15, "{sites:#?}");
    assert!(text.is_empty(), "\n{text}");
}

fn sources(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|it| it.unwrap().path());
    let files = entries.flat_map(|path| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![path]
        }
    });
    files.collect()
}

/// The places in one file that are not in its tests. A macro that the file defines writes a line if
/// its body contains a call of one.
fn sites_of(text: &str) -> Vec<Site> {
    let tokens: TokenStream = text.parse().unwrap();
    let mut search = Search::default();
    search.names.extend(MACROS.map(str::to_owned));
    search.definitions(tokens.clone());
    search.search(tokens);
    search.found
}

#[derive(Default)]
struct Search {
    /// The macros that write a line.
    names: BTreeSet<String>,
    found: Vec<Site>,
}

impl Search {
    /// Looks for `macro_rules!` that write a line.
    fn definitions(&mut self, tokens: TokenStream) {
        let trees: Vec<_> = tokens.into_iter().collect();
        for window in trees.windows(4) {
            let [
                TokenTree::Ident(rules),
                _,
                TokenTree::Ident(name),
                TokenTree::Group(body),
            ] = window
            else {
                continue;
            };
            if rules == "macro_rules" && self.writes(body.stream()) {
                self.names.insert(name.to_string());
            }
        }
        for tree in trees {
            if let TokenTree::Group(group) = tree {
                self.definitions(group.stream());
            }
        }
    }

    /// Whether a macro's body calls a macro that writes a line, or one that its caller names.
    fn writes(&self, body: TokenStream) -> bool {
        let trees: Vec<_> = body.into_iter().collect();
        trees.iter().enumerate().any(|(at, tree)| match tree {
            TokenTree::Ident(name) => {
                let named = at > 0 && is_punct(&trees[at - 1], '$');
                is_call(&trees[at..]).is_some() && (named || self.names.contains(&name.to_string()))
            }
            TokenTree::Group(group) => self.writes(group.stream()),
            _ => false,
        })
    }

    fn search(&mut self, tokens: TokenStream) {
        let trees: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < trees.len() {
            match &trees[at] {
                TokenTree::Ident(it) if it == "macro_rules" => at += 3,
                TokenTree::Ident(it) if it == "mod" && is_for_tests(&trees[..at]) => at += 2,
                TokenTree::Ident(name) => {
                    let line = name.span().start().line;
                    let is_stream = STREAMS.iter().any(|it| name == it)
                        && matches!(trees.get(at + 1), Some(TokenTree::Group(_)));
                    match is_call(&trees[at..]) {
                        Some(group) if self.names.contains(&name.to_string()) => {
                            self.found.push(Site {
                                line,
                                message: message(group),
                            });
                        }
                        _ if is_stream => self.found.push(Site {
                            line,
                            message: None,
                        }),
                        _ => {}
                    }
                }
                TokenTree::Group(group) => self.search(group.stream()),
                _ => {}
            }
            at += 1;
        }
    }
}

fn is_punct(tree: &TokenTree, wanted: char) -> bool {
    matches!(tree, TokenTree::Punct(it) if it.as_char() == wanted)
}

/// The arguments, if these tokens begin with the call of a macro.
fn is_call(trees: &[TokenTree]) -> Option<&Group> {
    match trees {
        [TokenTree::Ident(_), bang, TokenTree::Group(group), ..] if is_punct(bang, '!') => {
            Some(group)
        }
        _ => None,
    }
}

/// Whether these tokens end with `#[cfg(test)]`.
fn is_for_tests(before: &[TokenTree]) -> bool {
    let [.., hash, TokenTree::Group(attribute)] = before else {
        return false;
    };
    let is_attribute = is_punct(hash, '#') && attribute.delimiter() == Delimiter::Bracket;
    is_attribute && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// The last of the arguments that is a text: fields precede the message.
fn message(arguments: &Group) -> Option<String> {
    let literals = arguments
        .stream()
        .into_iter()
        .filter_map(|tree| match tree {
            TokenTree::Literal(literal) => syn::parse_str::<syn::LitStr>(&literal.to_string()).ok(),
            _ => None,
        });
    let message = literals.last()?.value();
    (!message.contains(['{', '}'])).then_some(message)
}

#[test]
fn every_place_that_writes_a_line_is_found() {
    let sites = sites_of(
        r#"
fn a() { warn!(id, error = "field", "first"); tracing::error!(%error, "second \
   line"); }
macro_rules! line { ($level:ident, $message:literal) => { $level!(id, $message) }; }
macro_rules! other { ($it:expr) => { vec![$it] }; }
fn b() { line!(info, "third"); other!("no line"); format!("no line"); }
fn c() { match d { _ => { println!("{contact}") } } }
fn d() { writeln!(std::io::stdout(), "fifth"); info!(contact); }
#[cfg(test)]
mod tests { fn e() { warn!("a test's"); } }
fn f() { dbg!(contact); }
"#,
    );
    let message = |message: &str| Some(message.to_owned());
    let expected = [
        (2, message("first")),
        (2, message("second line")),
        (6, message("third")),
        (7, None),
        (8, None),
        (8, None),
        (11, None),
    ];
    let expected = expected.map(|(line, message)| Site { line, message });
    assert_eq!(sites, expected);
}

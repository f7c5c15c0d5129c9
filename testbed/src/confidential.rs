//! Finds fragments of confidential texts in logs and output.

use std::collections::{BTreeSet, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};

/// Fragments of this length and longer are found.
const FRAGMENT: usize = 6;

/// Finds fragments of confidential texts in several encodings.
#[derive(Default)]
pub struct Finder {
    /// Each fragment, with its text.
    fragments: HashMap<String, String>,
    /// The length of fragments in bytes.
    lengths: BTreeSet<usize>,
}

impl Finder {
    /// Adds `text`: as it is, in Base64, in hexadecimal, and in Rust's debug format.
    pub fn keep_secret(&mut self, text: &str) {
        let hex: Vec<_> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let decimal: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
        self.add(
            text,
            &text.chars().map(String::from).collect::<Vec<_>>(),
            "",
        );
        self.add(text, &hex, "");
        self.add(text, &decimal, ", ");
        for skipped in 0..3 {
            let encoded = STANDARD.encode(text.as_bytes().get(skipped..).unwrap_or_default());
            // The last characters depend on what follows the text.
            let encoded: Vec<_> = encoded.chars().map(String::from).collect();
            let certain = encoded.len().saturating_sub(4);
            self.add(text, &encoded[..certain], "");
        }
    }

    fn add(&mut self, text: &str, units: &[String], separator: &str) {
        for fragment in units.windows(FRAGMENT) {
            let fragment = fragment.join(separator).to_lowercase();
            self.lengths.insert(fragment.len());
            self.fragments.insert(fragment, text.to_owned());
        }
    }

    /// The fragment that `text` contains, if there is one.
    pub fn find(&self, text: &str) -> Option<String> {
        let text = without_request_ids(&text.to_lowercase());
        let starts = text.char_indices().map(|(start, _)| start);
        let pieces = starts.flat_map(|start| {
            let ends = self.lengths.iter().map(move |length| start + length);
            ends.filter_map(|end| text.get(start..end))
                .collect::<Vec<_>>()
        });
        for piece in pieces {
            if let Some(whole) = self.fragments.get(piece) {
                return Some(format!("{piece:?} of {whole:?} in {text:?}"));
            }
        }
        None
    }
}

/// `text` with each UUID replaced: a request id is random, so some run would find a fragment in it.
/// Nothing confidential has this form.
fn without_request_ids(text: &str) -> String {
    let is_of_an_id = |character: char| character.is_ascii_hexdigit() || character == '-';
    let words = text.split_inclusive(|character| !is_of_an_id(character));
    let words = words.map(|word| {
        let id = word.trim_end_matches(|character| !is_of_an_id(character));
        if id.len() == 36 && uuid::Uuid::try_parse(id).is_ok() {
            word.replace(id, "<request id>")
        } else {
            word.to_owned()
        }
    });
    words.collect()
}

//! The sample events in `events/`: one file for each gateway and body, and one for each body.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The directory of the samples.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events")
}

/// The files of gateways' events, `<gateway>.<body>.json`.
pub fn events() -> Vec<PathBuf> {
    json_files(&directory())
}

/// The files of bodies, `bodies/<body>.json`.
pub fn bodies() -> Vec<PathBuf> {
    json_files(&directory().join("bodies"))
}

/// The file of the body in this file's event.
pub fn body_of(event: &Path) -> PathBuf {
    let name = name(event);
    let (_gateway, body) = name
        .split_once('.')
        .unwrap_or_else(|| panic!("{name} is not named <gateway>.<body>"));
    let bodies = directory().join("bodies");
    bodies.join(format!("{body}.json"))
}

/// The name of a file without `.json`.
pub fn name(file: &Path) -> String {
    let name = file.file_stem().and_then(|stem| stem.to_str());
    name.expect("the samples have names in ASCII").to_owned()
}

fn json_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the samples are there");
    let paths = entries.map(|entry| entry.expect("a file").path());
    let is_json = |path: &PathBuf| path.extension().is_some_and(|it| it == "json");
    let mut files: Vec<_> = paths.filter(is_json).collect();
    files.sort();
    files
}

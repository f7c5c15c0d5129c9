//! The structure of the sources: which module may import which, who reads a clock, who logs.
//!
//! The documents say how the code is layered. These tests parse the sources of every member of the
//! workspace and compare, so that what is said stays true. The compiler checks none of it: it takes
//! modules that import each other as well as any others.
//!
//! [`modules`] resolves imports, [`files`] looks at single files, [`planted`] tests both on sources
//! with a known mistake.

mod features;
mod files;
mod modules;
mod planted;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::Deserialize;

use self::{
    files::{forbidden, functions},
    modules::{External, Import, Kind, Name, Package},
};

/// The floors of the function's package from top to bottom, with what each module imports from the
/// others. An empty line is between two floors.
///
/// A module imports only from floors below its own. So there is no way back up, and the modules of
/// one floor, such as the four that call AWS, do not know each other. A module stands for its child
/// modules too.
const FLOORS: &str = "\
bin/receiver: aws config error lambda log receiver shutdown

config: aws deliveries intake jobs quarantine queue receiver secrets signature
lambda: aws error gateway receiver shutdown

receiver: answer aws budget deliveries error event gateway intake log quarantine queue secrets

intake: budget deliveries error event jobs log queue
quarantine: budget error event queue signature

log: answer budget error event shutdown signature

answer: error gateway

error: budget queue

deliveries: aws event
jobs: aws event
queue: aws event
secrets: aws budget gateway signature

aws: budget
event: contact json signature
gateway: json signature

budget:
contact:
json:
shutdown:
signature:
";

/// The floors of the packages that the function's package does not know: their directory, and the table.
const OTHER_FLOORS: &[(&str, &str)] = &[
    (
        "titanx",
        "\
lib: client

client: http

http:
",
    ),
    (
        "reconcile",
        "\
lib: job_id

backfill: backfill_id job_id
contact_ids: backfill_id job_id keys matching
doubts: matching

matching: delivery_records keys scored

delivery_records: backfill_id job_id keys

backfill_id: job_id keys

job_id:
keys:
scored:
",
    ),
    (
        "healer",
        "\
bin/healer: config report

config: checks job_records run settings
lib: run

backfill: checks codec error report run
compare: checks codec error report run
find: checks error report run settings
healer: checks error report run settings
list: checks codec error run

run: checks error job_records report settings

job_records: checks error report settings

checks: error

codec:
error:
report:
settings:
",
    ),
];

/// The modules of the function's package that read a clock: the budget of an invocation, which tells
/// others the time, and the date in a signed call of AWS.
const READ_A_CLOCK: &[&str] = &["aws", "budget"];

/// The modules of the two functions' packages that write to the log. No other package does.
const LOG: &[(&str, &[&str])] = &[
    ("", &["bin/receiver", "log", "secrets"]),
    ("healer", &["bin/healer"]),
];

/// How long functions may be, in lines: the longest one, nine in ten, and the median. The operator's
/// command is measured with the libraries that it shares.
const LENGTHS: &[(&[&str], Lengths)] = &[
    (
        &["src"],
        Lengths {
            longest: 60,
            nine_in_ten: 29,
            median: 7,
        },
    ),
    (
        &["operator/src", "titanx/src", "reconcile/src", "healer/src"],
        Lengths {
            longest: 60,
            nine_in_ten: 33,
            median: 12,
        },
    ),
];

#[derive(Debug, PartialEq, Eq)]
struct Lengths {
    longest: usize,
    nine_in_ten: usize,
    median: usize,
}

/// A package of the workspace.
struct Member {
    /// Its directory from the workspace's root; empty for the function's own package.
    directory: PathBuf,
    package: Package,
}

/// All members of the workspace; the function's own package is the first.
static MEMBERS: LazyLock<Vec<Member>> = LazyLock::new(Member::read_all);

impl Member {
    /// Reads the packages that the workspace's manifest names.
    fn read_all() -> Vec<Self> {
        #[derive(Deserialize)]
        struct Manifest {
            workspace: Workspace,
        }
        #[derive(Deserialize)]
        struct Workspace {
            members: Vec<PathBuf>,
        }
        let manifest: Manifest = toml::from_str(&text(Path::new("Cargo.toml"))).unwrap();
        let directories = [vec![PathBuf::new()], manifest.workspace.members].concat();
        directories.into_iter().map(Self::read).collect()
    }

    /// Reads the modules of a package, whose crates are where Cargo looks for them.
    fn read(directory: PathBuf) -> Self {
        #[derive(Deserialize)]
        struct Manifest {
            package: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let manifest: Manifest = toml::from_str(&text(&directory.join("Cargo.toml"))).unwrap();
        let source = directory.join("src");
        let mut roots = vec![
            ("lib".to_owned(), source.join("lib.rs")),
            ("main".to_owned(), source.join("main.rs")),
        ];
        for (kind, crates) in [
            ("bin", source.join("bin")),
            ("examples", directory.join("examples")),
        ] {
            for entry in entries(&crates) {
                let name = entry.file_stem().unwrap().to_str().unwrap();
                let is_file = root().join(&entry).is_file();
                let file = if is_file {
                    entry.clone()
                } else {
                    entry.join("main.rs")
                };
                roots.push((format!("{kind}/{name}"), file));
            }
        }
        roots.retain(|(_, file)| root().join(file).is_file());
        let library = manifest.package.name.replace('-', "_");
        let read = |file: &Path| fs::read_to_string(root().join(file)).ok();
        let package = Package::read(&library, &roots, &read);
        Self { directory, package }
    }

    /// Every file of Rust in these folders of the package.
    fn files(&self, folders: &[&str]) -> Vec<PathBuf> {
        let folders = folders.iter().map(|folder| self.directory.join(folder));
        let mut files: Vec<_> = folders.flat_map(|folder| files_below(&folder)).collect();
        files.sort();
        files
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &Path) -> String {
    let text = fs::read_to_string(root().join(file));
    text.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What a directory holds, by name; nothing if there is no such directory.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).into_iter().flatten();
    let mut entries: Vec<_> = entries
        .map(|entry| directory.join(entry.unwrap().file_name()))
        .collect();
    entries.sort();
    entries
}

/// Every file of Rust in a directory, without those of another package in it.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = entries(directory).into_iter();
    let files = entries.flat_map(|entry| {
        if root().join(&entry).join("Cargo.toml").is_file() {
            Vec::new()
        } else if root().join(&entry).is_dir() {
            files_below(&entry)
        } else if entry.extension().is_some_and(|it| it == "rs") {
            vec![entry]
        } else {
            Vec::new()
        }
    });
    files.collect()
}

/// What each node of a graph imports, with one place of each import.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// The imports between parts of a package, of which `part` names the one that a module belongs to.
fn graph(imports: &[Import], part: impl Fn(&Name) -> Option<String>) -> Graph {
    let mut graph = Graph::new();
    for import in imports {
        if let (Some(from), Some(to)) = (part(&import.from), part(&import.to))
            && from != to
        {
            let imported = graph.entry(from).or_default();
            imported.entry(to).or_insert_with(|| import.place.clone());
        }
    }
    graph
}

/// The floor of the whole package that a module is on: a child module is on that of its parent.
fn floor(module: &Name) -> String {
    let mut floor = module.clone();
    floor.path.truncate(1);
    floor.to_string()
}

/// The child of `parent` that a module is, or is inside.
fn child_of(parent: &Name, module: &Name) -> Option<String> {
    let depth = parent.path.len() + 1;
    let is_inside = module.krate == parent.krate && module.path.starts_with(&parent.path);
    (is_inside && module.path.len() >= depth).then(|| {
        let mut child = module.clone();
        child.path.truncate(depth);
        child.to_string()
    })
}

/// The nodes that can be reached from themselves, each with the others of its circle.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &String| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(node) = next.pop() {
            for imported in graph.get(node).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(imported.clone()) {
                    next.push(imported);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<_, _> = graph.keys().map(|node| (node, reached(node))).collect();
    let circles = reached.iter().filter(|(node, all)| all.contains(**node));
    let circles = circles.map(|(node, all)| {
        let returns = |other: &&String| reached.get(other).is_some_and(|it| it.contains(*node));
        all.iter().filter(returns).cloned().collect()
    });
    circles.collect()
}

/// The circles between the modules of a package, with the imports that make them.
fn describe_circles(package: &Package) -> String {
    let imports = package.imports();
    let mut graphs = vec![graph(&imports, |module| Some(floor(module)))];
    for parent in package.names().filter(|name| !name.path.is_empty()) {
        graphs.push(graph(&imports, |module| child_of(parent, module)));
    }
    let mut text = String::new();
    for graph in graphs {
        for circle in circles(&graph) {
            let names: Vec<_> = circle.iter().map(String::as_str).collect();
            writeln!(text, "circle of {}", names.join(", ")).unwrap();
            for from in &circle {
                let imports = graph[from].iter();
                for (to, place) in imports.filter(|(to, _)| circle.contains(*to)) {
                    writeln!(text, "  {from} imports {to}: {place}").unwrap();
                }
            }
        }
    }
    text
}

/// How the imports of a package differ from a table of floors.
fn differences(package: &Package, floors: &str) -> String {
    let imports = package.imports();
    let graph = graph(&imports, |module| {
        let is_example = module.krate.starts_with("examples/");
        (!is_example).then(|| floor(module))
    });
    let mut text = String::new();
    let mut above = BTreeSet::new();
    let mut table = BTreeMap::new();
    for floor in floors.split("\n\n") {
        let rows = floor.lines().map(|row| row.split_once(':').unwrap());
        let rows: Vec<_> = rows.collect();
        above.extend(rows.iter().map(|(module, _)| *module));
        for (module, imported) in rows {
            let imported: BTreeSet<_> = imported.split_whitespace().collect();
            for upward in imported.intersection(&above) {
                writeln!(text, "the table has {module} import {upward}, not below it").unwrap();
            }
            table.insert(module, imported);
        }
    }
    let modules = package
        .names()
        .filter(|it| !it.krate.starts_with("examples/"));
    let modules: BTreeSet<_> = modules.map(floor).collect();
    for module in &modules {
        // A crate's root that only declares modules is on no floor.
        let is_bare_root = module == "lib" && graph.values().all(|it| !it.contains_key("lib"));
        if !is_bare_root && !table.contains_key(module.as_str()) {
            writeln!(text, "{module} is not in the table").unwrap();
        }
    }
    for (module, allowed) in &table {
        if !modules.contains(*module) {
            writeln!(text, "the table has {module}, which does not exist").unwrap();
            continue;
        }
        let imported = graph.get(*module).cloned().unwrap_or_default();
        for (to, place) in imported
            .iter()
            .filter(|(to, _)| !allowed.contains(to.as_str()))
        {
            writeln!(text, "{module} imports {to}: {place}").unwrap();
        }
        for unused in allowed.iter().filter(|it| !imported.contains_key(**it)) {
            writeln!(
                text,
                "{module} does not import {unused}, as the table has it"
            )
            .unwrap();
        }
    }
    text
}

/// Whether a clock is read here.
fn reads_a_clock(external: &External) -> bool {
    match external.path.as_slice() {
        [name] => external.kind == Kind::Method && name == "elapsed",
        [.., clock, method] => {
            let is_clock = ["Instant", "SystemTime"].contains(&clock.as_str());
            is_clock && ["elapsed", "now"].contains(&method.as_str())
                || method == "SystemTimeSource"
        }
        [] => false,
    }
}

/// Whether something is written to the log here. What is printed gets there too.
fn logs(external: &External) -> bool {
    const LEVELS: [&str; 12] = [
        "debug",
        "debug_span",
        "error",
        "error_span",
        "event",
        "info",
        "info_span",
        "instrument",
        "span",
        "trace",
        "warn",
        "warn_span",
    ];
    const PRINT: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];
    match external.path.as_slice() {
        [krate] => {
            let prints = external.kind == Kind::Macro && PRINT.contains(&krate.as_str());
            prints || external.kind == Kind::Glob && krate == "tracing"
        }
        [krate, name] => krate == "tracing" && LEVELS.contains(&name.as_str()),
        _ => false,
    }
}

/// The modules with a use of this kind, on the floor that they are on, with one place each.
fn users(package: &Package, is_used: impl Fn(&External) -> bool) -> BTreeMap<String, String> {
    let externals = package.externals().into_iter();
    let users = externals.filter(|it| !it.module.krate.starts_with("examples/") && is_used(it));
    let users = users.map(|it| (floor(&it.module), it.place));
    // The first place of each.
    users.collect::<Vec<_>>().into_iter().rev().collect()
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut text = String::new();
    for member in &*MEMBERS {
        let circles = describe_circles(&member.package);
        if !circles.is_empty() {
            writeln!(text, "in {}/:\n{circles}", member.directory.display()).unwrap();
        }
    }
    assert!(text.is_empty(), "\n{text}");
}

#[test]
fn the_function_is_built_in_floors() {
    let differences = differences(&MEMBERS[0].package, FLOORS);
    assert!(differences.is_empty(), "\n{differences}");
}

#[test]
fn the_libraries_beside_the_function_are_built_in_floors() {
    for (directory, floors) in OTHER_FLOORS {
        let mut members = MEMBERS.iter();
        let member = members.find(|it| it.directory == Path::new(directory));
        let differences = differences(&member.unwrap().package, floors);
        assert!(differences.is_empty(), "in {directory}/:\n{differences}");
    }
}

/// Whoever only runs or deploys the function must not compile the operator's command, or what it
/// shares with other programs.
#[test]
fn the_function_is_built_without_the_other_members() {
    #[derive(Deserialize)]
    struct Manifest {
        dependencies: BTreeMap<String, toml::Value>,
    }
    let manifest: Manifest = toml::from_str(&text(Path::new("Cargo.toml"))).unwrap();
    let dependencies = manifest.dependencies.into_iter();
    let members: Vec<_> = dependencies
        .filter(|(_, it)| it.get("path").is_some())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(members, [] as [String; 0]);
}

#[test]
fn a_clock_is_read_only_where_the_documents_say() {
    let readers = users(&MEMBERS[0].package, reads_a_clock);
    let names: Vec<_> = readers.keys().map(String::as_str).collect();
    assert_eq!(names, READ_A_CLOCK, "{readers:#?}");
}

#[test]
fn the_log_is_written_only_where_the_documents_say() {
    for member in &*MEMBERS {
        let mut functions = LOG.iter();
        let function = functions.find(|(directory, _)| member.directory == Path::new(directory));
        if let Some((_, expected)) = function {
            let loggers = users(&member.package, logs);
            let names: Vec<_> = loggers.keys().map(String::as_str).collect();
            assert_eq!(names, *expected, "{loggers:#?}");
        } else {
            // Programs print; to them `tracing` is what the function's package uses.
            let loggers = users(&member.package, |it| it.path.len() > 1 && logs(it));
            assert!(loggers.is_empty(), "{loggers:#?}");
        }
    }
}

#[test]
fn nothing_is_included_by_its_path_dead_or_unsafe() {
    let mut text = String::new();
    for member in &*MEMBERS {
        for file in member.files(&["src", "tests", "examples", "benches"]) {
            for (line, what) in forbidden(&self::text(&file)) {
                writeln!(text, "{}:{line}: {what}", file.display()).unwrap();
            }
        }
    }
    assert!(text.is_empty(), "\n{text}");
}

/// Else the other tests would not see it.
#[test]
fn every_file_belongs_to_a_crate() {
    for member in &*MEMBERS {
        let files = member.files(&["src", "examples"]);
        assert!(!files.is_empty(), "{}", member.directory.display());
        for file in files {
            assert!(member.package.files.contains(&file), "{}", file.display());
        }
    }
}

#[test]
fn functions_are_short() {
    for (directories, limits) in LENGTHS {
        let files = directories.iter().flat_map(|it| files_below(Path::new(it)));
        let found = files.flat_map(|file| {
            let functions = functions(&text(&file)).into_iter();
            functions.map(move |it| {
                (
                    it.lines,
                    format!("{}:{}: {}", file.display(), it.line, it.name),
                )
            })
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        let lines = |index: usize| found[index].0;
        let lengths = Lengths {
            longest: lines(found.len() - 1),
            nine_in_ten: lines(found.len() * 9 / 10),
            median: lines(found.len() / 2),
        };
        let is_short = lengths.longest <= limits.longest
            && lengths.nine_in_ten <= limits.nine_in_ten
            && lengths.median <= limits.median;
        let longest: Vec<_> = found.iter().rev().take(20).collect();
        assert!(
            is_short,
            "{directories:?}: {lengths:?}, longest: {longest:#?}"
        );
    }
}

//! The measured programs: the receiver, lower bounds, and common alternatives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::endpoints::Transport;
use crate::workload::Workload;

/// Names of contenders that the reports refer to.
pub const NOOP: &str = "noop";
pub const FLOOR: &str = "floor";
pub const RECEIVER: &str = "receiver";
/// An earlier build of the receiver.
pub const EARLIER: &str = "earlier";
pub const PYTHON: &str = "python-powertools";
pub const NODE: &str = "node-powertools";

/// One function.
pub struct Contender {
    pub name: &'static str,
    pub title: &'static str,
    /// The program and its arguments.
    pub command: Vec<PathBuf>,
    /// The function's directory on Lambda (`LAMBDA_TASK_ROOT`).
    pub directory: PathBuf,
    pub handler: &'static str,
    kind: Kind,
    /// Files and directories that are uploaded in addition to the managed runtime.
    uploads: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Answers 200 to everything, and makes no call.
    Noop,
    /// Makes the calls over plain HTTP, verifies nothing.
    Floor,
    /// Verifies, claims, sends and completes.
    Whole,
}

/// The size of a function.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Bytes of the executable; `None` if the function is a script.
    pub binary: Option<u64>,
    /// Bytes of the archive that is uploaded.
    pub zip: u64,
}

/// The receiver's executable as `cargo build --release` leaves it.
pub fn release_build() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/receiver")
}

pub fn receiver(binary: PathBuf) -> Contender {
    native(RECEIVER, "receiver", Kind::Whole, binary)
}

pub fn earlier(binary: PathBuf) -> Contender {
    native(EARLIER, "receiver (earlier build)", Kind::Whole, binary)
}

/// All contenders, in the order of the tables.
pub fn all(binary: PathBuf, earlier_binary: Option<PathBuf>) -> Vec<Contender> {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = bench.join("../target/release");
    let mut all = vec![
        native(NOOP, "no-op lambda_http", Kind::Noop, built.join("noop")),
        native(
            FLOOR,
            "hand-written floor",
            Kind::Floor,
            built.join("floor"),
        ),
        receiver(binary),
    ];
    all.extend(earlier_binary.map(earlier));
    all.extend(peers(bench));
    all
}

fn peers(bench: &Path) -> [Contender; 4] {
    [
        python(bench, PYTHON, "Python, Powertools", "powertools.handler"),
        python(
            bench,
            "python-boto3",
            "Python, boto3 alone",
            "boto3_alone.handler",
        ),
        node(bench, NODE, "Node, Powertools", "powertools.handler"),
        node(bench, "node-sdk", "Node, SDK alone", "sdk_alone.handler"),
    ]
}

fn native(name: &'static str, title: &'static str, kind: Kind, binary: PathBuf) -> Contender {
    Contender {
        name,
        title,
        command: vec![binary.clone()],
        directory: binary.parent().expect("a file has a directory").to_owned(),
        handler: "bootstrap",
        kind,
        uploads: vec![binary],
    }
}

/// The managed runtime contains the runtime client and boto3. Powertools is uploaded with the function.
fn python(
    bench: &Path,
    name: &'static str,
    title: &'static str,
    handler: &'static str,
) -> Contender {
    let directory = bench.join("peers/python");
    let packages = site_packages(&directory);
    let module = handler.split('.').next().expect("a module");
    let mut uploads = vec![
        directory.join("webhook.py"),
        directory.join(format!("{module}.py")),
    ];
    if module == "powertools" {
        uploads.extend(
            ["aws_lambda_powertools", "jmespath", "typing_extensions.py"]
                .map(|it| packages.join(it)),
        );
    }
    Contender {
        name,
        title,
        command: vec![
            directory.join(".venv/bin/python"),
            "-m".into(),
            "awslambdaric".into(),
            handler.into(),
        ],
        directory,
        handler,
        kind: Kind::Whole,
        uploads,
    }
}

/// The package directory of a virtual environment. Its path contains the version of Python.
fn site_packages(directory: &Path) -> PathBuf {
    let library = directory.join(".venv/lib");
    let version = fs::read_dir(&library)
        .ok()
        .and_then(|mut entries| entries.next()?.ok());
    version.map_or(library, |entry| entry.path().join("site-packages"))
}

/// The handler is a minified bundle with the parts of the SDK that it uses, as is usual for a fast start.
fn node(bench: &Path, name: &'static str, title: &'static str, handler: &'static str) -> Contender {
    let peers = bench.join("peers/node");
    let directory = peers.join("bundle");
    let module = handler.split('.').next().expect("a module");
    Contender {
        name,
        title,
        command: vec![
            "node".into(),
            peers.join("node_modules/aws-lambda-ric/bin/index.mjs"),
            handler.into(),
        ],
        uploads: vec![directory.join(format!("{module}.mjs"))],
        directory,
        handler,
        kind: Kind::Whole,
    }
}

impl Contender {
    /// The floor has no TLS.
    pub fn transport(&self, wanted: Transport) -> Transport {
        if self.kind == Kind::Floor {
            Transport::Plain
        } else {
            wanted
        }
    }

    /// Whether the contender can handle this workload.
    pub fn takes(&self, workload: Workload) -> bool {
        use Workload::{Duplicate, Large, New};
        self.kind != Kind::Floor || matches!(workload, New | Duplicate | Large)
    }

    /// The expected status.
    pub fn status(&self, workload: Workload) -> u16 {
        if self.kind == Kind::Noop {
            200
        } else {
            workload.status()
        }
    }

    /// The expected number of AWS calls.
    pub fn calls(&self, workload: Workload) -> u64 {
        if self.kind == Kind::Noop {
            0
        } else {
            workload.calls()
        }
    }

    /// Measures the size of the upload.
    pub fn size(&self) -> Result<Size> {
        let binary = match self.command.as_slice() {
            [binary] => Some(
                fs::metadata(binary)
                    .with_context(|| binary.display().to_string())?
                    .len(),
            ),
            _ => None,
        };
        Ok(Size {
            binary,
            zip: zip_of(&self.uploads)?,
        })
    }
}

/// The archive that `cargo lambda build --release --arm64` made of the receiver, if it was run.
pub fn arm64_zip() -> Result<Option<u64>> {
    const ARM64: [u8; 2] = [183, 0];
    let function =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lambda/receiver/bootstrap");
    let Ok(program) = fs::read(&function) else {
        return Ok(None);
    };
    let is_arm64 = program.get(18..20) == Some(&ARM64);
    is_arm64.then(|| zip_of(&[function])).transpose()
}

/// Bytes of an archive of these files and directories, without Python's caches.
fn zip_of(uploads: &[PathBuf]) -> Result<u64> {
    let directory = tempfile::tempdir()?;
    let archive = directory.path().join("upload.zip");
    for upload in uploads {
        // Names in the archive are relative to the upload's directory.
        let (Some(parent), Some(name)) = (upload.parent(), upload.file_name()) else {
            bail!("{} has no name", upload.display());
        };
        let zip = Command::new("zip")
            .args(["-9", "-q", "-r"])
            .arg(&archive)
            .arg(name)
            .args(["-x", "*__pycache__*"])
            .current_dir(parent)
            .output()
            .context("zip makes the archives that are weighed")?;
        let errors = String::from_utf8_lossy(&zip.stdout);
        ensure!(zip.status.success(), "zip {}: {errors}", upload.display());
    }
    Ok(fs::metadata(archive)?.len())
}

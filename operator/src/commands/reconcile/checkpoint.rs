//! What was read from TitanX, kept in a file, so that an interrupted reading can be gone on with.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use serde_json::value::{RawValue, to_raw_value};

use crate::titanx::Reading;

/// The file, or nothing of the kind.
pub(super) struct Checkpoint<'a> {
    path: Option<&'a Path>,
    /// What was read, by job.
    kept: BTreeMap<String, Box<RawValue>>,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn open(path: Option<&'a Path>) -> anyhow::Result<Self> {
        let mut kept = BTreeMap::new();
        if let Some(path) = path {
            let name = || format!("the checkpoint {}", path.display());
            match fs::read(path) {
                Ok(json) => kept = serde_json::from_slice(&json).with_context(name)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(name),
            }
        }
        Ok(Self { path, kept })
    }

    /// What was read of a job before, if anything was.
    pub(super) fn reading(&self, job: &str) -> anyhow::Result<Option<Reading>> {
        let kept = self.kept.get(job);
        let kept = kept
            .map(|kept| serde_json::from_str(kept.get()))
            .transpose();
        kept.context("the checkpoint was written by another version; delete it")
    }

    /// Keeps how far the reading of a job is.
    pub(super) fn keep(&mut self, job: &str, reading: &Reading) -> anyhow::Result<()> {
        let Some(path) = self.path else { return Ok(()) };
        self.kept.insert(job.to_owned(), to_raw_value(reading)?);
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let write = || -> anyhow::Result<()> {
            // Readable by its owner alone.
            let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
            file.write_all(&serde_json::to_vec(&self.kept)?)?;
            file.persist(path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write the checkpoint {}", path.display()))
    }

    /// All is done.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        match self.path.map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

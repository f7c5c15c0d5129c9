//! Saves what has been read from TitanX to a file, so that an interrupted run can resume.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use serde_json::value::{RawValue, to_raw_value};
use titanx_client::PagedList;
use titanx_reconcile::JobId;

/// The checkpoint file, if one is named.
pub(super) struct Checkpoint<'a> {
    path: Option<&'a Path>,
    /// The contacts that have been read, by the job's [`JobId::key`].
    lists: BTreeMap<String, Box<RawValue>>,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn open(path: Option<&'a Path>) -> anyhow::Result<Self> {
        let mut lists = BTreeMap::new();
        if let Some(path) = path {
            let context = || format!("cannot read the checkpoint {}", path.display());
            match fs::read(path) {
                Ok(json) => {
                    let saved: BTreeMap<String, _> =
                        serde_json::from_slice(&json).with_context(context)?;
                    // An earlier version of this command wrote the ids as they were given.
                    let keyed = saved.into_iter();
                    lists = keyed
                        .map(|(id, list)| (JobId::from(id.as_str()).key().to_owned(), list))
                        .collect();
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(context),
            }
        }
        Ok(Self { path, lists })
    }

    /// The contacts of a job that an earlier run has read, if any.
    pub(super) fn list(&self, job: &JobId) -> anyhow::Result<Option<PagedList>> {
        let list = self.lists.get(job.key());
        let list = list
            .map(|list| serde_json::from_str(list.get()))
            .transpose();
        list.context(
            "another version of this command wrote the checkpoint: delete the file and run this \
             command again",
        )
    }

    /// Saves the contacts of a job that have been read so far.
    pub(super) fn save(&mut self, job: &JobId, list: &PagedList) -> anyhow::Result<()> {
        let Some(path) = self.path else { return Ok(()) };
        self.lists.insert(job.key().to_owned(), to_raw_value(list)?);
        let directory = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty());
        let write = || -> anyhow::Result<()> {
            // Only the owner can read a temporary file (mode 600).
            let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
            file.write_all(&serde_json::to_vec(&self.lists)?)?;
            file.persist(path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write the checkpoint {}", path.display()))
    }

    /// Deletes the file, which contains personal data.
    pub(super) fn delete(self) -> anyhow::Result<()> {
        let Some(path) = self.path else { return Ok(()) };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let context = || format!("cannot delete the checkpoint {}", path.display());
                Err(error).with_context(context)
            }
            _ => Ok(()),
        }
    }
}

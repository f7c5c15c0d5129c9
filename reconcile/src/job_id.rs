//! Job ids. TitanX documents a UUID, but not its spelling, and people copy ids from several places. So
//! ids that differ only by case or hyphens are the same job, to every command.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// A job id. Two are equal if they differ only by case or hyphens.
#[derive(Debug, Clone)]
pub struct JobId {
    written: String,
    key: String,
}

impl JobId {
    /// The id as it was written, for requests and output.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The same for every spelling of the id.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl From<&str> for JobId {
    fn from(written: &str) -> Self {
        let written = written.trim();
        Self {
            key: written.replace('-', "").to_lowercase(),
            written: written.to_owned(),
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl PartialEq for JobId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for JobId {}

impl Hash for JobId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    /// It is what requests and records have.
    #[test]
    fn blanks_around_an_id_are_no_part_of_it() {
        for written in ["Job-1", " Job-1", "Job-1\n", "\tJob-1 \r\n"] {
            let id = JobId::from(written);
            assert_eq!((id.as_str(), id.to_string().as_str()), ("Job-1", "Job-1"));
        }
    }

    #[test]
    fn case_and_hyphens_do_not_distinguish_ids() {
        let hasher = RandomState::new();
        let id = JobId::from("AAAAAAAA-bbbb-4ccc-8ddd-eeeeeeeeeeee");
        for same in [
            "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
            "AAAAAAAABBBB4CCC8DDDEEEEEEEEEEEE",
            " aaaaaaaabbbb4ccc8dddeeeeeeeeeeee\n",
        ] {
            let same = JobId::from(same);
            assert_eq!(id, same);
            assert_eq!(hasher.hash_one(&id), hasher.hash_one(&same));
        }
        let other = JobId::from("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeef");
        assert_ne!(id, other);
        assert_ne!(hasher.hash_one(&id), hasher.hash_one(&other));
        assert_eq!(id.to_string(), "AAAAAAAA-bbbb-4ccc-8ddd-eeeeeeeeeeee");
    }
}

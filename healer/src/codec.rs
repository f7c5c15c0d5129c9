//! The items that a round stores of contacts: keys and ordinals, in as few bytes as they need.

use titanx_reconcile::{
    keys::Keys,
    matching::{Contacts, MissingContact},
};

/// The largest binary attribute that is written. An item may have 400 KB.
pub(crate) const CHUNK_BYTES: usize = 300 * 1024;

const SCORED: u8 = 0b1000_0000;

/// Appends a contact: a byte with the kinds of its keys and whether it is scored, and the keys.
pub(crate) fn push_contact(chunk: &mut Vec<u8>, keys: &Keys, scored: bool) {
    chunk.push(keys.mask() | if scored { SCORED } else { 0 });
    for key in keys.iter() {
        chunk.extend_from_slice(&key.to_be_bytes());
    }
}

/// Reads the contacts of a chunk. `None` if it is of another form.
pub(crate) fn read_contacts(chunk: &[u8], contacts: &mut Contacts) -> Option<()> {
    let mut rest = chunk;
    while let [first, more @ ..] = rest {
        let mask = first & !SCORED;
        let length = 8 * mask.count_ones() as usize;
        let (bytes, after) = more.split_at_checked(length)?;
        let (words, _) = bytes.as_chunks::<8>();
        let keys = Keys::from_parts(mask, words.iter().map(|it| u64::from_be_bytes(*it)))?;
        contacts.push(&keys, first & SCORED != 0);
        rest = after;
    }
    Some(())
}

/// A missing contact, as the backfill recognises it in TitanX's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) identity: u64,
    pub(crate) ordinal: u32,
    pub(crate) delivery_id: Option<Box<str>>,
}

impl Missing {
    pub(crate) fn new(missing: MissingContact, contacts: &Contacts) -> Self {
        Self {
            identity: contacts.keys(missing.index).identity(),
            ordinal: u32::try_from(missing.ordinal).unwrap_or(u32::MAX),
            delivery_id: missing.delivery_id.map(String::into_boxed_str),
        }
    }
}

/// Appends a missing contact: identity, ordinal, and the length of the delivery id with the id.
pub(crate) fn push_missing(chunk: &mut Vec<u8>, missing: &Missing) {
    chunk.extend_from_slice(&missing.identity.to_be_bytes());
    chunk.extend_from_slice(&missing.ordinal.to_be_bytes());
    let id = missing.delivery_id.as_deref().unwrap_or_default();
    // A delivery id has at most 128 characters.
    chunk.push(u8::try_from(id.len()).unwrap_or(0));
    chunk.extend_from_slice(&id.as_bytes()[..usize::from(u8::try_from(id.len()).unwrap_or(0))]);
}

/// Reads the missing contacts of a chunk. `None` if it is of another form.
pub(crate) fn read_missing(chunk: &[u8]) -> Option<Vec<Missing>> {
    let mut rest = chunk;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (identity, after) = rest.split_first_chunk()?;
        let (ordinal, after) = after.split_first_chunk()?;
        let (length, after) = after.split_first()?;
        let (id, after) = after.split_at_checked(usize::from(*length))?;
        let id = std::str::from_utf8(id).ok()?;
        all.push(Missing {
            identity: u64::from_be_bytes(*identity),
            ordinal: u32::from_be_bytes(*ordinal),
            delivery_id: (!id.is_empty()).then(|| id.into()),
        });
        rest = after;
    }
    Some(all)
}

/// The chunks of digests, eight bytes for each.
pub(crate) fn digest_chunks(digests: &[u64]) -> impl Iterator<Item = Vec<u8>> {
    let chunks = digests.chunks(CHUNK_BYTES / size_of::<u64>());
    chunks.map(|chunk| chunk.iter().flat_map(|it| it.to_be_bytes()).collect())
}

/// Reads the digests of a chunk. `None` if it is of another form.
pub(crate) fn read_digests(chunk: &[u8]) -> Option<impl Iterator<Item = u64>> {
    let (digests, rest) = chunk.as_chunks::<8>();
    let digests = digests.iter().map(|it| u64::from_be_bytes(*it));
    rest.is_empty().then_some(digests)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn keys(json: &str) -> Keys {
        Keys::of_contact(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn contacts_survive_a_chunk() {
        let all = [
            (keys(r#"{"id": 1, "email": "a@example.com"}"#), true),
            (keys("{}"), false),
            (keys(r#"{"leadId": 1}"#), true),
        ];
        let mut chunk = Vec::new();
        for (keys, scored) in &all {
            push_contact(&mut chunk, keys, *scored);
        }
        assert_eq!(chunk.len(), 17 + 9 + 9);
        let mut read = Contacts::default();
        assert!(read.is_empty());
        read_contacts(&chunk, &mut read).unwrap();
        assert!(!read.is_empty());
        let read: Vec<_> = (0..read.len())
            .map(|index| (read.keys(index), read.is_scored(index)))
            .collect();
        assert_eq!(read, all);
        assert_eq!(
            read_contacts(&chunk[..chunk.len() - 1], &mut Contacts::default()),
            None
        );
    }

    #[test]
    fn missing_contacts_survive_a_chunk() {
        let all = [None, Some("delivery-1".into()), None].map(|delivery_id| Missing {
            identity: 0x0102_0304_0506_0708,
            ordinal: 70_000,
            delivery_id,
        });
        let mut chunk = Vec::new();
        for missing in &all {
            push_missing(&mut chunk, missing);
        }
        assert_eq!(chunk.len(), 13 * 3 + 10);
        assert_eq!(read_missing(&chunk).unwrap(), all);
        assert_eq!(read_missing(&chunk[..chunk.len() - 1]), None);
    }

    #[test]
    fn digests_survive_their_chunks() {
        let all: Vec<u64> = (u64::MAX - 38_400..=u64::MAX).collect();
        let chunks: Vec<_> = digest_chunks(&all).collect();
        let lengths: Vec<_> = chunks.iter().map(Vec::len).collect();
        assert_eq!(lengths, [CHUNK_BYTES, 8]);
        let read = chunks.iter().flat_map(|it| read_digests(it).unwrap());
        assert_eq!(read.collect::<Vec<_>>(), all);
        assert!(read_digests(&chunks[1][1..]).is_none());
        assert_eq!(digest_chunks(&[]).count(), 0);
    }
}

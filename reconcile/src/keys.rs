//! The keys of contacts and records in eight bytes each, since a healer compares millions of them.
//!
//! The deliveries table holds 16 bytes of each digest. Of these the first eight are compared: among a
//! million contacts and ten million records, two different ones have an equal key with a probability
//! of 10⁻⁶.

use std::array;

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use titanx_receiver::contact::{Contact, KEY_KINDS};

/// A slot for each kind of key, and one for the bytes of a contact that has none.
const SLOTS: usize = KEY_KINDS.len() + 1;
const BYTES_SLOT: usize = KEY_KINDS.len();

/// The keys of a contact or of a record, at most one of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keys([Option<u64>; SLOTS]);

/// The kinds of keys that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds([bool; SLOTS]);

/// One kind of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(usize);

impl Kinds {
    /// The kinds, the strongest first.
    pub(crate) fn each(self) -> impl Iterator<Item = Kind> {
        (0..SLOTS).filter(move |&slot| self.0[slot]).map(Kind)
    }

    /// The kinds with these names, or all kinds if none is named.
    #[must_use]
    pub fn named(names: &[String]) -> Self {
        let selected = |kind: &str| names.is_empty() || names.iter().any(|name| name == kind);
        Self(array::from_fn(|slot| {
            KEY_KINDS.get(slot).is_some_and(|kind| selected(kind))
        }))
    }
}

impl Keys {
    /// The keys of a contact as TitanX returned it. A contact without a key is recognised by its bytes,
    /// which no record has.
    #[must_use]
    pub fn of_contact(contact: &RawValue) -> Self {
        let parsed = serde_json::from_str::<Contact>(contact.get());
        let keys = parsed.map(|parsed| Self::of_record(&parsed.keys()));
        let mut keys = keys.unwrap_or_default();
        if keys.is_empty() {
            let hash = Sha256::digest(contact.get());
            keys.0[BYTES_SLOT] = Some(first_eight(&hash));
        }
        keys
    }

    /// The keys in a record, as [`Contact::keys`] wrote them. What is none of them is left out.
    #[must_use]
    pub fn of_record(written: &[String]) -> Self {
        let mut keys = Self::default();
        for key in written {
            let Some((kind, digest)) = key.split_once(':') else {
                continue;
            };
            let slot = KEY_KINDS.iter().position(|it| *it == kind);
            if let (Some(slot), Ok(digest)) = (slot, BASE64_STANDARD_NO_PAD.decode(digest))
                && digest.len() >= 8
            {
                keys.0[slot] = Some(first_eight(&digest));
            }
        }
        keys
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Whether the contact is recognised by its bytes alone, so that no record can match it.
    #[must_use]
    pub fn is_unmatchable(&self) -> bool {
        self.0[..BYTES_SLOT].iter().all(Option::is_none)
    }

    /// The keys, the strongest first.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied().flatten()
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> Option<u64> {
        self.0[kind.0]
    }

    /// The strongest of these kinds of which both have a key, if the two keys are equal.
    pub(crate) fn strongest_in_common(&self, other: &Self, kinds: Kinds) -> Option<Kind> {
        let have_both = |kind: &Kind| self.of_kind(*kind).and(other.of_kind(*kind)).is_some();
        let strongest = kinds.each().find(have_both)?;
        (self.of_kind(strongest) == other.of_kind(strongest)).then_some(strongest)
    }

    /// Equal for contacts with equal keys, and else different with the same probability as keys are.
    #[must_use]
    pub fn identity(&self) -> u64 {
        let mut hash = Sha256::new();
        for (slot, key) in self.0.iter().enumerate() {
            if let Some(key) = key {
                hash.update([u8::try_from(slot).unwrap_or(u8::MAX)]);
                hash.update(key.to_be_bytes());
            }
        }
        first_eight(&hash.finalize())
    }

    /// A bit for each kind that is there, the strongest in the lowest.
    #[must_use]
    pub fn mask(&self) -> u8 {
        let bits = self.0.iter().enumerate();
        bits.fold(0, |mask, (slot, key)| {
            mask | u8::from(key.is_some()) << slot
        })
    }

    /// The keys with this [`mask`](Self::mask), which [`iter`](Self::iter) yielded. `None` if there are
    /// fewer than the mask has.
    #[must_use]
    pub fn from_parts(mask: u8, mut keys: impl Iterator<Item = u64>) -> Option<Self> {
        let mut read = Self::default();
        for (slot, place) in read.0.iter_mut().enumerate() {
            if mask & (1 << slot) != 0 {
                *place = Some(keys.next()?);
            }
        }
        Some(read)
    }
}

pub(crate) fn first_eight(digest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes)
}

/// The keys of many contacts or records, in 13 bytes and eight for each key.
#[derive(Debug, Default)]
pub struct KeyTable {
    masks: Vec<u8>,
    /// Where the keys of each end.
    ends: Vec<u32>,
    keys: Vec<u64>,
}

impl KeyTable {
    /// Appends keys, and returns their index.
    ///
    /// # Panics
    ///
    /// At four thousand million keys, which no machine of this project has the memory for.
    pub fn push(&mut self, keys: &Keys) -> usize {
        self.masks.push(keys.mask());
        self.keys.extend(keys.iter());
        let end = u32::try_from(self.keys.len()).expect("there is no memory for more keys");
        self.ends.push(end);
        self.masks.len() - 1
    }

    /// The number of contacts or records.
    pub(crate) fn len(&self) -> usize {
        self.masks.len()
    }

    /// The keys at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Keys {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let keys = &self.keys[begin as usize..self.ends[index] as usize];
        Keys::from_parts(self.masks[index], keys.iter().copied()).unwrap_or_default()
    }

    /// All keys of all of them.
    #[must_use]
    pub fn all(&self) -> &[u64] {
        &self.keys
    }

    /// The index of the contact or record that has the key at this position of [`Self::all`].
    pub(crate) fn owner(&self, position: u32) -> usize {
        self.ends.partition_point(|end| *end <= position)
    }
}

/// Which keys some contacts have: to leave out records of other contacts while a table is scanned.
#[derive(Debug)]
pub struct KeyFilter {
    sorted: Vec<u64>,
    /// A bit for each value of the lowest bits of a key, since most keys are not in the set.
    bits: Vec<u64>,
}

impl KeyFilter {
    /// The set of these keys.
    #[must_use]
    pub fn new(mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        // A sixteenth of the bits are set, so that one key in sixteen is looked up in vain.
        let words = (keys.len() / 4).next_power_of_two();
        let mut filter = Self {
            bits: vec![0; words],
            sorted: Vec::new(),
        };
        for key in &keys {
            let (word, bit) = filter.place(*key);
            filter.bits[word] |= bit;
        }
        filter.sorted = keys;
        filter
    }

    /// Whether one of the keys is in the set.
    #[must_use]
    pub fn has_any(&self, keys: &Keys) -> bool {
        keys.iter().any(|key| {
            let (word, bit) = self.place(key);
            self.bits[word] & bit != 0 && self.sorted.binary_search(&key).is_ok()
        })
    }

    fn place(&self, key: u64) -> (usize, u64) {
        let words = self.bits.len() as u64;
        let word = usize::try_from((key / 64) % words).unwrap_or(0);
        (word, 1 << (key % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(json: &str) -> Keys {
        Keys::of_contact(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn the_keys_of_a_record_are_those_of_its_contact() {
        let json = r#"{"id": 5, "contactCrmId": "crm-1", "firstName": "Sample"}"#;
        let contact: Contact = serde_json::from_str(json).unwrap();
        let record = Keys::of_record(&contact.keys());
        assert_eq!(record, keys(json));
        assert_eq!(record.mask(), 0b10_1001);
        // printf %s crm-1 | sha256sum | head -c 16
        assert_eq!(record.0[3], Some(0xe6e2_fbbf_94b3_a5d6));
    }

    #[test]
    fn what_is_no_key_is_left_out() {
        let written = [
            "digest",
            "other:AAAAAAAAAAAAAAAAAAAAAA",
            "id:AAAA",
            "leadId:%",
        ];
        let written = written.map(str::to_owned);
        assert!(Keys::of_record(&written).is_empty());
    }

    #[test]
    fn a_contact_without_a_key_is_recognised_by_its_bytes() {
        assert!(keys("{}").is_unmatchable());
        assert!(!keys("{}").is_empty());
        assert_eq!(keys("{}"), keys("{}"));
        assert_ne!(keys("{}").identity(), keys("{ }").identity());
        assert!(!keys(r#"{"id": 1}"#).is_unmatchable());
    }

    /// A text may stand for a contact in one system, and for another contact in another.
    #[test]
    fn contacts_with_the_same_text_as_another_kind_of_key_differ() {
        let [id, crm] = [r#"{"customerContactId": "5"}"#, r#"{"contactCrmId": "5"}"#].map(keys);
        assert_eq!(id.iter().next(), crm.iter().next());
        assert_ne!(id.identity(), crm.identity());
    }

    #[test]
    fn keys_survive_a_table() {
        let all = [
            r#"{"id": 1}"#,
            "{}",
            r#"{"id": 1, "email": "a@example.com"}"#,
        ]
        .map(keys);
        let mut table = KeyTable::default();
        for (index, keys) in all.iter().enumerate() {
            assert_eq!(table.push(keys), index);
        }
        let read: Vec<_> = (0..table.len()).map(|index| table.get(index)).collect();
        assert_eq!(read, all);
        let owners: Vec<_> = (0..4).map(|position| table.owner(position)).collect();
        assert_eq!(owners, [0, 1, 2, 2]);
        assert_eq!(Keys::from_parts(0b11, [1].into_iter()), None);
    }

    #[test]
    fn a_filter_has_its_keys_and_no_others() {
        let key = |number: u64| Keys([Some(number), None, None, None, None, None, None]);
        for count in [0, 1, 2, 3, 1_000] {
            let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let filter = KeyFilter::new((0..count).map(spread).collect());
            for number in 0..2_000 {
                assert_eq!(filter.has_any(&key(spread(number))), number < count);
            }
            // The lowest bits of these keys differ.
            let bits: u32 = filter.bits.iter().map(|word| word.count_ones()).sum();
            assert_eq!(u64::from(bits), count);
        }
        assert!(!KeyFilter::new(vec![1]).has_any(&Keys::default()));
    }
}

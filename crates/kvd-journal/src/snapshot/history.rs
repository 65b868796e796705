//! What a snapshot has where history is kept: each key with its older versions, and what can't be told from the keys. Here is
//! the form of both; knows nothing of how many versions are kept, nor for how long.
//!
//! # Source
//! `docs/FORMAT.md`, "Snapshots with history".

use bytes::{Buf, BufMut, Bytes};
use kvd_types::{ContentType, Key, Reason, Revision};

use super::Entry;
use crate::batch::take;
use crate::report::Jump;

const PUT: u8 = 1;
const GONE: u8 = 2;

/// All versions of a key lie in one record, whose length has 32 bits: older ones than fit into this are left out, and the history
/// is then cut.
const HISTORY_BYTES_MAX: usize = 1 << 30;

/// The flag of a key of which versions before the oldest here were dropped.
const IS_CUT: u8 = 1;

/// The flags of a version: it has an expiry, it has its time.
const HAS_EXPIRY: u8 = 1;
const HAS_TIME: u8 = 2;

/// A key and the versions that are kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<'a> {
    /// The key.
    pub key: Key<'a>,
    /// Newest first, at least one. The newest may say that the key is gone.
    pub versions: Vec<Version>,
    /// Whether there were older ones, which are not kept.
    pub is_cut: bool,
}

/// A version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The commit it comes from.
    pub revision: Revision,
    /// The store's time then, in milliseconds since 1970, where it was kept.
    pub time_ms: Option<u64>,
    /// What the key has.
    pub content: Content,
}

/// What a key has at a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A value.
    Put {
        /// Its bytes.
        value: Bytes,
        /// Stored with it.
        content_type: Option<ContentType>,
        /// When it goes by itself, in milliseconds since 1970; none for never.
        expires_at_ms: Option<u64>,
    },
    /// None, for this reason.
    Gone(Reason),
}

/// What is known of revisions, beside the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// What keys that have no version at or before it had before this revision is not known.
    pub begins: Revision,
    /// Oldest first.
    pub jumps: Vec<Jump>,
}

impl History<'static> {
    /// Its newest version, if that is a value.
    pub(super) fn into_entry(self) -> Option<Entry<'static>> {
        let Version { revision, content, .. } = self.versions.into_iter().next()?;
        match content {
            Content::Put { value, content_type, expires_at_ms } => {
                Some(Entry { key: self.key, value, content_type, expires_at_ms, revision })
            }
            Content::Gone(_) => None,
        }
    }
}

impl History<'_> {
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        self.encode_up_to(HISTORY_BYTES_MAX, to);
    }

    /// At least the newest version, and as many older ones as fit.
    fn encode_up_to(&self, bytes_max: usize, to: &mut Vec<u8>) {
        let mut bytes = 0;
        let fits = |version: &&Version| {
            let is_newest = bytes == 0;
            bytes += version.bytes_max();
            is_newest || bytes <= bytes_max
        };
        let count = self.versions.iter().take_while(fits).count();
        let is_cut = self.is_cut || count < self.versions.len();
        to.put_slice(&[if is_cut { IS_CUT } else { 0 }, 0, 0, 0]);
        to.put_u32_le(u32::try_from(self.key.len()).expect("a key is short"));
        to.put_u32_le(u32::try_from(count).expect("each has more than one byte"));
        to.put_slice(self.key.as_bytes());
        self.versions[..count].iter().for_each(|version| version.encode(to));
    }

    fn decode(from: &mut &[u8]) -> Result<History<'static>, &'static str> {
        let is_cut = match take(from, 4)? {
            [0, 0, 0, 0] => false,
            [IS_CUT, 0, 0, 0] => true,
            _ => return Err("a history has an unknown flag"),
        };
        let mut lengths = take(from, 8)?;
        let (key_len, count) = (lengths.get_u32_le() as usize, lengths.get_u32_le());
        let key = Key::new(take(from, key_len)?.to_vec()).map_err(|_| "a key is too long")?;
        let mut versions: Vec<Version> = Vec::new();
        for _ in 0..count {
            let version = Version::decode(from)?;
            if versions.last().is_some_and(|newer| newer.revision <= version.revision) {
                return Err("the versions of a key are out of order");
            }
            versions.push(version);
        }
        if versions.is_empty() { Err("a history has no version") } else { Ok(History { key, versions, is_cut }) }
    }
}

impl Version {
    /// What it comes to at most.
    fn bytes_max(&self) -> usize {
        const HEAD: usize = 32;
        match &self.content {
            Content::Put { value, content_type, .. } => {
                HEAD + content_type.as_ref().map_or(0, |text| text.as_bytes().len()) + value.len()
            }
            Content::Gone(_) => HEAD,
        }
    }

    fn encode(&self, to: &mut Vec<u8>) {
        to.put_u64_le(self.revision.0);
        let time = if self.time_ms.is_some() { HAS_TIME } else { 0 };
        match &self.content {
            Content::Put { value, content_type, expires_at_ms } => {
                let content_type = content_type.as_ref().map_or(&[][..], |content_type| content_type.as_bytes());
                let content_type_len = u8::try_from(content_type.len()).expect("ContentType has at most 255 bytes");
                let expiry = if expires_at_ms.is_some() { HAS_EXPIRY } else { 0 };
                to.put_slice(&[PUT, time | expiry, content_type_len, 0]);
                to.put_u32_le(
                    u32::try_from(value.len()).expect("it came through a journal, whose batches are shorter"),
                );
                [self.time_ms, *expires_at_ms].into_iter().flatten().for_each(|at| to.put_u64_le(at));
                to.put_slice(content_type);
                to.put_slice(value);
            }
            Content::Gone(reason) => {
                let reason = match reason {
                    Reason::Asked => 0,
                    Reason::Expired => 1,
                    Reason::Evicted => 2,
                };
                to.put_slice(&[GONE, time, reason, 0]);
                self.time_ms.into_iter().for_each(|at| to.put_u64_le(at));
            }
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Version, &'static str> {
        let revision = Revision(take(from, 8)?.get_u64_le());
        let [kind, flags, third, 0] = *take(from, 4)? else { return Err("a version has an unknown flag") };
        let optional = |flag: u8, from: &mut &[u8]| -> Result<Option<u64>, &'static str> {
            if flags & flag == 0 { Ok(None) } else { Ok(Some(take(from, 8)?.get_u64_le())) }
        };
        match kind {
            PUT if flags & !(HAS_EXPIRY | HAS_TIME) == 0 => {
                let value_len = take(from, 4)?.get_u32_le() as usize;
                let (time_ms, expires_at_ms) = (optional(HAS_TIME, from)?, optional(HAS_EXPIRY, from)?);
                let content_type = match take(from, usize::from(third))? {
                    [] => None,
                    text => Some(ContentType::new(text).map_err(|_| "a content type can't be one")?),
                };
                // Copied, as in a batch.
                let value = Bytes::copy_from_slice(take(from, value_len)?);
                Ok(Version { revision, time_ms, content: Content::Put { value, content_type, expires_at_ms } })
            }
            GONE if flags & !HAS_TIME == 0 => {
                let reason = match third {
                    0 => Reason::Asked,
                    1 => Reason::Expired,
                    2 => Reason::Evicted,
                    _ => return Err("a deletion has an unknown reason"),
                };
                Ok(Version { revision, time_ms: optional(HAS_TIME, from)?, content: Content::Gone(reason) })
            }
            _ => Err("a version is of an unknown kind"),
        }
    }
}

impl Past {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 16 * self.jumps.len());
        bytes.put_u64_le(self.begins.0);
        for Jump { from, to } in &self.jumps {
            bytes.put_u64_le(from.0);
            bytes.put_u64_le(to.0);
        }
        bytes
    }

    /// # Errors
    /// What is wrong with it, although its checksum is right.
    pub(crate) fn parse(mut from: &[u8], count: u32) -> Result<Past, &'static str> {
        if from.len() as u64 != 8 + 16 * u64::from(count) {
            return Err("the past has another length than it says");
        }
        let begins = Revision(from.get_u64_le());
        let jumps = (0..count).map(|_| Jump { from: Revision(from.get_u64_le()), to: Revision(from.get_u64_le()) });
        Ok(Past { begins, jumps: jumps.collect() })
    }
}

/// The histories of a chunk, one after the other.
///
/// # Errors
/// What is wrong with it, although its checksum is right.
pub(crate) fn decode_histories(mut body: &[u8], count: u32) -> Result<Vec<History<'static>>, &'static str> {
    let mut histories = Vec::new();
    while !body.is_empty() {
        histories.push(History::decode(&mut body)?);
    }
    if histories.len() == count as usize {
        Ok(histories)
    } else {
        Err("a chunk has another number of keys than it says")
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn version() -> impl Strategy<Value = Version> {
        let content_type = prop::option::of(Just(ContentType::new(b"text/plain").unwrap()));
        let put = (vec(any::<u8>(), 0..300), content_type, any::<Option<u64>>()).prop_map(
            |(value, content_type, expires_at_ms)| Content::Put { value: value.into(), content_type, expires_at_ms },
        );
        let reason = prop_oneof![Just(Reason::Asked), Just(Reason::Expired), Just(Reason::Evicted)];
        let content = prop_oneof![3 => put, 1 => reason.prop_map(Content::Gone)];
        (any::<Option<u64>>(), content).prop_map(|(time_ms, content)| Version {
            revision: Revision(0),
            time_ms,
            content,
        })
    }

    fn history() -> impl Strategy<Value = History<'static>> {
        (vec(any::<u8>(), 0..40), vec(version(), 1..6), any::<bool>()).prop_map(|(key, mut versions, is_cut)| {
            (1..).zip(versions.iter_mut().rev()).for_each(|(revision, version)| version.revision = Revision(revision));
            History { key: Key::new(key).unwrap(), versions, is_cut }
        })
    }

    fn encoded(histories: &[History<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        histories.iter().for_each(|history| history.encode(&mut bytes));
        bytes
    }

    proptest! {
        #[test]
        fn histories_come_back_as_they_were(histories in vec(history(), 0..4)) {
            let count = histories.len() as u32;
            prop_assert_eq!(decode_histories(&encoded(&histories), count), Ok(histories));
        }

        #[test]
        fn a_history_that_is_cut_is_an_error(history in history(), cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&[history]);
            prop_assert!(decode_histories(&bytes[..1 + cut.index(bytes.len() - 1)], 1).is_err());
        }

        #[test]
        fn any_bytes_are_histories_or_an_error(bytes in vec(any::<u8>(), 0..100)) {
            let _ = decode_histories(&bytes, 1);
        }
    }

    #[test]
    fn versions_out_of_order_are_an_error() {
        let version =
            |revision| Version { revision: Revision(revision), time_ms: None, content: Content::Gone(Reason::Asked) };
        let history = |versions| History { key: Key::empty(), versions, is_cut: false };
        assert!(decode_histories(&encoded(&[history(vec![version(2), version(1)])]), 1).is_ok());
        for wrong in [vec![version(1), version(2)], vec![version(1), version(1)], vec![]] {
            assert!(decode_histories(&encoded(&[history(wrong)]), 1).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let content = || Content::Put { value: vec![7; 100].into(), content_type: None, expires_at_ms: None };
        let version = |revision| Version { revision: Revision(revision), time_ms: None, content: content() };
        let history = History { key: Key::empty(), versions: vec![version(3), version(2), version(1)], is_cut: false };
        for (bytes_max, kept) in [(0, 1), (264, 2), (1_000, 3)] {
            let mut bytes = Vec::new();
            history.encode_up_to(bytes_max, &mut bytes);
            let versions = history.versions[..kept].to_vec();
            let expected = History { versions, is_cut: kept < 3, ..history.clone() };
            assert_eq!(decode_histories(&bytes, 1), Ok(vec![expected]));
        }
    }

    #[test]
    fn the_past_comes_back_as_it_was() {
        let jump = |from, to| Jump { from: Revision(from), to: Revision(to) };
        let past = Past { begins: Revision(3), jumps: vec![jump(5, 9), jump(11, 20)] };
        let bytes = past.to_bytes();
        assert_eq!(Past::parse(&bytes, 2), Ok(past));
        assert!(Past::parse(&bytes, 1).is_err() && Past::parse(&bytes[..39], 2).is_err());
    }
}

//! One version of one key, as it is stored. Immutable: a change makes a new record.

use bytes::Bytes;
use kvd_types::{ContentType, Entry, Key, PageItem, Revision};

/// A key and what it holds.
#[derive(Debug)]
pub(crate) struct Record {
    key: Box<[u8]>,
    value: Bytes,
    content_type: Option<ContentType>,
    revision: Revision,
}

impl Record {
    pub(crate) fn new(key: &Key<'_>, value: Bytes, content_type: Option<ContentType>, revision: Revision) -> Record {
        Record { key: key.as_bytes().into(), value, content_type, revision }
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn value(&self) -> &Bytes {
        &self.value
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Bytes the record takes beside key and value.
    pub(crate) fn overhead_bytes(&self) -> usize {
        size_of::<Record>() + self.content_type.as_ref().map_or(0, |content_type| content_type.as_bytes().len())
    }

    /// What a reader is given: the value is shared, not copied.
    pub(crate) fn entry(&self) -> Entry {
        Entry { value: self.value.clone(), content_type: self.content_type.clone(), revision: self.revision }
    }

    pub(crate) fn page_item(&self) -> PageItem {
        let key = Key::new(self.key.to_vec()).expect("was a key when it was stored");
        PageItem { key, entry: self.entry() }
    }
}

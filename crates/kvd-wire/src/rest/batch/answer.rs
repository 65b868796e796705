//! What the batches and the list answer: what is known, and how it follows from a reply. How it is written is for
//! `answer_wire` to know.

use bytes::Bytes;
use kvd_types::{ContentType, Entry, Epoch, Etag, Key, ListValues, Page, PageItem, Revision, Set};
use serde::{Deserialize, Serialize};

use super::field::RevisionDef;
use crate::rest::query::cursor_text;

/// What is known of a key's current version, besides its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemMeta {
    /// Store and revision.
    pub etag: Etag,
    /// The value's length in bytes.
    pub size: u64,
    /// None stands for [`ContentType::DEFAULT`].
    pub content_type: Option<ContentType>,
}

/// What a multi-get found of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its version.
    pub meta: ItemMeta,
    /// Its value.
    pub value: Bytes,
}

/// One key of a multi-get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetItem<'a> {
    /// The key.
    pub key: Key<'a>,
    /// None when it is missing.
    pub found: Option<Found>,
}

/// The answer to `/v1/mget`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiGetAnswer<'a> {
    /// The one revision all of it was read at.
    pub revision: Revision,
    /// In the order of the request.
    pub items: Vec<GetItem<'a>>,
}

/// One key of a multi-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetItem<'a> {
    /// The key.
    pub key: Key<'a>,
    /// Its new version.
    pub etag: Etag,
}

/// The answer to `/v1/mset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiSetAnswer<'a> {
    /// The commit's.
    pub revision: Revision,
    /// Keys that had no value before.
    pub created: u64,
    /// Keys that had one.
    pub replaced: u64,
    /// In the order of the request.
    pub items: Vec<SetItem<'a>>,
}

/// The answer to `/v1/mdelete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiDeleteAnswer {
    /// The commit's; where nothing was deleted, the one at which all keys were missing.
    #[serde(with = "RevisionDef")]
    pub revision: Revision,
    /// Keys that had a value.
    pub deleted: u64,
    /// Keys that had none.
    pub missing: u64,
}

/// One key of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListItem {
    /// The key.
    pub key: Key<'static>,
    /// None with `values=none`.
    pub meta: Option<ItemMeta>,
    /// Only with `values=full`.
    pub value: Option<Bytes>,
}

/// The answer to `GET /v1/keys`: one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAnswer {
    /// The one revision all of the page was read at.
    pub revision: Revision,
    /// In index order, which is no order of keys. May be empty although more follow.
    pub items: Vec<ListItem>,
    /// What the next page is asked for with; none when the walk has ended.
    pub cursor: Option<String>,
}

impl ItemMeta {
    fn new(epoch: Epoch, entry: &Entry) -> ItemMeta {
        ItemMeta {
            etag: Etag { epoch, revision: entry.revision },
            size: entry.value.len() as u64,
            content_type: entry.content_type.clone(),
        }
    }
}

impl<'a> MultiGetAnswer<'a> {
    pub(crate) fn new(epoch: Epoch, revision: Revision, keys: &'a [Key<'_>], entries: Vec<Option<Entry>>) -> Self {
        let found = |entry: Entry| Found { meta: ItemMeta::new(epoch, &entry), value: entry.value };
        let item = |(key, entry): (&'a Key<'_>, Option<Entry>)| GetItem { key: key.borrow(), found: entry.map(found) };
        MultiGetAnswer { revision, items: keys.iter().zip(entries).map(item).collect() }
    }
}

impl<'a> MultiSetAnswer<'a> {
    pub(crate) fn new(epoch: Epoch, revision: Revision, sets: &'a [Set<'_>], created: usize, replaced: usize) -> Self {
        let item = |set: &'a Set<'_>| SetItem { key: set.key.borrow(), etag: Etag { epoch, revision } };
        MultiSetAnswer {
            revision,
            created: created as u64,
            replaced: replaced as u64,
            items: sets.iter().map(item).collect(),
        }
    }
}

impl ListAnswer {
    pub(crate) fn new(epoch: Epoch, values: ListValues, page: Page) -> ListAnswer {
        let item = |PageItem { key, entry }| ListItem {
            key,
            meta: (values != ListValues::None).then(|| ItemMeta::new(epoch, &entry)),
            value: (values == ListValues::Full).then_some(entry.value),
        };
        let cursor = page.cursor.as_ref().map(cursor_text);
        ListAnswer { revision: page.revision, items: page.items.into_iter().map(item).collect(), cursor }
    }
}

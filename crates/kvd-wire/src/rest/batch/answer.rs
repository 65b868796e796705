//! What the batches and the list answer: what is known, and how it follows from a reply. How it is written is for
//! `answer_wire` to know.

use bytes::Bytes;
use kvd_types::{ContentType, Entry, Etag, Key, ListValues, Page, PageItem, Revision, Set, SortedPage};
use serde::{Deserialize, Serialize};

use super::field::RevisionDef;
use crate::rest::path::URL_KEY_BYTES_MAX;
use crate::rest::query::{cursor_text, sorted_cursor_text};
use crate::rest::response::Store;

/// What is known of a key's current version, besides its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemMeta {
    /// Store and revision; none of a transaction's own write, which has no revision yet.
    pub etag: Option<Etag>,
    /// The value's length in bytes.
    pub size: u64,
    /// How long it has left, in milliseconds; none for ever.
    pub ttl_ms: Option<u64>,
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
    /// Its new version; none inside a transaction, where it has no revision yet.
    pub etag: Option<Etag>,
}

/// The answer to `/v1/mset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiSetAnswer<'a> {
    /// The commit's; 0 inside a transaction, where it is not known yet.
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
    /// The commit's, 0 inside a transaction; where nothing was deleted, the one at which all keys were missing.
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
    /// In index order, which is no order of keys, or sorted if that was asked for. May be empty although more follow.
    pub items: Vec<ListItem>,
    /// With a delimiter: what other keys begin with, up to the delimiter and with it.
    pub prefixes: Option<Vec<Key<'static>>>,
    /// What the next page is asked for with; none when the walk has ended.
    pub cursor: Option<String>,
}

impl ItemMeta {
    fn new(store: Store, entry: &Entry) -> ItemMeta {
        ItemMeta {
            etag: store.etag(entry.revision),
            size: entry.value.len() as u64,
            ttl_ms: store.ttl_ms(entry),
            content_type: entry.content_type.clone(),
        }
    }
}

impl<'a> GetItem<'a> {
    pub(super) fn new(store: Store, key: &'a Key<'_>, entry: Option<Entry>) -> GetItem<'a> {
        let found = |entry: Entry| Found { meta: ItemMeta::new(store, &entry), value: entry.value };
        GetItem { key: key.borrow(), found: entry.map(found) }
    }
}

impl<'a> MultiGetAnswer<'a> {
    pub(crate) fn new(store: Store, revision: Revision, keys: &'a [Key<'_>], entries: Vec<Option<Entry>>) -> Self {
        let item = |(key, entry)| GetItem::new(store, key, entry);
        MultiGetAnswer { revision, items: keys.iter().zip(entries).map(item).collect() }
    }
}

impl<'a> MultiSetAnswer<'a> {
    pub(crate) fn new(store: Store, revision: Revision, sets: &'a [Set<'_>], created: usize, replaced: usize) -> Self {
        let item = |set: &'a Set<'_>| SetItem { key: set.key.borrow(), etag: store.etag(revision) };
        MultiSetAnswer {
            revision,
            created: created as u64,
            replaced: replaced as u64,
            items: sets.iter().map(item).collect(),
        }
    }
}

impl ListItem {
    fn all(store: Store, values: ListValues, items: Vec<PageItem>) -> Vec<ListItem> {
        let item = |PageItem { key, entry }| ListItem {
            key,
            meta: (values != ListValues::None).then(|| ItemMeta::new(store, &entry)),
            value: (values == ListValues::Full).then_some(entry.value),
        };
        items.into_iter().map(item).collect()
    }
}

impl ListAnswer {
    pub(crate) fn new(store: Store, values: ListValues, page: Page) -> ListAnswer {
        let cursor = page.cursor.as_ref().map(cursor_text);
        ListAnswer { revision: page.revision, items: ListItem::all(store, values, page.items), prefixes: None, cursor }
    }

    /// None where the next page would have to begin after a key that fits no URL.
    pub(crate) fn sorted(
        store: Store,
        values: ListValues,
        has_delimiter: bool,
        mut page: SortedPage,
    ) -> Option<ListAnswer> {
        while page.after.as_ref().is_some_and(|after| after.len() > URL_KEY_BYTES_MAX) {
            page.after = Some(drop_last(&mut page)?);
        }
        Some(ListAnswer {
            revision: page.revision,
            items: ListItem::all(store, values, page.items),
            prefixes: has_delimiter.then_some(page.prefixes),
            cursor: page.after.as_ref().map(sorted_cursor_text),
        })
    }
}

/// Leaves the last item or prefix of a page to the next one. Returns what is the last now.
fn drop_last(page: &mut SortedPage) -> Option<Key<'static>> {
    if page.items.last().map(|item| &item.key) > page.prefixes.last() {
        page.items.pop();
    } else {
        page.prefixes.pop();
    }
    page.items.last().map(|item| &item.key).max(page.prefixes.last()).cloned()
}

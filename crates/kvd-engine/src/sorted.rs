//! Lists in the order of the keys' bytes, which the index does not have: a walk over all keys that keeps those which come first.
//! Owns that choice and what it may hold in memory; how keys are walked is `index`'s.
//!
//! ```text
//!  after < [ items and folders of the page, at most `limit` and `PAGE_BYTES_MAX` ] < ceiling: what is to come on later pages
//! ```

use std::collections::BTreeMap;

use kvd_types::{Entry, Error, Key, ListSorted, ListValues, PageItem, Reply, SortedPage};

use crate::engine::{Store, Worker};
use crate::index::{At, Reordered, Version};
use crate::read::{ReadPoint, alive};
use crate::rekey;
use crate::sequence::Pinned;

/// Bytes of keys and values that a page holds; one item may exceed them alone.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// Buckets between two looks at whether the state that is read is still kept.
const CHECK_BUCKETS: usize = 4_096;

/// The page that comes next, as of one revision.
pub(crate) fn list(store: &Store, worker: &mut Worker, list: &ListSorted<'_>) -> Result<Reply, Error> {
    let read_point = ReadPoint::new(store);
    list_at(store, worker, list, read_point.pinned()).map(Reply::SortedPage)
}

/// The page that comes next, as of the revision and time of `pinned`.
pub(crate) fn list_at(
    store: &Store,
    worker: &mut Worker,
    list: &ListSorted<'_>,
    pinned: &Pinned,
) -> Result<SortedPage, Error> {
    loop {
        // A walk needs all keys in one order.
        rekey::move_all_at(store, worker, At(pinned.revision));
        // A page is one walk: where keys have moved to another order meanwhile, it begins again.
        if let Ok(nearest) = collect(store, worker, list, pinned)? {
            return Ok(nearest.into_page(pinned));
        }
    }
}

fn collect<'l>(
    store: &Store,
    worker: &mut Worker,
    list: &'l ListSorted<'_>,
    pinned: &Pinned,
) -> Result<Result<Nearest<'l>, Reordered>, Error> {
    let horizon = At(pinned.revision);
    let is_keyed = store.index.is_keyed(horizon, &worker.reader.pin());
    let mut nearest = Nearest::new(list);
    let mut from = Some(0);
    for bucket in 1_usize.. {
        let Some(at) = from else { break };
        // Unpinned between buckets: a long walk keeps no memory from being freed.
        let guard = worker.reader.pin();
        let mut found = Vec::new();
        from = match store.index.walk(at, is_keyed, horizon, &mut found, &guard) {
            Ok(next) => next,
            Err(reordered) => return Ok(Err(reordered)),
        };
        found
            .iter()
            .filter(|(_, version)| alive(*version, pinned.now_ms))
            .for_each(|(_, version)| nearest.offer(*version));
        drop(guard);
        if bucket % CHECK_BUCKETS == 0 {
            pinned.check()?;
        }
    }
    pinned.check()?;
    Ok(Ok(nearest))
}

/// The first items and folders after a place, of those that were offered.
struct Nearest<'l> {
    list: &'l ListSorted<'l>,
    /// By name; a folder has no entry.
    found: BTreeMap<Vec<u8>, Option<Entry>>,
    /// Bytes of what was found.
    bytes: usize,
    /// The first of those that had to go again: nothing from there on is of this page.
    ceiling: Option<Vec<u8>>,
    /// Whether something was left out.
    has_more: bool,
}

impl<'l> Nearest<'l> {
    fn new(list: &'l ListSorted<'_>) -> Nearest<'l> {
        Nearest { list, found: BTreeMap::new(), bytes: 0, ceiling: None, has_more: false }
    }

    /// Where a key stands in the list: by itself, or in a folder.
    fn place<'k>(&self, key: &'k [u8]) -> Option<(&'k [u8], bool)> {
        let prefix = self.list.prefix.as_bytes();
        let rest = key.strip_prefix(prefix)?;
        let delimiter = self.list.delimiter.as_ref().map(Key::as_bytes);
        let ends_at = delimiter.and_then(|delimiter| {
            let begins_at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
            Some(prefix.len() + begins_at + delimiter.len())
        });
        Some(ends_at.map_or((key, false), |end| (&key[..end], true)))
    }

    fn offer(&mut self, version: Version<'_>) {
        let Some((name, is_folder)) = self.place(version.record.key()) else { return };
        if self.list.after.as_ref().is_some_and(|after| name <= after.as_bytes()) || self.found.contains_key(name) {
            return;
        }
        let is_full = self.found.len() >= self.list.limit.max(1);
        let is_beyond = self.ceiling.as_ref().is_some_and(|ceiling| name >= ceiling.as_slice())
            || is_full && self.found.last_key_value().is_some_and(|(last, _)| name > last.as_slice());
        if is_beyond {
            self.has_more = true;
            return;
        }
        let entry = (!is_folder).then(|| version.record.entry(version.revision));
        self.bytes += self.cost(name, entry.as_ref());
        self.found.insert(name.to_vec(), entry);
        while self.found.len() > self.list.limit.max(1) || self.bytes > PAGE_BYTES_MAX && self.found.len() > 1 {
            self.drop_last();
        }
    }

    fn drop_last(&mut self) {
        let Some((name, entry)) = self.found.pop_last() else { return };
        self.bytes -= self.cost(&name, entry.as_ref());
        self.ceiling = Some(name);
        self.has_more = true;
    }

    /// What an item takes: a value that is not asked for is dropped with the page, and a large one is not copied.
    fn cost(&self, name: &[u8], entry: Option<&Entry>) -> usize {
        let value = entry.map_or(0, |entry| entry.value.len());
        let is_copied = self.list.values == ListValues::Full || value < crate::index::SHARED_BYTES;
        name.len() + if is_copied { value } else { 0 }
    }

    fn into_page(self, pinned: &Pinned) -> SortedPage {
        let key = |name: &[u8]| Key::new(name.to_vec()).expect("the begin of a key is one");
        let last = self.found.last_key_value().map(|(name, _)| key(name));
        let mut page = SortedPage { revision: pinned.revision, ..SortedPage::default() };
        for (name, entry) in self.found {
            match entry {
                Some(entry) => page.items.push(PageItem { key: key(&name), entry }),
                None => page.prefixes.push(key(&name)),
            }
        }
        page.after = last.filter(|_| self.has_more);
        page
    }
}

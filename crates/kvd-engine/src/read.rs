//! Commands that change nothing: get, many gets at once, multi-get, list. A GET reads straight down here; what a version chain
//! shows is `index`'s, which revision a transaction reads is `transaction`'s.

use std::sync::Arc;

use bytes::Bytes;
use kvd_types::{ContentType, Cursor, Entry, Error, Key, List, Page, PageItem, Reply, Revision};

use crate::engine::{Store, Worker};
use crate::index::{At, Hashed, Horizon, Newest, Reordered, Seen, Version};
use crate::planted::{self, Bug};
use crate::reclaim::Guard;
use crate::rekey;
use crate::sequence::{Pinned, Visible};

/// Keys of a multi-get that are read twice, until nothing has changed in between. More are read at a pinned revision.
const COLLECT_KEYS_MAX: usize = 128;

/// Tries before a multi-get pins a revision.
const COLLECT_ROUNDS: usize = 3;

/// Keys of a batch whose memory is asked for ahead.
pub(crate) const BATCH_KEYS: usize = 16;

/// What a bucket counts for, beside the records found in it, when a page is bounded: what it usually holds.
const RECORDS_PER_BUCKET: usize = 4;

/// Records looked at for one page, so that a prefix that few keys have makes a page short instead of slow.
const LIST_RECORDS_EXAMINED_MAX: usize = 32_768;

/// Bytes of keys and values on one page; one item may exceed them alone.
const LIST_BYTES_MAX: usize = 16 << 20;

/// What a key holds, as it lies in the store: valid inside the call that hands it out.
#[derive(Clone, Copy)]
pub struct Found<'g>(Version<'g>);

impl<'g> Found<'g> {
    /// The value's bytes.
    #[inline]
    pub fn value(&self) -> &'g [u8] {
        self.0.record.value()
    }

    /// The same, to be kept, of a value that the store shares instead of copying it.
    #[inline]
    pub fn shared_value(&self) -> Option<&'g Bytes> {
        self.0.record.shared_value()
    }

    /// The commit that wrote it.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// The content type stored with it.
    pub fn content_type(&self) -> Option<ContentType> {
        self.0.record.content_type()
    }

    /// When it goes by itself, in milliseconds of the store's time.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.0.record.expires_at_ms()
    }

    /// A copy that outlives the call; a large value is shared.
    pub fn entry(&self) -> Entry {
        self.0.record.entry(self.0.revision)
    }
}

pub(crate) fn alive(version: Version<'_>, now_ms: u64) -> bool {
    !version.record.is_expired(now_ms)
}

/// One key, as readers see it. `now_ms` was loaded before.
#[inline(always)]
fn find<'g>(store: &Store, key: Hashed<'_>, mut now_ms: u64, guard: &'g Guard<'_>) -> Option<Found<'g>> {
    let version = store.index.get(key, Visible(&store.sequence), guard)?;
    if planted::is(Bug::NowAfterSlot) {
        now_ms = store.sequence.now_ms();
    }
    alive(version, now_ms).then_some(Found(version))
}

#[inline]
pub(crate) fn get_with<R>(
    store: &Store,
    worker: &mut Worker,
    key: &[u8],
    take: impl FnOnce(Option<Found<'_>>) -> R,
) -> R {
    let guard = worker.reader.pin();
    // First of all: a key that is alive at an earlier time was alive when the get began.
    let now_ms = store.sequence.now_ms();
    let key = store.index.hash(key);
    let found = find(store, key, now_ms, &guard);
    worker.counters.get(found.is_some());
    worker.uses.note(key.fast());
    take(found)
}

/// A mistake to be planted: VISIBLE as it was.
#[derive(Clone, Copy)]
struct Remembered(Revision);

impl Horizon for Remembered {
    fn shows(&self, revision: u64) -> bool {
        revision <= self.0.0
    }
}

/// Many gets, each by itself: what they need of memory is asked for ahead, buckets first, then records.
pub(crate) fn get_many(
    store: &Store,
    worker: &mut Worker,
    keys: &[&[u8]],
    mut take: impl FnMut(usize, Option<Found<'_>>),
) {
    let guard = worker.reader.pin();
    let remembered = planted::is(Bug::VisibleRemembered).then(|| store.sequence.visible());
    let mut hits = 0;
    for (chunk, keys) in keys.chunks(BATCH_KEYS).enumerate() {
        let mut hashed = [Hashed::NONE; BATCH_KEYS];
        let hashed = &mut hashed[..keys.len()];
        hashed.iter_mut().zip(keys).for_each(|(hashed, key)| *hashed = store.index.hash(key));
        store.index.prefetch(hashed, &guard);
        for (at, key) in hashed.iter().enumerate() {
            // Afresh for each: a later get of the batch must not be of an earlier time than what it sees.
            let now_ms = store.sequence.now_ms();
            let found = match remembered {
                Some(visible) => get_at(store, keys[at], Remembered(visible), now_ms, &guard),
                None => find(store, *key, now_ms, &guard),
            };
            hits += usize::from(found.is_some());
            worker.uses.note(key.fast());
            take(chunk * BATCH_KEYS + at, found);
        }
    }
    worker.counters.gets(hits, keys.len() - hits);
}

/// Asks for the memory of at most [`BATCH_KEYS`] keys, which are about to be used.
pub(crate) fn prefetch<'k>(store: &Store, worker: &mut Worker, keys: impl Iterator<Item = &'k Key<'k>>) {
    let mut hashed = [Hashed::NONE; BATCH_KEYS];
    let mut count = 0;
    for (hashed, key) in hashed.iter_mut().zip(keys) {
        *hashed = store.index.hash(key.as_bytes());
        count += 1;
    }
    store.index.prefetch(&hashed[..count], &worker.reader.pin());
}

pub(crate) fn get(store: &Store, worker: &mut Worker, key: &Key<'_>) -> Reply {
    look(store, worker, key, true)
}

pub(crate) fn peek(store: &Store, worker: &mut Worker, key: &Key<'_>) -> Reply {
    look(store, worker, key, false)
}

/// Inlined: a get is short enough for the copy of its answer to show.
#[inline(always)]
fn look(store: &Store, worker: &mut Worker, key: &Key<'_>, is_counted: bool) -> Reply {
    let key = store.index.hash(key.as_bytes());
    let guard = worker.reader.pin();
    let mut found = find(store, key, store.sequence.now_ms(), &guard);
    let mut missing_at = Revision(0);
    if found.is_none() {
        // A miss is told with a revision: that of before a second look. Later ones may have brought the key.
        missing_at = store.sequence.visible();
        found = find(store, key, store.sequence.now_ms(), &guard);
    }
    let entry = found.map(|found| found.entry());
    worker.uses.note(key.fast());
    drop(guard);
    if is_counted {
        worker.counters.get(entry.is_some());
    }
    let revision = entry.as_ref().map_or(missing_at, |entry| entry.revision);
    Reply::Got { entry, revision }
}

/// What a key holds, for mistakes to be planted: as of before anything is locked.
pub(crate) fn too_early(store: &Store, worker: &mut Worker, key: &Key<'_>) -> Option<Entry> {
    let guard = worker.reader.pin();
    find(store, store.index.hash(key.as_bytes()), store.sequence.now_ms(), &guard).map(|found| found.entry())
}

/// How long the value of a key is, for an estimate.
pub(crate) fn value_len(store: &Store, worker: &mut Worker, key: &Key<'_>) -> usize {
    let guard = worker.reader.pin();
    let newest = store.index.get(store.index.hash(key.as_bytes()), Newest, &guard);
    newest.map_or(0, |version| version.record.value_len())
}

pub(crate) fn multi_get(
    store: &Store,
    worker: &mut Worker,
    keys: &[Key<'_>],
    require_all: bool,
) -> Result<Reply, Error> {
    let keys: &[Hashed<'_>] = &hash_all(store, worker, keys);
    if keys.len() <= COLLECT_KEYS_MAX {
        for _ in 0..COLLECT_ROUNDS {
            let guard = worker.reader.pin();
            if let Some((revision, found)) = collect(store, keys, &guard) {
                let entries = copy(store, &found);
                drop(guard);
                return answer(worker, revision, entries?, require_all);
            }
        }
    }
    multi_get_at(store, worker, keys, require_all, ReadPoint::new(store).pinned())
}

/// The keys of a multi-get, which are uses of them.
pub(crate) fn hash_all<'k>(store: &Store, worker: &mut Worker, keys: &'k [Key<'_>]) -> Vec<Hashed<'k>> {
    let hashed: Vec<_> = keys.iter().map(|key| store.index.hash(key.as_bytes())).collect();
    hashed.iter().for_each(|key| worker.uses.note(key.fast()));
    hashed
}

pub(crate) fn multi_get_at(
    store: &Store,
    worker: &mut Worker,
    keys: &[Hashed<'_>],
    require_all: bool,
    pinned: &Pinned,
) -> Result<Reply, Error> {
    let guard = worker.reader.pin();
    let found: Vec<_> = read_at(store, keys, pinned, &guard);
    let entries = copy(store, &found);
    drop(guard);
    // After the read: a version that had to go meanwhile must not look like a key that is missing.
    pinned.check()?;
    answer(worker, pinned.revision, entries?, require_all)
}

/// All keys as of the revision and time of `pinned`.
fn read_at<'g>(store: &Store, keys: &[Hashed<'_>], pinned: &Pinned, guard: &'g Guard<'_>) -> Vec<Option<Found<'g>>> {
    store.index.prefetch(keys, guard);
    let read = |key: &Hashed<'_>| {
        let version = store.index.get(*key, At(pinned.revision), guard)?;
        alive(version, pinned.now_ms).then_some(Found(version))
    };
    keys.iter().map(read).collect()
}

/// All keys twice. If both passes found the same, that is the state at the highest revision seen, and at one time.
fn collect<'g>(store: &Store, keys: &[Hashed<'_>], guard: &'g Guard<'_>) -> Option<(Revision, Vec<Option<Found<'g>>>)> {
    let (now_ms, visible_before) = (store.sequence.now_ms(), store.sequence.visible());
    store.index.prefetch(keys, guard);
    let visible = Visible(&store.sequence);
    let look = |key: &Hashed<'_>| store.index.look(*key, visible, guard);
    let first: Vec<Seen<'g>> = keys.iter().map(look).collect();
    let mut revision = store.sequence.visible();
    if !planted::is(Bug::SingleCollect) {
        for (at, key) in keys.iter().enumerate() {
            let second = look(key).recount();
            let both_absent = second.version.is_none() && first[at].version.is_none();
            if !(first[at].is_same(&second) || planted::is(Bug::AbsentByEmptiness) && both_absent) {
                return None;
            }
        }
    }
    // Where versions become visible without a change to their bucket, an absence has only VISIBLE to be dated by.
    if store.sequence.keeps_versions() && store.sequence.visible() != visible_before {
        return None;
    }
    // A time that moved could have ended a key before a commit that was seen.
    if store.sequence.now_ms() != now_ms {
        return None;
    }
    let versions = first.iter().filter_map(|seen| seen.version);
    revision = versions.map(|version| version.revision).fold(revision, Revision::max);
    let found = first.iter().map(|seen| seen.version.filter(|version| alive(*version, now_ms)).map(Found)).collect();
    Some((revision, found))
}

/// The answer is built in memory: 10,000 keys of the largest values would be 640 GB.
fn copy(store: &Store, found: &[Option<Found<'_>>]) -> Result<Vec<Option<Entry>>, Error> {
    let bytes: usize = found.iter().flatten().map(|found| found.0.record.value_len()).sum();
    store.limits.check_batch_bytes(bytes)?;
    Ok(found.iter().map(|found| found.map(|found| found.entry())).collect())
}

fn answer(
    worker: &mut Worker,
    revision: Revision,
    entries: Vec<Option<Entry>>,
    require_all: bool,
) -> Result<Reply, Error> {
    let missing: Vec<usize> = (0..entries.len()).filter(|item| entries[*item].is_none()).collect();
    worker.counters.gets(entries.len() - missing.len(), missing.len());
    if require_all && !missing.is_empty() {
        return Err(Error::Missing { missing, total: entries.len() });
    }
    Ok(Reply::MultiGot { revision, entries })
}

/// A page in order of hash, as of one revision.
pub(crate) fn list(store: &Store, worker: &mut Worker, list: &List<'_>) -> Result<Reply, Error> {
    let read_point = ReadPoint::new(store);
    list_at(store, worker, list, read_point.pinned()).map(Reply::Page)
}

pub(crate) fn list_at(store: &Store, worker: &mut Worker, list: &List<'_>, pinned: &Pinned) -> Result<Page, Error> {
    if list.cursor.is_some_and(|cursor| cursor.epoch != store.walks) {
        return Err(Error::StaleCursor);
    }
    loop {
        // A walk needs all keys in one order.
        rekey::move_all_at(store, worker, At(pinned.revision));
        match page(store, worker, list, pinned) {
            Ok(page) => {
                pinned.check()?;
                return Ok(page);
            }
            // The first page begins again, a later one can't.
            Err(Reordered) if list.cursor.is_none() => {}
            Err(Reordered) => return Err(Error::StaleCursor),
        }
    }
}

fn page(store: &Store, worker: &mut Worker, list: &List<'_>, pinned: &Pinned) -> Result<Page, Reordered> {
    let horizon = At(pinned.revision);
    let is_keyed = store.index.is_keyed(horizon, &worker.reader.pin());
    if list.cursor.is_some_and(|cursor| cursor.is_keyed != is_keyed) {
        return Err(Reordered);
    }
    let mut from = list.cursor.map_or(0, |cursor| store.index.hash_of_cursor(cursor.next_hash, &worker.reader.pin()));
    let mut page = Page { revision: pinned.revision, ..Page::default() };
    let mut budget = Budget { items: list.limit.max(1), records: LIST_RECORDS_EXAMINED_MAX, bytes: LIST_BYTES_MAX };
    let mut last_hash = None;
    loop {
        // Unpinned between buckets: a long page keeps no memory from being freed.
        let guard = worker.reader.pin();
        let mut found = Vec::new();
        let next = store.index.walk(from, is_keyed, horizon, &mut found, &guard)?;
        for (hash, version) in found {
            // Never between equal hashes: a cursor can't tell them apart.
            let next_hash = store.index.cursor_of(hash, &guard);
            if budget.is_spent() && (last_hash != Some(next_hash) || planted::is(Bug::PageEndsBetweenEqual)) {
                page.cursor = Some(Cursor { epoch: store.walks, next_hash, is_keyed });
                return Ok(page);
            }
            last_hash = Some(next_hash);
            budget.records = budget.records.saturating_sub(1);
            let record = version.record;
            if alive(version, pinned.now_ms) && record.key().starts_with(list.prefix.as_bytes()) {
                budget.items = budget.items.saturating_sub(1);
                budget.bytes = budget.bytes.saturating_sub(record.key().len() + record.value_len());
                let key = Key::new(record.key().to_vec()).expect("was a key when it was stored");
                page.items.push(PageItem { key, entry: record.entry(version.revision) });
            }
        }
        drop(guard);
        // What was looked at and not found counts too.
        budget.records = budget.records.saturating_sub(RECORDS_PER_BUCKET);
        let Some(next) = next else { return Ok(page) };
        if budget.is_spent() {
            let next_hash = store.index.cursor_of(next, &worker.reader.pin());
            page.cursor = Some(Cursor { epoch: store.walks, next_hash, is_keyed });
            return Ok(page);
        }
        from = next;
    }
}

/// What is left of a page.
struct Budget {
    items: usize,
    records: usize,
    bytes: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.items == 0 || self.records == 0 || self.bytes == 0
    }
}

/// A read point that is given up when it is dropped.
pub(crate) struct ReadPoint<'s> {
    store: &'s Store,
    pinned: Arc<Pinned>,
}

impl<'s> ReadPoint<'s> {
    pub(crate) fn new(store: &'s Store) -> ReadPoint<'s> {
        ReadPoint { store, pinned: store.sequence.pin_briefly() }
    }

    pub(crate) fn pinned(&self) -> &Pinned {
        &self.pinned
    }
}

impl Drop for ReadPoint<'_> {
    fn drop(&mut self) {
        self.store.sequence.unpin(&self.pinned);
    }
}

/// One key as of a read point, for transactions.
pub(crate) fn get_at<'g>(
    store: &Store,
    key: &[u8],
    horizon: impl Horizon,
    now_ms: u64,
    guard: &'g Guard<'_>,
) -> Option<Found<'g>> {
    let version = store.index.get(store.index.hash(key), horizon, guard)?;
    alive(version, now_ms).then_some(Found(version))
}

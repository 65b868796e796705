//! Commands that change nothing: get, multi-get, list. Each sees the store as of one revision, by the locks it holds.

use kvd_types::{Cursor, Error, Key, List, Page, Reply};

use crate::engine::{Engine, Worker};
use crate::index::Reading;

/// Records looked at for one page, so that a prefix that few keys have doesn't hold writers up: the page is short instead.
const LIST_RECORDS_EXAMINED_MAX: usize = 32_768;

/// Bytes of keys and values on one page; one item may exceed them alone.
const LIST_BYTES_MAX: usize = 16 << 20;

pub(crate) fn get(engine: &Engine, worker: &mut Worker, key: &Key<'_>) -> Reply {
    let hash = engine.index.hash(key);
    let shard = engine.index.read(engine.index.shard_of(hash));
    let entry = shard.get(hash, key.as_bytes()).map(|record| record.entry());
    // On a miss the revision is read before the lock is given up, while the key is missing still.
    let revision = entry.as_ref().map_or_else(|| engine.sequence.last(), |entry| entry.revision);
    drop(shard);
    worker.counters.gets(usize::from(entry.is_some()), usize::from(entry.is_none()));
    Reply::Got { entry, revision }
}

pub(crate) fn multi_get(
    engine: &Engine,
    worker: &mut Worker,
    keys: &[Key<'_>],
    require_all: bool,
) -> Result<Reply, Error> {
    let hashes: Vec<u64> = keys.iter().map(|key| engine.index.hash(key)).collect();
    let mut shards: Vec<usize> = hashes.iter().map(|hash| engine.index.shard_of(*hash)).collect();
    shards.sort_unstable();
    shards.dedup();
    let locked: Vec<Reading<'_>> = shards.iter().map(|shard| engine.index.read(*shard)).collect();

    let revision = engine.sequence.last();
    let find = |(key, hash): (&Key<'_>, &u64)| {
        let position = shards.binary_search(&engine.index.shard_of(*hash)).expect("the shards of all keys are locked");
        locked[position].get(*hash, key.as_bytes()).map(|record| record.entry())
    };
    let entries: Vec<_> = keys.iter().zip(&hashes).map(find).collect();
    drop(locked);

    let missing: Vec<usize> = (0..keys.len()).filter(|item| entries[*item].is_none()).collect();
    worker.counters.gets(keys.len() - missing.len(), missing.len());
    if require_all && !missing.is_empty() {
        return Err(Error::Missing { missing, total: keys.len() });
    }
    // The answer is built in memory: 10,000 keys of the largest values would be 640 GB.
    let bytes: usize = entries.iter().flatten().map(|entry| entry.value.len()).sum();
    engine.limits.check_batch_bytes(bytes)?;
    Ok(Reply::MultiGot { revision, entries })
}

/// A page in order of hash. All shards it has walked through stay locked until its end: the page is of one revision.
pub(crate) fn list(engine: &Engine, list: &List<'_>) -> Result<Reply, Error> {
    let mut from = match list.cursor {
        None => 0,
        Some(cursor) if cursor.epoch == engine.epoch => cursor.next_hash,
        Some(_) => return Err(Error::StaleCursor),
    };
    let mut page = Page::default();
    let mut locked = Vec::new();
    let mut budget = Budget { items: list.limit.max(1), records: LIST_RECORDS_EXAMINED_MAX, bytes: LIST_BYTES_MAX };
    let mut last_hash = None;

    'shards: for number in engine.index.shard_of(from).. {
        let shard = engine.index.read(number);
        for (hash, record) in shard.records_from(from) {
            // Never between equal hashes: a cursor can't tell them apart.
            if budget.is_spent() && last_hash != Some(hash) {
                page.cursor = Some(Cursor { epoch: engine.epoch, next_hash: hash });
                break 'shards;
            }
            last_hash = Some(hash);
            budget.records = budget.records.saturating_sub(1);
            if record.key().starts_with(list.prefix.as_bytes()) {
                budget.items = budget.items.saturating_sub(1);
                budget.bytes = budget.bytes.saturating_sub(record.key().len() + record.value().len());
                page.items.push(record.page_item());
            }
        }
        locked.push(shard);
        match engine.index.first_hash(number + 1) {
            Some(next) => from = next,
            None => break,
        }
    }
    page.revision = engine.sequence.last();
    Ok(Reply::Page(page))
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

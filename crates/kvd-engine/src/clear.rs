//! Emptying the store: a commit on the root of the index, the same few stores for ten keys or ten million. Knows nothing of what
//! a root is.

use kvd_journal::{BatchSize, Encoded, Purpose};
use kvd_types::{Effect, Error, Reply};

use crate::engine::{Store, Worker};
use crate::sequence::Batch;
use crate::{flusher, settle};

/// All keys go, at one revision. Who reads an earlier one goes on seeing them.
pub(crate) fn clear(store: &Store, worker: &mut Worker) -> Result<Reply, Error> {
    let reservation = flusher::reserve(store, BatchSize::EMPTY.clear(), Purpose::Delete)?;
    // Made in any case: whether it is queued is known only inside SEQ, where there is no memory to be had.
    let mut batch = Some(Batch::new(Encoded::new(&[Effect::Clear]).expect("a clear is small"), reservation));
    let guard = worker.reader.pin();
    let cleared = store.index.clear(&guard, &mut worker.trash, |root| {
        let mut seq = store.sequence.enter();
        store.check_writable()?;
        let batch = if seq.queues() { batch.take() } else { None };
        Ok(seq.commit_clear(batch, |revision, data_bytes| root.set_since(revision, data_bytes, &guard)))
    });
    drop(guard);
    let (revision, deleted) = cleared?;
    worker.position = revision;
    worker.counters.deletes(usize::try_from(deleted).unwrap_or(usize::MAX), 0);
    store.waiting.ring();
    settle::settle_due(store, worker, 0);
    Ok(Reply::Cleared { revision, deleted })
}

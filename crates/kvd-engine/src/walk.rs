//! A walk over all keys as they are, bucket by bucket, beside whatever changes them. Owns where it has come; who walks says
//! what is done with a key.

use crate::engine::{Store, Worker};
use crate::index::{Depth, Newest, Past, Reordered, Version};
use crate::rekey;

/// Where a walk has come.
pub(crate) struct Walk {
    /// The hash to go on with; none at the end.
    from: Option<u64>,
    /// Of which hash that is.
    is_keyed: bool,
}

impl Walk {
    /// At the begin.
    pub(crate) fn new(store: &Store, worker: &mut Worker) -> Walk {
        // A walk needs all keys in one order.
        rekey::move_all_at(store, worker, Newest);
        Walk { from: Some(0), is_keyed: store.index.is_keyed(Newest, &worker.reader.pin()) }
    }

    /// Shows the newest version of each key of some bucket; a key that is there all the time comes once. Returns whether more
    /// follow.
    ///
    /// # Errors
    /// The keys move to another order: begin again.
    pub(crate) fn bucket(
        &mut self,
        store: &Store,
        worker: &mut Worker,
        visit: impl FnMut(Version<'_>),
    ) -> Result<bool, Reordered> {
        let Some(from) = self.from else { return Ok(false) };
        let guard = worker.reader.pin();
        let mut found = Vec::new();
        let next = store.index.walk(from, self.is_keyed, Newest, &mut found, &guard)?;
        found.into_iter().map(|(_, version)| version).for_each(visit);
        self.from = next;
        Ok(next.is_some())
    }

    /// The same with the history of each key, and with keys that have nothing else.
    ///
    /// # Errors
    /// As `bucket`.
    pub(crate) fn histories(
        &mut self,
        store: &Store,
        worker: &mut Worker,
        depth: Depth,
        mut visit: impl FnMut(&[u8], &Past<'_>),
    ) -> Result<bool, Reordered> {
        let Some(from) = self.from else { return Ok(false) };
        let guard = worker.reader.pin();
        let mut found = Vec::new();
        let next = store.index.walk_histories(from, self.is_keyed, depth, &mut found, &guard)?;
        found.iter().for_each(|(key, past)| visit(key, past));
        self.from = next;
        Ok(next.is_some())
    }
}

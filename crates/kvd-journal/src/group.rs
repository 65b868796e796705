//! The commits of one record, as they were read: bytes whose checksum is right, to be decoded by whichever thread likes. Knows
//! which file they are from, for messages; applies nothing.

use std::sync::Arc;

use bytes::Bytes;
use kvd_types::{Effect, Revision};

use crate::batch::{RawBatch, Stamp, Values};
use crate::error::Error;
use crate::record::Head;

/// Commits that were written at once, in the order of their revisions, which have no gaps.
#[derive(Clone, Debug)]
pub struct Group {
    file: Arc<str>,
    /// Of the record, in the file.
    offset: u64,
    first: Revision,
    count: u32,
    /// Commits up to this one are not wanted.
    after: Revision,
    body: Bytes,
}

/// What one commit did, as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its revision.
    pub revision: Revision,
    /// As in [`Stamp`].
    pub time_ms: Option<u64>,
    /// What it changed.
    pub effects: Vec<Effect<'static>>,
}

impl Group {
    /// Of a record and its body, without those up to `after`.
    pub(crate) fn new(file: &Arc<str>, offset: u64, head: &Head, after: Revision, body: Bytes) -> Group {
        Group { file: Arc::clone(file), offset, first: head.revision, count: head.count, after, body }
    }

    /// How many commits are wanted.
    pub fn commits_count(&self) -> u64 {
        let end = self.first.0 + u64::from(self.count);
        end.saturating_sub(self.first.0.max(self.after.0 + 1))
    }

    /// Bytes of all commits.
    pub fn bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// Whether one of them is a clear: who applies keys by several threads has to wait for all of them there.
    pub fn has_clear(&self) -> bool {
        let mut body = &self.body[..];
        // What can't be read is an error of `effects`.
        std::iter::from_fn(|| RawBatch::next(&mut body).ok().flatten()).any(|batch| batch.is_clear())
    }

    /// Shows each effect with its commit's stamp, in order. A value that is kept may keep all of the group's bytes, but for
    /// one of [`COPIED_BYTES_MIN`](crate::COPIED_BYTES_MIN) or more.
    ///
    /// # Errors
    /// Damage, after some effects were shown; or what `visit` returns.
    pub fn effects<'a>(&'a self, mut visit: impl FnMut(Stamp, Effect<'a>) -> Result<(), Error>) -> Result<(), Error> {
        self.batches(|batch| {
            let stamp = batch.stamp;
            batch.effects(Values::Shared(&self.body)).try_for_each(|effect| {
                let effect = effect.map_err(|what| self.damaged(what))?;
                if stamp.revision > self.after { visit(stamp, effect) } else { Ok(()) }
            })
        })
    }

    /// Shows each commit, in order.
    ///
    /// # Errors
    /// As for [`effects`](Group::effects).
    pub fn commits(&self, visit: &mut dyn FnMut(Commit) -> Result<(), Error>) -> Result<(), Error> {
        self.batches(|batch| {
            let Stamp { revision, time_ms } = batch.stamp;
            let effects = batch.effects(Values::Copied).map(|effect| effect.map(Effect::into_owned));
            let effects = effects.collect::<Result<_, _>>().map_err(|what| self.damaged(what))?;
            if revision > self.after { visit(Commit { revision, time_ms, effects }) } else { Ok(()) }
        })
    }

    /// All batches, revisions from the first on without gaps, and as many as the record says.
    fn batches<'a>(&'a self, mut visit: impl FnMut(RawBatch<'a>) -> Result<(), Error>) -> Result<(), Error> {
        let (mut body, mut expected, mut count) = (&self.body[..], self.first, 0);
        while let Some(batch) = RawBatch::next(&mut body).map_err(|what| self.damaged(what))? {
            if batch.stamp.revision != expected {
                let found = batch.stamp.revision;
                return Err(self.damaged(format!("a batch is of revision {found} where {expected} comes next")));
            }
            visit(batch)?;
            expected.0 += 1;
            count += 1;
        }
        if count == self.count {
            Ok(())
        } else {
            Err(self.damaged(format!("a group has {count} batches, and says {}", self.count)))
        }
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::damaged(&self.file, self.offset, what)
    }
}

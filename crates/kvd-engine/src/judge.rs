//! Conditions: what must be true of a key for its write to happen. Knows nothing of locks or of what follows from the answer.

use kvd_types::{Condition, Entry, Epoch, Error, Etag, ItemFailure, Revision};

use crate::index::Version;

/// What a condition is judged by.
pub(crate) trait Held: Copy {
    fn revision(self) -> Revision;
    fn has_value(self, value: &[u8]) -> bool;
}

impl Held for Version<'_> {
    fn revision(self) -> Revision {
        self.revision
    }

    fn has_value(self, value: &[u8]) -> bool {
        self.record.value() == value
    }
}

impl Held for &Entry {
    fn revision(self) -> Revision {
        self.revision
    }

    fn has_value(self, value: &[u8]) -> bool {
        self.value == value
    }
}

/// Whether `condition` is true of what a key holds.
pub(crate) fn holds(condition: &Condition, current: Option<impl Held>, epoch: Epoch) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => current.is_none(),
        Condition::Exists => current.is_some(),
        Condition::Revision(revision) => current.is_some_and(|held| is_committed(held) && held.revision() == *revision),
        Condition::AnyOf(tags) => current.is_some_and(|held| is_one_of(tags, held, epoch)),
        Condition::NoneOf(tags) => current.is_none_or(|held| !is_one_of(tags, held, epoch)),
        Condition::Value(value) => current.is_some_and(|held| held.has_value(value)),
    }
}

/// No commit has revision 0: it stands for a version that has none yet.
fn is_committed(held: impl Held) -> bool {
    held.revision() != Revision(0)
}

fn is_one_of(tags: &[Etag], held: impl Held, epoch: Epoch) -> bool {
    is_committed(held) && tags.contains(&etag(epoch, held))
}

/// The same for the only key of a command.
///
/// # Errors
/// [`Error::PreconditionFailed`].
pub(crate) fn one(condition: &Condition, current: Option<impl Held>, epoch: Epoch) -> Result<(), Error> {
    if holds(condition, current, epoch) {
        return Ok(());
    }
    let failure = ItemFailure { index: 0, have: current.map(|held| etag(epoch, held)) };
    Err(Error::PreconditionFailed { failures: vec![failure], total: 1 })
}

/// The same for many keys: all must hold.
///
/// # Errors
/// [`Error::PreconditionFailed`] names those that don't.
pub(crate) fn all<'c, V: Held>(
    conditions: impl ExactSizeIterator<Item = &'c Condition>,
    current: impl Iterator<Item = Option<V>>,
    epoch: Epoch,
) -> Result<(), Error> {
    let total = conditions.len();
    let failures = failures(conditions, current, epoch);
    if failures.is_empty() { Ok(()) } else { Err(Error::PreconditionFailed { failures, total }) }
}

/// Those of the conditions that don't hold.
pub(crate) fn failures<'c, V: Held>(
    conditions: impl Iterator<Item = &'c Condition>,
    current: impl Iterator<Item = Option<V>>,
    epoch: Epoch,
) -> Vec<ItemFailure> {
    let failed = |(_, (condition, current)): &(usize, (&Condition, Option<V>))| !holds(condition, *current, epoch);
    let failure = |(index, (_, current)): (usize, (&Condition, Option<V>))| ItemFailure {
        index,
        have: current.map(|held| etag(epoch, held)),
    };
    conditions.zip(current).enumerate().filter(failed).map(failure).collect()
}

/// The entity tag of a version.
fn etag(epoch: Epoch, held: impl Held) -> Etag {
    Etag { epoch, revision: held.revision() }
}

//! Conditions: what must be true of a key for its write to happen. Knows nothing of locks or of what follows from the answer.

use kvd_types::{Condition, Etag};

use crate::engine::Store;
use crate::index::Version;

/// Whether `condition` is true of a key's current version.
pub(crate) fn holds(condition: &Condition, current: Option<Version<'_>>, store: &Store) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => current.is_none(),
        Condition::Exists => current.is_some(),
        Condition::Revision(revision) => current.is_some_and(|version| version.revision == *revision),
        Condition::AnyOf(tags) => current.is_some_and(|version| tags.contains(&etag(store, version))),
        Condition::NoneOf(tags) => current.is_none_or(|version| !tags.contains(&etag(store, version))),
        Condition::Value(value) => current.is_some_and(|version| version.record.value() == value),
    }
}

/// The entity tag of a version.
pub(crate) fn etag(store: &Store, version: Version<'_>) -> Etag {
    Etag { epoch: store.epoch, revision: version.revision }
}

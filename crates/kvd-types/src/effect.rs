//! What the store decided: the one form of a change that the live write path applies, and that journal, recovery and
//! replication will carry.

use bytes::Bytes;

use crate::{ContentType, Key};

/// A change of one key. Deterministic (an increment is recorded as its result) and idempotent (applying it again, at the same
/// revision, changes nothing). Its revision is that of the commit it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The key has this value from now on.
    Put {
        /// The key.
        key: Key<'a>,
        /// The whole new value.
        value: Bytes,
        /// Stored with it.
        content_type: Option<ContentType>,
    },
    /// The key has no value from now on.
    Delete {
        /// The key.
        key: Key<'a>,
    },
}

impl<'a> Effect<'a> {
    /// The key it changes.
    pub fn key(&self) -> &Key<'a> {
        match self {
            Effect::Put { key, .. } | Effect::Delete { key } => key,
        }
    }
}

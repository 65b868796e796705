//! What the store decided: the one form of a change that the live write path applies, and that journal, recovery and
//! replication will carry.

use bytes::Bytes;

use crate::{ContentType, Key};

/// A change of one key, or of all. Deterministic (an increment is recorded as its result, a time to live as an absolute time)
/// and idempotent (applying it again, at the same revision, changes nothing). Its revision is that of the commit it belongs to.
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
        /// When it goes by itself, in milliseconds since 1970; none for never.
        expires_at_ms: Option<u64>,
    },
    /// The key has no value from now on.
    Delete {
        /// The key.
        key: Key<'a>,
        /// Why it went.
        reason: Reason,
    },
    /// No key has a value from now on. Alone in its commit.
    Clear,
}

/// Why a key went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// A client said so.
    #[default]
    Asked,
    /// Its time had come.
    Expired,
    /// Its memory was needed.
    Evicted,
}

impl Effect<'_> {
    /// The same effect, owning its key.
    pub fn into_owned(self) -> Effect<'static> {
        match self {
            Effect::Put { key, value, content_type, expires_at_ms } => {
                Effect::Put { key: key.into_owned(), value, content_type, expires_at_ms }
            }
            Effect::Delete { key, reason } => Effect::Delete { key: key.into_owned(), reason },
            Effect::Clear => Effect::Clear,
        }
    }
}

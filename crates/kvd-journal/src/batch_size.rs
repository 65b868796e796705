//! How long a batch becomes, before it is encoded: what room is taken by. Knows the lengths of what `batch` writes, and nothing
//! of the bytes.

use crate::batch::BATCH_HEAD_BYTES;

/// Most bytes of a batch, so that a group with it has a length of 32 bits.
const BATCH_BYTES_MAX: usize = 1 << 31;

/// What a put takes beside key, content type and value, with an expiry.
const PUT_BYTES_MAX: usize = 20;

/// What a delete takes beside its key.
const DELETE_BYTES: usize = 8;

const CLEAR_BYTES: usize = 4;

/// What a commit's time takes.
pub(crate) const TIME_BYTES: usize = 12;

/// How long a batch becomes at most: told before a commit has looked at anything, so that room can be taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize(usize);

/// A commit that no group can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a commit comes to {actual} bytes in the journal, which takes up to {max}: split it")]
pub struct TooLarge {
    /// What a batch may come to, in bytes.
    pub max: usize,
    /// What it comes to, in bytes.
    pub actual: usize,
}

impl BatchSize {
    /// What was encoded.
    pub(crate) fn of(bytes: usize) -> BatchSize {
        BatchSize(bytes)
    }

    /// A batch without effects.
    pub const EMPTY: BatchSize = BatchSize(BATCH_HEAD_BYTES);

    /// With a put of these lengths, with an expiry.
    #[must_use]
    pub fn put(self, key_len: usize, value_len: usize, content_type_len: usize) -> BatchSize {
        BatchSize(self.0.saturating_add(PUT_BYTES_MAX + key_len + content_type_len).saturating_add(value_len))
    }

    /// With a delete.
    #[must_use]
    pub fn delete(self, key_len: usize) -> BatchSize {
        BatchSize(self.0.saturating_add(DELETE_BYTES + key_len))
    }

    /// With a clear.
    #[must_use]
    pub fn clear(self) -> BatchSize {
        BatchSize(self.0.saturating_add(CLEAR_BYTES))
    }

    /// With the time.
    #[must_use]
    pub fn timed(self) -> BatchSize {
        BatchSize(self.0.saturating_add(TIME_BYTES))
    }

    /// Whether [`Encoded::new`](crate::Encoded::new) takes it.
    ///
    /// # Errors
    /// [`TooLarge`] otherwise.
    pub fn check(self) -> Result<(), TooLarge> {
        if self.0 >= BATCH_BYTES_MAX { Err(TooLarge { max: BATCH_BYTES_MAX, actual: self.0 }) } else { Ok(()) }
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

//! What is to happen to one key, and what it does, once its state is known: to the index, to the journal, to the sizes. Knows
//! nothing of locks or of the order of commits.

use bytes::Bytes;
use kvd_journal::{BatchSize, Purpose};
use kvd_types::{Condition, ContentType, Delete, Effect, Entry, Key, Reason, Rollback, Set, Ttl};

use crate::index::{Change, Draft, Record, Removal, Version};
use crate::sequence::Delta;

/// What a record takes beside key and value, at most: for the estimate of what a write needs.
const RECORD_OVERHEAD_BYTES: u64 = 64;

/// What is to happen to one key, if the condition holds.
pub(crate) struct Item<'c> {
    pub(crate) key: &'c Key<'c>,
    pub(crate) condition: &'c Condition,
    pub(crate) operation: Operation<'c>,
}

/// A change of one key.
#[derive(Clone, Copy)]
pub(crate) enum Operation<'c> {
    Put {
        value: &'c Bytes,
        content_type: Option<&'c ContentType>,
        ttl: Ttl,
    },
    Delete,
    /// Removes the key if its time has come.
    Expire,
    /// The condition alone counts.
    Check,
}

impl<'c> Item<'c> {
    pub(crate) fn put(set: &'c Set<'_>) -> Item<'c> {
        let operation = Operation::Put { value: &set.value, content_type: set.content_type.as_ref(), ttl: set.ttl };
        Item { key: &set.key, condition: &set.condition, operation }
    }

    pub(crate) fn removal(delete: &'c Delete<'_>) -> Item<'c> {
        Item { key: &delete.key, condition: &delete.condition, operation: Operation::Delete }
    }

    /// What the key had before: its value and content type, without an expiry.
    pub(crate) fn restore(rollback: &'c Rollback<'_>, old: &'c Entry) -> Item<'c> {
        let operation = Operation::Put { value: &old.value, content_type: old.content_type.as_ref(), ttl: Ttl::None };
        Item { key: &rollback.key, condition: &rollback.condition, operation }
    }

    /// Memory that it needs, in bytes.
    pub(crate) fn needs_bytes(&self) -> u64 {
        match self.operation {
            Operation::Put { value, .. } => (self.key.len() + value.len()) as u64 + RECORD_OVERHEAD_BYTES,
            _ => 0,
        }
    }

    /// The change, of a key that is in the state `alive`. It keeps `time_ms`, if that is kept.
    pub(crate) fn change(&self, alive: Option<Version<'_>>, now_ms: u64, time_ms: Option<u64>) -> Change {
        match self.operation {
            Operation::Put { value, content_type, ttl } => {
                let expires_at_ms = match ttl {
                    Ttl::None => None,
                    Ttl::Keep => alive.and_then(|version| version.record.expires_at_ms()),
                    Ttl::Ms(ms) => Some(now_ms.saturating_add(ms)),
                    Ttl::At(at) => Some(at),
                };
                Change::Put(Draft::new(self.key.as_bytes(), value, content_type, expires_at_ms, time_ms))
            }
            Operation::Expire => Change::Delete(Removal { reason: Reason::Expired, time_ms }),
            Operation::Delete | Operation::Check => Change::Delete(Removal { reason: Reason::Asked, time_ms }),
        }
    }

    /// The change as the journal has it.
    pub(crate) fn effect(&self, change: &Change) -> Effect<'c> {
        let key = self.key.borrow();
        match (&self.operation, change) {
            (Operation::Put { value, content_type, .. }, Change::Put(draft)) => Effect::Put {
                key,
                value: Bytes::clone(value),
                content_type: content_type.cloned(),
                expires_at_ms: draft.record().expires_at_ms(),
            },
            (_, Change::Delete(removal)) => Effect::Delete { key, reason: removal.reason },
            (_, Change::Put(_)) => unreachable!("only a put makes a record"),
        }
    }
}

/// What these come to in the journal at most, and for what.
pub(crate) fn journal_size(items: &[Item<'_>]) -> (BatchSize, Purpose) {
    let mut purpose = Purpose::Delete;
    let size = items.iter().fold(BatchSize::EMPTY, |size, item| match item.operation {
        Operation::Put { value, content_type, .. } => {
            purpose = Purpose::Write;
            let content_type_len = content_type.map_or(0, |text| text.as_bytes().len());
            size.put(item.key.len(), value.len(), content_type_len)
        }
        Operation::Delete | Operation::Expire => size.delete(item.key.len()),
        Operation::Check => size,
    });
    (size, purpose)
}

impl Change {
    pub(crate) fn draft(&self) -> Option<&Draft> {
        match self {
            Change::Put(draft) => Some(draft),
            Change::Delete(_) => None,
        }
    }

    pub(crate) fn expires_at_ms(&self) -> Option<u64> {
        self.draft().and_then(|draft| draft.record().expires_at_ms())
    }
}

impl Delta {
    /// A record comes, or with -1 goes.
    pub(crate) fn count(&mut self, record: Record<'_>, sign: i64) {
        let (key, value) = (record.key().len() as i64, record.value_len() as i64);
        self.keys += sign;
        self.key_bytes += sign * key;
        self.value_bytes += sign * value;
        self.record_bytes += sign * (record.bytes() as i64 - key - value);
    }
}

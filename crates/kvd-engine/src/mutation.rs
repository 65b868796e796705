//! What a commit does to one key, once that is decided: to the index, to the journal, to the sizes; and the room that it takes.
//! Knows nothing of locks, of the order of commits, or of why it is done.

use std::borrow::Cow;

use bytes::Bytes;
use kvd_journal::{BatchSize, Purpose};
use kvd_types::{CONTENT_TYPE_BYTES_MAX, ContentType, Effect, Entry, Key, Reason, Set};

use crate::index::{Change, Draft, Record, Removal, Version};
use crate::moment::Moment;
use crate::sequence::Delta;

/// What a record takes beside key and value, at most: for the estimate of what a write needs.
const RECORD_OVERHEAD_BYTES: u64 = 64;

/// What a key is to hold.
pub(crate) enum Mutation<'c> {
    Put { value: Cow<'c, Bytes>, content_type: Option<Cow<'c, ContentType>>, expires_at_ms: Option<u64> },
    Delete(Reason),
}

impl<'c> Mutation<'c> {
    /// A set, of a key that is in the state `alive`.
    pub(crate) fn set(set: &'c Set<'_>, alive: Option<Version<'_>>, moment: Moment) -> Mutation<'c> {
        Mutation::Put {
            value: Cow::Borrowed(&set.value),
            content_type: set.content_type.as_ref().map(Cow::Borrowed),
            expires_at_ms: moment.expires_at_ms(set.ttl, alive.map(|version| version.record.expires_at_ms())),
        }
    }

    /// To what a key holds afterwards.
    pub(crate) fn to(entry: Option<&Entry>) -> Mutation<'static> {
        match entry {
            Some(Entry { value, content_type, expires_at_ms, .. }) => Mutation::Put {
                value: Cow::Owned(value.clone()),
                content_type: content_type.clone().map(Cow::Owned),
                expires_at_ms: *expires_at_ms,
            },
            None => Mutation::Delete(Reason::Asked),
        }
    }

    /// As the index has it, with the time of the commit where that is kept.
    pub(crate) fn change(&self, key: &[u8], time_ms: Option<u64>) -> Change {
        match self {
            Mutation::Put { value, content_type, expires_at_ms } => {
                Change::Put(Draft::new(key, value, content_type.as_deref(), *expires_at_ms, time_ms))
            }
            Mutation::Delete(reason) => Change::Delete(Removal { reason: *reason, time_ms }),
        }
    }

    /// As the journal has it.
    pub(crate) fn effect(self, key: &'c Key<'_>) -> Effect<'c> {
        let key = key.borrow();
        match self {
            Mutation::Put { value, content_type, expires_at_ms } => Effect::Put {
                key,
                value: value.into_owned(),
                content_type: content_type.map(Cow::into_owned),
                expires_at_ms,
            },
            Mutation::Delete(reason) => Effect::Delete { key, reason },
        }
    }

    pub(crate) fn expires_at_ms(&self) -> Option<u64> {
        match self {
            Mutation::Put { expires_at_ms, .. } => *expires_at_ms,
            Mutation::Delete(_) => None,
        }
    }
}

/// Room that a commit takes: told before it has looked at anything, since that is when it is given or refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// In memory.
    pub(crate) memory_bytes: u64,
    /// In the journal, at most.
    pub(crate) journal: BatchSize,
    pub(crate) purpose: Purpose,
}

impl Demand {
    pub(crate) const NONE: Demand = Demand { memory_bytes: 0, journal: BatchSize::EMPTY, purpose: Purpose::Delete };

    /// With a set.
    pub(crate) fn set(self, set: &Set<'_>) -> Demand {
        self.put(&set.key, set.value.len(), set.content_type.as_ref())
    }

    pub(crate) fn put(self, key: &Key<'_>, value_len: usize, content_type: Option<&ContentType>) -> Demand {
        self.put_of(key.len(), value_len, content_type.map_or(0, |text| text.as_bytes().len()))
    }

    /// With a value of this length at most, of a content type that is to be seen.
    pub(crate) fn put_at_most(self, key: &Key<'_>, value_len: usize) -> Demand {
        self.put_of(key.len(), value_len, CONTENT_TYPE_BYTES_MAX)
    }

    fn put_of(self, key_len: usize, value_len: usize, content_type_len: usize) -> Demand {
        let record_bytes = (key_len as u64 + RECORD_OVERHEAD_BYTES).saturating_add(value_len as u64);
        Demand {
            memory_bytes: self.memory_bytes.saturating_add(record_bytes),
            journal: self.journal.put(key_len, value_len, content_type_len),
            purpose: Purpose::Write,
        }
    }

    pub(crate) fn delete(self, key: &Key<'_>) -> Demand {
        Demand { journal: self.journal.delete(key.len()), ..self }
    }

    /// With what was decided in the end.
    pub(crate) fn mutation(self, key: &Key<'_>, mutation: &Mutation<'_>) -> Demand {
        match mutation {
            Mutation::Put { value, content_type, .. } => self.put(key, value.len(), content_type.as_deref()),
            Mutation::Delete(_) => self.delete(key),
        }
    }

    /// Whether room for this is room for `other`.
    pub(crate) fn covers(&self, other: &Demand) -> bool {
        other.memory_bytes <= self.memory_bytes
            && other.journal.bytes() <= self.journal.bytes()
            && (other.purpose == Purpose::Delete || self.purpose == Purpose::Write)
    }
}

impl Delta {
    /// What a key held goes, and what it changes to comes.
    pub(crate) fn replace(&mut self, gone: Option<Record<'_>>, change: &Change) {
        if let Some(record) = gone {
            self.count(record, -1);
        }
        if let Change::Put(draft) = change {
            self.count(draft.record(), 1);
        }
    }

    /// A record comes, or with -1 goes.
    fn count(&mut self, record: Record<'_>, sign: i64) {
        let (key, value) = (record.key().len() as i64, record.value_len() as i64);
        self.keys += sign;
        self.key_bytes += sign * key;
        self.value_bytes += sign * value;
        self.record_bytes += sign * (record.bytes() as i64 - key - value);
    }
}

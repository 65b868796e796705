//! What a client asks. Protocols translate bytes into these; the engine executes them; nothing else stands between.
//! A command says nothing of how it arrived or how its reply is written.

use bytes::Bytes;

use crate::{ContentType, Epoch, Etag, Key, Revision};

/// One request to the store. `'a` is the buffer the keys are borrowed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// The value of one key.
    Get {
        /// The key.
        key: Key<'a>,
    },
    /// The values of many keys, all of one revision.
    MultiGet {
        /// Answered in this order; a key may occur more than once.
        keys: Vec<Key<'a>>,
        /// Whether one missing key makes the whole command fail.
        require_all: bool,
    },
    /// Gives one key a value.
    Set(Set<'a>),
    /// Gives many keys a value, all or none. No key may occur twice.
    MultiSet {
        /// At least one.
        sets: Vec<Set<'a>>,
    },
    /// Removes one key.
    Delete(Delete<'a>),
    /// Removes many keys, all or none. A key that occurs twice is deleted once, then missing.
    MultiDelete {
        /// At least one.
        deletes: Vec<Delete<'a>>,
        /// Whether one missing key makes the whole command fail.
        require_all: bool,
    },
    /// One page of a walk over the keys.
    List(List<'a>),
    /// Removes all keys.
    Clear,
    /// The value that one key had at a revision.
    GetAt {
        /// The key.
        key: Key<'a>,
        /// Counted are the commits up to this one.
        revision: Revision,
    },
    /// The versions that are kept of one key.
    History {
        /// The key.
        key: Key<'a>,
    },
    /// Gives one key an old value of its own.
    Rollback(Rollback<'a>),
}

/// A key and the value it is to have. The value's old content type does not survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// The key.
    pub key: Key<'a>,
    /// Its new value.
    pub value: Bytes,
    /// Stored with it; none stands for [`ContentType::DEFAULT`].
    pub content_type: Option<ContentType>,
    /// When the value goes by itself. The key's old expiry survives only by [`Ttl::Keep`].
    pub ttl: Ttl,
    /// Judged in the same critical section as the write.
    pub condition: Condition,
}

impl<'a> Set<'a> {
    /// Gives `key` the value `value`, with no content type, no expiry, and under no condition.
    pub fn new(key: Key<'a>, value: impl Into<Bytes>) -> Self {
        Set { key, value: value.into(), content_type: None, ttl: Ttl::None, condition: Condition::Always }
    }
}

/// When a value goes by itself.
///
/// # Units
/// Milliseconds; absolute times since 1970, by the store's own time (see the engine's `tick`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// Never.
    #[default]
    None,
    /// When the value it replaces would have gone; never, if there is none.
    Keep,
    /// This long after the commit's time.
    Ms(u64),
    /// At this time. One that has passed already makes the key absent at once.
    At(u64),
}

/// A key that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// The key.
    pub key: Key<'a>,
    /// Judged in the same critical section as the write.
    pub condition: Condition,
}

impl<'a> Delete<'a> {
    /// Removes `key`, under no condition.
    pub fn new(key: Key<'a>) -> Self {
        Delete { key, condition: Condition::Always }
    }
}

/// A key that is to have again what it had: value and content type, without an expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback<'a> {
    /// The key.
    pub key: Key<'a>,
    /// What it had at this revision.
    pub to: Revision,
    /// Judged in the same critical section as the write.
    pub condition: Condition,
}

/// What must be true of a key for its write to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// The key has no value.
    Absent,
    /// The key has a value.
    Exists,
    /// The key's current version is of this revision.
    Revision(Revision),
    /// The key's current version is one of these. Tags of other stores never match.
    AnyOf(Vec<Etag>),
    /// The key is absent, or its current version is none of these.
    NoneOf(Vec<Etag>),
    /// The key's current value has exactly these bytes.
    Value(Bytes),
}

/// One page of a walk over all keys that begin with a prefix, in the order of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<'a> {
    /// Only keys that begin with these bytes.
    pub prefix: Key<'a>,
    /// Most items wanted on this page; the page may be shorter, also when more follow.
    pub limit: usize,
    /// Where the page before ended; none for the first.
    pub cursor: Option<Cursor>,
    /// How much of each item is wanted.
    pub values: ListValues,
}

/// How much a list tells of each key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListValues {
    /// The key alone.
    None,
    /// Revision, size and content type.
    #[default]
    Meta,
    /// The value too.
    Full,
}

/// Where a walk goes on: a position in one store's order of hashes. Opaque to clients.
///
/// A walk in this order is undisturbed by growth: a key that is present all the time comes exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The store and the run whose hashes these are; a cursor of another is refused.
    pub epoch: Epoch,
    /// Keys with this hash or a higher one are still to come.
    pub next_hash: u64,
    /// Whether it is a keyed hash: a store turns to that when keys were chosen to collide, and then walks begin again.
    pub is_keyed: bool,
}

impl Command<'_> {
    /// The key of a command that names one alone.
    pub fn single_key(&self) -> Option<&Key<'_>> {
        match self {
            Command::Get { key } => Some(key),
            Command::Set(set) => Some(&set.key),
            Command::Delete(delete) => Some(&delete.key),
            Command::GetAt { key, .. } | Command::History { key } => Some(key),
            Command::Rollback(rollback) => Some(&rollback.key),
            _ => None,
        }
    }

    /// The same command, owning its keys: it outlives the buffer they were borrowed from.
    pub fn into_owned(self) -> Command<'static> {
        match self {
            Command::Get { key } => Command::Get { key: key.into_owned() },
            Command::MultiGet { keys, require_all } => {
                Command::MultiGet { keys: keys.into_iter().map(Key::into_owned).collect(), require_all }
            }
            Command::Set(set) => Command::Set(set.into_owned()),
            Command::MultiSet { sets } => Command::MultiSet { sets: sets.into_iter().map(Set::into_owned).collect() },
            Command::Delete(delete) => Command::Delete(delete.into_owned()),
            Command::MultiDelete { deletes, require_all } => {
                Command::MultiDelete { deletes: deletes.into_iter().map(Delete::into_owned).collect(), require_all }
            }
            Command::List(list) => Command::List(List { prefix: list.prefix.into_owned(), ..list }),
            Command::Clear => Command::Clear,
            Command::GetAt { key, revision } => Command::GetAt { key: key.into_owned(), revision },
            Command::History { key } => Command::History { key: key.into_owned() },
            Command::Rollback(rollback) => Command::Rollback(Rollback { key: rollback.key.into_owned(), ..rollback }),
        }
    }
}

impl Set<'_> {
    fn into_owned(self) -> Set<'static> {
        Set { key: self.key.into_owned(), ..self }
    }
}

impl Delete<'_> {
    fn into_owned(self) -> Delete<'static> {
        Delete { key: self.key.into_owned(), ..self }
    }
}

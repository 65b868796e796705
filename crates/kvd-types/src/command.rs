//! What a client asks. Protocols translate bytes into these; the engine executes them; nothing else stands between.
//! A command says nothing of how it arrived or how its reply is written.

use bytes::Bytes;

use crate::{ContentType, Epoch, Etag, Key, Revision};

/// One request to the store. `'a` is the buffer the keys are borrowed from.
#[derive(Clone, Debug, PartialEq)]
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
    /// As a get, but counted as nothing: for who asks for the expiry, the type, or whether anything changed.
    Peek {
        /// The key.
        key: Key<'a>,
    },
    /// Changes one key by a rule that looks at what it holds.
    Modify(Modify<'a>),
    /// Gives one key what another holds.
    Transfer(Transfer<'a>),
    /// Many commands as one commit, all or none.
    Transaction(Transaction<'a>),
    /// One page of a walk over the keys.
    List(List<'a>),
    /// One page of the keys in the order of their bytes.
    ListSorted(ListSorted<'a>),
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
    /// Gives `key` the value `value`, with no content type, the expiry that the store is configured with, and under no condition.
    pub fn new(key: Key<'a>, value: impl Into<Bytes>) -> Self {
        Set { key, value: value.into(), content_type: None, ttl: Ttl::Default, condition: Condition::Always }
    }
}

/// When a value goes by itself.
///
/// # Units
/// Milliseconds; absolute times since 1970, by the store's own time (see the engine's `tick`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// As the store is configured: after its default time to live, or never.
    #[default]
    Default,
    /// Never.
    None,
    /// When the value it replaces would have gone; by default, if there is none.
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

/// A key, and how its new value or expiry follows from what it holds. A key that is absent counts as an empty value, or as 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Modify<'a> {
    /// The key.
    pub key: Key<'a>,
    /// What follows from what.
    pub rule: Rule,
    /// Judged in the same critical section as the write.
    pub condition: Condition,
}

/// How a key changes. What it doesn't mention stays: the content type, and the expiry but for `Expire`. A key that comes into
/// being by it has no content type, and the expiry that the store is configured with.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Adds to a value that is a decimal integer of 64 bits, written without a plus sign or leading zeros.
    Increment {
        /// What is added.
        by: i64,
    },
    /// Adds to a value that is a decimal number, with or without a fraction and an exponent.
    IncrementFloat {
        /// What is added; finite.
        by: f64,
    },
    /// Adds bytes at the end. No bytes make an empty value of an absent key.
    Append {
        /// What is added.
        bytes: Bytes,
    },
    /// Overwrites bytes from an offset on; zeros fill what was missing before it. No bytes change nothing.
    SetRange {
        /// Where the first goes, counted from 0.
        offset: usize,
        /// What is written.
        bytes: Bytes,
    },
    /// Gives the key another expiry, or takes it away. Of a key that is absent it changes nothing.
    Expire {
        /// When it is to go; `Keep` changes nothing. A time that has passed deletes the key.
        ttl: Ttl,
        /// What must be true of the expiry it has.
        only: ExpiryCondition,
    },
}

/// What must be true of a key's expiry for another to replace it. No expiry counts as one that is later than all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryCondition {
    /// Nothing.
    #[default]
    Always,
    /// It has none.
    Absent,
    /// It has one.
    Present,
    /// The new one is later.
    Later,
    /// The new one is earlier.
    Earlier,
    /// It has one, and the new one is earlier.
    PresentAndEarlier,
}

/// Gives `to` the value, content type and expiry of `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// Whose.
    pub from: Key<'a>,
    /// To whom.
    pub to: Key<'a>,
    /// Whether `to` may have a value already.
    pub replace: bool,
    /// Whether `from` keeps it.
    pub keep: bool,
}

/// Commands that take effect at one revision, or not at all. Each sees what those before it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction<'a> {
    /// What must be true for `commands` to be carried out.
    pub checks: Vec<Check<'a>>,
    /// Commands on keys that they name: no lists, no clear, no transactions.
    pub commands: Vec<Command<'a>>,
    /// Carried out instead when a check fails; without it a failed check refuses the transaction.
    pub otherwise: Option<Vec<Command<'a>>>,
    /// What a command that fails means for the others.
    pub on_failure: OnFailure,
}

/// A key and what must be true of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check<'a> {
    /// The key.
    pub key: Key<'a>,
    /// What must be true.
    pub condition: Condition,
}

/// What a command that fails inside a transaction means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing of the transaction happens.
    #[default]
    Abort,
    /// The others are carried out; its own answer says what was wrong.
    Continue,
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

/// One page of all keys that begin with a prefix, in the order of their bytes. The index has no such order: each page looks
/// at every key there is.
///
/// # Shape
/// With a delimiter, keys that have one behind the prefix are not items: they stand together as what they begin with, up to
/// the delimiter and with it, which comes once. Items and such prefixes are in one order and count alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSorted<'a> {
    /// Only keys that begin with these bytes.
    pub prefix: Key<'a>,
    /// Ends what keys are put together by; not empty.
    pub delimiter: Option<Key<'a>>,
    /// Most items and prefixes wanted on this page; the page may be shorter, also when more follow.
    pub limit: usize,
    /// The item or prefix that the page before ended with; none for the first page.
    pub after: Option<Key<'a>>,
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
            Command::Get { key } | Command::Peek { key } => Some(key),
            Command::Set(set) => Some(&set.key),
            Command::Delete(delete) => Some(&delete.key),
            Command::Modify(modify) => Some(&modify.key),
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
            Command::Peek { key } => Command::Peek { key: key.into_owned() },
            Command::Modify(modify) => Command::Modify(Modify { key: modify.key.into_owned(), ..modify }),
            Command::Transfer(Transfer { from, to, replace, keep }) => {
                Command::Transfer(Transfer { from: from.into_owned(), to: to.into_owned(), replace, keep })
            }
            Command::Transaction(transaction) => Command::Transaction(transaction.into_owned()),
            Command::List(list) => Command::List(List { prefix: list.prefix.into_owned(), ..list }),
            Command::ListSorted(list) => Command::ListSorted(ListSorted {
                prefix: list.prefix.into_owned(),
                delimiter: list.delimiter.map(Key::into_owned),
                after: list.after.map(Key::into_owned),
                ..list
            }),
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

impl Transaction<'_> {
    fn into_owned(self) -> Transaction<'static> {
        let check = |check: Check<'_>| Check { key: check.key.into_owned(), condition: check.condition };
        let owned = |commands: Vec<Command<'_>>| commands.into_iter().map(Command::into_owned).collect();
        Transaction {
            checks: self.checks.into_iter().map(check).collect(),
            commands: owned(self.commands),
            otherwise: self.otherwise.map(owned),
            on_failure: self.on_failure,
        }
    }
}

impl Delete<'_> {
    fn into_owned(self) -> Delete<'static> {
        Delete { key: self.key.into_owned(), ..self }
    }
}

//! What transactions answer, and the single keys whose answer is a document: what is known, and how it follows from a reply. How
//! it is written is for `answer_wire` to know.

use kvd_types::{Command, Entry, Etag, Key, Modify, Reply, Revision, Rule};
use serde::{Deserialize, Serialize};

use super::answer::{GetItem, SetItem};
use super::field::RevisionDef;
use crate::rest::response::Store;
use crate::rest::transaction::Mode;

/// The answer to `POST /v1/tx`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginAnswer {
    /// What the transaction is called from now on.
    pub id: String,
    /// Whether it may write.
    pub mode: Mode,
    /// The revision that it reads.
    #[serde(with = "RevisionDef")]
    pub revision: Revision,
    /// It ends when it is left alone for so long.
    pub idle_timeout_ms: u64,
}

/// The answer to a transaction's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitAnswer {
    /// The commit's; where nothing was written, the one that was read.
    #[serde(with = "RevisionDef")]
    pub revision: Revision,
}

/// The answer to `DELETE /v1/keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletePrefixAnswer {
    /// Keys that went.
    pub deleted: u64,
    /// The last commit's; where nothing was deleted, the one that was looked at.
    #[serde(with = "RevisionDef")]
    pub revision: Revision,
}

/// The answer to `/v1/ttl`: when a key goes by itself, both none without an expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TtlAnswer<'a> {
    /// The key.
    pub key: Key<'a>,
    /// How long it has left.
    pub ttl_ms: Option<u64>,
    /// When it goes, in milliseconds since 1970 by the store's time.
    pub expires_at_ms: Option<u64>,
}

/// The answer to `/v1/incr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrementAnswer<'a> {
    /// The key.
    pub key: Key<'a>,
    /// The sum.
    pub value: i64,
    /// The key's new version; none inside a transaction, where it has no revision yet.
    pub etag: Option<Etag>,
}

/// The answer to `/v1/txn`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionAnswer<'a> {
    /// The commit's; where nothing was written, the one that was read.
    pub revision: Revision,
    /// Checks that did not hold, by their position: with one, `else` was carried out instead of `ops`.
    pub failed_checks: Vec<u64>,
    /// One for each operation, in order.
    pub results: Vec<OpResult<'a>>,
}

impl TransactionAnswer<'_> {
    /// Whether all checks held and `ops` were carried out.
    pub fn is_committed(&self) -> bool {
        self.failed_checks.is_empty()
    }
}

/// What one operation of a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult<'a> {
    /// `get`
    Got(GetItem<'a>),
    /// `set`
    Set(SetItem<'a>),
    /// `delete`
    Deleted {
        /// The key.
        key: Key<'a>,
        /// Whether it had a value.
        deleted: bool,
    },
    /// `incr`
    Incremented(IncrementAnswer<'a>),
    /// `append`
    Appended {
        /// The key.
        key: Key<'a>,
        /// The value's new length in bytes.
        size: u64,
    },
    /// `expire`
    Expired {
        /// The key.
        key: Key<'a>,
        /// Whether it has a value.
        found: bool,
        /// How long it has left; none without an expiry.
        ttl_ms: Option<u64>,
    },
}

impl<'a> TtlAnswer<'a> {
    pub(in crate::rest) fn new(store: Store, key: &'a Key<'_>, entry: &Entry) -> TtlAnswer<'a> {
        TtlAnswer { key: key.borrow(), ttl_ms: store.ttl_ms(entry), expires_at_ms: entry.expires_at_ms }
    }
}

impl<'a> IncrementAnswer<'a> {
    /// None for a value that is no sum of the store's.
    pub(in crate::rest) fn new(store: Store, key: &'a Key<'_>, entry: &Entry) -> Option<IncrementAnswer<'a>> {
        let value = std::str::from_utf8(&entry.value).ok()?.parse().ok()?;
        Some(IncrementAnswer { key: key.borrow(), value, etag: store.etag(entry.revision) })
    }
}

impl<'a> OpResult<'a> {
    /// None where reply and command don't belong together.
    pub(in crate::rest) fn new(store: Store, command: &'a Command<'_>, reply: Reply) -> Option<OpResult<'a>> {
        match (command, reply) {
            (Command::Get { key }, Reply::Got { entry, .. }) => Some(OpResult::Got(GetItem::new(store, key, entry))),
            (Command::Set(set), Reply::Set { revision, .. }) => {
                Some(OpResult::Set(SetItem { key: set.key.borrow(), etag: store.etag(revision) }))
            }
            (Command::Delete(delete), Reply::Deleted { found, .. }) => {
                Some(OpResult::Deleted { key: delete.key.borrow(), deleted: found })
            }
            (Command::Modify(Modify { key, rule, .. }), Reply::Modified { entry, .. }) => match (rule, entry) {
                (Rule::Increment { .. }, Some(entry)) => {
                    IncrementAnswer::new(store, key, &entry).map(OpResult::Incremented)
                }
                (Rule::Append { .. }, Some(entry)) => {
                    Some(OpResult::Appended { key: key.borrow(), size: entry.value.len() as u64 })
                }
                (Rule::Expire { .. }, entry) => {
                    let ttl_ms = entry.as_ref().and_then(|entry| store.ttl_ms(entry));
                    Some(OpResult::Expired { key: key.borrow(), found: entry.is_some(), ttl_ms })
                }
                _ => None,
            },
            _ => None,
        }
    }
}

//! The vocabulary of kvd, shared by the engine, the wire and the client.
//!
//! Three words run through every layer, and each has one home here:
//!
//! | word | what it is | file |
//! |---|---|---|
//! | [`Command`] | what a client asks | `command` |
//! | [`Effect`] | what the store decided, deterministic and idempotent | `effect` |
//! | [`Reply`] | what the client is told | `reply` |
//!
//! Nothing in this crate does I/O, starts a thread, or reads a clock.

mod command;
mod effect;
mod error;
mod key;
mod limits;
mod reply;
mod revision;
mod value;

pub use command::{
    Check, Command, Condition, Cursor, Delete, ExpiryCondition, List, ListSorted, ListValues, Modify, OnFailure,
    Rollback, Rule, Set, Transaction, Transfer, Ttl,
};
pub use effect::{Effect, Reason};
pub use error::{Error, ItemFailure};
pub use key::{Key, KeyTooLong};
pub use limits::{KEY_BYTES_CEILING, LIST_ITEMS_DEFAULT, LIST_ITEMS_MAX, Limit, LimitExceeded, Limits, URL_BYTES_MAX};
pub use reply::{Entry, HistoryItem, Page, PageItem, Reply, SortedPage, Transferred};
pub use revision::{Epoch, Etag, Revision};
pub use value::{CONTENT_TYPE_BYTES_MAX, ContentType, InvalidContentType};

//! A client of kvd, async ([`Client`]) and [`blocking`].
//!
//! Keys are any bytes up to 64 KiB, values any bytes up to the server's limit (64 MiB by default). `make run` starts a server.
//!
//! ```no_run
//! use kvd_client::blocking;
//! use kvd_client::{Client, Error};
//!
//! fn main() -> Result<(), Error> {
//!     let client = blocking::Client::new(Client::new("http://127.0.0.1:7480")?)?;
//!
//!     client.set("greeting", "hello")?;
//!     let value = client.get("greeting")?;
//!     assert_eq!(value.expect("just set").bytes, "hello");
//!     assert_eq!(client.get("no such key")?, None);
//!     Ok(())
//! }
//! ```
//!
//! The async client has the same methods. Under tokio:
//!
//! ```no_run
//! use kvd_client::{Client, Condition, Error, Key, Set, Txn};
//!
//! # async fn tour() -> Result<(), Error> {
//! let client = Client::new("http://127.0.0.1:7480")?;
//!
//! // Only if nobody changed it since it was read.
//! let value = client.get("greeting").await?.expect("it was set before");
//! let tag = value.meta.etag.expect("only own writes in a transaction have none");
//! let if_unchanged = Condition::AnyOf(vec![tag]);
//! let set = Set { condition: if_unchanged, ..Set::new(Key::new(b"greeting")?, "hello again") };
//! match client.set_with(set).await {
//!     Ok(written) => println!("now at {}", written.etag.expect("it is committed")),
//!     Err(error) if error.code() == Some("precondition-failed") => println!("somebody was faster"),
//!     Err(error) => return Err(error),
//! }
//!
//! // Several keys, all of one revision.
//! let answer = client.get_many(&["greeting", "no such key"]).await?;
//! assert!(answer.items[0].found.is_some() && answer.items[1].found.is_none());
//!
//! // A counter that any number of clients may add to.
//! println!("visit {}", client.increment("visits", 1).await?.value);
//!
//! // Several changes, all or none, in one request.
//! client.transaction(&Txn::new().increment("a", -5).increment("b", 5)).await?;
//!
//! // Reads and writes that depend on one another: runs again when somebody else was faster.
//! client
//!     .update(|tx| async move {
//!         let draft = tx.get("draft").await?;
//!         if let Some(draft) = draft {
//!             tx.set("published", draft.bytes).await?;
//!             tx.delete("draft").await?;
//!         }
//!         Ok::<_, Error>(())
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! | to | there is |
//! |---|---|
//! | read, write, delete | [`get`](Client::get), [`set`](Client::set), [`delete`](Client::delete), and `_many` of each |
//! | write under a condition, for a time, with a type | [`set_with`](Client::set_with), [`delete_with`](Client::delete_with) |
//! | change what is there without reading it | [`increment`](Client::increment), [`append`](Client::append) |
//! | have values go by themselves | [`expire`](Client::expire), [`persist`](Client::persist), [`ttl`](Client::ttl) |
//! | do several things at once | [`transaction`](Client::transaction) of a [`Txn`] |
//! | read, decide, write | [`update`](Client::update); to read alone, of one revision, [`view`](Client::view) |
//! | follow changes | [`watch`](Client::watch) |
//! | walk over keys | [`pages`](Client::pages) |
//! | see and bring back old versions | [`history`](Client::history), [`get_at`](Client::get_at), [`rollback`](Client::rollback) |
//!
//! `examples/tour.rs` is more of it as a program.
//!
//! # Errors
//! [`Error`] says what happened, not only that something did: whether anything was sent, what the server's reasons are
//! ([`Error::code`]), whether the same call may succeed later ([`Error::is_retryable`]).
//!
//! # Retries
//! No write is ever sent twice by itself. When the connection breaks or the time is over before the answer has come,
//! [`Error::outcome_is_unknown`] says that the change may have been made; a write under a condition that it makes false can
//! then be repeated without harm. What is tried again by itself: [`update`](Client::update) after a conflict, since then
//! nothing has happened; the commit of an interactive transaction whose answer got lost, since the server gives it again; a
//! [`watch`](Client::watch) that broke off.

mod address;
mod answer;
pub mod blocking;
mod client;
mod error;
mod modify;
mod request;
mod retry;
mod transport;
mod tx;
mod txn;
mod verbs;
mod versions;
mod watch;

pub use bytes::Bytes;
pub use client::{Builder, Client, Deleted, ListOptions, Pages, Value, Written};
pub use error::{Cause, Error};
pub use http::StatusCode;
pub use kvd_types::{
    Command, Condition, ContentType, Delete, Epoch, Etag, HistoryItem, InvalidContentType, Key, KeyTooLong, ListValues,
    Modify, Revision, Rule, Set, Ttl,
};
pub use kvd_wire::rest::batch::{
    BeginAnswer, DeletePrefixAnswer, DurabilityStats, Found, GetItem, HistoryAnswer, IncrementAnswer, InfoAnswer,
    InfoLimits, ItemMeta, ListAnswer, ListItem, MemoryStats, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer,
    OpResult, OperationStats, SetItem, StatsAnswer, TransactionAnswer, TtlAnswer, WatchCommit, WatchEvent, WatchLagged,
};
pub use kvd_wire::rest::problem::{ItemProblem, LimitHit, Problem};
pub use kvd_wire::rest::transaction::Mode;
pub use tx::Tx;
pub use txn::Txn;
pub use watch::{Watch, WatchOptions, Watched};

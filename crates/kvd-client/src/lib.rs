//! A client of kvd, async ([`Client`]) and [`blocking`].
//!
//! Keys are any bytes up to 64 KiB, values any bytes up to the server's limit (64 MiB by default).
//!
//! ```no_run
//! use kvd_client::{Client, Condition, Error, Key, Set};
//!
//! # async fn tour() -> Result<(), Error> {
//! let client = Client::new("http://127.0.0.1:7480")?;
//!
//! client.set("greeting", "hello").await?;
//! let value = client.get("greeting").await?.expect("just set");
//! assert_eq!(value.bytes, "hello");
//!
//! // Only if nobody changed it since it was read.
//! let if_unchanged = Condition::AnyOf(vec![value.meta.etag]);
//! let set = Set { condition: if_unchanged, ..Set::new(Key::new(b"greeting")?, "hello again") };
//! match client.set_with(set).await {
//!     Ok(written) => println!("now at {}", written.etag),
//!     Err(error) if error.code() == Some("precondition-failed") => println!("somebody was faster"),
//!     Err(error) => return Err(error),
//! }
//!
//! // All of one revision.
//! let answer = client.get_many(&["greeting", "no such key"]).await?;
//! assert!(answer.items[0].found.is_some() && answer.items[1].found.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! `examples/tour.rs` is the same and more as a program.
//!
//! # Writes
//! No write is ever sent twice. When the connection breaks or the time is over before the answer has come,
//! [`Error::outcome_is_unknown`] says that the change may have been made. A write under a condition can be repeated after it
//! without harm.

mod address;
mod answer;
pub mod blocking;
mod client;
mod error;
mod request;
mod transport;

pub use bytes::Bytes;
pub use client::{Builder, Client, Deleted, ListOptions, Pages, Value, Written};
pub use error::{Cause, Error};
pub use http::StatusCode;
pub use kvd_types::{
    Condition, ContentType, Delete, Epoch, Etag, InvalidContentType, Key, KeyTooLong, ListValues, Revision, Set,
};
pub use kvd_wire::rest::batch::{
    DurabilityStats, Found, GetItem, InfoAnswer, InfoLimits, ItemMeta, ListAnswer, ListItem, MemoryStats,
    MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, OperationStats, SetItem, StatsAnswer,
};
pub use kvd_wire::rest::problem::{ItemProblem, LimitHit, Problem};

//! The bodies of both directions: one schema, written as JSON or as CBOR. The server reads requests and writes answers with
//! it, the client the other way round.
//!
//! | file | what it holds |
//! |---|---|
//! | `request` | the bodies that `/v1/mget`, `/v1/mset`, `/v1/mdelete` take |
//! | `transaction` | those of `/v1/txn` and `/v1/tx` |
//! | `answer`, `answer_wire` | what batches and lists answer |
//! | `transaction_answer` | what transactions, and the single keys that have documents, answer |
//! | `history` | what `/v1/history` answers, and `/v1/rollback` takes |
//! | `commit` | what one event of `/v1/watch` holds |
//! | `report` | `/v1/stats` and `/v1/info` |
//! | `refusal` | problems |
//! | `item`, `field` | their items, and what single fields hold: bytes as they are or in base64, entity tags ... |
//! | `bounded` | arrays of at most so many items |
//! | `codec`, `cbor` | schema to bytes and back, and where in a body an error is |

mod answer;
mod answer_wire;
mod bounded;
mod cbor;
mod codec;
mod commit;
mod field;
mod history;
mod item;
mod refusal;
mod report;
mod request;
mod transaction;
mod transaction_answer;

pub use answer::{
    Found, GetItem, ItemMeta, ListAnswer, ListItem, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, SetItem,
};
pub use codec::InvalidMessage;
pub use commit::{WatchCommit, WatchEvent, WatchLagged};
pub use history::{HistoryAnswer, encode_rollback};
pub use report::{DurabilityStats, InfoAnswer, InfoLimits, MemoryStats, OperationStats, StatsAnswer, WatchStats};
pub use request::{BatchRequest, NoBatchForm, encode_request};
pub use transaction::encode_begin;
pub use transaction_answer::{
    BeginAnswer, CommitAnswer, DeletePrefixAnswer, IncrementAnswer, OpResult, TransactionAnswer, TtlAnswer,
};

pub(super) use codec::encode;
pub(super) use commit::EventWire;
pub(super) use history::decode_rollback;
pub(super) use refusal::encode_problem;
pub(super) use request::{Bounds, Verb, decode_request};
pub(super) use transaction::{CHECKS, ELSE, OPS, decode_begin};

/// The two spellings of the one schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text; bytes that are no UTF-8 travel as base64.
    #[default]
    Json,
    /// Binary; keys and values are byte strings.
    Cbor,
}

impl Format {
    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Cbor => "application/cbor",
        }
    }
}

/// An answer's body: written by the server, read by the client.
pub trait Message: Sized {
    /// `base64` is `?enc=base64`: values always as `value_b64`.
    fn encode(&self, format: Format, base64: bool) -> Vec<u8>;

    /// Reads what [`encode`](Message::encode) wrote. Unknown fields are passed over, so that an older client understands a
    /// newer server.
    ///
    /// # Errors
    /// [`InvalidMessage`] when it is something else.
    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage>;
}

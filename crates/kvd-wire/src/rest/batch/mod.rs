//! The bodies of both directions: one schema, written as JSON or as CBOR. The server reads requests and writes answers with
//! it, the client the other way round.
//!
//! | file | what it holds |
//! |---|---|
//! | `request` | the bodies that `/v1/mget`, `/v1/mset`, `/v1/mdelete` take |
//! | `answer`, `answer_wire` | what they and the list answer |
//! | `history` | what `/v1/history` answers, and `/v1/rollback` takes |
//! | `report` | `/v1/stats` and `/v1/info` |
//! | `refusal` | problems |
//! | `item`, `field` | their items, and what single fields hold: bytes as they are or in base64, entity tags ... |
//! | `codec`, `cbor` | schema to bytes and back, and where in a body an error is |

mod answer;
mod answer_wire;
mod cbor;
mod codec;
mod field;
mod history;
mod item;
mod refusal;
mod report;
mod request;

pub use answer::{
    Found, GetItem, ItemMeta, ListAnswer, ListItem, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, SetItem,
};
pub use codec::InvalidMessage;
pub use history::{HistoryAnswer, encode_rollback};
pub use report::{DurabilityStats, InfoAnswer, InfoLimits, MemoryStats, OperationStats, StatsAnswer};
pub use request::{BatchRequest, NoBatchForm, encode_request};

pub(super) use history::decode_rollback;
pub(super) use refusal::encode_problem;
pub(super) use request::{Bounds, Verb, decode_request};

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

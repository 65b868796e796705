//! The bodies of `/v1/history` and `/v1/rollback`. What a version is is said in `kvd-types`.

use std::marker::PhantomData;

use kvd_types::{HistoryItem, Key, Reason, Revision};
use serde::{Deserialize, Serialize};

use super::codec::{InvalidMessage, decode, decode_seed, encode};
use super::field::{Base64, Object, Plain, pair, unpair};
use super::{Format, Message};
use crate::rest::problem::Problem;

/// The answer to `GET /v1/history/{key}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryAnswer<'a> {
    /// The key.
    pub key: Key<'a>,
    /// Newest first.
    pub items: Vec<HistoryItem>,
}

#[derive(Serialize, Deserialize)]
struct HistoryWire<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    items: Vec<VersionWire>,
}

#[derive(Serialize, Deserialize)]
struct VersionWire {
    revision: u64,
    op: Op,
    size: u64,
    /// Null where it was not kept.
    time_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Set,
    Delete,
    Expire,
    Evict,
}

impl VersionWire {
    fn of(item: &HistoryItem) -> VersionWire {
        let op = match item.gone {
            None => Op::Set,
            Some(Reason::Asked) => Op::Delete,
            Some(Reason::Expired) => Op::Expire,
            Some(Reason::Evicted) => Op::Evict,
        };
        VersionWire { revision: item.revision.0, op, size: item.size, time_ms: item.time_ms }
    }

    fn into_item(self) -> HistoryItem {
        let gone = match self.op {
            Op::Set => None,
            Op::Delete => Some(Reason::Asked),
            Op::Expire => Some(Reason::Expired),
            Op::Evict => Some(Reason::Evicted),
        };
        HistoryItem { revision: Revision(self.revision), gone, size: self.size, time_ms: self.time_ms }
    }
}

impl Message for HistoryAnswer<'_> {
    fn encode(&self, format: Format, _base64: bool) -> Vec<u8> {
        let (key, key_b64) = pair(self.key.as_bytes(), format, false);
        encode(format, &HistoryWire { key, key_b64, items: self.items.iter().map(VersionWire::of).collect() })
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let HistoryWire { key, key_b64, items } = decode(format, body)?;
        let key =
            unpair((key, key_b64)).ok_or_else(|| InvalidMessage::invalid("#", "`key` or `key_b64` is missing"))?;
        let key = Key::new(key.into_owned()).map_err(|why| InvalidMessage::invalid("#", why.to_string()))?;
        Ok(HistoryAnswer { key, items: items.into_iter().map(VersionWire::into_item).collect() })
    }
}

/// What `POST /v1/rollback/{key}` takes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackWire {
    to_revision: u64,
}

/// The body of a rollback, for clients.
pub fn encode_rollback(to: Revision, format: Format) -> Vec<u8> {
    encode(format, &RollbackWire { to_revision: to.0 })
}

/// The revision in a rollback's body.
pub(crate) fn decode_rollback(format: Format, body: &[u8]) -> Result<Revision, Problem> {
    let Object(RollbackWire { to_revision }) = decode_seed(format, body, || PhantomData)?;
    Ok(Revision(to_revision))
}

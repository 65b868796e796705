//! How answers are written: one wire type for every item and one for every answer that has items, of which each answer has
//! some of the fields. What the fields mean is said in `answer`.

use std::borrow::Cow;

use bytes::Bytes;
use kvd_types::{Etag, Key, Revision};
use serde::{Deserialize, Serialize};

use super::answer::{
    Found, GetItem, ItemMeta, ListAnswer, ListItem, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, SetItem,
};
use super::codec::{InvalidMessage, decode, encode};
use super::commit::WatchLagged;
use super::field::{Base64, EtagText, MediaType, Plain, PlainOrNumber, pair, present, unpair};
use super::report::{InfoAnswer, StatsAnswer};
use super::transaction_answer::{
    BeginAnswer, CommitAnswer, DeletePrefixAnswer, IncrementAnswer, OpResult, TransactionAnswer, TtlAnswer,
};
use super::{Format, Message};

#[derive(Default, Serialize, Deserialize)]
struct ItemWire<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<PlainOrNumber<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_b64: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<EtagText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// `null` says that there is no expiry, where that is what was asked.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<MediaType>,
}

#[derive(Default, Serialize, Deserialize)]
struct AnswerWire<'a> {
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<u64>,
    #[serde(borrow)]
    items: Vec<ItemWire<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    prefixes: Option<Vec<Plain<'a>>>,
    /// Those that JSON can't write as text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    prefixes_b64: Option<Vec<Base64<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cow<'a, str>>,
}

impl<'a> ItemWire<'a> {
    fn new(key: &'a Key<'_>, format: Format) -> ItemWire<'a> {
        let (key, key_b64) = pair(key.as_bytes(), format, false);
        ItemWire { key, key_b64, ..ItemWire::default() }
    }

    fn with_version(self, etag: Option<Etag>) -> ItemWire<'a> {
        ItemWire { revision: etag.map(|etag| etag.revision.0), etag: etag.map(EtagText), ..self }
    }

    fn with_meta(self, meta: &ItemMeta) -> ItemWire<'a> {
        let (size, content_type) = (Some(meta.size), Some(MediaType::new(&meta.content_type)));
        ItemWire { size, ttl_ms: meta.ttl_ms.map(Some), content_type, ..self.with_version(meta.etag) }
    }

    fn with_value(self, bytes: &'a [u8], format: Format, base64: bool) -> ItemWire<'a> {
        let (value, value_b64) = pair(bytes, format, base64);
        ItemWire { value: value.map(PlainOrNumber::Plain), value_b64, ..self }
    }

    fn of_get(item: &'a GetItem<'_>, format: Format, base64: bool) -> ItemWire<'a> {
        let wire = ItemWire { found: Some(item.found.is_some()), ..ItemWire::new(&item.key, format) };
        match &item.found {
            None => wire,
            Some(Found { meta, value }) => wire.with_meta(meta).with_value(value, format, base64),
        }
    }

    fn of_set(item: &'a SetItem<'_>, format: Format) -> ItemWire<'a> {
        ItemWire::new(&item.key, format).with_version(item.etag)
    }

    fn of_list(item: &'a ListItem, format: Format, base64: bool) -> ItemWire<'a> {
        let wire = ItemWire::new(&item.key, format);
        let wire = item.meta.iter().fold(wire, ItemWire::with_meta);
        item.value.iter().fold(wire, |wire, value| wire.with_value(value, format, base64))
    }

    fn of_op(result: &'a OpResult<'_>, format: Format, base64: bool) -> ItemWire<'a> {
        match result {
            OpResult::Got(item) => ItemWire::of_get(item, format, base64),
            OpResult::Set(item) => ItemWire::of_set(item, format),
            OpResult::Deleted { key, deleted } => ItemWire { deleted: Some(*deleted), ..ItemWire::new(key, format) },
            OpResult::Incremented(answer) => ItemWire::of_increment(answer, format),
            OpResult::Appended { key, size } => ItemWire { size: Some(*size), ..ItemWire::new(key, format) },
            OpResult::Expired { key, found, ttl_ms } => {
                ItemWire { found: Some(*found), ttl_ms: Some(*ttl_ms), ..ItemWire::new(key, format) }
            }
        }
    }

    fn of_increment(answer: &'a IncrementAnswer<'_>, format: Format) -> ItemWire<'a> {
        let value = Some(PlainOrNumber::Number(answer.value));
        ItemWire { value, ..ItemWire::new(&answer.key, format).with_version(answer.etag) }
    }

    fn take_key(&mut self) -> Result<Key<'static>, InvalidMessage> {
        let bytes = unpair((self.key.take(), self.key_b64.take())).ok_or_else(|| lacks("`key` or `key_b64`"))?;
        key_of(bytes, "#/items")
    }

    fn take_value(&mut self) -> Option<Bytes> {
        let plain = self.value.take().and_then(PlainOrNumber::plain);
        unpair((plain, self.value_b64.take())).map(|bytes| Bytes::from(bytes.into_owned()))
    }

    fn etag(&self) -> Option<Etag> {
        self.etag.map(|EtagText(tag)| tag)
    }

    fn take_meta(&mut self) -> Result<ItemMeta, InvalidMessage> {
        Ok(ItemMeta {
            etag: self.etag(),
            size: self.size.ok_or_else(|| lacks("`size`"))?,
            ttl_ms: self.ttl_ms.flatten(),
            content_type: self.content_type.take().and_then(MediaType::stored),
        })
    }

    fn into_get(mut self) -> Result<GetItem<'static>, InvalidMessage> {
        let key = self.take_key()?;
        let found = if self.found.ok_or_else(|| lacks("`found`"))? {
            let value = self.take_value().ok_or_else(|| lacks("`value` or `value_b64`"))?;
            Some(Found { meta: self.take_meta()?, value })
        } else {
            None
        };
        Ok(GetItem { key, found })
    }

    fn into_set(mut self) -> Result<SetItem<'static>, InvalidMessage> {
        Ok(SetItem { key: self.take_key()?, etag: self.etag() })
    }

    fn into_increment(mut self) -> Result<IncrementAnswer<'static>, InvalidMessage> {
        match self.value {
            Some(PlainOrNumber::Number(value)) => {
                Ok(IncrementAnswer { key: self.take_key()?, value, etag: self.etag() })
            }
            _ => Err(lacks("a number as its `value`")),
        }
    }

    /// By the fields that are there: each operation answers others.
    fn into_op(mut self) -> Result<OpResult<'static>, InvalidMessage> {
        if let Some(deleted) = self.deleted {
            return Ok(OpResult::Deleted { key: self.take_key()?, deleted });
        }
        match (self.found, &self.etag, self.ttl_ms, self.size) {
            (Some(found), None, Some(ttl_ms), _) => Ok(OpResult::Expired { key: self.take_key()?, found, ttl_ms }),
            (Some(_), ..) => self.into_get().map(OpResult::Got),
            (None, None, _, Some(size)) => Ok(OpResult::Appended { key: self.take_key()?, size }),
            (None, ..) if self.value.is_some() => self.into_increment().map(OpResult::Incremented),
            (None, ..) => self.into_set().map(OpResult::Set),
        }
    }

    fn into_list(mut self) -> Result<ListItem, InvalidMessage> {
        let key = self.take_key()?;
        let meta = if self.etag.is_some() { Some(self.take_meta()?) } else { None };
        Ok(ListItem { key, meta, value: self.take_value() })
    }
}

fn key_of(bytes: Cow<'_, [u8]>, place: &'static str) -> Result<Key<'static>, InvalidMessage> {
    Key::new(bytes.into_owned()).map_err(|why| InvalidMessage::invalid(place, why.to_string()))
}

fn lacks(what: &str) -> InvalidMessage {
    InvalidMessage::invalid("#/items", format!("an item lacks {what}"))
}

impl Message for GetItem<'_> {
    fn encode(&self, format: Format, base64: bool) -> Vec<u8> {
        encode(format, &ItemWire::of_get(self, format, base64))
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        decode::<ItemWire<'_>>(format, body)?.into_get()
    }
}

/// One key that was written, by itself: the answer to a rollback.
impl Message for SetItem<'_> {
    fn encode(&self, format: Format, _base64: bool) -> Vec<u8> {
        encode(format, &ItemWire::of_set(self, format))
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        decode::<ItemWire<'_>>(format, body)?.into_set()
    }
}

impl Message for ListItem {
    fn encode(&self, format: Format, base64: bool) -> Vec<u8> {
        encode(format, &ItemWire::of_list(self, format, base64))
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        decode::<ItemWire<'_>>(format, body)?.into_list()
    }
}

impl Message for MultiGetAnswer<'_> {
    fn encode(&self, format: Format, base64: bool) -> Vec<u8> {
        let items = self.items.iter().map(|item| ItemWire::of_get(item, format, base64)).collect();
        encode(format, &AnswerWire { revision: self.revision.0, items, ..AnswerWire::default() })
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let wire: AnswerWire<'_> = decode(format, body)?;
        let items = wire.items.into_iter().map(ItemWire::into_get).collect::<Result<_, _>>()?;
        Ok(MultiGetAnswer { revision: Revision(wire.revision), items })
    }
}

impl Message for MultiSetAnswer<'_> {
    fn encode(&self, format: Format, _base64: bool) -> Vec<u8> {
        let items = self.items.iter().map(|item| ItemWire::of_set(item, format)).collect();
        let (created, replaced) = (Some(self.created), Some(self.replaced));
        encode(format, &AnswerWire { revision: self.revision.0, created, replaced, items, ..AnswerWire::default() })
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let wire: AnswerWire<'_> = decode(format, body)?;
        let count = |count: Option<u64>| count.ok_or_else(|| InvalidMessage::invalid("#", "a count is missing"));
        Ok(MultiSetAnswer {
            revision: Revision(wire.revision),
            created: count(wire.created)?,
            replaced: count(wire.replaced)?,
            items: wire.items.into_iter().map(ItemWire::into_set).collect::<Result<_, _>>()?,
        })
    }
}

impl Message for ListAnswer {
    fn encode(&self, format: Format, base64: bool) -> Vec<u8> {
        let items = self.items.iter().map(|item| ItemWire::of_list(item, format, base64)).collect();
        let cursor = self.cursor.as_deref().map(Cow::Borrowed);
        let (prefixes, prefixes_b64) =
            self.prefixes.as_ref().map(|prefixes| pairs(prefixes, format)).unwrap_or_default();
        let revision = self.revision.0;
        encode(format, &AnswerWire { revision, items, prefixes, prefixes_b64, cursor, ..AnswerWire::default() })
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let wire: AnswerWire<'_> = decode(format, body)?;
        let items = wire.items.into_iter().map(ItemWire::into_list).collect::<Result<_, _>>()?;
        let prefixes = unpairs(wire.prefixes, wire.prefixes_b64)?;
        Ok(ListAnswer { revision: Revision(wire.revision), items, prefixes, cursor: wire.cursor.map(Cow::into_owned) })
    }
}

/// The answer to a transaction.
#[derive(Serialize, Deserialize)]
struct TransactionWire<'a> {
    committed: bool,
    branch: Branch,
    revision: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failed_checks: Vec<u64>,
    #[serde(borrow)]
    results: Vec<ItemWire<'a>>,
}

/// Which operations were carried out.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Branch {
    Ops,
    Else,
}

impl Message for TransactionAnswer<'_> {
    fn encode(&self, format: Format, base64: bool) -> Vec<u8> {
        let committed = self.is_committed();
        let branch = if committed { Branch::Ops } else { Branch::Else };
        let results = self.results.iter().map(|result| ItemWire::of_op(result, format, base64)).collect();
        let failed_checks = self.failed_checks.clone();
        let wire = TransactionWire { committed, branch, revision: self.revision.0, failed_checks, results };
        encode(format, &wire)
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let wire: TransactionWire<'_> = decode(format, body)?;
        if wire.committed != wire.failed_checks.is_empty() || wire.committed != (wire.branch == Branch::Ops) {
            return Err(InvalidMessage::invalid("#/branch", "the answer contradicts itself"));
        }
        let results = wire.results.into_iter().map(ItemWire::into_op).collect::<Result<_, _>>()?;
        let failed_checks = wire.failed_checks;
        Ok(TransactionAnswer { revision: Revision(wire.revision), failed_checks, results })
    }
}

impl Message for IncrementAnswer<'_> {
    fn encode(&self, format: Format, _base64: bool) -> Vec<u8> {
        encode(format, &ItemWire::of_increment(self, format))
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        decode::<ItemWire<'_>>(format, body)?.into_increment()
    }
}

/// The answer to a question for an expiry: it says so when there is none.
#[derive(Serialize, Deserialize)]
struct TtlWire<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    ttl_ms: Option<u64>,
    expires_at_ms: Option<u64>,
}

impl Message for TtlAnswer<'_> {
    fn encode(&self, format: Format, _base64: bool) -> Vec<u8> {
        let (key, key_b64) = pair(self.key.as_bytes(), format, false);
        encode(format, &TtlWire { key, key_b64, ttl_ms: self.ttl_ms, expires_at_ms: self.expires_at_ms })
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let TtlWire { key, key_b64, ttl_ms, expires_at_ms } = decode(format, body)?;
        let bytes = unpair((key, key_b64)).ok_or_else(|| lacks("`key` or `key_b64`"))?;
        Ok(TtlAnswer { key: key_of(bytes, "#/key")?, ttl_ms, expires_at_ms })
    }
}

/// Keys that stand in two arrays, by what they can be written as.
fn pairs<'a>(keys: &'a [Key<'_>], format: Format) -> (Option<Vec<Plain<'a>>>, Option<Vec<Base64<'a>>>) {
    let (mut plain, mut base64) = (Vec::new(), Vec::new());
    for key in keys {
        let (as_it_is, encoded) = pair(key.as_bytes(), format, false);
        plain.extend(as_it_is);
        base64.extend(encoded);
    }
    (Some(plain), (!base64.is_empty()).then_some(base64))
}

/// The keys of both arrays, sorted as they were; none where there is neither.
fn unpairs(
    plain: Option<Vec<Plain<'_>>>,
    base64: Option<Vec<Base64<'_>>>,
) -> Result<Option<Vec<Key<'static>>>, InvalidMessage> {
    if plain.is_none() && base64.is_none() {
        return Ok(None);
    }
    let plain = plain.into_iter().flatten().map(Plain::into_bytes);
    let all = plain.chain(base64.into_iter().flatten().map(Base64::into_bytes));
    let mut keys = all.map(|bytes| key_of(bytes, "#/prefixes")).collect::<Result<Vec<_>, _>>()?;
    keys.sort();
    Ok(Some(keys))
}

/// Answers without keys and values are written as they are.
macro_rules! plain_messages {
    ($($message:ty),*) => {$(
        impl Message for $message {
            fn encode(&self, format: Format, _base64: bool) -> Vec<u8> {
                encode(format, self)
            }

            fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
                decode(format, body)
            }
        }
    )*};
}

plain_messages!(MultiDeleteAnswer, StatsAnswer, InfoAnswer, BeginAnswer, CommitAnswer, DeletePrefixAnswer, WatchLagged);

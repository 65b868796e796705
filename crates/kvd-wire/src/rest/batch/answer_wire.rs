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
use super::field::{Base64, EtagText, MediaType, Plain, pair, unpair};
use super::report::{InfoAnswer, StatsAnswer};
use super::{Format, Message};

#[derive(Default, Serialize, Deserialize)]
struct ItemWire<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Plain<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_b64: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<EtagText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<MediaType>,
}

#[derive(Serialize, Deserialize)]
struct AnswerWire<'a> {
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<u64>,
    #[serde(borrow)]
    items: Vec<ItemWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cow<'a, str>>,
}

impl<'a> ItemWire<'a> {
    fn new(key: &'a Key<'_>, format: Format) -> ItemWire<'a> {
        let (key, key_b64) = pair(key.as_bytes(), format, false);
        ItemWire { key, key_b64, ..ItemWire::default() }
    }

    fn with_version(self, etag: Etag) -> ItemWire<'a> {
        ItemWire { revision: Some(etag.revision.0), etag: Some(EtagText(etag)), ..self }
    }

    fn with_meta(self, meta: &ItemMeta) -> ItemWire<'a> {
        let (size, content_type) = (Some(meta.size), Some(MediaType::new(&meta.content_type)));
        ItemWire { size, content_type, ..self.with_version(meta.etag) }
    }

    fn with_value(self, bytes: &'a [u8], format: Format, base64: bool) -> ItemWire<'a> {
        let (value, value_b64) = pair(bytes, format, base64);
        ItemWire { value, value_b64, ..self }
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

    fn take_key(&mut self) -> Result<Key<'static>, InvalidMessage> {
        let bytes = unpair((self.key.take(), self.key_b64.take())).ok_or_else(|| lacks("`key` or `key_b64`"))?;
        Key::new(bytes.into_owned()).map_err(|why| InvalidMessage::invalid("#/items", why.to_string()))
    }

    fn take_value(&mut self) -> Option<Bytes> {
        unpair((self.value.take(), self.value_b64.take())).map(|bytes| Bytes::from(bytes.into_owned()))
    }

    fn etag(&self) -> Result<Etag, InvalidMessage> {
        self.etag.map(|EtagText(tag)| tag).ok_or_else(|| lacks("`etag`"))
    }

    fn take_meta(&mut self) -> Result<ItemMeta, InvalidMessage> {
        Ok(ItemMeta {
            etag: self.etag()?,
            size: self.size.ok_or_else(|| lacks("`size`"))?,
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
        Ok(SetItem { key: self.take_key()?, etag: self.etag()? })
    }

    fn into_list(mut self) -> Result<ListItem, InvalidMessage> {
        let key = self.take_key()?;
        let meta = if self.etag.is_some() { Some(self.take_meta()?) } else { None };
        Ok(ListItem { key, meta, value: self.take_value() })
    }
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
        let wire = AnswerWire { revision: self.revision.0, created: None, replaced: None, items, cursor: None };
        encode(format, &wire)
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
        encode(format, &AnswerWire { revision: self.revision.0, created, replaced, items, cursor: None })
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
        encode(format, &AnswerWire { revision: self.revision.0, created: None, replaced: None, items, cursor })
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let wire: AnswerWire<'_> = decode(format, body)?;
        let items = wire.items.into_iter().map(ItemWire::into_list).collect::<Result<_, _>>()?;
        Ok(ListAnswer { revision: Revision(wire.revision), items, cursor: wire.cursor.map(Cow::into_owned) })
    }
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

plain_messages!(MultiDeleteAnswer, StatsAnswer, InfoAnswer);

//! One commit as `/v1/watch` shows it: what it holds, and how that is written. The server writes large values in pieces, by
//! `rest::watch`; the text is the same.

use std::borrow::Cow;

use bytes::Bytes;
use kvd_types::{ContentType, Effect, Etag, Key, Reason, Revision};
use serde::{Deserialize, Serialize};

use super::codec::{InvalidMessage, decode, encode};
use super::field::{Base64, EtagText, MediaType, Plain, RevisionDef, pair, unpair};
use super::{Format, Message};

/// One commit, of which a watch shows what is on its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchCommit {
    /// The commit's.
    pub revision: Revision,
    /// At least one; no key comes twice.
    pub events: Vec<WatchEvent<'static>>,
}

/// What a commit did to one key, or to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent<'a> {
    /// The key has this value from now on.
    Set {
        /// The key.
        key: Key<'a>,
        /// Its version.
        etag: Etag,
        /// None stands for [`ContentType::DEFAULT`].
        content_type: Option<ContentType>,
        /// When it goes by itself, in milliseconds since 1970; none for never.
        expires_at_ms: Option<u64>,
        /// The whole value.
        value: Bytes,
    },
    /// The key has no value from now on.
    Removed {
        /// The key.
        key: Key<'a>,
        /// Why it went.
        reason: Reason,
    },
    /// No key has a value from now on.
    Cleared,
}

/// The last event of a watch that was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchLagged {
    /// The newest commit that it has seen.
    #[serde(with = "RevisionDef")]
    pub revision: Revision,
    /// The oldest commit that is still kept: those between are not.
    #[serde(with = "RevisionDef")]
    pub oldest: Revision,
}

#[derive(Default, Serialize, Deserialize)]
pub(in crate::rest) struct EventWire<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<EtagText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<MediaType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    /// Last, so that it can be written when the rest is.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Plain<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_b64: Option<Base64<'a>>,
}

#[derive(Serialize, Deserialize)]
struct CommitWire<'a> {
    revision: u64,
    #[serde(borrow)]
    events: Vec<EventWire<'a>>,
}

const SET: &str = "set";
const CLEAR: &str = "clear";
const REMOVALS: [(Reason, &str); 3] =
    [(Reason::Asked, "delete"), (Reason::Expired, "expire"), (Reason::Evicted, "evict")];

impl<'a> WatchEvent<'a> {
    /// What an effect of the commit `etag` tells of is shown as.
    pub(in crate::rest) fn new(effect: &'a Effect<'_>, etag: Etag) -> WatchEvent<'a> {
        match effect {
            Effect::Put { key, value, content_type, expires_at_ms } => WatchEvent::Set {
                key: key.borrow(),
                etag,
                content_type: content_type.clone(),
                expires_at_ms: *expires_at_ms,
                value: Bytes::clone(value),
            },
            Effect::Delete { key, reason } => WatchEvent::Removed { key: key.borrow(), reason: *reason },
            Effect::Clear => WatchEvent::Cleared,
        }
    }
}

impl<'a> EventWire<'a> {
    /// All but the value.
    pub(in crate::rest) fn without_value(event: &'a WatchEvent<'_>, format: Format) -> EventWire<'a> {
        let named = |op: &'static str, key: &'a Key<'_>| {
            let (key, key_b64) = pair(key.as_bytes(), format, false);
            EventWire { op: Cow::Borrowed(op), key, key_b64, ..EventWire::default() }
        };
        match event {
            WatchEvent::Set { key, etag, content_type, expires_at_ms, value } => EventWire {
                etag: Some(EtagText(*etag)),
                size: Some(value.len() as u64),
                content_type: Some(MediaType::new(content_type)),
                expires_at_ms: *expires_at_ms,
                ..named(SET, key)
            },
            WatchEvent::Removed { key, reason } => {
                let (_, op) = REMOVALS.iter().find(|(known, _)| known == reason).expect("the table has all reasons");
                named(op, key)
            }
            WatchEvent::Cleared => EventWire { op: Cow::Borrowed(CLEAR), ..EventWire::default() },
        }
    }

    fn new(event: &'a WatchEvent<'_>, format: Format, base64: bool) -> EventWire<'a> {
        let wire = EventWire::without_value(event, format);
        let WatchEvent::Set { value, .. } = event else { return wire };
        let (value, value_b64) = pair(value, format, base64);
        EventWire { value, value_b64, ..wire }
    }

    fn into_event(self) -> Result<WatchEvent<'static>, InvalidMessage> {
        if self.op == CLEAR {
            return Ok(WatchEvent::Cleared);
        }
        let key = unpair((self.key, self.key_b64)).ok_or_else(|| lacks("`key` or `key_b64`"))?;
        let key = Key::new(key.into_owned()).map_err(|why| InvalidMessage::invalid("#/events", why.to_string()))?;
        if let Some((reason, _)) = REMOVALS.iter().find(|(_, op)| *op == self.op) {
            return Ok(WatchEvent::Removed { key, reason: *reason });
        }
        if self.op != SET {
            return Err(InvalidMessage::invalid("#/events", format!("`{}` is no `op` that is known", self.op)));
        }
        let value = unpair((self.value, self.value_b64)).ok_or_else(|| lacks("`value` or `value_b64`"))?;
        Ok(WatchEvent::Set {
            key,
            etag: self.etag.map(|EtagText(tag)| tag).ok_or_else(|| lacks("`etag`"))?,
            content_type: self.content_type.and_then(MediaType::stored),
            expires_at_ms: self.expires_at_ms,
            value: Bytes::from(value.into_owned()),
        })
    }
}

fn lacks(what: &str) -> InvalidMessage {
    InvalidMessage::invalid("#/events", format!("an event lacks {what}"))
}

impl Message for WatchCommit {
    fn encode(&self, format: Format, base64: bool) -> Vec<u8> {
        let events = self.events.iter().map(|event| EventWire::new(event, format, base64)).collect();
        encode(format, &CommitWire { revision: self.revision.0, events })
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let wire: CommitWire<'_> = decode(format, body)?;
        let events = wire.events.into_iter().map(EventWire::into_event).collect::<Result<_, _>>()?;
        Ok(WatchCommit { revision: Revision(wire.revision), events })
    }
}

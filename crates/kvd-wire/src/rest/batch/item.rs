//! One item of a batch: the fields it has on the wire, and the key, set or delete that they mean. What fields can't go
//! together is refused here; bodies as a whole are `request`'s business.

use std::borrow::Cow;

use bytes::Bytes;
use kvd_types::{Condition, Delete, Key, KeyTooLong, Limit, LimitExceeded, Revision, Set, Ttl};
use serde::{Deserialize, Serialize};

use super::Format;
use super::field::{
    Base64, EtagText, MediaType, Plain, True, TtlText, pair, present, present_object, present_value, unpair,
};
use super::request::NoBatchForm;
use crate::rest::problem::{ItemProblem, Problem};

/// Where an item stands, for the error about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) array: &'static str,
    pub(super) index: usize,
    pub(super) key_bytes_max: usize,
}

impl Place {
    /// JSON pointer to the item, or with `below` (`/if`) to a part of it.
    pub(super) fn pointer(self, below: &str) -> String {
        format!("#/{}/{}{below}", self.array, self.index)
    }

    pub(super) fn key<'a>(self, plain: Option<Plain<'a>>, base64: Option<Base64<'a>>) -> Result<Key<'a>, Problem> {
        let bytes = unpair((plain, base64))
            .ok_or_else(|| Problem::invalid_item(self.pointer(""), "an item has exactly one of `key` and `key_b64`"))?;
        Key::new(bytes).map_err(|KeyTooLong { actual }| {
            let (max, actual) = (self.key_bytes_max as u64, Some(actual as u64));
            let error = ItemProblem { pointer: Some(self.pointer("")), ..ItemProblem::default() };
            Problem::from(LimitExceeded { limit: Limit::KeyBytes, max, actual, item: Some(self.index) })
                .with_errors(vec![error])
        })
    }

    pub(super) fn value(self, plain: Option<Plain<'_>>, base64: Option<Base64<'_>>) -> Result<Bytes, Problem> {
        unpair((plain, base64)).map(owned).ok_or_else(|| {
            Problem::invalid_item(self.pointer(""), "this item has exactly one of `value` and `value_b64`")
        })
    }

    pub(super) fn condition(self, wire: Option<ConditionWire<'_>>) -> Result<Condition, Problem> {
        wire.map_or(Ok(Condition::Always), |wire| self.condition_at("/if", wire))
    }

    /// A condition whose fields stand in the map `below`.
    pub(super) fn condition_at(self, below: &str, wire: ConditionWire<'_>) -> Result<Condition, Problem> {
        wire.into_condition().ok_or_else(|| {
            let detail =
                "a condition has exactly one of `etag`, `revision`, `absent`, `exists`, `value` and `value_b64`";
            Problem::invalid_item(self.pointer(below), detail)
        })
    }
}

/// An item that names a key: to read or to delete.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyWire<'a> {
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "present_object",
        skip_serializing_if = "Option::is_none",
        rename = "if"
    )]
    condition: Option<ConditionWire<'a>>,
}

impl<'a> KeyWire<'a> {
    pub(super) fn of_get(key: &'a Key<'_>, format: Format) -> KeyWire<'a> {
        let (key, key_b64) = pair(key.as_bytes(), format, false);
        KeyWire { key, key_b64, condition: None }
    }

    pub(super) fn of_delete(delete: &'a Delete<'_>, format: Format) -> Result<KeyWire<'a>, NoBatchForm> {
        let condition = ConditionWire::of(&delete.condition, format)?;
        Ok(KeyWire { condition, ..KeyWire::of_get(&delete.key, format) })
    }

    /// As an element of `keys`, where nothing but the key is said.
    pub(super) fn bare(key: Plain<'a>) -> KeyWire<'a> {
        KeyWire { key: Some(key), key_b64: None, condition: None }
    }

    pub(super) fn into_get(self, place: Place) -> Result<Key<'a>, Problem> {
        if self.condition.is_some() {
            return Err(Problem::invalid_item(place.pointer("/if"), "a read takes no condition"));
        }
        place.key(self.key, self.key_b64)
    }

    pub(super) fn into_delete(self, place: Place) -> Result<Delete<'a>, Problem> {
        Ok(Delete { key: place.key(self.key, self.key_b64)?, condition: place.condition(self.condition)? })
    }
}

/// An item that gives a key a value.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetWire<'a> {
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    #[serde(borrow, default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    value: Option<Plain<'a>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    value_b64: Option<Base64<'a>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    content_type: Option<MediaType>,
    #[serde(
        borrow,
        default,
        deserialize_with = "present_object",
        skip_serializing_if = "Option::is_none",
        rename = "if"
    )]
    condition: Option<ConditionWire<'a>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    ttl: Option<TtlText>,
}

impl<'a> SetWire<'a> {
    pub(super) fn of(set: &'a Set<'_>, format: Format) -> Result<SetWire<'a>, NoBatchForm> {
        let (key, key_b64) = pair(set.key.as_bytes(), format, false);
        let (value, value_b64) = pair(&set.value, format, false);
        let content_type = set.content_type.is_some().then(|| MediaType::new(&set.content_type));
        let condition = ConditionWire::of(&set.condition, format)?;
        Ok(SetWire { key, key_b64, value, value_b64, content_type, condition, ttl: TtlText::of(set.ttl)? })
    }

    pub(super) fn into_set(self, place: Place) -> Result<Set<'a>, Problem> {
        let key = place.key(self.key, self.key_b64)?;
        let value = place.value(self.value, self.value_b64)?;
        let content_type = self.content_type.and_then(MediaType::stored);
        let ttl = self.ttl.map_or(Ttl::Default, |TtlText(ttl)| ttl);
        Ok(Set { key, value, content_type, ttl, condition: place.condition(self.condition)? })
    }
}

/// What must be true of a key for its write to happen. One of the fields is there.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionWire<'a> {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<EtagText>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) absent: Option<True>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) exists: Option<True>,
    #[serde(borrow, default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Plain<'a>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) value_b64: Option<Base64<'a>>,
}

impl<'a> ConditionWire<'a> {
    /// None for no condition.
    pub(super) fn of(condition: &'a Condition, format: Format) -> Result<Option<ConditionWire<'a>>, NoBatchForm> {
        let mut wire = ConditionWire::default();
        match condition {
            Condition::Always => return Ok(None),
            Condition::Absent => wire.absent = Some(True),
            Condition::Exists => wire.exists = Some(True),
            Condition::Revision(revision) => wire.revision = Some(revision.0),
            Condition::AnyOf(tags) => match tags.as_slice() {
                [tag] => wire.etag = Some(EtagText(*tag)),
                _ => return Err(NoBatchForm),
            },
            Condition::NoneOf(_) => return Err(NoBatchForm),
            Condition::Value(value) => (wire.value, wire.value_b64) = pair(value, format, false),
        }
        Ok(Some(wire))
    }

    fn into_condition(self) -> Option<Condition> {
        let value = |bytes| Condition::Value(owned(bytes));
        let given = [
            self.etag.map(|EtagText(tag)| Condition::AnyOf(vec![tag])),
            self.revision.map(|revision| Condition::Revision(Revision(revision))),
            self.absent.map(|True| Condition::Absent),
            self.exists.map(|True| Condition::Exists),
            self.value.map(Plain::into_bytes).map(value),
            self.value_b64.map(Base64::into_bytes).map(value),
        ];
        let mut given = given.into_iter().flatten();
        given.next().filter(|_| given.next().is_none())
    }
}

/// A value of its own: it outlives the body, and may not keep all of it in memory.
fn owned(bytes: Cow<'_, [u8]>) -> Bytes {
    Bytes::from(bytes.into_owned().into_boxed_slice())
}

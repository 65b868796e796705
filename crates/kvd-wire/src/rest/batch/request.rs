//! The bodies of `/v1/mget`, `/v1/mset` and `/v1/mdelete` to commands and back; those of transactions are `transaction`'s.
//! Unknown fields are refused, and the number of items is held while they are read. Whether a key or value is too long, or
//! comes twice, is for the store to say.

use std::fmt;
use std::marker::PhantomData;

use kvd_types::{Command, Delete, Key, Limit, Limits, OnFailure, Set, Transaction};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Format;
use super::bounded::{Room, once};
use super::codec::{decode_seed, encode};
use super::field::{Object, Plain};
use super::item::{KeyWire, Place, SetWire};
use super::transaction;
use crate::rest::problem::Problem;
use crate::rest::transaction::Mode;

/// What a batch does with its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Set,
    Delete,
    Transact,
}

/// A command as a batch: what to POST where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRequest {
    /// `/v1/mget`, `/v1/mset`, `/v1/mdelete` or `/v1/txn`.
    pub path: &'static str,
    /// In the format that was asked for.
    pub body: Vec<u8>,
}

/// The command has no batch form: a list, anything about old versions, an absolute expiry, or a condition that only headers can
/// express (several tags, or none of some).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this command can't be written as a batch")]
pub struct NoBatchForm;

/// A get, set or delete as a batch, one of a single key as a batch of one; what changes a key by a rule, and transactions, as a
/// transaction.
///
/// # Errors
/// [`NoBatchForm`].
pub fn encode_request(command: &Command<'_>, format: Format) -> Result<BatchRequest, NoBatchForm> {
    let (path, body) = match command {
        Command::Get { key } => ("/v1/mget", get_body(std::slice::from_ref(key), false, format)),
        Command::MultiGet { keys, require_all } => ("/v1/mget", get_body(keys, *require_all, format)),
        Command::Set(set) => ("/v1/mset", set_body(std::slice::from_ref(set), format)?),
        Command::MultiSet { sets } => ("/v1/mset", set_body(sets, format)?),
        Command::Delete(delete) => ("/v1/mdelete", delete_body(std::slice::from_ref(delete), false, format)?),
        Command::MultiDelete { deletes, require_all } => ("/v1/mdelete", delete_body(deletes, *require_all, format)?),
        Command::Modify(_) => {
            let commands = std::slice::from_ref(command);
            ("/v1/txn", transaction::encode(Mode::ReadWrite, &[], commands, None, format)?)
        }
        Command::Transaction(Transaction { checks, commands, otherwise, on_failure: OnFailure::Abort }) => {
            ("/v1/txn", transaction::encode(Mode::ReadWrite, checks, commands, otherwise.as_deref(), format)?)
        }
        Command::Transaction(Transaction { on_failure: OnFailure::Continue, .. })
        | Command::Peek { .. }
        | Command::Transfer(_)
        | Command::List(_)
        | Command::ListSorted(_)
        | Command::GetAt { .. }
        | Command::History { .. }
        | Command::Rollback(_)
        | Command::Clear => return Err(NoBatchForm),
    };
    Ok(BatchRequest { path, body })
}

fn get_body(keys: &[Key<'_>], require_all: bool, format: Format) -> Vec<u8> {
    let items = keys.iter().map(|key| KeyWire::of_get(key, format)).collect();
    encode(format, &BodyWire { items, require_all })
}

fn set_body(sets: &[Set<'_>], format: Format) -> Result<Vec<u8>, NoBatchForm> {
    let items = sets.iter().map(|set| SetWire::of(set, format)).collect::<Result<_, _>>()?;
    Ok(encode(format, &BodyWire { items, require_all: false }))
}

fn delete_body(deletes: &[Delete<'_>], require_all: bool, format: Format) -> Result<Vec<u8>, NoBatchForm> {
    let items = deletes.iter().map(|delete| KeyWire::of_delete(delete, format)).collect::<Result<_, _>>()?;
    Ok(encode(format, &BodyWire { items, require_all }))
}

/// A body to write.
#[derive(Serialize)]
struct BodyWire<T> {
    items: Vec<T>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    require_all: bool,
}

/// What bounds the reading of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    items_max: usize,
    pub(super) ops_max: usize,
    /// For the error about a key that is longer than any configuration allows.
    pub(super) key_bytes_max: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Bounds {
        Bounds {
            items_max: limits.batch_items_max,
            ops_max: limits.transaction_ops_max,
            key_bytes_max: limits.key_bytes_max,
        }
    }
}

/// The command in `body`, and the name of the array that its items came in.
pub(crate) fn decode_request(
    verb: Verb,
    format: Format,
    body: &[u8],
    bounds: Bounds,
) -> Result<(Command<'_>, &'static str), Problem> {
    if verb == Verb::Transact {
        return Ok((transaction::decode(format, body, bounds)?, transaction::OPS));
    }
    if verb == Verb::Set {
        let sets =
            convert(bounds, "items", decode_sets(format, body, bounds)?, |Object(item), place| item.into_set(place))?;
        return Ok((Command::MultiSet { sets }, "items"));
    }
    let (array, items, require_all) = decode_keys(format, body, bounds)?;
    let command = if verb == Verb::Get {
        Command::MultiGet {
            keys: convert(bounds, array, items, |Object(item), place| item.into_get(place))?,
            require_all,
        }
    } else {
        Command::MultiDelete {
            deletes: convert(bounds, array, items, |Object(item), place| item.into_delete(place))?,
            require_all,
        }
    };
    Ok((command, array))
}

pub(super) fn convert<W, T>(
    bounds: Bounds,
    array: &'static str,
    items: Vec<W>,
    one: impl Fn(W, Place) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let place = |index| Place { array, index, key_bytes_max: bounds.key_bytes_max };
    items.into_iter().enumerate().map(|(index, item)| one(item, place(index))).collect()
}

fn decode_sets(format: Format, body: &[u8], bounds: Bounds) -> Result<Vec<Object<SetWire<'_>>>, Problem> {
    match decode_body(format, body, bounds)? {
        Body { items: Some(items), keys: None, require_all: None } => Ok(items),
        Body { keys: Some(_), .. } => Err(Problem::invalid_item("#/keys", "a set has only `items`")),
        Body { require_all: Some(_), .. } => Err(Problem::invalid_item("#/require_all", "a set has only `items`")),
        Body { items: None, .. } => Err(Problem::invalid_item("#", "`items` is missing")),
    }
}

/// Name of the array, its items, and whether all keys must be there.
type Keys<'b> = (&'static str, Vec<Object<KeyWire<'b>>>, bool);

fn decode_keys(format: Format, body: &[u8], bounds: Bounds) -> Result<Keys<'_>, Problem> {
    let Body { items, keys, require_all } = decode_body(format, body, bounds)?;
    let (array, items) = match (items, keys) {
        (Some(items), None) => ("items", items),
        (None, Some(keys)) => ("keys", keys.into_iter().map(KeyWire::bare).map(Object).collect()),
        _ => return Err(Problem::invalid_item("#", "the body has exactly one of `items` and `keys`")),
    };
    Ok((array, items, require_all.unwrap_or(false)))
}

/// A body as it was read: not yet known is which of its fields may be there together.
struct Body<'b, T> {
    items: Option<Vec<T>>,
    keys: Option<Vec<Plain<'b>>>,
    require_all: Option<bool>,
}

fn decode_body<'b, T: Deserialize<'b>>(format: Format, body: &'b [u8], bounds: Bounds) -> Result<Body<'b, T>, Problem> {
    let room = Room::new(Limit::BatchItems, bounds.items_max);
    decode_seed(format, body, || BodySeed { room: &room, items: PhantomData }).map_err(|why| room.refusal(why))
}

struct BodySeed<'r, T> {
    room: &'r Room,
    items: PhantomData<T>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Items,
    Keys,
    RequireAll,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for BodySeed<'_, T> {
    type Value = Body<'de, T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for BodySeed<'_, T> {
    type Value = Body<'de, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with `items` or `keys`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut body = Body { items: None, keys: None, require_all: None };
        while let Some(field) = map.next_key()? {
            match field {
                Field::Items => once(&mut body.items, "items", map.next_value_seed(self.room.array())?)?,
                Field::Keys => once(&mut body.keys, "keys", map.next_value_seed(self.room.array())?)?,
                Field::RequireAll => once(&mut body.require_all, "require_all", map.next_value()?)?,
            }
        }
        Ok(body)
    }
}

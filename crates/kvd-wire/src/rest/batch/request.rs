//! The bodies of `/v1/mget`, `/v1/mset` and `/v1/mdelete` to commands and back. Unknown fields are refused, and the number of
//! items is held while they are read. Whether a key or value is too long, or comes twice, is for the store to say.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use kvd_types::{Command, Delete, Key, Limit, LimitExceeded, Limits, Set};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Format;
use super::codec::{decode_seed, encode};
use super::field::{Object, Plain};
use super::item::{KeyWire, Place, SetWire};
use crate::rest::problem::Problem;

/// What a batch does with its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Set,
    Delete,
}

/// A command as a batch: what to POST where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRequest {
    /// `/v1/mget`, `/v1/mset` or `/v1/mdelete`.
    pub path: &'static str,
    /// In the format that was asked for.
    pub body: Vec<u8>,
}

/// The command has no batch form: a list, anything about old versions, or a condition that only headers can express (several
/// tags, or none of some).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this command can't be written as a batch")]
pub struct NoBatchForm;

/// A get, set or delete as a batch; one of a single key becomes a batch of one.
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
        Command::List(_) | Command::Clear => return Err(NoBatchForm),
        Command::GetAt { .. } | Command::History { .. } | Command::Rollback(_) => return Err(NoBatchForm),
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
    /// For the error about a key that is longer than any configuration allows.
    key_bytes_max: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Bounds {
        Bounds { items_max: limits.batch_items_max, key_bytes_max: limits.key_bytes_max }
    }
}

/// The command in `body`, and the name of the array that its items came in.
pub(crate) fn decode_request(
    verb: Verb,
    format: Format,
    body: &[u8],
    bounds: Bounds,
) -> Result<(Command<'_>, &'static str), Problem> {
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

fn convert<W, T>(
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
    let exceeded = Cell::new(false);
    let room = Room { items_max: bounds.items_max, exceeded: &exceeded };
    decode_seed(format, body, || BodySeed { room, items: PhantomData }).map_err(|why| {
        if exceeded.get() {
            let max = bounds.items_max as u64;
            return LimitExceeded { limit: Limit::BatchItems, max, actual: None, item: None }.into();
        }
        Problem::from(why)
    })
}

/// How many items an array may have. Serde's errors are only text, so that this one is noted beside them.
#[derive(Clone, Copy)]
struct Room<'r> {
    items_max: usize,
    exceeded: &'r Cell<bool>,
}

struct BodySeed<'r, T> {
    room: Room<'r>,
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
                Field::Items => once(&mut body.items, "items", map.next_value_seed(ArraySeed::of(self.room))?)?,
                Field::Keys => once(&mut body.keys, "keys", map.next_value_seed(ArraySeed::of(self.room))?)?,
                Field::RequireAll => once(&mut body.require_all, "require_all", map.next_value()?)?,
            }
        }
        Ok(body)
    }
}

fn once<T, E: Error>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

/// An array of at most so many items.
struct ArraySeed<'r, T> {
    room: Room<'r>,
    items: PhantomData<T>,
}

impl<'r, T> ArraySeed<'r, T> {
    fn of(room: Room<'r>) -> Self {
        ArraySeed { room, items: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for ArraySeed<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ArraySeed<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
        // Grows as items come: the length that CBOR announces is only a claim.
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            if items.len() == self.room.items_max {
                self.room.exceeded.set(true);
                return Err(A::Error::custom("too many items"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

//! Arrays that hold only so many items, counted while they are read: what follows one too many is never looked at. Knows
//! nothing of what the items are.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use kvd_types::{Limit, LimitExceeded};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::codec::InvalidMessage;
use crate::rest::problem::Problem;

/// How many items an array of one body may have.
pub(super) struct Room {
    limit: Limit,
    items_max: usize,
    /// Serde's errors are only text, so that this one is noted beside them.
    is_exceeded: Cell<bool>,
}

impl Room {
    pub(super) fn new(limit: Limit, items_max: usize) -> Room {
        Room { limit, items_max, is_exceeded: Cell::new(false) }
    }

    /// An array of at most so many items.
    pub(super) fn array<T>(&self) -> ArraySeed<'_, T> {
        ArraySeed { room: self, items: PhantomData }
    }

    /// The answer to a body that could not be read.
    pub(super) fn refusal(&self, why: InvalidMessage) -> Problem {
        if self.is_exceeded.get() {
            let max = self.items_max as u64;
            return LimitExceeded { limit: self.limit, max, actual: None, item: None }.into();
        }
        Problem::from(why)
    }
}

/// Takes a field that may come once.
pub(super) fn once<T, E: Error>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

/// Reads an array.
pub(super) struct ArraySeed<'r, T> {
    room: &'r Room,
    items: PhantomData<T>,
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
                self.room.is_exceeded.set(true);
                return Err(A::Error::custom("too many items"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

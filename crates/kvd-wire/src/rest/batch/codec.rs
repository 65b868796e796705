//! The schema's types to bytes and back, in either format; and, when a body is not what it should be, where in it. Knows
//! nothing of what the types mean.

use std::marker::PhantomData;

use percent_encoding::utf8_percent_encode;
use serde::de::{DeserializeSeed, Deserializer};
use serde::{Deserialize, Serialize};
use serde_path_to_error::{Path, Segment, Track};

use super::Format;
use super::cbor::check_shape;
use crate::rest::code::MALFORMED_BODY;
use crate::rest::path::RESERVED;
use crate::rest::problem::Problem;

/// Most of a stranger's text that an error repeats, in bytes.
const QUOTE_BYTES_MAX: usize = 400;

/// A body is not what the protocol says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// It is not of its format at all.
    #[error("not {}: {detail}", .format.content_type())]
    Malformed {
        /// What it should be.
        format: Format,
        /// What the parser says.
        detail: String,
    },
    /// It is of its format, but not of the schema.
    #[error("{detail} (at {pointer})")]
    Invalid {
        /// JSON pointer to the part at fault, as a URI fragment.
        pointer: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl InvalidMessage {
    pub(super) fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> InvalidMessage {
        InvalidMessage::Invalid { pointer: pointer.into(), detail: detail.into() }
    }
}

impl From<InvalidMessage> for Problem {
    /// The answer to a request with such a body.
    fn from(why: InvalidMessage) -> Problem {
        match why {
            InvalidMessage::Malformed { .. } => Problem::new(MALFORMED_BODY, format!("the body is {why}")),
            InvalidMessage::Invalid { pointer, detail } => Problem::invalid_item(pointer, detail),
        }
    }
}

pub(in crate::rest) fn encode(format: Format, message: &impl Serialize) -> Vec<u8> {
    match format {
        Format::Json => serde_json::to_vec(message).expect("the schema has no maps but with text for keys"),
        Format::Cbor => minicbor_serde::to_vec(message).expect("writing to memory"),
    }
}

pub(super) fn decode<'b, T: Deserialize<'b>>(format: Format, body: &'b [u8]) -> Result<T, InvalidMessage> {
    decode_seed(format, body, || PhantomData)
}

/// Reads a whole body. The place of an error is found by a second, slower reading, so that good bodies don't pay for it.
pub(super) fn decode_seed<'b, S: DeserializeSeed<'b>>(
    format: Format,
    body: &'b [u8],
    seed: impl Fn() -> S,
) -> Result<S::Value, InvalidMessage> {
    let malformed = |detail: &dyn std::fmt::Display| InvalidMessage::Malformed { format, detail: brief(detail) };
    match format {
        Format::Json => {
            let read = |tracked: Option<&mut Track>| {
                let mut json = serde_json::Deserializer::from_slice(body);
                let value = deserialize(&mut json, seed(), tracked)?;
                json.end().map(|()| value)
            };
            let why = match read(None) {
                Ok(value) => return Ok(value),
                Err(why) if why.is_data() => why,
                Err(why) => return Err(malformed(&why)),
            };
            let mut track = Track::new();
            drop(read(Some(&mut track)));
            Err(InvalidMessage::invalid(pointer(&track.path()), brief(&why)))
        }
        Format::Cbor => {
            check_shape(body).map_err(|why| malformed(&why))?;
            let read = |tracked: Option<&mut Track>| {
                deserialize(&mut minicbor_serde::Deserializer::new(body), seed(), tracked)
            };
            read(None).map_err(|why| {
                let mut track = Track::new();
                drop(read(Some(&mut track)));
                InvalidMessage::invalid(pointer(&track.path()), brief(&why))
            })
        }
    }
}

fn deserialize<'b, D, S>(deserializer: D, seed: S, tracked: Option<&mut Track>) -> Result<S::Value, D::Error>
where
    D: Deserializer<'b>,
    S: DeserializeSeed<'b>,
{
    match tracked {
        None => seed.deserialize(deserializer),
        Some(track) => seed.deserialize(serde_path_to_error::Deserializer::new(deserializer, track)),
    }
}

/// RFC 6901, section 6: a pointer as a URI fragment. Ends before a name that is too long to repeat.
fn pointer(path: &Path) -> String {
    let mut pointer = String::from("#");
    for segment in path {
        let token = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => break,
        };
        if token.len() > QUOTE_BYTES_MAX {
            break;
        }
        pointer.push('/');
        pointer.extend(utf8_percent_encode(&token, RESERVED));
    }
    pointer
}

/// An error's text may repeat what it is about, and that comes from outside.
fn brief(why: &dyn std::fmt::Display) -> String {
    let mut text = why.to_string();
    if text.len() > QUOTE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(QUOTE_BYTES_MAX));
        text.push_str(" ...");
    }
    text
}

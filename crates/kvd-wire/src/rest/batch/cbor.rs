//! The shape that CBOR from outside must have before anything is read out of it: one item, definite lengths only, nested at
//! most [`DEPTH_MAX`] deep, nothing after it. Knows nothing of what the item means.

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};

/// Arrays and maps around one another.
const DEPTH_MAX: usize = 8;

/// Whether `body` is one item of that shape.
pub(super) fn check_shape(body: &[u8]) -> Result<(), Error> {
    let mut decoder = Decoder::new(body);
    // Items still to come in each array and map that is open; at the bottom, the body itself.
    let mut open: Vec<u64> = vec![1];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        let position = decoder.position();
        let inside = match decoder.datatype()? {
            Type::Array => decoder.array()?,
            Type::Map => decoder.map()?.map(|pairs| pairs.saturating_mul(2)),
            Type::ArrayIndef | Type::MapIndef | Type::BytesIndef | Type::StringIndef | Type::Break => {
                return Err(Error::message("only definite lengths are taken").at(position));
            }
            Type::Tag => {
                decoder.tag()?;
                continue;
            }
            _ => {
                decoder.skip()?;
                None
            }
        };
        *left -= 1;
        let Some(inside) = inside else { continue };
        if open.len() > DEPTH_MAX {
            return Err(Error::message(format!("nested more than {DEPTH_MAX} deep")).at(position));
        }
        open.push(inside);
    }
    if decoder.position() != body.len() {
        return Err(Error::message("something follows the one item").at(decoder.position()));
    }
    Ok(())
}

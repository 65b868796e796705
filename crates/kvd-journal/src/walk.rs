//! From the bytes of a commit back to its effects, one at a time, where they lie: for who looks at commits that are in the
//! journal already. Knows nothing of who that is.

use bytes::Bytes;
use kvd_types::Effect;

use crate::batch::{BATCH_HEAD_BYTES, EffectHead, Encoded, decode_effect_head, take};

/// Where one is among the effects of a batch; at first before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where the next effect begins, after the head of the batch.
    at: usize,
    /// Which of the large values comes next.
    shared: usize,
}

impl Encoded {
    /// The effects that were encoded.
    pub fn effects(&self) -> Vec<Effect<'static>> {
        let mut place = Place::default();
        std::iter::from_fn(|| self.next_effect(&mut place, |_| true).map(Effect::into_owned)).collect()
    }

    /// The next effect that is on a key that is `wanted`, or on all keys; none after the last. Of what it passes over it looks at
    /// the keys alone; of what it finds it copies small values.
    pub fn next_effect(&self, place: &mut Place, wanted: impl Fn(&[u8]) -> bool) -> Option<Effect<'_>> {
        place.at = place.at.max(self.time_bytes());
        let mut from = &self.bytes[BATCH_HEAD_BYTES + place.at..];
        while !from.is_empty() {
            let effect = decode_effect_head(&mut from).expect("it was encoded here");
            let value = self.take_value(&effect, &mut from, &mut place.shared);
            place.at = self.bytes.len() - BATCH_HEAD_BYTES - from.len();
            if effect.key().is_none_or(&wanted) {
                return Some(effect.with_value(|_| Ok(value.bytes())).expect("it was encoded here"));
            }
        }
        None
    }

    /// Takes the value that follows the head of `effect`, if it is one that has a value.
    fn take_value<'a>(&'a self, effect: &EffectHead<'_>, from: &mut &'a [u8], shared: &mut usize) -> Value<'a> {
        let EffectHead::Put { value_len, .. } = effect else { return Value::Small(&[]) };
        let at = self.bytes.len() - from.len();
        match self.shared.get(*shared) {
            Some((begin, value)) if *begin == at => {
                *shared += 1;
                Value::Large(value)
            }
            _ => Value::Small(take(from, *value_len).expect("it was encoded here")),
        }
    }
}

/// A value where it lies.
enum Value<'a> {
    Small(&'a [u8]),
    Large(&'a Bytes),
}

impl Value<'_> {
    fn bytes(&self) -> Bytes {
        match self {
            Value::Small(bytes) => Bytes::copy_from_slice(bytes),
            Value::Large(bytes) => Bytes::clone(bytes),
        }
    }
}

//! Effects as bytes, and back: one batch is what one commit did. Encoded before the commit has a revision, which is
//! stamped into its place later. Knows nothing of records, checksums or files.
//!
//! # Source
//! `docs/FORMAT.md`, "Batches".

use bytes::{Buf, BufMut, Bytes};
use kvd_types::{ContentType, Effect, Key, Reason, Revision};

use crate::batch_size::{BatchSize, TIME_BYTES, TooLarge};
use crate::room::Reservation;

/// What stands before the effects of a batch: its revision, their bytes, their count.
pub(crate) const BATCH_HEAD_BYTES: usize = 16;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const CLEAR: u8 = 3;
/// Stands before the effects of a commit whose time is kept.
const TIME: u8 = 4;

/// Values from this size on are not copied into a batch, and have memory of their own when they are read.
pub const COPIED_BYTES_MIN: usize = 16 << 10;

/// The flag of a put that has an expiry.
const HAS_EXPIRY: u8 = 1;

/// Which commit it was, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its revision.
    pub revision: Revision,
    /// The store's time, in milliseconds since 1970, where it was kept.
    pub time_ms: Option<u64>,
}

/// The effects of one commit as bytes, waiting for their revision.
#[derive(Debug)]
pub struct Encoded {
    /// Room for the head, then the effects without the large values.
    pub(crate) bytes: Vec<u8>,
    /// The large values, shared with whoever else has them: each with where in `bytes` it stands.
    pub(crate) shared: Vec<(usize, Bytes)>,
    /// All of it, in bytes.
    len: usize,
}

/// A commit on its way into the journal.
#[derive(Debug)]
pub struct Batch {
    /// The commit's.
    pub revision: Revision,
    /// What it did.
    pub encoded: Encoded,
    /// The room it takes.
    pub reservation: Reservation,
}

impl Encoded {
    /// Encodes all effects of one commit.
    ///
    /// # Errors
    /// [`TooLarge`] at 2 GiB.
    pub fn new<'a, 'k: 'a>(effects: impl IntoIterator<Item = &'a Effect<'k>>) -> Result<Encoded, TooLarge> {
        Encoded::at(None, effects)
    }

    /// The same, with the time of the commit where that is to be kept.
    ///
    /// # Errors
    /// As in `new`.
    pub fn at<'a, 'k: 'a>(
        time_ms: Option<u64>,
        effects: impl IntoIterator<Item = &'a Effect<'k>>,
    ) -> Result<Encoded, TooLarge> {
        let mut bytes = vec![0; BATCH_HEAD_BYTES];
        let (mut shared, mut shared_len) = (Vec::new(), 0);
        let mut count = 0_u32;
        if let Some(time_ms) = time_ms {
            bytes.put_slice(&[TIME, 0, 0, 0]);
            bytes.put_u64_le(time_ms);
            count += 1;
        }
        for effect in effects {
            if let Some(value) = encode_effect(&mut bytes, effect) {
                shared_len += value.len();
                shared.push((bytes.len(), value));
            }
            count += 1;
        }
        let len = bytes.len() + shared_len;
        BatchSize::of(len).check()?;
        let length = u32_len(len - BATCH_HEAD_BYTES);
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].copy_from_slice(&count.to_le_bytes());
        Ok(Encoded { bytes, shared, len })
    }

    /// How many effects it has.
    pub fn count(&self) -> usize {
        let count = self.bytes[12..16].try_into().expect("four bytes");
        u32::from_le_bytes(count) as usize - usize::from(self.time_bytes() > 0)
    }

    /// What stands before its effects: its time, if that is kept.
    pub(crate) fn time_bytes(&self) -> usize {
        if self.bytes.get(BATCH_HEAD_BYTES) == Some(&TIME) { TIME_BYTES } else { 0 }
    }

    /// Its size.
    pub fn size(&self) -> BatchSize {
        BatchSize::of(self.len)
    }

    /// Memory that it holds, in bytes, large values included.
    pub fn memory_bytes(&self) -> usize {
        self.own_bytes() + self.len - self.bytes.len()
    }

    /// The same without large values, which others have, too.
    pub fn own_bytes(&self) -> usize {
        size_of::<Encoded>() + self.bytes.capacity() + self.shared.capacity() * size_of::<(usize, Bytes)>()
    }

    /// Its bytes in the journal, without what surrounds a group.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Gives the batch its revision.
    pub(crate) fn stamp(&mut self, revision: Revision) {
        self.bytes[..8].copy_from_slice(&revision.0.to_le_bytes());
    }

    /// The batch as it was last stamped, in pieces.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let begins = [0].into_iter().chain(self.shared.iter().map(|(at, _)| *at));
        let ends = self.shared.iter().map(|(at, _)| *at).chain([self.bytes.len()]);
        let values = self.shared.iter().map(|(_, value)| &value[..]).chain([&[][..]]);
        let own = begins.zip(ends).map(|(begin, end)| &self.bytes[begin..end]);
        own.zip(values).flat_map(|(own, value)| [own, value]).filter(|part| !part.is_empty())
    }
}

/// Returns the value that is to follow, if it is so large that it isn't copied.
fn encode_effect(to: &mut Vec<u8>, effect: &Effect<'_>) -> Option<Bytes> {
    match effect {
        Effect::Put { key, value, content_type, expires_at_ms } => {
            encode_put_head(to, key, value, content_type.as_ref(), *expires_at_ms);
            if value.len() >= COPIED_BYTES_MIN {
                return Some(Bytes::clone(value));
            }
            to.put_slice(value);
        }
        Effect::Delete { key, reason } => {
            let reason = match reason {
                Reason::Asked => 0,
                Reason::Expired => 1,
                Reason::Evicted => 2,
            };
            to.put_slice(&[DELETE, reason, 0, 0]);
            to.put_u32_le(u32_len(key.len()));
            to.put_slice(key.as_bytes());
        }
        Effect::Clear => to.put_slice(&[CLEAR, 0, 0, 0]),
    }
    None
}

/// A put, as journal and snapshots have it.
pub(crate) fn encode_put(
    to: &mut Vec<u8>,
    key: &Key<'_>,
    value: &Bytes,
    content_type: Option<&ContentType>,
    expires_at_ms: Option<u64>,
) {
    encode_put_head(to, key, value, content_type, expires_at_ms);
    to.put_slice(value);
}

/// A put but for its value, which ends it.
fn encode_put_head(
    to: &mut Vec<u8>,
    key: &Key<'_>,
    value: &Bytes,
    content_type: Option<&ContentType>,
    expires_at_ms: Option<u64>,
) {
    let content_type = content_type.map_or(&[][..], |content_type| content_type.as_bytes());
    let flags = if expires_at_ms.is_some() { HAS_EXPIRY } else { 0 };
    let content_type_len = u8::try_from(content_type.len()).expect("ContentType has at most 255 bytes");
    to.put_slice(&[PUT, flags, content_type_len, 0]);
    to.put_u32_le(u32_len(key.len()));
    to.put_u32_le(u32_len(value.len()));
    if let Some(at) = expires_at_ms {
        to.put_u64_le(at);
    }
    to.put_slice(key.as_bytes());
    to.put_slice(content_type);
}

/// A length that does not fit never reaches the disk: a batch with it is too large.
fn u32_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// What becomes of values that are decoded.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    /// Each is copied: it may live for as long as it likes.
    Copied,
    /// Small ones are parts of these bytes, for who copies them anyway: one that is kept keeps all of the bytes.
    Shared(&'a Bytes),
}

impl Values<'_> {
    fn of(self, value: &[u8]) -> Bytes {
        match self {
            Values::Shared(whole) if value.len() < COPIED_BYTES_MIN => whole.slice_ref(value),
            _ => Bytes::copy_from_slice(value),
        }
    }
}

/// A batch of a group's body, whose effects are still bytes.
pub(crate) struct RawBatch<'a> {
    pub(crate) stamp: Stamp,
    /// Effects that follow, and their bytes.
    count: u32,
    bytes: &'a [u8],
}

impl<'a> RawBatch<'a> {
    /// The next batch; none at the body's end.
    ///
    /// # Errors
    /// What is wrong with it, although its checksum is right.
    pub(crate) fn next(body: &mut &'a [u8]) -> Result<Option<RawBatch<'a>>, &'static str> {
        if body.is_empty() {
            return Ok(None);
        }
        let mut head = take(body, BATCH_HEAD_BYTES)?;
        let (revision, length, mut count) = (Revision(head.get_u64_le()), head.get_u32_le(), head.get_u32_le());
        let mut bytes = take(body, length as usize)?;
        let has_time = count > 0 && bytes.first() == Some(&TIME);
        let time_ms = if has_time { Some(decode_time(&mut bytes)?) } else { None };
        count -= u32::from(has_time);
        Ok(Some(RawBatch { stamp: Stamp { revision, time_ms }, count, bytes }))
    }

    /// Its effects; the first that is wrong ends them.
    pub(crate) fn effects(mut self, values: Values<'a>) -> impl Iterator<Item = Result<Effect<'a>, &'static str>> {
        std::iter::from_fn(move || {
            if self.count == 0 {
                let rest = std::mem::take(&mut self.bytes);
                return (!rest.is_empty()).then_some(Err("bytes follow the last effect of a batch"));
            }
            self.count -= 1;
            let effect = decode_effect(values, &mut self.bytes);
            if effect.is_err() {
                (self.count, self.bytes) = (0, &[]);
            }
            Some(effect)
        })
    }

    /// Whether it is a clear, which is alone in its batch.
    pub(crate) fn is_clear(&self) -> bool {
        self.bytes.first() == Some(&CLEAR)
    }
}

fn decode_time(from: &mut &[u8]) -> Result<u64, &'static str> {
    match take(from, 4)? {
        [TIME, 0, 0, 0] => Ok(take(from, 8)?.get_u64_le()),
        _ => Err("a commit's time has an unknown flag"),
    }
}

/// The next effect.
///
/// # Errors
/// What is wrong with it, although its checksum is right.
pub(crate) fn decode_effect<'a>(values: Values<'_>, from: &mut &'a [u8]) -> Result<Effect<'a>, &'static str> {
    decode_effect_head(from)?.with_value(|len| take(from, len).map(|value| values.of(value)))
}

/// An effect as it lies in its batch, but for the value of a put, which follows.
pub(crate) enum EffectHead<'a> {
    Put { key: &'a [u8], content_type: &'a [u8], expires_at_ms: Option<u64>, value_len: usize },
    Delete { key: &'a [u8], reason: Reason },
    Clear,
}

impl<'a> EffectHead<'a> {
    /// None for what is on all keys.
    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        match self {
            EffectHead::Put { key, .. } | EffectHead::Delete { key, .. } => Some(key),
            EffectHead::Clear => None,
        }
    }

    /// The whole effect; `value` is asked for a put's, by its length.
    pub(crate) fn with_value(
        self,
        value: impl FnOnce(usize) -> Result<Bytes, &'static str>,
    ) -> Result<Effect<'a>, &'static str> {
        let decode_key = |key: &'a [u8]| Key::new(key).map_err(|_| "a key is too long");
        match self {
            EffectHead::Put { key, content_type, expires_at_ms, value_len } => {
                let key = decode_key(key)?;
                let content_type = match content_type {
                    [] => None,
                    text => Some(ContentType::new(text).map_err(|_| "a content type can't be one")?),
                };
                Ok(Effect::Put { key, value: value(value_len)?, content_type, expires_at_ms })
            }
            EffectHead::Delete { key, reason } => Ok(Effect::Delete { key: decode_key(key)?, reason }),
            EffectHead::Clear => Ok(Effect::Clear),
        }
    }
}

/// As `decode_effect`, but for a put's value, which is not looked at.
pub(crate) fn decode_effect_head<'a>(from: &mut &'a [u8]) -> Result<EffectHead<'a>, &'static str> {
    let (kind, flags, content_type_len, zero) = {
        let head = take(from, 4)?;
        (head[0], head[1], head[2] as usize, head[3])
    };
    if zero != 0 {
        return Err("an effect has an unknown flag");
    }
    match kind {
        PUT => {
            let mut lengths = take(from, 8)?;
            let (key_len, value_len) = (lengths.get_u32_le() as usize, lengths.get_u32_le() as usize);
            let expires_at_ms = match flags {
                0 => None,
                HAS_EXPIRY => Some(take(from, 8)?.get_u64_le()),
                _ => return Err("a put has an unknown flag"),
            };
            let (key, content_type) = (take(from, key_len)?, take(from, content_type_len)?);
            Ok(EffectHead::Put { key, content_type, expires_at_ms, value_len })
        }
        DELETE if content_type_len == 0 => {
            let reason = match flags {
                0 => Reason::Asked,
                1 => Reason::Expired,
                2 => Reason::Evicted,
                _ => return Err("a delete has an unknown reason"),
            };
            let key_len = take(from, 4)?.get_u32_le() as usize;
            Ok(EffectHead::Delete { key: take(from, key_len)?, reason })
        }
        CLEAR if flags == 0 && content_type_len == 0 => Ok(EffectHead::Clear),
        _ => Err("an effect is of an unknown kind"),
    }
}

/// Checks before anything is allocated, so that a wrong length costs nothing.
pub(crate) fn take<'a>(from: &mut &'a [u8], len: usize) -> Result<&'a [u8], &'static str> {
    from.split_off(..len).ok_or("a length reaches beyond its record")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Place;

    fn key() -> impl Strategy<Value = Key<'static>> {
        vec(any::<u8>(), 0..40).prop_map(|bytes| Key::new(bytes).unwrap())
    }

    /// Some are so large that they are not copied.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            9 => vec(any::<u8>(), 0..300),
            1 => any::<u8>().prop_map(|byte| vec![byte; COPIED_BYTES_MIN]),
        ]
    }

    fn effect() -> impl Strategy<Value = Effect<'static>> {
        let content_type = prop_oneof![
            Just(None),
            Just(Some(ContentType::new(b"text/plain").unwrap())),
            Just(Some(ContentType::new(&[b'x'; 255]).unwrap())),
        ];
        let put = (key(), value(), content_type, any::<Option<u64>>()).prop_map(
            |(key, value, content_type, expires_at_ms)| Effect::Put {
                key,
                value: value.into(),
                content_type,
                expires_at_ms,
            },
        );
        let reason = prop_oneof![Just(Reason::Asked), Just(Reason::Expired), Just(Reason::Evicted)];
        let delete = (key(), reason).prop_map(|(key, reason)| Effect::Delete { key, reason });
        prop_oneof![4 => put, 2 => delete, 1 => Just(Effect::Clear)]
    }

    proptest! {
        #[test]
        fn batches_come_back_as_they_were(
            batches in vec((any::<u64>(), any::<Option<u64>>(), vec(effect(), 0..5)), 0..4),
        ) {
            let mut bytes = Vec::new();
            for (revision, time_ms, effects) in &batches {
                let mut encoded = Encoded::at(*time_ms, effects).unwrap();
                encoded.stamp(Revision(*revision));
                encoded.parts().for_each(|part| bytes.extend_from_slice(part));
            }
            let whole = Bytes::from(bytes);
            for values in [Values::Copied, Values::Shared(&whole)] {
                let mut from = &whole[..];
                for (revision, time_ms, effects) in &batches {
                    let batch = RawBatch::next(&mut from).unwrap().unwrap();
                    prop_assert_eq!(batch.stamp, Stamp { revision: Revision(*revision), time_ms: *time_ms });
                    prop_assert_eq!(batch.is_clear(), effects.first() == Some(&Effect::Clear));
                    prop_assert_eq!(&batch.effects(values).collect::<Result<Vec<_>, _>>().unwrap(), effects);
                }
                prop_assert!(RawBatch::next(&mut from).unwrap().is_none());
            }
        }

        #[test]
        fn the_size_told_before_is_enough_and_hardly_more(
            time_ms in any::<Option<u64>>(),
            effects in vec(effect(), 0..5),
        ) {
            let empty = if time_ms.is_some() { BatchSize::EMPTY.timed() } else { BatchSize::EMPTY };
            let size = effects.iter().fold(empty, |size, effect| match effect {
                Effect::Put { key, value, content_type, .. } => {
                    size.put(key.len(), value.len(), content_type.as_ref().map_or(0, |text| text.as_bytes().len()))
                }
                Effect::Delete { key, .. } => size.delete(key.len()),
                Effect::Clear => size.clear(),
            });
            let encoded = Encoded::at(time_ms, &effects).unwrap();
            let expiries_bytes = 8 * effects.len();
            prop_assert!((encoded.len()..=encoded.len() + expiries_bytes).contains(&size.bytes()));
            prop_assert_eq!(encoded.count(), effects.len());
            prop_assert_eq!(encoded.effects(), effects);
        }

        #[test]
        fn effects_are_found_by_their_keys_from_any_place(
            effects in vec(effect(), 0..6),
            wanted in any::<u8>(),
        ) {
            let encoded = Encoded::new(&effects).unwrap();
            let is_wanted = |key: &[u8]| key.len() as u8 % 3 == wanted % 3;
            let expected = effects.into_iter().filter(|effect| match effect {
                Effect::Put { key, .. } | Effect::Delete { key, .. } => is_wanted(key.as_bytes()),
                Effect::Clear => true,
            });
            let mut place = Place::default();
            for effect in expected {
                let mut again = place;
                let found = encoded.next_effect(&mut place, is_wanted);
                prop_assert_eq!(found.as_ref(), Some(&effect));
                // A place can be come back to.
                prop_assert_eq!(encoded.next_effect(&mut again, is_wanted), found);
            }
            prop_assert_eq!(encoded.next_effect(&mut place, is_wanted), None);
        }

        #[test]
        fn any_bytes_are_a_batch_or_an_error(bytes in vec(any::<u8>(), 0..100)) {
            if let Ok(Some(batch)) = RawBatch::next(&mut &bytes[..]) {
                batch.is_clear();
                batch.effects(Values::Copied).for_each(drop);
            }
        }

        #[test]
        fn a_batch_that_is_cut_is_an_error(effects in vec(effect(), 1..4), cut in any::<prop::sample::Index>()) {
            let encoded = Encoded::new(&effects).unwrap();
            let len = 1 + cut.index(encoded.len() - 1);
            let bytes: Vec<u8> = encoded.parts().flatten().copied().collect();
            prop_assert!(RawBatch::next(&mut &bytes[..len]).is_err());
        }
    }
}

//! The frame around everything in a journal or a snapshot: what it is, how long it is, and two checksums that only fit
//! this place in this file. Knows nothing of what the body says, nor of which record may follow which.
//!
//! The head has a checksum of its own, so that what it says of the journal's durable part counts even when a power cut
//! took its body.
//!
//! # Source
//! `docs/FORMAT.md`, "Records".

use bytes::{Buf, BufMut};
use kvd_types::{Epoch, Revision};

/// Bytes of a head.
pub(crate) const HEAD_BYTES: usize = 48;

/// Records begin at multiples of this; what is between is zeros.
pub(crate) const ALIGN: u64 = 8;

const ZEROS: [u8; ALIGN as usize] = [0; ALIGN as usize];

const CLEAN: u8 = 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Batches of consecutive revisions.
    Group = 1,
    /// Says how far the journal is durable, and nothing else.
    Mark = 2,
    /// The beginning of a run: revisions go on after this one's.
    Resume = 3,
    /// Keys of a snapshot.
    Entries = 4,
    /// The end of a snapshot, with its sums.
    Trailer = 5,
    /// Keys of a snapshot, with older versions. From format 2 on.
    Histories = 6,
    /// What a snapshot says of revisions. From format 2 on.
    Past = 7,
}

/// What a record says before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// Of a mark: nothing follows, the store was stopped in order.
    pub(crate) clean: bool,
    /// Bytes of the body, without its padding.
    pub(crate) body_len: u32,
    /// Of the body and its padding.
    pub(crate) body_sum: u32,
    /// Up to this offset of the file everything was durable when the record was written.
    pub(crate) synced: u64,
    /// A group's first revision; else the newest one so far.
    pub(crate) revision: Revision,
    /// The store's time.
    pub(crate) now_ms: u64,
    /// Batches, or entries.
    pub(crate) count: u32,
}

impl Head {
    /// A record without a body.
    pub(crate) fn bare(kind: Kind, synced: u64, revision: Revision, now_ms: u64) -> Head {
        Head { kind, clean: false, body_len: 0, body_sum: 0, synced, revision, now_ms, count: 0 }
    }

    /// The head as bytes, for this offset of this file.
    pub(crate) fn seal(&self, salt: Salt, offset: u64) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let mut to = &mut bytes[4..];
        to.put_u8(self.kind as u8);
        to.put_u8(if self.clean { CLEAN } else { 0 });
        to.put_u16_le(0);
        to.put_u32_le(self.body_len);
        to.put_u32_le(self.body_sum);
        to.put_u64_le(self.synced);
        to.put_u64_le(self.revision.0);
        to.put_u64_le(self.now_ms);
        to.put_u32_le(self.count);
        to.put_u32_le(0);
        let sum = crc32c::crc32c_append(salt.at(offset), &bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The head at this offset of this file, if there is one.
    pub(crate) fn parse(bytes: &[u8; HEAD_BYTES], salt: Salt, offset: u64) -> Option<Head> {
        // The cheap looks first: a search for heads asks at every place.
        let kind = match bytes[4] {
            1 => Kind::Group,
            2 => Kind::Mark,
            3 => Kind::Resume,
            4 => Kind::Entries,
            5 => Kind::Trailer,
            6 => Kind::Histories,
            7 => Kind::Past,
            _ => return None,
        };
        let clean = match bytes[5] {
            0 => false,
            CLEAN => true,
            _ => return None,
        };
        let mut from = &bytes[..];
        let sum = from.get_u32_le();
        if sum != crc32c::crc32c_append(salt.at(offset), from) {
            return None;
        }
        from.advance(4);
        Some(Head {
            kind,
            clean,
            body_len: from.get_u32_le(),
            body_sum: from.get_u32_le(),
            synced: from.get_u64_le(),
            revision: Revision(from.get_u64_le()),
            now_ms: from.get_u64_le(),
            count: from.get_u32_le(),
        })
    }

    /// Bytes from the head's begin to the next record's.
    pub(crate) fn record_bytes(&self) -> u64 {
        record_bytes(u64::from(self.body_len))
    }
}

/// Bytes of a record with a body of `body_len` bytes.
pub(crate) fn record_bytes(body_len: u64) -> u64 {
    HEAD_BYTES as u64 + body_len.next_multiple_of(ALIGN)
}

/// The zeros after a body of `body_len` bytes.
pub(crate) fn padding(body_len: u64) -> &'static [u8] {
    &ZEROS[..(body_len.next_multiple_of(ALIGN) - body_len) as usize]
}

/// What makes a file's checksums its own: a value that looks like a record, or a record of another file, never passes
/// for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u32);

impl Salt {
    /// Of a file: its store, its number among files of its kind, and a number that nobody outside can know.
    pub(crate) fn of(epoch: Epoch, number: u64, secret: u32) -> Salt {
        let mut bytes = [0; 16];
        let mut to = &mut bytes[..];
        to.put_u32_le(epoch.0);
        to.put_u64_le(number);
        to.put_u32_le(secret);
        Salt(crc32c::crc32c(&bytes))
    }

    fn at(self, offset: u64) -> u32 {
        crc32c::crc32c_append(self.0, &offset.to_le_bytes())
    }

    /// The checksum of a body, whose record begins at `offset`.
    pub(crate) fn sum<'a>(self, offset: u64, parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
        parts.into_iter().fold(self.at(offset), crc32c::crc32c_append)
    }
}

/// A secret for the file `number`, from what the caller brought.
///
/// # Source
/// The output function of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn secret(entropy: u64, number: u64) -> u32 {
    let mut z = entropy.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 32) as u32 ^ z as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            kind: Kind::Group,
            clean: false,
            body_len: 13,
            body_sum: 7,
            synced: 64,
            revision: Revision(1 << 40),
            now_ms: u64::MAX,
            count: 2,
        }
    }

    #[test]
    fn a_head_fits_its_place_alone() {
        let salt = Salt::of(Epoch(1), 2, 3);
        let bytes = head().seal(salt, 64);
        assert_eq!(Head::parse(&bytes, salt, 64), Some(head()));
        assert_eq!(Head::parse(&bytes, salt, 72), None);
        for other in [Salt::of(Epoch(2), 2, 3), Salt::of(Epoch(1), 3, 3), Salt::of(Epoch(1), 2, 4)] {
            assert_eq!(Head::parse(&bytes, other, 64), None);
        }
    }

    #[test]
    fn any_changed_bit_is_seen() {
        let salt = Salt::of(Epoch(1), 2, 3);
        for bit in 0..8 * HEAD_BYTES {
            let mut bytes = head().seal(salt, 64);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::parse(&bytes, salt, 64), None, "bit {bit}");
        }
    }

    #[test]
    fn records_end_at_multiples_of_eight() {
        for (body, record) in [(0, 48), (1, 56), (8, 56), (9, 64)] {
            assert_eq!(record_bytes(body), record);
            assert_eq!(HEAD_BYTES as u64 + body + padding(body).len() as u64, record);
        }
    }
}

//! One byte range of a value (RFC 9110, section 14). Other units and several ranges at once are ignored, as the RFC allows:
//! the answer is then the whole value.

use std::ops::Range;

use http::HeaderValue;

/// What one `Range: bytes=` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From this offset to the last one named, both included, or to the end.
    From { first: u64, last: Option<u64> },
    /// So many bytes at the end.
    Last(u64),
    /// No range at all, or one that ends before it begins.
    Invalid,
}

/// What is to be sent of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Slice(Range<usize>),
    Unsatisfiable,
}

impl ByteRange {
    /// None when the header is one to ignore.
    pub(crate) fn parse(value: &HeaderValue) -> Option<ByteRange> {
        let (unit, set) = value.to_str().ok()?.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") || set.contains(',') {
            return None;
        }
        Some(Self::parse_one(set.trim()).unwrap_or(ByteRange::Invalid))
    }

    fn parse_one(text: &str) -> Option<ByteRange> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            return Some(ByteRange::Last(number(last)?));
        }
        let first = number(first)?;
        let last = if last.is_empty() { None } else { Some(number(last)?) };
        if last.is_some_and(|last| last < first) {
            return None;
        }
        Some(ByteRange::From { first, last })
    }

    /// What this range is of a value of `len` bytes.
    pub(crate) fn of(self, len: usize) -> Part {
        // Lengths fit u64; what is cut to `len` fits usize again.
        let clamp = |position: u64| position.min(len as u64) as usize;
        match self {
            ByteRange::From { first, last } if first < len as u64 => {
                let end = last.map_or(len, |last| clamp(last.saturating_add(1)));
                Part::Slice(clamp(first)..end)
            }
            // The end of nothing is satisfiable, but Content-Range has no spelling for it.
            ByteRange::Last(count) if count > 0 && len == 0 => Part::Whole,
            ByteRange::Last(count) if count > 0 => Part::Slice(len - clamp(count)..len),
            ByteRange::From { .. } | ByteRange::Last(_) | ByteRange::Invalid => Part::Unsatisfiable,
        }
    }
}

/// A decimal number; one too big for any value counts as the biggest.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

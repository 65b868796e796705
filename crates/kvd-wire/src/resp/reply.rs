//! The store's replies, as Redis would give them. What is told of a reply depends on the command that was asked for: its
//! [`Shape`].

use bytes::Bytes;
use kvd_types::{Entry, Error, Reply, Transferred};

use super::encode::Output;
use super::error::{self, refusal};
use super::number;

/// Longest value that Redis keeps in one piece with its header, in bytes.
const EMBEDDED_BYTES_MAX: usize = 44;

/// What is told of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The value, or nothing.
    Value,
    /// Many values.
    Values,
    /// OK.
    Ok,
    /// OK, or nothing when the condition did not hold.
    Set,
    /// 1, or 0 when the condition did not hold.
    SetIfAbsent,
    /// The value's length.
    Length,
    /// Part of the value; negative places count from its end.
    Range {
        /// The first byte.
        start: i64,
        /// The last one.
        end: i64,
    },
    /// The value as a number.
    Integer,
    /// The value as text, where it is a sum of fractions.
    Float,
    /// How many keys there were.
    Count,
    /// How many of these keys there were; one reply for each.
    Found {
        /// How many were asked for.
        keys: usize,
    },
    /// Whether anything was changed.
    Changed,
    /// When the key goes: -1 for never, -2 without a key.
    Expiry {
        /// Rounded to seconds, instead of milliseconds.
        in_seconds: bool,
        /// As a time, instead of how long from now.
        is_absolute: bool,
    },
    /// The type of the value.
    Type,
    /// How Redis would keep the value.
    Encoding,
    /// For how long nobody has asked for it: not tracked.
    IdleTime,
    /// How many share the value: one.
    ReferenceCount,
    /// How often it is asked for: not tracked.
    Frequency,
    /// The value that the first of two commands found.
    Previous,
    /// OK, if there was a key to rename.
    Renamed,
    /// Whether the new name was free.
    RenamedIfAbsent,
    /// Whether a copy was made.
    Copied,
}

impl Shape {
    /// How many replies it is told from.
    pub fn replies(self) -> usize {
        match self {
            Shape::Found { keys } => keys,
            Shape::Previous => 2,
            _ => 1,
        }
    }
}

/// Writes the answer to one request, told from what `next` gives, as often as the shape wants.
pub fn write(output: &mut Output, shape: Shape, now_ms: u64, mut next: impl FnMut() -> Result<Reply, Error>) {
    let told = match shape {
        Shape::Found { keys } => found(keys, next).map(|found| output.count(found)),
        Shape::Previous => previous(next(), next()).map(|entry| value(output, entry.as_ref())),
        _ => next().map(|reply| tell(output, shape, now_ms, reply)),
    };
    if let Err(error) = told {
        refuse(output, shape, &error);
    }
}

fn refuse(output: &mut Output, shape: Shape, error: &Error) {
    match (shape, error) {
        (Shape::Set, Error::PreconditionFailed { .. }) => output.null(),
        (Shape::SetIfAbsent, Error::PreconditionFailed { .. }) => output.integer(0),
        (Shape::Float, Error::Overflow) => output.error(error::NOT_FINITE),
        _ => output.error(&refusal(error)),
    }
}

fn found(keys: usize, mut next: impl FnMut() -> Result<Reply, Error>) -> Result<usize, Error> {
    // All are taken, also when one of them is a refusal: what follows is another request's.
    let replies: Vec<_> = (0..keys).map(|_| next()).collect();
    replies.into_iter().try_fold(0, |found, reply| Ok(found + usize::from(entry_of(&reply?).is_some())))
}

fn previous(first: Result<Reply, Error>, second: Result<Reply, Error>) -> Result<Option<Entry>, Error> {
    match second {
        // SET with NX and GET: it is told what kept it from being set.
        Ok(_) | Err(Error::PreconditionFailed { .. }) => Ok(entry_of(&first?).cloned()),
        Err(error) => Err(error),
    }
}

fn tell(output: &mut Output, shape: Shape, now_ms: u64, reply: Reply) {
    let entry = entry_of(&reply);
    match shape {
        Shape::Value | Shape::Float => value(output, entry),
        Shape::Values => values(output, &reply),
        Shape::Ok | Shape::Set => output.simple("OK"),
        Shape::SetIfAbsent => output.integer(1),
        Shape::Length => output.count(entry.map_or(0, |entry| entry.value.len())),
        Shape::Range { start, end } => {
            output.value(&entry.map_or(Bytes::new(), |entry| range(&entry.value, start, end)))
        }
        Shape::Integer => output.integer_text(entry.map_or(b"0", |entry| &entry.value)),
        Shape::Count => output.count(count(&reply)),
        Shape::Changed => output.integer(i64::from(matches!(reply, Reply::Modified { changed: true, .. }))),
        Shape::Expiry { in_seconds, is_absolute } => {
            output.integer(expiry(entry, in_seconds, if is_absolute { 0 } else { now_ms }));
        }
        Shape::Type => output.simple(if entry.is_some() { "string" } else { "none" }),
        Shape::Encoding => of_key(output, entry, |output, entry| output.bulk(encoding(&entry.value).as_bytes())),
        Shape::IdleTime => of_key(output, entry, |output, _| output.integer(0)),
        Shape::ReferenceCount => of_key(output, entry, |output, _| output.integer(1)),
        Shape::Frequency => of_key(output, entry, |output, _| output.error(error::NO_FREQUENCY)),
        Shape::Renamed => match transferred(&reply) {
            Transferred::NoSource => output.error(error::NO_SUCH_KEY),
            Transferred::Done | Transferred::TargetExists => output.simple("OK"),
        },
        Shape::RenamedIfAbsent => match transferred(&reply) {
            Transferred::NoSource => output.error(error::NO_SUCH_KEY),
            outcome => output.integer(i64::from(outcome == Transferred::Done)),
        },
        Shape::Copied => output.integer(i64::from(transferred(&reply) == Transferred::Done)),
        Shape::Found { .. } | Shape::Previous => unreachable!("told from several replies"),
    }
}

/// What the key holds, where a reply tells of one key.
fn entry_of(reply: &Reply) -> Option<&Entry> {
    match reply {
        Reply::Got { entry, .. } | Reply::Modified { entry, .. } => entry.as_ref(),
        _ => None,
    }
}

/// A value, or nothing.
pub fn value(output: &mut Output, entry: Option<&Entry>) {
    match entry {
        Some(entry) => output.value(&entry.value),
        None => output.null(),
    }
}

fn values(output: &mut Output, reply: &Reply) {
    let Reply::MultiGot { entries, .. } = reply else { unreachable!("many values are asked for by one command") };
    output.array(entries.len());
    entries.iter().for_each(|entry| value(output, entry.as_ref()));
}

/// Where the key is missing, so is what would be told of it.
fn of_key(output: &mut Output, entry: Option<&Entry>, tell: impl FnOnce(&mut Output, &Entry)) {
    match entry {
        Some(entry) => tell(output, entry),
        None => output.null(),
    }
}

fn count(reply: &Reply) -> usize {
    match reply {
        Reply::Got { entry, .. } => usize::from(entry.is_some()),
        Reply::MultiGot { entries, .. } => entries.iter().flatten().count(),
        Reply::Deleted { found, .. } => usize::from(*found),
        Reply::MultiDeleted { deleted, .. } => *deleted,
        _ => unreachable!("keys are counted by these commands alone"),
    }
}

fn transferred(reply: &Reply) -> Transferred {
    match reply {
        Reply::Transferred { outcome, .. } => *outcome,
        // From a key to itself: it was only looked at.
        Reply::Got { entry: Some(_), .. } => Transferred::TargetExists,
        _ => Transferred::NoSource,
    }
}

/// Relative to `since_ms`, with Redis' way of rounding.
fn expiry(entry: Option<&Entry>, in_seconds: bool, since_ms: u64) -> i64 {
    let Some(entry) = entry else { return -2 };
    let Some(at) = entry.expires_at_ms else { return -1 };
    let ms = at.saturating_sub(since_ms);
    let told = if in_seconds { ms.saturating_add(500) / 1_000 } else { ms };
    i64::try_from(told).unwrap_or(i64::MAX)
}

fn encoding(value: &[u8]) -> &'static str {
    if number::integer(value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED_BYTES_MAX {
        "embstr"
    } else {
        "raw"
    }
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn range(value: &Bytes, start: i64, end: i64) -> Bytes {
    let len = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return Bytes::new();
    }
    let place = |place: i64| if place < 0 { (len + place).max(0) } else { place };
    let (start, end) = (place(start), place(end).min(len - 1));
    if len == 0 || start > end { Bytes::new() } else { value.slice(start as usize..=end as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_redis() {
        let value = Bytes::from_static(b"This is a string");
        for (start, end, expected) in [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (5, 3, ""),
            (-1, -5, ""),
            (100, 200, ""),
            (-100, 3, "This"),
            (-100, -100, "T"),
            (i64::MIN, i64::MAX, "This is a string"),
        ] {
            assert_eq!(range(&value, start, end), expected, "{start} {end}");
        }
        assert_eq!(range(&Bytes::new(), 0, -1), "");
    }
}

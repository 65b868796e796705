//! Rules: how a value or an expiry follows from what a key holds. Knows nothing of keys, of locks or of commits.
//!
//! # Sums of fractions
//! A decimal fraction is seldom a number that 64 bits hold: 0.1 + 0.2 comes to 0.30000000000000004. So a sum is known up to half
//! a unit in the last place of each of its parts and of itself, and of all decimals that near the shortest is stored: 0.3.

use bytes::{BufMut, Bytes, BytesMut};
use kvd_types::{Entry, Error, ExpiryCondition, Limits, Rule, Ttl};

use crate::index::Version;
use crate::moment::Moment;

/// Digits of an `i64`, with its sign.
const INTEGER_BYTES_MAX: usize = 20;

/// Characters of an `f64` without an exponent: a sign, "0.", 323 zeros and 17 digits.
const FLOAT_BYTES_MAX: usize = 344;

/// Digits after which every `f64` is told from the next.
const FLOAT_DIGITS_MAX: usize = 17;

/// What a key holds.
#[derive(Clone, Copy)]
pub(crate) struct Held<'v> {
    pub(crate) value: &'v [u8],
    pub(crate) expires_at_ms: Option<u64>,
}

impl<'v> From<Version<'v>> for Held<'v> {
    fn from(version: Version<'v>) -> Held<'v> {
        Held { value: version.record.value(), expires_at_ms: version.record.expires_at_ms() }
    }
}

impl<'v> From<&'v Entry> for Held<'v> {
    fn from(entry: &'v Entry) -> Held<'v> {
        Held { value: &entry.value, expires_at_ms: entry.expires_at_ms }
    }
}

/// What a rule comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing changes.
    Unchanged,
    /// Another value. The rest stays.
    Value(Bytes),
    /// Another expiry, or none. The rest stays.
    Expiry(Option<u64>),
    /// The key goes.
    Delete,
}

/// What `rule` comes to for a key that holds this, or nothing.
///
/// # Errors
/// The value is no number, the sum is out of range, or the result exceeds a limit.
pub(crate) fn apply(rule: &Rule, held: Option<Held<'_>>, moment: Moment, limits: &Limits) -> Result<Outcome, Error> {
    let value = held.map(|held| held.value);
    match rule {
        Rule::Increment { by } => increment(value, *by).map(|sum| changed(value, sum)),
        Rule::IncrementFloat { by } => increment_float(value, *by).map(|sum| changed(value, sum)),
        Rule::Append { bytes } => {
            let old = value.unwrap_or_default();
            overwrite(value, old.len(), bytes, limits)
        }
        Rule::SetRange { bytes, .. } if bytes.is_empty() => Ok(Outcome::Unchanged),
        Rule::SetRange { offset, bytes } => overwrite(value, *offset, bytes, limits),
        Rule::Expire { ttl, only } => Ok(held.map_or(Outcome::Unchanged, |held| expire(held, *ttl, *only, moment))),
    }
}

/// Most bytes of the value that `rule` makes of one of `value_len` bytes; it is asked for if that matters.
pub(crate) fn result_bytes_max(rule: &Rule, value_len: impl FnOnce() -> usize, limits: &Limits) -> usize {
    let len = match rule {
        Rule::Increment { .. } => INTEGER_BYTES_MAX,
        Rule::IncrementFloat { .. } => FLOAT_BYTES_MAX,
        Rule::Append { bytes } => value_len().saturating_add(bytes.len()),
        Rule::SetRange { offset, bytes } => value_len().max(offset.saturating_add(bytes.len())),
        Rule::Expire { .. } => value_len(),
    };
    // More is refused.
    len.min(limits.value_bytes_max)
}

fn changed(value: Option<&[u8]>, new: String) -> Outcome {
    if value == Some(new.as_bytes()) { Outcome::Unchanged } else { Outcome::Value(new.into()) }
}

fn increment(value: Option<&[u8]>, by: i64) -> Result<String, Error> {
    let number = value.map_or(Ok(0), integer)?;
    number.checked_add(by).map(|sum| sum.to_string()).ok_or(Error::Overflow)
}

/// An integer in its one spelling.
fn integer(text: &[u8]) -> Result<i64, Error> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let has_one_spelling = text == b"0" || matches!(digits.first(), Some(b'1'..=b'9'));
    let text = std::str::from_utf8(text).ok().filter(|_| has_one_spelling);
    text.and_then(|text| text.parse().ok()).ok_or(Error::NotAnInteger)
}

fn increment_float(value: Option<&[u8]>, by: f64) -> Result<String, Error> {
    let number = value.map_or(Ok(0.0), float)?;
    let sum = number + by;
    if !sum.is_finite() {
        return Err(Error::Overflow);
    }
    let unsure = half_unit(number) + half_unit(by) + half_unit(sum);
    let rounded = |digits: usize| -> f64 { format!("{sum:.*e}", digits - 1).parse().expect("a number was written") };
    let shortest = (1..FLOAT_DIGITS_MAX)
        .map(rounded)
        .find(|near| near.is_finite() && (near - sum).abs() <= unsure + half_unit(*near));
    // Not "-0".
    Ok((shortest.unwrap_or(sum) + 0.0).to_string())
}

fn float(text: &[u8]) -> Result<f64, Error> {
    let number: Option<f64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.filter(|number| number.is_finite()).ok_or(Error::NotANumber)
}

/// Half the distance to the next number: how far the decimal may be from it that it was read from. An integer is what it says.
fn half_unit(number: f64) -> f64 {
    if number.fract() == 0.0 && number.abs() < 2.0_f64.powi(53) {
        return 0.0;
    }
    (number.abs() - number.abs().next_down()) / 2.0
}

/// `bytes` from `offset` on, and zeros where there was nothing before it.
fn overwrite(value: Option<&[u8]>, offset: usize, bytes: &[u8], limits: &Limits) -> Result<Outcome, Error> {
    let old = value.unwrap_or_default();
    let end = offset.saturating_add(bytes.len());
    let len = old.len().max(end);
    limits.check_value_bytes(len)?;
    if value.is_some() && old.get(offset..end) == Some(bytes) {
        return Ok(Outcome::Unchanged);
    }
    let mut new = BytesMut::with_capacity(len);
    new.put_slice(&old[..offset.min(old.len())]);
    new.put_bytes(0, offset - new.len());
    new.put_slice(bytes);
    new.put_slice(old.get(end..).unwrap_or_default());
    Ok(Outcome::Value(new.freeze()))
}

fn expire(held: Held<'_>, ttl: Ttl, only: ExpiryCondition, moment: Moment) -> Outcome {
    if ttl == Ttl::Keep {
        return Outcome::Unchanged;
    }
    let old = held.expires_at_ms;
    let new = moment.expires_at_ms(ttl, Some(old));
    let end = |at: Option<u64>| at.unwrap_or(u64::MAX);
    let holds = match only {
        ExpiryCondition::Always => true,
        ExpiryCondition::Absent => old.is_none(),
        ExpiryCondition::Present => old.is_some(),
        ExpiryCondition::Later => end(new) > end(old),
        ExpiryCondition::Earlier => end(new) < end(old),
        ExpiryCondition::PresentAndEarlier => old.is_some() && end(new) < end(old),
    };
    match new {
        _ if !holds => Outcome::Unchanged,
        None if old.is_none() => Outcome::Unchanged,
        // To give the expiry that it has already is a change: who asked is told the same whatever the clock's steps are.
        new if moment.is_before(new) => Outcome::Expiry(new),
        _ => Outcome::Delete,
    }
}

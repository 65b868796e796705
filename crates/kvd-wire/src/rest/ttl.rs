//! A time to live as clients write it, both directions: `30s`, `keep`, `none`. The same spelling in headers, queries and bodies.
//! Knows nothing of clocks: what a time to live comes to is for the store to say.

use http::{HeaderName, HeaderValue};
use kvd_types::Ttl;

/// The header that carries one: on a PUT what is wanted, on a value what is left of it.
pub(crate) const KVD_TTL: HeaderName = HeaderName::from_static("kvd-ttl");

/// Longest that is taken: a hundred years, so that sums of times keep far from their end.
const DAYS_MAX: u64 = 36_500;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// In milliseconds. The longer name of two that end alike comes first.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 60 * 60_000), ("d", DAY_MS)];

/// Text that is no time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a time to live is a whole number above 0 with one of the units ms s m h d (`30s`), at most {DAYS_MAX}d, or `keep` or `none`"
)]
pub struct InvalidTtl;

/// Reads a time to live.
///
/// # Errors
/// [`InvalidTtl`] says what there is.
pub fn parse(text: &str) -> Result<Ttl, InvalidTtl> {
    match text {
        "keep" => return Ok(Ttl::Keep),
        "none" => return Ok(Ttl::None),
        _ => {}
    }
    let (digits, unit_ms) =
        UNITS.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, *ms))).ok_or(InvalidTtl)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidTtl);
    }
    let ms = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms)).ok_or(InvalidTtl)?;
    if (1..=DAYS_MAX * DAY_MS).contains(&ms) { Ok(Ttl::Ms(ms)) } else { Err(InvalidTtl) }
}

/// Writes a time to live. None where nothing is to be written, which stands for the store's default, and where nothing can be:
/// an absolute time.
pub fn to_text(ttl: Ttl) -> Option<String> {
    match ttl {
        Ttl::Default | Ttl::At(_) => None,
        Ttl::None => Some("none".to_owned()),
        Ttl::Keep => Some("keep".to_owned()),
        Ttl::Ms(ms) => Some(format!("{ms}ms")),
    }
}

/// What is left of a value's time, as its header says it.
pub(crate) fn header_of_rest(ms: u64) -> HeaderValue {
    HeaderValue::try_from(format!("{ms}ms")).expect("digits and letters")
}

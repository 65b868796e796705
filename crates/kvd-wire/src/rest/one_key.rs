//! What a request wants of one key besides its value: a time to live, the state before or after a write, its expiry alone, an
//! increment. Reads headers and query fields; which routes there are is `request`'s business.

use http::HeaderValue;
use kvd_types::{Command, Condition, ExpiryCondition, Key, Modify, Rule, Set, Transaction, Ttl};

use super::code::{BAD_HEADER, BAD_QUERY};
use super::problem::Problem;
use super::query::Query;
use super::response::Returning;
use super::ttl;

/// The time to live in `Kvd-TTL` or in the query; none where neither is.
pub(super) fn ttl(header: Option<&HeaderValue>, query: &mut Query<'_>) -> Result<Option<Ttl>, Problem> {
    let read = |bytes: &[u8]| ttl::parse(&String::from_utf8_lossy(bytes));
    match (header, query.take("ttl")) {
        (None, None) => Ok(None),
        (Some(value), None) => {
            read(value.as_bytes()).map(Some).map_err(|why| Problem::new(BAD_HEADER, format!("Kvd-TTL: {why}")))
        }
        (None, Some(text)) => read(&text).map(Some).map_err(|why| Problem::new(BAD_QUERY, format!("`ttl`: {why}"))),
        (Some(_), Some(_)) => Err(Problem::new(BAD_HEADER, "Kvd-TTL and the query field `ttl` exclude each other")),
    }
}

/// What of the key the answer to its write is to show.
pub(super) fn returning(wants_new: bool, query: &mut Query<'_>) -> Result<Option<Returning>, Problem> {
    let wants_previous = match query.take("return").as_deref() {
        None => false,
        Some(b"previous") => true,
        Some(_) => return Err(Problem::new(BAD_QUERY, "`return` can only be previous")),
    };
    match (wants_previous, wants_new) {
        (false, false) => Ok(None),
        (true, false) => Ok(Some(Returning::Previous)),
        (false, true) => Ok(Some(Returning::New)),
        (true, true) => {
            Err(Problem::new(BAD_HEADER, "`return=previous` and `Prefer: return=representation` exclude each other"))
        }
    }
}

/// A write of `key` together with the read that its answer is to show, as one commit.
pub(super) fn with_read<'a>(write: Command<'a>, key: Key<'a>, returning: Option<Returning>) -> Command<'a> {
    let commands = match returning {
        None => return write,
        Some(Returning::Previous) => vec![Command::Get { key }, write],
        // What was just written is no read of a client's.
        Some(Returning::New) => vec![write, Command::Peek { key }],
    };
    Command::Transaction(Transaction { checks: vec![], commands, otherwise: None, on_failure: Default::default() })
}

/// A set that waits for its value.
pub(super) fn set_of(set: Set<'_>, returning: Option<Returning>) -> Command<'_> {
    let key = set.key.clone();
    with_read(Command::Set(set), key, returning)
}

/// Another expiry for a key.
pub(super) fn expire<'a>(
    key: Key<'a>,
    header: Option<&HeaderValue>,
    query: &mut Query<'_>,
    condition: Condition,
) -> Result<Command<'a>, Problem> {
    match ttl(header, query)? {
        Some(ttl @ (Ttl::Ms(_) | Ttl::None)) => Ok(with_expiry(key, ttl, condition)),
        Some(_) => Err(Problem::new(BAD_QUERY, "there is nothing to keep here: say a time to live, or `none`")),
        None => Err(Problem::new(BAD_QUERY, "say the time to live: `ttl=30s` in the query, or Kvd-TTL")),
    }
}

/// A key with this expiry, if it is there.
pub(super) fn with_expiry(key: Key<'_>, ttl: Ttl, condition: Condition) -> Command<'_> {
    Command::Modify(Modify { key, rule: Rule::Expire { ttl, only: ExpiryCondition::Always }, condition })
}

/// An addition to a key.
pub(super) fn increment<'a>(key: Key<'a>, query: &mut Query<'_>, condition: Condition) -> Result<Command<'a>, Problem> {
    let by = match query.take("by") {
        None => 1,
        Some(text) => std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
            Problem::new(BAD_QUERY, format!("`by` is a whole number from {} to {}", i64::MIN, i64::MAX))
        })?,
    };
    Ok(Command::Modify(Modify { key, rule: Rule::Increment { by }, condition }))
}

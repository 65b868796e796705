//! HTTP answers as results: status, headers and body of what the server said. Does no I/O, and doesn't know the addresses of
//! servers; [`Misread`] becomes an [`crate::Error`] with the address in `client`.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, StatusCode};
use kvd_types::{ContentType, Etag, Revision};
use kvd_wire::rest::batch::{
    Format, Found, IncrementAnswer, ItemMeta, Message, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, OpResult,
    TransactionAnswer,
};
use kvd_wire::rest::problem::Problem;

use crate::transport::Incoming;
use crate::{Deleted, Value, Written};

const KVD_REVISION: HeaderName = HeaderName::from_static("kvd-revision");
const KVD_STORE: HeaderName = HeaderName::from_static("kvd-store");
const KVD_TTL: HeaderName = HeaderName::from_static("kvd-ttl");

/// An answer that brings no result.
#[derive(Debug)]
pub(crate) enum Misread {
    /// The server refused.
    Refused { status: StatusCode, problem: Option<Problem> },
    /// It is no answer of kvd's.
    NotUnderstood(String),
}

/// To a GET of a key.
pub(crate) fn value(answer: Incoming) -> Result<Option<Value>, Misread> {
    if is_missing(&answer) {
        return Ok(None);
    }
    let answer = successful(answer)?;
    let meta = meta(&answer.headers, answer.body.len() as u64)?;
    Ok(Some(Value { meta, bytes: answer.body }))
}

/// To a HEAD of a key.
pub(crate) fn head(answer: Incoming) -> Result<Option<ItemMeta>, Misread> {
    if is_missing(&answer) {
        return Ok(None);
    }
    let answer = successful(answer)?;
    let size = number(&answer.headers, CONTENT_LENGTH)?;
    meta(&answer.headers, size).map(Some)
}

/// To a PUT of a key.
pub(crate) fn written(answer: Incoming) -> Result<Written, Misread> {
    let answer = successful(answer)?;
    Ok(Written { etag: etag(&answer.headers)?, created: answer.status == StatusCode::CREATED })
}

/// To a DELETE of a key.
pub(crate) fn deleted(answer: Incoming) -> Result<Deleted, Misread> {
    let found = !is_missing(&answer);
    let headers = if found { successful(answer)?.headers } else { answer.headers };
    Ok(Deleted { revision: Revision(number(&headers, KVD_REVISION)?), found })
}

/// To a request whose answer is one document.
pub(crate) fn document<M: Message>(answer: Incoming) -> Result<M, Misread> {
    let answer = successful(answer)?;
    let format = format_of(&answer.headers).ok_or_else(|| no_kvd_answer("neither JSON nor CBOR"))?;
    M::decode(format, &answer.body).map_err(|error| Misread::NotUnderstood(error.to_string()))
}

/// To a request of which only the success matters.
pub(crate) fn success(answer: Incoming) -> Result<(), Misread> {
    successful(answer).map(drop)
}

/// To a request whose answer is one document, unless the key is missing.
pub(crate) fn document_if_found<M: Message>(answer: Incoming) -> Result<Option<M>, Misread> {
    if is_missing(&answer) { Ok(None) } else { document(answer).map(Some) }
}

/// To a request of which only matters whether the key was there.
pub(crate) fn found(answer: Incoming) -> Result<bool, Misread> {
    if is_missing(&answer) { Ok(false) } else { successful(answer).map(|_| true) }
}

/// What came of the only operation of a transaction.
pub(crate) fn only_result(answer: Incoming) -> Result<OpResult<'static>, Misread> {
    let answer: TransactionAnswer<'static> = document(answer)?;
    answer.results.into_iter().next().ok_or_else(|| no_kvd_answer("a transaction of one operation has no result"))
}

/// To an increment in a transaction of its own.
pub(crate) fn incremented_of_batch(answer: Incoming) -> Result<IncrementAnswer<'static>, Misread> {
    match only_result(answer)? {
        OpResult::Incremented(answer) => Ok(answer),
        _ => Err(no_kvd_answer("an increment has the result of something else")),
    }
}

/// To an append in a transaction of its own.
pub(crate) fn appended_of_batch(answer: Incoming) -> Result<u64, Misread> {
    match only_result(answer)? {
        OpResult::Appended { size, .. } => Ok(size),
        _ => Err(no_kvd_answer("an append has the result of something else")),
    }
}

/// To a change of an expiry in a transaction of its own.
pub(crate) fn found_of_batch(answer: Incoming) -> Result<bool, Misread> {
    match only_result(answer)? {
        OpResult::Expired { found, .. } => Ok(found),
        _ => Err(no_kvd_answer("a change of an expiry has the result of something else")),
    }
}

/// The revision at which an answer begins that comes bit by bit.
pub(crate) fn revision(headers: &HeaderMap) -> Option<Revision> {
    number(headers, KVD_REVISION).ok().map(Revision)
}

/// The epoch of the store that an answer comes from.
pub(crate) fn store(headers: &HeaderMap) -> Result<String, Misread> {
    let text = headers.get(KVD_STORE).and_then(|value| value.to_str().ok());
    text.map(str::to_owned).ok_or_else(|| no_kvd_answer("it has no Kvd-Store"))
}

/// To a multi-get of one key.
pub(crate) fn value_of_batch(answer: Incoming) -> Result<Option<Value>, Misread> {
    let answer: MultiGetAnswer<'static> = document(answer)?;
    let item = answer.items.into_iter().next().ok_or_else(|| no_kvd_answer("an mget of one key has no item"))?;
    Ok(item.found.map(|Found { meta, value }| Value { meta, bytes: value }))
}

/// To a multi-set of one key.
pub(crate) fn written_of_batch(answer: Incoming) -> Result<Written, Misread> {
    let answer: MultiSetAnswer<'static> = document(answer)?;
    let item = answer.items.first().ok_or_else(|| no_kvd_answer("an mset of one key has no item"))?;
    Ok(Written { etag: item.etag, created: answer.created == 1 })
}

/// To a multi-delete of one key.
pub(crate) fn deleted_of_batch(answer: Incoming) -> Result<Deleted, Misread> {
    let answer: MultiDeleteAnswer = document(answer)?;
    Ok(Deleted { revision: answer.revision, found: answer.deleted == 1 })
}

/// Whether a key has no value. A 404 without a revision is none of kvd's, or of a route it doesn't have.
fn is_missing(answer: &Incoming) -> bool {
    answer.status == StatusCode::NOT_FOUND && answer.headers.contains_key(KVD_REVISION)
}

fn successful(answer: Incoming) -> Result<Incoming, Misread> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let problem = format_of(&answer.headers).and_then(|format| Problem::decode(format, &answer.body).ok());
    if problem.is_none() && answer.status == StatusCode::NOT_FOUND {
        // Whoever says so without a reason knows no routes of kvd's: this tells nothing about any key.
        return Err(no_kvd_answer("404 Not Found without a reason"));
    }
    Err(Misread::Refused { status: answer.status, problem })
}

fn format_of(headers: &HeaderMap) -> Option<Format> {
    let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim_ascii();
    match media_type {
        "application/json" | "application/problem+json" => Some(Format::Json),
        "application/cbor" => Some(Format::Cbor),
        _ => None,
    }
}

fn meta(headers: &HeaderMap, size: u64) -> Result<ItemMeta, Misread> {
    let content_type = match headers.get(CONTENT_TYPE).map(|value| value.as_bytes()) {
        None => None,
        Some(text) if text == ContentType::DEFAULT.as_bytes() => None,
        Some(text) => Some(ContentType::new(text).map_err(|error| Misread::NotUnderstood(error.to_string()))?),
    };
    Ok(ItemMeta { etag: etag(headers)?, size, ttl_ms: ttl_ms(headers)?, content_type })
}

/// How long a value has left; none for ever.
fn ttl_ms(headers: &HeaderMap) -> Result<Option<u64>, Misread> {
    let Some(header) = headers.get(KVD_TTL) else { return Ok(None) };
    let ms = header.to_str().ok().and_then(|text| text.strip_suffix("ms")).and_then(|text| text.parse().ok());
    ms.map(Some).ok_or_else(|| no_kvd_answer("its Kvd-TTL is no time"))
}

/// The entity tag. Only what a transaction has written itself has none, and then its revision is 0.
fn etag(headers: &HeaderMap) -> Result<Option<Etag>, Misread> {
    let header = headers.get(ETAG);
    if header.is_none() && number(headers, KVD_REVISION).is_ok_and(|revision| revision == 0) {
        return Ok(None);
    }
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
    tag.map(Some).ok_or_else(|| no_kvd_answer("it has no entity tag"))
}

fn number(headers: &HeaderMap, name: HeaderName) -> Result<u64, Misread> {
    let text = headers.get(&name).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| no_kvd_answer(&format!("it has no {name}")))
}

fn no_kvd_answer(reason: &str) -> Misread {
    Misread::NotUnderstood(reason.to_owned())
}

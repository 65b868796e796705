//! Requests whose URL names a verb before the key (`/v1/incr/a`), and those of interactive transactions and watches. Where a key
//! is too long for a URL, a transaction of one operation does the same. Does no I/O.

use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Method, Uri};
use kvd_types::{Command, Condition, ExpiryCondition, Key, Modify, Revision, Rule, Ttl};
use kvd_wire::rest::batch::{encode_begin, encode_rollback};
use kvd_wire::rest::path::{self, KeyForm};
use kvd_wire::rest::transaction::{self, Mode, TransactionId};
use kvd_wire::rest::ttl;
use kvd_wire::rest::watch::{Filter, Watch};

use crate::Error;
use crate::request::{BATCH_FORMAT, OneKey, bodiless, many, post};
use crate::transport::Outgoing;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Something to be added to a decimal value.
pub(crate) fn increment(key: Key<'_>, by: i64) -> Result<OneKey, Error> {
    match on_key(Method::POST, path::form_below("incr", &key), &format!("?by={by}")) {
        Some(request) => Ok(OneKey::Direct(request)),
        None => modify(key, Rule::Increment { by }).map(OneKey::Batch),
    }
}

/// A change of a key that follows from what it holds, as a transaction.
pub(crate) fn modify(key: Key<'_>, rule: Rule) -> Result<Outgoing, Error> {
    many(&Command::Modify(Modify { key, rule, condition: Condition::Always }))
}

/// When a key goes by itself.
pub(crate) fn ttl(key: &Key<'_>) -> Result<Outgoing, Error> {
    on_key(Method::GET, path::form_below("ttl", key), "").ok_or_else(|| fits_no_url(key))
}

/// Another expiry for a key.
pub(crate) fn expire(key: Key<'_>, ttl: Ttl) -> Result<OneKey, Error> {
    let text = ttl::to_text(ttl).unwrap_or_default();
    match on_key(Method::PUT, path::form_below("ttl", &key), &format!("?ttl={text}")) {
        Some(request) => Ok(OneKey::Direct(request)),
        None => modify(key, Rule::Expire { ttl, only: ExpiryCondition::Always }).map(OneKey::Batch),
    }
}

/// What a key held at a revision.
pub(crate) fn get_at(key: &Key<'_>, revision: Revision) -> Result<Outgoing, Error> {
    on_key(Method::GET, path::form_for(key), &format!("?rev={revision}")).ok_or_else(|| fits_no_url(key))
}

/// The versions of a key.
pub(crate) fn history(key: &Key<'_>) -> Result<Outgoing, Error> {
    on_key(Method::GET, path::form_below("history", key), "").ok_or_else(|| fits_no_url(key))
}

/// An old version of a key to become its newest.
pub(crate) fn rollback(key: &Key<'_>, to: Revision) -> Result<Outgoing, Error> {
    let (KeyForm::Path(url) | KeyForm::Base64(url)) = path::form_below("rollback", key) else {
        return Err(fits_no_url(key));
    };
    Ok(post(url_of(url), encode_rollback(to, BATCH_FORMAT), true))
}

/// A transaction to begin. Nothing of the data changes by that.
pub(crate) fn begin(mode: Mode) -> Outgoing {
    post(Uri::from_static(transaction::PATH), encode_begin(mode, BATCH_FORMAT), false)
}

/// A transaction to be committed.
pub(crate) fn commit(id: TransactionId) -> Outgoing {
    let mut request = bodiless(Method::POST, url_of(format!("{}/{id}/commit", transaction::PATH)));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(BATCH_FORMAT.content_type()));
    Outgoing { request, is_write: true }
}

/// A transaction to end without a trace. Nothing of the data changes by that.
pub(crate) fn abandon(id: TransactionId) -> Outgoing {
    Outgoing { request: bodiless(Method::DELETE, url_of(format!("{}/{id}", transaction::PATH))), is_write: false }
}

/// Changes as they happen, from a revision on or behind the last one seen.
pub(crate) fn watch(prefix: &[u8], from: Option<Revision>, last_seen: Option<Revision>) -> Result<Outgoing, Error> {
    let too_long = || Error::PrefixTooLong { prefix_bytes: prefix.len() };
    let filter = Filter::Prefix(Key::new(prefix).map_err(|_| too_long())?);
    let watch = Watch { filter, from: from.filter(|_| last_seen.is_none()), base64: false };
    let mut request = bodiless(Method::GET, Uri::try_from(watch.url()).map_err(|_| too_long())?);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(revision) = last_seen {
        request.headers_mut().insert(LAST_EVENT_ID, HeaderValue::from(revision.0));
    }
    Ok(Outgoing { request, is_write: false })
}

/// A request on the key's URL; none where the key is too long for one.
fn on_key(method: Method, form: KeyForm, query: &str) -> Option<Outgoing> {
    let (KeyForm::Path(url) | KeyForm::Base64(url)) = form else { return None };
    let is_write = !matches!(method, Method::GET | Method::HEAD);
    let mut request = bodiless(method, url_of(url + query));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(BATCH_FORMAT.content_type()));
    Some(Outgoing { request, is_write })
}

fn url_of(text: String) -> Uri {
    Uri::try_from(text).expect("a key that fits a URL leaves room for a query, and both are encoded")
}

fn fits_no_url(key: &Key<'_>) -> Error {
    Error::KeyFitsNoUrl { key_bytes: key.len() }
}

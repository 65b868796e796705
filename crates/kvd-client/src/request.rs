//! Commands as HTTP requests. Picks the form of a key that survives every URL library, and a batch of one where a key fits no
//! URL or a condition no header. Does no I/O.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use kvd_types::{Command, Condition, Delete, Key, ListValues, Set};
use kvd_wire::rest::batch::{self, Format};
use kvd_wire::rest::path::{self, KeyForm};
use kvd_wire::rest::{condition, query};

use crate::Error;
use crate::transport::Outgoing;

/// What binary values travel in without growing.
const BATCH_FORMAT: Format = Format::Cbor;

/// A command on one key.
#[derive(Debug)]
pub(crate) enum OneKey {
    /// On the key's own URL.
    Direct(Outgoing),
    /// As a batch of one.
    Batch(Outgoing),
}

/// The value of a key with GET, all but the value with HEAD.
pub(crate) fn get(method: Method, key: Key<'_>) -> Result<OneKey, Error> {
    match direct(method, &key, &Condition::Always) {
        Some(request) => Ok(OneKey::Direct(Outgoing { request, is_write: false })),
        None => many(&Command::Get { key }).map(OneKey::Batch),
    }
}

pub(crate) fn set(set: Set<'_>) -> Result<OneKey, Error> {
    let Some(mut request) = direct(Method::PUT, &set.key, &set.condition) else {
        return many(&Command::Set(set)).map(OneKey::Batch);
    };
    if let Some(content_type) = set.content_type {
        let header = HeaderValue::from_maybe_shared(content_type.as_bytes().clone());
        request.headers_mut().insert(CONTENT_TYPE, header.expect("a content type holds only what a header can carry"));
    }
    // hyper leaves it out when the body is empty; that a set has a body, be it empty, is no guess for proxies.
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(set.value.len()));
    *request.body_mut() = set.value;
    Ok(OneKey::Direct(Outgoing { request, is_write: true }))
}

pub(crate) fn delete(delete: Delete<'_>) -> Result<OneKey, Error> {
    match direct(Method::DELETE, &delete.key, &delete.condition) {
        Some(request) => Ok(OneKey::Direct(Outgoing { request, is_write: true })),
        None => many(&Command::Delete(delete)).map(OneKey::Batch),
    }
}

/// Any get, set or delete, as a batch.
pub(crate) fn many(command: &Command<'_>) -> Result<Outgoing, Error> {
    let batch = batch::encode_request(command, BATCH_FORMAT)?;
    let mut request = bodiless(Method::POST, Uri::from_static(batch.path));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(BATCH_FORMAT.content_type()));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(BATCH_FORMAT.content_type()));
    *request.body_mut() = Bytes::from(batch.body);
    let is_write = !matches!(command, Command::Get { .. } | Command::MultiGet { .. });
    Ok(Outgoing { request, is_write })
}

/// One page of the list of keys.
pub(crate) fn page(
    prefix: &[u8],
    limit: Option<usize>,
    cursor: Option<&str>,
    values: ListValues,
) -> Result<Outgoing, Error> {
    let url = query::for_list(prefix, limit, cursor, values);
    let url = Uri::try_from(url).map_err(|_| Error::PrefixTooLong { prefix_bytes: prefix.len() })?;
    Ok(report(url))
}

/// What the server tells without being named a key.
pub(crate) fn report(url: Uri) -> Outgoing {
    let mut request = bodiless(Method::GET, url);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(BATCH_FORMAT.content_type()));
    Outgoing { request, is_write: false }
}

/// What the server is to do with itself.
pub(crate) fn order(url: Uri) -> Outgoing {
    // Nothing of the data changes: it may be sent again.
    Outgoing { request: bodiless(Method::POST, url), is_write: false }
}

/// A request on the key's own URL; none where the key is too long for one, or the condition fits no header.
fn direct(method: Method, key: &Key<'_>, condition: &Condition) -> Option<Request<Bytes>> {
    let url = match path::form_for(key) {
        KeyForm::Path(url) | KeyForm::Base64(url) => Uri::try_from(url).expect("form_for gives a URL, or Body"),
        KeyForm::Body => return None,
    };
    let mut request = bodiless(method, url);
    if *condition != Condition::Always {
        request.headers_mut().extend([condition::to_header(condition)?]);
    }
    Some(request)
}

fn bodiless(method: Method, url: Uri) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    *request.uri_mut() = url;
    request
}

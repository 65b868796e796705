//! Commands as HTTP requests, but for those that `verbs` has. Picks the form of a key that survives every URL library, and a
//! batch of one where a key fits no URL or a condition no header. Does no I/O.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use kvd_types::{Command, Condition, Delete, Key, Set, Ttl};
use kvd_wire::rest::batch::{self, Format};
use kvd_wire::rest::path::{self, KeyForm};
use kvd_wire::rest::{condition, query, ttl};

use crate::transport::Outgoing;
use crate::{Error, ListOptions};

/// What binary values travel in without growing.
pub(crate) const BATCH_FORMAT: Format = Format::Cbor;

const KVD_TTL: HeaderName = HeaderName::from_static("kvd-ttl");

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
    let direct = match set.ttl {
        // It has no spelling but in a body that refuses it.
        Ttl::At(_) => None,
        _ => direct(Method::PUT, &set.key, &set.condition),
    };
    let Some(mut request) = direct else {
        return many(&Command::Set(set)).map(OneKey::Batch);
    };
    if let Some(ttl) = ttl::to_text(set.ttl) {
        let header = HeaderValue::try_from(ttl).expect("a time to live is digits and letters");
        request.headers_mut().insert(KVD_TTL, header);
    }
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

/// Any get, set, delete or transaction, as a batch.
pub(crate) fn many(command: &Command<'_>) -> Result<Outgoing, Error> {
    let batch = batch::encode_request(command, BATCH_FORMAT)?;
    Ok(post(Uri::from_static(batch.path), batch.body, writes(command)))
}

fn writes(command: &Command<'_>) -> bool {
    match command {
        Command::Get { .. } | Command::MultiGet { .. } => false,
        Command::Transaction(transaction) => {
            transaction.commands.iter().chain(transaction.otherwise.iter().flatten()).any(writes)
        }
        _ => true,
    }
}

/// One page of the list of keys.
pub(crate) fn page(options: &ListOptions, cursor: Option<&str>) -> Result<Outgoing, Error> {
    let ListOptions { prefix, limit, values, sorted, delimiter } = options;
    let url = match delimiter {
        None if !sorted => query::for_list(prefix, *limit, cursor, *values),
        _ => query::for_sorted_list(prefix, delimiter.as_deref(), *limit, cursor, *values),
    };
    Ok(report(of_prefix(url, prefix)?))
}

/// All keys that begin with a prefix, or all there are, to be gone.
pub(crate) fn delete_all(prefix: &[u8]) -> Result<Outgoing, Error> {
    let mut request = bodiless(Method::DELETE, of_prefix(query::for_deletion(prefix), prefix)?);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(BATCH_FORMAT.content_type()));
    Ok(Outgoing { request, is_write: true })
}

fn of_prefix(url: String, prefix: &[u8]) -> Result<Uri, Error> {
    Uri::try_from(url).map_err(|_| Error::PrefixTooLong { prefix_bytes: prefix.len() })
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

/// A document for the server.
pub(crate) fn post(url: Uri, document: Vec<u8>, is_write: bool) -> Outgoing {
    let mut request = bodiless(Method::POST, url);
    let format = HeaderValue::from_static(BATCH_FORMAT.content_type());
    request.headers_mut().insert(CONTENT_TYPE, format.clone());
    request.headers_mut().insert(ACCEPT, format);
    *request.body_mut() = Bytes::from(document);
    Outgoing { request, is_write }
}

pub(crate) fn bodiless(method: Method, url: Uri) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    *request.uri_mut() = url;
    request
}

//! A refusal on its way to the client: RFC 9457 problem+json. The server makes them, the client reads them back.
//! Knows what each says and with which headers; when one is due is decided elsewhere.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use kvd_types::{Etag, Key, Limit, LimitExceeded, Revision};

use super::batch::{Format, encode_problem};
use super::code::{
    BAD_CURSOR, BUSY, CLOSED, Code, INTERNAL, INVALID_ITEM, JOURNAL_FAILED, LIMIT_EXCEEDED, LOADING, MALFORMED_BODY,
    MEMORY_FULL, METHOD_NOT_ALLOWED, NO_ROOM, NOT_FOUND, OUTCOME_UNKNOWN, PAGE_LIMIT_EXCEEDED, RANGE_NOT_SATISFIABLE,
    REQUEST_TIMEOUT, SNAPSHOT_TOO_OLD, TOO_MANY_TRANSACTIONS, TRANSACTION_ENDED, TX_BUSY, UNSUPPORTED,
};
use super::response::KVD_REVISION;

/// When to come back after a 503, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// A request that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
// Boxed, so that a Result with it stays as small as its good side.
pub struct Problem(Box<Parts>);

/// What the body of a problem carries, and the headers beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) title: Cow<'static, str>,
    pub(super) retryable: bool,
    pub(super) detail: Cow<'static, str>,
    pub(super) request_id: Option<String>,
    pub(super) limit: Option<LimitHit>,
    pub(super) errors: Vec<ItemProblem>,
    /// Not in the body, and so not known to a client.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// A limit that a request broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitHit {
    /// By the name it has in the configuration and in `/v1/info`.
    pub name: Cow<'static, str>,
    /// What it allows.
    pub max: u64,
    /// What was sent; none when it was refused before its size was known.
    pub actual: Option<u64>,
}

/// One part of a request that is at fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemProblem {
    /// JSON pointer into the request's body, as a URI fragment: `#/items/1`. None for a request that names its key in the URL.
    pub pointer: Option<String>,
    /// What is wrong with it, where the problem as a whole doesn't say so.
    pub detail: Option<String>,
    /// The key at fault.
    pub key: Option<Key<'static>>,
    /// Of a failed condition: the key's version, or that it is absent.
    pub have: Option<Option<Etag>>,
}

impl Problem {
    pub(crate) fn new(code: &'static Code, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem(Box::new(Parts {
            status: code.status,
            code: Cow::Borrowed(code.name),
            title: Cow::Borrowed(code.title),
            retryable: code.retryable,
            detail: detail.into(),
            request_id: None,
            limit: None,
            errors: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// As read from an answer.
    pub(super) fn from_parts(parts: Parts) -> Problem {
        Problem(Box::new(parts))
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.0
    }

    pub(crate) fn with_errors(mut self, errors: Vec<ItemProblem>) -> Problem {
        self.0.errors = errors;
        self
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Problem {
        self.0.detail = detail.into();
        self
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.0.headers.push((name, value));
        self
    }

    /// 404 of a key; `revision` is the one at which it was missing.
    pub(crate) fn missing_key(revision: Revision) -> Problem {
        Problem::new(NOT_FOUND, "no such key").with_header(KVD_REVISION, HeaderValue::from(revision.0))
    }

    /// 404 of a key that had no value at this revision.
    pub(crate) fn missing_then(revision: Revision) -> Problem {
        Problem::new(NOT_FOUND, format!("the key had no value at revision {revision}"))
            .with_header(KVD_REVISION, HeaderValue::from(revision.0))
    }

    /// 404 of a key of which no version is kept; `revision` is the one at which that was so.
    pub(crate) fn no_history(revision: Revision) -> Problem {
        Problem::new(NOT_FOUND, "no version of this key is kept: it never had a value, or that was too long ago")
            .with_header(KVD_REVISION, HeaderValue::from(revision.0))
    }

    /// 405, saying what the route does allow.
    pub(crate) fn method_not_allowed(allowed: &[Method]) -> Problem {
        let list = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let value = HeaderValue::try_from(&list).expect("method names are letters");
        Problem::new(METHOD_NOT_ALLOWED, format!("this route takes {list}")).with_header(ALLOW, value)
    }

    /// 416, saying how long the value is.
    pub(crate) fn range_not_satisfiable(len: usize) -> Problem {
        let value = HeaderValue::try_from(format!("bytes */{len}")).expect("a number is ASCII");
        Problem::new(RANGE_NOT_SATISFIABLE, format!("the value has {len} bytes, and the range none of them"))
            .with_header(CONTENT_RANGE, value)
    }

    /// 422: a body is JSON or CBOR, but not what the route takes.
    pub(crate) fn invalid_item(pointer: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Problem {
        let error = ItemProblem { pointer: Some(pointer.into()), ..ItemProblem::default() };
        Problem::new(INVALID_ITEM, detail).with_errors(vec![error])
    }

    /// 400: the body ended before its announced end, or its chunks are broken.
    pub fn incomplete_body() -> Problem {
        Problem::new(MALFORMED_BODY, "the request's body did not arrive whole")
    }

    /// 410: commits that a watch asks for are not kept; `detail` says which are.
    pub fn commits_not_kept(detail: String) -> Problem {
        Problem::new(SNAPSHOT_TOO_OLD, detail)
    }

    /// 408: the rest of the request did not come in time.
    pub fn request_timeout() -> Problem {
        Problem::new(REQUEST_TIMEOUT, "the request's body did not arrive in time")
    }

    /// 503: the bodies in memory have reached `inbound_bytes_max`; this one was not read.
    pub fn busy() -> Problem {
        Problem::new(BUSY, "too many request bodies are in memory; nothing was changed")
    }

    /// 507: a body that never fits into the memory that there is for bodies; `bytes` where its length is known.
    pub fn body_without_room(bytes: Option<u64>, max: usize) -> Problem {
        let bytes = bytes.map_or("more bytes".to_owned(), |bytes| format!("{bytes} bytes"));
        let detail = format!(
            "the request's body has {bytes}, and all bodies together may take {max} bytes of memory; nothing was changed. Send \
             less at once, or raise the limit (memory.max)"
        );
        Problem::new(MEMORY_FULL, detail)
    }

    /// 503: not ready yet; `progress` says how far it is.
    pub fn loading(progress: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(LOADING, progress)
    }

    /// 503: a write to the disk has failed, for this reason.
    pub fn journal_failed(reason: String) -> Problem {
        Problem::new(JOURNAL_FAILED, reason)
    }

    /// 503, of a readiness probe: the disk is full, and writes are or will be refused.
    pub fn no_room() -> Problem {
        Problem::new(NO_ROOM, "the disk has no room for more of the journal; free space on it")
    }

    /// 503: the disk failed while an answer waited for it.
    pub fn outcome_unknown() -> Problem {
        Problem::new(OUTCOME_UNKNOWN, kvd_types::Error::OutcomeUnknown.to_string())
    }

    /// 409: the transaction is carrying out another request.
    pub fn transaction_busy() -> Problem {
        Problem::new(TX_BUSY, "this transaction is carrying out another request; one at a time")
    }

    /// 410: there is no such transaction, or no longer.
    pub fn transaction_ended() -> Problem {
        let detail = "no transaction of this name is open: it was never begun here, has ended, was left alone for too long, \
                      or was open for too long; begin another";
        Problem::new(TRANSACTION_ENDED, detail)
    }

    /// 429: open transactions remember as much as there is room for.
    pub fn transactions_full(exceeded: LimitExceeded) -> Problem {
        let detail = format!("{exceeded}: open transactions hold too much; end one, or wait");
        let mut problem = Problem::from(exceeded);
        let (code, limit) = (TOO_MANY_TRANSACTIONS, problem.0.limit.take());
        problem = Problem::new(code, detail);
        problem.0.limit = limit;
        problem
    }

    /// The same refusal of something that was carried out in part.
    pub fn after(mut self, what_was_done: &str) -> Problem {
        self.0.detail = format!("after {what_was_done}: {}", self.0.detail).into();
        self
    }

    /// 400: a sorted list can't go on after a key that is too long for a URL.
    pub(crate) fn no_cursor() -> Problem {
        let detail =
            "the next page would begin after a key that is too long for a URL; list without `sort` and `delimiter`";
        Problem::new(BAD_CURSOR, detail)
    }

    /// 400: the server has no disk to do this on.
    pub fn in_memory() -> Problem {
        Problem::new(UNSUPPORTED, "this server keeps its data in memory only: there is nothing to put it on")
    }

    /// 503: shutting down.
    pub fn stopping() -> Problem {
        Problem::new(CLOSED, "the server is stopping")
    }

    /// 500: a defect of the server's.
    pub fn internal() -> Problem {
        Problem::new(INTERNAL, "the server failed at this request; its log says how")
    }

    /// The status it is sent with.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// A stable name for scripts to compare: `not-found`.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// A sentence for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether the same request can succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// By which the server's log knows the request. Known to a client only.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The limit that was broken, if it was one.
    pub fn limit(&self) -> Option<&LimitHit> {
        self.0.limit.as_ref()
    }

    /// The parts at fault, if they can be told.
    pub fn errors(&self) -> &[ItemProblem] {
        &self.0.errors
    }

    /// The whole answer. Right for HEAD too: HTTP servers leave the body out, and its length stays.
    pub fn respond(&self, request_id: &str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(encode_problem(&self.0, Format::Json, Some(request_id))));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.0.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        headers.extend(self.0.headers.iter().cloned());
        response
    }
}

impl From<LimitExceeded> for Problem {
    /// 413, or 400 where a query asked for too much.
    fn from(exceeded: LimitExceeded) -> Problem {
        let code = if exceeded.limit == Limit::ListItems { PAGE_LIMIT_EXCEEDED } else { LIMIT_EXCEEDED };
        let mut problem = Problem::new(code, exceeded.to_string());
        let LimitExceeded { limit, max, actual, item: _ } = exceeded;
        problem.0.limit = Some(LimitHit { name: Cow::Borrowed(limit.name()), max, actual });
        problem
    }
}

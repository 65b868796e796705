//! A reply to the bytes of its answer. Judges what HTTP leaves to the answering side: conditions of a read, the range, HEAD.
//! Knows nothing of how a reply came about. Value bytes are handed on, never copied.
//!
//! Content-Length is left to the HTTP server, which knows the body; only answers to HEAD carry their own.

use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use kvd_types::{Command, ContentType, Entry, Epoch, Error, Etag, Key, LimitExceeded, Reply, Revision};

use super::batch::{
    Format, HistoryAnswer, InfoAnswer, ListAnswer, Message, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, SetItem,
    StatsAnswer,
};
use super::code::{
    CLOSED, CONFLICT, DISK_FULL, DUPLICATE_KEY, EMPTY_BATCH, FUTURE_REVISION, HISTORY_OFF, JOURNAL_FAILED, MEMORY_FULL,
    NOT_FOUND, NOT_IN_TRANSACTION, OUTCOME_UNKNOWN, PRECONDITION_FAILED, SNAPSHOT_TOO_OLD, STALE_CURSOR,
    TOO_MANY_TRANSACTIONS, VERSION_DROPPED,
};
use super::condition::TagList;
use super::problem::{ItemProblem, Problem};
use super::range::{ByteRange, Part};

/// The revision an answer is about.
pub(crate) const KVD_REVISION: HeaderName = HeaderName::from_static("kvd-revision");

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Where there is one key, there is no counting of items.
const ONE_CONDITION_FAILED: &str = "the key's condition does not hold; nothing was changed";

/// Headers of an answer that carries a value, and room for what the HTTP server adds.
const VALUE_HEADERS: usize = 10;

/// What of a request matters for its answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) head: bool,
    pub(super) format: Format,
    /// Whether `?enc=base64` was asked for.
    pub(super) base64: bool,
    /// The array of the request's body that held the items, for JSON pointers.
    pub(super) array: &'static str,
    /// Set for a GET that asks for more than the value.
    pub(super) read: Option<Box<Read>>,
}

impl Default for Answer {
    fn default() -> Self {
        Answer { head: false, format: Format::Json, base64: false, array: "items", read: None }
    }
}

/// Conditions and range of a GET.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) if_match: Option<TagList>,
    pub(super) if_none_match: Option<TagList>,
    pub(super) range: Option<ByteRange>,
    /// The version that `range` is meant for; none within matches no version.
    pub(super) if_range: Option<Option<Etag>>,
}

impl Answer {
    /// The answer to a command that was carried out. `epoch` is the store's.
    ///
    /// # Errors
    /// What HTTP calls a failure and the store does not: a missing key, a read whose condition does not hold, a range outside
    /// of the value.
    pub fn respond(&self, epoch: Epoch, command: &Command<'_>, reply: Reply) -> Result<Response<Bytes>, Problem> {
        match (reply, command) {
            (Reply::Got { entry: Some(entry), .. }, _) => self.value(epoch, entry),
            (Reply::Got { entry: None, .. }, Command::GetAt { revision, .. }) => Err(Problem::missing_then(*revision)),
            (Reply::Got { entry: None, revision } | Reply::Deleted { found: false, revision }, _) => {
                Err(Problem::missing_key(revision))
            }
            (Reply::Deleted { found: true, revision }, _) => Ok(bodiless(StatusCode::NO_CONTENT, None, revision)),
            (Reply::Set { revision, created }, _) => {
                let status = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
                Ok(bodiless(status, Some(Etag { epoch, revision }), revision))
            }
            (Reply::MultiGot { revision, entries }, Command::MultiGet { keys, .. }) => {
                Ok(self.message(revision, &MultiGetAnswer::new(epoch, revision, keys, entries)))
            }
            (Reply::MultiSet { revision, created, replaced }, Command::MultiSet { sets }) => {
                Ok(self.message(revision, &MultiSetAnswer::new(epoch, revision, sets, created, replaced)))
            }
            (Reply::MultiDeleted { revision, deleted, missing }, _) => {
                let answer = MultiDeleteAnswer { revision, deleted: deleted as u64, missing: missing as u64 };
                Ok(self.message(revision, &answer))
            }
            (Reply::Page(page), Command::List(list)) => {
                Ok(self.message(page.revision, &ListAnswer::new(epoch, list.values, page)))
            }
            (Reply::History { revision, versions }, _) if versions.is_empty() => Err(Problem::no_history(revision)),
            (Reply::History { revision, versions }, Command::History { key }) => {
                Ok(self.message(revision, &HistoryAnswer { key: key.borrow(), items: versions }))
            }
            (Reply::RolledBack { revision }, Command::Rollback(rollback)) => {
                let etag = Etag { epoch, revision };
                let mut response = self.message(revision, &SetItem { key: rollback.key.borrow(), etag });
                response.headers_mut().insert(ETAG, quoted(etag));
                Ok(response)
            }
            (Reply::MultiGot { .. } | Reply::MultiSet { .. } | Reply::Page(_) | Reply::Cleared { .. }, _)
            | (Reply::History { .. } | Reply::RolledBack { .. }, _) => Err(Problem::internal()),
        }
    }

    /// The answer to `GET /v1/stats`.
    pub fn stats(&self, stats: &StatsAnswer) -> Response<Bytes> {
        self.message(Revision(stats.revision), stats)
    }

    /// The answer to `GET /v1/info`.
    pub fn info(&self, info: &InfoAnswer) -> Response<Bytes> {
        self.message(Revision(info.revision), info)
    }

    /// The answer of a probe that has nothing to complain about. Otherwise it is a [`Problem`].
    pub fn probe(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(b"{\"status\":\"ok\"}"));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Format::Json.content_type()));
        self.finish(response)
    }

    /// 202: what was asked for is being done.
    pub fn accepted(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::ACCEPTED;
        self.finish(response)
    }

    /// The answer to a command that was refused.
    pub fn refuse(&self, command: &Command<'_>, error: Error) -> Problem {
        let detail = error.to_string();
        match error {
            Error::Missing { missing, .. } => {
                let errors = missing.into_iter().map(|index| self.item(command, index)).collect();
                Problem::new(NOT_FOUND, detail).with_errors(errors)
            }
            Error::PreconditionFailed { failures, .. } => {
                let failed = |have, index| ItemProblem { have: Some(have), ..self.item(command, index) };
                let errors = failures.iter().map(|failure| failed(failure.have, failure.index)).collect();
                let detail = if is_batch(command) { detail } else { ONE_CONDITION_FAILED.to_owned() };
                Problem::new(PRECONDITION_FAILED, detail).with_errors(errors)
            }
            Error::DuplicateKey { second, .. } => {
                Problem::new(DUPLICATE_KEY, detail).with_errors(vec![self.item(command, second)])
            }
            Error::EmptyBatch => {
                let array = ItemProblem { pointer: Some(format!("#/{}", self.array)), ..ItemProblem::default() };
                Problem::new(EMPTY_BATCH, detail).with_errors(vec![array])
            }
            Error::LimitExceeded(exceeded) => self.limit_exceeded(exceeded),
            Error::StaleCursor => Problem::new(STALE_CURSOR, detail),
            Error::SnapshotTooOld { .. } => Problem::new(SNAPSHOT_TOO_OLD, detail),
            Error::HistoryOff => Problem::new(HISTORY_OFF, detail),
            Error::VersionDropped { .. } => Problem::new(VERSION_DROPPED, detail),
            Error::NoVersion { .. } => Problem::new(NOT_FOUND, detail),
            Error::FutureRevision { .. } => Problem::new(FUTURE_REVISION, detail),
            Error::Conflict { keys } => {
                let changed = |key| ItemProblem { key: Some(key), ..ItemProblem::default() };
                Problem::new(CONFLICT, detail).with_errors(keys.into_iter().map(changed).collect())
            }
            Error::NotInTransaction { .. } => Problem::new(NOT_IN_TRANSACTION, detail),
            Error::TooManyTransactions { .. } => Problem::new(TOO_MANY_TRANSACTIONS, detail),
            Error::MemoryFull { .. } => Problem::new(MEMORY_FULL, detail),
            Error::DiskFull { .. } => Problem::new(DISK_FULL, detail),
            Error::JournalFailed => Problem::new(JOURNAL_FAILED, detail),
            Error::OutcomeUnknown => Problem::new(OUTCOME_UNKNOWN, detail),
            Error::Closed => Problem::new(CLOSED, detail),
        }
    }

    /// Without the key: it may be what is too long.
    fn limit_exceeded(&self, exceeded: LimitExceeded) -> Problem {
        let pointer = |index| ItemProblem { pointer: Some(self.pointer(index)), ..ItemProblem::default() };
        Problem::from(exceeded).with_errors(exceeded.item.map(pointer).into_iter().collect())
    }

    fn item(&self, command: &Command<'_>, index: usize) -> ItemProblem {
        let pointer = is_batch(command).then(|| self.pointer(index));
        let key = key_at(command, index).map(|key| key.clone().into_owned());
        ItemProblem { pointer, key, ..ItemProblem::default() }
    }

    fn pointer(&self, index: usize) -> String {
        format!("#/{}/{index}", self.array)
    }

    fn value(&self, epoch: Epoch, entry: Entry) -> Result<Response<Bytes>, Problem> {
        let etag = Etag { epoch, revision: entry.revision };
        let len = entry.value.len();
        let part = match &self.read {
            None => Part::Whole,
            Some(read) if read.if_match.as_ref().is_some_and(|list| !list.matches(etag)) => {
                let error = ItemProblem { have: Some(Some(etag)), ..ItemProblem::default() };
                return Err(Problem::new(PRECONDITION_FAILED, "If-Match does not name the key's version")
                    .with_errors(vec![error]));
            }
            Some(read) if read.if_none_match.as_ref().is_some_and(|list| list.matches(etag)) => {
                return Ok(bodiless(StatusCode::NOT_MODIFIED, Some(etag), entry.revision));
            }
            Some(read) => read.part(etag, len),
        };
        let (status, body) = match &part {
            Part::Whole => (StatusCode::OK, entry.value),
            Part::Slice(range) => (StatusCode::PARTIAL_CONTENT, entry.value.slice(range.clone())),
            Part::Unsatisfiable => return Err(Problem::range_not_satisfiable(len)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = value_headers(etag, entry.content_type);
        if let Part::Slice(range) = part {
            response.headers_mut().insert(CONTENT_RANGE, content_range(range, len));
        }
        Ok(self.finish(response))
    }

    fn message(&self, revision: Revision, message: &impl Message) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(message.encode(self.format, self.base64)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.format.content_type()));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(KVD_REVISION, HeaderValue::from(revision.0));
        self.finish(response)
    }

    /// Takes the body out of an answer to HEAD and says how long it was.
    fn finish(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        if self.head {
            let body = std::mem::take(response.body_mut());
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        response
    }
}

impl Read {
    fn part(&self, etag: Etag, len: usize) -> Part {
        match self.range {
            Some(range) if self.if_range.is_none_or(|tag| tag == Some(etag)) => range.of(len),
            _ => Part::Whole,
        }
    }
}

fn value_headers(etag: Etag, content_type: Option<ContentType>) -> HeaderMap {
    let content_type = match content_type {
        None => HeaderValue::from_static(ContentType::DEFAULT),
        Some(given) => HeaderValue::from_maybe_shared(given.as_bytes().clone()).expect("checked when it was stored"),
    };
    let mut headers = HeaderMap::with_capacity(VALUE_HEADERS);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(ETAG, quoted(etag));
    headers.insert(KVD_REVISION, HeaderValue::from(etag.revision.0));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A stored page must not become a page of this server in somebody's browser.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers
}

fn bodiless(status: StatusCode, etag: Option<Etag>, revision: Revision) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    if let Some(etag) = etag {
        response.headers_mut().insert(ETAG, quoted(etag));
    }
    response.headers_mut().insert(KVD_REVISION, HeaderValue::from(revision.0));
    response
}

/// An entity tag as a header writes it. Every get makes one, so it is put together without the formatting machinery.
fn quoted(etag: Etag) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut buffer = itoa::Buffer::new();
    let revision = buffer.format(etag.revision.0).as_bytes();
    let mut text = Vec::with_capacity("\"e1b2c3d4-\"".len() + revision.len());
    text.push(b'"');
    text.extend((0..8).rev().map(|digit| DIGITS[(etag.epoch.0 >> (4 * digit)) as usize & 0xf]));
    text.push(b'-');
    text.extend_from_slice(revision);
    text.push(b'"');
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits, a dash and quotes")
}

fn content_range(part: Range<usize>, len: usize) -> HeaderValue {
    let text = format!("bytes {}-{}/{len}", part.start, part.end - 1);
    HeaderValue::try_from(text).expect("numbers are ASCII")
}

fn is_batch(command: &Command<'_>) -> bool {
    matches!(command, Command::MultiGet { .. } | Command::MultiSet { .. } | Command::MultiDelete { .. })
}

fn key_at<'c>(command: &'c Command<'_>, index: usize) -> Option<&'c Key<'c>> {
    match command {
        Command::Get { key } => Some(key),
        Command::Set(set) => Some(&set.key),
        Command::Delete(delete) => Some(&delete.key),
        Command::GetAt { key, .. } | Command::History { key } => Some(key),
        Command::Rollback(rollback) => Some(&rollback.key),
        Command::MultiGet { keys, .. } => keys.get(index),
        Command::MultiSet { sets } => sets.get(index).map(|set| &set.key),
        Command::MultiDelete { deletes, .. } => deletes.get(index).map(|delete| &delete.key),
        Command::List(_) | Command::Clear => None,
    }
}

//! A reply to the bytes of its answer. Judges what HTTP leaves to the answering side: conditions of a read, the range, HEAD.
//! Knows nothing of how a reply came about. Value bytes are handed on, never copied.
//!
//! Content-Length is left to the HTTP server, which knows the body; only answers to HEAD carry their own.

use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use kvd_types::{Command, ContentType, Entry, Epoch, Etag, ItemFailure, Modify, Reply, Revision, Rule, Transaction};

use super::batch::{
    BeginAnswer, CommitAnswer, DeletePrefixAnswer, Format, HistoryAnswer, IncrementAnswer, InfoAnswer, ListAnswer,
    Message, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, OpResult, SetItem, StatsAnswer, TransactionAnswer,
    TtlAnswer,
};
use super::code::PRECONDITION_FAILED;
use super::condition::TagList;
use super::problem::{ItemProblem, Problem};
use super::range::{ByteRange, Part};
use super::transaction;
use super::ttl::{self, KVD_TTL};

/// The revision an answer is about.
pub(crate) const KVD_REVISION: HeaderName = HeaderName::from_static("kvd-revision");

/// The epoch of the store that an answer comes from, where that is to be compared.
pub(crate) const KVD_STORE: HeaderName = HeaderName::from_static("kvd-store");

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Headers of an answer that carries a value, and room for what the HTTP server adds.
const VALUE_HEADERS: usize = 10;

/// What an answer needs to know of the store.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    /// Which one it is.
    pub epoch: Epoch,
    /// Its time, in milliseconds since 1970.
    pub now_ms: u64,
}

impl Store {
    /// None of a write that is not committed: it has no revision yet, and 0 stands for it.
    pub(super) fn etag(self, revision: Revision) -> Option<Etag> {
        (revision != Revision(0)).then_some(Etag { epoch: self.epoch, revision })
    }

    /// How long a value has left; none for ever.
    pub(super) fn ttl_ms(self, entry: &Entry) -> Option<u64> {
        entry.expires_at_ms.map(|at| at.saturating_sub(self.now_ms))
    }
}

/// What the answer to a write of one key shows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returning {
    /// What it held before.
    Previous,
    /// What it holds now.
    New,
}

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
    /// Set for a write whose answer is to show the key.
    pub(super) returning: Option<Returning>,
}

impl Default for Answer {
    fn default() -> Self {
        Answer { head: false, format: Format::Json, base64: false, array: "items", read: None, returning: None }
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
    /// The answer to a command that was carried out.
    ///
    /// # Errors
    /// What HTTP calls a failure and the store does not: a missing key, a read whose condition does not hold, a range outside
    /// of the value.
    pub fn respond(&self, store: Store, command: &Command<'_>, reply: Reply) -> Result<Response<Bytes>, Problem> {
        match (reply, command) {
            // What is left of an old version's time to live is nothing of now.
            (Reply::Got { entry: Some(entry), .. }, Command::GetAt { .. }) => {
                self.value(store, Entry { expires_at_ms: None, ..entry })
            }
            (Reply::Got { entry: None, .. }, Command::GetAt { revision, .. }) => Err(Problem::missing_then(*revision)),
            (Reply::Got { entry: Some(entry), .. }, Command::Peek { key }) => {
                Ok(self.message(entry.revision, &TtlAnswer::new(store, key, &entry)))
            }
            (Reply::Got { entry: Some(entry), .. }, _) => self.value(store, entry),
            (Reply::Got { entry: None, revision } | Reply::Deleted { found: false, revision }, _) => {
                Err(Problem::missing_key(revision))
            }
            (Reply::Deleted { found: true, revision }, _) => Ok(bodiless(StatusCode::NO_CONTENT, None, revision)),
            (Reply::Set { revision, created }, _) => {
                let status = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
                Ok(bodiless(status, store.etag(revision), revision))
            }
            (Reply::Modified { revision, entry, .. }, Command::Modify(modify)) => {
                self.modified(store, modify, revision, entry)
            }
            (Reply::MultiGot { revision, entries }, Command::MultiGet { keys, .. }) => {
                Ok(self.message(revision, &MultiGetAnswer::new(store, revision, keys, entries)))
            }
            (Reply::MultiSet { revision, created, replaced }, Command::MultiSet { sets }) => {
                Ok(self.message(revision, &MultiSetAnswer::new(store, revision, sets, created, replaced)))
            }
            (Reply::MultiDeleted { revision, deleted, missing }, _) => {
                let answer = MultiDeleteAnswer { revision, deleted: deleted as u64, missing: missing as u64 };
                Ok(self.message(revision, &answer))
            }
            (Reply::Page(page), Command::List(list)) => {
                Ok(self.message(page.revision, &ListAnswer::new(store, list.values, page)))
            }
            (Reply::History { revision, versions }, _) if versions.is_empty() => Err(Problem::no_history(revision)),
            (Reply::History { revision, versions }, Command::History { key }) => {
                Ok(self.message(revision, &HistoryAnswer { key: key.borrow(), items: versions }))
            }
            (Reply::RolledBack { revision }, Command::Rollback(rollback)) => {
                let etag = store.etag(revision);
                let mut response = self.message(revision, &SetItem { key: rollback.key.borrow(), etag });
                response.headers_mut().extend(etag.map(|etag| (ETAG, quoted(etag))));
                Ok(response)
            }
            (Reply::SortedPage(page), Command::ListSorted(list)) => {
                let revision = page.revision;
                let answer = ListAnswer::sorted(store, list.values, list.delimiter.is_some(), page);
                Ok(self.message(revision, &answer.ok_or_else(Problem::no_cursor)?))
            }
            (Reply::Transaction { revision, failed_checks, replies }, Command::Transaction(transaction)) => {
                let replies = replies.into_iter().collect::<Result<Vec<_>, _>>();
                let replies = replies.map_err(|error| self.refuse(command, error))?;
                match self.returning {
                    Some(returning) => self.returned(store, returning, replies),
                    None => self.transaction(store, transaction, revision, &failed_checks, replies),
                }
            }
            (Reply::Cleared { revision, deleted }, _) => Ok(self.deleted_all(revision, deleted)),
            (
                Reply::MultiGot { .. }
                | Reply::MultiSet { .. }
                | Reply::Modified { .. }
                | Reply::Transferred { .. }
                | Reply::Transaction { .. }
                | Reply::Page(_)
                | Reply::SortedPage(_)
                | Reply::History { .. }
                | Reply::RolledBack { .. },
                _,
            ) => Err(Problem::internal()),
        }
    }

    /// The answer to a deletion of all keys, or of all with a prefix.
    pub fn deleted_all(&self, revision: Revision, deleted: u64) -> Response<Bytes> {
        self.message(revision, &DeletePrefixAnswer { deleted, revision })
    }

    /// 201: a transaction is open.
    pub fn begun(&self, begun: &BeginAnswer) -> Response<Bytes> {
        let mut response = self.message(begun.revision, begun);
        *response.status_mut() = StatusCode::CREATED;
        let location = format!("{}/{}", transaction::PATH, begun.id);
        response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).expect("names are ASCII"));
        response
    }

    /// The answer to a commit.
    pub fn committed(&self, revision: Revision) -> Response<Bytes> {
        self.message(revision, &CommitAnswer { revision })
    }

    /// 204: a transaction was given up.
    pub fn rolled_back(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    /// Whether the answer is to have no body, since HEAD asks.
    pub fn is_head(&self) -> bool {
        self.head
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

    fn modified(
        &self,
        store: Store,
        Modify { key, rule, .. }: &Modify<'_>,
        revision: Revision,
        entry: Option<Entry>,
    ) -> Result<Response<Bytes>, Problem> {
        let shown = |response| Ok(self.with_preference(response));
        match (rule, entry) {
            (Rule::Increment { .. }, Some(entry)) => {
                let answer = IncrementAnswer::new(store, key, &entry).ok_or_else(Problem::internal)?;
                shown(self.message(revision, &answer))
            }
            (Rule::Expire { .. }, None) => Err(Problem::missing_key(revision)),
            (Rule::Expire { .. }, Some(entry)) if self.returning.is_some() => {
                shown(self.message(revision, &TtlAnswer::new(store, key, &entry)))
            }
            (Rule::Expire { .. }, Some(entry)) => {
                Ok(bodiless(StatusCode::NO_CONTENT, store.etag(entry.revision), revision))
            }
            _ => Err(Problem::internal()),
        }
    }

    fn transaction(
        &self,
        store: Store,
        asked: &Transaction<'_>,
        revision: Revision,
        failed_checks: &[ItemFailure],
        replies: Vec<Reply>,
    ) -> Result<Response<Bytes>, Problem> {
        let commands = match &asked.otherwise {
            Some(otherwise) if !failed_checks.is_empty() => otherwise,
            _ => &asked.commands,
        };
        let results = commands.iter().zip(replies).map(|(command, reply)| OpResult::new(store, command, reply));
        let results: Option<Vec<_>> = results.collect();
        let failed_checks = failed_checks.iter().map(|failure| failure.index as u64).collect();
        let results = results.filter(|results| results.len() == commands.len()).ok_or_else(Problem::internal)?;
        Ok(self.message(revision, &TransactionAnswer { revision, failed_checks, results }))
    }

    /// The answer to a write with the read that stood beside it.
    fn returned(&self, store: Store, returning: Returning, replies: Vec<Reply>) -> Result<Response<Bytes>, Problem> {
        let mut replies = replies.into_iter();
        match (returning, replies.next(), replies.next()) {
            (Returning::Previous, Some(Reply::Got { entry, .. }), Some(written)) => {
                let (otherwise, etag, revision) = match written {
                    Reply::Set { revision, .. } => (StatusCode::CREATED, store.etag(revision), revision),
                    Reply::Deleted { revision, .. } => (StatusCode::NO_CONTENT, None, revision),
                    _ => return Err(Problem::internal()),
                };
                let Some(entry) = entry else { return Ok(bodiless(otherwise, etag, revision)) };
                // The body is the old value, tag and revision are the write's.
                Ok(written_value(store, StatusCode::OK, etag, revision, entry))
            }
            (Returning::New, Some(Reply::Set { revision, created }), Some(Reply::Got { entry: Some(entry), .. })) => {
                let status = if created { StatusCode::CREATED } else { StatusCode::OK };
                let etag = store.etag(revision);
                Ok(self.with_preference(written_value(store, status, etag, revision, entry)))
            }
            _ => Err(Problem::internal()),
        }
    }

    /// Says that the new state is shown, where that was asked for.
    fn with_preference(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        if self.returning == Some(Returning::New) {
            response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("return=representation"));
        }
        response
    }

    fn value(&self, store: Store, entry: Entry) -> Result<Response<Bytes>, Problem> {
        let etag = store.etag(entry.revision);
        let ttl_ms = store.ttl_ms(&entry);
        let len = entry.value.len();
        let part = match &self.read {
            None => Part::Whole,
            Some(read) if read.if_match.as_ref().is_some_and(|list| !list.matches(etag)) => {
                let have = Etag { epoch: store.epoch, revision: entry.revision };
                let error = ItemProblem { have: Some(Some(have)), ..ItemProblem::default() };
                return Err(Problem::new(PRECONDITION_FAILED, "If-Match does not name the key's version")
                    .with_errors(vec![error]));
            }
            Some(read) if read.if_none_match.as_ref().is_some_and(|list| list.matches(etag)) => {
                return Ok(bodiless(StatusCode::NOT_MODIFIED, etag, entry.revision));
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
        *response.headers_mut() = value_headers(etag, entry.revision, ttl_ms, entry.content_type);
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
    fn part(&self, etag: Option<Etag>, len: usize) -> Part {
        match self.range {
            Some(range) if self.if_range.is_none_or(|tag| tag.is_some() && tag == etag) => range.of(len),
            _ => Part::Whole,
        }
    }
}

/// A value in the answer to a write: with the tag and the revision of the write, and not for ranges.
fn written_value(
    store: Store,
    status: StatusCode,
    etag: Option<Etag>,
    revision: Revision,
    entry: Entry,
) -> Response<Bytes> {
    let mut headers = value_headers(etag, revision, store.ttl_ms(&entry), entry.content_type);
    headers.remove(ACCEPT_RANGES);
    let mut response = Response::new(entry.value);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn value_headers(
    etag: Option<Etag>,
    revision: Revision,
    ttl_ms: Option<u64>,
    content_type: Option<ContentType>,
) -> HeaderMap {
    let content_type = match content_type {
        None => HeaderValue::from_static(ContentType::DEFAULT),
        Some(given) => HeaderValue::from_maybe_shared(given.as_bytes().clone()).expect("checked when it was stored"),
    };
    let mut headers = HeaderMap::with_capacity(VALUE_HEADERS);
    headers.insert(CONTENT_TYPE, content_type);
    if let Some(etag) = etag {
        headers.insert(ETAG, quoted(etag));
    }
    headers.insert(KVD_REVISION, HeaderValue::from(revision.0));
    if let Some(ttl_ms) = ttl_ms {
        headers.insert(KVD_TTL, ttl::header_of_rest(ttl_ms));
    }
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

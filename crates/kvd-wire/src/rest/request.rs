//! A request's head to an [`Operation`]: which route, which key, under which conditions, and how the answer is to look.
//! Reads no body: what needs one waits as [`Put`], [`Batch`], [`Rollback`] or [`Begin`] until the session has it.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use kvd_types::{Command, Condition, ContentType, Delete, Key, Limit, Limits, Set, Ttl};

use super::batch::{self, Bounds, Format, Verb};
use super::code::{
    BAD_HEADER, BAD_KEY, BAD_QUERY, NO_SUCH_ROUTE, UNEXPECTED_BODY, UNSUPPORTED, UNSUPPORTED_MEDIA_TYPE,
    UNSUPPORTED_ROUTE,
};
use super::condition::{self, if_range_tag};
use super::head::Head;
use super::history::Rollback;
use super::negotiate::{answer_format, body_format};
use super::one_key;
use super::path::{BASE64_PREFIX, BadKey, PATH_PREFIX, decode, decode_base64url, key_below};
use super::problem::Problem;
use super::query::Query;
use super::range::ByteRange;
use super::response::{Answer, Read, Returning};
use super::transaction::{self, Mode, TransactionId};
use super::watch::Watch;

/// A request whose body, if it has one, is still to be read.
#[derive(Debug)]
pub struct Request<'a> {
    /// What to do. Keys are borrowed from the URL.
    pub operation: Operation<'a>,
    /// How to answer.
    pub answer: Answer,
    /// The open transaction that it is to be carried out in.
    pub transaction: Option<TransactionId>,
}

/// What a request asks for.
#[derive(Debug)]
pub enum Operation<'a> {
    /// A command that is complete.
    Run(Command<'a>),
    /// A set of one key; the body is its value.
    Put(Put<'a>),
    /// A batch; the body says what of.
    Batch(Batch),
    /// A rollback of one key; the body says to which revision.
    Rollback(Rollback<'a>),
    /// `DELETE /v1/keys?prefix=`: all keys that begin so.
    DeletePrefix(Key<'a>),
    /// `POST /v1/tx`; the body says in which mode.
    Begin(Begin),
    /// `POST /v1/tx/{id}/commit`
    Commit(TransactionId),
    /// `DELETE /v1/tx/{id}`
    RollBack(TransactionId),
    /// `GET /v1/watch`
    Watch(Watch<'a>),
    /// `GET /v1/stats`
    Stats,
    /// `GET /v1/info`
    Info,
    /// `POST /v1/admin/snapshot`
    Snapshot,
    /// `GET /healthz`: whether the process serves at all.
    Healthz,
    /// `GET /readyz`: whether it serves what it is for.
    Readyz,
}

impl Operation<'_> {
    /// Which limit bounds the body. None when there is none: a request that brings one all the same was refused.
    pub fn body_limit(&self) -> Option<Limit> {
        match self {
            Operation::Put(_) => Some(Limit::ValueBytes),
            Operation::Batch(_) | Operation::Rollback(_) | Operation::Begin(_) => Some(Limit::BatchBytes),
            _ => None,
        }
    }
}

/// A set of one key that waits for its value.
#[derive(Debug)]
pub struct Put<'a> {
    key: Key<'a>,
    content_type: Option<ContentType>,
    ttl: Ttl,
    condition: Condition,
    returning: Option<Returning>,
}

impl<'a> Put<'a> {
    /// The command, now that the value is there.
    pub fn command(self, value: Bytes) -> Command<'a> {
        let Put { key, content_type, ttl, condition, returning } = self;
        one_key::set_of(Set { key, value, content_type, ttl, condition }, returning)
    }
}

/// A transaction that is to be opened, and waits for its mode.
#[derive(Debug)]
pub struct Begin {
    format: Format,
}

impl Begin {
    /// The mode in `body`.
    ///
    /// # Errors
    /// 400 when it is not JSON or CBOR at all, 422 when it names no mode.
    pub fn mode(&self, body: &[u8]) -> Result<Mode, Problem> {
        batch::decode_begin(self.format, body)
    }
}

/// A batch that waits for its body.
#[derive(Debug)]
pub struct Batch {
    verb: Verb,
    format: Format,
    bounds: Bounds,
}

impl Batch {
    /// The command in `body`; keys are borrowed from it. `answer` learns which array the items came in, so that an error can
    /// point at them.
    ///
    /// # Errors
    /// 400 when it is not JSON or CBOR at all, 422 when it is no such batch, 413 when it has too many items.
    pub fn command<'b>(&self, body: &'b [u8], answer: &mut Answer) -> Result<Command<'b>, Problem> {
        let (command, array) = batch::decode_request(self.verb, self.format, body, self.bounds)?;
        answer.array = array;
        Ok(command)
    }
}

/// Reads a request's head. `limits` bound the reading of a batch later; those on keys and values are for the store to hold.
///
/// # Errors
/// The answer to a request that can't be carried out, known before its body is read.
pub fn parse<'a>(method: &Method, uri: &'a Uri, headers: &HeaderMap, limits: &Limits) -> Result<Request<'a>, Problem> {
    let route = Route::of(uri.path())?;
    route.check_method(method)?;
    let mut query = Query::parse(uri.query())?;
    let head = Head::read(headers)?;
    if head.has_body && !route.takes_body(method) {
        return Err(Problem::new(UNEXPECTED_BODY, format!("{method} takes no body here")));
    }
    let transaction = head.transaction.map(|name| route.check_transaction(method, name.as_bytes())).transpose()?;
    let mut answer = Answer { head: *method == Method::HEAD, ..Answer::default() };
    let operation = match route {
        Route::Key(key) => single(method, in_url(key)?, head, &mut query, &mut answer)?,
        Route::History(key) => {
            answer.format = answer_format(headers, Format::Json)?;
            Operation::Run(Command::History { key: in_url(key)? })
        }
        Route::Rollback(key) => {
            if head.content_encoding.is_some() {
                return Err(content_encoding());
            }
            let format = body_format(head.content_type)?;
            answer.format = answer_format(headers, format)?;
            let condition = condition::of_write(head.if_match, head.if_none_match)?;
            Operation::Rollback(Rollback::new(in_url(key)?, condition, format))
        }
        Route::Ttl(key) => {
            answer.format = answer_format(headers, Format::Json)?;
            expiry(method, in_url(key)?, head, &mut query, &mut answer)?
        }
        Route::Increment(key) => {
            answer.format = answer_format(headers, Format::Json)?;
            answer.returning = head.wants_representation.then_some(Returning::New);
            let condition = condition::of_write(head.if_match, head.if_none_match)?;
            Operation::Run(one_key::increment(in_url(key)?, &mut query, condition)?)
        }
        Route::Batch(verb) => {
            let format = batch_format(&head)?;
            answer.format = answer_format(headers, format)?;
            answer.base64 = matches!(verb, Verb::Get | Verb::Transact) && query.take_base64()?;
            Operation::Batch(Batch { verb, format, bounds: Bounds::from(limits) })
        }
        Route::List if *method == Method::DELETE => {
            answer.format = answer_format(headers, Format::Json)?;
            if head.if_match.is_some() || head.if_none_match.is_some() {
                return Err(Problem::new(BAD_HEADER, "keys that are deleted by their prefix take no condition"));
            }
            query.take_deletion()?.map_or(Operation::Run(Command::Clear), Operation::DeletePrefix)
        }
        Route::List => {
            answer.format = answer_format(headers, Format::Json)?;
            answer.base64 = query.take_base64()?;
            Operation::Run(query.take_list()?)
        }
        Route::Begin => {
            let format = body_format(head.content_type)?;
            answer.format = answer_format(headers, format)?;
            Operation::Begin(Begin { format })
        }
        Route::Commit(id) => {
            answer.format = answer_format(headers, Format::Json)?;
            Operation::Commit(id.ok_or_else(Problem::transaction_ended)?)
        }
        Route::Transaction(id) => Operation::RollBack(id.ok_or_else(Problem::transaction_ended)?),
        Route::Watch => Operation::Watch(Watch::read(&mut query, headers)?),
        Route::Stats => {
            answer.format = answer_format(headers, Format::Json)?;
            Operation::Stats
        }
        Route::Info => {
            answer.format = answer_format(headers, Format::Json)?;
            Operation::Info
        }
        Route::Snapshot => Operation::Snapshot,
        Route::Healthz => Operation::Healthz,
        Route::Readyz => Operation::Readyz,
    };
    query.finish()?;
    if transaction.is_some() && matches!(operation, Operation::Run(Command::GetAt { .. })) {
        return Err(Problem::new(BAD_QUERY, "`rev` is read outside of transactions; leave it or Kvd-Tx out"));
    }
    Ok(Request { operation, answer, transaction })
}

enum Route<'a> {
    /// Already decoded; judged after the method.
    Key(Result<Key<'a>, BadKey>),
    /// As above.
    Ttl(Result<Key<'a>, BadKey>),
    /// As above.
    Increment(Result<Key<'a>, BadKey>),
    History(Result<Key<'a>, BadKey>),
    Rollback(Result<Key<'a>, BadKey>),
    List,
    Batch(Verb),
    Begin,
    /// None for what is the name of no transaction, open or not.
    Commit(Option<TransactionId>),
    /// As above.
    Transaction(Option<TransactionId>),
    Watch,
    Stats,
    Info,
    Snapshot,
    Healthz,
    Readyz,
}

/// Routes of the contract that this version does not have yet; one that ends with a slash stands for all below it.
const UNBUILT: &[&str] = &["/v1/export", "/v1/import", "/v1/admin/", "/metrics", "/openapi.json"];

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Result<Self, Problem> {
        if let Some(raw) = path.strip_prefix(PATH_PREFIX) {
            return Ok(Route::Key(decode(raw)));
        }
        if let Some(raw) = path.strip_prefix(BASE64_PREFIX) {
            return Ok(Route::Key(decode_base64url(raw)));
        }
        if let Some(key) = key_below(path, "history") {
            return Ok(Route::History(key));
        }
        if let Some(key) = key_below(path, "rollback") {
            return Ok(Route::Rollback(key));
        }
        if let Some(key) = key_below(path, "ttl") {
            return Ok(Route::Ttl(key));
        }
        if let Some(key) = key_below(path, "incr") {
            return Ok(Route::Increment(key));
        }
        if let Some(name) = path.strip_prefix(transaction::PATH).and_then(|below| below.strip_prefix('/')) {
            return Ok(match name.strip_suffix("/commit") {
                Some(name) => Route::Commit(name.parse().ok()),
                None => Route::Transaction(name.parse().ok()),
            });
        }
        match path {
            "/v1/keys" => Ok(Route::List),
            transaction::PATH => Ok(Route::Begin),
            "/v1/txn" => Ok(Route::Batch(Verb::Transact)),
            "/v1/mget" => Ok(Route::Batch(Verb::Get)),
            "/v1/mset" => Ok(Route::Batch(Verb::Set)),
            "/v1/mdelete" => Ok(Route::Batch(Verb::Delete)),
            "/v1/watch" => Ok(Route::Watch),
            "/v1/stats" => Ok(Route::Stats),
            "/v1/info" => Ok(Route::Info),
            "/v1/admin/snapshot" => Ok(Route::Snapshot),
            "/healthz" => Ok(Route::Healthz),
            "/readyz" => Ok(Route::Readyz),
            _ => Err(no_route(path)),
        }
    }

    fn check_method(&self, method: &Method) -> Result<(), Problem> {
        let allowed: &[Method] = match self {
            Route::Key(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
            Route::Ttl(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
            Route::Increment(_)
            | Route::Rollback(_)
            | Route::Batch(_)
            | Route::Begin
            | Route::Commit(_)
            | Route::Snapshot => &[Method::POST],
            Route::Transaction(_) => &[Method::DELETE],
            Route::List => &[Method::GET, Method::HEAD, Method::DELETE],
            Route::History(_) | Route::Watch | Route::Stats | Route::Info | Route::Healthz | Route::Readyz => {
                &[Method::GET, Method::HEAD]
            }
        };
        if allowed.contains(method) { Ok(()) } else { Err(Problem::method_not_allowed(allowed)) }
    }

    fn takes_body(&self, method: &Method) -> bool {
        match self {
            Route::Key(_) => method == Method::PUT,
            Route::Batch(_) | Route::Rollback(_) | Route::Begin => true,
            _ => false,
        }
    }

    /// The transaction that a request is to be carried out in.
    fn check_transaction(&self, method: &Method, name: &[u8]) -> Result<TransactionId, Problem> {
        let runs_inside = match self {
            Route::Key(_) | Route::Ttl(_) | Route::Increment(_) => true,
            Route::Batch(verb) => *verb != Verb::Transact,
            Route::List => method != Method::DELETE,
            _ => false,
        };
        if !runs_inside {
            return Err(Problem::new(BAD_HEADER, "this is done outside of transactions; leave Kvd-Tx out"));
        }
        let id = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        id.ok_or_else(Problem::transaction_ended)
    }
}

fn in_url(key: Result<Key<'_>, BadKey>) -> Result<Key<'_>, Problem> {
    key.map_err(|why| Problem::new(BAD_KEY, format!("the key in the URL: {why}")))
}

fn no_route(path: &str) -> Problem {
    let unbuilt = |route: &&str| if route.ends_with('/') { path.starts_with(*route) } else { path == *route };
    match UNBUILT.iter().find(|route| unbuilt(route)) {
        Some(route) => Problem::new(UNSUPPORTED_ROUTE, format!("route {route} is not built in this version")),
        None => {
            Problem::new(NO_SUCH_ROUTE, "there is nothing here; keys are at /v1/keys/KEY, the server is at /v1/info")
        }
    }
}

fn single<'a>(
    method: &Method,
    key: Key<'a>,
    head: Head<'_>,
    query: &mut Query<'_>,
    answer: &mut Answer,
) -> Result<Operation<'a>, Problem> {
    match *method {
        Method::PUT => {
            let put = put(key, head, query)?;
            answer.returning = put.returning;
            Ok(Operation::Put(put))
        }
        Method::DELETE => {
            let condition = condition::of_write(head.if_match, head.if_none_match)?;
            // Nothing is left to be shown of a key that is deleted.
            answer.returning = one_key::returning(false, query)?;
            let delete = Command::Delete(Delete { key: key.clone(), condition });
            Ok(Operation::Run(one_key::with_read(delete, key, answer.returning)))
        }
        _ => {
            answer.read = read(head, method);
            Ok(Operation::Run(match query.take_revision("rev")? {
                Some(revision) => Command::GetAt { key, revision },
                None => Command::Get { key },
            }))
        }
    }
}

/// What a key's expiry is asked, or told.
fn expiry<'a>(
    method: &Method,
    key: Key<'a>,
    head: Head<'_>,
    query: &mut Query<'_>,
    answer: &mut Answer,
) -> Result<Operation<'a>, Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(Operation::Run(Command::Peek { key }));
    }
    answer.returning = head.wants_representation.then_some(Returning::New);
    let condition = condition::of_write(head.if_match, head.if_none_match)?;
    Ok(Operation::Run(match *method {
        Method::PUT => one_key::expire(key, head.ttl, query, condition)?,
        _ => one_key::with_expiry(key, Ttl::None, condition),
    }))
}

fn put<'a>(key: Key<'a>, head: Head<'_>, query: &mut Query<'_>) -> Result<Put<'a>, Problem> {
    if head.content_encoding.is_some() {
        return Err(content_encoding());
    }
    if head.content_range.is_some() {
        return Err(Problem::new(UNSUPPORTED, "a PUT sets the whole value; Content-Range is not supported"));
    }
    let content_type = head.content_type.map(|value| ContentType::new(value.as_bytes())).transpose();
    let content_type = content_type.map_err(|why| Problem::new(BAD_HEADER, format!("Content-Type: {why}")))?;
    Ok(Put {
        key,
        content_type: content_type.filter(|given| given.as_str() != ContentType::DEFAULT),
        ttl: one_key::ttl(head.ttl, query)?.unwrap_or_default(),
        condition: condition::of_write(head.if_match, head.if_none_match)?,
        returning: one_key::returning(head.wants_representation, query)?,
    })
}

/// What a GET or HEAD asks besides the value; none is the plain case. Ranges are defined for GET alone.
fn read(head: Head<'_>, method: &Method) -> Option<Box<Read>> {
    let range = head.range.filter(|_| method == Method::GET).and_then(ByteRange::parse);
    if head.if_match.is_none() && head.if_none_match.is_none() && range.is_none() {
        return None;
    }
    Some(Box::new(Read {
        if_match: head.if_match,
        if_none_match: head.if_none_match,
        range,
        if_range: head.if_range.map(if_range_tag),
    }))
}

fn batch_format(head: &Head<'_>) -> Result<Format, Problem> {
    if head.content_encoding.is_some() {
        return Err(content_encoding());
    }
    if head.if_match.is_some() || head.if_none_match.is_some() {
        return Err(Problem::new(BAD_HEADER, "the conditions of a batch stand in its items, as `if`"));
    }
    body_format(head.content_type)
}

fn content_encoding() -> Problem {
    Problem::new(UNSUPPORTED_MEDIA_TYPE, "bodies are taken as they are; send this one without Content-Encoding")
}

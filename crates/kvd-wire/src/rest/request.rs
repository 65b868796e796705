//! A request's head to an [`Operation`]: which route, which key, under which conditions, and how the answer is to look.
//! Reads no body: what needs one waits as [`Put`], [`Batch`] or [`Rollback`] until the session has it.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use kvd_types::{Command, Condition, ContentType, Delete, Key, Limit, Limits, Set};

use super::batch::{self, Bounds, Format, Verb};
use super::code::{
    BAD_HEADER, BAD_KEY, NO_SUCH_ROUTE, UNEXPECTED_BODY, UNSUPPORTED, UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ROUTE,
};
use super::condition::{self, if_range_tag};
use super::head::Head;
use super::history::{self, Rollback};
use super::negotiate::{answer_format, body_format};
use super::path::{BASE64_PREFIX, BadKey, PATH_PREFIX, decode, decode_base64url, key_below};
use super::problem::Problem;
use super::query::Query;
use super::range::ByteRange;
use super::response::{Answer, Read};

/// A request whose body, if it has one, is still to be read.
#[derive(Debug)]
pub struct Request<'a> {
    /// What to do. Keys are borrowed from the URL.
    pub operation: Operation<'a>,
    /// How to answer.
    pub answer: Answer,
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
            Operation::Batch(_) | Operation::Rollback(_) => Some(Limit::BatchBytes),
            _ => None,
        }
    }
}

/// A set of one key that waits for its value.
#[derive(Debug)]
pub struct Put<'a> {
    key: Key<'a>,
    content_type: Option<ContentType>,
    condition: Condition,
}

impl<'a> Put<'a> {
    /// The command, now that the value is there.
    pub fn command(self, value: Bytes) -> Command<'a> {
        Command::Set(Set { condition: self.condition, content_type: self.content_type, ..Set::new(self.key, value) })
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
    let takes_body = matches!(*method, Method::PUT | Method::POST) && !matches!(route, Route::Snapshot);
    if head.has_body && !takes_body {
        return Err(Problem::new(UNEXPECTED_BODY, format!("{method} takes no body here")));
    }
    let mut answer = Answer { head: *method == Method::HEAD, ..Answer::default() };
    let operation = match route {
        Route::Key(key) => {
            let key = in_url(key)?;
            let is_read = matches!(*method, Method::GET | Method::HEAD);
            let revision = if is_read { history::take_revision(&mut query)? } else { None };
            match (single(method, key, head, &mut answer)?, revision) {
                (Operation::Run(Command::Get { key }), Some(revision)) => {
                    Operation::Run(Command::GetAt { key, revision })
                }
                (operation, _) => operation,
            }
        }
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
        Route::Batch(verb) => {
            let format = batch_format(&head)?;
            answer.format = answer_format(headers, format)?;
            answer.base64 = verb == Verb::Get && query.take_base64()?;
            Operation::Batch(Batch { verb, format, bounds: Bounds::from(limits) })
        }
        Route::List => {
            answer.format = answer_format(headers, Format::Json)?;
            answer.base64 = query.take_base64()?;
            Operation::Run(Command::List(query.take_list()?))
        }
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
    Ok(Request { operation, answer })
}

enum Route<'a> {
    /// Already decoded; judged after the method.
    Key(Result<Key<'a>, BadKey>),
    History(Result<Key<'a>, BadKey>),
    Rollback(Result<Key<'a>, BadKey>),
    List,
    Batch(Verb),
    Stats,
    Info,
    Snapshot,
    Healthz,
    Readyz,
}

/// Routes of the contract that this version does not have yet; one that ends with a slash stands for all below it.
const UNBUILT: &[&str] = &[
    "/v1/ttl/",
    "/v1/ttl64/",
    "/v1/incr/",
    "/v1/incr64/",
    "/v1/txn",
    "/v1/tx",
    "/v1/tx/",
    "/v1/watch",
    "/v1/export",
    "/v1/import",
    "/v1/admin/",
    "/metrics",
    "/openapi.json",
];

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
        match path {
            "/v1/keys" => Ok(Route::List),
            "/v1/mget" => Ok(Route::Batch(Verb::Get)),
            "/v1/mset" => Ok(Route::Batch(Verb::Set)),
            "/v1/mdelete" => Ok(Route::Batch(Verb::Delete)),
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
            Route::Batch(_) | Route::Rollback(_) | Route::Snapshot => &[Method::POST],
            Route::List if method == Method::DELETE => {
                return Err(Problem::new(UNSUPPORTED, "deleting by prefix is not built in this version"));
            }
            Route::List | Route::History(_) | Route::Stats | Route::Info | Route::Healthz | Route::Readyz => {
                &[Method::GET, Method::HEAD]
            }
        };
        if allowed.contains(method) { Ok(()) } else { Err(Problem::method_not_allowed(allowed)) }
    }
}

fn in_url<'a>(key: Result<Key<'a>, BadKey>) -> Result<Key<'a>, Problem> {
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

fn single<'a>(method: &Method, key: Key<'a>, head: Head<'_>, answer: &mut Answer) -> Result<Operation<'a>, Problem> {
    match *method {
        Method::PUT => Ok(Operation::Put(put(key, head)?)),
        Method::DELETE => {
            let condition = condition::of_write(head.if_match, head.if_none_match)?;
            Ok(Operation::Run(Command::Delete(Delete { key, condition })))
        }
        _ => {
            answer.read = read(head, method);
            Ok(Operation::Run(Command::Get { key }))
        }
    }
}

fn put<'a>(key: Key<'a>, head: Head<'_>) -> Result<Put<'a>, Problem> {
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
        condition: condition::of_write(head.if_match, head.if_none_match)?,
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

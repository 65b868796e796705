//! What the tests of this crate share: a request written in one line, and its parts.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use kvd_types::{Command, Epoch, Etag, Key, Limits, Revision};
use kvd_wire::rest::batch::{Format, Message};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::{Operation, Request, parse};
use kvd_wire::rest::response::{Answer, Store};

/// The store that answers here.
pub(crate) const EPOCH: Epoch = Epoch(0xe1b2_c3d4);

/// And how it stands when it answers.
pub(crate) const STORE: Store = Store { epoch: EPOCH, now_ms: 1_000_000 };

pub(crate) fn etag(revision: u64) -> Etag {
    Etag { epoch: EPOCH, revision: Revision(revision) }
}

pub(crate) fn key(bytes: impl AsRef<[u8]>) -> Key<'static> {
    Key::new(bytes.as_ref().to_vec()).unwrap()
}

pub(crate) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// Parses a request such as `GET /v1/keys/a` and hands it to `then`.
pub(crate) fn with_request<T>(
    line: &str,
    lines: &[(&str, &str)],
    then: impl FnOnce(Result<Request<'_>, Problem>) -> T,
) -> T {
    let (method, target) = line.split_once(' ').unwrap();
    let uri: Uri = target.parse().unwrap_or_else(|why| panic!("{target}: {why}"));
    then(parse(&method.parse::<Method>().unwrap(), &uri, &headers(lines), &Limits::DEFAULT))
}

/// The refusal of a request's head.
pub(crate) fn refusal(line: &str, lines: &[(&str, &str)]) -> Problem {
    with_request(line, lines, |request| match request {
        Ok(request) => panic!("{line} {lines:?} is taken as {:?}", request.operation),
        Err(problem) => problem,
    })
}

pub(crate) fn status_and_code(problem: &Problem) -> (u16, &str) {
    (problem.status().as_u16(), problem.code())
}

/// The command of a request without a body, and how it is to be answered.
pub(crate) fn run(line: &str, lines: &[(&str, &str)]) -> (Command<'static>, Answer) {
    with_request(line, lines, |request| {
        let Request { operation, answer, .. } = request.unwrap_or_else(|problem| panic!("{line}: {problem:?}"));
        match operation {
            Operation::Run(command) => (command.into_owned(), answer),
            other => panic!("{line} is {other:?}"),
        }
    })
}

/// The command in a batch body, and how it is to be answered.
pub(crate) fn batch(line: &str, format: Format, body: &[u8]) -> Result<(Command<'static>, Answer), Problem> {
    with_request(line, &[("content-type", format.content_type())], |request| {
        let Request { operation, mut answer, .. } = request.unwrap_or_else(|problem| panic!("{line}: {problem:?}"));
        let Operation::Batch(batch) = operation else { panic!("{line} is no batch") };
        Ok((batch.command(body, &mut answer)?.into_owned(), answer))
    })
}

/// Reads an answer of ours back, whatever it was written in.
pub(crate) fn decode<M: Message>(response: &http::Response<bytes::Bytes>) -> M {
    let content_type = response.headers()["content-type"].to_str().unwrap();
    let formats = [Format::Json, Format::Cbor];
    let format = formats.into_iter().find(|format| format.content_type() == content_type).unwrap();
    M::decode(format, response.body()).unwrap()
}

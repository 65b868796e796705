//! Bytes from outside can't crash the server: no head, no body, no text makes a parser panic, and neither does a body that
//! was good before something damaged it. Whether what they answer is right, is held elsewhere.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use kvd_types::{Command, Entry, Limits, Reply, Revision};
use kvd_wire::rest::access::Access;
use kvd_wire::rest::batch::{
    BeginAnswer, CommitAnswer, DeletePrefixAnswer, Format, IncrementAnswer, InfoAnswer, ListAnswer, Message,
    MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, StatsAnswer, TransactionAnswer, TtlAnswer, encode_request,
};
use kvd_wire::rest::path::{decode, decode_base64url};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::{Operation, parse};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::strategies::{commands, formats};
use crate::support::{STORE, batch};

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(junk in vec(any::<u8>(), 0..200), format in formats()) {
        for target in ["/v1/mget", "/v1/mset", "/v1/mdelete", "/v1/txn"] {
            let _ = batch(&format!("POST {target}"), format, &junk);
        }
        read_as_answers(format, &junk);
    }

    #[test]
    fn no_damaged_body_makes_a_parser_panic(
        command in commands(),
        format in formats(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut request = encode_request(&command, format).unwrap();
        for (at, byte) in damage {
            let at = at.index(request.body.len());
            request.body[at] = byte;
        }
        let line = format!("POST {}", request.path);
        let _ = batch(&line, format, &request.body);
        let _ = batch(&line, format, &request.body[..cut.index(request.body.len())]);
        read_as_answers(format, &request.body);
    }

    #[test]
    fn no_head_makes_a_parser_panic(
        method in select(&["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"][..]),
        route in select(&[
            "/v1/keys/", "/v1/k64/", "/v1/keys", "/v1/ttl/", "/v1/incr64/", "/v1/txn", "/v1/tx/", "/v1/mget",
            "/v1/stats", "/", "",
        ][..]),
        rest in "[ -~\u{e4}]{0,40}",
        names in vec(select(&[
            "if-match", "if-none-match", "range", "if-range", "accept", "content-type", "prefer", "host", "origin",
            "sec-fetch-site", "content-length", "kvd-ttl", "kvd-tx",
        ][..]), 0..4),
        values in vec(vec(any::<u8>(), 0..30), 4),
    ) {
        let Ok(uri) = format!("{route}{rest}").parse::<Uri>() else { return Ok(()) };
        let mut headers = HeaderMap::new();
        for (name, value) in names.into_iter().zip(values) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        let method: Method = method.parse().unwrap();
        let _ = Access::new(["db.example"]).unwrap().check(&method, &uri, &headers);
        if let Ok(request) = parse(&method, &uri, &headers, &Limits::DEFAULT)
            && let Operation::Run(command @ Command::Get { .. }) = request.operation
        {
            let value = Bytes::from_static(b"0123456789");
            let entry = Entry { value, content_type: None, expires_at_ms: None, revision: Revision(3) };
            let reply = Reply::Got { entry: Some(entry), revision: Revision(3) };
            if let Ok(response) = request.answer.respond(STORE, &command, reply) {
                prop_assert!(response.body().len() <= 10);
            }
        }
    }

    #[test]
    fn no_text_makes_the_key_decoders_panic(text in "\\PC{0,40}|[%0-9a-fA-F]{0,12}") {
        let _ = decode_base64url(&text);
        if let Ok(key) = decode(&text) {
            prop_assert!(key.len() <= text.len());
        }
        let _ = Access::new([text]);
    }
}

/// Every message that a client reads.
fn read_as_answers(format: Format, body: &[u8]) {
    let _ = MultiGetAnswer::decode(format, body);
    let _ = MultiSetAnswer::decode(format, body);
    let _ = MultiDeleteAnswer::decode(format, body);
    let _ = ListAnswer::decode(format, body);
    let _ = TransactionAnswer::decode(format, body);
    let _ = IncrementAnswer::decode(format, body);
    let _ = TtlAnswer::decode(format, body);
    let _ = BeginAnswer::decode(format, body);
    let _ = CommitAnswer::decode(format, body);
    let _ = DeletePrefixAnswer::decode(format, body);
    let _ = StatsAnswer::decode(format, body);
    let _ = InfoAnswer::decode(format, body);
    let _ = Problem::decode(format, body);
}

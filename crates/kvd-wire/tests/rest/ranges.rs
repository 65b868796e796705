//! A reader may ask for one part of a value and must get exactly that part, named exactly; or be told that there is none;
//! or get the whole. Never the wrong bytes under the right name.

use bytes::Bytes;
use kvd_types::{Entry, Reply, Revision};

use crate::support::{STORE, run, status_and_code};

fn entry(value: &'static [u8]) -> Reply {
    let entry =
        Entry { value: Bytes::from_static(value), content_type: None, expires_at_ms: None, revision: Revision(42) };
    Reply::Got { entry: Some(entry), revision: Revision(42) }
}

/// Status, Content-Range and body of the answer.
fn get(line: &str, lines: &[(&str, &str)], value: &'static [u8]) -> (u16, String, Bytes) {
    let (command, answer) = run(line, lines);
    let response = answer.respond(STORE, &command, entry(value)).unwrap_or_else(|problem| {
        assert_eq!(status_and_code(&problem), (416, "range-not-satisfiable"));
        problem.respond("r").map(|_| Bytes::new())
    });
    let content_range = response.headers().get("content-range").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), content_range.unwrap_or_default(), response.into_body())
}

#[test]
fn one_range_is_answered_with_exactly_that_part() {
    let table: &[(&str, u16, &str, &[u8])] = &[
        ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=0-0", 206, "bytes 0-0/10", b"0"),
        ("bytes=9-9", 206, "bytes 9-9/10", b"9"),
        ("bytes=4-", 206, "bytes 4-9/10", b"456789"),
        ("bytes=8-99", 206, "bytes 8-9/10", b"89"),
        ("bytes=0-18446744073709551615", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=0-99999999999999999999999999", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=-10", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=-11", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes= 0-3 ", 206, "bytes 0-3/10", b"0123"),
        ("Bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=10-", 416, "bytes */10", b""),
        ("bytes=10-12", 416, "bytes */10", b""),
        ("bytes=99999999999999999999999999-", 416, "bytes */10", b""),
        ("bytes=-0", 416, "bytes */10", b""),
        ("bytes=5-4", 416, "bytes */10", b""),
        ("bytes=", 416, "bytes */10", b""),
        ("bytes=-", 416, "bytes */10", b""),
        ("bytes=a-b", 416, "bytes */10", b""),
        ("bytes=+1-2", 416, "bytes */10", b""),
        ("bytes=1-2-3", 416, "bytes */10", b""),
        ("bytes=0-1,4-5", 200, "", b"0123456789"),
        ("bytes=0-1,99-", 200, "", b"0123456789"),
        ("items=0-1", 200, "", b"0123456789"),
        ("bytes 0-1", 200, "", b"0123456789"),
    ];
    for (range, status, content_range, body) in table {
        let answer = get("GET /v1/keys/a", &[("range", range)], b"0123456789");
        assert_eq!(answer, (*status, (*content_range).to_owned(), Bytes::from_static(body)), "{range}");
    }
}

#[test]
fn nothing_has_no_part_but_its_end() {
    for (range, status) in [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-0", 416), ("bytes=-5", 200)] {
        assert_eq!(get("GET /v1/keys/a", &[("range", range)], b"").0, status, "{range}");
    }
}

#[test]
fn a_range_of_another_version_is_answered_with_the_whole() {
    let table = [
        ("\"e1b2c3d4-42\"", 206),
        ("\"e1b2c3d4-41\"", 200),
        ("\"e1b2c3d5-42\"", 200),
        ("W/\"e1b2c3d4-42\"", 200),
        ("e1b2c3d4-42", 200),
        ("\"e1b2c3d4-42\", \"e1b2c3d4-42\"", 200),
        ("Sat, 29 Oct 1994 19:43:31 GMT", 200),
    ];
    for (if_range, status) in table {
        let lines = [("range", "bytes=0-1"), ("if-range", if_range)];
        assert_eq!(get("GET /v1/keys/a", &lines, b"0123456789").0, status, "{if_range}");
    }
}

#[test]
fn head_knows_no_ranges() {
    let (status, content_range, body) = get("HEAD /v1/keys/a", &[("range", "bytes=50-60")], b"0123456789");
    assert_eq!((status, content_range.as_str(), body.len()), (200, "", 0));
}

#[test]
fn a_part_shares_the_bytes_of_the_value() {
    let value = Bytes::from(vec![7; 100]);
    let entry = Entry { value: value.clone(), content_type: None, expires_at_ms: None, revision: Revision(1) };
    let (command, answer) = run("GET /v1/keys/a", &[("range", "bytes=10-19")]);
    let reply = Reply::Got { entry: Some(entry), revision: Revision(1) };
    let body = answer.respond(STORE, &command, reply).unwrap().into_body();
    assert_eq!((body.len(), body.as_ptr()), (10, value[10..].as_ptr()));
}

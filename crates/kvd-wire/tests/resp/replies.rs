//! Replies of the store, as Redis gives them.

use bytes::Bytes;
use kvd_types::{Entry, Error, ItemFailure, Limit, LimitExceeded, Reply, Revision, Transferred};
use kvd_wire::resp::reply::Shape;

use crate::support::told;

const REVISION: Revision = Revision(7);

fn entry(value: &'static str, expires_at_ms: Option<u64>) -> Entry {
    Entry { value: Bytes::from_static(value.as_bytes()), content_type: None, expires_at_ms, revision: REVISION }
}

fn got(value: &'static str) -> Result<Reply, Error> {
    Ok(Reply::Got { entry: Some(entry(value, None)), revision: REVISION })
}

fn missing() -> Result<Reply, Error> {
    Ok(Reply::Got { entry: None, revision: REVISION })
}

fn modified(value: Option<&'static str>, changed: bool) -> Result<Reply, Error> {
    Ok(Reply::Modified { revision: REVISION, entry: value.map(|value| entry(value, None)), changed })
}

fn transferred(outcome: Transferred) -> Result<Reply, Error> {
    Ok(Reply::Transferred { revision: REVISION, outcome })
}

fn condition() -> Result<Reply, Error> {
    Err(Error::PreconditionFailed { failures: vec![ItemFailure { index: 0, have: None }], total: 1 })
}

fn set() -> Result<Reply, Error> {
    Ok(Reply::Set { revision: REVISION, created: true })
}

#[test]
fn each_reply_is_told_as_its_command_wants() {
    let exceeded = LimitExceeded { limit: Limit::ValueBytes, max: 1, actual: Some(2), item: None };
    let many = || {
        let entries = vec![Some(entry("a", None)), None, Some(entry("", None))];
        Ok(Reply::MultiGot { revision: REVISION, entries })
    };
    for (shape, reply, expected) in [
        (Shape::Value, got("abc"), "$3\r\nabc\r\n"),
        (Shape::Value, missing(), "$-1\r\n"),
        (Shape::Values, many(), "*3\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n"),
        (Shape::Count, many(), ":2\r\n"),
        (Shape::Count, got("a"), ":1\r\n"),
        (Shape::Count, Ok(Reply::Deleted { revision: REVISION, found: false }), ":0\r\n"),
        (Shape::Count, Ok(Reply::MultiDeleted { revision: REVISION, deleted: 3, missing: 1 }), ":3\r\n"),
        (Shape::Length, got("abc"), ":3\r\n"),
        (Shape::Length, missing(), ":0\r\n"),
        (Shape::Length, modified(Some("abcd"), true), ":4\r\n"),
        (Shape::Range { start: 1, end: -2 }, got("abcd"), "$2\r\nbc\r\n"),
        (Shape::Range { start: 0, end: -1 }, missing(), "$0\r\n\r\n"),
        (Shape::Set, set(), "+OK\r\n"),
        (Shape::Set, condition(), "$-1\r\n"),
        (Shape::SetIfAbsent, set(), ":1\r\n"),
        (Shape::SetIfAbsent, condition(), ":0\r\n"),
        (
            Shape::Set,
            Err(Error::LimitExceeded(exceeded)),
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n",
        ),
        (Shape::Integer, modified(Some("-42"), true), ":-42\r\n"),
        (Shape::Integer, Err(Error::NotAnInteger), "-ERR value is not an integer or out of range\r\n"),
        (Shape::Integer, Err(Error::Overflow), "-ERR increment or decrement would overflow\r\n"),
        (Shape::Float, modified(Some("0.3"), true), "$3\r\n0.3\r\n"),
        (Shape::Float, Err(Error::Overflow), "-ERR increment would produce NaN or Infinity\r\n"),
        (Shape::Float, Err(Error::NotANumber), "-ERR value is not a valid float\r\n"),
        (Shape::Changed, modified(Some("x"), true), ":1\r\n"),
        (Shape::Changed, modified(None, false), ":0\r\n"),
        (Shape::Type, got("x"), "+string\r\n"),
        (Shape::Type, missing(), "+none\r\n"),
        (Shape::Encoding, got("123"), "$3\r\nint\r\n"),
        (Shape::Encoding, got("0123"), "$6\r\nembstr\r\n"),
        (Shape::Encoding, got("a value of more than forty-four bytes, which is long"), "$3\r\nraw\r\n"),
        (Shape::Encoding, missing(), "$-1\r\n"),
        (Shape::Renamed, transferred(Transferred::Done), "+OK\r\n"),
        (Shape::Renamed, transferred(Transferred::NoSource), "-ERR no such key\r\n"),
        (Shape::Renamed, got("x"), "+OK\r\n"),
        (Shape::Renamed, missing(), "-ERR no such key\r\n"),
        (Shape::RenamedIfAbsent, transferred(Transferred::TargetExists), ":0\r\n"),
        (Shape::RenamedIfAbsent, got("x"), ":0\r\n"),
        (Shape::Copied, transferred(Transferred::Done), ":1\r\n"),
        (Shape::Copied, transferred(Transferred::NoSource), ":0\r\n"),
    ] {
        assert_eq!(told(shape, vec![reply.clone()]), expected, "{shape:?} {reply:?}");
    }
}

#[test]
fn the_previous_value_is_told_whether_or_not_the_condition_held() {
    for (replies, expected) in [
        (vec![got("old"), set()], "$3\r\nold\r\n"),
        (vec![missing(), set()], "$-1\r\n"),
        (vec![got("old"), condition()], "$3\r\nold\r\n"),
        (vec![got("old"), Err(Error::NotAnInteger)], "-ERR value is not an integer or out of range\r\n"),
    ] {
        assert_eq!(told(Shape::Previous, replies), expected);
    }
    assert_eq!(told(Shape::Found { keys: 3 }, vec![got("a"), missing(), got("b")]), ":2\r\n");
}

#[test]
fn an_expiry_is_told_in_the_unit_that_was_asked_for() {
    // The store's time is 1,000,000.
    let until = |at| vec![Ok(Reply::Got { entry: Some(entry("x", Some(at))), revision: REVISION })];
    let shape = |in_seconds, is_absolute| Shape::Expiry { in_seconds, is_absolute };
    for (shape, replies, expected) in [
        (shape(true, false), until(1_009_600), ":10\r\n"),
        (shape(true, false), until(1_009_400), ":9\r\n"),
        (shape(false, false), until(1_009_600), ":9600\r\n"),
        (shape(false, false), until(999_999), ":0\r\n"),
        (shape(true, true), until(1_009_600), ":1010\r\n"),
        (shape(false, true), until(1_009_600), ":1009600\r\n"),
        (shape(true, false), vec![got("x")], ":-1\r\n"),
        (shape(true, true), vec![missing()], ":-2\r\n"),
    ] {
        assert_eq!(told(shape, replies), expected, "{shape:?}");
    }
}

//! Bytes to requests: however they are cut, the same requests come out; what is none is told in Redis' words; nothing makes the
//! parser panic.

use kvd_wire::resp::parse::ProtocolError;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::{bytes, limits, read};

/// The words of all requests, and the error.
fn shown(input: &[u8]) -> (Vec<String>, Option<String>) {
    let (requests, error) = read(&[input]);
    let line = |words: &Vec<Vec<u8>>| {
        let words: Vec<_> = words.iter().map(|word| word.escape_ascii().to_string()).collect();
        words.join(" ")
    };
    (requests.iter().map(line).collect(), error.map(|error| error.to_string()))
}

#[test]
fn requests_are_read_in_both_forms_one_after_the_other() {
    let (requests, error) = shown(
        b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\nSET \"a b\" 'c' \"\\x00\"\r\n\r\n\n*0\r\n*-1\r\nPING\n\
          *3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n",
    );
    assert_eq!(requests, ["GET a", "PING", r"SET a b c \x00", "PING", r"SET  \r\n"]);
    assert_eq!(error, None);
}

#[test]
fn what_is_no_request_is_told_in_the_words_of_redis_after_what_came_before() {
    for (bytes, error) in [
        (&b"*1\r\n+PING\r\n"[..], "expected '$', got '+'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$100001\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$+1\r\n", "invalid bulk length"),
        (b"*1\r\n$4\nPING\r\n", "invalid bulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*1\r\n$4\r\nPINGxx", "expected CRLF after a bulk string"),
        (b"GET \"a\r\n", "unbalanced quotes in request"),
        (b"GET 'a'b\r\n", "unbalanced quotes in request"),
        (&[b'x'; 70_000], "too big inline request"),
        (&[&b"*1"[..], &[b'0'; 70_000]].concat(), "too big mbulk count string"),
        (&[&b"*1\r\n$"[..], &[b'0'; 70_000]].concat(), "too big bulk count string"),
    ] {
        let (requests, shown) = shown(&[&b"*1\r\n$4\r\nPING\r\n"[..], bytes].concat());
        assert_eq!(
            (requests.len(), shown),
            (1, Some(format!("ERR Protocol error: {error}"))),
            "{}",
            bytes[..9.min(bytes.len())].escape_ascii()
        );
    }
}

#[test]
fn other_protocols_are_known_by_how_they_begin() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"Host: localhost:6679\r\n",
        b"PRI * HTTP/2.0\r\n",
    ] {
        assert_eq!(read(&[bytes]), (vec![], Some(ProtocolError::OtherProtocol)));
    }
}

#[test]
fn one_request_is_bounded_as_a_whole() {
    let large = format!("${}\r\n{}\r\n", 90_000, "x".repeat(90_000));
    let (requests, error) = shown(format!("*4\r\n{large}{large}{large}").as_bytes());
    assert_eq!((requests.len(), error.as_deref()), (0, Some("ERR Protocol error: too big request")));
    let short = format!("${}\r\n{}\r\n", 9_000, "x".repeat(9_000));
    let (requests, error) = shown(format!("*1000\r\n{}", short.repeat(30)).as_bytes());
    assert_eq!((requests.len(), error.as_deref()), (0, Some("ERR Protocol error: too big request")));
}

/// Requests as they come, and what they are.
fn streams() -> impl Strategy<Value = (Vec<u8>, Vec<Vec<Vec<u8>>>)> {
    let word = prop_oneof![
        8 => vec(any::<u8>(), 0..20),
        // Around the length from which an argument has memory of its own.
        1 => (16_380_usize..16_390, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => (60_000_usize..70_000).prop_map(|len| vec![b'\n'; len]),
    ];
    vec(vec(word, 1..4), 0..12).prop_filter("each fits", fits).prop_map(|requests| {
        let mut bytes = Vec::new();
        for words in &requests {
            bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend_from_slice(word);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        (bytes, requests)
    })
}

fn fits(requests: &Vec<Vec<Vec<u8>>>) -> bool {
    let bytes = |words: &Vec<Vec<u8>>| words.iter().map(Vec::len).sum::<usize>();
    requests.iter().all(|words| bytes(words) <= limits().batch_bytes_max)
}

/// The same bytes in pieces.
fn cut<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let (mut pieces, mut from) = (Vec::new(), 0);
    for place in places {
        pieces.push(&bytes[from..place]);
        from = place;
    }
    pieces.push(&bytes[from..]);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn however_the_bytes_are_cut_the_requests_are_the_same((bytes, requests) in streams(), cuts in vec(any::<Index>(), 0..20)) {
        let (read, error) = read(&cut(&bytes, &cuts));
        prop_assert_eq!(error, None);
        prop_assert!(read == requests);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(
        pieces in vec(prop_oneof![
            vec(any::<u8>(), 0..10),
            select(&["*1\r\n", "*2\r\n", "$4\r\n", "$0\r\n", "\r\n", "PING", "*", "$", "\"", "'", "\\x", "-1", "20000\r\n"][..])
                .prop_map(|text| text.as_bytes().to_vec()),
        ], 0..30),
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let bytes = pieces.concat();
        let (whole, whole_error) = read(&[&bytes[..]]);
        let (parts, parts_error) = read(&cut(&bytes, &cuts));
        prop_assert_eq!(whole, parts);
        prop_assert_eq!(whole_error, parts_error);
    }
}

#[test]
fn every_cut_of_a_short_stream_gives_the_same() {
    let stream = [bytes("SET a b"), b"PING \"x\"\r\n".to_vec(), bytes("GET a"), b"*0\r\n".to_vec()].concat();
    let whole = read(&[&stream[..]]);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            assert_eq!(read(&[&stream[..first], &stream[first..second], &stream[second..]]), whole);
        }
    }
}

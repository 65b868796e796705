//! What is watched, and how commits become events: the pieces of an event together are the message that a client reads, wherever
//! they are cut; a place is asked for by `from`, and by where one was before.

use bytes::Bytes;
use kvd_types::{ContentType, Effect, Key, Reason, Revision};
use kvd_wire::rest::batch::{Format, Message, WatchCommit, WatchEvent, WatchLagged};
use kvd_wire::rest::request::Operation;
use kvd_wire::rest::watch::{CommitText, Filter, Watch, head, write_lagged, write_place};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{EPOCH, etag, key, refusal, status_and_code, with_request};

fn watch(line: &str, lines: &[(&str, &str)]) -> Watch<'static> {
    with_request(line, lines, |request| {
        let request = request.unwrap_or_else(|problem| panic!("{line} {lines:?}: {problem:?}"));
        assert_eq!(request.answer.is_head(), line.starts_with("HEAD"));
        let Operation::Watch(watch) = request.operation else { panic!("{line} is no watch") };
        Watch { filter: watch.filter.into_owned(), ..watch }
    })
}

#[test]
fn what_is_watched_is_said_in_the_query() {
    let all = Filter::Prefix(Key::empty());
    let table = [
        ("/v1/watch", all.clone()),
        ("/v1/watch?prefix=", all),
        ("/v1/watch?prefix=user%2F", Filter::Prefix(key("user/"))),
        ("/v1/watch?prefix_b64=AP8", Filter::Prefix(key(b"\x00\xff"))),
        ("/v1/watch?key=a+b", Filter::Key(key("a+b"))),
        ("/v1/watch?key=", Filter::Key(Key::empty())),
        ("/v1/watch?key_b64=-", Filter::Key(Key::empty())),
        ("/v1/watch?key_b64=AP8", Filter::Key(key(b"\x00\xff"))),
    ];
    for (target, filter) in table {
        for method in ["GET", "HEAD"] {
            assert_eq!(
                watch(&format!("{method} {target}"), &[]),
                Watch { filter: filter.clone(), from: None, base64: false }
            );
        }
    }
    assert!(watch("GET /v1/watch?enc=base64", &[]).base64);
    let (prefix, one) = (Filter::Prefix(key("a")), Filter::Key(key("a")));
    assert!(prefix.matches(b"a") && prefix.matches(b"ab") && !prefix.matches(b"") && !prefix.matches(b"ba"));
    assert!(one.matches(b"a") && !one.matches(b"ab") && !one.matches(b""));
}

#[test]
fn what_a_client_asks_for_is_what_is_understood() {
    for filter in [
        Filter::Prefix(Key::empty()),
        Filter::Prefix(key("a/&=+é")),
        Filter::Key(key(b"\x00\xff")),
        Filter::Key(key("")),
    ] {
        for (from, base64) in [(None, false), (Some(Revision(7)), true)] {
            let asked = Watch { filter: filter.clone(), from, base64 };
            assert_eq!(watch(&format!("GET {}", asked.url()), &[]), asked);
        }
    }
}

#[test]
fn a_place_is_asked_for_by_from_and_who_was_there_goes_on() {
    let from = |target: &str, lines: &[(&str, &str)]| watch(&format!("GET {target}"), lines).from.map(|from| from.0);
    assert_eq!(from("/v1/watch", &[]), None);
    assert_eq!(from("/v1/watch?from=57", &[]), Some(57));
    assert_eq!(from("/v1/watch?from=0", &[]), Some(0));
    assert_eq!(from("/v1/watch", &[("Last-Event-ID", "57")]), Some(58));
    assert_eq!(from("/v1/watch?from=3", &[("last-event-id", "57")]), Some(58), "who comes back asks the same URL");
    assert_eq!(from("/v1/watch", &[("Last-Event-ID", "18446744073709551615")]), Some(u64::MAX));
}

#[test]
fn what_says_nothing_is_refused() {
    let table = [
        ("/v1/watch?from=", "`from` is a revision"),
        ("/v1/watch?from=-1", "`from` is a revision"),
        ("/v1/watch?from=+1", "`from` is a revision"),
        ("/v1/watch?from=18446744073709551616", "`from` is a revision"),
        ("/v1/watch?from=1&from=1", "comes twice"),
        ("/v1/watch?prefix=a&key=a", "`key` and `prefix` exclude each other"),
        ("/v1/watch?prefix=a&prefix_b64=YQ", "`prefix` and `prefix_b64` exclude each other"),
        ("/v1/watch?key=a&key_b64=YQ", "`key` and `key_b64` exclude each other"),
        ("/v1/watch?key_b64=YQ==", "`key_b64`: not base64url"),
        ("/v1/watch?key=%zz", "query field `key`: the % at byte 0"),
        ("/v1/watch?enc=hex", "`enc` can only be base64"),
        ("/v1/watch?limit=1", "this route has no query field `limit`"),
    ];
    for (target, detail) in table {
        let problem = refusal(&format!("GET {target}"), &[]);
        assert_eq!(status_and_code(&problem), (400, "bad-query"), "{target}");
        assert!(problem.detail().contains(detail), "{target}: {}", problem.detail());
    }
    for id in ["", "e1b2c3d4-57", "-1", " 1"] {
        let problem = refusal("GET /v1/watch", &[("Last-Event-ID", id)]);
        assert_eq!(status_and_code(&problem), (400, "bad-header"), "{id:?}");
    }
    let twice = [("Last-Event-ID", "1"), ("Last-Event-ID", "1")];
    assert_eq!(status_and_code(&refusal("GET /v1/watch", &twice)), (400, "bad-header"));
}

#[test]
fn a_client_that_wants_something_else_than_events_is_told_so() {
    for accept in
        ["*/*", "text/*", "text/event-stream", "application/json;q=0.9, TEXT/Event-Stream;q=0.1", "text/html, */*"]
    {
        watch("GET /v1/watch", &[("accept", accept)]);
    }
    for accept in ["application/json", "text/html", "*/*;q=0", "*/*, text/event-stream;q=0", "application/*"] {
        let problem = refusal("GET /v1/watch", &[("accept", accept)]);
        assert_eq!(status_and_code(&problem), (406, "not-acceptable"), "{accept}");
        assert!(problem.detail().contains("text/event-stream"));
    }
}

/// The text of a commit, made in as many steps as it takes. Returns also the longest step.
fn text_of(revision: u64, effects: &[Effect<'_>], base64: bool) -> (String, usize) {
    let mut text = CommitText::new(etag(revision), base64);
    let (mut all, mut longest) = (Vec::new(), 0);
    for effect in effects {
        let mut is_written = false;
        while !is_written {
            let mut piece = Vec::new();
            is_written = text.write(effect, &mut piece);
            longest = longest.max(piece.len());
            all.extend(piece);
        }
    }
    text.end(&mut all);
    (String::from_utf8(all).unwrap(), longest)
}

/// The same, as a client reads it.
fn commit_of(revision: u64, effects: &[Effect<'_>]) -> WatchCommit {
    let event = |effect: &Effect<'_>| match effect.clone().into_owned() {
        Effect::Put { key, value, content_type, expires_at_ms } => {
            WatchEvent::Set { key, etag: etag(revision), content_type, expires_at_ms, value }
        }
        Effect::Delete { key, reason } => WatchEvent::Removed { key, reason },
        Effect::Clear => WatchEvent::Cleared,
    };
    WatchCommit { revision: Revision(revision), events: effects.iter().map(event).collect() }
}

fn data(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event has data")
}

#[test]
fn a_commit_is_one_event() {
    let content_type = Some(ContentType::new(b"text/plain").unwrap());
    let effects = [
        Effect::Put {
            key: key("a"),
            value: "line\n2 \"é\"".into(),
            content_type,
            expires_at_ms: Some(1_763_841_600_000),
        },
        Effect::Put { key: key(b"\xff"), value: Bytes::from_static(b"\xff"), content_type: None, expires_at_ms: None },
        Effect::Delete { key: key("b"), reason: Reason::Asked },
        Effect::Delete { key: key("c"), reason: Reason::Expired },
        Effect::Delete { key: key("d"), reason: Reason::Evicted },
    ];
    let expected = concat!(
        "id: 57\nevent: commit\ndata: {\"revision\":57,\"events\":[",
        r#"{"op":"set","key":"a","etag":"e1b2c3d4-57","size":11,"content_type":"text/plain","expires_at_ms":1763841600000,"#,
        r#""value":"line\n2 \"é\""},"#,
        r#"{"op":"set","key_b64":"/w==","etag":"e1b2c3d4-57","size":1,"content_type":"application/octet-stream","#,
        r#""value_b64":"/w=="},"#,
        r#"{"op":"delete","key":"b"},{"op":"expire","key":"c"},{"op":"evict","key":"d"}]}"#,
        "\n\n",
    );
    assert_eq!(text_of(57, &effects, false).0, expected);
    let cleared = "id: 58\nevent: commit\ndata: {\"revision\":58,\"events\":[{\"op\":\"clear\"}]}\n\n";
    assert_eq!(text_of(58, &[Effect::Clear], false).0, cleared);
    assert_eq!(text_of(59, &[], false).0, "", "a commit with nothing to show is no event");
    assert!(!CommitText::new(etag(1), false).has_begun());
}

fn put(value: Vec<u8>) -> Effect<'static> {
    Effect::Put { key: key("k"), value: value.into(), content_type: None, expires_at_ms: None }
}

#[test]
fn no_piece_of_a_large_value_is_large() {
    let large = 3 << 20;
    let text = "é\u{1f511}x".repeat(large / 7);
    let broken_late = [text.as_bytes(), &b"\xc3"[..]].concat();
    let broken_early = [&b"\xff"[..], text.as_bytes()].concat();
    let controls = vec![1; large];
    for value in [text.into_bytes(), broken_late, broken_early, controls] {
        let effects = [put(value)];
        let (text, longest) = text_of(7, &effects, false);
        assert!(longest < 6 * (48 << 10) + 1_000, "{longest} bytes at once");
        assert_eq!(data(&text).as_bytes(), commit_of(7, &effects).encode(Format::Json, false));
        assert_eq!(WatchCommit::decode(Format::Json, data(&text).as_bytes()).unwrap(), commit_of(7, &effects));
    }
}

fn effect() -> impl Strategy<Value = Effect<'static>> {
    let text = vec(select(&["a", "\"", "\\", "\n", "\u{1}", "\u{e4}", "\u{20ac}", "\u{1f511}"][..]), 0..9);
    let part = prop_oneof![text.prop_map(|parts| parts.concat().into_bytes()), vec(any::<u8>(), 0..9)];
    // Around the sizes at which values are cut.
    let value = (part, prop_oneof![3 => 0_usize..4, 1 => 5_000_usize..40_000]);
    let value = value.prop_map(|(part, times)| part.repeat(times));
    let content_type = prop_oneof![Just(None), Just(Some(ContentType::new(b"text/plain; x=\"1\"").unwrap()))];
    let put = (vec(any::<u8>(), 0..20), value, content_type, any::<Option<u64>>());
    let put = put.prop_map(|(name, value, content_type, expires_at_ms)| Effect::Put {
        key: key(name),
        value: value.into(),
        content_type,
        expires_at_ms,
    });
    let reason = prop_oneof![Just(Reason::Asked), Just(Reason::Expired), Just(Reason::Evicted)];
    let delete = (vec(any::<u8>(), 0..20), reason).prop_map(|(name, reason)| Effect::Delete { key: key(name), reason });
    prop_oneof![6 => put, 3 => delete, 1 => Just(Effect::Clear)]
}

proptest! {
    #[test]
    fn pieces_are_the_message(revision in 0..1_u64 << 53, effects in vec(effect(), 1..5), base64 in any::<bool>()) {
        let (text, _) = text_of(revision, &effects, base64);
        let commit = commit_of(revision, &effects);
        prop_assert_eq!(data(&text).as_bytes(), commit.encode(Format::Json, base64));
        prop_assert_eq!(text.lines().count(), 4, "each field is one line");
        for format in [Format::Json, Format::Cbor] {
            prop_assert_eq!(&WatchCommit::decode(format, &commit.encode(format, base64)).unwrap(), &commit);
        }
    }
}

#[test]
fn a_place_is_an_id_without_data_and_the_end_of_a_slow_watch_an_event() {
    let mut text = Vec::new();
    write_place("quiet", Revision(57), &mut text);
    write_lagged(WatchLagged { revision: Revision(57), oldest: Revision(90) }, &mut text);
    let expected = ": quiet\nid: 57\n\nevent: lagged\ndata: {\"revision\":57,\"oldest\":90}\n\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    let response = head(EPOCH, Revision(57));
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!((header("content-type"), header("cache-control")), ("text/event-stream", "no-store"));
    assert_eq!(header("kvd-store"), EPOCH.to_string());
    assert_eq!((header("kvd-revision"), header("x-accel-buffering")), ("57", "no"));
}

#[test]
fn a_client_understands_a_newer_server_and_not_a_broken_one() {
    let decode = |text: &str| WatchCommit::decode(Format::Json, text.as_bytes());
    let newer = r#"{"revision":5,"by":"x","events":[{"op":"delete","key":"a","more":[1]}]}"#;
    let removed = WatchEvent::Removed { key: key("a"), reason: Reason::Asked };
    assert_eq!(decode(newer), Ok(WatchCommit { revision: Revision(5), events: vec![removed] }));
    let set = format!(r#"{{"op":"set","key":"a","etag":"{EPOCH}-5","size":1,"value":"1"}}"#);
    assert!(decode(&format!(r#"{{"revision":5,"events":[{set}]}}"#)).is_ok());
    let broken = [
        r#"{"op":"rename","key":"a"}"#.to_owned(),
        r#"{"op":"delete"}"#.to_owned(),
        r#"{"op":"delete","key":"a","key_b64":"YQ=="}"#.to_owned(),
        set.replace(r#","value":"1""#, ""),
        set.replace("etag", "tag"),
        r#"{"key":"a"}"#.to_owned(),
    ];
    for event in broken {
        assert!(decode(&format!(r#"{{"revision":5,"events":[{event}]}}"#)).is_err(), "{event}");
    }
}

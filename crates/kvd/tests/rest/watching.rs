//! Watching: who reads `/v1/watch` sees every commit once, as a whole and in order, comes back to where it was, and is told when
//! it was too slow; the server's memory and its other clients don't suffer from it.

use std::fs;
use std::thread;

use kvd_client::{Key, Set};
use kvd_testkit::{Block, EventStream, RawConnection, Server};
use serde_json::{Value, json};

use crate::support::{ask, client, code, json as body};

/// Little is kept: a megabyte. Who doesn't read is left alone for as long as the test takes.
const SHORT: &[&str] = &["--set", "watch.retain_bytes=1MiB", "--set", "limits.body_idle_timeout=10m"];

fn data(block: &Block) -> Value {
    serde_json::from_str(block.data.as_ref().expect("it is an event")).unwrap()
}

/// The next commit: its revision, and what it did, without what all sets have.
fn commit(stream: &mut EventStream) -> (u64, Value) {
    let block = stream.next_event();
    let mut data = data(&block);
    let revision = data["revision"].as_u64().unwrap();
    assert_eq!((block.event.as_deref(), block.id), (Some("commit"), Some(revision)));
    for event in data["events"].as_array_mut().unwrap() {
        if let Some(etag) = event.as_object_mut().unwrap().remove("etag") {
            assert!(etag.as_str().unwrap().ends_with(&format!("-{revision}")));
        }
    }
    (revision, data["events"].take())
}

fn set(name: &str, value: &str) -> Value {
    json!({"op": "set", "key": name, "value": value, "size": value.len(), "content_type": "application/octet-stream"})
}

fn stats(server: &Server) -> kvd_client::StatsAnswer {
    client(server).stats().unwrap()
}

#[test]
fn a_commit_is_one_event_whatever_it_did() {
    for args in [&["--fsync", "always"][..], &["--fsync", "interval"], &["--in-memory"]] {
        let server = Server::start_with(args);
        let client = client(&server);
        let mut stream = EventStream::open(server.address(), "/v1/watch", "");
        assert_eq!(stream.head().header("kvd-revision"), Some("0"));
        let first = stream.next_block().unwrap();
        assert_eq!((first.id, first.data), (Some(0), None));
        client.set("a", "1").unwrap();
        let sets = ["b", "c"].map(|name| Set::new(Key::new(name.as_bytes()).unwrap(), "2"));
        client.set_many(sets.to_vec()).unwrap();
        client.delete("a").unwrap();
        client.delete("nothing").unwrap();
        let put = "PUT /v1/keys/typed%FF\nContent-Type: text/plain\n";
        assert_eq!(ask(server.address(), put, b"\xff\"").status, 201);
        assert_eq!(commit(&mut stream), (1, json!([set("a", "1")])));
        assert_eq!(commit(&mut stream), (2, json!([set("b", "2"), set("c", "2")])));
        assert_eq!(commit(&mut stream), (3, json!([{"op": "delete", "key": "a"}])));
        let typed =
            json!({"op": "set", "key_b64": "dHlwZWT/", "value_b64": "/yI=", "size": 2, "content_type": "text/plain"});
        assert_eq!(commit(&mut stream), (4, json!([typed])));
        let watch = stats(&server).watch;
        assert_eq!((watch.watches, watch.lagged), (1, 0));
        assert!(watch.retained_bytes > 0 && stats(&server).memory.buffers >= watch.retained_bytes);
    }
}

#[test]
fn a_transaction_is_one_event_and_what_expires_another() {
    let server = Server::start_with(&["--fsync", "always"]);
    let mut stream = EventStream::open(server.address(), "/v1/watch", "");
    let say = |head: &str, body: Value| {
        let answer = ask(server.address(), head, body.to_string().as_bytes());
        assert!(answer.status < 300, "{head}: {}", answer.text());
        answer
    };
    say("POST /v1/mset", json!({"items": [{"key": "n", "value": "41"}, {"key": "gone", "value": "x"}]}));
    assert_eq!(commit(&mut stream).0, 1);
    // One that is decided, one that changes nothing, and one that is refused.
    let ops = json!([
        {"op": "set", "key": "a", "value": "1"}, {"op": "incr", "key": "n"}, {"op": "delete", "key": "gone"},
        {"op": "get", "key": "a"}, {"op": "append", "key": "a", "value": "2"},
    ]);
    say("POST /v1/txn", json!({ "ops": ops }));
    say("POST /v1/txn", json!({"ops": [{"op": "get", "key": "a"}, {"op": "delete", "key": "gone"}]}));
    let refused = json!({"checks": [{"key": "a", "absent": true}], "ops": [{"op": "set", "key": "a", "value": "9"}]});
    assert_eq!(ask(server.address(), "POST /v1/txn", refused.to_string().as_bytes()).status, 412);
    let (revision, mut events) = commit(&mut stream);
    events.as_array_mut().unwrap().sort_by_key(|event| event["key"].as_str().unwrap().to_owned());
    assert_eq!((revision, events), (2, json!([set("a", "12"), {"op": "delete", "key": "gone"}, set("n", "42")])));
    // One that is open for a while.
    let begun = body(&say("POST /v1/tx", json!({"mode": "read-write"})));
    let id = begun["id"].as_str().unwrap();
    for key in ["x", "y"] {
        let answer = ask(server.address(), &format!("PUT /v1/keys/{key}\nKvd-Tx: {id}\n"), b"1");
        assert!(answer.status < 300, "{}", answer.text());
    }
    assert_eq!(ask(server.address(), &format!("POST /v1/tx/{id}/commit"), b"").status, 200);
    let (revision, events) = commit(&mut stream);
    assert_eq!((revision, events), (3, json!([set("x", "1"), set("y", "1")])));
    // A value that goes by itself.
    assert_eq!(ask(server.address(), "PUT /v1/keys/short?ttl=50ms", b"1").status, 201);
    let (revision, events) = commit(&mut stream);
    assert_eq!((revision, events[0]["expires_at_ms"].is_u64()), (4, true));
    assert_eq!(commit(&mut stream), (5, json!([{"op": "expire", "key": "short"}])));
    assert_eq!(ask(server.address(), "DELETE /v1/keys?all=true", b"").status, 200);
    assert_eq!(commit(&mut stream), (6, json!([{"op": "clear"}])));
}

#[test]
fn a_watch_shows_the_keys_that_it_is_for() {
    let server = Server::start();
    let open = |target: &str| EventStream::open(server.address(), target, "");
    let mut streams = ["prefix=user/", "key=user/7", "key_b64=_w", "prefix=user/&enc=base64"]
        .map(|query| open(&format!("/v1/watch?{query}")));
    let sets = [&b"user/7"[..], b"user/", b"other", b"\xff"].map(|name| Set::new(Key::new(name).unwrap(), "v"));
    client(&server).set_many(sets.to_vec()).unwrap();
    client(&server).set("other", "x").unwrap();
    client(&server).delete("user/7").unwrap();
    let [prefix, one, bytes, base64] = &mut streams;
    assert_eq!(commit(prefix), (1, json!([set("user/7", "v"), set("user/", "v")])));
    assert_eq!(commit(prefix), (3, json!([{"op": "delete", "key": "user/7"}])));
    assert_eq!(commit(one), (1, json!([set("user/7", "v")])));
    assert_eq!(commit(one).0, 3);
    assert_eq!(commit(bytes).1[0]["key_b64"], "/w==");
    assert_eq!(commit(base64).1[1]["value_b64"], "dg==");
}

#[test]
fn who_comes_back_goes_on_where_it_was() {
    for args in [&[][..], &["--in-memory"]] {
        let server = Server::start_with(args);
        let mut stream = EventStream::open(server.address(), "/v1/watch", "");
        let mut seen = stream.next_block().unwrap().id.unwrap();
        const COMMITS: u64 = 600;
        thread::scope(|scope| {
            for writer in 0..3 {
                let client = client(&server);
                scope.spawn(move || {
                    for n in 0..COMMITS / 3 {
                        client.set(format!("{writer}/{}", n % 7), n.to_string()).unwrap();
                    }
                });
            }
            // Gone again and again, now and then in the middle of what was sent.
            let mut lives = 0;
            while seen < COMMITS {
                for _ in 0..COMMITS / 20 {
                    if seen < COMMITS {
                        let (revision, _) = commit(&mut stream);
                        assert_eq!(revision, seen + 1, "none is lost and none comes twice");
                        seen = revision;
                    }
                }
                lives += 1;
                let headers = format!("Last-Event-ID: {seen}\n");
                stream = EventStream::open(server.address(), "/v1/watch?from=1", &headers);
            }
            assert!(lives > 1);
        });
        let mut again = EventStream::open(server.address(), "/v1/watch?from=2&key=0/0", "");
        assert!(commit(&mut again).0 >= 2);
    }
}

#[test]
fn a_slow_watch_is_cut_off_and_a_fast_one_beside_it_sees_everything() {
    let server = Server::start_with(SHORT);
    let mut fast = EventStream::open(server.address(), "/v1/watch", "");
    let mut slow = EventStream::open(server.address(), "/v1/watch", "");
    let client = client(&server);
    for n in 1..=3_000 {
        client.set(format!("{}", n % 10), vec![b'x'; 10_000]).unwrap();
        // Ten behind at most, where some fifty are kept.
        if n % 10 == 0 {
            (n - 9..=n).for_each(|expected| assert_eq!(commit(&mut fast).0, expected));
        }
    }
    let watch = stats(&server).watch;
    assert!(watch.retained_bytes < (1 << 20) + 20_000, "{watch:?}");
    let mut last = 0;
    let lagged = loop {
        let block = slow.next_event();
        if block.event.as_deref() == Some("lagged") {
            break block;
        }
        assert_eq!(block.id, Some(last + 1));
        last += 1;
    };
    assert_eq!((data(&lagged)["revision"].as_u64(), lagged.id), (Some(last), None));
    assert!(data(&lagged)["oldest"].as_u64().unwrap() > last + 1);
    assert_eq!(slow.next_block(), None);
    assert!(slow.has_ended_in_order());
    assert_eq!(stats(&server).watch.lagged, 1);
    // And its place is gone.
    let gone = ask(server.address(), &format!("GET /v1/watch\nLast-Event-ID: {last}\n"), b"");
    assert_eq!((gone.status, code(&gone).as_str()), (410, "snapshot-too-old"));
}

#[test]
fn what_watches_do_not_read_is_not_queued_for_them() {
    const WATCHES: usize = 25;
    let server = Server::start_with(&["--in-memory", "--set", "limits.body_idle_timeout=1s"]);
    let open = || EventStream::open(server.address(), "/v1/watch", "");
    let _unread: Vec<EventStream> = (0..WATCHES).map(|_| open()).collect();
    // More than sockets hold, and less than is kept.
    let client = client(&server);
    for n in 0..300 {
        client.set(format!("{}", n % 10), vec![b'x'; 100_000]).unwrap();
    }
    while stats(&server).watch.watches > 0 {
        thread::yield_now();
    }
    let watch = stats(&server).watch;
    assert_eq!(watch.lagged, 0, "they stood still when they were cut off");
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024;
    let cost = peak - watch.retained_bytes;
    // Queued for each it would be some hundreds.
    assert!(cost < 64 << 20, "{} KiB for {WATCHES} watches and the server", cost >> 10);
}

#[test]
fn a_watch_that_is_overtaken_within_an_event_shows_nothing_of_it() {
    let server = Server::start_with(SHORT);
    let mut slow = EventStream::open(server.address(), "/v1/watch", "");
    // Each is more than sockets hold, and the second more than is kept.
    for _ in 0..2 {
        client(&server).set("large", vec![b'x'; 40 << 20]).unwrap();
    }
    while slow.next_block().is_some() {}
    assert!(!slow.has_ended_in_order());
    assert_eq!(stats(&server).watch.lagged, 1);
}

#[test]
fn a_value_of_any_size_comes_whole() {
    let server = Server::start();
    let mut stream = EventStream::open(server.address(), "/v1/watch", "");
    let text = "\u{e9}\u{1f511}x".repeat(1 << 20);
    client(&server).set("text", text.clone()).unwrap();
    client(&server).set("bytes", [text.as_bytes(), &b"\xff"[..]].concat()).unwrap();
    let (_, events) = commit(&mut stream);
    assert!(events[0]["value"] == text.as_str(), "not the same text");
    let (_, events) = commit(&mut stream);
    assert_eq!(events[0]["size"], text.len() + 1);
    assert_eq!(events[0]["value_b64"].as_str().unwrap().len(), (text.len() + 1).div_ceil(3) * 4);
}

#[test]
fn a_watch_that_is_shown_nothing_keeps_its_place_all_the_same() {
    let server = Server::start_with(SHORT);
    let mut stream = EventStream::open(server.address(), "/v1/watch?key=none", "");
    assert_eq!(stream.next_block().unwrap().id, Some(0));
    // Three times what is kept, a part at a time: without a new place it would be lost.
    for part in 1..=8 {
        let client = client(&server);
        for n in 0..40 {
            client.set(format!("{n}"), vec![0; 10_000]).unwrap();
        }
        let mut places = std::iter::from_fn(|| stream.next_block()).map(|block| block.id.unwrap());
        let place = places.find(|place| place + 20 > 40 * part).unwrap();
        let headers = format!("Last-Event-ID: {place}\n");
        stream = EventStream::open(server.address(), "/v1/watch?key=none", &headers);
    }
    client(&server).set("none", "1").unwrap();
    assert_eq!(commit(&mut stream), (321, json!([set("none", "1")])));
}

#[test]
fn a_stop_ends_watches_and_a_start_goes_on_after_it() {
    let mut server = Server::start();
    let mut stream = EventStream::open(server.address(), "/v1/watch", "");
    client(&server).set("a", "1").unwrap();
    assert_eq!(commit(&mut stream).0, 1);
    assert!(server.stop().success(), "{}", server.log());
    let last = stream.next_block().unwrap();
    assert_eq!((last.comment.as_str(), last.id, last.data), ("the server is stopping", Some(1), None));
    assert_eq!(stream.next_block(), None);
    assert!(stream.has_ended_in_order());

    server.restart();
    let old = ask(server.address(), "GET /v1/watch?from=1", b"");
    assert_eq!((old.status, code(&old).as_str()), (410, "snapshot-too-old"));
    assert!(old.text().contains("only those from 2 on"), "{}", old.text());
    let mut stream = EventStream::open(server.address(), "/v1/watch", "Last-Event-ID: 1\n");
    client(&server).set("a", "2").unwrap();
    assert_eq!(commit(&mut stream), (2, json!([set("a", "2")])));

    // After a kill revisions jump, and what was skipped is no place; who had seen all that is left has missed nothing.
    server.kill();
    server.restart();
    let newest = stats(&server).revision;
    assert!(newest > 1 << 24);
    for from in [2, 4, newest] {
        assert_eq!(ask(server.address(), &format!("GET /v1/watch?from={from}"), b"").status, 410, "{from}");
    }
    let next = format!("/v1/watch?from={}", newest + 1);
    let mut streams = ["/v1/watch?from=3", &next].map(|target| EventStream::open(server.address(), target, ""));
    client(&server).set("a", "3").unwrap();
    for stream in &mut streams {
        assert_eq!(stream.head().header("kvd-store"), Some(client(&server).info().unwrap().epoch.as_str()));
        assert_eq!(commit(stream).0, newest + 1);
    }
}

#[test]
fn what_is_no_watch_is_refused_like_elsewhere() {
    let server = Server::start_with(&["--in-memory"]);
    client(&server).set("a", "1").unwrap();
    let table = [
        ("GET /v1/watch?from=1", 410, "snapshot-too-old"),
        ("HEAD /v1/watch?from=1", 410, ""),
        ("GET /v1/watch?from=100", 410, "snapshot-too-old"),
        ("GET /v1/watch?from=x", 400, "bad-query"),
        ("GET /v1/watch?prefix=a&key=b", 400, "bad-query"),
        ("GET /v1/watch\nLast-Event-ID: x\n", 400, "bad-header"),
        ("GET /v1/watch\nAccept: application/json\n", 406, "not-acceptable"),
        ("POST /v1/watch", 405, "method-not-allowed"),
        ("GET /v1/watch\nSec-Fetch-Site: cross-site\n", 403, "cross-site"),
    ];
    for (head, status, expected) in table {
        let answer = ask(server.address(), head, b"");
        assert_eq!(answer.status, status, "{head}");
        if !expected.is_empty() {
            assert_eq!(code(&answer), expected, "{head}");
        }
    }
    let head = ask(server.address(), "HEAD /v1/watch", b"");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(body(&ask(server.address(), "GET /v1/stats", b""))["watch"]["watches"], 0);
}

#[test]
fn an_idle_watch_stays_and_one_that_is_not_read_is_cut_off() {
    let limits = ["limits.keep_alive_timeout=300ms", "limits.body_idle_timeout=1s"];
    let args: Vec<&str> = limits.iter().flat_map(|limit| ["--set", limit]).collect();
    let server = Server::start_with(&args);
    let mut stream = EventStream::open(server.address(), "/v1/watch?key=a", "");
    // Connections that are idle for far longer than the limit come and go.
    for _ in 0..3 {
        assert!(RawConnection::open(server.address()).is_closed());
    }
    client(&server).set("a", "1").unwrap();
    assert_eq!(commit(&mut stream).0, 1);
    let _unread = EventStream::open(server.address(), "/v1/watch?key=large", "");
    client(&server).set("large", vec![b'x'; 40 << 20]).unwrap();
    while stats(&server).watch.watches > 1 {
        thread::yield_now();
    }
    client(&server).set("a", "2").unwrap();
    assert_eq!(commit(&mut stream).0, 3);
}

#[test]
fn a_quiet_watch_says_that_it_is_alive_and_where_it_is() {
    let server = Server::start();
    let mut stream = EventStream::open(server.address(), "/v1/watch?key=none", "");
    assert_eq!(stream.next_block().unwrap().id, Some(0));
    client(&server).set("a", "1").unwrap();
    let block = stream.next_block().unwrap();
    assert_eq!((block.comment.as_str(), block.id, block.data), ("quiet", Some(1), None));
}

#[test]
fn many_idle_watches_cost_no_thread_and_all_are_woken() {
    let server = Server::start_with(&["--workers", "2"]);
    let threads = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap();
        line.trim().parse::<usize>().unwrap()
    };
    let open = || EventStream::open(server.address(), "/v1/watch?prefix=k", "");
    let mut streams = vec![open()];
    let before = threads();
    streams.extend((1..400).map(|_| open()));
    assert_eq!(stats(&server).watch.watches, 400);
    assert_eq!(threads(), before);
    client(&server).set("k", "1").unwrap();
    for stream in &mut streams {
        assert_eq!(commit(stream), (1, json!([set("k", "1")])));
    }
    drop(streams);
    while stats(&server).watch.watches > 0 {
        thread::yield_now();
    }
}

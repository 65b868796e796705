//! What goes over the wire. Keys are any bytes, and URLs are rewritten by whoever handles them: `..` and `//` vanish, `%2F`
//! becomes a slash. So each key must arrive in a form that nobody touches, on a connection that is used again.

use crate::support::{Fake, Seen, Then, created, value};
use kvd_client::{Client, Condition, ContentType, Epoch, Etag, Key, Revision, Set, Ttl, blocking};

async fn seen_of_get(key: &[u8]) -> Seen {
    let fake = Fake::start(vec![vec![Then::Close]]);
    let _ = Client::new(&fake.url).unwrap().get(key).await;
    fake.seen.recv().unwrap()
}

#[tokio::test]
async fn every_key_travels_in_the_form_that_survives() {
    for (key, line) in [
        (&b"plain"[..], "GET /v1/keys/plain HTTP/1.1"),
        (b"a/b", "GET /v1/keys/a/b HTTP/1.1"),
        (b"a b", "GET /v1/keys/a%20b HTTP/1.1"),
        (b"a,b=c#d?e", "GET /v1/keys/a%2Cb%3Dc%23d%3Fe HTTP/1.1"),
        (b"%2F", "GET /v1/keys/%252F HTTP/1.1"),
        ("ü".as_bytes(), "GET /v1/keys/%C3%BC HTTP/1.1"),
        (b"", "GET /v1/k64/- HTTP/1.1"),
        (b"..", "GET /v1/k64/Li4 HTTP/1.1"),
        (b"a/../b", "GET /v1/k64/YS8uLi9i HTTP/1.1"),
        (b"//", "GET /v1/k64/Ly8 HTTP/1.1"),
        (b"a\n", "GET /v1/k64/YQo HTTP/1.1"),
        (b"\xff\x00", "GET /v1/k64/_wA HTTP/1.1"),
    ] {
        assert_eq!(seen_of_get(key).await.line, line);
    }
}

#[tokio::test]
async fn a_key_too_long_for_a_url_travels_in_a_batch_of_one() {
    let key = vec![b'k'; 65_536];
    let seen = seen_of_get(&key).await;
    assert_eq!(seen.line, "POST /v1/mget HTTP/1.1");
    assert!(seen.headers.contains(&"content-type: application/cbor".to_owned()), "{:?}", seen.headers);
    assert!(seen.body.windows(key.len()).any(|part| part == key), "the key's bytes, as they are");
}

#[tokio::test]
async fn a_key_above_64_kib_is_refused_before_anything_is_sent() {
    let client = Client::new("http://127.0.0.1:1").unwrap();
    let error = client.get(vec![0; 65_537]).await.unwrap_err();
    assert_eq!(error.to_string(), "a key has at most 65536 bytes, this one has 65537");
}

#[tokio::test]
async fn conditions_travel_as_headers_or_in_a_batch() {
    let etag = Etag { epoch: Epoch(0xe1b2_c3d4), revision: Revision(7) };
    for (condition, expected) in [
        (Condition::Always, None),
        (Condition::Absent, Some("if-none-match: *")),
        (Condition::Exists, Some("if-match: *")),
        (Condition::AnyOf(vec![etag]), Some("if-match: \"e1b2c3d4-7\"")),
        (Condition::NoneOf(vec![etag]), Some("if-none-match: \"e1b2c3d4-7\"")),
    ] {
        let fake = Fake::start(vec![vec![created()]]);
        let content_type = Some(ContentType::new(b"text/plain").unwrap());
        let set = Set { condition, content_type, ..Set::new(Key::new(&b"k"[..]).unwrap(), "v") };
        assert!(Client::new(&fake.url).unwrap().set_with(set).await.unwrap().created);
        let seen = fake.seen.recv().unwrap();
        assert_eq!((seen.line.as_str(), &seen.body[..]), ("PUT /v1/keys/k HTTP/1.1", &b"v"[..]));
        assert!(seen.headers.contains(&"content-type: text/plain".to_owned()), "{:?}", seen.headers);
        assert_eq!(seen.headers.iter().find(|line| line.starts_with("if-")).map(String::as_str), expected);
    }
    for condition in [Condition::Revision(Revision(7)), Condition::Value("old".into())] {
        let fake = Fake::start(vec![vec![Then::Close]]);
        let set = Set { condition, ..Set::new(Key::new(&b"k"[..]).unwrap(), "v") };
        let _ = Client::new(&fake.url).unwrap().set_with(set).await;
        assert_eq!(fake.seen.recv().unwrap().line, "POST /v1/mset HTTP/1.1");
    }
}

#[test]
fn an_empty_value_is_sent_with_its_length_and_connections_are_kept() {
    let fake = Fake::start(vec![vec![created(), value(""), value("v")]]);
    let client = blocking::Client::new(Client::new(&fake.url).unwrap()).unwrap();
    assert!(client.set("k", "").unwrap().created);
    assert_eq!(client.get("k").unwrap().unwrap().bytes, "");
    let value = client.get("k").unwrap().unwrap();
    assert_eq!((&value.bytes[..], value.meta.size, value.meta.etag.unwrap().revision), (&b"v"[..], 1, Revision(42)));
    let seen: Vec<_> = fake.seen.try_iter().collect();
    assert!(seen[0].headers.contains(&"content-length: 0".to_owned()), "{:?}", seen[0].headers);
    assert!(seen.iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn each_verb_has_its_request() {
    async fn seen<F: Future<Output = ()>>(call: impl FnOnce(Client) -> F) -> (String, Seen) {
        let fake = Fake::start(vec![vec![Then::Close]]);
        call(Client::new(&fake.url).unwrap()).await;
        let seen = fake.seen.recv().unwrap();
        (seen.line.trim_end_matches(" HTTP/1.1").to_owned(), seen)
    }
    macro_rules! line {
        ($client:ident => $call:expr) => {
            seen(|$client| async move { drop($call.await) }).await.0
        };
    }
    assert_eq!(line!(c => c.increment("a/b", -5)), "POST /v1/incr/a/b?by=-5");
    assert_eq!(line!(c => c.increment("..", 1)), "POST /v1/incr64/Li4?by=1");
    assert_eq!(line!(c => c.append("a", "x")), "POST /v1/txn");
    assert_eq!(line!(c => c.ttl("a")), "GET /v1/ttl/a");
    assert_eq!(line!(c => c.expire("a", std::time::Duration::from_secs(30))), "PUT /v1/ttl/a?ttl=30000ms");
    assert_eq!(line!(c => c.expire("a", std::time::Duration::ZERO)), "PUT /v1/ttl/a?ttl=1ms");
    assert_eq!(line!(c => c.persist("a")), "PUT /v1/ttl/a?ttl=none");
    assert_eq!(line!(c => c.get_at("a", Revision(41))), "GET /v1/keys/a?rev=41");
    assert_eq!(line!(c => c.history("")), "GET /v1/history64/-");
    assert_eq!(line!(c => c.rollback("a", Revision(41))), "POST /v1/rollback/a");
    assert_eq!(line!(c => c.delete_prefix("a/")), "DELETE /v1/keys?prefix=a%2F");
    assert_eq!(line!(c => c.delete_all()), "DELETE /v1/keys?all=true");
    assert_eq!(line!(c => c.transaction(&kvd_client::Txn::new().get("a"))), "POST /v1/txn");
    let long = vec![b'k'; 60_000];
    assert_eq!(line!(c => c.increment(vec![b'k'; 60_000], 1)), "POST /v1/txn");
    assert_eq!(line!(c => c.persist(vec![b'k'; 60_000])), "POST /v1/txn");
    let client = Client::new("http://127.0.0.1:1").unwrap();
    assert!(matches!(client.history(&long).await, Err(kvd_client::Error::KeyFitsNoUrl { key_bytes: 60_000 })));
    assert!(matches!(client.delete_prefix("").await, Err(kvd_client::Error::EmptyPrefix)));
}

#[tokio::test]
async fn a_time_to_live_travels_as_a_header_and_comes_back_as_one() {
    for (ttl, expected) in [
        (Ttl::Default, None),
        (Ttl::None, Some("kvd-ttl: none")),
        (Ttl::Keep, Some("kvd-ttl: keep")),
        (Ttl::Ms(1_500), Some("kvd-ttl: 1500ms")),
    ] {
        let fake = Fake::start(vec![vec![created()]]);
        let set = Set { ttl, ..Set::new(Key::new(&b"k"[..]).unwrap(), "v") };
        Client::new(&fake.url).unwrap().set_with(set).await.unwrap();
        let seen = fake.seen.recv().unwrap();
        assert_eq!(seen.headers.iter().find(|line| line.starts_with("kvd-ttl")).map(String::as_str), expected);
    }
    let absolute = Set { ttl: Ttl::At(1), ..Set::new(Key::new(&b"k"[..]).unwrap(), "v") };
    let error = Client::new("http://127.0.0.1:1").unwrap().set_with(absolute).await.unwrap_err();
    assert!(matches!(error, kvd_client::Error::NotExpressible(_)), "{error:?}");

    let head = "etag: \"e1b2c3d4-42\"\r\nkvd-revision: 42\r\nkvd-ttl: 29000ms\r\n";
    let fake = Fake::start(vec![vec![crate::support::answer("200 OK", head, "v")]]);
    let value = Client::new(&fake.url).unwrap().get("k").await.unwrap().unwrap();
    assert_eq!(value.meta.ttl_ms, Some(29_000));
}

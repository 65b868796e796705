//! When no answer comes, callers must know what that means: whether anything was sent, whether a write may have happened, and
//! whether trying again is safe. The worst a client can do is to send a write twice, or to call an unknown outcome a failure.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::{Fake, Then, answer, created, value};
use kvd_client::{Client, Error};

fn client(fake: &Fake) -> Client {
    Client::new(&fake.url).unwrap()
}

#[tokio::test]
async fn no_server_is_not_reachable_and_nothing_was_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Client::new(&format!("http://{closed}")).unwrap().set("k", "v").await.unwrap_err();
    assert!(matches!(error, Error::NotReachable { .. }), "{error:?}");
    assert!(error.is_retryable() && !error.outcome_is_unknown());
    assert_eq!(error.to_string(), format!("no kvd server can be reached at http://{closed}"));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("refused"), "{cause}");
}

#[tokio::test]
async fn a_write_whose_connection_dies_has_an_unknown_outcome_and_is_sent_once() {
    let fake = Fake::start(vec![vec![Then::Close], vec![created()]]);
    let error = client(&fake).set("k", "v").await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { is_write: true, .. }), "{error:?}");
    assert!(error.outcome_is_unknown() && !error.is_retryable());
    assert_eq!(fake.seen.recv().unwrap().line, "PUT /v1/keys/k HTTP/1.1");
    assert!(fake.seen.try_recv().is_err(), "sent once");
}

#[tokio::test]
async fn a_write_that_dies_on_a_kept_alive_connection_is_sent_once_too() {
    let fake = Fake::start(vec![vec![value("v"), Then::Close], vec![created()]]);
    let client = client(&fake);
    client.get("k").await.unwrap();
    let error = client.set("k", "v").await.unwrap_err();
    assert!(error.outcome_is_unknown(), "{error:?}");
    let lines: Vec<_> = fake.seen.try_iter().map(|seen| (seen.connection, seen.line)).collect();
    assert_eq!(lines, [(0, "GET /v1/keys/k HTTP/1.1".to_owned()), (0, "PUT /v1/keys/k HTTP/1.1".to_owned())]);
}

#[tokio::test]
async fn a_read_whose_connection_dies_may_be_repeated() {
    let fake = Fake::start(vec![vec![Then::Close]]);
    let error = client(&fake).get("k").await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { is_write: false, .. }), "{error:?}");
    assert!(error.is_retryable() && !error.outcome_is_unknown());
}

#[tokio::test]
async fn a_connection_that_the_server_closed_between_requests_is_replaced() {
    let fake = Fake::start(vec![vec![value("v")], vec![created()]]);
    let client = client(&fake);
    client.get("k").await.unwrap();
    fake.closed.recv().unwrap();
    assert!(client.set("k", "v").await.unwrap().created);
    let connections: Vec<_> = fake.seen.try_iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_a_timeout() {
    let fake = Fake::start(vec![vec![Then::Hang]]);
    let client = Client::builder(&fake.url).request_timeout(Duration::from_millis(20)).build().unwrap();
    let error = client.delete("k").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { is_write: true, .. }), "{error:?}");
    assert!(error.outcome_is_unknown());
    assert!(error.to_string().contains("did not answer within 20ms; whether the change was made is not known"));
}

#[tokio::test]
async fn an_answer_cut_short_is_a_lost_connection_not_a_short_value() {
    let cut = b"HTTP/1.1 200 OK\r\netag: \"e1b2c3d4-42\"\r\ncontent-length: 10\r\n\r\nhalf".to_vec();
    let fake = Fake::start(vec![vec![Then::Answer(cut)]]);
    let error = client(&fake).get("k").await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
}

#[tokio::test]
async fn something_that_is_no_kvd_is_told_apart() {
    for (bytes, part) in [
        (answer("200 OK", "", "<html>"), "entity tag"),
        (answer("200 OK", "etag: \"abc\"\r\n", "<html>"), "entity tag"),
        (Then::Answer(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()), "HTTP"),
    ] {
        let fake = Fake::start(vec![vec![bytes]]);
        let error = client(&fake).get("k").await.unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn only_a_404_of_kvd_means_that_the_key_is_missing() {
    let revision = "kvd-revision: 7\r\n";
    let fake = Fake::start(vec![vec![
        answer("404 Not Found", "content-type: text/html\r\n", "<html>"),
        answer("404 Not Found", revision, ""),
        answer("404 Not Found", revision, ""),
    ]]);
    let client = client(&fake);
    let error = client.get("k").await.unwrap_err();
    assert!(matches!(error, Error::BadAnswer { .. }), "{error:?}");
    assert_eq!(client.get("k").await.unwrap(), None);
    assert!(!client.delete("k").await.unwrap().found);
}

#[tokio::test]
async fn a_refusal_without_reasons_is_told_by_its_status() {
    let fake = Fake::start(vec![vec![answer("414 URI Too Long", "", "")]]);
    let error = client(&fake).get("k").await.unwrap_err();
    assert_eq!((error.status().unwrap().as_u16(), error.code()), (414, None));
    assert_eq!(error.to_string(), "the server answered 414 URI Too Long");
}

#[tokio::test]
async fn a_failure_behind_which_a_write_may_have_happened_says_so() {
    let json = "content-type: application/problem+json\r\n";
    let problem = |status: u16, code: &str| {
        format!(
            r#"{{"type":"about:blank","title":"t","status":{status},"code":"{code}","retryable":true,"detail":"d"}}"#
        )
    };
    for (then, unknown) in [
        (answer("502 Bad Gateway", "", ""), true),
        (answer("503 Service Unavailable", "", ""), true),
        (answer("500 Internal Server Error", json, &problem(500, "internal")), true),
        (answer("503 Service Unavailable", json, &problem(503, "outcome-unknown")), true),
        (answer("503 Service Unavailable", json, &problem(503, "loading")), false),
        (answer("507 Insufficient Storage", json, &problem(507, "no-room")), false),
        (answer("413 Content Too Large", json, &problem(413, "limit-exceeded")), false),
        (answer("204 No Content", "", ""), true),
    ] {
        let fake = Fake::start(vec![vec![then.clone(), then.clone()]]);
        let client = client(&fake);
        let error = client.set("k", "v").await.unwrap_err();
        assert_eq!(error.outcome_is_unknown(), unknown, "{error:?}");
        assert!(!(unknown && error.is_retryable()), "{error:?}");
        let error = client.get("k").await.unwrap_err();
        assert!(!error.outcome_is_unknown(), "a read changes nothing: {error:?}");
    }
}

#[tokio::test]
async fn a_refusal_brings_its_reasons() {
    let problem = r#"{"type":"about:blank","title":"Precondition failed","status":412,"code":"precondition-failed",
        "retryable":false,"detail":"1 of 1 items failed their condition; nothing was changed","request_id":"r1",
        "errors":[{"key":"k","have":"e1b2c3d4-50"}]}"#;
    let fake = Fake::start(vec![vec![answer(
        "412 Precondition Failed",
        "content-type: application/problem+json\r\n",
        problem,
    )]]);
    let error = client(&fake).set("k", "v").await.unwrap_err();
    assert_eq!((error.status().unwrap().as_u16(), error.code()), (412, Some("precondition-failed")));
    assert!(!error.is_retryable() && !error.outcome_is_unknown());
    assert_eq!(error.to_string(), "1 of 1 items failed their condition; nothing was changed");
    let item = &error.problem().unwrap().errors()[0];
    assert_eq!(item.have.unwrap().unwrap().revision.0, 50);
}

//! A watch must bring every event once, whatever breaks: it is resumed behind the last event that came whole, and says so when
//! something is lost.

use crate::support::{Fake, Then, answer};
use kvd_client::{Client, Error, Revision, WatchOptions, Watched};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nkvd-store: e1b2c3d4\r\nkvd-revision: 40\r\n\
                    connection: close\r\n\r\n";

/// A stream that ends behind these events.
fn stream(events: &str) -> Vec<Then> {
    vec![Then::Answer(format!("{HEAD}{events}").into_bytes())]
}

fn commit(revision: u64, key: &str) -> String {
    let data = format!(r#"{{"revision":{revision},"events":[{{"op":"delete","key":"{key}"}}]}}"#);
    format!("id: {revision}\nevent: commit\ndata: {data}\n\n")
}

async fn revisions(watch: &mut kvd_client::Watch, count: usize) -> Vec<u64> {
    let mut revisions = Vec::new();
    while revisions.len() < count {
        match watch.next().await.unwrap() {
            Watched::Commit(commit) => revisions.push(commit.revision.0),
            Watched::Lagged(lagged) => panic!("{lagged:?}"),
        }
    }
    revisions
}

fn asked(fake: &Fake) -> Vec<(String, Option<String>)> {
    let last = |headers: Vec<String>| headers.into_iter().find(|line| line.starts_with("last-event-id"));
    fake.seen.try_iter().map(|seen| (seen.line.trim_end_matches(" HTTP/1.1").to_owned(), last(seen.headers))).collect()
}

#[tokio::test]
async fn a_stream_that_breaks_is_resumed_behind_the_last_event_that_came_whole() {
    let half = commit(43, "c");
    let events = [
        format!(": hello\nid: 40\n\n{}{}", commit(41, "a"), commit(42, "b")),
        // Cut off within an event: its id has come, its data not.
        half[..half.find("data").unwrap()].to_owned(),
        format!("{}id: 50\n\n", commit(43, "c")),
        commit(51, "d"),
    ];
    let fake = Fake::start(events.iter().map(|events| stream(events)).collect());
    let options = WatchOptions { prefix: b"p/".to_vec(), from: Some(Revision(41)) };
    let mut watch = Client::new(&fake.url).unwrap().watch(options);
    assert_eq!(revisions(&mut watch, 4).await, [41, 42, 43, 51]);
    let resumed = |id: u64| ("GET /v1/watch?prefix=p%2F".to_owned(), Some(format!("last-event-id: {id}")));
    let first = ("GET /v1/watch?prefix=p%2F&from=41".to_owned(), None);
    assert_eq!(asked(&fake), [first, resumed(42), resumed(42), resumed(50)]);
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_event_goes_on_where_it_began() {
    let fake = Fake::start(vec![stream(""), stream(&commit(41, "a"))]);
    let mut watch = Client::new(&fake.url).unwrap().watch(WatchOptions::default());
    assert_eq!(revisions(&mut watch, 1).await, [41]);
    assert_eq!(
        asked(&fake),
        [("GET /v1/watch?prefix=".to_owned(), None), ("GET /v1/watch?prefix=&from=41".to_owned(), None)]
    );
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_and_goes_on_with_what_is_kept() {
    let lagged = "event: lagged\ndata: {\"revision\":41,\"oldest\":90}\n\n";
    let fake = Fake::start(vec![stream(&(commit(41, "a") + lagged)), stream(&commit(90, "b"))]);
    let mut watch = Client::new(&fake.url).unwrap().watch(WatchOptions::default());
    assert_eq!(revisions(&mut watch, 1).await, [41]);
    let Watched::Lagged(lagged) = watch.next().await.unwrap() else { panic!("not told") };
    assert_eq!((lagged.revision, lagged.oldest), (Revision(41), Revision(90)));
    assert_eq!(revisions(&mut watch, 1).await, [90]);
    assert_eq!(asked(&fake)[1], ("GET /v1/watch?prefix=&from=90".to_owned(), None));
}

#[tokio::test]
async fn what_is_no_longer_kept_and_a_server_that_was_never_there_are_errors_at_once() {
    let body =
        r#"{"type":"about:blank","title":"t","status":410,"code":"snapshot-too-old","retryable":false,"detail":"d"}"#;
    let gone = answer("410 Gone", "content-type: application/problem+json\r\n", body);
    let fake = Fake::start(vec![vec![gone]]);
    let mut watch =
        Client::new(&fake.url).unwrap().watch(WatchOptions { from: Some(Revision(1)), ..Default::default() });
    assert_eq!(watch.next().await.unwrap_err().code(), Some("snapshot-too-old"));

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut watch = Client::new(&format!("http://{closed}")).unwrap().watch(WatchOptions::default());
    let error = watch.next().await.unwrap_err();
    assert!(matches!(error, Error::NotReachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stream_does_not_go_on_in_another_store() {
    let other = format!("{}{}", HEAD.replace("e1b2c3d4", "0a0b0c0d"), commit(42, "not ours"));
    let unnamed = format!("{}{}", HEAD.replace("kvd-store", "store"), commit(42, "whose?"));
    let [other, unnamed] = [other, unnamed].map(|text| vec![Then::Answer(text.into_bytes())]);
    let fake = Fake::start(vec![stream(&commit(41, "a")), other.clone(), other, unnamed, stream(&commit(42, "b"))]);
    let mut watch = Client::new(&fake.url).unwrap().watch(WatchOptions::default());
    assert_eq!(revisions(&mut watch, 1).await, [41]);
    for _ in 0..2 {
        let error = watch.next().await.unwrap_err();
        let Error::OtherStore { watched, found, .. } = &error else { panic!("{error:?}") };
        assert_eq!((watched.as_str(), found.as_str()), ("e1b2c3d4", "0a0b0c0d"));
    }
    assert!(matches!(watch.next().await, Err(Error::BadAnswer { .. })));
    // The one that was watched is back.
    assert_eq!(revisions(&mut watch, 1).await, [42]);
}

#[tokio::test]
async fn an_event_that_is_none_of_kvds_is_an_error() {
    let fake = Fake::start(vec![stream("id: 1\nevent: commit\ndata: nonsense\n\n")]);
    let mut watch = Client::new(&fake.url).unwrap().watch(WatchOptions::default());
    assert!(matches!(watch.next().await, Err(Error::BadAnswer { is_write: false, .. })));
}

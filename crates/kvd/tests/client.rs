//! `kvd-client` against the real server: what it promises of transactions under contention, and that every call does with every
//! key what it says. A lost update, or a view of two states, would show in a sum. A watch goes on through a crash, and not in
//! another store.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kvd_client::blocking::Client;
use kvd_client::{Condition, Error, Key, ListOptions, Mode, OpResult, Revision, Set, Ttl, Txn, WatchOptions, Watched};
use kvd_testkit::Server;

fn client(server: &Server) -> Client {
    Client::new(kvd_client::Client::new(&server.url()).unwrap()).unwrap()
}

fn number(client: &Client, key: &str) -> i64 {
    let value = client.get(key).unwrap().map_or("0".into(), |value| value.bytes);
    std::str::from_utf8(&value).unwrap().parse().unwrap()
}

#[test]
fn updates_that_get_in_each_others_way_are_all_done_once() {
    const THREADS: i64 = 4;
    const UPDATES: i64 = 25;
    let server = Server::start();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let client = client(&server);
                for _ in 0..UPDATES {
                    let outcome: Result<(), Error> = client.update(|tx| {
                        let next = number(tx, "n") + 1;
                        tx.set("n", next.to_string()).map(drop)
                    });
                    outcome.unwrap();
                }
            });
        }
    });
    assert_eq!(number(&client(&server), "n"), THREADS * UPDATES);
}

#[test]
fn a_view_sees_one_state_while_others_move_what_it_adds_up() {
    let server = Server::start();
    let reader = client(&server);
    reader.set_many(vec![named("a", "50"), named("b", "50")]).unwrap();
    thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let client = client(&server);
            for round in 0..200 {
                let by = if round % 2 == 0 { 7 } else { -7 };
                client.transaction(&Txn::new().increment("a", by).increment("b", -by)).unwrap();
            }
        });
        while !mover.is_finished() {
            let sum: Result<i64, Error> = reader.view(|tx| Ok(number(tx, "a") + number(tx, "b")));
            assert_eq!(sum.unwrap(), 100);
        }
    });
}

fn named(key: &'static str, value: &'static str) -> Set<'static> {
    Set::new(Key::new(key.as_bytes()).unwrap(), value)
}

#[test]
fn counters_appends_and_expiries_work_on_every_key() {
    let server = Server::start();
    let client = client(&server);
    // One for each form in which a key travels: as a path, in base64, in a body.
    for key in ["plain".as_bytes(), b"\xff/../", &[b'k'; 60_000]] {
        assert_eq!(client.increment(key, 5).unwrap().value, 5);
        assert_eq!(client.increment(key, -7).unwrap().value, -2);
        assert_eq!(client.append(key, "0").unwrap(), 3);
        assert_eq!(client.get(key).unwrap().unwrap().bytes, "-20");
        assert!(client.expire(key, Duration::from_secs(3_600)).unwrap());
        let left = client.get_many(&[key]).unwrap().items[0].found.as_ref().unwrap().meta.ttl_ms.unwrap();
        assert!((1..=3_600_000).contains(&left), "{left}");
        assert!(client.persist(key).unwrap());
        assert_eq!(client.head(key).unwrap().unwrap().ttl_ms, None);
        client.delete(key).unwrap();
        assert!(!client.expire(key, Duration::from_secs(1)).unwrap() && !client.persist(key).unwrap());
    }
    client.set("word", "x").unwrap();
    let error = client.increment("word", 1).unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Some("not-an-integer"), false));
    assert_eq!(client.ttl("missing").unwrap(), None);
    let set = Set { ttl: Ttl::Ms(3_600_000), ..named("word", "y") };
    client.set_with(set).unwrap();
    assert!(client.ttl("word").unwrap().unwrap().ttl_ms.is_some());
}

#[test]
fn a_transaction_is_done_or_its_alternative_or_nothing() {
    let server = Server::start();
    let client = client(&server);
    let taken = Txn::new().check("lock", Condition::Absent).set("lock", "me").get("lock").otherwise().get("lock");
    let answer = client.transaction(&taken).unwrap();
    assert!(answer.is_committed() && answer.results.len() == 2);
    let answer = client.transaction(&taken).unwrap();
    assert_eq!(answer.failed_checks, [0]);
    assert!(matches!(&answer.results[..], [OpResult::Got(item)] if item.found.is_some()), "{answer:?}");
    let refused = Txn::new().check("lock", Condition::Absent).set("other", "1");
    assert_eq!(client.transaction(&refused).unwrap_err().code(), Some("precondition-failed"));
    let failing = Txn::new().set("other", "1").increment("lock", 1);
    assert_eq!(client.transaction(&failing).unwrap_err().code(), Some("not-an-integer"));
    assert_eq!(client.get("other").unwrap(), None);
}

#[test]
fn an_interactive_transaction_is_bound_to_its_id() {
    let server = Server::start();
    let client = client(&server);
    let tx = client.begin(Mode::ReadWrite).unwrap();
    let begun = tx.begun().unwrap();
    assert!((begun.id.as_str(), begun.revision) == (&tx.id(), Revision(0)) && begun.idle_timeout_ms > 0, "{begun:?}");
    client.within(&tx.id()).unwrap().set("a", "1").unwrap();
    assert_eq!(tx.get("a").unwrap().unwrap().bytes, "1");
    let revision = tx.commit().unwrap();
    // The server keeps the answer: whoever didn't get it asks again.
    assert_eq!(tx.commit().unwrap(), revision);
    assert_eq!(client.within(&tx.id()).unwrap().get("a").unwrap_err().code(), Some("transaction-ended"));
}

#[test]
fn folders_and_deletes_by_prefix() {
    let server = Server::start();
    let client = client(&server);
    client.set_many(vec![named("d/1", ""), named("d/2", ""), named("a", ""), named("z", "")]).unwrap();
    let options = ListOptions { delimiter: Some(b"/".to_vec()), ..ListOptions::default() };
    let page = client.page(&options, None).unwrap();
    let names: Vec<_> = page.items.iter().map(|item| item.key.as_bytes()).collect();
    assert_eq!((names, page.prefixes.unwrap()), (vec![&b"a"[..], b"z"], vec![Key::new(&b"d/"[..]).unwrap()]));
    assert_eq!(client.delete_prefix("d/").unwrap().deleted, 2);
    assert_eq!(client.delete_all().unwrap().deleted, 2);
}

#[test]
fn a_watch_brings_what_comes_and_what_was() {
    let server = Server::start();
    let client = client(&server);
    client.set_many(vec![named("w/a", "1"), named("x", "1")]).unwrap();
    let mut watch = client.watch(WatchOptions { prefix: b"w/".to_vec(), from: Some(Revision(1)) });
    let mut next = || match watch.next().unwrap().unwrap() {
        Watched::Commit(commit) => (commit.revision.0, commit.events.len()),
        Watched::Lagged(lagged) => panic!("{lagged:?}"),
    };
    assert_eq!(next(), (1, 1));
    client.set("x", "2").unwrap();
    client.transaction(&Txn::new().set("w/a", "2").set("w/b", "2")).unwrap();
    assert_eq!(next(), (3, 2));
}

/// An address that stays while servers come and go behind it.
struct Front {
    address: SocketAddr,
    behind: Arc<Mutex<SocketAddr>>,
}

impl Front {
    fn of(server: &Server) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::new(Mutex::new(server.address()));
        let target = Arc::clone(&behind);
        thread::spawn(move || {
            for client in listener.incoming() {
                // Nobody there: the client is hung up on.
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(*target.lock().unwrap())) {
                    pump(client.try_clone().unwrap(), server.try_clone().unwrap());
                    pump(server, client);
                }
            }
        });
        Front { address, behind }
    }

    fn put(&self, server: &Server) {
        *self.behind.lock().unwrap() = server.address();
    }

    fn client(&self) -> Client {
        Client::new(kvd_client::Client::new(&format!("http://{}", self.address)).unwrap()).unwrap()
    }
}

/// Everything from the first commit on.
fn from_the_first() -> WatchOptions {
    WatchOptions { from: Some(Revision(1)), ..WatchOptions::default() }
}

/// Hands on what one side says, until it ends in whatever way: then so does the other.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
}

fn revision(watched: Option<Result<Watched, Error>>) -> u64 {
    match watched.unwrap().unwrap() {
        Watched::Commit(commit) => commit.revision.0,
        Watched::Lagged(lagged) => panic!("{lagged:?}"),
    }
}

#[test]
fn a_watch_goes_on_through_a_crash_that_lost_nothing() {
    let mut server = Server::start_with(&["--fsync", "always"]);
    let front = Front::of(&server);
    let watcher = front.client();
    let mut watch = watcher.watch(from_the_first());
    let mut seen = 0;
    // Twice with nothing in between, then with commits.
    for crashes in [0, 2, 1] {
        for _ in 0..crashes {
            server.kill();
            server.restart();
        }
        front.put(&server);
        let revisions = [0, 1].map(|n| client(&server).set("a", n.to_string()).unwrap().etag.unwrap().revision.0);
        assert_eq!(revisions[0], seen + (crashes << 24) + 1);
        assert_eq!([revision(watch.next()), revision(watch.next())], revisions);
        seen = revisions[1];
    }
}

#[test]
fn a_watch_does_not_go_on_in_another_store() {
    let (mut one, other) = (Server::start(), Server::start());
    let front = Front::of(&one);
    let watcher = front.client();
    let mut watch = watcher.watch(from_the_first());
    client(&one).set("a", "1").unwrap();
    assert_eq!(revision(watch.next()), 1);
    // Its next commit has the revision that is asked for, and is none of those that were missed.
    for n in ["1", "2"] {
        client(&other).set("b", n).unwrap();
    }
    front.put(&other);
    one.kill();
    let Some(Err(error)) = watch.next() else { panic!("it went on") };
    let Error::OtherStore { watched, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*found, client(&other).info().unwrap().epoch);
    assert_ne!(watched, found);
}

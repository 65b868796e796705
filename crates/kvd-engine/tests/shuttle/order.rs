//! What SEQ holds together: the journal's order is that of revisions, and the sizes are those of the revision they come with.
//! And memory that runs short: a reader whose versions had to go is told so. Knows nothing of what is in a value.

use kvd_engine::{Bug, Config, Engine, Visibility};
use kvd_types::{Command, Error, Set};

use crate::client::{Client, Journal, key, open, open_with_two_far_apart, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;

/// Two writers, who don't meet in a bucket: the journal has their commits in order.
fn two_writers() {
    let (engine, x, y) = open_with_two_far_apart();
    let first = spawn(&engine, move |client| (client.set(x, 1), client.multi_set(&[(x, 2), (3, 2)]), client.delete(x)));
    let second = spawn(&engine, move |client| (client.set(y, 1), client.delete(y), client.set(y, 3)));
    first.join().unwrap();
    second.join().unwrap();
    Journal::of(&engine);
}

/// Sizes that are asked for beside writers and a clear: those of the revision that comes with them.
fn sizes_beside_writers() {
    let engine = open(Visibility::Immediate, 1);
    Client::new(&engine).multi_set(&[(X, 1), (3, 333)]);
    let writer = spawn(&engine, |client| {
        client.set(Y, 22);
        client.set(X, 4444);
        client.delete(X);
    });
    let clearer = spawn(&engine, |client| client.clear());
    let counter = spawn(&engine, |client| [client.engine.stats(), client.engine.stats(), client.engine.stats()]);
    writer.join().unwrap();
    clearer.join().unwrap();
    let counted = counter.join().unwrap();
    let journal = Journal::of(&engine);
    for stats in counted {
        let state = journal.state(stats.revision.0);
        assert_eq!(stats.totals.keys, state.len() as u64, "keys at revision {}", stats.revision);
        let value_bytes: usize = state.values().map(|(value, _)| value.to_string().len()).sum();
        assert_eq!(stats.totals.value_bytes, value_bytes as u64, "bytes of values at revision {}", stats.revision);
    }
}

/// A view of keys that go, in a store that has no room to keep them: it shows them, or says that it can't.
fn a_view_that_loses_its_versions() {
    let engine = Engine::open(Config { memory_bytes_max: 128 << 10, ..Config::default() });
    let mut client = Client::new(&engine);
    let set = |number: u64, bytes: usize| Command::Set(Set::new(key(number), vec![b'1'; bytes]));
    client.execute(&set(X, 40_000)).unwrap();
    let view = engine.view().unwrap();
    let writer = spawn(&engine, move |client| {
        client.delete(X);
        // Refused while what had to go is still being looked at.
        let result = client.execute(&set(Y, 100_000));
        assert!(matches!(result, Ok(_) | Err(Error::MemoryFull { .. })), "{result:?}");
    });
    let reader = spawn(&engine, move |client| {
        for _ in 0..2 {
            match view.get(&client.engine, &mut client.worker, &key(X)) {
                Ok(entry) => assert!(entry.is_some(), "a key whose versions had to go looked missing"),
                Err(error) => assert_eq!(error, Error::SnapshotTooOld { revision: view.revision() }),
            }
        }
    });
    writer.join().unwrap();
    reader.join().unwrap();
    client.execute(&set(3, 20_000)).expect("there is room without what the view kept");
}

#[test]
fn the_journal_is_in_order() {
    passes(two_writers);
}

#[test]
fn sizes_are_those_of_their_revision() {
    passes(sizes_beside_writers);
}

#[test]
fn a_view_shows_its_state_or_says_that_it_is_gone() {
    passes(a_view_that_loses_its_versions);
}

#[test]
fn a_commit_that_is_queued_late_is_caught() {
    catches(Bug::QueuedOutsideSeq, two_writers);
}

#[test]
fn sizes_that_change_late_are_caught() {
    catches(Bug::CountedOutsideSeq, sizes_beside_writers);
}

#[test]
fn a_mark_that_is_not_looked_at_after_the_read_is_caught() {
    catches(Bug::RevokedNotSeen, a_view_that_loses_its_versions);
}

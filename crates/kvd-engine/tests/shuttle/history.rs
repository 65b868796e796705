//! The past beside who changes the present: a rollback is a commit like any other, with a revision of its own, and what is told
//! of a revision is what was there. Knows nothing of files.

use kvd_engine::{Bug, Config, Engine, Visibility};
use kvd_types::{Command, Condition, Epoch, Error, Etag, Reply, Revision, Rollback};

use crate::client::{Client, Journal, key, put_if, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;

/// A store that keeps so many older versions.
fn open(history: usize) -> Engine {
    let visibility = Visibility::Immediate;
    Engine::open(Config { visibility, history, segment_buckets_max: 1, journal: true, ..Config::default() })
}

fn roll_back(client: &mut Client, number: u64, to: u64) -> u64 {
    let rollback = Rollback { key: key(number), to: Revision(to), condition: Condition::Always };
    match client.execute(&Command::Rollback(rollback)) {
        Ok(Reply::RolledBack { revision }) => revision.0,
        other => panic!("no answer to a rollback: {other:?}"),
    }
}

/// An old value comes back beside who still holds its tag, and who looks at two keys at once.
fn rollback_beside_readers() {
    let engine = open(4);
    let first = Client::new(&engine).set(X, 1);
    let writer = spawn(&engine, move |client| {
        let over = client.set(X, 2);
        client.set(Y, 2);
        (over, roll_back(client, X, first))
    });
    let tag = Etag { epoch: Epoch(0), revision: Revision(first) };
    let owner = spawn(&engine, move |client| client.try_set(put_if(X, 3, Condition::AnyOf(vec![tag]))));
    let reader = spawn(&engine, |client| [client.multi_get(&[X, Y]), client.multi_get(&[Y, X])]);
    let (over, back) = writer.join().unwrap();
    match owner.join().unwrap() {
        Ok(revision) => assert!(revision < over, "a tag of revision {first} was taken for that of {back}"),
        Err(error) => assert!(matches!(error, Error::PreconditionFailed { .. }), "{error}"),
    }
    let seen = reader.join().unwrap();
    let journal = Journal::replay(&engine.seal().1);
    seen.iter().for_each(|seen| journal.check(seen));
    assert_eq!(journal.state(back)[&X], (1, back));
}

/// Readers of the past beside a writer, and beside a view that keeps a version from before history begins.
fn the_past_beside_a_writer() {
    let engine = open(1);
    let mut client = Client::new(&engine);
    let first = client.set(X, 1);
    let view = engine.view().unwrap();
    client.set(X, 2);
    let writer = spawn(&engine, move |client| {
        client.set(X, 3);
        client.delete(X);
        client.set(X, 4);
    });
    let reader = spawn(&engine, move |client| {
        let mut told = Vec::new();
        for revision in first..first + 3 {
            match client.execute(&Command::GetAt { key: key(X), revision: Revision(revision) }) {
                Ok(Reply::Got { entry, .. }) => told.push((revision, entry.map(|entry| entry.revision.0))),
                Err(Error::VersionDropped { .. } | Error::FutureRevision { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        let Ok(Reply::History { revision, versions }) = client.execute(&Command::History { key: key(X) }) else {
            panic!()
        };
        (told, revision, versions)
    });
    writer.join().unwrap();
    let (told, newest, versions) = reader.join().unwrap();
    drop(view);
    let journal = Journal::replay(&engine.seal().1);
    for (revision, found) in told {
        let expected = journal.state(revision).get(&X).map(|(_, written)| *written);
        assert_eq!(found, expected, "at revision {revision}");
    }
    // The newest commit and the one before it, all of one key here.
    let revisions: Vec<u64> = versions.iter().map(|version| version.revision.0).collect();
    assert_eq!(revisions, [newest.0, newest.0 - 1]);
}

#[test]
fn a_rollback_is_a_new_version_for_everyone() {
    passes(rollback_beside_readers);
}

#[test]
fn what_is_told_of_a_revision_was_there() {
    passes(the_past_beside_a_writer);
}

#[test]
fn a_rollback_that_brings_the_old_version_back_is_caught() {
    catches(Bug::RollbackReinstalls, rollback_beside_readers);
}

#[test]
fn a_past_that_is_read_without_the_lock_is_caught() {
    catches(Bug::PastUnlocked, the_past_beside_a_writer);
}

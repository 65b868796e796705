//! Readers beside writers where a commit is seen only when the journal has it on disk: at any moment readers see exactly the
//! state at VISIBLE, whatever is overwritten above it. A thread plays the journal's writer. Knows nothing of files.

use std::time::Duration;

use kvd_engine::{Batch, Bug, Engine, Visibility};

use crate::client::{Client, Journal, Seen, open, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;

/// Some groups of commits, one after the other. After each nobody else moves VISIBLE, so what is found is the state at it.
fn flush(client: &mut Client, groups: usize, keys: &[u64]) -> (Vec<Batch>, Vec<Seen>) {
    let (mut batches, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..groups {
        let (sealed, group) = client.engine.seal();
        batches.extend(group);
        client.engine.make_visible(sealed);
        let keys = keys.iter().map(|number| (*number, client.get(*number))).collect();
        seen.push(Seen { revision: sealed.0, keys });
    }
    client.maintain();
    (batches, seen)
}

/// A store with X of revision 1, which is visible.
fn open_with_x() -> (Engine, Vec<Batch>) {
    let engine = open(Visibility::WhenDurable, 1);
    Client::new(&engine).set(X, 1);
    let (sealed, batches) = engine.seal();
    engine.make_visible(sealed);
    (engine, batches)
}

/// A key that is written several times in each group.
fn hot_key() {
    let (engine, mut batches) = open_with_x();
    let writer = spawn(&engine, |client| {
        client.set(X, 2);
        client.set(X, 3);
        client.delete(X);
        client.set(X, 4);
    });
    let flusher = spawn(&engine, |client| flush(client, 3, &[X]));
    let reader = spawn(&engine, |client| {
        let view = client.engine.view().unwrap();
        let seen = [client.look(&view, &[X]), client.look(&view, &[X])];
        drop(view);
        client.maintain();
        seen
    });
    writer.join().unwrap();
    let (flushed, at_visible) = flusher.join().unwrap();
    let viewed = reader.join().unwrap();
    batches.extend(flushed);
    let journal = Journal::after(&engine, batches);
    at_visible.iter().chain(&viewed).for_each(|seen| journal.check(seen));
}

/// A key that always exists: no get misses it, and none goes back.
fn get_beside_overwrites() {
    let (engine, mut batches) = open_with_x();
    let writer = spawn(&engine, |client| {
        client.set(X, 2);
        client.set(X, 3);
        client.maintain();
    });
    let flusher = spawn(&engine, |client| flush(client, 2, &[X]));
    let reader = spawn(&engine, |client| {
        let (first, second) = (client.get_once(X), client.get_once(X));
        assert!(first.is_some() && second.is_some(), "a key that always exists was missing");
        assert!(first <= second, "{first:?}, then {second:?}");
    });
    writer.join().unwrap();
    batches.extend(flusher.join().unwrap().0);
    reader.join().unwrap();
    Journal::after(&engine, batches);
}

/// The same in batches of gets, of two keys that are only written together: who finds one new finds the next new too.
fn batches_beside_overwrites() {
    let engine = open(Visibility::WhenDurable, 1);
    Client::new(&engine).multi_set(&[(X, 1), (Y, 1)]);
    let (sealed, mut batches) = engine.seal();
    engine.make_visible(sealed);
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(X, 2), (Y, 2)]);
        client.multi_set(&[(X, 3), (Y, 3)]);
    });
    let flusher = spawn(&engine, |client| flush(client, 2, &[]));
    let reader = spawn(&engine, |client| {
        let found = client.get_batch(&[X, Y, X]);
        assert!(found.iter().all(Option::is_some), "a key that always exists was missing: {found:?}");
        assert!(found.is_sorted(), "X, Y and X again, of commits of both: {found:?}");
    });
    writer.join().unwrap();
    batches.extend(flusher.join().unwrap().0);
    reader.join().unwrap();
    Journal::after(&engine, batches);
}

/// A get in the chain of a key while VISIBLE passes it and what is behind is dropped.
fn get_beside_settling() {
    let (engine, mut batches) = open_with_x();
    Client::new(&engine).set(X, 2);
    let flusher = spawn(&engine, |client| flush(client, 1, &[]));
    let reader = spawn(&engine, |client| assert!(client.get_once(X).is_some(), "a key that always exists was missing"));
    batches.extend(flusher.join().unwrap().0);
    reader.join().unwrap();
    Journal::after(&engine, batches);
}

/// A multi-get beside a VISIBLE that moves without any bucket being touched: X comes with revision 1 and goes with 2.
fn multi_get_beside_visible() {
    let engine = open(Visibility::WhenDurable, 1);
    let mut client = Client::new(&engine);
    client.multi_set(&[(X, 1), (Y, 1)]);
    let (sealed, mut batches) = engine.seal();
    client.delete(X);
    let flusher = spawn(&engine, move |client| {
        client.engine.make_visible(sealed);
        flush(client, 1, &[X, Y])
    });
    let reader = spawn(&engine, |client| [client.multi_get(&[X, Y]), client.multi_get(&[Y, X])]);
    let (flushed, at_visible) = flusher.join().unwrap();
    let seen = reader.join().unwrap();
    batches.extend(flushed);
    let journal = Journal::after(&engine, batches);
    at_visible.iter().chain(&seen).for_each(|seen| journal.check(seen));
}

#[test]
fn readers_see_exactly_what_is_on_disk_of_a_hot_key() {
    passes(hot_key);
}

#[test]
fn a_get_never_misses_a_key_that_is_only_overwritten() {
    passes(get_beside_overwrites);
}

#[test]
fn a_batch_of_gets_never_goes_back() {
    passes(batches_beside_overwrites);
}

#[test]
fn a_get_never_misses_a_key_that_is_settled() {
    passes(get_beside_settling);
}

#[test]
fn a_multi_get_says_a_revision_at_which_it_holds_while_visible_moves() {
    passes(multi_get_beside_visible);
}

#[test]
fn settling_that_forgets_the_sealed_group_is_caught() {
    catches(Bug::SettleForgetsSealed, hot_key);
}

#[test]
fn a_visible_that_is_remembered_for_a_batch_is_caught() {
    catches(Bug::VisibleRemembered, batches_beside_overwrites);
}

#[test]
fn a_revision_loaded_before_the_old_version_is_caught() {
    catches(Bug::RevisionBeforeOld, get_beside_settling);
}

/// An answer waits for a flusher that goes by when it finds nothing: the wake-up must reach it.
fn answers_beside_a_flusher() {
    let engine = open(Visibility::WhenDurable, 1);
    let writers = [X, Y].map(|key| {
        spawn(&engine, move |client| {
            client.set(key, 1);
            client.engine.wait(client.worker.position()).unwrap();
        })
    });
    let flusher = spawn(&engine, |client| {
        let mut batches = Vec::new();
        while batches.len() < 2 {
            client.engine.sleep_until_commits(Duration::from_secs(1));
            let (sealed, group) = client.engine.seal();
            batches.extend(group);
            client.engine.make_visible(sealed);
        }
        batches
    });
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    Journal::after(&engine, flusher.join().unwrap());
}

#[test]
fn no_wake_up_is_lost() {
    passes(answers_beside_a_flusher);
}

#[test]
fn a_look_before_the_lock_is_caught() {
    catches(Bug::CheckedThenRegistered, answers_beside_a_flusher);
}

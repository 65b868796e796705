//! Keys that expire beside a clock that moves: time is part of the one order of commits. A tick is a step of its own thread.
//! Knows nothing of wall clocks.

use kvd_engine::{Bug, Visibility};
use kvd_types::{Condition, Error};

use crate::client::{Client, Journal, open, open_with_two_far_apart, put, put_if, put_until, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const EXPIRING: u64 = 2;
const END_MS: u64 = 10;

/// A commit of two keys whose condition may end while it is under way: all of it, or nothing and no revision.
fn refused_by_time() {
    let engine = open(Visibility::Immediate, 1);
    let mut client = Client::new(&engine);
    client.set(X, 1);
    client.try_set(put_until(EXPIRING, 1, END_MS)).unwrap();
    let writer = spawn(&engine, |client| {
        let sets = vec![put(X, 2), put_if(EXPIRING, 2, Condition::Exists)];
        client.try_multi_set(sets)
    });
    let clock = spawn(&engine, |client| client.engine.tick(END_MS));
    let reader = spawn(&engine, |client| client.get(X).expect("nobody deletes it"));
    clock.join().unwrap();
    let seen = reader.join().unwrap();
    match writer.join().unwrap() {
        Ok(revision) => {
            assert_eq!((client.get(X), client.get(EXPIRING)), (Some((2, revision)), Some((2, revision))));
            assert!(seen == (1, 1) || seen == (2, revision), "X was {seen:?}");
        }
        Err(Error::PreconditionFailed { .. }) => {
            assert_eq!((client.get(X), client.get(EXPIRING)), (Some((1, 1)), None));
            assert_eq!(seen, (1, 1), "what was refused was seen");
            assert_eq!(engine.revision().0, 2, "a revision was used up");
        }
        Err(other) => panic!("refused by its condition alone: {other}"),
    }
    client.set(X, 3);
    client.sweep();
    drop(client);
    Journal::of(&engine);
}

/// What a condition found alive had not expired at the commit: a mark that is set after the tick comes later. The mark is in
/// another bucket, or it would have to wait for the commit.
fn alive_at_the_commit() {
    let (engine, expiring, mark) = open_with_two_far_apart();
    let mut client = Client::new(&engine);
    client.try_set(put_until(expiring, 1, END_MS)).unwrap();
    let writer = spawn(&engine, move |client| client.try_set(put_if(expiring, 2, Condition::Exists)).ok());
    let clock = spawn(&engine, move |client| {
        client.engine.tick(END_MS);
        client.set(mark, 1)
    });
    let (marked, set) = (clock.join().unwrap(), writer.join().unwrap());
    assert!(set.is_none_or(|revision| revision < marked), "set if it exists, after its end");
    client.sweep();
    drop(client);
    Journal::of(&engine);
}

/// The same of what an update has read.
fn alive_at_the_end_of_an_update() {
    let (engine, expiring, mark) = open_with_two_far_apart();
    let mut client = Client::new(&engine);
    client.try_set(put_until(expiring, 1, END_MS)).unwrap();
    let updater = spawn(&engine, move |client| {
        let mut update = client.engine.update().unwrap();
        let read = client.read(&mut update, expiring);
        update.set(put(X, 1)).unwrap();
        client.commit(update).filter(|_| read.is_some())
    });
    let clock = spawn(&engine, move |client| {
        client.engine.tick(END_MS);
        client.set(mark, 1)
    });
    let (marked, updated) = (clock.join().unwrap(), updater.join().unwrap());
    assert!(updated.is_none_or(|revision| revision < marked), "committed when what it has read had expired");
    client.sweep();
    drop(client);
    Journal::of(&engine);
}

/// A key that gets a new value before the old one's end is there all the time.
fn renewed_in_time() {
    let engine = open(Visibility::Immediate, 1);
    Client::new(&engine).try_set(put_until(X, 1, END_MS)).unwrap();
    let writer = spawn(&engine, |client| {
        client.set(X, 2);
        client.engine.tick(END_MS);
        client.sweep();
    });
    let reader = spawn(&engine, |client| {
        assert!(client.get_once(X).is_some(), "a key that was renewed in time was missing");
        assert!(client.multi_get(&[X]).of(X).is_some(), "a key that was renewed in time was missing in a multi-get");
    });
    writer.join().unwrap();
    reader.join().unwrap();
    Journal::of(&engine);
}

/// Segments that split while the sweep is in them: the keys that end later are found by a later sweep.
fn swept_beside_splits() {
    let engine = open(Visibility::Immediate, 1);
    let mut client = Client::new(&engine);
    let until = |numbers: &[u64], at: u64| numbers.iter().map(|number| put_until(*number, 1, at)).collect();
    client.try_multi_set(until(&[1, 2], END_MS)).unwrap();
    client.try_multi_set(until(&[3, 4], 2 * END_MS)).unwrap();
    let clock = spawn(&engine, |client| {
        client.engine.tick(END_MS);
        client.sweep();
    });
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(10, 1), (11, 1), (12, 1)]);
        client.multi_delete(&[10, 11]);
    });
    clock.join().unwrap();
    writer.join().unwrap();
    engine.tick(2 * END_MS);
    client.sweep();
    drop(client);
    Journal::of(&engine);
}

#[test]
fn a_commit_that_time_refuses_leaves_nothing() {
    passes(refused_by_time);
}

#[test]
fn what_is_judged_alive_is_alive_at_the_commit() {
    passes(alive_at_the_commit);
}

#[test]
fn what_an_update_has_read_is_alive_at_the_commit() {
    passes(alive_at_the_end_of_an_update);
}

#[test]
fn a_key_that_is_renewed_in_time_never_misses() {
    passes(renewed_in_time);
}

#[test]
fn the_sweep_finds_what_moves_while_it_looks() {
    passes(swept_beside_splits);
}

#[test]
fn taking_back_all_but_one_slot_is_caught() {
    catches(Bug::UndoForgetsSlot, refused_by_time);
}

#[test]
fn expiry_that_is_not_checked_again_is_caught() {
    catches(Bug::NoExpiryRecheck, alive_at_the_commit);
}

#[test]
fn expiry_that_is_not_checked_again_is_caught_in_an_update() {
    catches(Bug::NoExpiryRecheck, alive_at_the_end_of_an_update);
}

#[test]
fn time_loaded_after_the_slot_is_caught() {
    catches(Bug::NowAfterSlot, renewed_in_time);
}

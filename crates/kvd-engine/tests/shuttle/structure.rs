//! The index while it grows and shrinks, in segments of one bucket: no key is lost, none comes twice, and sizes are those of
//! what is stored. Knows nothing of how segments are split.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvd_engine::Visibility;
use kvd_testkit::history::linearizable::{Answer, Condition, KeyOperation, Operation, assert_linearizable};
use kvd_testkit::history::{Process, Version, merge};

use crate::client::{Client, Journal, open, spawn};
use crate::run::passes;

const X: u64 = 1;

/// Two writers fill the same buckets, many keys in one commit.
fn multi_sets_into_tiny_segments() {
    let engine = open(Visibility::Immediate, 1);
    Client::new(&engine).multi_set(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
    let first = spawn(&engine, |client| {
        client.multi_set(&[(10, 1), (11, 1), (12, 1), (13, 1), (1, 2)]);
        client.multi_delete(&[2, 10, 99]);
    });
    let second = spawn(&engine, |client| {
        client.set(20, 1);
        client.multi_set(&[(21, 1), (22, 1), (23, 1), (10, 2)]);
        client.delete(20);
    });
    first.join().unwrap();
    second.join().unwrap();
    Journal::of(&engine);
}

/// Gets and sets of one key while its segment is split and merged: by the checker of histories.
fn splits_beside_gets_and_sets() {
    let engine = open(Visibility::Immediate, 1);
    Client::new(&engine).multi_set(&[(2, 1), (3, 1), (4, 1), (5, 1)]);
    let clock = Arc::new(AtomicU64::new(0));
    let process = |id: u32| {
        let clock = Arc::clone(&clock);
        Process::new(id, move || clock.fetch_add(1, Ordering::SeqCst)) // one order for all; only one thread runs
    };
    let growing = spawn(&engine, |client| {
        client.multi_set(&[(10, 1), (11, 1), (12, 1)]);
        client.maintain();
        client.multi_delete(&[10, 11, 12, 2, 3]);
        client.maintain();
    });
    let client = |id: u32| {
        let mut process = process(id);
        spawn(&engine, move |client| {
            for round in 0..2 {
                let value = u64::from(id) * 10 + round;
                let invocation = process.invoke();
                let answer = Answer::Done { revision: Some(client.set(X, value)) };
                let operation = Operation::Set { value, condition: Condition::Always, answer };
                process.respond(invocation, KeyOperation { key: X, operation });
                let invocation = process.invoke();
                let (found, at_least) = client.get_bounded(X);
                let found = found.map(|(value, revision)| Version { value, revision: Some(revision) });
                let operation = Operation::Get { found, at_least: Some(at_least) };
                process.respond(invocation, KeyOperation { key: X, operation });
            }
            process.into_records()
        })
    };
    let clients = [client(1), client(2)];
    growing.join().unwrap();
    let records = clients.map(|client| client.join().unwrap());
    assert_linearizable(&merge(records));
    Journal::of(&engine);
}

/// A walk in small pages beside splits and merges.
fn walk_beside_splits_and_merges() {
    let engine = open(Visibility::Immediate, 1);
    Client::new(&engine).multi_set(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(10, 1), (11, 1), (12, 1), (13, 1)]);
        client.multi_delete(&[10, 11, 12, 13]);
    });
    let reader = spawn(&engine, |client| client.list(2));
    writer.join().unwrap();
    let mut listed = reader.join().unwrap();
    listed.sort_unstable();
    let stays = |number: &u64| *number < 10;
    assert_eq!(listed.iter().copied().filter(stays).collect::<Vec<_>>(), [1, 2, 3, 4], "what stays comes once");
    assert!(listed.windows(2).all(|pair| pair[0] != pair[1]), "a key came twice: {listed:?}");
    Journal::of(&engine);
}

#[test]
fn commits_of_many_keys_fill_tiny_segments() {
    passes(multi_sets_into_tiny_segments);
}

#[test]
fn a_key_is_found_while_its_segment_splits() {
    passes(splits_beside_gets_and_sets);
}

#[test]
fn a_walk_meets_every_key_that_stays_once() {
    passes(walk_beside_splits_and_merges);
}

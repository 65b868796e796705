//! Transactions that read and write, beside each other and beside single commands: their reads are of one state, which still
//! holds when they commit. Knows nothing of expiry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvd_engine::{Bug, Visibility};
use kvd_testkit::history::serializable::{Mode, Outcome, Transaction, assert_serializable};
use kvd_testkit::history::{Process, Version, merge};

use crate::client::{Client, Found, Journal, open, open_with_two_far_apart, put, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;

/// Each creates its key if the other's is absent: only one may.
fn write_skew_by_creation() {
    let (engine, x, y) = open_with_two_far_apart();
    let create = |mine: u64, other: u64| {
        spawn(&engine, move |client| {
            let mut update = client.engine.update().unwrap();
            if client.read(&mut update, other).is_none() {
                update.set(put(mine, 1)).unwrap();
            }
            client.commit(update)
        })
    };
    let (first, second) = (create(x, y), create(y, x));
    first.join().unwrap();
    second.join().unwrap();
    let mut client = Client::new(&engine);
    assert!(client.get(x).is_none() || client.get(y).is_none(), "both found the other's key absent");
    drop(client);
    Journal::of(&engine);
}

/// A sum that transfers keep: whoever looks inside an update finds it.
fn constant_sum() {
    let engine = open(Visibility::Immediate, 1);
    Client::new(&engine).multi_set(&[(X, 60), (Y, 40)]);
    let transfer = || {
        spawn(&engine, |client| {
            let mut update = client.engine.update().unwrap();
            let value = |found: Found| found.expect("nobody deletes it").0;
            let (x, y) = (value(client.read(&mut update, X)), value(client.read(&mut update, Y)));
            assert_eq!(x + y, 100, "a mix of two states at revision {}", update.revision());
            update.set(put(X, x - 10)).unwrap();
            update.set(put(Y, y + 10)).unwrap();
            let committed = client.commit(update);
            client.maintain();
            committed
        })
    };
    let transfers = [transfer(), transfer()];
    let committed = transfers.into_iter().filter_map(|transfer| transfer.join().unwrap()).count();
    let x = Client::new(&engine).get(X).expect("nobody deletes it").0;
    assert_eq!(x, 60 - 10 * committed as u64, "{committed} transfers were committed");
    Journal::of(&engine);
}

/// A rule inside an update looks at the key: of two that looked at the same version one is in conflict, and begins again.
fn increments_inside_updates() {
    let engine = open(Visibility::Immediate, 1);
    let adder = || {
        spawn(&engine, |client| {
            loop {
                let mut update = client.engine.update().unwrap();
                client.increment_inside(&mut update, X, 1);
                if client.commit(update).is_some() {
                    return;
                }
            }
        })
    };
    let adders = [adder(), adder()];
    adders.into_iter().for_each(|adder| adder.join().unwrap());
    assert_eq!(Client::new(&engine).get(X).unwrap().0, 2, "an increment was lost");
    Journal::of(&engine);
}

/// T1 reads x and writes y, T2 writes x, R reads both: by the checker of histories.
fn reads_hold_at_the_commit() {
    let engine = open(Visibility::Immediate, 1);
    let clock = Arc::new(AtomicU64::new(0));
    let process = |id: u32| {
        let clock = Arc::clone(&clock);
        Process::new(id, move || clock.fetch_add(1, Ordering::SeqCst)) // one order for all; only one thread runs
    };
    let version = |found: Found| found.map(|(value, revision)| Version { value, revision: Some(revision) });
    let (mut one, mut two, mut three) = (process(1), process(2), process(3));
    let first = spawn(&engine, move |client| {
        let invocation = one.invoke();
        let mut update = client.engine.update().unwrap();
        let read_revision = Some(update.revision().0);
        let reads = vec![(X, version(client.read(&mut update, X)))];
        update.set(put(Y, 1)).unwrap();
        let committed = client.commit(update);
        let outcome = committed.map_or(Outcome::Aborted, |revision| Outcome::Committed { revision: Some(revision) });
        let writes = vec![(Y, Some(1))];
        one.respond(invocation, Transaction { mode: Mode::Update, outcome, read_revision, reads, writes });
        one.into_records()
    });
    let second = spawn(&engine, move |client| {
        for value in 1..=2 {
            let invocation = two.invoke();
            let outcome = Outcome::Committed { revision: Some(client.set(X, value)) };
            let (mode, reads, writes) = (Mode::OneShot, vec![], vec![(X, Some(value))]);
            two.respond(invocation, Transaction { mode, outcome, read_revision: None, reads, writes });
        }
        two.into_records()
    });
    let third = spawn(&engine, move |client| {
        for _ in 0..2 {
            let invocation = three.invoke();
            let seen = client.multi_get(&[X, Y]);
            let reads = seen.keys.iter().map(|(number, found)| (*number, version(*found))).collect();
            let read_revision = Some(seen.revision);
            let outcome = Outcome::Committed { revision: None };
            let (mode, writes) = (Mode::OneShot, vec![]);
            three.respond(invocation, Transaction { mode, outcome, read_revision, reads, writes });
        }
        three.into_records()
    });
    let records = [first.join().unwrap(), second.join().unwrap(), third.join().unwrap()];
    assert_serializable(&merge(records));
    Journal::of(&engine);
}

#[test]
fn of_two_that_ask_for_absence_one_is_refused() {
    passes(write_skew_by_creation);
}

#[test]
fn an_update_reads_one_state() {
    passes(constant_sum);
}

#[test]
fn every_increment_inside_an_update_counts() {
    passes(increments_inside_updates);
}

#[test]
fn what_an_update_has_read_holds_when_it_commits() {
    passes(reads_hold_at_the_commit);
}

#[test]
fn a_read_set_that_is_not_locked_is_caught() {
    catches(Bug::ReadSetUnlocked, write_skew_by_creation);
}

#[test]
fn absence_that_is_not_remembered_is_caught() {
    catches(Bug::AbsentNotRead, write_skew_by_creation);
}

#[test]
fn a_rule_that_does_not_remember_absence_is_caught() {
    catches(Bug::AbsentNotRead, increments_inside_updates);
}

#[test]
fn an_update_that_reads_the_newest_is_caught() {
    catches(Bug::UpdateReadsNewest, constant_sum);
}

//! What looks before it writes, by one command: no look is out of date when the write happens, whoever comes in between. Knows
//! nothing of expiry.

use kvd_engine::{Bug, Visibility};
use kvd_types::*;

use crate::client::{Client, Journal, increment, key, open, open_with_two_far_apart, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;

/// Every increment counts, and no two have the same sum.
fn increments() {
    let engine = open(Visibility::Immediate, 1);
    let adder = |by: i64| spawn(&engine, move |client| [client.increment(X, by).0, client.increment(X, by).0]);
    let adders = [adder(1), adder(10), adder(100)];
    let mut sums: Vec<u64> = adders.into_iter().flat_map(|adder| adder.join().unwrap()).collect();
    sums.sort_unstable();
    let steps = || sums.iter().zip([0].iter().chain(&sums)).map(|(sum, before)| sum - before);
    assert!(steps().all(|step| [1, 10, 100].contains(&step)), "an increment was lost: {sums:?}");
    assert_eq!(Client::new(&engine).get(X).unwrap().0, 222);
    Journal::of(&engine);
}

/// The value grows between the look that the room is estimated by, and the lock.
fn appends() {
    let engine = open(Visibility::Immediate, 1);
    let append = |digit: &'static str| {
        spawn(&engine, move |client| {
            for _ in 0..2 {
                let rule = Rule::Append { bytes: digit.into() };
                let modify = Modify { key: key(X), rule, condition: Condition::Always };
                client.execute(&Command::Modify(modify)).unwrap();
            }
        })
    };
    let threads = [append("1"), append("22")];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let digits = Client::new(&engine).get(X).unwrap().0.to_string();
    assert_eq!((digits.matches('1').count(), digits.matches("22").count(), digits.len()), (2, 2, 6), "{digits}");
    Journal::of(&engine);
}

/// One of the two keys has the value, at each revision.
fn transfers() {
    let (engine, x, y) = open_with_two_far_apart();
    Client::new(&engine).set(x, 7);
    let mover = spawn(&engine, move |client| {
        for (from, to) in [(x, y), (y, x), (x, y)] {
            let transfer = Transfer { from: key(from), to: key(to), replace: false, keep: false };
            let reply = client.execute(&Command::Transfer(transfer)).unwrap();
            assert!(matches!(reply, Reply::Transferred { outcome: Transferred::Done, .. }), "{reply:?}");
        }
        client.maintain();
    });
    let reader = spawn(&engine, move |client| [client.multi_get(&[x, y]), client.multi_get(&[x, y])]);
    mover.join().unwrap();
    let all_seen = reader.join().unwrap();
    let journal = Journal::of(&engine);
    for seen in all_seen {
        let values: Vec<u64> = [x, y].into_iter().filter_map(|number| Some(seen.of(number)?.0)).collect();
        assert_eq!(values, [7], "at revision {}", seen.revision);
        journal.check(&seen);
    }
}

/// Each creates its key if neither is there: one alone may.
fn write_skew_by_checks() {
    let (engine, x, y) = open_with_two_far_apart();
    let create = |mine: u64, other: u64| spawn(&engine, move |client| client.set_if_absent(&[other], &[(mine, 1)]));
    let (first, second) = (create(x, y), create(y, x));
    let created = [first.join().unwrap(), second.join().unwrap()];
    assert_eq!(created.iter().flatten().count(), 1, "{created:?}");
    Journal::of(&engine);
}

/// A branch that reads and writes beside one that is refused: what it read is the state before its commit.
fn reads_are_of_the_commit() {
    let engine = open(Visibility::Immediate, 1);
    Client::new(&engine).multi_set(&[(X, 1), (Y, 1)]);
    let writer = spawn(&engine, |client| [client.multi_set(&[(X, 2), (Y, 2)]), client.multi_set(&[(X, 3), (Y, 3)])]);
    let reader = spawn(&engine, |client| {
        let get = |number| Command::Get { key: key(number) };
        let commands = vec![get(X), get(Y), increment(X, 10), increment(Y, 10)];
        let (checks, otherwise, on_failure) = (vec![], None, OnFailure::Abort);
        let transaction = Transaction { checks, commands, otherwise, on_failure };
        let Ok(Reply::Transaction { revision, replies, .. }) = client.execute(&Command::Transaction(transaction))
        else {
            panic!("refused")
        };
        let value = |at: usize| match &replies[at] {
            Ok(Reply::Got { entry: Some(entry), .. } | Reply::Modified { entry: Some(entry), .. }) => {
                String::from_utf8(entry.value.to_vec()).unwrap().parse::<u64>().unwrap()
            }
            other => panic!("{other:?}"),
        };
        (revision.0, [value(0), value(1), value(2), value(3)])
    });
    writer.join().unwrap();
    let (revision, [x, y, x_after, y_after]) = reader.join().unwrap();
    assert_eq!((x, x_after, y_after), (y, x + 10, y + 10), "two states");
    let journal = Journal::of(&engine);
    let before = journal.state(revision - 1);
    assert_eq!((before[&X].0, before[&Y].0), (x, y));
}

#[test]
fn every_increment_counts() {
    passes(increments);
}

#[test]
fn an_append_that_outgrows_its_room_begins_again() {
    passes(appends);
}

#[test]
fn a_transfer_is_seen_whole_or_not_at_all() {
    passes(transfers);
}

#[test]
fn of_two_that_check_for_absence_one_is_refused() {
    passes(write_skew_by_checks);
}

#[test]
fn a_transaction_reads_the_state_it_changes() {
    passes(reads_are_of_the_commit);
}

#[test]
fn a_rule_that_is_applied_before_the_lock_is_caught() {
    catches(Bug::RuleBeforeLock, increments);
}

#[test]
fn checks_that_are_judged_before_the_locks_are_caught() {
    catches(Bug::ChecksBeforeLock, write_skew_by_checks);
}

#[test]
fn a_transfer_that_is_committed_key_by_key_is_caught() {
    catches(Bug::CommitKeyByKey, transfers);
}

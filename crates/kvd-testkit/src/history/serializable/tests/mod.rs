//! Small histories of transactions: each anomaly by its name, and the correct ones that look most like them. A store
//! that loses an update, tears a commit or answers from the past must be named; one that kept its promises must not.

mod anomalies;
mod correct;
mod properties;

use super::*;

/// A one-shot transaction that is committed and has done nothing yet.
fn tx(process: u32, invoked: u64, responded: u64) -> Record<Transaction> {
    let outcome = Outcome::Committed { revision: None };
    let operation =
        Transaction { mode: Mode::OneShot, outcome, read_revision: None, reads: Vec::new(), writes: Vec::new() };
    Record { process, invoked, responded: Some(responded), operation }
}

/// The rest of a transaction, in words.
trait Tell: Sized {
    fn with(self, change: impl FnOnce(&mut Record<Transaction>)) -> Self;

    fn mode(self, mode: Mode) -> Self {
        self.with(|record| record.operation.mode = mode)
    }

    fn claims(self, revision: u64) -> Self {
        self.with(|record| record.operation.read_revision = Some(revision))
    }

    fn read(self, key: u64, value: u64) -> Self {
        self.with(|record| record.operation.reads.push((key, Some(Version { value, revision: None }))))
    }

    fn read_at(self, key: u64, value: u64, revision: u64) -> Self {
        self.with(|record| record.operation.reads.push((key, Some(Version { value, revision: Some(revision) }))))
    }

    fn absent(self, key: u64) -> Self {
        self.with(|record| record.operation.reads.push((key, None)))
    }

    fn write(self, key: u64, value: u64) -> Self {
        self.with(|record| record.operation.writes.push((key, Some(value))))
    }

    fn delete(self, key: u64) -> Self {
        self.with(|record| record.operation.writes.push((key, None)))
    }

    fn commit(self, revision: u64) -> Self {
        self.with(|record| record.operation.outcome = Outcome::Committed { revision: Some(revision) })
    }

    fn aborted(self) -> Self {
        self.with(|record| record.operation.outcome = Outcome::Aborted)
    }

    fn unknown(self) -> Self {
        self.with(|record| record.operation.outcome = Outcome::Unknown)
    }

    fn lost(self) -> Self {
        self.with(|record| record.responded = None)
    }
}

impl Tell for Record<Transaction> {
    fn with(mut self, change: impl FnOnce(&mut Record<Transaction>)) -> Self {
        change(&mut self);
        self
    }
}

/// Keys 1 and 2 from the beginning.
fn both(responded: u64) -> Record<Transaction> {
    tx(0, 1, responded).write(1, 10).write(2, 20).commit(1)
}

#[test]
fn a_cycle_is_told_with_its_transactions_and_the_reason_for_each_edge() {
    let history = [
        both(2),
        tx(1, 3, 90).delete(1).commit(7),
        tx(2, 5, 6).absent(1).read(2, 20),
        tx(3, 10, 12).mode(Mode::View).read_at(1, 10, 1),
    ];
    let found = check(&history).unwrap_err();
    assert_eq!(
        found.to_string(),
        "G-single-realtime (stale read)
  T1 = process 3 [10..12] view, committed; read 1 = 10 @ 1
  T2 = process 1 [3..90] one-shot, committed @ 7; deleted 1
  T3 = process 2 [5..6] one-shot, committed; read 1 absent; read 2 = 20
  T1 before T2: T1 read 1 = 10 @ 1, before T2 deleted 1 (rw)
  T2 before T3: T2 deleted 1, which T3 saw (wr)
  T3 before T1: it responded at 6, before T1 was invoked at 10 (realtime)
"
    );
    assert_eq!(found.0[0].transactions, [3, 1, 2]);
    assert_eq!(found.0[0].orders, [Order::Realtime]);
}

#[test]
fn a_cycle_has_as_few_transactions_as_can_be_however_much_happened_meanwhile() {
    let mut history = vec![both(2), tx(1, 3, 4).write(1, 11).commit(2)];
    history.extend((5..50).map(|turn| tx(2, turn * 2, turn * 2 + 1).read(1, 11)));
    history.push(tx(3, 200, 201).read(1, 10));
    let found = check(&history).unwrap_err();
    assert_eq!(found.0[0].transactions, [history.len() - 1, 1], "{found}");
}

#[test]
#[should_panic(expected = "10 is written to 1 by two transactions")]
fn values_that_say_nothing_are_refused() {
    drop(check(&[both(2), tx(1, 3, 4).write(1, 10).commit(2)]));
}

//! The promises about what many threads see together, held by recorded histories: each thread notes what it asked and what it
//! was told, and a checker searches for one order of all of it that explains every answer. Single keys must be linearizable,
//! transactions strictly serialisable. Segments are tiny, so that keys move while they are read.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::thread;

use bytes::Bytes;
use kvd_engine::{Config, Engine, Worker};
use kvd_testkit::history::linearizable::{self, Answer, KeyOperation, Operation};
use kvd_testkit::history::serializable::{self, Mode, Outcome, Transaction};
use kvd_testkit::history::{LogicalClock, Process, Version, linearizable as single, merge};
use kvd_types::*;

const THREADS: u64 = 4;

/// A walk through numbers that look random, different for each seed and the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % bound
    }
}

fn key(number: u64) -> Key<'static> {
    Key::new(number.to_string().into_bytes()).unwrap()
}

fn value(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn version(entry: &Entry) -> Version {
    let value = u64::from_be_bytes(entry.value[..].try_into().unwrap());
    Version { value, revision: Some(entry.revision.0) }
}

/// Runs one client per thread and gives back what they recorded.
fn record<T: Send>(
    client: impl Fn(u64, &LogicalClock) -> Vec<kvd_testkit::history::Record<T>> + Sync,
) -> Vec<kvd_testkit::history::Record<T>> {
    let clock = LogicalClock::new();
    let (client, clock) = (&client, &clock);
    thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS).map(|id| scope.spawn(move || client(id, clock))).collect();
        merge(threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>())
    })
}

fn one_key(engine: &Engine, worker: &mut Worker, numbers: &mut Numbers, key_number: u64, unique: u64) -> Operation {
    let condition = match numbers.below(4) {
        0 => (Condition::Absent, single::Condition::Absent),
        1 => (Condition::Exists, single::Condition::Exists),
        _ => (Condition::Always, single::Condition::Always),
    };
    let key = key(key_number);
    match numbers.below(4) {
        0 => {
            let set = Set { condition: condition.0, ..Set::new(key, value(unique)) };
            let answer = match engine.execute(worker, &Command::Set(set)) {
                Ok(Reply::Set { revision, .. }) => Answer::Done { revision: Some(revision.0) },
                Err(Error::PreconditionFailed { .. }) => Answer::Refused,
                other => panic!("{other:?}"),
            };
            Operation::Set { value: unique, condition: condition.1, answer }
        }
        1 => {
            let answer = match engine.execute(worker, &Command::Delete(Delete::new(key))) {
                Ok(Reply::Deleted { revision, found: true }) => Answer::Done { revision: Some(revision.0) },
                Ok(Reply::Deleted { found: false, .. }) => Answer::Refused,
                other => panic!("{other:?}"),
            };
            Operation::Delete { condition: single::Condition::Always, answer }
        }
        _ => match engine.execute(worker, &Command::Get { key }) {
            Ok(Reply::Got { entry, revision }) => {
                Operation::Get { found: entry.as_ref().map(version), at_least: Some(revision.0) }
            }
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn single_keys_are_linearizable() {
    const OPERATIONS: u64 = 25_000;
    let engine = Engine::open(Config { segment_buckets_max: 1, ..Config::default() });
    let records = record(|id, clock| {
        let mut worker = engine.worker();
        let mut numbers = Numbers(id);
        let mut process = Process::new(id as u32, || clock.tick());
        for n in 0..OPERATIONS {
            // A few keys that all threads fight over, and strangers that make segments split and merge.
            let key_number = numbers.below(12);
            let stranger = key(1_000 + numbers.below(100));
            let command = match numbers.below(2) {
                0 => Command::Set(Set::new(stranger, "x")),
                _ => Command::Delete(Delete::new(stranger)),
            };
            engine.execute(&mut worker, &command).unwrap();
            let invocation = process.invoke();
            let operation = one_key(&engine, &mut worker, &mut numbers, key_number, id << 32 | n);
            process.respond(invocation, KeyOperation { key: key_number, operation });
        }
        process.into_records()
    });
    assert_eq!(records.len() as u64, THREADS * OPERATIONS);
    linearizable::assert_linearizable(&records);
}

/// Values written by a transaction, `None` for a delete.
type Writes = Vec<(u64, Option<u64>)>;

fn committed(
    revision: Option<Revision>,
    mode: Mode,
    reads: Vec<(u64, Option<Version>)>,
    writes: Writes,
) -> Transaction {
    let outcome = Outcome::Committed { revision: revision.map(|revision| revision.0) };
    Transaction { mode, outcome, read_revision: None, reads, writes }
}

fn transaction(engine: &Engine, worker: &mut Worker, numbers: &mut Numbers, unique: u64) -> Transaction {
    const KEYS: u64 = 6;
    let mut keys = [numbers.below(KEYS), numbers.below(KEYS), numbers.below(KEYS)].to_vec();
    keys.sort_unstable();
    keys.dedup();
    match numbers.below(8) {
        0 | 1 => {
            let writes: Writes = keys.iter().map(|number| (*number, Some(unique))).collect();
            let sets = keys.iter().map(|number| Set::new(key(*number), value(unique))).collect();
            let Ok(Reply::MultiSet { revision, .. }) = engine.execute(worker, &Command::MultiSet { sets }) else {
                panic!("an mset without conditions is carried out")
            };
            committed(Some(revision), Mode::OneShot, vec![], writes)
        }
        2 => {
            // One key: a delete of many doesn't tell which were there.
            let number = keys[0];
            let delete = Command::Delete(Delete::new(key(number)));
            let Ok(Reply::Deleted { revision, found }) = engine.execute(worker, &delete) else { panic!("refused") };
            let writes = if found { vec![(number, None)] } else { vec![] };
            committed(found.then_some(revision), Mode::OneShot, vec![], writes)
        }
        3 => {
            let command =
                Command::MultiGet { keys: keys.iter().map(|number| key(*number)).collect(), require_all: false };
            let Ok(Reply::MultiGot { revision, entries }) = engine.execute(worker, &command) else { panic!("refused") };
            let reads =
                keys.iter().zip(&entries).map(|(number, entry)| (*number, entry.as_ref().map(version))).collect();
            let transaction = committed(None, Mode::OneShot, reads, vec![]);
            Transaction { read_revision: Some(revision.0), ..transaction }
        }
        4 => {
            let view = engine.view().unwrap();
            let read = |number: &u64| {
                let entry = view.get(engine, worker, &key(*number)).unwrap();
                (*number, entry.as_ref().map(version))
            };
            let reads = keys.iter().map(read).collect();
            let transaction = committed(None, Mode::View, reads, vec![]);
            Transaction { read_revision: Some(view.revision().0), ..transaction }
        }
        5 | 6 => one_shot(engine, worker, &keys, unique),
        _ => {
            let mut update = engine.update().unwrap();
            let begun = update.revision();
            let (written, read) = keys.split_first().unwrap();
            let reads: Vec<_> = read
                .iter()
                .map(|number| {
                    let entry = update.get(engine, worker, &key(*number)).unwrap();
                    (*number, entry.as_ref().map(version))
                })
                .collect();
            update.set(Set::new(key(*written), value(unique))).unwrap();
            let writes = vec![(*written, Some(unique))];
            let outcome = match update.commit(engine, worker) {
                Ok(revision) => Outcome::Committed { revision: Some(revision.0) },
                Err(Error::Conflict { .. }) => Outcome::Aborted,
                Err(other) => panic!("{other}"),
            };
            Transaction { mode: Mode::Update, outcome, read_revision: Some(begun.0), reads, writes }
        }
    }
}

/// Reads all keys and writes the first, if the last is there; otherwise it reads alone.
fn one_shot(engine: &Engine, worker: &mut Worker, keys: &[u64], unique: u64) -> Transaction {
    let gets = || keys.iter().map(|number| Command::Get { key: key(*number) });
    let set = Command::Set(Set::new(key(keys[0]), value(unique)));
    let check = Check { key: key(keys[keys.len() - 1]), condition: Condition::Exists };
    let command = Command::Transaction(kvd_types::Transaction {
        checks: vec![check],
        commands: gets().chain([set]).collect(),
        otherwise: Some(gets().collect()),
        on_failure: OnFailure::Abort,
    });
    let Ok(Reply::Transaction { revision, failed_checks, replies }) = engine.execute(worker, &command) else {
        panic!("it has another branch")
    };
    let read = |(number, reply): (&u64, &Result<Reply, Error>)| match reply {
        Ok(Reply::Got { entry, .. }) => (*number, entry.as_ref().map(version)),
        other => panic!("{other:?}"),
    };
    let reads = keys.iter().zip(&replies).map(read).collect();
    if failed_checks.is_empty() {
        return committed(Some(revision), Mode::OneShot, reads, vec![(keys[0], Some(unique))]);
    }
    Transaction { read_revision: Some(revision.0), ..committed(None, Mode::OneShot, reads, vec![]) }
}

#[test]
fn transactions_are_strictly_serialisable() {
    const TRANSACTIONS: u64 = 6_000;
    for history in [0, 2] {
        let engine = Engine::open(Config { segment_buckets_max: 1, history, ..Config::default() });
        let records = record(|id, clock| {
            let mut worker = engine.worker();
            let mut numbers = Numbers(id);
            let mut process = Process::new(id as u32, || clock.tick());
            for n in 0..TRANSACTIONS {
                let invocation = process.invoke();
                let transaction = transaction(&engine, &mut worker, &mut numbers, id << 32 | n);
                process.respond(invocation, transaction);
            }
            while engine.maintain(&mut worker) {}
            process.into_records()
        });
        serializable::assert_serializable(&records);
        while engine.maintain(&mut engine.worker()) {}
        let totals = engine.stats().totals;
        assert!(totals.retired_bytes == 0, "{totals:?}");
        assert!(history > 0 || totals.history_bytes == 0, "versions that nobody reads were kept: {totals:?}");
    }
}

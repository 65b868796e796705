//! A disk that fails or is full while a store is in use: what is refused, what is of unknown outcome, what goes on, and that
//! a full disk recovers by itself.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use kvd_engine::{Engine, Worker};
use kvd_journal::{Error as JournalError, Policy};
use kvd_testkit::disk::{Call, SimDisk};
use kvd_types::*;

use crate::life::{compare, key, open, options, replica};

fn set(engine: &Engine, worker: &mut Worker, name: &str, len: usize) -> Result<Revision, Error> {
    let command = Command::Set(Set::new(key(name), vec![7; len]));
    match engine.execute(worker, &command)? {
        Reply::Set { revision, .. } => Ok(revision),
        other => panic!("{other:?}"),
    }
}

fn holds(engine: &Engine, worker: &mut Worker, name: &str) -> bool {
    engine.get_with(worker, name.as_bytes(), |found| found.is_some())
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed); // only one thread looks
    }
}

#[test]
fn an_answer_waits_for_the_disk_and_is_woken() {
    let disk = SimDisk::new();
    let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
    let mut worker = engine.worker();
    let revision = set(&engine, &mut worker, "a", 1).unwrap();
    assert_eq!(worker.position(), revision);
    assert!(!holds(&engine, &mut worker, "a"), "it is not on disk");
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut answer = pin!(engine.reached(worker.position()));
    let mut given_up = Box::pin(engine.reached(worker.position()));
    for _ in 0..2 {
        assert_eq!(answer.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(given_up.as_mut().poll(&mut context), Poll::Pending);
    }
    drop(given_up);
    assert_eq!(engine.flush(1).unwrap(), 1);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "once, and nobody who has gone"); // as above
    assert_eq!(answer.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    assert_eq!(engine.wait(revision), Ok(()));
    assert!(holds(&engine, &mut worker, "a"));
    assert_eq!(worker.position(), revision, "a get that shows a value changes nothing here");
}

#[test]
fn reads_wait_for_nothing_and_refusals_do() {
    let disk = SimDisk::new();
    let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
    let mut worker = engine.worker();
    let revision = set(&engine, &mut worker, "a", 1).unwrap();
    let run = |worker: &mut Worker, command| (engine.execute(worker, &command).is_ok(), worker.position());
    assert_eq!(run(&mut worker, Command::Get { key: key("a") }), (true, Revision(0)));
    let absent = Set { condition: Condition::Absent, ..Set::new(key("a"), "") };
    assert_eq!(run(&mut worker, Command::Set(absent)), (false, revision));
    assert_eq!(run(&mut worker, Command::Delete(Delete::new(key("b")))), (true, revision));
    let deletes = vec![Delete::new(key("a")), Delete::new(key("b"))];
    assert_eq!(run(&mut worker, Command::MultiDelete { deletes, require_all: true }), (false, revision));
    assert_eq!(run(&mut worker, Command::MultiSet { sets: Vec::new() }), (false, Revision(0)));
    assert_eq!(engine.update().unwrap().position(), revision);
    assert_eq!(engine.view().unwrap().revision(), Revision(0));
}

#[test]
fn after_a_failed_sync_nothing_is_taken_and_reads_go_on() {
    for call in [Call::Sync, Call::Write] {
        let disk = SimDisk::new();
        let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
        let mut worker = engine.worker();
        set(&engine, &mut worker, "a", 1).unwrap();
        engine.flush(1).unwrap();
        let unknown = set(&engine, &mut worker, "b", 1).unwrap();
        disk.fail(call, 0, ErrorKind::Other);
        assert!(matches!(engine.flush(2), Err(JournalError::Io { .. })));
        assert_eq!(engine.wait(unknown), Err(Error::OutcomeUnknown));
        assert_eq!(set(&engine, &mut worker, "c", 1), Err(Error::JournalFailed));
        assert_eq!(worker.position(), Revision(0), "a refusal that looked at nothing");
        let clear = engine.execute(&mut worker, &Command::Clear);
        assert_eq!(clear, Err(Error::JournalFailed));
        assert!(holds(&engine, &mut worker, "a"));
        assert!(!holds(&engine, &mut worker, "b"), "readers don't see what may be lost");
        assert!(engine.durability().unwrap().failure.is_some());
        assert!(engine.flush(3).is_err() && engine.mark(3).is_err(), "nothing is tried again");
        engine.close();
        assert!(engine.finish(4).is_err(), "that is no stop in order");
        drop((engine, worker));
        disk.restart();
        let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
        assert!(holds(&engine, &mut engine.worker(), "a"));
        assert!(!holds(&engine, &mut engine.worker(), "c"), "it was refused");
    }
}

#[test]
fn after_a_failed_sync_of_the_directory_by_a_snapshot_nothing_is_taken() {
    // The snapshot's name; all names, before the second one's purge.
    for nth in [0, 2] {
        let disk = SimDisk::new();
        let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
        let mut worker = engine.worker();
        set(&engine, &mut worker, "before", 1).unwrap();
        engine.flush(0).unwrap();
        let snapshot = |worker: &mut Worker| {
            let mut run = engine.begin_snapshot(worker)?.unwrap();
            while run.advance(worker, 64)? {}
            run.finish(0)
        };
        disk.fail(Call::SyncDir, nth, ErrorKind::Other);
        if nth > 0 {
            snapshot(&mut worker).unwrap();
            set(&engine, &mut worker, "between", 1).unwrap();
        }
        let error = snapshot(&mut worker).unwrap_err();
        assert_eq!(error.code(), "journal-failed", "{error}");
        assert!(engine.durability().unwrap().failure.is_some_and(|cause| cause.contains("durable")));
        assert_eq!(set(&engine, &mut worker, "after", 1), Err(Error::JournalFailed));
        assert!(snapshot(&mut worker).is_err());
        assert!(holds(&engine, &mut worker, "before"), "reads go on");
    }
}

#[test]
fn a_full_disk_refuses_takes_deletes_and_recovers_by_itself() {
    for policy in [Policy::Always, Policy::Interval(1)] {
        let disk = SimDisk::new();
        let (engine, _) = open(&disk, options(policy), 1).unwrap();
        let mut worker = engine.worker();
        disk.set_capacity(disk.used());
        let mut count = 0;
        let refused = loop {
            match set(&engine, &mut worker, "a", 100) {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
        assert!(count > 5 && engine.durability().unwrap().is_full);
        assert!(matches!(set(&engine, &mut worker, "refused", 1000), Err(Error::DiskFull { .. })));
        engine.execute(&mut worker, &Command::Delete(Delete::new(key("a")))).expect("there is room kept for it");
        engine.flush(5).unwrap();
        assert!(!holds(&engine, &mut worker, "a") && !holds(&engine, &mut worker, "refused"));
        disk.set_capacity(u64::MAX);
        engine.flush(6).unwrap();
        assert!(!engine.durability().unwrap().is_full);
        set(&engine, &mut worker, "b", 1000).unwrap();
        engine.close();
        engine.finish(7).unwrap();
        drop((engine, worker));
        let (report, state) = replica(&disk, options(policy)).unwrap();
        assert!(report.clean && report.cut.is_none(), "{report:?}");
        assert_eq!(state.keys().collect::<Vec<_>>(), [b"b"]);
    }
}

#[test]
fn a_commit_larger_than_the_journal_takes_is_refused_by_its_size() {
    let disk = SimDisk::new();
    let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
    let mut worker = engine.worker();
    // One value, many times: it is never copied.
    let value = bytes::Bytes::from(vec![0; 60 << 20]);
    let set = |number: usize| Set::new(Key::new(format!("{number}").into_bytes()).unwrap(), value.clone());
    let sets = (0..40).map(set).collect();
    let refused = engine.execute(&mut worker, &Command::MultiSet { sets }).unwrap_err();
    assert!(matches!(refused, Error::LimitExceeded(_)), "{refused}");
    assert_eq!(engine.stats().revision, Revision(0));
}

#[test]
fn a_large_commit_finds_room_beside_small_ones() {
    let disk = SimDisk::new();
    let (engine, _) = open(&disk, options(Policy::Interval(100)), 1).unwrap();
    let mut worker = engine.worker();
    for round in 0..20 {
        set(&engine, &mut worker, "a", 100_000).unwrap();
        set(&engine, &mut worker, "b", 10).unwrap();
        engine.flush(round).unwrap();
    }
    engine.close();
    engine.finish(21).unwrap();
    drop((engine, worker));
    let (report, state) = replica(&disk, options(Policy::Always)).unwrap();
    let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
    assert_eq!(report.last, Revision(40));
    compare(&engine, &mut engine.worker(), &state, 21).unwrap();
}

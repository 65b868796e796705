//! A client sees its own writes before others do, in one batch and in the next, and whatever tells of them waits as they do.

use bytes::Bytes;
use kvd_engine::{Bug, Config, Engine, Visibility, Worker, plant};
use kvd_types::*;

use crate::life::key;

/// A store in which commits are visible when someone says so.
fn open() -> (Engine, Worker) {
    let engine = Engine::open(Config { visibility: Visibility::WhenDurable, journal: true, ..Config::default() });
    let worker = engine.worker();
    (engine, worker)
}

/// What each command told of `a`, and its position.
fn run(engine: &Engine, worker: &mut Worker, unanswered: u64, commands: &[Command<'_>]) -> Vec<(Option<Bytes>, u64)> {
    let mut told = Vec::new();
    engine.execute_batch(worker, commands, Revision(unanswered), |_, reply, position| {
        let entry = match reply.unwrap() {
            Reply::Got { entry, .. } => entry,
            Reply::MultiGot { mut entries, .. } => entries.swap_remove(0),
            _ => None,
        };
        told.push((entry.map(|entry| entry.value), position.0));
    });
    told
}

/// Whether a batch, and the one after it, see what the first wrote, and only they.
fn own_writes_are_seen() -> Result<(), String> {
    let (engine, mut worker) = open();
    let set = Command::Set(Set::new(key("a"), "1"));
    let get = || Command::Get { key: key("a") };
    let reads =
        [get(), Command::Peek { key: key("a") }, Command::MultiGet { keys: vec![key("a")], require_all: false }];
    let expect = |told: Vec<(Option<Bytes>, u64)>, value: Option<&'static str>, position: u64| {
        let value = value.map(Bytes::from);
        let is_right = told.iter().all(|told| *told == (value.clone(), position));
        if is_right { Ok(()) } else { Err(format!("{told:?}, and should be {value:?} at {position}")) }
    };
    let batch = [&[set][..], &reads].concat();
    expect(run(&engine, &mut worker, 0, &batch).split_off(1), Some("1"), 1)?;
    assert_eq!(worker.position(), Revision(1), "the position of a batch is its highest");
    expect(run(&engine, &mut worker, 1, &reads), Some("1"), 1)?;
    // Another client, who has no answer to come.
    expect(run(&engine, &mut worker, 0, &reads), None, 0)?;
    let (sealed, _) = engine.seal();
    engine.make_visible(sealed);
    expect(run(&engine, &mut worker, 1, &reads), Some("1"), 0)?;
    let delete = Command::Delete(Delete::new(key("a")));
    expect(run(&engine, &mut worker, 1, &[&[delete][..], &reads].concat()).split_off(1), None, 2)
}

#[test]
fn a_client_sees_its_own_writes_and_others_do_not() {
    own_writes_are_seen().unwrap();
    let (engine, mut worker) = open();
    run(&engine, &mut worker, 0, &[Command::Set(Set::new(key("a"), "1")), Command::Get { key: key("a") }]);
    let operations = engine.stats().operations;
    assert_eq!((operations.sets, operations.hits, operations.misses), (1, 1, 0), "a get is counted once");
}

#[test]
fn a_pipeline_that_does_not_see_its_writes_is_found() {
    plant(Some(Bug::OwnWritesNotSeen));
    own_writes_are_seen().unwrap_err();
}

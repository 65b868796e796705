//! A get, a batch of gets, and the command as the server gives it, as functions of their own, for `tests/assembly.rs` to look at
//! what the compiler makes of them. Run, it looks one key up in each way.

use kvd_engine::{Config, Engine, Worker};
use kvd_types::{Command, Error, Key, Reply, Set};

/// A get: the length of the value.
#[inline(never)]
pub fn kvd_assembly_get(engine: &Engine, worker: &mut Worker, key: &[u8]) -> usize {
    engine.get_with(worker, key, |found| found.map_or(0, |found| found.value().len()))
}

/// Many gets: the lengths of their values together.
#[inline(never)]
pub fn kvd_assembly_many(engine: &Engine, worker: &mut Worker, keys: &[&[u8]]) -> usize {
    let mut sum = 0;
    engine.get_many(worker, keys, |_, found| sum += found.map_or(0, |found| found.value().len()));
    sum
}

/// A command.
#[inline(never)]
pub fn kvd_assembly_execute(engine: &Engine, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
    engine.execute(worker, command)
}

fn main() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    let key = || Key::new(b"key").expect("three bytes are a key");
    kvd_assembly_execute(&engine, &mut worker, &Command::Set(Set::new(key(), "value"))).expect("it is open");
    assert_eq!(kvd_assembly_get(&engine, &mut worker, b"key"), 5);
    assert_eq!(kvd_assembly_many(&engine, &mut worker, &[b"key", b"none"]), 5);
    let got = kvd_assembly_execute(&engine, &mut worker, &Command::Get { key: key() });
    assert!(matches!(got, Ok(Reply::Got { entry: Some(entry), .. }) if entry.value.len() == 5));
}

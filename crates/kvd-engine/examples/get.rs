//! A get and a batch of gets as functions of their own, for `tests/assembly.rs` to look at what the compiler makes of them.
//! Run, it looks one key up.

use kvd_engine::{Config, Engine, Worker};
use kvd_types::{Command, Key, Set};

/// A get: the length of the value.
#[inline(never)]
pub fn kvd_assembly_get(engine: &Engine, worker: &mut Worker, key: &[u8]) -> usize {
    engine.get_with(worker, key, |found| found.map_or(0, |found| found.value().len()))
}

fn main() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    let set = Set::new(Key::new(b"key").expect("three bytes are a key"), "value");
    engine.execute(&mut worker, &Command::Set(set)).expect("an open store takes a value");
    assert_eq!(kvd_assembly_get(&engine, &mut worker, b"key"), 5);
}

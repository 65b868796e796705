//! Room for what shows only under the locks: a result that is longer than was thought gets its room before anything happens, or
//! is refused. What open transactions remember is counted.

use bytes::Bytes;
use kvd_engine::{Config, Engine, Worker};
use kvd_types::*;

fn key(name: &str) -> Key<'static> {
    Key::new(name.as_bytes().to_vec()).unwrap()
}

fn append(name: &str, len: usize) -> Command<'static> {
    let rule = Rule::Append { bytes: Bytes::from(vec![b'x'; len]) };
    Command::Modify(Modify { key: key(name), rule, condition: Condition::Always })
}

fn transaction(commands: Vec<Command<'static>>) -> Command<'static> {
    let on_failure = OnFailure::Abort;
    Command::Transaction(Transaction { checks: vec![], commands, otherwise: None, on_failure })
}

fn copy(to: &str) -> Command<'static> {
    copy_of("k", to)
}

fn copy_of(from: &str, to: &str) -> Command<'static> {
    Command::Transfer(Transfer { from: key(from), to: key(to), replace: true, keep: true })
}

/// Another branch than the one that room is made for at first.
fn otherwise(commands: Vec<Command<'static>>) -> Command<'static> {
    let checks = vec![Check { key: key("k"), condition: Condition::Absent }];
    let (otherwise, on_failure) = (Some(commands), OnFailure::Abort);
    Command::Transaction(Transaction { checks, commands: vec![], otherwise, on_failure })
}

/// A value that is longer by the time it is copied.
fn grown() -> Command<'static> {
    transaction(vec![Command::Set(Set::new(key("l"), "")), append("l", 30 << 10), copy_of("l", "m")])
}

/// A store that holds 60 KiB under `k`, and has room for less than that beside.
fn nearly_full() -> (Engine, Worker) {
    let engine = Engine::open(Config { memory_bytes_max: 120 << 10, ..Config::default() });
    let mut worker = engine.worker();
    engine.execute(&mut worker, &Command::Set(Set::new(key("k"), vec![b'x'; 60 << 10]))).unwrap();
    (engine, worker)
}

#[test]
fn a_result_that_does_not_fit_is_refused() {
    let (engine, mut worker) = nearly_full();
    let before = engine.stats();
    let too_much = [
        append("k", 4 << 10),
        transaction(vec![append("k", 4 << 10)]),
        otherwise(vec![append("k", 4 << 10)]),
        copy("to"),
        transaction(vec![copy("to")]),
        grown(),
    ];
    for (nth, command) in too_much.iter().enumerate() {
        let refused = engine.execute(&mut worker, command);
        assert!(matches!(refused, Err(Error::MemoryFull { .. })), "{nth}: {refused:?}");
    }
    let after = engine.stats();
    assert_eq!((after.totals.keys, after.totals.value_bytes, after.revision), (1, 60 << 10, before.revision));
    // The keys of first branches: none of the third, three of the last.
    assert_eq!(after.operations.rejected - before.operations.rejected, 1 + 1 + 1 + 1 + 3);
    // What takes less goes on, and so do deletes.
    engine.execute(&mut worker, &transaction(vec![append("l", 1)])).unwrap();
    engine.execute(&mut worker, &transaction(vec![Command::Delete(Delete::new(key("k")))])).unwrap();
    while engine.maintain(&mut worker) {}
    engine.execute(&mut worker, &append("l", 60 << 10)).unwrap();
}

#[test]
fn what_an_update_remembers_is_counted_and_given_back() {
    let (engine, mut worker) = nearly_full();
    let bytes = || engine.stats().totals.transactions_bytes;
    let mut update = engine.update().unwrap();
    let set = |name: &str, len| Command::Set(Set::new(key(name), vec![b'x'; len]));
    update.execute(&engine, &mut worker, &set("l", 30 << 10)).unwrap();
    assert_eq!(bytes(), 1 + (30 << 10));
    let refused = update.execute(&engine, &mut worker, &set("m", 60 << 10));
    assert!(matches!(refused, Err(Error::MemoryFull { .. })), "{refused:?}");
    assert_eq!(bytes(), 1 + (30 << 10));
    // Another client's write meets the limit, too.
    let refused = engine.execute(&mut worker, &set("other", 40 << 10));
    assert!(matches!(refused, Err(Error::MemoryFull { .. })), "{refused:?}");
    drop(update);
    assert_eq!(bytes(), 0);
    engine.execute(&mut worker, &set("other", 40 << 10)).unwrap();
}

/// A command that fails half-way takes back what it has written, and nothing else.
#[test]
fn a_command_that_breaks_a_limit_leaves_an_update_as_it_was() {
    let limits = Limits { batch_bytes_max: 100, ..Limits::DEFAULT };
    let engine = Engine::open(Config { limits, ..Config::default() });
    let mut worker = engine.worker();
    let mut update = engine.update().unwrap();
    let set = |name: &str, len| Set::new(key(name), vec![b'x'; len]);
    update.execute(&engine, &mut worker, &Command::Set(set("a", 20))).unwrap();
    let sets = vec![set("a", 1), set("b", 30), set("c", 90)];
    let refused = update.execute(&engine, &mut worker, &Command::MultiSet { sets });
    assert!(matches!(refused, Err(Error::LimitExceeded(_))), "{refused:?}");
    let mut len = |name: &str| {
        let entry = update.get(&engine, &mut worker, &key(name)).unwrap();
        entry.map(|entry| entry.value.len())
    };
    assert_eq!([len("a"), len("b"), len("c")], [Some(20), None, None]);
    update.commit(&engine, &mut worker).unwrap();
    let stats = engine.stats();
    assert_eq!((stats.totals.keys, stats.totals.value_bytes), (1, 20));
    assert_eq!((stats.operations.sets, stats.operations.rejected), (1, 3));
}

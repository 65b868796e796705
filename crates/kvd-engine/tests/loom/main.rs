//! The engine under a checker of all interleavings, and of all values that weakly ordered loads may return: small models with a
//! few threads and one or two operations each, where a loss of order would show. Each model is also run with a mistake planted
//! that it must find. Only in a build with `--cfg kvd_loom`: there a bucket has two slots, and splits above one key.
//!
//! Interleavings are bounded by preemptions: threads are descheduled at any step, but in one run only so often.
//!
//! Who reads has a thread of its own, and the model's own thread, if it does anything, writes: a thread that yields for others to
//! begin is not given what it saw before, and so never the old values of its own setup.
#![cfg(kvd_loom)]

mod roots;
mod sweep;
mod transactions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use kvd_engine::{Bug, Config, Engine, Found, Visibility, Worker, plant};
use kvd_types::*;
use loom::thread::{self, JoinHandle};

/// What a model found: nothing, or which promise was broken.
type Verdict = Result<(), String>;

/// How a broken promise is told from a model that could not be run.
const BROKEN: &str = "broken promise";

/// The checker's own word for memory that is looked at by a thread to which nobody has published it.
const UNPUBLISHED: &str = "Causality violation";

/// Explores a model. The verdict becomes a panic only when everything of the run is gone, since what is dropped in a panic
/// would ask the checker for more.
fn explore(name: &str, preemptions: usize, model: fn() -> Verdict) -> Verdict {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 1_000_000;
    let (begin, runs) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&runs);
    let run = move || {
        counted.fetch_add(1, Ordering::Relaxed); // a count, on one thread
        model().unwrap_or_else(|promise| panic!("{BROKEN}: {promise}"));
    };
    let result = catch_unwind(AssertUnwindSafe(|| builder.check(run)));
    let runs = runs.load(Ordering::Relaxed); // a count, on one thread
    report(&format!("{name}: {runs} executions, {:.1} s", begin.elapsed().as_secs_f32()));
    assert!(runs > 1 || result.is_err(), "{name}: a model without interleavings promises nothing");
    result.map_err(|panic| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(_) => "no message".to_owned(),
    })
}

#[expect(clippy::print_stderr, reason = "how large a model is, for who runs it with --nocapture")]
fn report(line: &str) {
    eprintln!("{line}");
}

/// The promise holds in every interleaving.
fn holds(preemptions: usize, model: fn() -> Verdict) {
    if let Err(message) = explore("holds", preemptions, model) {
        panic!("{message}");
    }
}

/// The model notices that `bug` was planted, by the promise it is about.
fn catches(bug: Bug, preemptions: usize, model: fn() -> Verdict) {
    plant(Some(bug));
    let verdict = explore(&format!("{bug:?}"), preemptions, model);
    plant(None);
    let message = verdict.expect_err("the planted mistake was not found");
    assert!(message.starts_with(BROKEN) || message.contains(UNPUBLISHED), "{bug:?} was found by accident: {message}");
}

/// As `catches`, for stores that don't publish; `test` is who calls. In a process of its own: the checker panics inside the
/// engine, and may panic again in what is dropped then, which ends the process. Either way it has found the mistake.
fn catches_apart(test: &str, preemptions: usize, model: fn() -> Verdict) {
    const CHILD: &str = "KVD_LOOM_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return catches(Bug::RelaxedPublish, preemptions, model);
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains(UNPUBLISHED), "{said}");
    assert!(said.contains(UNPUBLISHED) || said.contains(BROKEN), "{said}");
    assert!(!said.contains("was not found"), "{said}");
}

fn promise(kept: bool, what: impl FnOnce() -> String) -> Verdict {
    if kept { Ok(()) } else { Err(what()) }
}

fn key(name: &str) -> Key<'_> {
    Key::new(name.as_bytes()).unwrap()
}

fn revision_of(found: Option<Found<'_>>) -> u64 {
    found.map_or(0, |found| found.revision().0)
}

/// A thread's engine and worker. Made before any thread begins, so that making it is not part of the interleavings.
struct Client {
    engine: Engine,
    worker: Worker,
}

impl Client {
    fn new(engine: &Engine) -> Client {
        Client { engine: engine.clone(), worker: engine.worker() }
    }

    /// Runs `body` on a thread of its own, and gives the client back: its end is not part of the interleavings either.
    fn spawn<R: 'static>(mut self, body: impl FnOnce(&mut Client) -> R + 'static) -> JoinHandle<(Client, R)> {
        thread::spawn(move || {
            let result = body(&mut self);
            (self, result)
        })
    }

    fn execute(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        self.engine.execute(&mut self.worker, command)
    }

    fn set_if(&mut self, name: &str, condition: Condition, ttl: Ttl) -> Option<u64> {
        let set = Set { condition, ttl, ..Set::new(key(name), "v") };
        match self.execute(&Command::Set(set)) {
            Ok(Reply::Set { revision, .. }) => Some(revision.0),
            Err(Error::PreconditionFailed { .. }) => None,
            other => panic!("a set is done or its condition fails: {other:?}"),
        }
    }

    fn set(&mut self, name: &str) -> u64 {
        self.set_if(name, Condition::Always, Ttl::None).expect("there is no condition")
    }

    fn multi_set(&mut self, names: &[&str]) -> u64 {
        let sets = names.iter().map(|name| Set::new(key(name), "v")).collect();
        match self.execute(&Command::MultiSet { sets }) {
            Ok(Reply::MultiSet { revision, .. }) => revision.0,
            other => panic!("a multi-set has no condition: {other:?}"),
        }
    }

    /// The key's revision; 0 if it is absent.
    fn get(&mut self, name: &str) -> u64 {
        self.engine.get_with(&mut self.worker, name.as_bytes(), revision_of)
    }

    /// One get after the other, under one pin.
    fn get_each<const N: usize>(&mut self, names: [&str; N]) -> [u64; N] {
        let mut revisions = [0; N];
        let keys = names.map(str::as_bytes);
        self.engine.get_many(&mut self.worker, &keys, |at, found| revisions[at] = revision_of(found));
        revisions
    }

    /// All of one revision, which comes first.
    fn multi_get(&mut self, names: &[&str]) -> (u64, Vec<u64>) {
        let keys = names.iter().map(|name| key(name)).collect();
        match self.execute(&Command::MultiGet { keys, require_all: false }) {
            Ok(Reply::MultiGot { revision, entries }) => {
                let of = |entry: Option<Entry>| entry.map_or(0, |entry| entry.revision.0);
                (revision.0, entries.into_iter().map(of).collect())
            }
            other => panic!("a multi-get of missing keys is no error: {other:?}"),
        }
    }
}

/// A store in which `x` has revision 1 and `y` has 2, settled, and so many clients.
fn store<const N: usize>(config: Config) -> (Engine, [Client; N]) {
    let engine = Engine::open(config);
    let mut clients = std::array::from_fn(|_| Client::new(&engine));
    let first: &mut Client = &mut clients[0];
    first.set("x");
    first.set("y");
    let (sealed, _) = engine.seal();
    engine.make_visible(sealed);
    while engine.maintain(&mut first.worker) {}
    (engine, clients)
}

/// Two commits, of one key each, and two readers that look at the keys in opposite orders.
fn two_commits_and_two_readers() -> Verdict {
    let (_engine, [x_writer, x_reader, y_reader, mut main]) = store(Config::default());
    let x_writer = x_writer.spawn(|client| client.set("x"));
    let x_reader = x_reader.spawn(|client| client.get_each(["x", "y"]));
    let y_reader = y_reader.spawn(|client| client.get_each(["y", "x"]));
    let y_new = main.set("y");
    let (_x, x_new) = x_writer.join().unwrap();
    let (_reader, [x_first, y_second]) = x_reader.join().unwrap();
    let (_reader, [y_first, x_second]) = y_reader.join().unwrap();
    promise(!(x_first == x_new && y_new < x_new) || y_second == y_new, || {
        format!("x at {x_first}, then y at {y_second}, though y is older: {y_new}")
    })?;
    promise(!(y_first == y_new && x_new < y_new) || x_second == x_new, || {
        format!("y at {y_first}, then x at {x_second}, though x is older: {x_new}")
    })
}

/// The same with one reader, who goes back.
fn two_commits_and_a_reader() -> Verdict {
    let (_engine, [x_writer, reader, mut main]) = store(Config::default());
    let x_writer = x_writer.spawn(|client| client.set("x"));
    let reader = reader.spawn(|client| client.get_each(["x", "y", "x"]));
    let y_new = main.set("y");
    let (_x, x_new) = x_writer.join().unwrap();
    let (_reader, [x, y, x_again]) = reader.join().unwrap();
    let seen = || format!("x at {x}, y at {y}, x at {x_again}, of commits {x_new} and {y_new}");
    promise(!(x == x_new && y_new < x_new) || y == y_new, seen)?;
    promise(!(y == y_new && x_new < y_new) || x_again == x_new, seen)?;
    promise(x <= x_again, seen)
}

#[test]
fn readers_agree_on_the_order_of_commits() {
    holds(1, two_commits_and_two_readers);
    holds(2, two_commits_and_a_reader);
}

#[test]
fn stores_that_do_not_publish_are_found() {
    catches_apart("stores_that_do_not_publish_are_found", 2, two_commits_and_two_readers);
}

#[test]
fn commits_of_many_that_do_not_publish_are_found() {
    catches_apart("commits_of_many_that_do_not_publish_are_found", 2, a_commit_of_two_keys_and_gets_in_order);
}

/// A commit of two keys, and gets of both, one after the other.
fn a_commit_of_two_keys_and_gets(names: [&'static str; 2]) -> Verdict {
    let (_engine, [reader, mut main]) = store(Config::default());
    let reader = reader.spawn(move |client| client.get_each(names));
    let both = main.multi_set(&["x", "y"]);
    let (_reader, seen) = reader.join().unwrap();
    promise(seen[0] < both || seen[1] == both, || format!("{names:?} at {seen:?}, of a commit {both} of both"))
}

fn a_commit_of_two_keys_and_gets_in_order() -> Verdict {
    a_commit_of_two_keys_and_gets(["x", "y"])
}

fn a_commit_of_two_keys_and_gets_against_order() -> Verdict {
    a_commit_of_two_keys_and_gets(["y", "x"])
}

#[test]
fn gets_see_a_commit_of_two_keys_as_a_whole() {
    holds(1, a_commit_of_two_keys_and_gets_in_order);
    holds(1, a_commit_of_two_keys_and_gets_against_order);
}

/// A commit of two keys and a multi-get of both, in all interleavings, but without values that come late: the model's own thread
/// reads. With them two passes over two keys are millions of runs; the models of gets have them.
fn a_commit_of_two_keys_and_a_multi_get() -> Verdict {
    let (_engine, [writer, mut main]) = store(Config::default());
    let writer = writer.spawn(|client| client.multi_set(&["x", "y"]));
    thread::yield_now();
    let (at, seen) = main.multi_get(&["x", "y"]);
    let (_writer, both) = writer.join().unwrap();
    let state = if at < both { [1, 2] } else { [both, both] };
    promise(seen == state, || format!("{seen:?} at {at}, where it was {state:?}"))
}

#[test]
fn a_multi_get_is_of_one_revision() {
    holds(1, a_commit_of_two_keys_and_a_multi_get);
    catches(Bug::SingleCollect, 2, a_commit_of_two_keys_and_a_multi_get);
}

/// Two commits of one key that are not visible at once, who makes them visible, and a get.
fn two_commits_that_become_visible_later() -> Verdict {
    let config = Config { visibility: Visibility::WhenDurable, ..Config::default() };
    let (engine, [reader, mut main]) = store(config);
    let flusher = thread::spawn(move || {
        let (sealed, _) = engine.seal();
        engine.make_visible(sealed);
    });
    let reader = reader.spawn(|client| [client.engine.revision().0, client.get("x"), client.engine.revision().0]);
    main.set("x");
    main.set("x");
    flusher.join().unwrap();
    let (_reader, [before, x, after]) = reader.join().unwrap();
    // Up to revision 2 the newest of `x` is 1.
    let least = if before == 2 { 1 } else { before };
    promise(least <= x && x <= after, || format!("x at {x}, where {before} to {after} was visible"))
}

#[test]
fn a_get_is_of_what_is_visible_while_it_runs() {
    holds(3, two_commits_that_become_visible_later);
}

#[test]
fn a_revision_loaded_before_the_old_version_is_found() {
    catches(Bug::RevisionBeforeOld, 3, two_commits_that_become_visible_later);
}

#[test]
fn a_version_dropped_while_its_group_is_synced_is_found() {
    catches(Bug::SettleForgetsSealed, 3, two_commits_that_become_visible_later);
}

/// A new key that splits the segment, beside a write and gets of the key that is there. `set` writes that key. Three threads: one
/// preemption is what ends in a minute.
fn a_split(set: fn(&mut Client) -> u64) -> Verdict {
    let engine = Engine::open(Config { segment_buckets_max: 1, ..Config::default() });
    let [mut main, writer, reader] = std::array::from_fn(|_| Client::new(&engine));
    let old = main.set("x");
    let writer = writer.spawn(move |client| (set(client), client.get("x")));
    let reader = reader.spawn(|client| client.get("x"));
    let y = main.set("y");
    let (_writer, (new, own)) = writer.join().unwrap();
    let (_reader, seen) = reader.join().unwrap();
    let last = main.get_each(["x", "y"]);
    promise(own == new, || format!("x at {own} after its own write {new}"))?;
    promise(seen == old || seen == new, || format!("x at {seen} of {old}, {new}"))?;
    promise(last == [new, y], || format!("x and y at {last:?} in the end, of {new} and {y}"))
}

fn a_split_beside_a_set() -> Verdict {
    a_split(|client| client.set("x"))
}

fn a_split_beside_a_commit_of_many() -> Verdict {
    a_split(|client| client.multi_set(&["x"]))
}

#[test]
fn a_split_loses_nothing() {
    holds(1, a_split_beside_a_set);
}

#[test]
fn a_reader_that_ignores_where_keys_went_is_found() {
    catches(Bug::IgnoreMoved, 1, a_split_beside_a_commit_of_many);
}

#[test]
fn a_split_loses_nothing_of_a_larger_commit() {
    holds(1, a_split_beside_a_commit_of_many);
}

/// A value that tells when the store has freed it. Large enough to be shared with the store instead of copied.
struct Watched(Arc<AtomicBool>);

static LARGE: [u8; 16 << 10] = [b'v'; 16 << 10];

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &LARGE
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed); // one thread runs all of a model
    }
}

/// A key that is overwritten, and what it held freed, beside a get that looks at what it held for a while.
fn memory_under_a_reader() -> Verdict {
    let engine = Engine::open(Config::default());
    let [mut main, reader] = std::array::from_fn(|_| Client::new(&engine));
    let freed = Arc::new(AtomicBool::new(false));
    let set = Set::new(key("x"), Bytes::from_owner(Watched(Arc::clone(&freed))));
    main.execute(&Command::Set(set)).unwrap();
    let seen = Arc::clone(&freed);
    let reader = reader.spawn(move |client| {
        client.engine.get_with(&mut client.worker, b"x", |found| {
            let is_old = revision_of(found) == 1;
            let is_freed = || is_old && seen.load(Ordering::Relaxed); // one thread runs all of a model
            let before = is_freed();
            thread::yield_now();
            before || is_freed()
        })
    });
    main.set("x");
    while engine.maintain(&mut main.worker) {}
    while engine.maintain(&mut main.worker) {}
    let (_reader, seen_freed) = reader.join().unwrap();
    while engine.maintain(&mut main.worker) {}
    promise(!seen_freed, || "a value was freed while it was looked at".to_owned())?;
    promise(freed.load(Ordering::Relaxed), || "a value that nobody looks at was not freed".to_owned()) // as above
}

#[test]
fn memory_freed_one_epoch_early_is_found() {
    catches(Bug::FreedEarly, 3, memory_under_a_reader);
}

#[test]
fn what_a_reader_looks_at_is_not_freed() {
    holds(3, memory_under_a_reader);
}

/// Two writers of one key that must not exist.
fn two_writers_of_one_absent_key() -> Verdict {
    let engine = Engine::open(Config::default());
    let clients: [Client; 2] = std::array::from_fn(|_| Client::new(&engine));
    let writers = clients.map(|client| client.spawn(|client| client.set_if("x", Condition::Absent, Ttl::None)));
    let [(mut client, one), (_, other)] = writers.map(|writer| writer.join().unwrap());
    promise(one.is_some() != other.is_some(), || format!("won: {one:?} and {other:?}"))?;
    let x = client.get("x");
    promise(Some(x) == one.or(other), || format!("x at {x}, won: {one:?} and {other:?}"))
}

#[test]
fn of_two_writers_of_an_absent_key_one_wins() {
    holds(3, two_writers_of_one_absent_key);
}

/// A store at time 10 whose `x` ends at 20.
fn store_with_an_end<const N: usize>() -> (Engine, [Client; N]) {
    let engine = Engine::open(Config::default());
    let mut clients = std::array::from_fn(|_| Client::new(&engine));
    engine.tick(10);
    let first: &mut Client = &mut clients[0];
    first.set_if("x", Condition::Always, Ttl::At(20));
    (engine, clients)
}

/// A key whose time comes, beside a write on the condition that it exists.
fn a_write_to_what_exists_and_the_end() -> Verdict {
    let (engine, [writer, reader]) = store_with_an_end();
    let writer = writer.spawn(|client| client.set_if("x", Condition::Exists, Ttl::None));
    let reader = reader.spawn(move |client| {
        engine.tick(20);
        [client.get("x"), client.get("x")]
    });
    writer.join().unwrap();
    let (_reader, seen) = reader.join().unwrap();
    promise(seen[0] != 0 || seen[1] == 0, || format!("x had ended, and came back at {seen:?}"))
}

#[test]
fn what_has_ended_does_not_exist_for_a_condition() {
    holds(3, a_write_to_what_exists_and_the_end);
    catches(Bug::NoExpiryRecheck, 3, a_write_to_what_exists_and_the_end);
}

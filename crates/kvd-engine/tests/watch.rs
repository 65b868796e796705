//! Watching: whoever reads a store's commits can build the store from them. Each commit comes once, in order, whole; a watch
//! that is too slow, or asks for what is gone, is told so and shown nothing wrong; what is kept for it is bounded. Threads end
//! when the work is done; nothing depends on who is faster.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use kvd_engine::{Change, Config, Engine, NotKept, Place, Watch, Worker};
use kvd_journal::{Options, Policy, REVISION_JUMP};
use kvd_testkit::disk::SimDisk;
use kvd_testkit::durability::{Replica, State, Version};
use kvd_types::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const KIB: u64 = 1 << 10;

fn key(name: impl AsRef<[u8]>) -> Key<'static> {
    Key::new(name.as_ref().to_vec()).unwrap()
}

fn set(engine: &Engine, worker: &mut Worker, name: &str, value: impl Into<bytes::Bytes>) -> Revision {
    let Ok(Reply::Set { revision, .. }) = engine.execute(worker, &Command::Set(Set::new(key(name), value))) else {
        panic!("a set is carried out")
    };
    revision
}

/// What is there without waiting.
fn poll(watch: &mut Watch, most: usize) -> Option<Result<Vec<Arc<Change>>, NotKept>> {
    match watch.poll_commits(&mut Context::from_waker(Waker::noop()), most) {
        Poll::Ready(commits) => Some(commits),
        Poll::Pending => None,
    }
}

/// Everything that is there: revisions and effects.
fn drain(watch: &mut Watch) -> Vec<(u64, Vec<Effect<'static>>)> {
    let mut seen = Vec::new();
    while let Some(commits) = poll(watch, 3) {
        for commit in commits.unwrap() {
            watch.saw(commit.revision());
            seen.push((commit.revision().0, commit.effects()));
        }
    }
    seen
}

fn put(name: &str, value: &str) -> Effect<'static> {
    Effect::Put { key: key(name), value: value.to_owned().into(), content_type: None, expires_at_ms: None }
}

fn delete(name: &str, reason: Reason) -> Effect<'static> {
    Effect::Delete { key: key(name), reason }
}

/// All that a store holds, expired or not.
fn contents(engine: &Engine) -> State {
    let mut worker = engine.worker();
    let list = List { prefix: Key::empty(), limit: 10_000, cursor: None, values: ListValues::Full };
    let Ok(Reply::Page(page)) = engine.execute(&mut worker, &Command::List(list)) else { panic!("a list") };
    assert!(page.cursor.is_none(), "there are few keys");
    let version = |entry: Entry| {
        let Entry { value, content_type, expires_at_ms, revision } = entry;
        Version { revision, value, content_type, expires_at_ms }
    };
    page.items.into_iter().map(|item| (item.key.as_bytes().to_vec(), version(item.entry))).collect()
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for the next commits; none when there will be no more.
fn wait(watch: &mut Watch, most: usize) -> Result<Vec<Arc<Change>>, NotKept> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut commits = pin!(poll_fn(|context| watch.poll_commits(context, most)));
    loop {
        match commits.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(commits) => return commits,
            Poll::Pending => thread::park(),
        }
    }
}

/// Hands commits on until told to stop, as a server's thread does.
fn relay(engine: &Engine, stop: &AtomicBool) {
    // Acquire: pairs with the store of who stops it.
    while !stop.load(Ordering::Acquire) {
        engine.sleep_until_commits(Duration::from_secs(60));
        engine.flush(0).unwrap();
    }
    engine.flush(0).unwrap();
}

/// Commits of every kind, and time.
fn write_at_random(engine: &Engine, seed: u64, steps: u32) {
    let (mut worker, mut random) = (engine.worker(), SmallRng::seed_from_u64(seed));
    for _ in 0..steps {
        let keys: Vec<Key<'static>> =
            (0..random.random_range(1..5)).map(|_| key([random.random_range(0..40)])).collect();
        match random.random_range(0..100) {
            0..60 => {
                let mut sets: Vec<Set<'static>> = Vec::new();
                for key in keys {
                    if sets.iter().all(|set| set.key != key) {
                        let len = [0, 10, 300, 20_000][random.random_range(0..4)];
                        let ttl = [Ttl::None, Ttl::Ms(random.random_range(1..50))][random.random_range(0..2)];
                        sets.push(Set { ttl, ..Set::new(key, vec![random.random::<u8>(); len]) });
                    }
                }
                engine.execute(&mut worker, &Command::MultiSet { sets }).unwrap();
            }
            60..70 => {
                let rule = Rule::Append { bytes: "more".into() };
                let modify = |key| Command::Modify(Modify { key, rule: rule.clone(), condition: Condition::Always });
                let commands = keys.into_iter().map(modify).collect();
                let (checks, otherwise, on_failure) = (Vec::new(), None, OnFailure::Abort);
                let transaction = Transaction { checks, commands, otherwise, on_failure };
                engine.execute(&mut worker, &Command::Transaction(transaction)).unwrap();
            }
            70..85 => {
                let deletes = keys.into_iter().map(Delete::new).collect();
                engine.execute(&mut worker, &Command::MultiDelete { deletes, require_all: false }).unwrap();
            }
            85..90 => engine.tick(engine.now_ms() + random.random_range(1..20)),
            90..98 => {
                engine.sweep(&mut worker, 100);
            }
            _ => {
                engine.execute(&mut worker, &Command::Clear).unwrap();
            }
        }
    }
}

/// Three threads write at random, one hands on, and `watch` is called on another until it ends.
fn beside_writers<T: Send>(engine: &Engine, steps: u32, watch: impl FnOnce(Watch) -> T + Send) -> T {
    let stop = AtomicBool::new(false);
    let begun = engine.watch(None).unwrap();
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(begun));
        let relaying = scope.spawn(|| relay(engine, &stop));
        let writers: Vec<_> = (0..3).map(|seed| scope.spawn(move || write_at_random(engine, seed, steps))).collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        stop.store(true, Ordering::Release); // pairs with the load in `relay`
        engine.wake_flusher();
        relaying.join().unwrap();
        engine.end_watches();
        watcher.join().unwrap()
    })
}

#[test]
fn a_store_can_be_rebuilt_from_its_commits() {
    for journal in [false, true] {
        let engine =
            Engine::open(Config { journal, segment_buckets_max: 2, watch_bytes: u64::MAX, ..Config::default() });
        let rebuilt = beside_writers(&engine, 2_000, |mut watch| {
            let mut replica = Replica::default();
            loop {
                let commits = wait(&mut watch, 7).unwrap();
                if commits.is_empty() {
                    assert_eq!(watch.place(), engine.revision(), "it ends when it has seen all");
                    return replica.state;
                }
                for commit in commits {
                    assert_eq!(commit.revision().0, watch.place().0 + 1);
                    assert!(commit.revision() <= engine.revision(), "ahead of readers");
                    watch.saw(commit.revision());
                    replica.apply(commit.revision(), &commit.effects());
                }
            }
        });
        // So that what has expired shows in neither.
        let now_ms = engine.now_ms();
        let alive = |state: State| -> State {
            state.into_iter().filter(|(_, version)| version.expires_at_ms.is_none_or(|at| at > now_ms)).collect()
        };
        assert_eq!(alive(rebuilt), contents(&engine), "journal: {journal}");
    }
}

#[test]
fn with_little_kept_a_watch_sees_every_commit_or_is_told_that_it_does_not() {
    let engine = Engine::open(Config { watch_bytes: 4 * KIB, ..Config::default() });
    let (seen, lagged) = beside_writers(&engine, 3_000, |mut watch| {
        let (mut seen, mut lagged) = (0, 0);
        loop {
            match wait(&mut watch, 1) {
                Ok(commits) if commits.is_empty() => return (seen, lagged),
                Ok(commits) => {
                    assert_eq!(commits[0].revision().0, watch.place().0 + 1);
                    watch.saw(commits[0].revision());
                    seen += 1;
                }
                Err(NotKept { wanted, oldest, .. }) => {
                    assert!(wanted < oldest && wanted.0 == watch.place().0 + 1);
                    lagged += 1;
                    watch = engine.watch(None).unwrap();
                }
            }
        }
    });
    assert!(seen > 0);
    assert_eq!(engine.stats().watching.lagged, lagged);
    assert_eq!(engine.stats().watching.watches, 0);
}

#[test]
fn commits_are_shown_as_what_they_did() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    let mut watch = engine.watch(None).unwrap();
    set(&engine, &mut worker, "a", "1");
    let sets = vec![
        Set {
            ttl: Ttl::Ms(5),
            content_type: Some(ContentType::new(b"text/plain").unwrap()),
            ..Set::new(key("b"), "2")
        },
        Set::new(key("c"), "3"),
    ];
    engine.execute(&mut worker, &Command::MultiSet { sets }).unwrap();
    engine.execute(&mut worker, &Command::Delete(Delete::new(key("a")))).unwrap();
    // Changes nothing, and so is no commit.
    engine.execute(&mut worker, &Command::Delete(Delete::new(key("a")))).unwrap();
    let unseen = Command::Set(Set { condition: Condition::Absent, ..Set::new(key("c"), "4") });
    engine.execute(&mut worker, &unseen).unwrap_err();
    engine.tick(5);
    engine.sweep(&mut worker, 100);
    let mut update = engine.update().unwrap();
    update.set(Set::new(key("d"), "4")).unwrap();
    update.delete(key("c")).unwrap();
    update.commit(&engine, &mut worker).unwrap();
    engine.execute(&mut worker, &Command::Clear).unwrap();
    assert!(poll(&mut watch, 1).is_none(), "nothing was handed on yet");
    assert_eq!(engine.flush(0).unwrap(), 6);
    let content_type = Some(ContentType::new(b"text/plain").unwrap());
    let expiring = Effect::Put { key: key("b"), value: "2".into(), content_type, expires_at_ms: Some(5) };
    let seen = drain(&mut watch);
    assert_eq!(
        seen,
        [
            (1, vec![put("a", "1")]),
            (2, vec![expiring, put("c", "3")]),
            (3, vec![delete("a", Reason::Asked)]),
            (4, vec![delete("b", Reason::Expired)]),
            (5, vec![delete("c", Reason::Asked), put("d", "4")]),
            (6, vec![Effect::Clear]),
        ]
    );
    assert_eq!(watch.place(), engine.revision());
}

#[test]
fn what_is_not_wanted_is_passed_over() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    let mut watch = engine.watch(None).unwrap();
    let large = vec![7; 100_000];
    let sets = [("a", &b"1"[..]), ("b", &large), ("c", b""), ("d", &large)];
    let sets = sets.map(|(name, value)| Set::new(key(name), value.to_vec())).to_vec();
    engine.execute(&mut worker, &Command::MultiSet { sets }).unwrap();
    engine.flush(0).unwrap();
    let commits = poll(&mut watch, 1).unwrap().unwrap();
    assert_eq!(commits[0].effects_count(), 4);
    for (wanted, found) in [("bd", vec!["b", "d"]), ("ac", vec!["a", "c"]), ("c", vec!["c"]), ("x", vec![])] {
        let is_wanted = |key: &[u8]| wanted.as_bytes().contains(&key[0]);
        let (mut place, mut keys) = (Place::default(), Vec::new());
        while let Some(Effect::Put { key, value, .. }) = commits[0].next_effect(&mut place, is_wanted) {
            assert_eq!(value.len(), [1, 100_000, 0, 100_000][usize::from(key.as_bytes()[0] - b'a')]);
            keys.push(key.as_text().unwrap().to_owned());
        }
        assert_eq!(keys, found, "{wanted}");
    }
}

#[test]
fn a_store_without_a_journal_queues_nothing_until_someone_watches() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    for _ in 0..10 {
        set(&engine, &mut worker, "a", "1");
    }
    engine.execute(&mut worker, &Command::Clear).unwrap();
    assert_eq!(engine.flush(0).unwrap(), 0);
    assert!(engine.seal().1.is_empty());
    assert_eq!(engine.stats().totals.watch_bytes, 0);
    let old = engine.watch(Some(Revision(5))).err().unwrap();
    assert_eq!(old, NotKept { wanted: Revision(5), oldest: Revision(12), newest: Revision(11) });
    assert!(old.to_string().contains("the commits from 5 on are not kept any more, only those from 12 on"), "{old}");
    // That it was asked is enough: who asks again finds all since.
    set(&engine, &mut worker, "a", "2");
    engine.flush(0).unwrap();
    let mut watch = engine.watch(Some(Revision(12))).unwrap();
    assert_eq!(drain(&mut watch), [(12, vec![put("a", "2")])]);
    assert!(engine.stats().totals.watch_bytes > 0);
}

#[test]
fn a_place_that_never_was_is_refused() {
    let engine = Engine::open(Config { journal: true, ..Config::default() });
    let mut worker = engine.worker();
    assert!(engine.watch(Some(Revision(0))).is_ok(), "0 stands for the first");
    assert!(engine.watch(Some(Revision(1))).is_ok(), "the next one");
    assert!(engine.watch(Some(Revision(2))).is_err());
    set(&engine, &mut worker, "a", "1");
    // Seen by readers, and not handed on yet.
    assert!(engine.watch(Some(Revision(2))).is_ok());
    let error = engine.watch(Some(Revision(1_000))).err().unwrap();
    assert!(error.to_string().contains("there was no commit 1000 yet, the newest is 1"), "{error}");
    assert!(engine.watch(Some(Revision(u64::MAX))).is_err());
    engine.flush(0).unwrap();
    let mut watch = engine.watch(Some(Revision(0))).unwrap();
    assert_eq!(drain(&mut watch), [(1, vec![put("a", "1")])]);
}

#[test]
fn what_is_kept_is_bounded_and_at_least_what_was_promised() {
    let engine = Engine::open(Config { journal: true, watch_bytes: 64 * KIB, ..Config::default() });
    let mut worker = engine.worker();
    let mut slow = engine.watch(None).unwrap();
    let kept = || engine.stats().totals.watch_bytes;
    for n in 0..1_000_u32 {
        let before = kept();
        let len = [10, 3_000, 20_000][n as usize % 3];
        let revision = set(&engine, &mut worker, &n.to_string(), vec![0; len]);
        engine.flush(0).unwrap();
        let commit = poll(&mut engine.watch(Some(revision)).unwrap(), 1).unwrap().unwrap().remove(0);
        assert!(kept() <= 64 * KIB + 21 * KIB, "{} kept", kept());
        assert!(kept() >= (before + commit.bytes()).min(64 * KIB), "{} kept", kept());
    }
    for _ in 0..2 {
        let error = poll(&mut slow, 1).unwrap().unwrap_err();
        assert_eq!((error.wanted, error.newest), (Revision(1), Revision(1_000)));
        assert!(engine.watch(Some(error.oldest)).is_ok());
        assert!(engine.watch(Some(Revision(error.oldest.0 - 1))).is_err());
    }
    assert_eq!(engine.stats().watching.lagged, 1);
    // One that is larger stays for as long as what follows it does.
    let large = set(&engine, &mut worker, "large", vec![0; 1 << 20]);
    for _ in 0..3 {
        set(&engine, &mut worker, "small", "1");
    }
    engine.flush(0).unwrap();
    let mut watch = engine.watch(Some(large)).unwrap();
    assert_eq!(drain(&mut watch).len(), 4);
    for _ in 0..4 {
        set(&engine, &mut worker, "medium", vec![0; 20_000]);
    }
    engine.flush(0).unwrap();
    assert!(engine.watch(Some(large)).is_err());
    assert!(kept() <= 64 * KIB + 21 * KIB);
}

#[test]
fn under_a_memory_limit_an_eighth_is_kept_at_most_and_no_write_is_refused_for_it() {
    const LIMIT: u64 = 4 << 20;
    let engine = Engine::open(Config { journal: true, memory_bytes_max: LIMIT, ..Config::default() });
    let mut worker = engine.worker();
    for n in 0..1_000 {
        // The same few keys: what is stored stays, what is kept for watches would not.
        set(&engine, &mut worker, &(n % 4).to_string(), vec![0; 500_000]);
        engine.flush(0).unwrap();
    }
    let totals = engine.stats().totals;
    assert!(totals.watch_bytes <= LIMIT / 8 + 501_000, "{totals:?}");
    assert!(totals.memory_bytes() <= LIMIT + 501_000 + 64 * KIB, "{totals:?}");
}

#[test]
fn watches_end_when_they_have_seen_all() {
    let engine = Engine::open(Config::default());
    let mut worker = engine.worker();
    let (mut ahead, mut behind) = (engine.watch(None).unwrap(), engine.watch(None).unwrap());
    set(&engine, &mut worker, "a", "1");
    engine.flush(0).unwrap();
    assert_eq!(drain(&mut ahead).len(), 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&mut ahead, 1).unwrap().is_empty());
        engine.end_watches();
        assert!(waiting.join().unwrap());
    });
    let commits = wait(&mut behind, 1).unwrap();
    assert_eq!(commits.len(), 1);
    behind.saw(commits[0].revision());
    assert!(wait(&mut behind, 1).unwrap().is_empty());
    assert!(wait(&mut engine.watch(None).unwrap(), 1).unwrap().is_empty());
}

#[test]
fn nothing_is_kept_over_a_restart_and_a_place_in_what_was_skipped_is_refused() {
    let disk = SimDisk::new();
    let options = Options { epoch: Epoch(1), entropy: 2, segment_bytes: 4096, policy: Policy::Always };
    let open = || Engine::recover(Config::default(), Arc::new(disk.clone()), options, 0, 1, &|_| {}).unwrap().0;
    let engine = open();
    let mut worker = engine.worker();
    for _ in 0..3 {
        set(&engine, &mut worker, "a", "1");
    }
    assert!(engine.watch(Some(Revision(2))).is_err(), "readers don't see commit 1 yet");
    let mut watch = engine.watch(None).unwrap();
    assert!(drain(&mut watch).is_empty(), "nothing is on disk");
    engine.flush(0).unwrap();
    assert_eq!(drain(&mut watch).iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), [1, 2, 3]);
    engine.close();
    engine.finish(0).unwrap();
    drop((watch, worker, engine));

    // After a stop in order who had seen all goes on.
    let engine = open();
    assert!(engine.watch(Some(Revision(3))).is_err());
    let mut watch = engine.watch(Some(Revision(4))).unwrap();
    set(&engine, &mut engine.worker(), "a", "2");
    engine.flush(0).unwrap();
    assert_eq!(drain(&mut watch), [(4, vec![put("a", "2")])]);
    drop((watch, engine));

    // After a crash revisions jump.
    disk.restart();
    let engine = open();
    let last = 4 + REVISION_JUMP;
    assert_eq!(engine.revision(), Revision(last));
    let inside_is_refused = |engine: &Engine, inside: &[u64], oldest: u64| {
        for inside in inside {
            let error = engine.watch(Some(Revision(*inside))).err().unwrap();
            assert_eq!(error.oldest, Revision(oldest), "{inside}");
        }
    };
    inside_is_refused(&engine, &[4, 6, last - 1, last], last + 1);
    assert!(engine.watch(Some(Revision(last + 1))).is_ok());
    // Who had seen all that is left has missed nothing.
    assert_eq!(engine.watch(Some(Revision(5))).unwrap().place(), Revision(last));
    drop(engine);

    // Once more, with nothing in between.
    disk.restart();
    let engine = open();
    let newest = last + REVISION_JUMP;
    assert_eq!(engine.revision(), Revision(newest));
    inside_is_refused(&engine, &[4, 6, last, last + 2, newest], newest + 1);
    let mut watches = [5, last + 1, newest + 1].map(|from| engine.watch(Some(Revision(from))).unwrap());
    set(&engine, &mut engine.worker(), "a", "3");
    engine.flush(0).unwrap();
    for watch in &mut watches {
        assert_eq!(drain(watch), [(newest + 1, vec![put("a", "3")])]);
    }
    // The first commit after it has come is kept: who comes late goes on there, too.
    assert_eq!(drain(&mut engine.watch(Some(Revision(5))).unwrap()).len(), 1);
    drop((watches, engine));

    // With a commit in between, the jump before it is over.
    disk.restart();
    let engine = open();
    assert!(engine.watch(Some(Revision(5))).is_err());
    assert!(engine.watch(Some(Revision(newest + 2))).is_ok());
}

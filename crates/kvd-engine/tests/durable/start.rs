//! Starts: a store that is large comes back the same however many threads load it, from a snapshot made under load, with what
//! went on beside it; threads commit, wait and are answered while a flusher runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kvd_engine::{Bug, Config, Engine, plant};
use kvd_journal::{Disk, DiskFile, DiskLock, Options, Policy, RealDisk};
use kvd_testkit::disk::SimDisk;
use kvd_types::*;

use crate::life::{key, open, options};

const KEYS: u64 = 20_000;

fn numbered(number: u64) -> Key<'static> {
    Key::new(number.to_le_bytes().to_vec()).unwrap()
}

/// Every key with what it has, in order; and the sizes.
fn contents(engine: &Engine) -> (Vec<(Key<'static>, Entry)>, [u64; 3]) {
    let mut worker = engine.worker();
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let list = List { prefix: Key::new(b"").unwrap(), limit: 10_000, cursor, values: ListValues::Full };
        let Ok(Reply::Page(page)) = engine.execute(&mut worker, &Command::List(list)) else { panic!("a list") };
        all.extend(page.items.into_iter().map(|item| (item.key, item.entry)));
        cursor = page.cursor;
        if cursor.is_none() {
            all.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            let totals = engine.stats().totals;
            return (all, [totals.keys, totals.key_bytes, totals.value_bytes]);
        }
    }
}

#[test]
fn a_snapshot_under_load_and_its_journal_bring_back_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    let options = Options { segment_bytes: 1 << 20, ..options(Policy::Interval(5)) };
    let start = |threads| {
        let progress = AtomicU64::new(0);
        let told = |loading: kvd_engine::Loading| {
            progress.fetch_max(loading.entries, Ordering::Relaxed); // a figure
        };
        let disk = Arc::clone(&disk);
        let (engine, report) = Engine::recover(Config::default(), disk, options, 1, threads, &told).unwrap();
        assert_eq!(progress.load(Ordering::Relaxed), report.snapshot_entries, "the progress ends where it should"); // as above
        (engine, report)
    };
    let (engine, _) = start(1);
    let mut worker = engine.worker();
    for number in 0..KEYS {
        let set = Set { ttl: Ttl::Ms(1 << 40), ..Set::new(numbered(number), number.to_string().into_bytes()) };
        engine.execute(&mut worker, &Command::Set(set)).unwrap();
    }
    engine.flush(2).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut worker = engine.worker();
            for number in (0..KEYS).cycle().take(60_000) {
                let command = match number % 3 {
                    0 => Command::Delete(Delete::new(numbered(number))),
                    1 => Command::Set(Set::new(numbered(number), "new")),
                    _ => Command::MultiSet {
                        sets: vec![Set::new(numbered(number), "x"), Set::new(numbered(KEYS + number), "y")],
                    },
                };
                engine.execute(&mut worker, &command).unwrap();
            }
            stop.store(true, Ordering::Release); // pairs with the loads below
            engine.wake_flusher();
        });
        scope.spawn(|| {
            let mut now_ms = 3;
            // Acquire: pairs with the store above.
            while !stop.load(Ordering::Acquire) {
                engine.sleep_until_commits(Duration::from_millis(50));
                now_ms += 1;
                engine.flush(now_ms).unwrap();
            }
        });
        let mut worker = engine.worker();
        let mut snapshots = 0;
        // Acquire: pairs with the store above.
        while !stop.load(Ordering::Acquire) || snapshots < 3 {
            let mut run = engine.begin_snapshot(&mut worker).unwrap().unwrap();
            assert!(engine.begin_snapshot(&mut worker).unwrap().is_none(), "one at a time");
            while run.advance(&mut worker, 100).unwrap() {}
            run.finish(3).unwrap();
            snapshots += 1;
        }
    });
    let expected = contents(&engine);
    engine.close();
    engine.finish(1_000).unwrap();
    drop((engine, worker));
    for threads in [1, 4] {
        let (engine, report) = start(threads);
        assert!(report.clean && report.snapshot.is_some(), "{report:?}");
        assert_eq!(contents(&engine), expected);
        engine.close();
        engine.finish(1_000).unwrap();
    }
}

#[test]
fn threads_are_answered_by_a_flusher_that_sleeps_when_idle() {
    let disk = SimDisk::new();
    let (engine, _) = open(&disk, options(Policy::Always), 1).unwrap();
    let running = AtomicBool::new(true);
    let flusher = || {
        // Acquire: pairs with the store below.
        while running.load(Ordering::Acquire) {
            engine.sleep_until_commits(Duration::from_secs(60));
            engine.flush(1).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let flusher = scope.spawn(flusher);
        let writers = [0, 1, 2].map(|writer| {
            let engine = &engine;
            scope.spawn(move || {
                let mut worker = engine.worker();
                for number in 0..300_u64 {
                    let set = Set::new(numbered(writer << 32 | number), "v");
                    engine.execute(&mut worker, &Command::Set(set)).unwrap();
                    engine.wait(worker.position()).unwrap();
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        running.store(false, Ordering::Release); // pairs with the load above
        let mut worker = engine.worker();
        engine.execute(&mut worker, &Command::Set(Set::new(key("last"), ""))).unwrap();
        flusher.join().unwrap();
    });
    let copy = disk.after_power_cut(1);
    let (again, _) = open(&copy, options(Policy::Always), 1).unwrap();
    assert!(again.stats().totals.keys >= 900);
}

#[test]
fn a_cursor_from_before_a_restart_is_refused() {
    let disk = SimDisk::new();
    let page = |engine: &Engine, cursor| {
        let list = List { prefix: Key::new(b"").unwrap(), limit: 1, cursor, values: ListValues::None };
        match engine.execute(&mut engine.worker(), &Command::List(list))? {
            Reply::Page(page) => Ok(page.cursor),
            other => panic!("{other:?}"),
        }
    };
    let mut cursor = None;
    for hash_key in [[1, 2], [3, 4]] {
        let config = Config { hash_key, ..Config::default() };
        let disk = Arc::new(disk.clone());
        let (engine, _) = Engine::recover(config, disk, options(Policy::Always), 0, 1, &|_| {}).unwrap();
        if cursor.is_some() {
            // The order of the walk is another one: going on would leave keys out.
            assert_eq!(page(&engine, cursor), Err(Error::StaleCursor));
        }
        let mut worker = engine.worker();
        for number in 0..10 {
            engine.execute(&mut worker, &Command::Set(Set::new(numbered(number), ""))).unwrap();
        }
        engine.flush(1).unwrap();
        cursor = page(&engine, None).unwrap();
        assert!(cursor.is_some() && page(&engine, cursor).is_ok());
        engine.close();
        engine.finish(2).unwrap();
    }
}

/// A disk on which something happens during each sync of a file.
#[derive(Clone)]
struct Busy {
    disk: SimDisk,
    meanwhile: Arc<dyn Fn() + Send + Sync>,
}

struct BusyFile {
    file: Box<dyn DiskFile>,
    meanwhile: Arc<dyn Fn() + Send + Sync>,
}

impl Busy {
    fn busy(&self, file: std::io::Result<Box<dyn DiskFile>>) -> std::io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(BusyFile { file: file?, meanwhile: Arc::clone(&self.meanwhile) }))
    }
}

impl Disk for Busy {
    fn location(&self) -> String {
        self.disk.location()
    }

    fn lock(&self) -> std::io::Result<Box<dyn DiskLock>> {
        self.disk.lock()
    }

    fn lock_shared(&self) -> std::io::Result<Box<dyn DiskLock>> {
        self.disk.lock_shared()
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> std::io::Result<Box<dyn DiskFile>> {
        self.busy(self.disk.create(name))
    }

    fn open(&self, name: &str) -> std::io::Result<Box<dyn DiskFile>> {
        self.busy(self.disk.open(name))
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.disk.remove(name)
    }

    fn truncate(&self, name: &str, len: u64) -> std::io::Result<()> {
        self.disk.truncate(name, len)
    }

    fn sync_dir(&self) -> std::io::Result<()> {
        self.disk.sync_dir()
    }
}

impl DiskFile for BusyFile {
    fn size(&self) -> std::io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, parts: &mut [std::io::IoSlice<'_>]) -> std::io::Result<()> {
        self.file.write_at(offset, parts)
    }

    fn allocate(&self, len: u64) -> std::io::Result<()> {
        self.file.allocate(len)
    }

    fn sync(&self) -> std::io::Result<()> {
        (self.meanwhile)();
        self.file.sync()
    }
}

/// A commit comes while the one before is synced. Returns whether readers see it then.
fn is_seen_too_early() -> bool {
    let engine: Arc<std::sync::OnceLock<Engine>> = Arc::default();
    let committer = Arc::clone(&engine);
    let meanwhile = Arc::new(move || {
        if let Some(engine) = committer.get() {
            engine.execute(&mut engine.worker(), &Command::Set(Set::new(key("late"), ""))).unwrap();
        }
    });
    let busy = Busy { disk: SimDisk::new(), meanwhile };
    let options = Options { segment_bytes: 1 << 20, ..options(Policy::Always) };
    let (opened, _) = Engine::recover(Config::default(), Arc::new(busy), options, 0, 1, &|_| {}).unwrap();
    let mut worker = opened.worker();
    opened.execute(&mut worker, &Command::Set(Set::new(key("first"), ""))).unwrap();
    assert!(engine.set(opened.clone()).is_ok());
    opened.flush(1).unwrap();
    assert!(opened.get_with(&mut worker, b"first", |found| found.is_some()));
    opened.get_with(&mut worker, b"late", |found| found.is_some())
}

#[test]
fn what_comes_during_a_sync_is_not_seen_after_it() {
    assert!(!is_seen_too_early());
    plant(Some(Bug::VisibleIsLast));
    assert!(is_seen_too_early(), "the mistake is found");
}

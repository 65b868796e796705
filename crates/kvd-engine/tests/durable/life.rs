//! One life of a store, from its start until the power goes or it stops: commands, time, sweeps, transactions, rounds of the
//! flusher and snapshots in any order, on one thread, with someone who watches. Each answer is told to the oracle when the store
//! says that it may leave.

mod past;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use kvd_engine::{Config, Engine, Watch, Worker};
use kvd_journal::{Error as JournalError, Options, Policy, Recovery, Report};
use kvd_testkit::chronicle::Chronicle;
use kvd_testkit::crash::{self, Ended};
use kvd_testkit::disk::{Geometry, SimDisk};
use kvd_testkit::durability::{Oracle, Replica, State, Version};
use kvd_types::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::model::{Expected, Model, is_alive};

/// The first few are used most, so that they meet; all of them are some buckets of one segment.
pub(crate) const KEYS: [&str; 21] =
    ["", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];

/// How many are used most.
const HOT_KEYS: usize = 6;

pub(crate) fn key(name: &str) -> Key<'static> {
    Key::new(name.as_bytes().to_vec()).unwrap()
}

pub(crate) fn options(policy: Policy) -> Options {
    Options { epoch: Epoch(0xe90c_0001), entropy: 0x0123_4567_89ab_cdef, segment_bytes: 4096, policy }
}

/// What a workload is like, drawn from its seed.
pub(crate) struct Workload {
    options: Options,
    geometry: Geometry,
    random: SmallRng,
    steps: usize,
    /// The store's time when each commit was made, of all lives.
    times: BTreeMap<Revision, u64>,
    /// Older versions kept of each key, in every life.
    history: usize,
    /// All commits of all lives that survived.
    chronicle: Chronicle,
}

/// What was learnt is a broken promise, with these words.
fn broken<T>(what: String) -> Result<T, Ended> {
    Err(Ended::Broken(what))
}

/// A store in use.
struct Life<'w> {
    random: &'w mut SmallRng,
    times: &'w mut BTreeMap<Revision, u64>,
    history: usize,
    chronicle: &'w mut Chronicle,
    disk: &'w SimDisk,
    oracle: &'w mut Oracle,
    policy: Policy,
    engine: Engine,
    worker: Worker,
    watch: Watch,
    model: Model,
    now_ms: u64,
    /// Answers: when they may leave, and the revision that they tell of.
    answers: Vec<(Revision, Revision)>,
}

/// What a directory holds, by the rule of replay and nothing else.
pub(crate) fn replica(disk: &SimDisk, options: Options) -> Result<(Report, State), JournalError> {
    let mut replica = Replica::default();
    let replayed = Recovery::open(Arc::new(disk.fork()), options)?.load(&mut replica)?;
    Ok((replayed.report().clone(), replica.state))
}

pub(crate) fn open(disk: &SimDisk, options: Options, threads: usize) -> Result<(Engine, Report), JournalError> {
    open_with(Config::default(), disk, options, threads)
}

pub(crate) fn open_with(
    config: Config,
    disk: &SimDisk,
    options: Options,
    threads: usize,
) -> Result<(Engine, Report), JournalError> {
    // A wall clock that was set back as far as it goes.
    Engine::recover(config, Arc::new(disk.clone()), options, 0, threads, &|_| {})
}

/// Whether the store holds exactly this, sizes included, for readers at `now_ms`.
pub(crate) fn compare(engine: &Engine, worker: &mut Worker, state: &State, now_ms: u64) -> Result<(), String> {
    let totals = engine.stats().totals;
    let keys = state.keys().map(|key| key.len() as u64);
    let values = state.values().map(|version| version.value.len() as u64);
    let expected = (state.len() as u64, keys.sum::<u64>(), values.sum::<u64>());
    let found = (totals.keys, totals.key_bytes, totals.value_bytes);
    if found != expected {
        return Err(format!("the sizes are {found:?}, and should be {expected:?}"));
    }
    for key in KEYS.map(key) {
        let expected = state.get(key.as_bytes()).filter(|version| is_alive(version, now_ms));
        let found = get(engine, worker, &key);
        if found.as_ref() != expected {
            return Err(format!("key {key:?} is {found:?}, and should be {expected:?}"));
        }
    }
    Ok(())
}

fn get(engine: &Engine, worker: &mut Worker, key: &Key<'_>) -> Option<Version> {
    let Ok(Reply::Got { entry, .. }) = engine.execute(worker, &Command::Get { key: key.borrow() }) else {
        panic!("a get is not refused");
    };
    let version = |entry: Entry| {
        let Entry { value, content_type, expires_at_ms, revision } = entry;
        Version { revision, value, content_type, expires_at_ms }
    };
    entry.map(version)
}

impl crash::Workload for Workload {
    fn new(seed: u64) -> Workload {
        let mut random = SmallRng::seed_from_u64(seed);
        let policy = [Policy::Always, Policy::Interval(20), Policy::Off][random.random_range(0..3)];
        let (page, sector) = [(64, 16), (512, 512), (4096, 512)][random.random_range(0..3)];
        let options = Options { entropy: random.random(), ..options(policy) };
        let steps = random.random_range(5..40);
        let history = [0, 0, 1, 3][random.random_range(0..4)];
        let (times, chronicle) = (BTreeMap::new(), Chronicle::default());
        Workload { options, geometry: Geometry { page, sector }, random, steps, times, history, chronicle }
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn live(&mut self, disk: &SimDisk, oracle: &mut Oracle) -> Result<(), Ended> {
        let ended = |what: &str, error: JournalError| match error {
            JournalError::DiskFull { .. } => Ended::Full,
            _ if disk.is_dead() || disk.has_failed() => Ended::Dead,
            error => Ended::Broken(format!("{what}: {error}")),
        };
        let (report, state) = replica(disk, self.options).map_err(|error| ended("recovery refuses", error))?;
        if !report.snapshots_damaged.is_empty() {
            return broken(format!("snapshots are damaged: {:?}", report.snapshots_damaged));
        }
        oracle.recovered(report.last, &state).map_err(Ended::Broken)?;
        let config = Config { history: self.history, ..Config::default() };
        let (engine, found) =
            open_with(config, disk, self.options, 3).map_err(|error| ended("the start fails", error))?;
        if found != report {
            return broken(format!("a start finds {found:?}, not {report:?}"));
        }
        let last = engine.stats().revision;
        oracle.resumed(last).map_err(Ended::Broken)?;
        let mut worker = engine.worker();
        // What was seen to be expired stays so, wherever the wall clock stands.
        let now_ms = report.now_ms.max(self.times.get(&report.last).copied().unwrap_or_default());
        compare(&engine, &mut worker, &state, now_ms).map_err(Ended::Broken)?;
        // A start that a crash has ended may have gone on after what it found.
        report.jumps.iter().for_each(|jump| self.chronicle.resume(jump.from, jump.to));
        self.chronicle.resume(report.last, last);
        if self.history > 0 {
            past::compare_past(&engine, &mut worker, &self.chronicle, past::depth(self.history), last)
                .map_err(Ended::Broken)?;
        }
        let mut life = Life {
            random: &mut self.random,
            times: &mut self.times,
            history: self.history,
            chronicle: &mut self.chronicle,
            disk,
            oracle,
            policy: self.options.policy,
            watch: engine.watch(None).expect("the next commit is to come"),
            engine,
            worker,
            model: Model::new(last, state),
            now_ms,
            answers: Vec::new(),
        };
        if life.random.random() {
            life.flush()?;
            let sets = KEYS.map(|name| Set { key: key(name), condition: Condition::Always, ..life.set() }).to_vec();
            life.run(&Command::MultiSet { sets })?;
        }
        for _ in 0..self.steps {
            let stepped = life.step();
            // Also when the power went: what is to be seen now could be seen a moment before.
            life.watch()?;
            stepped?;
            life.answer();
        }
        life.end()
    }
}

impl Life<'_> {
    fn step(&mut self) -> Result<(), Ended> {
        match self.random.random_range(0..100) {
            0..45 => self.write()?,
            45..55 => {
                self.now_ms += self.random.random_range(1..30);
                self.engine.tick(self.now_ms);
            }
            55..60 => self.sweep()?,
            60..68 => self.update()?,
            68..74 => self.read()?,
            74..78 => self.read_past()?,
            78..80 => self.engine.rekey(&mut self.worker),
            80..92 => self.flush()?,
            92..95 => self.unless_dead(self.engine.mark(self.now_ms))?,
            _ => self.snapshot()?,
        }
        Ok(())
    }

    /// Answers leave that may.
    fn answer(&mut self) {
        if self.policy == Policy::Always {
            let visible = self.engine.revision();
            let oracle = &mut *self.oracle;
            self.answers.retain(|(position, told)| {
                if *position <= visible {
                    oracle.acknowledged(*told);
                }
                *position > visible
            });
        }
        self.oracle.acknowledged(self.engine.durability().expect("it has a journal").durable);
    }

    fn write(&mut self) -> Result<(), Ended> {
        let command = match self.random.random_range(0..100) {
            0..8 if self.history > 0 => return self.rollback(),
            0..35 => Command::Set(self.set()),
            35..50 => Command::MultiSet { sets: self.sets() },
            50..60 => Command::Delete(Delete::new(self.key())),
            60..70 => self.append(),
            70..85 => self.transaction(),
            85..95 => {
                let keys = self.keys();
                Command::MultiDelete { deletes: keys.into_iter().map(Delete::new).collect(), require_all: false }
            }
            _ => Command::Clear,
        };
        self.run(&command)
    }

    fn run(&mut self, command: &Command<'static>) -> Result<(), Ended> {
        let expected = self.model.expect(command, self.now_ms);
        let told = self.model.told(command);
        let result = self.engine.execute(&mut self.worker, command);
        let revision = match &result {
            Ok(
                Reply::Set { revision, .. }
                | Reply::MultiSet { revision, .. }
                | Reply::Deleted { revision, .. }
                | Reply::MultiDeleted { revision, .. }
                | Reply::Modified { revision, .. }
                | Reply::Transaction { revision, .. }
                | Reply::Cleared { revision, .. },
            ) => *revision,
            Ok(other) => panic!("{other:?} answers no write"),
            Err(Error::PreconditionFailed { .. } | Error::OperationFailed { .. }) => Revision(0),
            Err(error) => return self.refused(error),
        };
        match expected {
            Expected::Refused if result.is_err() => {}
            Expected::Effects(effects) if effects.is_empty() && result.is_ok() => {}
            Expected::Effects(effects) if result.is_ok() => {
                return self.committed(revision, effects);
            }
            _ => return broken(format!("{command:?} is answered by {result:?}")),
        }
        self.answers.push((self.worker.position(), told));
        Ok(())
    }

    fn committed(&mut self, revision: Revision, effects: Vec<Effect<'static>>) -> Result<(), Ended> {
        if revision.0 != self.model.last().0 + 1 {
            return broken(format!("a commit has revision {revision} after {}", self.model.last()));
        }
        self.model.commit(revision, &effects);
        self.times.insert(revision, self.now_ms);
        self.chronicle.commit(revision, self.now_ms, effects.clone());
        self.oracle.tried(revision, effects);
        self.answers.push((self.worker.position(), revision));
        Ok(())
    }

    /// A write that had no condition that could refuse it.
    fn refused(&self, error: &Error) -> Result<(), Ended> {
        match error {
            Error::JournalFailed if self.disk.is_dead() || self.disk.has_failed() => Err(Ended::Dead),
            Error::DiskFull { .. } if self.engine.durability().expect("it has a journal").is_full => Ok(()),
            error => broken(format!("a write is refused: {error}")),
        }
    }

    fn sweep(&mut self) -> Result<(), Ended> {
        while self.engine.maintain(&mut self.worker) {}
        let effects = self.model.expect_sweep(self.now_ms);
        self.engine.sweep(&mut self.worker, 100);
        let last = self.engine.stats().revision;
        let full = self.engine.durability().expect("it has a journal").is_full;
        if last == self.model.last() {
            return match () {
                () if self.disk.is_dead() || self.disk.has_failed() => Err(Ended::Dead),
                () if effects.is_empty() || full => Ok(()),
                () => broken("the sweep leaves what has expired".to_owned()),
            };
        }
        self.committed(last, effects)
    }

    /// A transaction that reads one key and writes another, alone.
    fn update(&mut self) -> Result<(), Ended> {
        let (read, set) = (self.key(), Set { condition: Condition::Always, ..self.set() });
        let mut update = self.engine.update().expect("few are open");
        let begun = update.revision();
        self.answers.push((update.position(), begun));
        let found = update.get(&self.engine, &mut self.worker, &read).expect("no memory is short");
        let expected = self.model.alive(read.as_bytes(), self.now_ms);
        if begun != self.model.last() || found.map(|entry| entry.revision) != expected.map(|version| version.revision) {
            return broken(format!("an update at {begun} reads {read:?} otherwise"));
        }
        update.set(set.clone()).expect("it is small");
        let Expected::Effects(effects) = self.model.expect(&Command::Set(set), self.now_ms) else {
            panic!("no condition");
        };
        match update.commit(&self.engine, &mut self.worker) {
            Ok(revision) => self.committed(revision, effects),
            Err(error) => self.refused(&error),
        }
    }

    /// A read shows the state that is visible, and leaves at once.
    fn read(&mut self) -> Result<(), Ended> {
        let key = self.key();
        let found = get(&self.engine, &mut self.worker, &key);
        let visible = self.engine.revision();
        let Some(state) = self.model.at(visible) else {
            return broken(format!("readers see revision {visible}, which was never given"));
        };
        let expected = state.get(key.as_bytes()).filter(|version| is_alive(version, self.now_ms));
        if found.as_ref() != expected {
            return broken(format!("at {visible} {key:?} is {found:?}, and should be {expected:?}"));
        }
        if self.policy == Policy::Always {
            self.oracle.acknowledged(visible);
        }
        Ok(())
    }

    /// Who watches sees each commit once, in order; and what it has seen, a reader has.
    fn watch(&mut self) -> Result<(), Ended> {
        while let Poll::Ready(commits) = self.watch.poll_commits(&mut Context::from_waker(Waker::noop()), 3) {
            for commit in commits.expect("far more is kept than is written here") {
                let (revision, place) = (commit.revision(), self.watch.place());
                if revision.0 != place.0 + 1 || self.model.at(revision).is_none() {
                    return broken(format!("commit {revision} is shown after {place}"));
                }
                self.watch.saw(revision);
                if self.policy == Policy::Always {
                    self.oracle.acknowledged(revision);
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Ended> {
        self.unless_dead(self.engine.flush(self.now_ms))
    }

    /// A fuzzy one: writes go on while it walks.
    fn snapshot(&mut self) -> Result<(), Ended> {
        let mut run = match self.engine.begin_snapshot(&mut self.worker) {
            Ok(run) => run.expect("one at a time"),
            Err(JournalError::DiskFull { .. }) => return Ok(()),
            Err(error) => return self.unless_dead::<()>(Err(error)),
        };
        loop {
            for _ in 0..self.random.random_range(0..3) {
                self.write()?;
                if self.random.random_range(0..3) == 0 {
                    self.flush()?;
                }
            }
            match run.advance(&mut self.worker, 1) {
                Ok(true) => {}
                Ok(false) => break,
                Err(JournalError::DiskFull { .. }) => return Ok(()),
                Err(error) => return self.unless_dead::<()>(Err(error)),
            }
        }
        for _ in 0..self.random.random_range(0..3) {
            self.write()?;
        }
        match run.finish(self.now_ms) {
            Err(JournalError::DiskFull { .. }) => Ok(()),
            finished => self.unless_dead(finished),
        }
    }

    /// A failure is final, unless it was a snapshot's alone; either way reads go on, and the life ends.
    fn unless_dead<T>(&self, result: Result<T, JournalError>) -> Result<(), Ended> {
        match result {
            Ok(_) => Ok(()),
            Err(_) if self.disk.is_dead() || self.disk.has_failed() => Err(Ended::Dead),
            Err(error) => broken(format!("a step fails: {error}")),
        }
    }

    fn end(mut self) -> Result<(), Ended> {
        if self.random.random() {
            self.engine.close();
            self.unless_dead(self.engine.finish(self.now_ms))?;
            self.answer();
            if !self.answers.is_empty() && self.policy == Policy::Always {
                return broken("answers wait after a stop in order".to_owned());
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Key<'static> {
        let count = [HOT_KEYS, HOT_KEYS, KEYS.len()][self.random.random_range(0..3)];
        key(KEYS[self.random.random_range(0..count)])
    }

    fn keys(&mut self) -> Vec<Key<'static>> {
        let mut keys = KEYS[..[HOT_KEYS, HOT_KEYS, KEYS.len()][self.random.random_range(0..3)]].to_vec();
        let count = self.random.random_range(1..4);
        (0..count).map(|_| key(keys.swap_remove(self.random.random_range(0..keys.len())))).collect()
    }

    fn append(&mut self) -> Command<'static> {
        let len = [0, 10, 700][self.random.random_range(0..3)];
        let rule = Rule::Append { bytes: Bytes::from(vec![self.random.random::<u8>(); len]) };
        Command::Modify(Modify { key: self.key(), rule, condition: Condition::Always })
    }

    fn transaction(&mut self) -> Command<'static> {
        let checks = (0..self.random.random_range(0..2)).map(|_| {
            let condition = [Condition::Absent, Condition::Exists][self.random.random_range(0..2)].clone();
            Check { key: self.key(), condition }
        });
        let checks = checks.collect();
        let commands = self.branch();
        let otherwise = self.random.random::<bool>().then(|| self.branch());
        Command::Transaction(Transaction { checks, commands, otherwise, on_failure: OnFailure::Abort })
    }

    fn branch(&mut self) -> Vec<Command<'static>> {
        let commands = (0..self.random.random_range(1..5)).map(|_| match self.random.random_range(0..4) {
            0 => Command::Set(self.set()),
            1 => self.append(),
            2 => {
                let (from, to, keep) = (self.key(), self.key(), self.random.random());
                Command::Transfer(Transfer { from, to, replace: true, keep })
            }
            _ => Command::Delete(Delete::new(self.key())),
        });
        commands.collect()
    }

    fn sets(&mut self) -> Vec<Set<'static>> {
        self.keys().into_iter().map(|key| Set { key, ..self.set() }).collect()
    }

    fn set(&mut self) -> Set<'static> {
        let len = [0, 10, 100, 700, 5000][[0, 1, 1, 1, 2, 2, 2, 3, 3, 4][self.random.random_range(0..10)]];
        let key = self.key();
        let random = &mut *self.random;
        Set {
            key,
            value: Bytes::from(vec![random.random::<u8>(); len]),
            content_type: random.random::<bool>().then(|| ContentType::new(b"text/plain").unwrap()),
            ttl: [Ttl::None, Ttl::None, Ttl::Keep, Ttl::Ms(random.random_range(1..60))][random.random_range(0..4)],
            condition: [Condition::Always, Condition::Always, Condition::Absent, Condition::Exists]
                [random.random_range(0..4)]
            .clone(),
        }
    }
}

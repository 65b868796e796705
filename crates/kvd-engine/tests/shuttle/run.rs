//! Running a story: under many schedules, all of which must pass, or with a mistake planted, which one must uncover. Owns the
//! schedulers, the numbers of schedules and their seed; knows nothing of what a story is about.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvd_engine::{Bug, plant};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, Runner};

/// Where the choices of schedules begin: the same in each run, so that a failure comes again.
const SEED: u64 = 0x6b76_6400;

/// Changes of priority in one run of the scheduler that gives threads priorities.
const PCT_DEPTH: usize = 4;

/// Schedules of each kind that are tried with a planted mistake before it counts as not found.
const CAUGHT_SCHEDULES_MAX: usize = 30_000;

/// A story's own number of schedules, of each kind: some seconds for all stories together.
const SCHEDULES: usize = 1_000;

/// Threads run for a while before another has its turn: a random choice at each step hardly ever lets one of them go through a
/// whole commit between two loads of another.
struct Bursts {
    random: RandomScheduler,
    /// Schedules so far: each has bursts of another length.
    schedules: u32,
}

impl Scheduler for Bursts {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.schedules += 1;
        self.random.new_execution()
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let length = [2, 8, 32, 128][self.schedules as usize % 4];
        let stays = |id: &TaskId| runnable.iter().any(|task| task.id() == *id);
        match current.filter(stays) {
            Some(current) if !is_yielding && !self.random.next_u64().is_multiple_of(length) => Some(current),
            _ => self.random.next_task(runnable, current, is_yielding),
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next_u64()
    }
}

/// Runs a story under many schedules.
pub(crate) fn passes(story: fn()) {
    let times = std::env::var("KVD_SCHEDULES").ok();
    let times = times.map_or(1, |times| times.parse().expect("KVD_SCHEDULES says how many times as many schedules"));
    run(story, SCHEDULES * times);
}

/// Runs a story of one thread, which has one schedule.
pub(crate) fn passes_once(story: fn()) {
    run(story, 1);
}

/// Runs a story with `bug` planted until it fails, as it must.
pub(crate) fn catches(bug: Bug, story: fn()) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = {
        let runs = Arc::clone(&runs);
        move || {
            runs.fetch_add(1, Ordering::Relaxed); // only one thread runs
            story();
        }
    };
    plant(Some(bug));
    let outcome = catch_unwind(AssertUnwindSafe(|| run(counted, CAUGHT_SCHEDULES_MAX)));
    plant(None);
    let runs = runs.load(Ordering::Relaxed); // as above
    assert!(outcome.is_err(), "{bug:?} was not caught in {runs} schedules");
    report(bug, runs);
}

#[expect(clippy::print_stderr, reason = "how hard a mistake was to find is for whoever runs this")]
fn report(bug: Bug, runs: usize) {
    eprintln!("{bug:?} was caught in schedule {runs}");
}

fn run(story: impl Fn() + Send + Sync + 'static, schedules: usize) {
    let story = Arc::new(story);
    let mut config = Config::new();
    // An unoptimised engine and its assertions need more than the default.
    config.stack_size = 256 << 10;
    // What weaker orderings do is for loom.
    config.silence_warnings = true;
    let bursts = Bursts { random: RandomScheduler::new_from_seed(SEED, schedules), schedules: 0 };
    let by_bursts = Arc::clone(&story);
    Runner::new(bursts, config.clone()).run(move || by_bursts());
    Runner::new(PctScheduler::new_from_seed(SEED, PCT_DEPTH, schedules), config).run(move || story());
}

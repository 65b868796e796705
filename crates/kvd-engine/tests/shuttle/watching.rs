//! Who watches beside who writes: each commit after its place once, in order, none before readers see it, and no wake-up is lost;
//! also where nothing was queued until it came. Knows nothing of how commits are kept.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kvd_engine::{Bug, Config, Engine, Visibility, Watch};
use kvd_types::{Effect, Revision};
use shuttle::future::block_on;

use crate::client::{key, open, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;

/// Takes in some commits. Returns for each the keys that were on it.
fn take_in(engine: &Engine, watch: &mut Watch, commits: Vec<std::sync::Arc<kvd_engine::Change>>) -> Vec<Vec<u64>> {
    let keys = |effect: Effect<'_>| match effect {
        Effect::Put { key: named, .. } | Effect::Delete { key: named, .. } => {
            if named == key(X) {
                X
            } else {
                Y
            }
        }
        Effect::Clear => 0,
    };
    let mut seen = Vec::new();
    for commit in commits {
        assert_eq!(commit.revision(), Revision(watch.place().0 + 1), "the next one, once");
        assert!(commit.revision() <= engine.revision(), "a watch is ahead of readers");
        watch.saw(commit.revision());
        seen.push(commit.effects().into_iter().map(keys).collect());
    }
    seen
}

/// A watch that waits beside two writers and a flusher, which sleeps when it finds nothing.
fn watching_beside_writers() {
    let engine = open(Visibility::WhenDurable, 1);
    let mut watch = engine.watch(Some(Revision(1))).unwrap();
    let writers = [X, Y].map(|key| spawn(&engine, move |client| client.set(key, 1)));
    let flusher = spawn(&engine, |client| {
        let mut flushed = 0;
        while flushed < 2 {
            client.engine.sleep_until_commits(Duration::from_secs(1));
            flushed += client.engine.flush(0).unwrap();
        }
    });
    let watcher = spawn(&engine, move |client| {
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let commits = block_on(poll_fn(|context| watch.poll_commits(context, 1))).unwrap();
            seen.extend(take_in(&client.engine, &mut watch, commits));
        }
        seen
    });
    for writer in writers {
        writer.join().unwrap();
    }
    flusher.join().unwrap();
    let mut seen = watcher.join().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [[X], [Y]]);
}

/// The first watch of a store without a journal, beside commits of every kind, and someone else who hands commits on.
fn the_first_watch() {
    let engine = Engine::open(Config { segment_buckets_max: 1, ..Config::default() });
    let writer = spawn(&engine, |client| {
        client.set(X, 1);
        client.multi_set(&[(X, 2), (Y, 2)]);
        client.clear();
        client.set(Y, 3);
    });
    let watcher = spawn(&engine, |client| client.engine.watch(None).unwrap());
    let relay = spawn(&engine, |client| client.engine.flush(0).unwrap());
    writer.join().unwrap();
    relay.join().unwrap();
    let mut watch = watcher.join().unwrap();
    let begun = watch.place().0;
    engine.flush(0).unwrap();
    let mut seen = Vec::new();
    while let Poll::Ready(commits) = watch.poll_commits(&mut Context::from_waker(Waker::noop()), 1) {
        let commits = commits.expect("all is kept that came after it began");
        seen.extend(take_in(&engine, &mut watch, commits));
    }
    let all = [vec![X], vec![X, Y], vec![0], vec![Y]];
    assert_eq!(seen, all[usize::try_from(begun).unwrap()..], "begun after {begun}");
}

#[test]
fn a_watch_sees_what_readers_see_and_is_woken() {
    passes(watching_beside_writers);
}

#[test]
fn a_look_for_commits_before_the_lock_is_caught() {
    catches(Bug::CheckedThenRegistered, watching_beside_writers);
}

#[test]
fn the_first_watch_of_a_store_misses_nothing() {
    passes(the_first_watch);
}

#[test]
fn a_commit_that_does_not_look_whether_someone_watches_is_caught() {
    catches(Bug::QueueNotChecked, the_first_watch);
}

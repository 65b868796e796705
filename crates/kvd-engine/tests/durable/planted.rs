//! Each mistake that is planted where the store meets its disk is found by the test that is there for it.

use kvd_engine::{Bug, plant};
use kvd_testkit::crash::explore;

use crate::crash::SUBSETS;
use crate::life::Workload;

/// Images after which a mistake counts as missed.
const IMAGES: u64 = 10_000;

/// The crash test finds it, and says this.
fn found(bug: Bug, expected: &[&str]) {
    plant(Some(bug));
    let found = explore::<Workload>(1, IMAGES, SUBSETS).expect_err("the mistake is found");
    assert!(expected.iter().any(|text| found.contains(text)), "{bug:?} shows itself otherwise: {found}");
}

/// The same for one of the journal's.
fn found_in_journal(bug: kvd_journal::Bug, expected: &[&str]) {
    kvd_journal::plant(Some(bug));
    let found = explore::<Workload>(1, IMAGES, SUBSETS).expect_err("the mistake is found");
    assert!(expected.iter().any(|text| found.contains(text)), "{bug:?} shows itself otherwise: {found}");
}

#[test]
fn a_refusal_that_does_not_wait_is_found() {
    found(Bug::RefusedAtOnce, &["was acknowledged"]);
}

#[test]
fn a_begin_that_does_not_wait_is_found() {
    found(Bug::BeginAtOnce, &["was acknowledged"]);
}

#[test]
fn a_sweep_that_the_journal_does_not_know_of_is_found() {
    found(Bug::SweepNotJournalled, &["and should be absent"]);
}

#[test]
fn a_watch_that_is_ahead_of_the_disk_is_found() {
    found(Bug::WatchedBeforeSync, &["was acknowledged"]);
}

#[test]
fn a_time_that_is_not_journalled_is_found() {
    // What had expired is back, as a read shows, or a delete that finds it; or what is set after the start goes before its time.
    let signs = ["and should be None", "a commit has revision", "is None, and should be Some"];
    found(Bug::TimeNotJournalled, &signs);
}

#[test]
fn a_snapshot_before_its_end_is_durable_is_found() {
    found(Bug::SnapshotNotSynced, &["before the snapshot of"]);
}

#[test]
fn a_snapshot_without_older_versions_is_found() {
    found(Bug::SnapshotWithoutPast, &["the history of"]);
}

#[test]
fn a_result_that_outgrows_its_room_is_found() {
    found(Bug::RoomByEstimate, &["came without room of its own", "a write is refused: the journal has failed"]);
}

#[test]
fn acknowledging_before_the_sync_is_found() {
    found_in_journal(kvd_journal::Bug::DurableBeforeSync, &["was acknowledged", "before the snapshot of"]);
}

#[test]
fn revisions_without_a_jump_are_found() {
    found_in_journal(kvd_journal::Bug::NoJump, &["revisions go on after"]);
}

#[test]
fn a_snapshot_without_its_tail_is_found() {
    found_in_journal(kvd_journal::Bug::NoTail, &["snapshots are damaged"]);
}

//! Each mistake that is planted into this crate is found by the test that is there for it.

use kvd_journal::{Bug, plant};
use kvd_testkit::crash::explore;

use crate::crash::{self, SUBSETS};
use crate::run::Workload;

/// Images after which a mistake counts as missed.
const IMAGES: u64 = 20_000;

/// The crash test finds it, and says this.
fn found_by_crashes(bug: Bug, expected: &[&str]) {
    plant(Some(bug));
    let found = explore::<Workload>(1, IMAGES, SUBSETS).expect_err("the mistake is found");
    assert!(expected.iter().any(|text| found.contains(text)), "{bug:?} shows itself otherwise: {found}");
}

#[test]
fn acknowledging_before_the_sync_is_found() {
    found_by_crashes(Bug::DurableBeforeSync, &["was acknowledged", "before the snapshot of"]);
}

#[test]
fn refusing_whatever_has_a_valid_record_behind_it_is_found() {
    found_by_crashes(Bug::NaiveTail, &["recovery refuses"]);
}

#[test]
fn a_segment_before_the_old_one_is_synced_is_found() {
    found_by_crashes(Bug::SegmentTooEarly, &["recovery refuses"]);
}

#[test]
fn revisions_without_a_jump_are_found() {
    found_by_crashes(Bug::NoJump, &["revisions go on after"]);
}

#[test]
fn a_tail_that_is_not_copied_is_found() {
    found_by_crashes(Bug::TailStays, &["recovery refuses", "was acknowledged"]);
}

#[test]
fn a_start_on_names_that_are_not_durable_is_found() {
    plant(Some(Bug::NamesNotSynced));
    let found = crash::kill_then_cut().expect_err("the mistake is found");
    assert!(found.contains("are missing"), "{found}");
}

#[test]
fn a_snapshot_before_its_end_is_durable_is_found() {
    found_by_crashes(Bug::SnapshotTooEarly, &["before the snapshot of"]);
}

#[test]
fn a_purge_before_the_snapshot_has_its_name_is_found() {
    plant(Some(Bug::SnapshotNameNotSynced));
    let found = crash::purge_then_cut().expect_err("the mistake is found");
    assert!(found.contains("are missing"), "{found}");
}

#[test]
fn a_snapshot_without_its_tail_is_found() {
    found_by_crashes(Bug::NoTail, &["snapshots are damaged"]);
}

//! Power cuts and kills at calls of random workloads of a whole store, also during a start. The testkit says where a life ends.
//! `KVD_CRASH_IMAGES` and `KVD_CRASH_SEED` make it longer, or begin elsewhere; a failure names the seed to begin with.

use kvd_testkit::crash;

use crate::life::Workload;

/// Images of one crash point.
pub(crate) const SUBSETS: u64 = 1;

#[test]
fn what_was_answered_survives_every_crash() {
    let done = crash::explore_as_asked::<Workload>(5_000, SUBSETS).unwrap_or_else(|what| panic!("{what}"));
    println!("{done} images recovered");
}

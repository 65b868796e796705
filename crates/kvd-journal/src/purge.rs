//! What may go from a directory: everything that the two newest whole snapshots don't need. Reads each of them once, since
//! one that is not on the disk as it was made is no way back; what a start has loaded is known already.

use kvd_types::Revision;

use crate::disk::Disk;
use crate::error::Error;
use crate::planted::{self, Bug};
use crate::segment::{self, Header};
use crate::snapshot::{self, Snapshot, Snapshots};

/// What a purge removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Names of files, oldest first.
    pub removed: Vec<String>,
    /// Snapshots that were found damaged, each with what is wrong. They stay until two newer whole ones are there.
    pub damaged: Vec<(String, String)>,
}

/// `known` are the snapshots that were read and found whole, here or at the start.
pub(crate) fn purge(directory: &Snapshots, disk: &dyn Disk, known: &mut Vec<Revision>) -> Result<Purged, Error> {
    let location = disk.location();
    let names = disk.list().map_err(Error::io("list", &location))?;
    let mut purged = Purged::default();
    let keep = if planted::is(Bug::PurgeToNewest) { 1 } else { 2 };
    let mut whole: Vec<Revision> = Vec::new();
    let snapshots = snapshot::revisions(&names);
    for revision in snapshots.iter().rev() {
        let checked = if known.contains(revision) { Ok(()) } else { check(disk, *revision) };
        match checked {
            Ok(()) => whole.push(*revision),
            Err(Error::Damaged { file, what, .. }) => purged.damaged.push((file, what)),
            Err(error) => return Err(error),
        }
        if whole.len() == keep {
            break;
        }
    }
    known.clone_from(&whole);
    let Some(oldest) = whole.get(keep - 1).copied() else { return Ok(purged) };
    // A name that was only seen may be gone after a power cut; what is removed then must not be missed.
    if !planted::is(Bug::SnapshotNameNotSynced) {
        directory.sync_dir("make the names durable of", &location)?;
    }
    let mut remove = |name: String| {
        disk.remove(&name).map_err(Error::io("remove", &name))?;
        purged.removed.push(name);
        Ok(())
    };
    for revision in snapshots.iter().filter(|revision| **revision < oldest) {
        remove(snapshot::name(*revision))?;
    }
    for pair in segment::numbers(&names).windows(2) {
        let next = segment::name(pair[1]);
        let file = disk.open(&next).map_err(Error::io("open", &next))?;
        // The segment holds nothing after what the next one begins behind.
        if Header::read(&*file, pair[1])?.base > oldest {
            break;
        }
        remove(segment::name(pair[0]))?;
    }
    directory.sync_dir("make the names durable of", &location)?;
    Ok(purged)
}

/// Reads all of a snapshot.
fn check(disk: &dyn Disk, revision: Revision) -> Result<(), Error> {
    Snapshot::open(disk, revision)?.check()
}

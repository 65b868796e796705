//! The durable half of the store: a journal of effects in the order of their revisions, snapshots that make its
//! beginning unnecessary, and recovery, which finds out what a directory holds. Knows effects and revisions; knows
//! nothing of the index, of clients, of clocks or of threads.
//!
//! The bytes are in `docs/FORMAT.md`; what is told here is why they are enough.
//!
//! # The road of a commit
//!
//! | step | who | what |
//! |---|---|---|
//! | [`Room::reserve`] | the committer | takes preallocated, synced space, by a [`BatchSize`]; the last step that can refuse |
//! | [`Encoded::new`] | the committer | effects to bytes, before the commit has a revision |
//! | [`Writer::append`] | the flusher | stamps revisions, frames a *group*, writes it |
//! | [`Writer::sync_if_due`] | the flusher | by [`Policy`]; then [`Writer::durable`] says what is on disk |
//! | [`Writer::make_room`] | the flusher | begins the next segment before the room in this one runs out |
//! | [`Writer::mark`], [`Writer::close`] | the flusher | says how far the journal is durable when no group follows that would |
//!
//! A write is *done*, *refused* (nothing has happened), or *of unknown outcome* (appended, and then a write or a sync
//! failed). A failed write or sync is final: the kernel may have thrown the pages away and call the next sync a success,
//! so nothing is retried and every later call fails until the process starts again.
//!
//! # What may be cut, and what is damage
//!
//! A power cut may lose, tear or reorder everything written since the last sync. So the journal may end in the middle,
//! with valid records after the hole. That looks like rot in the middle of the file; what tells them apart is `synced`:
//! each record says how far the journal was durable when it was written.
//!
//! ```text
//!   | 41 synced=40 | 42 synced=40 |  bad  | 44 synced=40 |    nobody says that 43 was durable: cut, it was not acknowledged
//!   | 41 synced=40 | 42 synced=40 |  bad  | 44 synced=43 |    44 says so: damage, the start is refused
//! ```
//!
//! What stands before a segment's successor was synced before the successor got its name, so there everything bad is
//! damage. After the last group, when idle and at a clean stop, a *mark* follows, which protects that group as well.
//!
//! Every start begins a new segment. What the last one holds beyond what is known to be durable is copied into it, and
//! all of it is synced before it gets its name: what was read from the kernel's cache and not from the disk becomes
//! durable before anybody relies on it, and no leftover of the old tail can ever follow a new record. After an unclean
//! stop, revisions jump by [`REVISION_JUMP`]: some may have been given, seen and lost, and none is given twice.
//!
//! # Snapshots
//!
//! A snapshot is *fuzzy*: it pins nothing. R0 = LAST; the caller walks its index and adds each key's newest version with
//! its revision; R1 = LAST; the journal is synced to R1 and its batches R0+1 to R1 are appended, the *tail*. Entries,
//! then the tail by the rule below, are exactly the state at R1.
//!
//! Where history is kept ([`Recovery::keep_history`]), a snapshot has each key's older versions too, newest first, and deleted
//! keys of which some are kept; and commits have their time, so that it comes back with them. Such files are of format 2. What a
//! snapshot can't tell from its keys is in its [`Past`].
//!
//! # The rule of replay
//!
//! The caller's, since it holds the keys. A batch names each key at most once, or it is one clear. In the order in which
//! batches come:
//!
//! | effect, in a batch of revision r | |
//! |---|---|
//! | put, delete | applies unless the key is there with a revision of r or higher |
//! | clear | removes every key whose revision is lower than r, and no other |
//!
//! A key's entry may be newer than the first batches of the tail, and then they must not touch it. A clear is no
//! exception: a fuzzy snapshot has keys that were written after a clear in its tail, and they must survive it. It is a
//! barrier for all keys: who replays in parallel by key waits there. A deleted key needs no tombstone: a batch older
//! than a deletion comes before it.
//!
//! # A door that stays open
//!
//! A replicated log asks for the same calls, and finds their place here: an entry's index is the revision, and its term goes
//! into a record beside the group's; a suffix is taken back as every start does it, by a next segment that says that this one
//! ends earlier; a prefix goes by `purge`; a vote is a further kind of record, in the same order as the others.

mod batch;
mod batch_size;
mod disk;
mod error;
mod group;
mod inspect;
mod planted;
mod purge;
mod read;
mod real_disk;
mod record;
mod recover;
mod report;
mod room;
mod segment;
mod snapshot;
mod walk;
mod writer;

pub use batch::{Batch, COPIED_BYTES_MIN, Encoded, Stamp};
pub use batch_size::{BatchSize, TooLarge};
pub use disk::{Disk, DiskFile, DiskLock};
pub use error::{Error, Refused};
pub use group::{Commit, Group};
pub use inspect::{Inspected, What, inspect};
#[cfg(feature = "planted")]
pub use planted::{Bug, plant};
pub use purge::Purged;
pub use read::between;
pub use real_disk::RealDisk;
pub use recover::{Load, Options, Recovery, Replayed, Share, check, lock_shared};
pub use report::{Cut, Jump, Report};
pub use room::{Purpose, Reservation, Room};
pub use snapshot::{Chunk, Content, ENTRY_BYTES, Entry, History, Past, Snapshot, SnapshotWriter, Snapshots, Version};
pub use walk::Place;
pub use writer::{Policy, Writer};

/// The newest version of the format that this crate reads.
pub const FORMAT: u32 = 2;

/// What is written where no history is kept: every kvd reads it.
const FORMAT_PLAIN: u32 = 1;

/// What is written where history is kept: commits have their times, snapshots have older versions.
const FORMAT_HISTORY: u32 = 2;

/// How far revisions jump after an unclean stop, and so how far LAST may run ahead of the disk.
pub const REVISION_JUMP: u64 = 1 << 24;

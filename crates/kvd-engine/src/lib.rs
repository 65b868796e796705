//! The key-value store: an index of records, commits that change any number of keys at once, and the counters.
//!
//! ```
//! use kvd_engine::{Config, Engine};
//! use kvd_types::{Command, Condition, Key, Reply, Set};
//!
//! let engine = Engine::open(Config::default());
//! let mut worker = engine.worker();
//! let key = Key::new(b"greeting")?;
//! let set = Set { condition: Condition::Absent, ..Set::new(key.borrow(), "hello") };
//! engine.execute(&mut worker, &Command::Set(set))?;
//! let Reply::Got { entry: Some(entry), .. } = engine.execute(&mut worker, &Command::Get { key })? else { panic!() };
//! assert_eq!(entry.value, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The door
//!
//! [`Engine::execute`] carries out a command. [`Engine::get_with`] shows a value without copying it, [`Engine::get_many`] looks
//! many keys up with their memory asked for ahead. [`Engine::view`] and [`Engine::update`] are transactions of many calls, in
//! which commands are carried out, too ([`View::execute`], [`Update::execute`]). Each thread that serves brings a [`Worker`]: its
//! counters, its pin, its retired memory. The engine never sees a socket, and reads no clock, no randomness and no environment:
//! time comes by [`Engine::tick`], the rest in [`Config`].
//!
//! # The commit protocol
//!
//! **Commit order.** Every commit gets the next revision inside one small mutex, SEQ (`sequence`). There it is also queued for
//! the journal and published, so that the order of revisions, of the journal and of visibility are one. Before SEQ everything can
//! be taken back and no revision is used; after it nothing can fail. Who sees commit `r` sees all commits up to `r`.
//!
//! | | a commit of several keys | readers |
//! |---|---|---|
//! | lock the homes of all keys, lowest address first | other writers of these buckets wait | go on |
//! | judge conditions on the newest commits | refused, or: | |
//! | install a node in each slot, revision 0 | | take `old` |
//! | SEQ: revision 8, queued, **stored once** in what all nodes point at | this is the commit | take `new`, of every key |
//! | settle each slot, unlock | | take the record |
//!
//! ```text
//!            before             under way                committed                settled
//!  slot a -> record 5    slot a -> node{rec,5}--.   slot a -> node{rec,5}--.    slot a -> record 8
//!  slot b -> record 7    slot b -> node{rec,7}--+>0 slot b -> node{rec,7}--+>8  slot b -> record 8
//! ```
//!
//! *Short cut*: a commit of one key, while nobody reads below the newest (seen inside SEQ), needs no node: the slot takes the
//! record inside SEQ, just before VISIBLE moves.
//!
//! **Reads take nothing**: loads only, no retry, no wait, wherever a writer is descheduled.
//!
//! ```text
//!  now = NOW, first of all;  p = slot
//!  p is a record:  take it                               (a plain slot is visible to everyone)
//!  p is a node:    o = p.old, r = p.revision, v = VISIBLE, in this order, afresh each time
//!                  0 < r <= v: take p.new;  else p = o, again
//!  what was taken is absent if it is a tombstone, or expired at now
//! ```
//!
//! The order matters: settling takes from behind a node only what no read point asks for, so whoever loaded `old` before and
//! finds nothing there finds `r` and VISIBLE, loaded after, to show the node.
//!
//! **Which versions stay.** A *read point* is a revision at which someone may still read: a transaction's, VISIBLE, and the end
//! of the group that is being synced. A version of revision `a` with a successor of revision `b` goes when no read point lies in
//! `a..b`. A later read point is one of today's or at least LAST, so it can't ask for what went. What had to stay is noted
//! (`settle`) and looked at again when the oldest read point has moved. Where history is kept, so many versions behind the newest
//! stay as well, also those of a deleted key, until newer ones push them out (`history` tells for how long).
//!
//! **Many keys, one revision.** A multi-get of up to 128 keys reads twice; if both passes find the same records (for absent keys:
//! no change to their bucket), that is the state at the highest revision seen. Otherwise it pins a read point, as views do.
//! Updates lock what they read together with what they write, and ask that nothing they read has changed.
//!
//! **What looks before it writes.** A rule ([`Modify`](kvd_types::Modify)) is applied, and a transaction of one request carried
//! out, under the locks of the homes of all keys it names (`commit`: *decide*). So it is in conflict with nobody, and never tried
//! again for another's sake. How long the result is shows only there: if it takes more room than was made, all is unlocked, room
//! is made, and it begins again. The journal gets results, never rules.
//!
//! | | reads | writes | a conflict |
//! |---|---|---|---|
//! | [`Transaction`](kvd_types::Transaction) | the newest commits, locked | on top, then one commit | never |
//! | [`Update`] | the state of its revision | on top, then one commit | if what an answer told of has changed |
//! | [`View`] | the state of its revision | none | never |
//!
//! The first two carry out the same commands by the same code (`overlay`).
//!
//! **Clear** is a commit on the *root*, the one word above the directory, which is to all keys what a node is to one: a new root
//! {table, before, since} is installed, and gets its revision inside SEQ. A get resolves it first. Every commit looks inside SEQ
//! whether the root it began under is still the newest; if not, it begins again (`index/root` draws the states).
//!
//! **Chosen keys.** A bucket far too full for chance makes all keys move to a table that a keyed hash orders. Bucket by bucket:
//! the words are stored in their new homes, then the old bucket is marked as moved, and whoever meets the mark goes on to the
//! next root (`index/rekey`).
//!
//! # Durability
//!
//! [`Engine::recover`] opens the store of a directory, [`Engine::open`] one without. A commit takes its room in the journal
//! before it locks anything, and is queued as bytes inside SEQ. The flusher's round ([`Engine::flush`]) brings what is queued to
//! the disk. An answer may leave when readers see its position ([`Worker::position`], [`Engine::reached`]); `flusher` tells which
//! command has which. Snapshots walk the index while it is in use ([`SnapshotRun`]); with the journal's tail they are one
//! revision.
//!
//! # Memory
//!
//! A write asks for room before it has locked anything (`room` has the order in which it is looked for). Where keys are evicted,
//! that is a commit of its own, before the write's: a delete with the reason [`kvd_types::Reason::Evicted`]. Which keys go is
//! told by how often they were used (`evict`), and a get leaves that on its worker's own lines (`uses`).
//!
//! # Watching
//!
//! [`Engine::watch`] shows every commit from a place on, in order, as far as readers see it. The rounds of the flusher hand on
//! the batches that the journal was given, and the newest are kept in memory (`changes`): a watch has no queue of its own, so a
//! slow one costs nothing, and loses its place when that is not kept any more. A store without a journal begins to queue its
//! commits when the first watch begins.
//!
//! # Reclamation
//!
//! | state of a record | who can reach it | how it gets there |
//! |---|---|---|
//! | draft | its writer | allocated |
//! | published | everyone pinned | stored in a slot, or in a node |
//! | unlinked, retired | who was pinned before | overwritten, settled, or taken back |
//! | free | nobody | two epochs later |
//!
//! A pin is one plain store to a line of the worker's own; how that can be enough without a fence is told in `reclaim`. Epoch
//! pins last one call; transactions hold read points, which keep versions of what changes but no epoch.

mod buffers;
mod changes;
mod clear;
mod commit;
mod current;
mod duplicates;
mod engine;
mod evict;
mod expire;
mod flusher;
mod frequency;
mod history;
mod index;
mod judge;
mod load;
mod moment;
mod mutation;
mod one_shot;
mod overlay;
mod own_writes;
mod planted;
mod read;
mod reclaim;
mod recover;
mod rekey;
mod room;
mod rule;
mod sequence;
mod settle;
mod snapshot;
mod sorted;
mod stats;
mod sync;
mod transaction;
mod uses;
mod waiting;
mod walk;
mod write;

pub use buffers::Buffers;
pub use changes::{Change, NotKept, Watch};
pub use engine::{Config, Engine, Worker};
pub use evict::MemoryPolicy;
pub use flusher::Durability;
pub use kvd_journal::Place;
pub use read::Found;
pub use recover::Loading;
pub use sequence::{Batch, Visibility};
pub use snapshot::{SnapshotRun, Snapshotted};
pub use stats::{Operations, Stats, Totals, Watching};
pub use transaction::{Update, View};
pub use waiting::Reached;

#[cfg(any(kvd_loom, kvd_shuttle, feature = "planted"))]
pub use planted::{Bug, plant};

/// From this length on, in bytes, a value is not copied: the store shares it with who brought it.
pub const SHARED_BYTES: usize = index::SHARED_BYTES;

//! A store that is all journal: what the engine will do around this crate, without an index.

use std::sync::Arc;

use bytes::Bytes;
use kvd_journal::{
    Batch, Commit, Disk, Encoded, Entry, Error, Group, History, Load, Options, Past, Policy, Purpose, Recovery,
    Refused, Replayed, Report, Reservation, Share, Snapshot, Writer,
};
use kvd_testkit::disk::SimDisk;
use kvd_testkit::durability::{Replica, Version};
use kvd_types::{Effect, Epoch, Key, Reason, Revision};

pub(crate) const EPOCH: Epoch = Epoch(0xe90c_0001);

pub(crate) fn options(policy: Policy) -> Options {
    Options { epoch: EPOCH, entropy: 0x0123_4567_89ab_cdef, segment_bytes: 4096, policy }
}

pub(crate) fn key(name: &str) -> Key<'static> {
    Key::new(name.as_bytes().to_vec()).unwrap()
}

pub(crate) fn put(name: &str, value: impl Into<Bytes>) -> Effect<'static> {
    Effect::Put { key: key(name), value: value.into(), content_type: None, expires_at_ms: None }
}

pub(crate) fn delete(name: &str) -> Effect<'static> {
    Effect::Delete { key: key(name), reason: Reason::Asked }
}

/// What a directory holds, without going on in it.
pub(crate) fn recover<D: Disk + Clone + 'static>(disk: &D, options: Options) -> Result<(Replayed, Replica), Error> {
    recover_from(Recovery::open(Arc::new(disk.clone()), options)?)
}

fn recover_from(recovery: Recovery) -> Result<(Replayed, Replica), Error> {
    let mut replica = Replica::default();
    let replayed = recovery.load(&mut replica)?;
    Ok((replayed, replica))
}

/// What a directory holds, as commits.
#[derive(Default)]
pub(crate) struct Commits {
    pub(crate) past: Option<Past>,
    /// Of the snapshot.
    pub(crate) histories: Vec<History<'static>>,
    pub(crate) commits: Vec<Commit>,
}

impl Load for Commits {
    fn begin(&mut self, _: Epoch, snapshot: Option<&Snapshot>) -> Result<(), Error> {
        *self = Commits::default();
        let Some(snapshot) = snapshot else { return Ok(()) };
        self.past = snapshot.past().cloned();
        for index in 0..snapshot.chunks_count() {
            self.histories.extend(snapshot.chunk(index)?.histories()?.unwrap_or_default());
        }
        Ok(())
    }

    fn group(&mut self, group: Group, _: Share) -> Result<(), Error> {
        group.commits(&mut |commit| {
            self.commits.push(commit);
            Ok(())
        })
    }
}

pub(crate) struct Store {
    pub(crate) writer: Writer,
    pub(crate) replica: Replica,
    pub(crate) report: Report,
    /// The newest revision given.
    pub(crate) last: Revision,
    pub(crate) now_ms: u64,
    /// Whether commits have their time.
    keeps_history: bool,
}

impl Store {
    pub(crate) fn open<D: Disk + Clone + 'static>(disk: &D, options: Options) -> Result<Store, Error> {
        Store::resume(recover(disk, options)?)
    }

    /// The same where history is kept.
    pub(crate) fn open_with_history(disk: &SimDisk, options: Options) -> Result<Store, Error> {
        let recovery = Recovery::open(Arc::new(disk.clone()), options)?;
        let store = Store::resume(recover_from(recovery.keep_history())?)?;
        Ok(Store { keeps_history: true, ..store })
    }

    fn resume((replayed, replica): (Replayed, Replica)) -> Result<Store, Error> {
        let report = replayed.report().clone();
        Ok(Store::of(replayed.resume(0)?, replica, report))
    }

    pub(crate) fn of(writer: Writer, replica: Replica, report: Report) -> Store {
        let (last, now_ms) = (writer.last(), writer.now_ms());
        Store { writer, replica, report, last, now_ms, keeps_history: false }
    }

    /// Room for a commit, made if need be; `Ok(Err(..))` when it is refused.
    pub(crate) fn reserve(
        &mut self,
        effects: &[Effect<'static>],
    ) -> Result<Result<(Encoded, Reservation), Refused>, Error> {
        let encoded = Encoded::at(self.keeps_history.then_some(self.now_ms), effects).unwrap();
        let only_deletes = effects.iter().all(|effect| matches!(effect, Effect::Delete { .. } | Effect::Clear));
        let purpose = if only_deletes { Purpose::Delete } else { Purpose::Write };
        let room = self.writer.room();
        // Another one's wish that was too large may cost a round.
        for _ in 0..3 {
            let reserved = room.reserve(encoded.size(), purpose, self.last);
            let Err(Refused::Wait { .. }) = reserved else {
                return Ok(reserved.map(|reservation| (encoded, reservation)));
            };
            match self.writer.make_room() {
                Ok(_) | Err(Error::DiskFull { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        panic!("there is room, or the disk is full: nobody waits for ever");
    }

    /// The commit gets its revision: from here on nothing refuses it.
    pub(crate) fn give(&mut self, reserved: (Encoded, Reservation), effects: &[Effect<'static>]) -> Batch {
        self.last.0 += 1;
        self.replica.apply(self.last, effects);
        Batch { revision: self.last, encoded: reserved.0, reservation: reserved.1 }
    }

    /// A commit, appended and not synced.
    pub(crate) fn commit(&mut self, effects: &[Effect<'static>]) -> Revision {
        let reserved = self.reserve(effects).unwrap().unwrap();
        let batch = self.give(reserved, effects);
        self.writer.append(vec![batch], self.now_ms).unwrap();
        self.last
    }

    /// A snapshot of what is there.
    pub(crate) fn snapshot(&mut self) -> Result<(), Error> {
        let mut snapshot = self.writer.snapshots().begin(self.last)?;
        for (key, version) in &self.replica.state {
            snapshot.add(&entry(key, version))?;
        }
        self.writer.sync()?;
        snapshot.finish(self.last, self.writer.durable(), self.now_ms)
    }
}

pub(crate) fn entry<'a>(key: &'a [u8], version: &Version) -> Entry<'a> {
    let Version { revision, value, content_type, expires_at_ms } = version.clone();
    Entry { key: Key::new(key).unwrap(), value, content_type, expires_at_ms, revision }
}

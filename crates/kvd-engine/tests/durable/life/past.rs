//! What a life asks of the past, and brings back from it, and that the answers are the chronicle's. Knows nothing of how a life
//! ends.

use kvd_engine::{Engine, Worker};
use kvd_journal::Policy;
use kvd_testkit::chronicle::{Chronicle, Depth};
use kvd_testkit::crash::Ended;
use kvd_types::*;
use rand::RngExt;

use super::{KEYS, Life, broken, key};

/// All deletions are remembered: which are forgotten depends on when snapshots were made.
pub(super) fn depth(older: usize) -> Depth {
    Depth { older, deletions: usize::MAX - 1 }
}

/// Whether all keys have the past that the chronicle tells, for who sees commits up to `newest`.
pub(super) fn compare_past(
    engine: &Engine,
    worker: &mut Worker,
    chronicle: &Chronicle,
    depth: Depth,
    newest: Revision,
) -> Result<(), String> {
    for key in KEYS.map(key) {
        let versions = chronicle.history(&key, depth, newest);
        let mut revisions: Vec<Revision> =
            versions.iter().flat_map(|item| [item.revision, Revision(item.revision.0 - 1)]).collect();
        revisions.extend([newest, Revision(newest.0 + 1), Revision(newest.0.saturating_sub(1)), Revision(0)]);
        let expected = Ok(Reply::History { revision: newest, versions });
        let found = engine.execute(worker, &Command::History { key: key.borrow() });
        if found != expected {
            return Err(format!("the history of {key:?} is {found:?}, and should be {expected:?}"));
        }
        for revision in revisions {
            let expected = chronicle.at(&key, revision, depth, newest);
            let expected = expected
                .map(|entry| Reply::Got { revision: entry.as_ref().map_or(revision, |entry| entry.revision), entry });
            let found = engine.execute(worker, &Command::GetAt { key: key.borrow(), revision });
            if found != expected {
                return Err(format!("{key:?} at {revision} is {found:?}, and should be {expected:?}"));
            }
        }
    }
    Ok(())
}

impl Life<'_> {
    /// A read of the past, of all keys, leaves at once.
    pub(super) fn read_past(&mut self) -> Result<(), Ended> {
        let visible = self.engine.revision();
        if self.history > 0 {
            compare_past(&self.engine, &mut self.worker, self.chronicle, depth(self.history), visible)
                .map_err(Ended::Broken)?;
            if self.policy == Policy::Always {
                self.oracle.acknowledged(visible);
            }
        }
        Ok(())
    }

    /// What a key had at a revision, which is judged by the newest commits.
    pub(super) fn rollback(&mut self) -> Result<(), Ended> {
        let (key, last) = (self.key(), self.model.last());
        let to = Revision(last.0.saturating_sub(self.random.random_range(0..10)));
        let rollback = Command::Rollback(Rollback { key: key.clone(), to, condition: Condition::Always });
        let old = self.chronicle.at(&key, to, depth(self.history), last);
        let told = self.model.told(&rollback);
        match (self.engine.execute(&mut self.worker, &rollback), old) {
            (Ok(Reply::RolledBack { revision }), Ok(Some(Entry { value, content_type, .. }))) => {
                self.committed(revision, vec![Effect::Put { key, value, content_type, expires_at_ms: None }])
            }
            (Err(Error::NoVersion { .. }), Ok(None)) => {
                self.answers.push((self.worker.position(), told));
                Ok(())
            }
            (Err(error), Err(expected)) if error == expected => {
                self.answers.push((self.worker.position(), told));
                Ok(())
            }
            (Err(error), Ok(Some(_))) => self.refused(&error),
            (found, expected) => broken(format!("{rollback:?} is answered by {found:?} where it was {expected:?}")),
        }
    }
}

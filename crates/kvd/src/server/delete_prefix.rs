//! Deleting all keys with a prefix: a walk over the keys, and a commit for each page of it. Owns that loop; to who looks on, some
//! keys are gone and others not yet, and what others add meanwhile may stay.

use kvd_engine::{Engine, Worker};
use kvd_types::{Command, Delete, Error, Key, List, ListValues, Reply, Revision};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::response::Answer;

/// Keys of a commit. Few enough that it holds nobody up.
const BATCH_KEYS: usize = 1_000;

/// What went.
#[derive(Default)]
pub(super) struct Deletion {
    pub(super) deleted: u64,
    /// The last commit's; where nothing was deleted, the one that was looked at.
    pub(super) revision: Revision,
    /// What the answer waits for.
    pub(super) position: Revision,
    /// Why not all of them did. To be told when what went is there to stay: it says how many.
    pub(super) failure: Option<Problem>,
}

/// Deletes all keys that begin with `prefix`, or those before the store took no more deletes. Long work, for a thread that serves
/// no one.
pub(super) fn delete_prefix(engine: &Engine, prefix: &Key<'_>, answer: &Answer) -> Deletion {
    let mut worker = engine.worker();
    let mut done = Deletion::default();
    loop {
        match walk(engine, &mut worker, prefix, &mut done) {
            Ok(()) => return done,
            // Its keys were put into another order: those that are left are found from the begin.
            Err(Error::StaleCursor) => {}
            Err(error) => {
                done.failure = Some(answer.refuse_whole(error).after(&format!("{} keys were deleted", done.deleted)));
                return done;
            }
        }
    }
}

fn walk(engine: &Engine, worker: &mut Worker, prefix: &Key<'_>, done: &mut Deletion) -> Result<(), Error> {
    let mut cursor = None;
    loop {
        let list = List { prefix: prefix.borrow(), limit: BATCH_KEYS, cursor, values: ListValues::None };
        let page = match engine.execute(worker, &Command::List(list))? {
            Reply::Page(page) => page,
            other => unreachable!("a list is answered with a page: {other:?}"),
        };
        done.revision = done.revision.max(page.revision);
        let deletes: Vec<Delete<'_>> = page.items.into_iter().map(|item| Delete::new(item.key)).collect();
        if !deletes.is_empty() {
            match engine.execute(worker, &Command::MultiDelete { deletes, require_all: false })? {
                Reply::MultiDeleted { revision, deleted, .. } => {
                    done.deleted += deleted as u64;
                    done.revision = revision;
                    done.position = done.position.max(worker.position());
                }
                other => unreachable!("a delete of many is answered as one: {other:?}"),
            }
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

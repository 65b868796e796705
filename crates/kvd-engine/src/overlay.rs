//! Commands on keys that lie below, one after the other, each seeing what those before it did: own writes lie on top until all
//! are committed together. Owns what each command means there; where the keys below come from, and how the writes are committed,
//! is told by who brings an [`Overlay`].
//!
//! | | below | on top becomes |
//! |---|---|---|
//! | one-shot transaction (`one_shot`) | the newest commits, locked | the commit that holds the locks |
//! | interactive (`transaction`) | the state of its revision; every look is remembered | a commit that asks for it again |

use std::borrow::Cow;

use bytes::Bytes;
use kvd_types::{
    Command, ContentType, Delete, Entry, Error, Key, Modify, Reason, Reply, Revision, Rule, Set, Transfer, Transferred,
    Ttl,
};

use crate::engine::Store;
use crate::index::Version;
use crate::moment::Moment;
use crate::mutation::Mutation;
use crate::rule::{self, Held, Outcome};
use crate::stats::Tally;
use crate::{duplicates, judge};

/// What stands for the revision of a commit that has none yet: no condition on a revision or a tag holds for it.
pub(crate) const PENDING: Revision = Revision(0);

/// A write that is not committed yet.
#[derive(Clone)]
pub(crate) enum Write {
    Put {
        value: Bytes,
        content_type: Option<ContentType>,
        /// `Keep` keeps what lies below.
        ttl: Ttl,
    },
    Delete,
}

impl Write {
    pub(crate) fn set(set: &Set<'_>) -> Write {
        Write::Put { value: set.value.clone(), content_type: set.content_type.clone(), ttl: set.ttl }
    }

    pub(crate) fn value_len(&self) -> usize {
        match self {
            Write::Put { value, .. } => value.len(),
            Write::Delete => 0,
        }
    }

    /// What it comes to at the commit, for a key that is in the state `alive`. None where nothing is there to delete.
    pub(crate) fn mutation(&self, alive: Option<Version<'_>>, moment: Moment) -> Option<Mutation<'static>> {
        match self.clone() {
            Write::Put { value, content_type, ttl } => Some(Mutation::Put {
                value: Cow::Owned(value),
                content_type: content_type.map(Cow::Owned),
                expires_at_ms: moment.expires_at_ms(ttl, alive.map(|version| version.record.expires_at_ms())),
            }),
            Write::Delete => alive.is_some().then_some(Mutation::Delete(Reason::Asked)),
        }
    }

    /// As it is when it comes after `before`: a set that says `Keep` keeps what that leaves.
    pub(crate) fn after(self, before: Option<&Write>, moment: Moment) -> Write {
        match (self, before) {
            (Write::Put { value, content_type, ttl: Ttl::Keep }, Some(before)) => {
                let ttl = match before {
                    Write::Put { ttl, .. } if before.is_alive(moment) => *ttl,
                    // Nothing is there any more that could be kept.
                    Write::Put { .. } | Write::Delete => Ttl::Default,
                };
                Write::Put { value, content_type, ttl }
            }
            (write, _) => write,
        }
    }

    /// Whether the key has a value by it.
    pub(crate) fn is_alive(&self, moment: Moment) -> bool {
        match self {
            // What lies below is alive when its expiry is kept.
            Write::Put { ttl: Ttl::Keep, .. } => true,
            Write::Put { ttl, .. } => moment.is_before(moment.expires_at_ms(*ttl, None)),
            Write::Delete => false,
        }
    }
}

/// Keys, with own writes on top of what lies below.
pub(crate) trait Overlay {
    /// When this is.
    fn moment(&self) -> Moment;

    /// What answers have for a revision that tell of no own write; those that do have [`PENDING`].
    fn revision(&self) -> Revision;

    /// What the key holds below.
    fn below(&mut self, key: &Key<'_>) -> Result<Option<Entry>, Error>;

    /// The newest own write of the key.
    fn own(&self, key: &Key<'_>) -> Option<&Write>;

    /// A write to come on top.
    fn put_on_top(&mut self, key: &Key<'_>, write: Write) -> Result<(), Error>;

    /// What has been done so far.
    fn tally(&mut self) -> &mut Tally;

    /// What the key holds, own writes included.
    fn look(&mut self, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        let moment = self.moment();
        let Some(own) = self.own(key).cloned() else { return self.below(key) };
        let Write::Put { value, content_type, ttl } = own else { return Ok(None) };
        let before = if ttl == Ttl::Keep { self.below(key)?.map(|entry| entry.expires_at_ms) } else { None };
        let expires_at_ms = moment.expires_at_ms(ttl, before);
        let entry = Entry { value, content_type, expires_at_ms, revision: PENDING };
        Ok(moment.is_before(expires_at_ms).then_some(entry))
    }

    /// What the answer to a command has for a revision that was to write.
    fn revision_after(&self, has_written: bool) -> Revision {
        if has_written { PENDING } else { self.revision() }
    }

    fn write(&mut self, key: &Key<'_>, write: Write) -> Result<(), Error> {
        let write = write.after(self.own(key), self.moment());
        self.put_on_top(key, write)
    }
}

/// Carries out one command.
///
/// # Errors
/// As outside a transaction; [`Error::NotInTransaction`] for what has no keys to look at.
pub(crate) fn execute(keys: &mut impl Overlay, store: &Store, command: &Command<'_>) -> Result<Reply, Error> {
    match command {
        Command::Get { key } => {
            let entry = keys.look(key)?;
            keys.tally().get(entry.is_some());
            Ok(Reply::Got { entry, revision: keys.revision() })
        }
        Command::Peek { key } => Ok(Reply::Got { entry: keys.look(key)?, revision: keys.revision() }),
        Command::MultiGet { keys: names, require_all } => multi_get(keys, store, names, *require_all),
        Command::Set(set) => {
            let before = keys.look(&set.key)?;
            judge::one(&set.condition, before.as_ref(), store.epoch)?;
            self::set(keys, set)?;
            Ok(Reply::Set { revision: PENDING, created: before.is_none() })
        }
        Command::MultiSet { sets } => multi_set(keys, store, sets),
        Command::Delete(delete) => {
            let before = keys.look(&delete.key)?;
            judge::one(&delete.condition, before.as_ref(), store.epoch)?;
            self::delete(keys, &delete.key, before.is_some())?;
            Ok(Reply::Deleted { revision: keys.revision_after(before.is_some()), found: before.is_some() })
        }
        Command::MultiDelete { deletes, require_all } => multi_delete(keys, store, deletes, *require_all),
        Command::Modify(modify) => self::modify(keys, store, modify),
        Command::Transfer(transfer) => self::transfer(keys, transfer),
        Command::Transaction(_)
        | Command::List(_)
        | Command::ListSorted(_)
        | Command::Clear
        | Command::GetAt { .. }
        | Command::History { .. }
        | Command::Rollback(_) => Err(not_in_transaction(command)),
    }
}

/// The refusal of a command that has no place in a read-write transaction.
pub(crate) fn not_in_transaction(command: &Command<'_>) -> Error {
    let what = match command {
        Command::List(_) | Command::ListSorted(_) => {
            "a list inside a read-write transaction is refused: what it doesn't show can't be checked at the commit; list \
             in a read-only one"
        }
        Command::GetAt { .. } | Command::History { .. } | Command::Rollback(_) => {
            "old versions inside a transaction are refused: read them before it begins"
        }
        Command::Clear => "a clear inside a transaction is refused: it is a commit of its own",
        _ => "a transaction inside a transaction is refused: name its commands in this one",
    };
    Error::NotInTransaction { what }
}

fn look_all<'k>(
    keys: &mut impl Overlay,
    names: impl Iterator<Item = &'k Key<'k>>,
) -> Result<Vec<Option<Entry>>, Error> {
    names.map(|key| keys.look(key)).collect()
}

fn set(keys: &mut impl Overlay, set: &Set<'_>) -> Result<(), Error> {
    keys.write(&set.key, Write::set(set))?;
    keys.tally().sets += 1;
    Ok(())
}

fn delete(keys: &mut impl Overlay, key: &Key<'_>, is_there: bool) -> Result<(), Error> {
    if is_there {
        keys.write(key, Write::Delete)?;
    }
    keys.tally().deletes += 1;
    keys.tally().delete_misses += usize::from(!is_there);
    Ok(())
}

fn multi_get(keys: &mut impl Overlay, store: &Store, names: &[Key<'_>], require_all: bool) -> Result<Reply, Error> {
    let entries = look_all(keys, names.iter())?;
    store.limits.check_batch_bytes(entries.iter().flatten().map(|entry| entry.value.len()).sum())?;
    let missing: Vec<usize> = (0..entries.len()).filter(|item| entries[*item].is_none()).collect();
    if require_all && !missing.is_empty() {
        return Err(Error::Missing { missing, total: entries.len() });
    }
    entries.iter().for_each(|entry| keys.tally().get(entry.is_some()));
    Ok(Reply::MultiGot { revision: keys.revision(), entries })
}

fn multi_set(keys: &mut impl Overlay, store: &Store, sets: &[Set<'_>]) -> Result<Reply, Error> {
    if sets.is_empty() {
        return Err(Error::EmptyBatch);
    }
    duplicates::refuse(&sets.iter().map(|set| &set.key).collect::<Vec<_>>())?;
    let before = look_all(keys, sets.iter().map(|set| &set.key))?;
    judge::all(sets.iter().map(|set| &set.condition), before.iter().map(Option::as_ref), store.epoch)?;
    sets.iter().try_for_each(|set| self::set(keys, set))?;
    let replaced = before.iter().flatten().count();
    Ok(Reply::MultiSet { revision: PENDING, created: sets.len() - replaced, replaced })
}

fn multi_delete(
    keys: &mut impl Overlay,
    store: &Store,
    deletes: &[Delete<'_>],
    require_all: bool,
) -> Result<Reply, Error> {
    if deletes.is_empty() {
        return Err(Error::EmptyBatch);
    }
    let earlier = duplicates::earlier(&deletes.iter().map(|delete| &delete.key).collect::<Vec<_>>());
    let before = look_all(keys, deletes.iter().map(|delete| &delete.key))?;
    judge::all(deletes.iter().map(|delete| &delete.condition), before.iter().map(Option::as_ref), store.epoch)?;
    let is_there = |at: usize| before[at].is_some() && !earlier[at];
    let missing: Vec<usize> = (0..deletes.len()).filter(|at| !is_there(*at)).collect();
    let deleted = deletes.len() - missing.len();
    if require_all && !missing.is_empty() {
        return Err(Error::Missing { missing, total: deletes.len() });
    }
    deletes.iter().enumerate().try_for_each(|(at, delete)| self::delete(keys, &delete.key, is_there(at)))?;
    Ok(Reply::MultiDeleted { revision: keys.revision_after(deleted > 0), deleted, missing: missing.len() })
}

fn modify(keys: &mut impl Overlay, store: &Store, modify: &Modify<'_>) -> Result<Reply, Error> {
    let before = keys.look(&modify.key)?;
    judge::one(&modify.condition, before.as_ref(), store.epoch)?;
    let outcome = rule::apply(&modify.rule, before.as_ref().map(Held::from), keys.moment(), &store.limits)?;
    let write = match outcome {
        Outcome::Unchanged => {
            return Ok(Reply::Modified { revision: keys.revision(), entry: before, changed: false });
        }
        Outcome::Value(value) => {
            Write::Put { value, content_type: before.and_then(|entry| entry.content_type), ttl: Ttl::Keep }
        }
        Outcome::Expiry(_) => {
            let entry = before.expect("only what is there has an expiry");
            let Rule::Expire { ttl, .. } = modify.rule else { unreachable!("no other rule changes an expiry") };
            // As it was asked for: a time to live counts from the commit, which may come much later.
            Write::Put { value: entry.value, content_type: entry.content_type, ttl }
        }
        Outcome::Delete => Write::Delete,
    };
    keys.write(&modify.key, write)?;
    keys.tally().sets += usize::from(!matches!(modify.rule, Rule::Expire { .. }));
    Ok(Reply::Modified { revision: PENDING, entry: keys.look(&modify.key)?, changed: true })
}

fn transfer(keys: &mut impl Overlay, transfer: &Transfer<'_>) -> Result<Reply, Error> {
    let Transfer { from, to, replace, keep } = transfer;
    let source = keys.look(from)?;
    let target_exists = !replace && keys.look(to)?.is_some();
    let outcome = match source {
        None => Transferred::NoSource,
        Some(_) if target_exists => Transferred::TargetExists,
        // It has what it had.
        Some(_) if from == to => Transferred::Done,
        Some(Entry { value, content_type, expires_at_ms, .. }) => {
            keys.write(to, Write::Put { value, content_type, ttl: expires_at_ms.map_or(Ttl::None, Ttl::At) })?;
            keys.tally().sets += 1;
            if !keep {
                delete(keys, from, true)?;
            }
            Transferred::Done
        }
    };
    let has_written = outcome == Transferred::Done && from != to;
    Ok(Reply::Transferred { revision: keys.revision_after(has_written), outcome })
}

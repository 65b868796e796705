//! Commands that change keys, one or many by a commit of their own: what each decides once it has looked, and what it answers.
//! Owns neither the steps of a commit (`commit`) nor what rules come to (`rule`).

use kvd_types::{Delete, Entry, Error, Key, Modify, Reason, Reply, Revision, Rule, Set, Ttl};

use crate::commit;
use crate::current::Current;
use crate::engine::{Store, Worker};
use crate::index::Version;
use crate::moment::Moment;
use crate::mutation::{Demand, Mutation};
use crate::planted::{self, Bug};
use crate::rule::{self, Held, Outcome};
use crate::{duplicates, judge, read};

pub(crate) fn set(store: &Store, worker: &mut Worker, set: &Set<'_>) -> Result<Reply, Error> {
    let mut created = false;
    let committed = commit::one(store, worker, &set.key, Demand::NONE.set(set), |current, moment, _| {
        judge::one(&set.condition, current.alive, store.epoch)?;
        created = current.alive.is_none();
        Ok(Some(Mutation::set(set, current.alive, moment)))
    })?;
    worker.counters.sets(1);
    Ok(Reply::Set { revision: committed.revision, created })
}

pub(crate) fn delete(store: &Store, worker: &mut Worker, delete: &Delete<'_>) -> Result<Reply, Error> {
    let mut found = false;
    let committed = commit::one(store, worker, &delete.key, Demand::NONE.delete(&delete.key), |current, _, _| {
        judge::one(&delete.condition, current.alive, store.epoch)?;
        found = current.alive.is_some();
        Ok(found.then_some(Mutation::Delete(Reason::Asked)))
    })?;
    worker.counters.deletes(1, usize::from(!found));
    Ok(Reply::Deleted { revision: committed.revision, found })
}

pub(crate) fn multi_set(store: &Store, worker: &mut Worker, sets: &[Set<'_>]) -> Result<Reply, Error> {
    if sets.is_empty() {
        return Err(Error::EmptyBatch);
    }
    let keys: Vec<&Key<'_>> = sets.iter().map(|set| &set.key).collect();
    duplicates::refuse(&keys)?;
    let demand = sets.iter().fold(Demand::NONE, Demand::set);
    let mut replaced = 0;
    let committed = commit::many(store, worker, &keys, demand, |current, moment, _| {
        judge::all(sets.iter().map(|set| &set.condition), current.iter().map(|current| current.alive), store.epoch)?;
        replaced = current.iter().filter(|current| current.alive.is_some()).count();
        let mutation = |(set, current): (_, &Current<'_>)| Mutation::set(set, current.alive, moment);
        Ok(sets.iter().zip(current).map(mutation).enumerate().collect())
    })?;
    worker.counters.sets(sets.len());
    Ok(Reply::MultiSet { revision: committed.revision, created: sets.len() - replaced, replaced })
}

pub(crate) fn multi_delete(
    store: &Store,
    worker: &mut Worker,
    deletes: &[Delete<'_>],
    require_all: bool,
) -> Result<Reply, Error> {
    if deletes.is_empty() {
        return Err(Error::EmptyBatch);
    }
    let keys: Vec<&Key<'_>> = deletes.iter().map(|delete| &delete.key).collect();
    let earlier = duplicates::earlier(&keys);
    let demand = keys.iter().fold(Demand::NONE, |demand, key| demand.delete(key));
    let committed = commit::many(store, worker, &keys, demand, |current, _, _| {
        let conditions = deletes.iter().map(|delete| &delete.condition);
        judge::all(conditions, current.iter().map(|current| current.alive), store.epoch)?;
        let is_missing = |at: &usize| current[*at].alive.is_none() || earlier[*at];
        let (missing, found): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(is_missing);
        if require_all && !missing.is_empty() {
            return Err(Error::Missing { missing, total: keys.len() }.into());
        }
        Ok(found.into_iter().map(|at| (at, Mutation::Delete(Reason::Asked))).collect())
    })?;
    let (deleted, missing) = (committed.changed, deletes.len() - committed.changed);
    worker.counters.deletes(deletes.len(), missing);
    Ok(Reply::MultiDeleted { revision: committed.revision, deleted, missing })
}

/// Keys whose time has come are removed; those that were given a later one meanwhile stay. Returns how many went.
pub(crate) fn expire(store: &Store, worker: &mut Worker, keys: &[&Key<'_>]) -> Result<usize, Error> {
    let demand = keys.iter().fold(Demand::NONE, |demand, key| demand.delete(key));
    let committed = commit::many(store, worker, keys, demand, |current, _, _| {
        let has_ended = |(_, current): &(usize, &Current<'_>)| current.newest.is_some() && current.alive.is_none();
        let ended = current.iter().enumerate().filter(has_ended);
        Ok(ended.map(|(at, _)| (at, Mutation::Delete(Reason::Expired))).collect())
    })?;
    Ok(committed.changed)
}

/// The rule is applied under the lock of the key's home, to the newest commit: it is never in conflict with another.
pub(crate) fn modify(store: &Store, worker: &mut Worker, modify: &Modify<'_>) -> Result<Reply, Error> {
    // Room for what a look at the key promises; under the lock it may turn out to be more.
    let value_len = || read::value_len(store, worker, &modify.key);
    let result_len = rule::result_bytes_max(&modify.rule, value_len, &store.limits);
    let demand = Demand::NONE.put_at_most(&modify.key, result_len);
    let seen = planted::is(Bug::RuleBeforeLock).then(|| read::too_early(store, worker, &modify.key));
    let mut entry = None;
    let committed = commit::one(store, worker, &modify.key, demand, |current, moment, demand| {
        judge::one(&modify.condition, current.alive, store.epoch)?;
        let held = match &seen {
            Some(seen) => seen.as_ref().map(Held::from),
            None => current.alive.map(Held::from),
        };
        let outcome = rule::apply(&modify.rule, held, moment, &store.limits)?;
        let is_changed = outcome != Outcome::Unchanged;
        entry = after(outcome, current.alive, moment);
        if !is_changed {
            return Ok(None);
        }
        let mutation = Mutation::to(entry.as_ref());
        commit::check_room(demand, Demand::NONE.mutation(&modify.key, &mutation))?;
        Ok(Some(mutation))
    })?;
    let changed = committed.changed > 0;
    if let Some(entry) = entry.as_mut().filter(|_| changed) {
        entry.revision = committed.revision;
    }
    if !matches!(modify.rule, Rule::Expire { .. }) {
        worker.counters.sets(committed.changed);
    }
    Ok(Reply::Modified { revision: committed.revision, entry, changed })
}

/// What the key holds then; the commit gives it its revision.
fn after(outcome: Outcome, alive: Option<Version<'_>>, moment: Moment) -> Option<Entry> {
    let revision = Revision(0);
    match outcome {
        Outcome::Unchanged => alive.map(|version| version.record.entry(version.revision)),
        Outcome::Value(value) => {
            let content_type = alive.and_then(|version| version.record.content_type());
            let before = alive.map(|version| version.record.expires_at_ms());
            Some(Entry { value, content_type, expires_at_ms: moment.expires_at_ms(Ttl::Keep, before), revision })
        }
        Outcome::Expiry(expires_at_ms) => {
            alive.map(|version| Entry { expires_at_ms, ..version.record.entry(revision) })
        }
        Outcome::Delete => None,
    }
}

//! Transactions of one request: all keys are named beforehand, so their homes are locked, the checks are judged, and the commands
//! carried out in one commit that is never in conflict with another. Owns what a branch is and what is answered; what a command
//! means is `overlay`'s, how a commit is made `commit`'s.
//!
//! The keys of both branches are locked, since which of them is taken shows only then. Without a change there is no commit, and
//! what was read is the newest state all the same: nobody could change it in between.

use std::collections::{BTreeMap, BTreeSet};

use kvd_types::{
    Check, Command, Entry, Error, ItemFailure, Key, Modify, OnFailure, Reply, Revision, Rule, Transaction, Transfer,
};

use crate::commit::{self, Mutations};
use crate::current::Current;
use crate::engine::{Store, Worker};
use crate::moment::Moment;
use crate::mutation::Demand;
use crate::overlay::{self, Overlay, PENDING, Write};
use crate::planted::{self, Bug};
use crate::stats::{self, Tally};
use crate::{judge, read, rule};

/// What a transaction came to.
struct Outcome {
    failed_checks: Vec<ItemFailure>,
    replies: Vec<Result<Reply, Error>>,
    tally: Tally,
}

pub(crate) fn transaction(store: &Store, worker: &mut Worker, transaction: &Transaction<'_>) -> Result<Reply, Error> {
    let (revision, outcome) = run(store, worker, transaction)?;
    let Outcome { failed_checks, replies, .. } = outcome;
    Ok(Reply::Transaction { revision, failed_checks, replies })
}

/// A transfer is a transaction of one command.
pub(crate) fn transfer(store: &Store, worker: &mut Worker, transfer: &Transfer<'_>) -> Result<Reply, Error> {
    let commands = vec![Command::Transfer(transfer.clone())];
    let transaction = Transaction { checks: Vec::new(), commands, otherwise: None, on_failure: OnFailure::Continue };
    let (_, mut outcome) = run(store, worker, &transaction)?;
    outcome.replies.pop().expect("an answer to each command")
}

fn run(store: &Store, worker: &mut Worker, transaction: &Transaction<'_>) -> Result<(Revision, Outcome), Error> {
    let Transaction { checks, commands, otherwise, on_failure } = transaction;
    let named = Named::by(transaction)?;
    let seen = planted::is(Bug::ChecksBeforeLock).then(|| {
        let current: Vec<_> = checks.iter().map(|check| read::too_early(store, worker, &check.key)).collect();
        judge::failures(checks.iter().map(|check| &check.condition), current.iter().map(Option::as_ref), store.epoch)
    });
    let demand = demand(store, worker, commands);
    let mut outcome = None;
    let committed = commit::many(store, worker, &named.keys, demand, |current, moment, demand| {
        let failed_checks = seen.clone().unwrap_or_else(|| named.failures(checks, current, store));
        let (branch, first) = match otherwise {
            _ if failed_checks.is_empty() => (commands, 0),
            Some(otherwise) => (otherwise, commands.len()),
            None => {
                return Err(Error::PreconditionFailed { failures: failed_checks, total: checks.len() }.into());
            }
        };
        let own = vec![None; current.len()];
        let mut keys = Locked { named: &named, current, moment, own, tally: Tally::default() };
        let replies = carry_out(&mut keys, store, branch, first, *on_failure)?;
        let mutations = keys.mutations();
        let needed =
            mutations.iter().fold(Demand::NONE, |needed, (at, mutation)| needed.mutation(named.keys[*at], mutation));
        commit::check_room(demand, needed)?;
        outcome = Some(Outcome { failed_checks, replies, tally: keys.tally });
        Ok(mutations)
    })?;
    let mut outcome = outcome.expect("a commit has decided");
    outcome.replies.iter_mut().for_each(|reply| fill_in(reply, committed.revision));
    worker.counters.tally(&outcome.tally);
    Ok((committed.revision, outcome))
}

/// Each command in turn; `first` is the position of the first for an error.
fn carry_out(
    keys: &mut Locked<'_, '_, '_>,
    store: &Store,
    commands: &[Command<'_>],
    first: usize,
    on_failure: OnFailure,
) -> Result<Vec<Result<Reply, Error>>, Error> {
    let mut replies = Vec::with_capacity(commands.len());
    let mut bytes = 0;
    for (index, command) in commands.iter().enumerate() {
        let reply = overlay::execute(keys, store, command);
        match &reply {
            // The answer is built in memory.
            Ok(reply) => bytes += value_bytes(command, reply),
            Err(_) if on_failure == OnFailure::Continue => keys.tally.rejected += stats::keys_written(command),
            Err(error) => {
                return Err(Error::OperationFailed { index: first + index, error: Box::new(error.clone()) });
            }
        }
        store.limits.check_batch_bytes(bytes)?;
        replies.push(reply);
    }
    Ok(replies)
}

/// The keys that a transaction names, each once.
struct Named<'c> {
    keys: Vec<&'c Key<'c>>,
    positions: BTreeMap<&'c [u8], usize>,
}

impl<'c> Named<'c> {
    /// # Errors
    /// [`Error::NotInTransaction`] for commands that name none.
    fn by(transaction: &'c Transaction<'c>) -> Result<Named<'c>, Error> {
        let mut named = Named { keys: Vec::new(), positions: BTreeMap::new() };
        transaction.checks.iter().for_each(|check| named.add(&check.key));
        for command in transaction.commands.iter().chain(transaction.otherwise.iter().flatten()) {
            match command {
                Command::Get { key } | Command::Peek { key } => named.add(key),
                Command::MultiGet { keys, .. } => keys.iter().for_each(|key| named.add(key)),
                Command::Set(set) => named.add(&set.key),
                Command::MultiSet { sets } => sets.iter().for_each(|set| named.add(&set.key)),
                Command::Delete(delete) => named.add(&delete.key),
                Command::MultiDelete { deletes, .. } => deletes.iter().for_each(|delete| named.add(&delete.key)),
                Command::Modify(modify) => named.add(&modify.key),
                Command::Transfer(transfer) => {
                    named.add(&transfer.from);
                    named.add(&transfer.to);
                }
                Command::Transaction(_)
                | Command::List(_)
                | Command::ListSorted(_)
                | Command::Clear
                | Command::GetAt { .. }
                | Command::History { .. }
                | Command::Rollback(_) => {
                    return Err(overlay::not_in_transaction(command));
                }
            }
        }
        Ok(named)
    }

    fn add(&mut self, key: &'c Key<'c>) {
        self.positions.entry(key.as_bytes()).or_insert_with(|| {
            self.keys.push(key);
            self.keys.len() - 1
        });
    }

    fn position(&self, key: &Key<'_>) -> usize {
        self.positions[key.as_bytes()]
    }

    fn failures(&self, checks: &[Check<'_>], current: &[Current<'_>], store: &Store) -> Vec<ItemFailure> {
        let held = checks.iter().map(|check| current[self.position(&check.key)].alive);
        judge::failures(checks.iter().map(|check| &check.condition), held, store.epoch)
    }
}

/// Keys whose homes are locked, with own writes on top.
struct Locked<'a, 'c, 'g> {
    named: &'a Named<'c>,
    current: &'a [Current<'g>],
    moment: Moment,
    /// By position.
    own: Vec<Option<Write>>,
    tally: Tally,
}

impl Locked<'_, '_, '_> {
    /// What differs in the end from what was there.
    fn mutations(&self) -> Mutations<'static> {
        let mutation =
            |(own, current): (&Option<Write>, &Current<'_>)| own.as_ref()?.mutation(current.alive, self.moment);
        let mutations = self.own.iter().zip(self.current).map(mutation).enumerate();
        mutations.filter_map(|(at, mutation)| Some((at, mutation?))).collect()
    }
}

impl Overlay for Locked<'_, '_, '_> {
    fn moment(&self) -> Moment {
        self.moment
    }

    fn revision(&self) -> Revision {
        PENDING
    }

    fn below(&mut self, key: &Key<'_>) -> Result<Option<Entry>, Error> {
        let alive = self.current[self.named.position(key)].alive;
        Ok(alive.map(|version| version.record.entry(version.revision)))
    }

    fn own(&self, key: &Key<'_>) -> Option<&Write> {
        self.own[self.named.position(key)].as_ref()
    }

    fn put_on_top(&mut self, key: &Key<'_>, write: Write) -> Result<(), Error> {
        self.own[self.named.position(key)] = Some(write);
        Ok(())
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

/// Room for what a look at the keys promises; under the locks it may turn out to be more.
pub(crate) fn demand(store: &Store, worker: &mut Worker, commands: &[Command<'_>]) -> Demand {
    let mut modified = BTreeSet::new();
    commands.iter().fold(Demand::NONE, |demand, command| match command {
        Command::Set(set) => demand.set(set),
        Command::MultiSet { sets } => sets.iter().fold(demand, Demand::set),
        Command::Delete(delete) => demand.delete(&delete.key),
        Command::MultiDelete { deletes, .. } => {
            deletes.iter().fold(demand, |demand, delete| demand.delete(&delete.key))
        }
        Command::Modify(Modify { key, rule, .. }) => {
            // What the key holds already is counted once, however often it is added to.
            let is_first = modified.insert(key.as_bytes());
            let value_len = || if is_first { read::value_len(store, worker, key) } else { 0 };
            demand.put_at_most(key, rule::result_bytes_max(rule, value_len, &store.limits))
        }
        Command::Transfer(Transfer { from, to, .. }) => {
            demand.put_at_most(to, read::value_len(store, worker, from)).delete(from)
        }
        _ => demand,
    })
}

/// What an answer shows, or has made.
fn value_bytes(command: &Command<'_>, reply: &Reply) -> usize {
    let is_old = matches!(command, Command::Modify(Modify { rule: Rule::Expire { .. }, .. }));
    match reply {
        Reply::Got { entry, .. } | Reply::Modified { entry, .. } if !is_old => {
            entry.iter().map(|entry| entry.value.len()).sum()
        }
        Reply::MultiGot { entries, .. } => entries.iter().flatten().map(|entry| entry.value.len()).sum(),
        _ => 0,
    }
}

/// The commit's revision where an answer tells of it.
fn fill_in(reply: &mut Result<Reply, Error>, committed: Revision) {
    let fill = |revision: &mut Revision| {
        if *revision == PENDING {
            *revision = committed;
        }
    };
    match reply {
        Ok(Reply::Got { entry, revision } | Reply::Modified { entry, revision, .. }) => {
            entry.iter_mut().for_each(|entry| fill(&mut entry.revision));
            fill(revision);
        }
        Ok(Reply::MultiGot { entries, revision }) => {
            entries.iter_mut().flatten().for_each(|entry| fill(&mut entry.revision));
            fill(revision);
        }
        Ok(
            Reply::Set { revision, .. }
            | Reply::MultiSet { revision, .. }
            | Reply::Deleted { revision, .. }
            | Reply::MultiDeleted { revision, .. }
            | Reply::Transferred { revision, .. },
        ) => fill(revision),
        Err(Error::PreconditionFailed { failures, .. }) => {
            failures.iter_mut().filter_map(|failure| failure.have.as_mut()).for_each(|have| fill(&mut have.revision));
        }
        Ok(
            Reply::Transaction { .. }
            | Reply::Page(_)
            | Reply::SortedPage(_)
            | Reply::Cleared { .. }
            | Reply::History { .. }
            | Reply::RolledBack { .. },
        ) => unreachable!("refused inside a transaction"),
        Err(_) => {}
    }
}

//! What the store should hold and answer: a map, time, and one way to carry out a command, alone or as one of many. Knows what
//! commands mean; nothing of how they are carried out.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kvd_engine::Operations;
use kvd_types::*;

/// Keys with what they hold, those included whose time has come and that were not swept.
pub(crate) type State = BTreeMap<Vec<u8>, Entry>;

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) state: State,
    pub(crate) revision: u64,
    pub(crate) now_ms: u64,
    pub(crate) default_ttl_ms: Option<u64>,
    pub(crate) limits: Limits,
    pub(crate) operations: Operations,
}

/// Commands under way, on top of a state.
pub(crate) struct Run<'m> {
    model: &'m Model,
    /// What answers have for a revision that tell of no own write.
    pub(crate) revision: Revision,
    /// The same for own writes, and for those that do.
    pub(crate) own_revision: Revision,
    /// What keys are to hold; none for nothing.
    pub(crate) own: BTreeMap<Vec<u8>, Option<Entry>>,
    pub(crate) counted: Operations,
    /// Keys of the state that an answer tells of.
    pub(crate) looked_at: BTreeSet<Vec<u8>>,
}

impl Model {
    pub(crate) fn alive(&self, key: &[u8]) -> Option<Entry> {
        self.state.get(key).filter(|entry| entry.expires_at_ms.is_none_or(|at| at > self.now_ms)).cloned()
    }

    pub(crate) fn run(&self, revision: u64) -> Run<'_> {
        let (own, counted, looked_at) = Default::default();
        let revision = Revision(revision);
        Run { model: self, revision, own_revision: revision, own, counted, looked_at }
    }

    /// Carries out a command by itself.
    pub(crate) fn execute(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        let result = self.limits.check(command).map_err(Error::from).and_then(|()| match command {
            Command::Transaction(transaction) => self.transaction(transaction),
            _ => self.alone(command),
        });
        if result.is_err() {
            self.operations.rejected += keys_written(command);
        }
        result
    }

    fn alone(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        let revision = self.revision_of(|run| drop(run.execute(command)));
        let mut run = self.run(revision);
        let mut result = run.execute(command);
        if let (Command::MultiGet { keys, .. }, Err(Error::Missing { missing, .. })) = (command, &result) {
            (run.counted.hits, run.counted.misses) = ((keys.len() - missing.len()) as u64, missing.len() as u64);
        }
        let (own, counted) = (run.own, run.counted);
        self.count(counted);
        self.commit(own, revision);
        if let Ok(Reply::Got { entry: Some(entry), revision }) = &mut result {
            *revision = entry.revision;
        }
        result
    }

    fn transaction(&mut self, transaction: &Transaction<'_>) -> Result<Reply, Error> {
        let Transaction { checks, commands, otherwise, on_failure } = transaction;
        for command in commands.iter().chain(otherwise.iter().flatten()) {
            if matches!(command, Command::List(_) | Command::Clear | Command::Transaction(_)) {
                return Err(Error::NotInTransaction { what: "" });
            }
        }
        let judged: Vec<_> = checks.iter().map(|check| (&check.key, &check.condition)).collect();
        let failed_checks = match self.run(0).judge(&judged) {
            Err(Error::PreconditionFailed { failures, .. }) => failures,
            _ => Vec::new(),
        };
        // Positions of `otherwise` count on.
        let (branch, first) = match otherwise {
            _ if failed_checks.is_empty() => (commands, 0),
            Some(otherwise) => (otherwise, commands.len()),
            None => return Err(Error::PreconditionFailed { failures: failed_checks, total: checks.len() }),
        };
        let carry_out = |run: &mut Run<'_>| -> Result<Vec<Result<Reply, Error>>, Error> {
            let mut replies = Vec::new();
            for (index, command) in (first..).zip(branch) {
                let reply = run.execute(command);
                if let Err(error) = &reply {
                    if *on_failure == OnFailure::Abort {
                        return Err(Error::OperationFailed { index, error: Box::new(error.clone()) });
                    }
                    run.counted.rejected += keys_written(command);
                }
                replies.push(reply);
            }
            Ok(replies)
        };
        // A failure that undoes everything tells of versions without a revision.
        carry_out(&mut self.run(0))?;
        let revision = self.revision_of(|run| drop(carry_out(run)));
        let mut run = self.run(revision);
        let replies = carry_out(&mut run)?;
        let (own, counted) = (run.own, run.counted);
        self.count(counted);
        self.commit(own, revision);
        Ok(Reply::Transaction { revision: Revision(revision), failed_checks, replies })
    }

    /// The next one if anything changes, else the newest.
    fn revision_of(&self, carry_out: impl Fn(&mut Run<'_>)) -> u64 {
        let mut run = self.run(0);
        carry_out(&mut run);
        self.revision + u64::from(run.own.iter().any(|(key, entry)| entry.is_some() || self.alive(key).is_some()))
    }

    pub(crate) fn commit(&mut self, own: BTreeMap<Vec<u8>, Option<Entry>>, revision: u64) {
        for (key, entry) in own {
            match entry {
                Some(entry) => drop(self.state.insert(key, entry)),
                None if self.alive(&key).is_some() => drop(self.state.remove(&key)),
                None => {}
            }
        }
        self.revision = revision;
    }

    pub(crate) fn count(&mut self, counted: Operations) {
        let Operations { hits, misses, sets, deletes, delete_misses, rejected, .. } = counted;
        let sum = &mut self.operations;
        sum.hits += hits;
        sum.misses += misses;
        sum.sets += sets;
        sum.deletes += deletes;
        sum.delete_misses += delete_misses;
        sum.rejected += rejected;
    }

    /// What has expired goes. Returns how many keys went.
    pub(crate) fn sweep(&mut self) -> u64 {
        let before = self.state.len();
        let now_ms = self.now_ms;
        self.state.retain(|_, entry| entry.expires_at_ms.is_none_or(|at| at > now_ms));
        (before - self.state.len()) as u64
    }
}

impl Run<'_> {
    fn look(&mut self, key: &Key<'_>) -> Option<Entry> {
        let key = key.as_bytes();
        match self.own.get(key) {
            Some(own) => own.clone().filter(|entry| entry.expires_at_ms.is_none_or(|at| at > self.model.now_ms)),
            None => {
                self.looked_at.insert(key.to_vec());
                self.model.alive(key)
            }
        }
    }

    fn expires_at_ms(&mut self, key: &Key<'_>, ttl: Ttl) -> Option<u64> {
        let now_ms = self.model.now_ms;
        let default = self.model.default_ttl_ms.map(|ms| now_ms + ms);
        match ttl {
            Ttl::Default => default,
            Ttl::None => None,
            Ttl::Keep => self.look(key).map_or(default, |entry| entry.expires_at_ms),
            Ttl::Ms(ms) => Some(now_ms + ms),
            Ttl::At(at) => Some(at),
        }
    }

    fn put(&mut self, key: &Key<'_>, value: Bytes, content_type: Option<ContentType>, expires_at_ms: Option<u64>) {
        let entry = Entry { value, content_type, expires_at_ms, revision: self.own_revision };
        self.own.insert(key.as_bytes().to_vec(), Some(entry));
    }

    fn set(&mut self, set: &Set<'_>) {
        let expires_at_ms = self.expires_at_ms(&set.key, set.ttl);
        self.put(&set.key, set.value.clone(), set.content_type.clone(), expires_at_ms);
        self.counted.sets += 1;
    }

    fn delete(&mut self, key: &Key<'_>) -> bool {
        let found = self.look(key).is_some();
        if found {
            self.own.insert(key.as_bytes().to_vec(), None);
        }
        self.counted.deletes += 1;
        self.counted.delete_misses += u64::from(!found);
        found
    }

    fn holds(&mut self, key: &Key<'_>, condition: &Condition) -> bool {
        let entry = self.look(key);
        let has_revision = !self.own.contains_key(key.as_bytes());
        let is_of = |entry: &Entry, revision: Revision| has_revision && entry.revision == revision;
        let tagged = |tags: &[Etag], entry: &Entry| tags.iter().any(|tag| is_of(entry, tag.revision));
        match condition {
            Condition::Always => true,
            Condition::Absent => entry.is_none(),
            Condition::Exists => entry.is_some(),
            Condition::Revision(revision) => entry.is_some_and(|entry| is_of(&entry, *revision)),
            Condition::AnyOf(tags) => entry.is_some_and(|entry| tagged(tags, &entry)),
            Condition::NoneOf(tags) => entry.is_none_or(|entry| !tagged(tags, &entry)),
            Condition::Value(value) => entry.is_some_and(|entry| entry.value == value),
        }
    }

    fn judge(&mut self, items: &[(&Key<'_>, &Condition)]) -> Result<(), Error> {
        let mut failures = Vec::new();
        for (index, (key, condition)) in items.iter().enumerate() {
            if !self.holds(key, condition) {
                let have = self.look(key).map(|entry| Etag { epoch: Epoch(0), revision: entry.revision });
                failures.push(ItemFailure { index, have });
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(Error::PreconditionFailed { failures, total: items.len() }) }
    }

    fn read(&mut self, key: &Key<'_>) -> Option<Entry> {
        let entry = self.look(key);
        *(if entry.is_some() { &mut self.counted.hits } else { &mut self.counted.misses }) += 1;
        entry
    }

    pub(crate) fn execute(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        let (revision, own_revision) = (self.revision, self.own_revision);
        let after = |has_written| if has_written { own_revision } else { revision };
        match command {
            Command::Get { key } => Ok(Reply::Got { entry: self.read(key), revision }),
            Command::Peek { key } => Ok(Reply::Got { entry: self.look(key), revision }),
            Command::MultiGet { keys, require_all } => {
                let missing: Vec<usize> = (0..keys.len()).filter(|at| self.look(&keys[*at]).is_none()).collect();
                if *require_all && !missing.is_empty() {
                    return Err(Error::Missing { missing, total: keys.len() });
                }
                let entries = keys.iter().map(|key| self.read(key)).collect();
                Ok(Reply::MultiGot { revision, entries })
            }
            Command::Set(set) => {
                let created = self.look(&set.key).is_none();
                self.judge(&[(&set.key, &set.condition)])?;
                self.set(set);
                Ok(Reply::Set { revision: own_revision, created })
            }
            Command::MultiSet { sets } => {
                if sets.is_empty() {
                    return Err(Error::EmptyBatch);
                }
                for second in 0..sets.len() {
                    if let Some(first) = sets[..second].iter().rposition(|set| set.key == sets[second].key) {
                        return Err(Error::DuplicateKey { first, second });
                    }
                }
                let replaced = sets.iter().filter(|set| self.look(&set.key).is_some()).count();
                self.judge(&sets.iter().map(|set| (&set.key, &set.condition)).collect::<Vec<_>>())?;
                sets.iter().for_each(|set| self.set(set));
                Ok(Reply::MultiSet { revision: own_revision, created: sets.len() - replaced, replaced })
            }
            Command::Delete(delete) => {
                self.look(&delete.key);
                self.judge(&[(&delete.key, &delete.condition)])?;
                let found = self.delete(&delete.key);
                Ok(Reply::Deleted { revision: after(found), found })
            }
            Command::MultiDelete { deletes, require_all } => self.multi_delete(deletes, *require_all),
            Command::Modify(modify) => self.modify(modify),
            Command::Transfer(transfer) => {
                let outcome = self.transfer(transfer);
                let has_written = outcome == Transferred::Done && transfer.from != transfer.to;
                Ok(Reply::Transferred { revision: after(has_written), outcome })
            }
            Command::Transaction(_)
            | Command::List(_)
            | Command::ListSorted(_)
            | Command::Clear
            | Command::GetAt { .. }
            | Command::History { .. }
            | Command::Rollback(_) => Err(Error::NotInTransaction { what: "" }),
        }
    }

    fn multi_delete(&mut self, deletes: &[Delete<'_>], require_all: bool) -> Result<Reply, Error> {
        if deletes.is_empty() {
            return Err(Error::EmptyBatch);
        }
        self.judge(&deletes.iter().map(|delete| (&delete.key, &delete.condition)).collect::<Vec<_>>())?;
        let mut seen = BTreeSet::new();
        let mut missing = Vec::new();
        for (at, delete) in deletes.iter().enumerate() {
            let is_twice = !seen.insert(delete.key.as_bytes());
            if self.look(&delete.key).is_none() || is_twice {
                missing.push(at);
            }
        }
        if require_all && !missing.is_empty() {
            return Err(Error::Missing { missing, total: deletes.len() });
        }
        let deleted = deletes.iter().filter(|delete| self.delete(&delete.key)).count();
        let revision = if deleted > 0 { self.own_revision } else { self.revision };
        Ok(Reply::MultiDeleted { revision, deleted, missing: missing.len() })
    }

    fn modify(&mut self, modify: &Modify<'_>) -> Result<Reply, Error> {
        let Modify { key, rule, condition } = modify;
        let before = self.look(key);
        self.judge(&[(key, condition)])?;
        let old = before.as_ref().map(|entry| entry.value.to_vec());
        let new = match rule {
            Rule::Increment { by } => {
                let text = old.clone().unwrap_or(b"0".to_vec());
                let number = String::from_utf8(text).ok().and_then(|text| Some((text.parse::<i64>().ok()?, text)));
                let Some((number, _)) = number.filter(|(number, text)| number.to_string() == *text) else {
                    return Err(Error::NotAnInteger);
                };
                let sum = i128::from(number) + i128::from(*by);
                i64::try_from(sum).map_err(|_| Error::Overflow)?.to_string().into_bytes()
            }
            Rule::Append { bytes } => [&old.clone().unwrap_or_default()[..], bytes].concat(),
            Rule::SetRange { bytes, .. } if bytes.is_empty() => {
                return Ok(Reply::Modified { revision: self.revision, entry: before, changed: false });
            }
            Rule::SetRange { offset, bytes } => {
                let mut new = old.clone().unwrap_or_default();
                new.resize(new.len().max(offset + bytes.len()), 0);
                new[*offset..offset + bytes.len()].copy_from_slice(bytes);
                new
            }
            Rule::Expire { ttl, only } => return Ok(self.expire(key, before, *ttl, *only)),
            Rule::IncrementFloat { .. } => panic!("not used here"),
        };
        self.model.limits.check_value_bytes(new.len())?;
        if old.as_ref() == Some(&new) {
            return Ok(Reply::Modified { revision: self.revision, entry: before, changed: false });
        }
        let expires_at_ms = self.expires_at_ms(key, Ttl::Keep);
        self.put(key, new.into(), before.and_then(|entry| entry.content_type), expires_at_ms);
        self.counted.sets += 1;
        Ok(Reply::Modified { revision: self.own_revision, entry: self.look(key), changed: true })
    }

    fn expire(&mut self, key: &Key<'_>, before: Option<Entry>, ttl: Ttl, only: ExpiryCondition) -> Reply {
        let unchanged = |run: &Self, entry| Reply::Modified { revision: run.revision, entry, changed: false };
        let Some(entry) = before.clone().filter(|_| ttl != Ttl::Keep) else { return unchanged(self, before) };
        let (old, new) = (entry.expires_at_ms, self.expires_at_ms(key, ttl));
        let (old_end, new_end) = (old.unwrap_or(u64::MAX), new.unwrap_or(u64::MAX));
        let holds = match only {
            ExpiryCondition::Always => true,
            ExpiryCondition::Absent => old.is_none(),
            ExpiryCondition::Present => old.is_some(),
            ExpiryCondition::Later => new_end > old_end,
            ExpiryCondition::Earlier => new_end < old_end,
            ExpiryCondition::PresentAndEarlier => old.is_some() && new_end < old_end,
        };
        if !holds || old.is_none() && new.is_none() {
            return unchanged(self, before);
        }
        if new_end <= self.model.now_ms {
            self.own.insert(key.as_bytes().to_vec(), None);
        } else {
            self.put(key, entry.value, entry.content_type, new);
        }
        Reply::Modified { revision: self.own_revision, entry: self.look(key), changed: true }
    }

    fn transfer(&mut self, transfer: &Transfer<'_>) -> Transferred {
        let Transfer { from, to, replace, keep } = transfer;
        let source = self.look(from);
        let target_exists = !replace && self.look(to).is_some();
        let Some(entry) = source else { return Transferred::NoSource };
        if target_exists {
            return Transferred::TargetExists;
        }
        if from != to {
            self.put(to, entry.value, entry.content_type, entry.expires_at_ms);
            self.counted.sets += 1;
            if !keep {
                self.delete(from);
            }
        }
        Transferred::Done
    }
}

pub(crate) fn keys_written(command: &Command<'_>) -> u64 {
    match command {
        Command::Set(_) | Command::Delete(_) | Command::Modify(_) | Command::Transfer(_) => 1,
        Command::MultiSet { sets } => sets.len() as u64,
        Command::MultiDelete { deletes, .. } => deletes.len() as u64,
        Command::Transaction(transaction) => transaction.commands.iter().map(keys_written).sum(),
        _ => 0,
    }
}

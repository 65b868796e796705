//! A client of the engine in numbers, and the judge: what the journal's queue says was committed, replayed revision by
//! revision. Owns the translation and the comparison; knows nothing of schedules.

use std::collections::BTreeMap;

use kvd_engine::{Batch, Config, Engine, Update, View, Visibility, Worker};
use kvd_types::{
    Check, Command, Condition, Delete, Effect, Entry, Error, Key, List, ListValues, Modify, OnFailure, Page, Reply,
    Revision, Rule, Set, Transaction, Ttl,
};
use shuttle::thread::{self, JoinHandle};

/// A value and the revision of the commit that wrote it.
pub(crate) type Found = Option<(u64, u64)>;

/// Keys with their values.
pub(crate) type State = BTreeMap<u64, (u64, u64)>;

/// An empty store of tiny segments with a journal.
pub(crate) fn open(visibility: Visibility, segment_buckets_max: usize) -> Engine {
    Engine::open(Config { visibility, segment_buckets_max, journal: true, ..Config::default() })
}

/// A store of several segments, and two keys that are in different ones and absent: the first and the last by hash.
pub(crate) fn open_with_two_far_apart() -> (Engine, u64, u64) {
    let engine = open(Visibility::Immediate, 1);
    let mut client = Client::new(&engine);
    (10..20).for_each(|number| {
        client.set(number, number);
    });
    let by_hash = client.list(100);
    let (x, y) = (by_hash[0], by_hash[by_hash.len() - 1]);
    client.delete(x);
    client.delete(y);
    (engine, x, y)
}

/// A thread with a client of its own.
pub(crate) fn spawn<T: Send + 'static>(
    engine: &Engine,
    story: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> JoinHandle<T> {
    let engine = engine.clone();
    thread::spawn(move || story(&mut Client::new(&engine)))
}

pub(crate) struct Client {
    pub(crate) engine: Engine,
    pub(crate) worker: Worker,
}

/// A key's name.
pub(crate) fn key(number: u64) -> Key<'static> {
    Key::new(format!("k{number}").into_bytes()).unwrap()
}

fn number(key: &Key<'_>) -> u64 {
    key.as_text().unwrap()[1..].parse().unwrap()
}

fn value_of(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

pub(crate) fn put(key_number: u64, value: u64) -> Set<'static> {
    Set::new(key(key_number), value.to_string())
}

/// A put that goes at `at` ms.
pub(crate) fn put_until(key_number: u64, value: u64, at: u64) -> Set<'static> {
    Set { ttl: Ttl::At(at), ..put(key_number, value) }
}

pub(crate) fn put_if(key_number: u64, value: u64, condition: Condition) -> Set<'static> {
    Set { condition, ..put(key_number, value) }
}

pub(crate) fn increment(key_number: u64, by: i64) -> Command<'static> {
    Command::Modify(Modify { key: key(key_number), rule: Rule::Increment { by }, condition: Condition::Always })
}

fn found(entry: Option<Entry>) -> Found {
    entry.map(|entry| (value_of(&entry.value), entry.revision.0))
}

impl Client {
    pub(crate) fn new(engine: &Engine) -> Client {
        Client { engine: engine.clone(), worker: engine.worker() }
    }

    pub(crate) fn execute(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        self.engine.execute(&mut self.worker, command)
    }

    pub(crate) fn get(&mut self, number: u64) -> Found {
        self.get_bounded(number).0
    }

    /// What one look finds: a get that misses takes a second one.
    pub(crate) fn get_once(&mut self, number: u64) -> Found {
        let found = |found: Option<kvd_engine::Found<'_>>| found.map(|found| found.entry());
        self::found(self.engine.get_with(&mut self.worker, key(number).as_bytes(), found))
    }

    /// Some gets, one after the other, as one batch.
    pub(crate) fn get_batch(&mut self, numbers: &[u64]) -> Vec<Found> {
        let keys: Vec<Key<'static>> = numbers.iter().map(|number| key(*number)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Key::as_bytes).collect();
        let mut all = vec![None; keys.len()];
        let take = |at: usize, entry: Option<kvd_engine::Found<'_>>| all[at] = found(entry.map(|found| found.entry()));
        self.engine.get_many(&mut self.worker, &keys, take);
        all
    }

    /// What a get finds, and the revision that it is not older than.
    pub(crate) fn get_bounded(&mut self, number: u64) -> (Found, u64) {
        match self.execute(&Command::Get { key: key(number) }).unwrap() {
            Reply::Got { entry, revision } => (found(entry), revision.0),
            other => panic!("no answer to a get: {other:?}"),
        }
    }

    pub(crate) fn try_set(&mut self, set: Set<'static>) -> Result<u64, Error> {
        match self.execute(&Command::Set(set))? {
            Reply::Set { revision, .. } => Ok(revision.0),
            other => panic!("no answer to a set: {other:?}"),
        }
    }

    pub(crate) fn set(&mut self, number: u64, value: u64) -> u64 {
        self.try_set(put(number, value)).unwrap()
    }

    pub(crate) fn delete(&mut self, number: u64) -> (u64, bool) {
        match self.execute(&Command::Delete(Delete::new(key(number)))).unwrap() {
            Reply::Deleted { revision, found } => (revision.0, found),
            other => panic!("no answer to a delete: {other:?}"),
        }
    }

    pub(crate) fn try_multi_set(&mut self, sets: Vec<Set<'static>>) -> Result<u64, Error> {
        match self.execute(&Command::MultiSet { sets })? {
            Reply::MultiSet { revision, .. } => Ok(revision.0),
            other => panic!("no answer to a multi-set: {other:?}"),
        }
    }

    pub(crate) fn multi_set(&mut self, sets: &[(u64, u64)]) -> u64 {
        self.try_multi_set(sets.iter().map(|(key, value)| put(*key, *value)).collect()).unwrap()
    }

    pub(crate) fn multi_delete(&mut self, keys: &[u64]) -> u64 {
        let deletes = keys.iter().map(|number| Delete::new(key(*number))).collect();
        match self.execute(&Command::MultiDelete { deletes, require_all: false }).unwrap() {
            Reply::MultiDeleted { revision, .. } => revision.0,
            other => panic!("no answer to a multi-delete: {other:?}"),
        }
    }

    /// A multi-get, for the judge.
    pub(crate) fn multi_get(&mut self, keys: &[u64]) -> Seen {
        let command = Command::MultiGet { keys: keys.iter().map(|number| key(*number)).collect(), require_all: false };
        match self.execute(&command).unwrap() {
            Reply::MultiGot { revision, entries } => {
                Seen { revision: revision.0, keys: keys.iter().copied().zip(entries.into_iter().map(found)).collect() }
            }
            other => panic!("no answer to a multi-get: {other:?}"),
        }
    }

    /// What a view shows of these keys, for the judge.
    pub(crate) fn look(&mut self, view: &View, keys: &[u64]) -> Seen {
        let mut look =
            |number: &u64| (*number, found(view.get(&self.engine, &mut self.worker, &key(*number)).unwrap()));
        Seen { revision: view.revision().0, keys: keys.iter().map(&mut look).collect() }
    }

    pub(crate) fn read(&mut self, update: &mut Update, number: u64) -> Found {
        found(update.get(&self.engine, &mut self.worker, &key(number)).unwrap())
    }

    /// Commits. None when there was a conflict.
    pub(crate) fn commit(&mut self, update: Update) -> Option<u64> {
        match update.commit(&self.engine, &mut self.worker) {
            Ok(Revision(revision)) => Some(revision),
            Err(Error::Conflict { .. }) => None,
            Err(other) => panic!("a commit fails by conflicts alone: {other}"),
        }
    }

    /// Adds to a number. Returns the sum, and the commit's revision.
    pub(crate) fn increment(&mut self, number: u64, by: i64) -> (u64, u64) {
        match self.execute(&increment(number, by)).unwrap() {
            Reply::Modified { entry, revision, changed: true } => (found(entry).unwrap().0, revision.0),
            other => panic!("no answer to an increment: {other:?}"),
        }
    }

    /// The same inside an update.
    pub(crate) fn increment_inside(&mut self, update: &mut Update, number: u64, by: i64) {
        update.execute(&self.engine, &mut self.worker, &increment(number, by)).unwrap();
    }

    /// Sets some keys if all of these are absent. None if one is not.
    pub(crate) fn set_if_absent(&mut self, absent: &[u64], sets: &[(u64, u64)]) -> Option<u64> {
        let transaction = Transaction {
            checks: absent.iter().map(|number| Check { key: key(*number), condition: Condition::Absent }).collect(),
            commands: sets.iter().map(|(number, value)| Command::Set(put(*number, *value))).collect(),
            otherwise: None,
            on_failure: OnFailure::Abort,
        };
        match self.execute(&Command::Transaction(transaction)) {
            Ok(Reply::Transaction { revision, .. }) => Some(revision.0),
            Err(Error::PreconditionFailed { .. }) => None,
            other => panic!("no answer to a transaction: {other:?}"),
        }
    }

    /// All keys, page by page.
    pub(crate) fn list(&mut self, limit: usize) -> Vec<u64> {
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let prefix = Key::new(b"").unwrap();
            let list = List { prefix, limit, cursor, values: ListValues::Full };
            let Reply::Page(page) = self.execute(&Command::List(list)).unwrap() else { panic!("no answer to a list") };
            keys.extend(page.items.iter().map(|item| number(&item.key)));
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return keys,
            }
        }
    }

    /// All keys and values as one page, for the judge: it must have all keys of its revision.
    pub(crate) fn page(&mut self, view: Option<&View>) -> Page {
        let (prefix, limit) = (Key::new(b"").unwrap(), 1_000);
        let list = List { prefix, limit, cursor: None, values: ListValues::Full };
        match view {
            Some(view) => view.list(&self.engine, &mut self.worker, &list).unwrap(),
            None => match self.execute(&Command::List(list)).unwrap() {
                Reply::Page(page) => page,
                other => panic!("no answer to a list: {other:?}"),
            },
        }
    }

    /// Empties the store: the revision, and how many keys went.
    pub(crate) fn clear(&mut self) -> (u64, u64) {
        match self.execute(&Command::Clear).unwrap() {
            Reply::Cleared { revision, deleted } => (revision.0, deleted),
            other => panic!("no answer to a clear: {other:?}"),
        }
    }

    /// Begins to move all keys to the keyed hash, and does not leave it to others.
    pub(crate) fn rekey(&mut self) {
        self.engine.rekey(&mut self.worker);
        self.maintain();
    }

    /// Removes every key whose time has come.
    pub(crate) fn sweep(&mut self) {
        // A sweep goes on where the last one ended, and ends with the last segment: two meet them all.
        for _ in 0..2 {
            self.engine.sweep(&mut self.worker, usize::MAX);
        }
    }

    pub(crate) fn maintain(&mut self) {
        while self.engine.maintain(&mut self.worker) {}
    }
}

/// What a reader was shown as the state of one revision.
pub(crate) struct Seen {
    pub(crate) revision: u64,
    pub(crate) keys: Vec<(u64, Found)>,
}

impl Seen {
    pub(crate) fn of(&self, number: u64) -> Found {
        self.keys.iter().find(|(key, _)| *key == number).expect("it was asked for").1
    }
}

/// What the journal was given: the state at each revision.
pub(crate) struct Journal {
    states: Vec<State>,
}

impl Journal {
    /// Replays the batches, which begin at revision 1 and have no gap.
    pub(crate) fn replay(batches: &[Batch]) -> Journal {
        let mut states = vec![State::new()];
        for (before, batch) in batches.iter().enumerate() {
            let revision = before as u64 + 1;
            assert_eq!(
                batch.revision,
                Revision(revision),
                "the journal has a gap, or its order is not that of commits"
            );
            let mut state = states[before].clone();
            for effect in &batch.effects() {
                match effect {
                    Effect::Put { key, value, .. } => {
                        state.insert(number(key), (value_of(value), revision));
                    }
                    Effect::Delete { key, .. } => {
                        state.remove(&number(key)).expect("only what is there is deleted");
                    }
                    Effect::Clear => state.clear(),
                }
            }
            states.push(state);
        }
        Journal { states }
    }

    /// At the end of a story in which nothing expired: takes the queue, and compares memory, counters and pins with it.
    pub(crate) fn of(engine: &Engine) -> Journal {
        Journal::after(engine, Vec::new())
    }

    /// As `of`, when some of the queue was taken before.
    pub(crate) fn after(engine: &Engine, mut batches: Vec<Batch>) -> Journal {
        let (sealed, rest) = engine.seal();
        engine.make_visible(sealed);
        batches.extend(rest);
        let journal = Journal::replay(&batches);
        journal.compare(engine);
        journal
    }

    fn compare(&self, engine: &Engine) {
        let last = self.states.last().expect("there is the empty one");
        let mut client = Client::new(engine);
        client.maintain();
        assert_eq!(engine.revision().0, self.states.len() as u64 - 1, "the newest revision");
        for number in self.states.iter().flat_map(State::keys) {
            assert_eq!(client.get(*number), last.get(number).copied(), "k{number} in memory is not as in the journal");
        }
        let mut listed = client.list(1_000);
        listed.sort_unstable();
        assert_eq!(listed, last.keys().copied().collect::<Vec<_>>(), "the list at the end");
        let totals = engine.stats().totals;
        assert_eq!(totals.keys, last.len() as u64, "the count of keys");
        let value_bytes: usize = last.values().map(|(value, _)| value.to_string().len()).sum();
        assert_eq!(totals.value_bytes, value_bytes as u64, "the bytes of values");
        assert_eq!(totals.history_bytes, 0, "nobody reads, so nothing is kept");
    }

    /// The keys there were after that revision.
    pub(crate) fn state(&self, revision: u64) -> &State {
        &self.states[usize::try_from(revision).unwrap()]
    }

    /// Whether the page has all that there was at its revision.
    pub(crate) fn check_page(&self, page: &Page) {
        let listed: State =
            page.items.iter().map(|item| (number(&item.key), found(Some(item.entry.clone())).unwrap())).collect();
        assert_eq!(page.items.len(), listed.len(), "a key came twice");
        assert!(page.cursor.is_none(), "there are few keys");
        assert_eq!(&listed, self.state(page.revision.0), "the list at revision {}", page.revision);
    }

    /// Whether that is what there was at that revision.
    pub(crate) fn check(&self, seen: &Seen) {
        let state = self.state(seen.revision);
        for (number, found) in &seen.keys {
            assert_eq!(*found, state.get(number).copied(), "k{number} at revision {}", seen.revision);
        }
    }

    /// Whether one state, of any revision, holds all that was seen.
    pub(crate) fn check_any(&self, seen: &Seen) {
        let holds = |state: &State| seen.keys.iter().all(|(number, found)| *found == state.get(number).copied());
        assert!(self.states.iter().any(holds), "{:?} never was", seen.keys);
    }
}

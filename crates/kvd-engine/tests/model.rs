//! The engine against a model: whatever commands come, one after the other, the replies, the sizes and the counters are those
//! of a sorted map with a revision. Few keys, so that overwrites, duplicates and conditions that hold are common.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kvd_engine::{Config, Engine, Operations, Worker};
use kvd_types::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Default)]
struct Model {
    entries: BTreeMap<Vec<u8>, Entry>,
    revision: u64,
    operations: Operations,
}

impl Model {
    fn holds(&self, key: &Key<'_>, condition: &Condition) -> bool {
        let entry = self.entries.get(key.as_bytes());
        let tagged = |tags: &[Etag], entry: &Entry| tags.iter().any(|tag| tag.revision == entry.revision);
        match condition {
            Condition::Always => true,
            Condition::Absent => entry.is_none(),
            Condition::Exists => entry.is_some(),
            Condition::Revision(revision) => entry.is_some_and(|entry| entry.revision == *revision),
            Condition::AnyOf(tags) => entry.is_some_and(|entry| tagged(tags, entry)),
            Condition::NoneOf(tags) => entry.is_none_or(|entry| !tagged(tags, entry)),
            Condition::Value(value) => entry.is_some_and(|entry| entry.value == value),
        }
    }

    fn judge(&self, items: &[(&Key<'_>, &Condition)]) -> Result<(), Error> {
        let failed = items.iter().enumerate().filter(|(_, (key, condition))| !self.holds(key, condition));
        let failures: Vec<_> = failed
            .map(|(index, (key, _))| {
                let have = self.entries.get(key.as_bytes());
                ItemFailure { index, have: have.map(|entry| Etag { epoch: Epoch(0), revision: entry.revision }) }
            })
            .collect();
        if failures.is_empty() { Ok(()) } else { Err(Error::PreconditionFailed { failures, total: items.len() }) }
    }

    /// How many of the keys had a value.
    fn put(&mut self, sets: &[Set<'_>]) -> usize {
        self.revision += 1;
        self.operations.sets += sets.len() as u64;
        let revision = Revision(self.revision);
        let insert = |set: &Set<'_>| {
            let entry = Entry {
                value: set.value.clone(),
                content_type: set.content_type.clone(),
                expires_at_ms: None,
                revision,
            };
            self.entries.insert(set.key.as_bytes().to_vec(), entry).is_some()
        };
        sets.iter().map(insert).filter(|replaced| *replaced).count()
    }

    fn remove(&mut self, deletes: &[Delete<'_>]) -> usize {
        let found = deletes.iter().filter(|delete| self.entries.remove(delete.key.as_bytes()).is_some()).count();
        self.revision += u64::from(found > 0);
        self.operations.deletes += deletes.len() as u64;
        self.operations.delete_misses += (deletes.len() - found) as u64;
        found
    }

    fn read(&mut self, key: &Key<'_>) -> Option<Entry> {
        let entry = self.entries.get(key.as_bytes()).cloned();
        *(if entry.is_some() { &mut self.operations.hits } else { &mut self.operations.misses }) += 1;
        entry
    }

    fn execute(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        let result = self.run(command);
        self.operations.rejected += match (&result, command) {
            (Err(_), Command::Set(_) | Command::Delete(_)) => 1,
            (Err(_), Command::MultiSet { sets }) => sets.len() as u64,
            (Err(_), Command::MultiDelete { deletes, .. }) => deletes.len() as u64,
            _ => 0,
        };
        result
    }

    fn run(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        match command {
            Command::Get { key } => {
                let entry = self.read(key);
                let revision = entry.as_ref().map_or(Revision(self.revision), |entry| entry.revision);
                Ok(Reply::Got { entry, revision })
            }
            Command::MultiGet { keys, require_all } => {
                let entries: Vec<_> = keys.iter().map(|key| self.read(key)).collect();
                let missing: Vec<usize> = (0..keys.len()).filter(|item| entries[*item].is_none()).collect();
                if *require_all && !missing.is_empty() {
                    return Err(Error::Missing { missing, total: keys.len() });
                }
                Ok(Reply::MultiGot { revision: Revision(self.revision), entries })
            }
            Command::Set(set) => {
                self.judge(&[(&set.key, &set.condition)])?;
                let replaced = self.put(std::slice::from_ref(set));
                Ok(Reply::Set { revision: Revision(self.revision), created: replaced == 0 })
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
                self.judge(&sets.iter().map(|set| (&set.key, &set.condition)).collect::<Vec<_>>())?;
                let replaced = self.put(sets);
                let revision = Revision(self.revision);
                Ok(Reply::MultiSet { revision, created: sets.len() - replaced, replaced })
            }
            Command::Delete(delete) => {
                self.judge(&[(&delete.key, &delete.condition)])?;
                let found = self.remove(std::slice::from_ref(delete));
                Ok(Reply::Deleted { revision: Revision(self.revision), found: found == 1 })
            }
            Command::MultiDelete { deletes, require_all } => {
                if deletes.is_empty() {
                    return Err(Error::EmptyBatch);
                }
                self.judge(&deletes.iter().map(|delete| (&delete.key, &delete.condition)).collect::<Vec<_>>())?;
                let mut seen = BTreeSet::new();
                let is_missing = |item: &usize| {
                    let key = deletes[*item].key.as_bytes();
                    !seen.insert(key) || !self.entries.contains_key(key)
                };
                let missing: Vec<usize> = (0..deletes.len()).filter(is_missing).collect();
                if *require_all && !missing.is_empty() {
                    return Err(Error::Missing { missing, total: deletes.len() });
                }
                let deleted = self.remove(deletes);
                let missing = deletes.len() - deleted;
                Ok(Reply::MultiDeleted { revision: Revision(self.revision), deleted, missing })
            }
            Command::List(_) => unreachable!("lists are compared by `walk`"),
            Command::GetAt { .. } | Command::History { .. } | Command::Rollback(_) => {
                unreachable!("no history is kept")
            }
            Command::ListSorted(_) => unreachable!("`sorted` has a model of these"),
            Command::Peek { .. } | Command::Modify(_) | Command::Transfer(_) | Command::Transaction(_) => {
                unreachable!("`transactions` has a model of these")
            }
            Command::Clear => {
                let deleted = self.entries.len() as u64;
                self.entries.clear();
                self.revision += 1;
                self.operations.deletes += deleted;
                Ok(Reply::Cleared { revision: Revision(self.revision), deleted })
            }
        }
    }
}

/// All pages of a walk, in byte order of the keys. Fails if a page is too long or of another revision.
fn walk(engine: &Engine, worker: &mut Worker, prefix: &[u8], limit: usize) -> Vec<(Vec<u8>, Entry)> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let prefix = Key::new(prefix).unwrap();
        let list = List { prefix, limit, cursor, values: ListValues::Full };
        let Ok(Reply::Page(page)) = engine.execute(worker, &Command::List(list)) else {
            panic!("a list is never refused")
        };
        assert!(page.items.len() <= limit);
        assert_eq!(page.revision, engine.revision());
        items.extend(page.items.into_iter().map(|item| (item.key.as_bytes().to_vec(), item.entry)));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    items.sort_by(|a, b| a.0.cmp(&b.0));
    items
}

fn key() -> impl Strategy<Value = Key<'static>> {
    (0u8..12).prop_map(|n| Key::new(vec![b'k'; usize::from(n)]).unwrap())
}

fn condition() -> impl Strategy<Value = Condition> {
    let revision = || (0u64..12).prop_map(Revision);
    let tag = || revision().prop_map(|revision| Etag { epoch: Epoch(0), revision });
    prop_oneof![
        12 => Just(Condition::Always),
        2 => Just(Condition::Absent),
        2 => Just(Condition::Exists),
        1 => revision().prop_map(Condition::Revision),
        1 => vec(tag(), 0..3).prop_map(Condition::AnyOf),
        1 => vec(tag(), 0..3).prop_map(Condition::NoneOf),
        1 => (0usize..3).prop_map(|size| Condition::Value(Bytes::from(vec![b'v'; size]))),
    ]
}

fn set() -> impl Strategy<Value = Set<'static>> {
    let content_type = prop::option::of(Just(ContentType::new(b"text/plain").unwrap()));
    (key(), 0usize..3, content_type, condition()).prop_map(|(key, size, content_type, condition)| Set {
        key,
        value: Bytes::from(vec![b'v'; size]),
        content_type,
        ttl: Ttl::None,
        condition,
    })
}

fn delete() -> impl Strategy<Value = Delete<'static>> {
    (key(), condition()).prop_map(|(key, condition)| Delete { key, condition })
}

fn command() -> impl Strategy<Value = Command<'static>> {
    prop_oneof![
        4 => key().prop_map(|key| Command::Get { key }),
        4 => (vec(key(), 0..6), any::<bool>()).prop_map(|(keys, require_all)| Command::MultiGet { keys, require_all }),
        4 => set().prop_map(Command::Set),
        4 => vec(set(), 0..5).prop_map(|sets| Command::MultiSet { sets }),
        4 => delete().prop_map(Command::Delete),
        4 => (vec(delete(), 0..5), any::<bool>())
            .prop_map(|(deletes, require_all)| Command::MultiDelete { deletes, require_all }),
        1 => Just(Command::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_reply_size_and_counter_is_the_models(commands in vec(command(), 0..80), segment_buckets_max in 1usize..4) {
        let engine = Engine::open(Config { segment_buckets_max, ..Config::default() });
        let mut worker = engine.worker();
        let mut model = Model::default();
        for command in &commands {
            prop_assert_eq!(engine.execute(&mut worker, command), model.execute(command), "{:?}", command);
            let stats = engine.stats();
            prop_assert_eq!(stats.operations, model.operations);
            prop_assert_eq!(stats.revision.0, model.revision);
            prop_assert_eq!(stats.totals.keys, model.entries.len() as u64);
            prop_assert_eq!(stats.totals.key_bytes, model.entries.keys().map(|key| key.len() as u64).sum::<u64>());
            let value_bytes = model.entries.values().map(|entry| entry.value.len() as u64).sum::<u64>();
            prop_assert_eq!(stats.totals.value_bytes, value_bytes);
        }
        for (prefix, limit) in [(&b""[..], 3), (b"kkkk", 1), (b"x", 10)] {
            let expected: Vec<_> = model.entries.range(prefix.to_vec()..).filter(|(key, _)| key.starts_with(prefix))
                .map(|(key, entry)| (key.clone(), entry.clone())).collect();
            prop_assert_eq!(walk(&engine, &mut worker, prefix, limit), expected);
        }
    }
}

#[test]
fn what_a_worker_counted_stays_when_it_is_gone() {
    let engine = Engine::open(Config::default());
    for _ in 0..3 {
        let key = Key::new(b"absent").unwrap();
        engine.execute(&mut engine.worker(), &Command::Get { key }).unwrap();
    }
    assert_eq!(engine.stats().operations.misses, 3);
}

#[test]
fn a_closed_store_refuses_everything() {
    let engine = Engine::open(Config::default());
    engine.close();
    let key = Key::new(b"k").unwrap();
    assert_eq!(engine.execute(&mut engine.worker(), &Command::Get { key }), Err(Error::Closed));
}

#[test]
fn a_cursor_of_another_store_is_refused() {
    let engine = Engine::open(Config::default());
    let cursor = Some(Cursor { epoch: Epoch(1), next_hash: 0, is_keyed: false });
    let list = List { prefix: Key::empty(), limit: 1, cursor, values: ListValues::Meta };
    assert_eq!(engine.execute(&mut engine.worker(), &Command::List(list)), Err(Error::StaleCursor));
}

//! Random commands inside an update, while others commit: each answer is that of the model at the update's revision, and it
//! commits if nothing that an answer has told of was changed. No
//! condition holds for the revision or tag of an own write. A command that is refused leaves nothing.

use std::collections::BTreeSet;

use kvd_engine::{Config, Engine};
use kvd_types::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{Model, keys_written};
use crate::strategies::{KEYS, VALUE_BYTES_MAX, command, key_of};

/// Keys whose version is another than it was, if it is there in either.
fn changed(before: &Model, after: &Model) -> BTreeSet<Vec<u8>> {
    let revision = |model: &Model, key: &Key<'_>| model.alive(key.as_bytes()).map(|entry| entry.revision);
    let is_changed = |key: &Key<'_>| revision(before, key) != revision(after, key);
    (0..KEYS).map(key_of).filter(is_changed).map(|key| key.as_bytes().to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn an_update_answers_as_the_model_and_commits_if_that_still_holds(
        first in vec(command(), 0..12),
        inside in vec(command(), 0..12),
        others in vec(command(), 0..3),
        passes_ms in prop::sample::select(vec![0u64, 0, 0, 10]),
        default_ttl_ms in prop::option::of(5u64..30),
    ) {
        let limits = Limits { value_bytes_max: VALUE_BYTES_MAX, ..Limits::DEFAULT };
        let (state, revision, now_ms, operations) = Default::default();
        let mut model = Model { state, revision, now_ms, default_ttl_ms, limits: limits.clone(), operations };
        let engine = Engine::open(Config { limits, default_ttl_ms, segment_buckets_max: 1, ..Config::default() });
        let mut worker = engine.worker();
        for command in &first {
            prop_assert_eq!(engine.execute(&mut worker, command), model.execute(command));
        }
        let mut update = engine.update().unwrap();
        let begun = model.clone();
        let mut run = begun.run(begun.revision);
        // The commit's is not known yet.
        run.own_revision = Revision(0);
        for command in &inside {
            let answer = update.execute(&engine, &mut worker, command);
            let expected = match begun.limits.check(command) {
                Ok(()) => run.execute(command),
                Err(error) => Err(error.into()),
            };
            prop_assert_eq!(&answer, &expected, "{:?}", command);
            if answer.is_err() {
                model.operations.rejected += keys_written(command);
            }
        }
        for command in &others {
            prop_assert_eq!(engine.execute(&mut worker, command), model.execute(command));
        }
        model.now_ms += passes_ms;
        engine.tick(model.now_ms);
        let (sets, deletes) = (run.counted.sets, run.counted.deletes);
        let (hits, misses) = (run.counted.hits, run.counted.misses);
        let conflict = run.looked_at.intersection(&changed(&begun, &model)).count() > 0;
        let committed = update.commit(&engine, &mut worker);
        if run.own.is_empty() {
            prop_assert_eq!(committed, Ok(Revision(begun.revision)));
            model.count(run.counted);
        } else if conflict {
            prop_assert!(matches!(committed, Err(Error::Conflict { .. })), "{committed:?}");
            model.operations.rejected += sets + deletes;
            model.operations.hits += hits;
            model.operations.misses += misses;
        } else {
            prop_assert!(committed.is_ok(), "{committed:?}");
            model.count(run.counted);
        }
        prop_assert_eq!(engine.stats().operations, model.operations);
        prop_assert_eq!(engine.stats().totals.transactions_bytes, 0);
        if !run.own.is_empty() && !conflict && passes_ms == 0 {
            for (key, entry) in run.own {
                let found = engine.get_with(&mut worker, &key, |found| found.map(|found| found.entry()));
                let content = |entry: Entry| (entry.value, entry.content_type, entry.expires_at_ms);
                let expected = entry.filter(|entry| entry.expires_at_ms.is_none_or(|at| at > model.now_ms));
                prop_assert_eq!(found.map(content), expected.map(content), "{:?}", key);
            }
        }
    }
}

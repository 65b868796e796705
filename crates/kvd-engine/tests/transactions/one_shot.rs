//! Random commands, transactions among them, one after the other: every answer, counter and size is the model's, and the effects
//! replay to what is stored. Segments are tiny, and time moves.

use kvd_engine::{Config, Engine, Worker};
use kvd_types::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{Model, State};
use crate::strategies::{KEYS, VALUE_BYTES_MAX, command, key_of, transaction};

#[derive(Clone, Debug)]
enum Step {
    Run(Command<'static>),
    Tick { ms: u64 },
    Sweep,
    Rekey,
    Maintain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => command().prop_map(Step::Run),
        8 => transaction().prop_map(Step::Run),
        4 => (1u64..15).prop_map(|ms| Step::Tick { ms }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Rekey),
        1 => Just(Step::Maintain),
    ]
}

/// The engine, and what it should be.
struct World {
    engine: Engine,
    worker: Worker,
    model: Model,
    /// What the journal was given, replayed.
    replayed: State,
}

impl World {
    fn new(default_ttl_ms: Option<u64>, history: usize, segment_buckets_max: usize) -> World {
        let limits = Limits { value_bytes_max: VALUE_BYTES_MAX, ..Limits::DEFAULT };
        let (state, revision, now_ms, operations) = Default::default();
        let model = Model { state, revision, now_ms, default_ttl_ms, limits: limits.clone(), operations };
        let config =
            Config { limits, default_ttl_ms, history, journal: true, segment_buckets_max, ..Config::default() };
        let engine = Engine::open(config);
        World { worker: engine.worker(), engine, model, replayed: State::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Run(command) => {
                let (answer, expected) = (self.engine.execute(&mut self.worker, command), self.model.execute(command));
                assert_eq!(answer, expected, "{command:?}");
            }
            Step::Tick { ms } => {
                self.model.now_ms += ms;
                self.engine.tick(self.model.now_ms);
            }
            Step::Sweep => {
                while self.engine.maintain(&mut self.worker) {}
                // A sweep goes on where the last one ended, and ends with the last segment: two meet them all.
                for _ in 0..2 {
                    self.engine.sweep(&mut self.worker, usize::MAX);
                }
                self.model.operations.expired += self.model.sweep();
                // A commit for each segment in which something had expired.
                self.model.revision = self.engine.stats().revision.0;
            }
            Step::Rekey => self.engine.rekey(&mut self.worker),
            Step::Maintain => while self.engine.maintain(&mut self.worker) {},
        }
        self.replay();
        let stats = self.engine.stats();
        assert_eq!(stats.operations, self.model.operations, "{step:?}");
        assert_eq!(stats.revision.0, self.model.revision, "{step:?}");
        assert_eq!(stats.totals.keys, self.model.state.len() as u64, "{step:?}");
        let values = self.model.state.values().map(|entry| entry.value.len() as u64);
        assert_eq!(stats.totals.value_bytes, values.sum::<u64>(), "{step:?}");
        assert_eq!(self.replayed, self.model.state, "{step:?}");
    }

    fn replay(&mut self) {
        for batch in self.engine.seal().1 {
            for effect in batch.effects() {
                match effect {
                    Effect::Put { key, value, content_type, expires_at_ms } => {
                        let entry = Entry { value, content_type, expires_at_ms, revision: batch.revision };
                        self.replayed.insert(key.as_bytes().to_vec(), entry);
                    }
                    Effect::Delete { key, .. } => {
                        assert!(self.replayed.remove(key.as_bytes()).is_some(), "only what is there goes");
                    }
                    Effect::Clear => self.replayed.clear(),
                }
            }
        }
    }

    fn compare(&mut self) {
        for key in (0..KEYS).map(key_of) {
            let found =
                self.engine.get_with(&mut self.worker, key.as_bytes(), |found| found.map(|found| found.entry()));
            assert_eq!(found, self.model.alive(key.as_bytes()), "{key:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn every_answer_is_the_models(
        steps in vec(step(), 0..40),
        default_ttl_ms in prop::option::of(5u64..30),
        history in 0usize..2,
        segment_buckets_max in 1usize..3,
    ) {
        let mut world = World::new(default_ttl_ms, history, segment_buckets_max);
        for step in &steps {
            world.step(step);
        }
        world.compare();
        while world.engine.maintain(&mut world.worker) {}
        let totals = world.engine.stats().totals;
        prop_assert_eq!(totals.retired_bytes, 0);
        prop_assert!(history > 0 || totals.history_bytes == 0, "{totals:?}");
    }
}

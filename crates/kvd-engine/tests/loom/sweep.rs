//! The sweep beside a set with an end: the sweep takes the segment's bound away before it looks, the set lowers it after it has
//! stored. Whichever way they meet, a later sweep must find the key. Knows nothing of what an expired key looks like to readers.

use kvd_engine::{Config, Engine};
use kvd_types::{Condition, Ttl};

use super::{Client, Verdict, holds, promise};

/// Of another bucket than the one that the sweep locks.
const KEY: &str = "a";

fn a_set_beside_a_sweep() -> Verdict {
    let engine = Engine::open(Config::default());
    let [mut writer, mut sweeper] = std::array::from_fn(|_| Client::new(&engine));
    engine.tick(10);
    writer.set(KEY);
    writer.set_if("gone", Condition::Always, Ttl::At(20));
    engine.tick(20);
    // Its key goes, the bound stays: the sweep beside the set takes it away.
    engine.sweep(&mut sweeper.worker, 1);
    let writer = writer.spawn(|client| client.set_if(KEY, Condition::Always, Ttl::At(30)));
    let sweeper = sweeper.spawn(|client| client.engine.sweep(&mut client.worker, 1));
    let (mut sweeper, _lag_ms) = sweeper.join().unwrap();
    writer.join().unwrap();
    engine.tick(30);
    (0..2).for_each(|_| {
        engine.sweep(&mut sweeper.worker, 1);
    });
    let keys = engine.stats().totals.keys;
    promise(keys == 0, || format!("{keys} keys have ended and are never swept"))
}

#[test]
fn a_key_that_ends_is_found_however_its_set_met_the_sweep() {
    holds(2, a_set_beside_a_sweep);
}

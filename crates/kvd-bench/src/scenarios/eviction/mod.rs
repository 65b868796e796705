//! `kvd-bench eviction`: what a cache of a given size is worth, by the share of requests that it has the answer to: kvd beside
//! exact LRU, redis and the optimum, on traffic of several kinds. Knows the order of what is run; nothing is timed here.

mod caches;
mod redis;
mod traces;

use std::collections::BTreeMap;
use std::path::Path;

use crate::args::EvictionOptions;
use crate::machine::Machine;
use crate::results::{EvictionResults, HitRatio};
use crate::{report, results};
use caches::{Kvd, Lru, hit_ratio, optimum};
use redis::Redis;
use traces::{Extent, Kind};

/// What a key of these traces takes in kvd, beside its value: to choose how long a loop is.
const BYTES_PER_KEY: usize = 56;

/// The first of a trace's requests fill the caches, and don't count: one in so many.
const WARM_UP_SHARE: usize = 4;

const REDIS_POLICIES: [&str; 2] = ["allkeys-lru", "allkeys-lfu"];

/// # Errors
/// redis-server is missing or fails, or a file can't be written.
pub(crate) fn eviction(options: &EvictionOptions) -> anyhow::Result<()> {
    if !options.without_redis {
        super::redis::install_missing()?;
    }
    let machine = Machine::current()?;
    let extent = Extent {
        keys: options.keys,
        requests: options.requests,
        fitting: options.memory_bytes as usize / (BYTES_PER_KEY + options.value_bytes),
        value_bytes: options.value_bytes,
    };
    let mut ratios = Vec::new();
    for kind in traces::ALL {
        run(kind, extent, options, &mut ratios)?;
    }
    let mut servers = BTreeMap::new();
    if !options.without_redis {
        servers.insert("redis".to_owned(), super::redis::first_line(Path::new("redis-server"), "--version"));
    }
    let results = EvictionResults {
        machine,
        command: super::engine::command(),
        servers,
        memory_bytes: options.memory_bytes,
        keys: options.keys,
        requests: options.requests,
        value_bytes: options.value_bytes,
        ratios,
    };
    results::save(&options.paths.eviction(), &results)?;
    report::write(&options.paths)
}

fn run(kind: Kind, extent: Extent, options: &EvictionOptions, ratios: &mut Vec<HitRatio>) -> anyhow::Result<()> {
    let requests = kind.requests(extent);
    let warm_up = requests.len() / WARM_UP_SHARE;
    let value_bytes = |key: u32| kind.value_bytes(key, extent);
    let longest = requests.iter().map(|key| value_bytes(*key)).max().unwrap_or(0);
    let mut add = |cache: &str, keys: u64, hit_ratio: f64| {
        anstream::eprintln!("{}: {cache}: {:.2}% of {keys} keys", kind.name(), 100.0 * hit_ratio);
        ratios.push(HitRatio { trace: kind.name().to_owned(), cache: cache.to_owned(), keys, hit_ratio });
    };

    let mut kvd = Kvd::new(options.memory_bytes, &value_bytes, longest);
    let ratio = hit_ratio(&mut kvd, &requests, warm_up)?;
    let (keys, overhead) = kvd.holds();
    drop(kvd);
    add("kvd", keys, ratio);
    // What LRU would hold in kvd's place: the same index and records, and a list that takes nothing.
    let keys_end = requests.iter().max().map_or(0, |key| key + 1);
    let mut lru = Lru::new(options.memory_bytes, overhead, &value_bytes, keys_end);
    let ratio = hit_ratio(&mut lru, &requests, warm_up)?;
    let keys = lru.keys();
    add("LRU", keys, ratio);
    if longest == options.value_bytes {
        add("optimum", keys, optimum(&requests, keys as usize, warm_up));
    }
    if !options.without_redis {
        for policy in REDIS_POLICIES {
            let mut redis = Redis::start(policy, options.memory_bytes, &value_bytes, longest)?;
            let ratio = hit_ratio(&mut redis, &requests, warm_up)?;
            add(&format!("redis {policy}"), redis.keys()?, ratio);
        }
    }
    Ok(())
}

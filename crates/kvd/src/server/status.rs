//! What the server says of itself: the contents of /v1/stats and /v1/info, gathered from the engine and the process.

use std::borrow::Cow;
use std::fs;

use kvd_engine::{Engine, MemoryPolicy};
use kvd_wire::rest::batch::{
    DurabilityStats, InfoAnswer, InfoLimits, MemoryStats, OperationStats, StatsAnswer, WatchStats,
};
use kvd_wire::rest::problem::Problem;

use super::shared::Shared;

/// What keeps a server that serves from being ready, if anything.
pub(super) fn complaint(engine: &Engine) -> Option<Problem> {
    let durability = engine.durability()?;
    match durability.failure {
        Some(reason) => Some(Problem::journal_failed(reason)),
        None => durability.is_full.then(Problem::no_room),
    }
}

pub(super) fn stats(shared: &Shared, engine: &Engine) -> StatsAnswer {
    let stats = engine.stats();
    let (operations, totals) = (&stats.operations, &stats.totals);
    StatsAnswer {
        keys: totals.keys,
        value_bytes: totals.value_bytes,
        key_bytes: totals.key_bytes,
        ops: OperationStats {
            get: operations.gets(),
            set: operations.sets,
            delete: operations.deletes,
            total: operations.total(),
        },
        hits: operations.hits,
        misses: operations.misses,
        delete_misses: operations.delete_misses,
        rejected: operations.rejected,
        expired: operations.expired,
        evicted: operations.evicted,
        expiry_lag_ms: shared.expiry_lag_ms(),
        memory: MemoryStats {
            used: totals.memory_bytes(),
            limit: engine.memory_limit().map(|(max, _)| max),
            index: totals.index_bytes,
            history: totals.history_bytes,
            retired: totals.retired_bytes,
            buffers: totals.buffer_bytes + totals.watch_bytes,
            rss: resident_bytes(),
        },
        connections: shared.connections_open() as u64,
        transactions: shared.transactions.open() as u64,
        watch: WatchStats {
            watches: stats.watching.watches,
            lagged: stats.watching.lagged,
            retained_bytes: totals.watch_bytes,
        },
        uptime_s: shared.started.elapsed().as_secs(),
        revision: stats.revision.0,
        durability: durability(shared, engine),
    }
}

fn durability(shared: &Shared, engine: &Engine) -> DurabilityStats {
    let mut stats = DurabilityStats { policy: shared.policy.into(), ..DurabilityStats::default() };
    if let Some(durability) = engine.durability() {
        let loaded = shared.opened().loaded;
        (stats.loaded_keys, stats.loaded_bytes) = (loaded.keys, loaded.bytes);
        stats.revision_durable = Some(durability.durable.0);
        stats.journal_bytes = durability.journal_bytes;
        stats.snapshot_revision = durability.snapshot.map(|revision| revision.0);
        stats.error = complaint(engine).map(|problem| problem.detail().to_owned());
    }
    stats
}

/// As the configuration spells it.
fn policy_name(policy: MemoryPolicy) -> &'static str {
    match policy {
        MemoryPolicy::Reject => "reject",
        MemoryPolicy::Evict => "evict",
    }
}

pub(super) fn info(shared: &Shared, engine: &Engine) -> InfoAnswer {
    let limit = engine.memory_limit();
    InfoAnswer {
        version: env!("CARGO_PKG_VERSION").into(),
        api: 1,
        epoch: engine.epoch().to_string(),
        revision: engine.revision().0,
        limits: InfoLimits {
            history_versions: engine.history_versions() as u64,
            memory_bytes_max: limit.map(|(max, _)| max),
            memory_policy: limit.map(|(_, policy)| policy_name(policy).into()),
            ..InfoLimits::from(&shared.limits)
        },
        default_ttl_ms: shared.default_ttl_ms,
        features: features(engine),
        uptime_s: shared.started.elapsed().as_secs(),
    }
}

/// What this server can do, as it is configured.
fn features(engine: &Engine) -> Vec<Cow<'static, str>> {
    let history = (engine.history_versions() > 0).then_some("history");
    let always = ["batch", "cbor", "conditions", "list", "range", "transactions", "ttl", "watch"];
    always.into_iter().chain(history).map(Cow::Borrowed).collect()
}

/// The process's resident set, where the system tells it (Linux).
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

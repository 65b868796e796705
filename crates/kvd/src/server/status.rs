//! What the server says of itself: the contents of /v1/stats and /v1/info, gathered from the engine and the process.

use std::fs;

use kvd_wire::rest::batch::{DurabilityStats, InfoAnswer, InfoLimits, MemoryStats, OperationStats, StatsAnswer};

use super::shared::Shared;

pub(super) fn stats(shared: &Shared) -> StatsAnswer {
    let stats = shared.engine.stats();
    let (operations, totals) = (&stats.operations, &stats.totals);
    let buffers = shared.inbound.used() as u64;
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
        memory: MemoryStats {
            used: totals.memory_bytes() + buffers,
            index: totals.index_bytes,
            history: totals.history_bytes,
            retired: totals.retired_bytes,
            buffers,
            rss: resident_bytes(),
            ..MemoryStats::default()
        },
        connections: shared.connections_open() as u64,
        uptime_s: shared.started.elapsed().as_secs(),
        revision: stats.revision.0,
        durability: DurabilityStats { policy: "in-memory".into(), ..DurabilityStats::default() },
        ..StatsAnswer::default()
    }
}

pub(super) fn info(shared: &Shared) -> InfoAnswer {
    InfoAnswer {
        version: env!("CARGO_PKG_VERSION").into(),
        api: 1,
        epoch: shared.engine.epoch().to_string(),
        revision: shared.engine.revision().0,
        limits: InfoLimits::from(&shared.limits),
        features: ["batch", "cbor", "conditions", "list", "range"].map(Into::into).into(),
        uptime_s: shared.started.elapsed().as_secs(),
    }
}

/// The process's resident set, where the system tells it (Linux).
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

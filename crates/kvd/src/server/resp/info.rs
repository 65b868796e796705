//! INFO: what dashboards and client libraries read of a Redis server, as far as it has a meaning here. What is not counted is 0
//! or left out; docs/PROTOCOL.md says which.

use std::fmt::{Display, Write};
use std::process;

use bytesize::ByteSize;
use kvd_wire::rest::batch::StatsAnswer;

use super::actions::REDIS_VERSION;
use super::settings::EVICTION_POLICY;
use crate::server::shared::Shared;
use crate::server::status;

/// A section: its name, and what is in it.
type Section = (&'static str, fn(&mut Lines, &About<'_>));

const SECTIONS: [Section; 7] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Keyspace", keyspace),
];

/// What stands for several sections.
const ALL: [&str; 3] = ["all", "default", "everything"];

/// What the sections tell of.
struct About<'s> {
    shared: &'s Shared,
    /// None while the store is loading.
    stats: Option<StatsAnswer>,
}

/// The text of these sections, or of all.
pub(super) fn text(shared: &Shared, wanted: &[&[u8]]) -> String {
    let about = About { shared, stats: shared.engine().map(|engine| status::stats(shared, engine)) };
    let is_named = |name: &str| wanted.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let is_all = wanted.is_empty() || ALL.into_iter().any(is_named);
    let mut lines = Lines(String::new());
    for (name, section) in SECTIONS {
        if is_all || is_named(name) {
            lines.begin(name);
            section(&mut lines, &about);
        }
    }
    lines.0
}

/// Lines of `name:value`.
struct Lines(String);

impl Lines {
    fn begin(&mut self, section: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        self.write(format_args!("{gap}# {section}"));
    }

    fn field(&mut self, name: &str, value: impl Display) {
        self.write(format_args!("{name}:{value}"));
    }

    fn write(&mut self, line: std::fmt::Arguments<'_>) {
        write!(self.0, "{line}\r\n").expect("a string takes everything");
    }
}

fn server(lines: &mut Lines, about: &About<'_>) {
    let uptime_s = about.shared.started.elapsed().as_secs();
    lines.field("redis_version", REDIS_VERSION);
    lines.field("kvd_version", env!("CARGO_PKG_VERSION"));
    lines.field("redis_mode", "standalone");
    lines.field("os", std::env::consts::OS);
    lines.field("arch_bits", usize::BITS);
    lines.field("process_id", process::id());
    lines.field("run_id", run_id(about.shared));
    lines.field("tcp_port", about.shared.resp_port());
    lines.field("uptime_in_seconds", uptime_s);
    lines.field("uptime_in_days", uptime_s / (24 * 60 * 60));
}

/// Forty digits, as in Redis; the same until the store is another one.
fn run_id(shared: &Shared) -> String {
    let epoch = shared.engine().map_or(0, |engine| engine.epoch().0);
    format!("{epoch:040x}")
}

fn clients(lines: &mut Lines, about: &About<'_>) {
    lines.field("connected_clients", about.shared.clients.open());
    lines.field("maxclients", about.shared.limits.connections_max);
    lines.field("blocked_clients", 0);
}

fn memory(lines: &mut Lines, about: &About<'_>) {
    let Some(stats) = &about.stats else { return };
    let (used, limit) = (stats.memory.used, stats.memory.limit.unwrap_or(0));
    let human = |bytes: u64| ByteSize::b(bytes).display().iec_short().to_string();
    lines.field("used_memory", used);
    lines.field("used_memory_human", human(used));
    if let Some(rss) = stats.memory.rss {
        lines.field("used_memory_rss", rss);
        lines.field("used_memory_rss_human", human(rss));
        lines.field("mem_fragmentation_ratio", format_args!("{:.2}", rss as f64 / used.max(1) as f64));
    }
    lines.field("used_memory_dataset", stats.key_bytes + stats.value_bytes);
    lines.field("maxmemory", limit);
    lines.field("maxmemory_human", human(limit));
    lines.field("maxmemory_policy", EVICTION_POLICY);
    lines.field("mem_allocator", "mimalloc");
}

fn persistence(lines: &mut Lines, about: &About<'_>) {
    let last = about.shared.snapshots.last();
    let durability = about.shared.engine().and_then(|engine| engine.durability());
    let is_ok = |is_ok: bool| if is_ok { "ok" } else { "err" };
    lines.field("loading", u8::from(about.stats.is_none()));
    if let (Some(stats), Some(durability)) = (&about.stats, &durability) {
        let saved = durability.snapshot.map_or(0, |revision| revision.0);
        lines.field("rdb_changes_since_last_save", stats.revision.saturating_sub(saved));
    }
    lines.field("rdb_bgsave_in_progress", u8::from(about.shared.snapshots.is_under_way()));
    lines.field("rdb_last_save_time", last.made_ms / 1_000);
    lines.field("rdb_last_bgsave_status", is_ok(last.failure.is_none()));
    lines.field("aof_enabled", u8::from(durability.is_some()));
    lines.field(
        "aof_last_write_status",
        is_ok(durability.as_ref().is_none_or(|durability| durability.failure.is_none())),
    );
    if let Some(durability) = durability {
        lines.field("aof_current_size", durability.journal_bytes);
    }
}

fn stats(lines: &mut Lines, about: &About<'_>) {
    lines.field("total_connections_received", about.shared.clients.count());
    let Some(stats) = &about.stats else { return };
    lines.field("total_commands_processed", stats.ops.total);
    lines.field("rejected_connections", 0);
    lines.field("expired_keys", stats.expired);
    lines.field("evicted_keys", stats.evicted);
    lines.field("keyspace_hits", stats.hits);
    lines.field("keyspace_misses", stats.misses);
}

fn replication(lines: &mut Lines, about: &About<'_>) {
    lines.field("role", "master");
    lines.field("connected_slaves", 0);
    lines.field("master_replid", run_id(about.shared));
    lines.field("master_repl_offset", 0);
}

fn keyspace(lines: &mut Lines, about: &About<'_>) {
    let Some(stats) = about.stats.as_ref().filter(|stats| stats.keys > 0) else { return };
    lines.field("db0", format_args!("keys={},expires=0,avg_ttl=0", stats.keys));
}

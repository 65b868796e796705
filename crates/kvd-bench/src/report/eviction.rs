//! The report's section on eviction: the hit ratio of each cache under each kind of traffic. Knows nothing of how they were
//! counted.

use super::figures::count;
use super::tables::table;
use crate::results::{EvictionResults, HitRatio};

const SETUP: &str = "\
The share of requests that a cache answers. A key that it has not is set after it was asked for; 32 keys are asked for together,
of all caches alike, and the first quarter of the requests does not count. *LRU* is exact, and holds what kvd could if it kept
nothing to choose by. *optimum* is what nobody can beat who holds as many keys as LRU does: it knows the future (Belady).
redis-server has the same limit (`maxmemory`), its own memory for each key, and its defaults otherwise.";

const KEYS: &str = "Keys held at the end, in the same memory.";

pub(super) fn section(results: &EvictionResults) -> String {
    let EvictionResults { machine, memory_bytes, keys, requests, value_bytes, ratios, .. } = results;
    let facts = [
        ("machine", format!("{}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel)),
        ("commit", machine.commit.clone()),
        ("servers", results.servers.values().cloned().collect::<Vec<_>>().join("; ")),
        ("memory of each cache", format!("{:.1} MiB", *memory_bytes as f64 / f64::from(1 << 20))),
        (
            "each kind of traffic",
            format!("{} requests, popular keys of {}, values of {value_bytes} bytes", count(*requests), count(*keys)),
        ),
        ("command", format!("`{}`", results.command)),
    ];
    let facts = facts.into_iter().map(|(what, value)| vec![what.to_owned(), value]).collect();
    let (traces, caches) = (distinct(ratios, |ratio| &ratio.trace), distinct(ratios, |ratio| &ratio.cache));
    let head: Vec<&str> = std::iter::once("traffic").chain(caches.iter().copied()).collect();
    let rows = |show: &dyn Fn(&HitRatio) -> String| -> Vec<Vec<String>> {
        let cell = |trace: &str, cache: &str| {
            let found = ratios.iter().find(|ratio| ratio.trace == trace && ratio.cache == cache);
            found.map_or_else(String::new, show)
        };
        let row = |trace: &&str| {
            std::iter::once((*trace).to_owned()).chain(caches.iter().map(|cache| cell(trace, cache))).collect()
        };
        traces.iter().map(row).collect()
    };
    let hits = table(&head, rows(&|ratio| format!("{:.2}%", 100.0 * ratio.hit_ratio))).unwrap_or_default();
    let held = table(&head, rows(&|ratio| ratio.keys.to_string())).unwrap_or_default();
    let facts = table(&["", ""], facts).unwrap_or_default();
    format!("{SETUP}\n\n{facts}\n### Hits\n\n{hits}\n### Keys\n\n{KEYS}\n\n{held}")
}

/// What there is, in the order in which it comes first.
fn distinct<'r>(ratios: &'r [HitRatio], of: impl Fn(&'r HitRatio) -> &'r String) -> Vec<&'r str> {
    let mut found: Vec<&str> = Vec::new();
    for name in ratios.iter().map(of) {
        if !found.contains(&name.as_str()) {
            found.push(name);
        }
    }
    found
}

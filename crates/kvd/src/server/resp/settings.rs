//! CONFIG: the settings that clients of Redis ask for, told from the server's own configuration. None of them can change while it
//! runs: to set one to what it is does nothing, anything else is refused.

use kvd_engine::{Engine, MemoryPolicy};
use kvd_wire::resp::encode::Output;
use kvd_wire::resp::error::Refusal;
use kvd_wire::resp::glob;

use crate::server::shared::Shared;

/// What happens at the limit on memory, by the name of what comes nearest in Redis.
pub(super) fn eviction_policy(shared: &Shared) -> &'static str {
    match shared.engine().and_then(Engine::memory_limit) {
        Some((_, MemoryPolicy::Evict)) => "allkeys-lfu",
        Some((_, MemoryPolicy::Reject)) | None => "noeviction",
    }
}

/// Name and value, in order of their names.
fn settings(shared: &Shared) -> [(&'static str, String); 12] {
    let is_durable = shared.policy != "in-memory";
    let text = str::to_owned;
    let append_fsync = match shared.policy {
        "always" => "always",
        "interval" => "everysec",
        _ => "no",
    };
    [
        ("appendfsync", text(append_fsync)),
        ("appendonly", text(if is_durable { "yes" } else { "no" })),
        ("databases", text("1")),
        ("maxclients", shared.limits.connections_max.to_string()),
        ("maxmemory", memory_max(shared).to_string()),
        ("maxmemory-policy", text(eviction_policy(shared))),
        ("notify-keyspace-events", String::new()),
        ("port", shared.resp_port().to_string()),
        ("proto-max-bulk-len", shared.limits.value_bytes_max.to_string()),
        ("requirepass", String::new()),
        // Snapshots follow the journal's growth, not a number of changes.
        ("save", String::new()),
        ("timeout", text("0")),
    ]
}

/// The limit on memory, in bytes; 0 without one.
fn memory_max(shared: &Shared) -> u64 {
    shared.engine().and_then(Engine::memory_limit).map_or(0, |(max, _)| max)
}

/// CONFIG GET.
pub(super) fn get(output: &mut Output, shared: &Shared, patterns: &[&[u8]]) {
    let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
    let is_wanted = |name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes()));
    let found: Vec<_> = settings(shared).into_iter().filter(|(name, _)| is_wanted(name)).collect();
    output.map(found.len());
    for (name, value) in found {
        output.bulk(name.as_bytes());
        output.bulk(value.as_bytes());
    }
}

/// CONFIG SET.
///
/// # Errors
/// A setting is not known, named twice, or would have to change.
pub(super) fn set(shared: &Shared, pairs: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
    let settings = settings(shared);
    for (at, (name, value)) in pairs.iter().enumerate() {
        let shown = String::from_utf8_lossy(name);
        let Some((_, now)) = settings.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())) else {
            return Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'").into());
        };
        let failed = |why| format!("ERR CONFIG SET failed (possibly related to argument '{shown}') - {why}").into();
        if pairs[..at].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            return Err(failed("duplicate parameter"));
        }
        if now.as_bytes() != *value {
            return Err(failed("can't set immutable config"));
        }
    }
    Ok(())
}

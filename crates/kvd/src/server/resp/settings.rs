//! CONFIG: the settings that clients of Redis ask for, told from the server's own configuration. None of them can change while it
//! runs: to set one to what it is does nothing, anything else is refused.

use kvd_wire::resp::encode::Output;
use kvd_wire::resp::error::Refusal;
use kvd_wire::resp::glob;

use crate::server::shared::Shared;
use crate::server::status;

/// What happens at the limit on memory: writes are refused.
pub(super) const EVICTION_POLICY: &str = "noeviction";

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
        ("maxmemory-policy", text(EVICTION_POLICY)),
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
    shared.engine().and_then(|engine| status::stats(shared, engine).memory.limit).unwrap_or(0)
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
/// A setting is not known, or would have to change.
pub(super) fn set(shared: &Shared, pairs: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
    let settings = settings(shared);
    for (name, value) in pairs {
        let shown = String::from_utf8_lossy(name);
        let Some((name, now)) = settings.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())) else {
            return Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'").into());
        };
        if now.as_bytes() != *value {
            let text = "can't set immutable config";
            return Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {text}").into());
        }
    }
    Ok(())
}

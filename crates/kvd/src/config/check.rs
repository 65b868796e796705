//! What settings must be true together before a server may start with them. Knows nothing of how they were read; an
//! error says who set each of the keys it names.

use std::time::Duration;

use http::uri::Authority;
use kvd_types::KEY_BYTES_CEILING;

use super::settings::{MemoryPolicy, Settings};
use super::{ConfigError, Layers};

/// More threads than any machine this version is meant for; a number above is a typing mistake.
const WORKERS_MAX: usize = 1024;

/// Every write walks over the versions of its key; who wants more of them wants a log.
const HISTORY_VERSIONS_MAX: usize = 1_000;

/// The HTTP parser's smallest buffer.
const HEADER_BYTES_MIN: usize = 8 << 10;

/// Below it snapshots would follow each other without a pause.
const SNAPSHOT_BYTES_MIN: usize = 1 << 20;

/// Room for an index, and for some keys.
const MEMORY_BYTES_MIN: usize = 1 << 20;

/// Below it watches would lose their place while they are being written to.
const WATCH_BYTES_MIN: usize = 1 << 20;

/// Longer than any client waits. Keeps clocks' arithmetic far from its end.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A hundred years, as a time to live that a client gives.
const TTL_MAX: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// What is wrong with a key.
struct Problem {
    key: &'static str,
    text: String,
}

/// Refuses the first setting that can't work, alone or beside another.
pub(super) fn check(settings: &Settings, layers: &Layers) -> Result<(), ConfigError> {
    check_counts(settings)
        .and_then(|()| check_memory(settings))
        .and_then(|()| check_timeouts(settings))
        .and_then(|()| check_expiry(settings))
        .and_then(|()| check_sizes_fit(settings, layers))
        .and_then(|()| check_hosts(settings))
        .and_then(|()| check_listen(settings))
        .map_err(|Problem { key, text }| ConfigError::new(format!("{key} ({}): {text}", layers.origin(key))))
}

fn check_counts(settings: &Settings) -> Result<(), Problem> {
    let limits = &settings.limits;
    let counts = [
        ("server.workers", settings.server.workers, 1, WORKERS_MAX),
        ("limits.key_bytes_max", limits.key_bytes_max, 1, KEY_BYTES_CEILING),
        ("limits.value_bytes_max", limits.value_bytes_max, 1, usize::MAX),
        ("limits.batch_items_max", limits.batch_items_max, 1, usize::MAX),
        ("limits.transaction_ops_max", limits.transaction_ops_max, 1, usize::MAX),
        ("limits.transactions_max", limits.transactions_max, 1, usize::MAX),
        ("limits.header_bytes_max", limits.header_bytes_max, HEADER_BYTES_MIN, usize::MAX),
        ("limits.connections_max", limits.connections_max, 1, usize::MAX),
        ("history.versions", settings.history.versions, 0, HISTORY_VERSIONS_MAX),
        ("watch.retain_bytes", settings.watch.retain_bytes, WATCH_BYTES_MIN, usize::MAX),
        ("storage.snapshot_journal_bytes", settings.storage.snapshot_journal_bytes, SNAPSHOT_BYTES_MIN, usize::MAX),
    ];
    for (key, value, min, max) in counts {
        if value < min {
            return Err(Problem { key, text: format!("{value} is too small, the least is {min}") });
        }
        if value > max {
            return Err(Problem { key, text: format!("{value} is too large, the most is {max}") });
        }
    }
    Ok(())
}

/// A limit must be one that a store can keep, and a policy without a limit says nothing.
fn check_memory(settings: &Settings) -> Result<(), Problem> {
    match (settings.memory.max, settings.memory.policy) {
        (Some(max), _) if max < MEMORY_BYTES_MIN => {
            let text = format!("{max} is too small, the least is {MEMORY_BYTES_MIN}");
            Err(Problem { key: "memory.max", text })
        }
        (None, MemoryPolicy::Evict) => {
            let text = "nothing is evicted without a limit; give one with --max-memory, or memory.max".to_owned();
            Err(Problem { key: "memory.policy", text })
        }
        _ => Ok(()),
    }
}

fn check_timeouts(settings: &Settings) -> Result<(), Problem> {
    let limits = &settings.limits;
    let timeouts = [
        ("server.stop_timeout", settings.server.stop_timeout),
        ("storage.interval", settings.storage.interval),
        ("storage.snapshot_interval", settings.storage.snapshot_interval),
        ("limits.transaction_idle_timeout", limits.transaction_idle_timeout),
        ("limits.transaction_age_max", limits.transaction_age_max),
        ("limits.header_timeout", limits.header_timeout),
        ("limits.body_idle_timeout", limits.body_idle_timeout),
        ("limits.keep_alive_timeout", limits.keep_alive_timeout),
    ];
    match timeouts.into_iter().find(|(_, timeout)| timeout.is_zero() || *timeout > TIMEOUT_MAX) {
        Some((key, _)) => Err(Problem { key, text: "a time is more than 0 and at most 24h here".to_owned() }),
        None => Ok(()),
    }
}

fn check_expiry(settings: &Settings) -> Result<(), Problem> {
    match settings.expiry.default_ttl {
        Some(ttl) if ttl < Duration::from_millis(1) || ttl > TTL_MAX => {
            let text = "a time to live is at least 1ms and at most 36500d; \"none\" keeps values for ever".to_owned();
            Err(Problem { key: "expiry.default_ttl", text })
        }
        _ => Ok(()),
    }
}

/// A value must fit into a batch, and a batch into the memory for all bodies, and into that for all transactions.
fn check_sizes_fit(settings: &Settings, layers: &Layers) -> Result<(), Problem> {
    let limits = &settings.limits;
    let value = ("limits.value_bytes_max", limits.value_bytes_max);
    let batch = ("limits.batch_bytes_max", limits.batch_bytes_max);
    let inbound = ("limits.inbound_bytes_max", limits.inbound_bytes_max);
    let transactions = ("limits.transactions_bytes_max", limits.transactions_bytes_max);
    for ((key, bytes), (outer, outer_bytes)) in [(value, batch), (batch, inbound), (batch, transactions)] {
        if bytes > outer_bytes {
            let origin = layers.origin(outer);
            let text = format!("{bytes} bytes don't fit into {outer} ({origin}), which is {outer_bytes}");
            return Err(Problem { key, text });
        }
    }
    Ok(())
}

fn check_hosts(settings: &Settings) -> Result<(), Problem> {
    // No scheme, no user, no port.
    let is_host = |host: &&String| host.parse::<Authority>().is_ok_and(|authority| authority.host() == host.as_str());
    match settings.http.allowed_hosts.iter().find(|host| !is_host(host)) {
        Some(host) => Err(Problem {
            key: "http.allowed_hosts",
            text: format!("{host:?} is no host name; give names alone, such as kv.example.com"),
        }),
        None => Ok(()),
    }
}

fn check_listen(settings: &Settings) -> Result<(), Problem> {
    if settings.server.listen.is_empty() {
        return Err(Problem { key: "server.listen", text: "there must be at least one address".to_owned() });
    }
    let (rest, resp) = (&settings.server.listen, &settings.resp.listen);
    let addresses = rest.iter().map(|address| ("server.listen", address));
    let mut addresses = addresses.chain(resp.iter().map(|address| ("resp.listen", address)));
    // Mapped IPv4 addresses count as what they stand for.
    match addresses.find(|(_, address)| !address.ip().to_canonical().is_loopback()) {
        Some((key, address)) if !settings.security.insecure_no_auth => Err(Problem {
            key,
            text: format!(
                "{address} can be reached from other machines, and this version has no authentication: everyone who \
                 connects could read and change everything. Listen on 127.0.0.1 or [::1], or allow it with \
                 --set security.insecure_no_auth=true"
            ),
        }),
        _ => Ok(()),
    }
}

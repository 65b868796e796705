//! What the server tells of itself: `/v1/stats` and `/v1/info`. Only names and units; the figures come from the server.

use std::borrow::Cow;

use kvd_types::{LIST_ITEMS_DEFAULT, LIST_ITEMS_MAX, Limits, URL_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// The answer to `GET /v1/stats`. A figure of something this version does not have is 0 or null.
///
/// # Units
/// Sizes in bytes, times in the unit the name ends with; operation counts are per key and start at 0 with the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsAnswer {
    /// Keys that have a value.
    pub keys: u64,
    /// Sum of the lengths of all current values.
    pub value_bytes: u64,
    /// Sum of the lengths of all keys that have a value.
    pub key_bytes: u64,
    /// Operations by kind.
    pub ops: OperationStats,
    /// Gets that found a value.
    pub hits: u64,
    /// Gets that found none.
    pub misses: u64,
    /// Deletes of keys that had no value.
    pub delete_misses: u64,
    /// Operations that were refused.
    pub rejected: u64,
    /// Keys removed because their time was over.
    pub expired: u64,
    /// Keys removed to make room.
    pub evicted: u64,
    /// How far the sweep of expired keys is behind.
    pub expiry_lag_ms: u64,
    /// Where memory goes.
    pub memory: MemoryStats,
    /// Open connections.
    pub connections: u64,
    /// Open transactions.
    pub transactions: u64,
    /// Who watches.
    pub watch: WatchStats,
    /// Since the process started.
    pub uptime_s: u64,
    /// The newest commit.
    pub revision: u64,
    /// What would survive a crash.
    pub durability: DurabilityStats,
}

/// Operations by kind, counted per key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStats {
    /// Keys read.
    pub get: u64,
    /// Keys given a value.
    pub set: u64,
    /// Keys named in deletes.
    pub delete: u64,
    /// All of them.
    pub total: u64,
}

/// Who watches commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStats {
    /// Open watches.
    pub watches: u64,
    /// Watches that were too slow, and lost their place.
    pub lagged: u64,
    /// Bytes of the commits that are kept for them.
    pub retained_bytes: u64,
}

/// Where memory goes, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStats {
    /// What the store accounts for.
    pub used: u64,
    /// What it may use; null without a limit.
    pub limit: Option<u64>,
    /// The index.
    pub index: u64,
    /// Versions beside the newest: kept as history, or for who reads them.
    pub history: u64,
    /// Removed, waiting for their last reader.
    pub retired: u64,
    /// Requests and answers under way, and commits kept for who watches.
    pub buffers: u64,
    /// The process's resident set, as the system tells it; null where it doesn't.
    pub rss: Option<u64>,
}

/// What would survive a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurabilityStats {
    /// `in-memory`: nothing.
    pub policy: Cow<'static, str>,
    /// The newest commit that is safe on disk; null without a disk.
    pub revision_durable: Option<u64>,
    /// Length of the journal.
    pub journal_bytes: u64,
    /// The commit of the newest snapshot; null without one.
    pub snapshot_revision: Option<u64>,
    /// Keys read at start.
    pub loaded_keys: u64,
    /// Bytes read at start.
    pub loaded_bytes: u64,
    /// Why writes are refused; null when they are not.
    pub error: Option<String>,
}

/// The answer to `GET /v1/info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoAnswer {
    /// The server's version.
    pub version: Cow<'static, str>,
    /// The version of this protocol: 1.
    pub api: u32,
    /// The store's epoch, as it stands in entity tags.
    pub epoch: String,
    /// The newest commit.
    pub revision: u64,
    /// The limits in force.
    pub limits: InfoLimits,
    /// Time to live of what is set without one; null for ever.
    pub default_ttl_ms: Option<u64>,
    /// What this server can do beyond the plain routes, by name.
    pub features: Vec<Cow<'static, str>>,
    /// Since the process started.
    pub uptime_s: u64,
}

/// The limits in force, by the names they have in errors and in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of the same name in kvd_types")]
pub struct InfoLimits {
    pub key_bytes_max: u64,
    pub value_bytes_max: u64,
    pub batch_items_max: u64,
    pub transaction_ops_max: u64,
    pub batch_bytes_max: u64,
    pub inbound_bytes_max: u64,
    pub header_bytes_max: u64,
    pub url_bytes_max: u64,
    pub connections_max: u64,
    pub transactions_max: u64,
    pub transactions_bytes_max: u64,
    pub list_items_default: u64,
    pub list_items_max: u64,
    pub transaction_idle_timeout_ms: u64,
    pub transaction_age_max_ms: u64,
    pub header_timeout_ms: u64,
    pub body_idle_timeout_ms: u64,
    pub keep_alive_timeout_ms: u64,
    /// Older versions kept of each key: `history.versions`, 0 where there is no history.
    #[serde(default)]
    pub history_versions: u64,
    /// Most bytes of memory; null without a limit.
    pub memory_bytes_max: Option<u64>,
    /// What happens to a write that needs more: `reject` or `evict`; null without a limit.
    pub memory_policy: Option<Cow<'static, str>>,
}

impl From<&Limits> for InfoLimits {
    fn from(limits: &Limits) -> Self {
        InfoLimits {
            key_bytes_max: limits.key_bytes_max as u64,
            value_bytes_max: limits.value_bytes_max as u64,
            batch_items_max: limits.batch_items_max as u64,
            transaction_ops_max: limits.transaction_ops_max as u64,
            batch_bytes_max: limits.batch_bytes_max as u64,
            inbound_bytes_max: limits.inbound_bytes_max as u64,
            header_bytes_max: limits.header_bytes_max as u64,
            url_bytes_max: URL_BYTES_MAX as u64,
            connections_max: limits.connections_max as u64,
            transactions_max: limits.transactions_max as u64,
            transactions_bytes_max: limits.transactions_bytes_max as u64,
            list_items_default: LIST_ITEMS_DEFAULT as u64,
            list_items_max: LIST_ITEMS_MAX as u64,
            transaction_idle_timeout_ms: limits.transaction_idle_timeout.as_millis() as u64,
            transaction_age_max_ms: limits.transaction_age_max.as_millis() as u64,
            header_timeout_ms: limits.header_timeout.as_millis() as u64,
            body_idle_timeout_ms: limits.body_idle_timeout.as_millis() as u64,
            keep_alive_timeout_ms: limits.keep_alive_timeout.as_millis() as u64,
            history_versions: 0,
            memory_bytes_max: None,
            memory_policy: None,
        }
    }
}

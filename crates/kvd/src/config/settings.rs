//! Every setting of the server, with its default: the one definition that the file, the environment, `--set` and the
//! flags are read into. Knows how one value is spelt; which values fit together is `check`'s business, where they came
//! from `layer`'s.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kvd_types::Limits;
use serde::{Deserialize, Serialize};

use super::units;

/// Where `kvd` and `kvcli` meet when nobody says anything else.
pub(crate) const LISTEN_DEFAULT: &str = "127.0.0.1:7480";

/// Where clients of Redis find it when nobody says anything else. Not Redis' own port: both can run on one machine.
pub(crate) const RESP_DEFAULT: &str = "127.0.0.1:6679";

/// All tables of kvd.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) resp: Resp,
    pub(crate) http: Http,
    pub(crate) storage: Storage,
    pub(crate) history: History,
    pub(crate) memory: Memory,
    pub(crate) watch: Watch,
    pub(crate) expiry: Expiry,
    #[serde(with = "LimitsTable")]
    pub(crate) limits: Limits,
    pub(crate) security: Security,
    pub(crate) log: Log,
}

/// The `[server]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Server {
    /// REST listeners. Port 0 is whichever port is free.
    #[serde(deserialize_with = "units::addresses")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Serving threads; the machine's cores by default.
    #[serde(deserialize_with = "units::count")]
    pub(crate) workers: usize,
    /// How long a stop waits for the requests that are under way.
    #[serde(with = "units::duration")]
    pub(crate) stop_timeout: Duration,
}

/// The `[resp]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Resp {
    /// The RESP listener; empty for none. A name may stand for several addresses.
    #[serde(with = "units::address_or_off")]
    pub(crate) listen: Vec<SocketAddr>,
}

/// The `[http]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Http {
    /// Host names, without a port, that a `Host` header may name besides localhost, loopback literals and the listen
    /// addresses.
    pub(crate) allowed_hosts: Vec<String>,
}

/// The `[storage]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Storage {
    /// The data directory; none stands for a well-known one.
    pub(crate) dir: Option<PathBuf>,
    /// When commits are put on disk.
    pub(crate) fsync: Fsync,
    /// How often, with [`Fsync::Interval`].
    #[serde(with = "units::duration")]
    pub(crate) interval: Duration,
    /// A snapshot is made when the journal has grown by this, and by as much as there is data.
    #[serde(with = "units::size")]
    pub(crate) snapshot_journal_bytes: usize,
    /// And when the last one is as old as this, if there are commits since.
    #[serde(with = "units::duration")]
    pub(crate) snapshot_interval: Duration,
    /// Whether the user asked for a store that never touches the disk.
    pub(crate) in_memory: bool,
}

/// The `[history]` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct History {
    /// Older versions kept of each key; 0 for none.
    #[serde(deserialize_with = "units::count")]
    pub(crate) versions: usize,
    /// The history of a deleted key is kept until so many keys were deleted after it.
    #[serde(deserialize_with = "units::count")]
    pub(crate) deleted_keys: usize,
}

/// The `[watch]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Watch {
    /// Bytes of the newest commits that are kept for who watches.
    #[serde(with = "units::size")]
    pub(crate) retain_bytes: usize,
}

/// The `[expiry]` table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Expiry {
    /// Time to live of what is set without one; none for ever.
    #[serde(with = "units::duration_or_none")]
    pub(crate) default_ttl: Option<Duration>,
}

/// When commits are put on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fsync {
    /// Before they are answered.
    Always,
    /// Every `storage.interval`.
    #[default]
    Interval,
    /// When the operating system likes.
    Off,
}

/// The `[memory]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Memory {
    /// Most bytes of memory; none for as many as there are.
    #[serde(deserialize_with = "units::size_or_none")]
    pub(crate) max: Option<usize>,
    /// What happens to a write that finds memory full.
    pub(crate) policy: MemoryPolicy,
}

impl Memory {
    /// Most bytes of it that request bodies together may take. Keys make room for bodies under way, too, whether or not those
    /// ever become values: half of a cache stays.
    pub(crate) fn inbound_bytes_max(&self) -> usize {
        let max = self.max.unwrap_or(usize::MAX);
        match self.policy {
            MemoryPolicy::Reject => max,
            MemoryPolicy::Evict => max / 2,
        }
    }
}

/// What happens to a write that finds memory full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MemoryPolicy {
    /// It is refused.
    #[default]
    Reject,
    /// The keys of least use make room for it.
    Evict,
}

/// The `[limits]` table: the fields of [`Limits`], which knows nothing of configuration files.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Limits", default = "Limits::default", deny_unknown_fields, expecting = "a table")]
struct LimitsTable {
    #[serde(with = "units::size")]
    key_bytes_max: usize,
    #[serde(with = "units::size")]
    value_bytes_max: usize,
    #[serde(deserialize_with = "units::count")]
    batch_items_max: usize,
    #[serde(deserialize_with = "units::count")]
    transaction_ops_max: usize,
    #[serde(with = "units::size")]
    batch_bytes_max: usize,
    #[serde(with = "units::size")]
    inbound_bytes_max: usize,
    #[serde(with = "units::size")]
    header_bytes_max: usize,
    #[serde(deserialize_with = "units::count")]
    connections_max: usize,
    #[serde(deserialize_with = "units::count")]
    transactions_max: usize,
    #[serde(with = "units::size")]
    transactions_bytes_max: usize,
    #[serde(with = "units::duration")]
    transaction_idle_timeout: Duration,
    #[serde(with = "units::duration")]
    transaction_age_max: Duration,
    #[serde(with = "units::duration")]
    header_timeout: Duration,
    #[serde(with = "units::duration")]
    body_idle_timeout: Duration,
    #[serde(with = "units::duration")]
    keep_alive_timeout: Duration,
}

/// The `[security]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Security {
    /// Whether addresses other than loopback may be served although every client is admin.
    pub(crate) insecure_no_auth: bool,
}

/// The `[log]` table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Log {
    /// The least severe events that are written.
    pub(crate) level: LogLevel,
    /// How events, and the startup line, are written.
    pub(crate) format: LogFormat,
}

/// Severities, the most talkative first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// Who reads the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// People: one line of text for each event.
    #[default]
    Text,
    /// Programs: one JSON object a line.
    Json,
}

impl Default for Resp {
    fn default() -> Self {
        Resp { listen: vec![RESP_DEFAULT.parse().expect("a literal address")] }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            dir: None,
            fsync: Fsync::default(),
            interval: Duration::from_secs(1),
            snapshot_journal_bytes: 256 << 20,
            snapshot_interval: Duration::from_secs(60 * 60),
            in_memory: false,
        }
    }
}

impl Default for History {
    fn default() -> Self {
        History { versions: 0, deleted_keys: 100_000 }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Watch { retain_bytes: 64 << 20 }
    }
}

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: vec![LISTEN_DEFAULT.parse().expect("a literal address")],
            // One serving thread is right where the system doesn't tell.
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            stop_timeout: Duration::from_secs(25),
        }
    }
}

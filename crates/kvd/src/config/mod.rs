//! The configuration: from its sources to the settings in effect.
//!
//! | file | what it owns |
//! |---|---|
//! | `settings` | every key, its type and default |
//! | `units` | how sizes, durations and addresses are spelt |
//! | `layer` | file < environment < `--set` < flags, and who set what |
//! | `check` | what must be true of the result |
//! | `locate` | the well-known files and directories |
//!
//! Knows nothing of commands and of the server that uses the settings.

mod check;
mod layer;
mod locate;
mod settings;
mod units;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use kvd_types::Limits;
use toml::Value;

pub(crate) use layer::{Layers, known_keys};
use settings::Storage;
pub(crate) use settings::{
    Fsync, History, LISTEN_DEFAULT, Log, LogFormat, LogLevel, Memory, MemoryPolicy, RESP_DEFAULT,
};

/// The settings in effect, checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where REST is served, at least one. Port 0 is whichever port is free.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where RESP is served; empty for nowhere.
    pub(crate) resp: Vec<SocketAddr>,
    /// Serving threads, at least one.
    pub(crate) workers: usize,
    /// How long a stop waits for the requests that are under way.
    pub(crate) stop_timeout: Duration,
    /// Host names, without a port, that clients may use besides localhost, loopback literals and the listen addresses.
    pub(crate) allowed_hosts: Vec<String>,
    /// Time to live of what is set without one, in milliseconds; none for ever.
    pub(crate) default_ttl_ms: Option<u64>,
    /// The bounds of what comes from outside. Request bodies together take no more than the memory limit leaves to them.
    pub(crate) limits: Limits,
    /// Where journal, snapshots, pid file and log are. Absolute; need not exist.
    pub(crate) data_dir: PathBuf,
    /// How data is kept there; none for a store that never touches the disk.
    pub(crate) durability: Option<Durability>,
    /// What is kept of the past of keys.
    pub(crate) history: History,
    /// How much memory is used, and what happens when that is not enough.
    pub(crate) memory: Memory,
    /// Bytes of the newest commits that are kept for who watches.
    pub(crate) watch_bytes: u64,
    /// What is logged, and how.
    pub(crate) log: Log,
}

/// How data is kept on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durability {
    /// When commits are put there.
    pub(crate) fsync: Fsync,
    /// How often, with [`Fsync::Interval`].
    pub(crate) interval: Duration,
    /// A snapshot is made when the journal has grown by this, and by as much as there is data.
    pub(crate) snapshot_journal_bytes: u64,
    /// And when the last one is as old as this, if there are commits since.
    pub(crate) snapshot_interval: Duration,
}

impl Config {
    /// What becomes of the data, in a word.
    pub(crate) fn policy(&self) -> &'static str {
        match self.durability.map(|durability| durability.fsync) {
            None => "in-memory",
            Some(Fsync::Always) => "always",
            Some(Fsync::Interval) => "interval",
            Some(Fsync::Off) => "off",
        }
    }
}

/// A configuration that can't be used. Says where the mistake is, what it is, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(String);

impl ConfigError {
    fn new(message: impl Into<String>) -> Self {
        ConfigError(message.into())
    }
}

/// What the command line says about the configuration, weakest first.
#[derive(Debug, Default)]
pub(crate) struct CommandLine<'a> {
    /// The file to read instead of the well-known ones.
    pub(crate) file: Option<&'a Path>,
    /// The `--set` arguments.
    pub(crate) assignments: &'a [String],
    /// Key, flag, and the flag's value.
    pub(crate) flags: Vec<(&'static str, &'static str, Value)>,
}

/// A configuration, and what it was made of.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    pub(crate) layers: Layers,
}

/// Reads all sources, lays them over each other, and checks the result.
///
/// # Errors
/// The first mistake, by the name of the source it stands in.
pub(crate) fn load(command_line: &CommandLine<'_>) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::default();
    let file = read_file(command_line.file)?;
    if let Some((path, text)) = &file {
        layers.read_file(path, text)?;
    }
    layers.read_environment(env::vars_os())?;
    for assignment in command_line.assignments {
        layers.read_assignment(assignment)?;
    }
    for (name, flag, value) in &command_line.flags {
        layers.assign(name, value.clone(), (*flag).to_owned())?;
    }
    let settings = layers.resolve().map_err(|error| ConfigError::new(error.message()))?;
    check::check(&settings, &layers)?;
    let config = Config {
        data_dir: data_dir(&settings.storage, &layers)?,
        listen: settings.server.listen,
        resp: settings.resp.listen,
        workers: settings.server.workers,
        stop_timeout: settings.server.stop_timeout,
        allowed_hosts: settings.http.allowed_hosts,
        default_ttl_ms: settings.expiry.default_ttl.map(|ttl| ttl.as_millis() as u64),
        limits: Limits {
            inbound_bytes_max: settings.limits.inbound_bytes_max.min(settings.memory.inbound_bytes_max()),
            ..settings.limits
        },
        durability: (!settings.storage.in_memory).then_some(Durability {
            fsync: settings.storage.fsync,
            interval: settings.storage.interval,
            snapshot_journal_bytes: settings.storage.snapshot_journal_bytes as u64,
            snapshot_interval: settings.storage.snapshot_interval,
        }),
        history: settings.history,
        memory: settings.memory,
        watch_bytes: settings.watch.retain_bytes as u64,
        log: settings.log,
    };
    Ok(Loaded { config, file: file.map(|(path, _)| path), layers })
}

/// The file that was named, which must exist, or the first of the well-known ones that does.
fn read_file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    if let Some(path) = named {
        return read(path, "--config").map(Some);
    }
    if let Some(path) = env::var_os("KVD_CONFIG") {
        return read(Path::new(&path), "KVD_CONFIG").map(Some);
    }
    for path in locate::config_candidates() {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(unreadable(&path, &error, "; name another file with --config")),
        }
    }
    Ok(None)
}

fn read(path: &Path, named_by: &str) -> Result<(PathBuf, String), ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error, &format!(", named by {named_by}")))?;
    Ok((path.to_owned(), text))
}

fn unreadable(path: &Path, error: &std::io::Error, more: &str) -> ConfigError {
    ConfigError::new(format!("can't read the configuration file {}: {error}{more}", path.display()))
}

fn data_dir(storage: &Storage, layers: &Layers) -> Result<PathBuf, ConfigError> {
    let dir = match &storage.dir {
        Some(dir) => dir.clone(),
        None => locate::default_data_dir(storage.in_memory)?,
    };
    std::path::absolute(&dir)
        .map_err(|error| ConfigError::new(format!("storage.dir ({}): {dir:?}: {error}", layers.origin("storage.dir"))))
}

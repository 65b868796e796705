//! The well-known places: which kvd.toml is read, and which data directory is used, when nobody names one.
//! Reads the environment and the user id; knows nothing of what the files say.

use std::env;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// Files read when none is named, the first that exists.
pub(super) fn config_candidates() -> Vec<PathBuf> {
    let user = base_dir("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("kvd/kvd.toml"));
    [Some(PathBuf::from("kvd.toml")), user, Some(PathBuf::from("/etc/kvd/kvd.toml"))].into_iter().flatten().collect()
}

/// The data directory when none is set.
pub(super) fn default_data_dir(in_memory: bool) -> Result<PathBuf, ConfigError> {
    if in_memory { default_runtime_dir() } else { default_state_dir() }
}

fn default_state_dir() -> Result<PathBuf, ConfigError> {
    if is_root() {
        return Ok(PathBuf::from("/var/lib/kvd"));
    }
    let state = base_dir("XDG_STATE_HOME", ".local/state").ok_or_else(|| {
        ConfigError::new("no data directory: neither XDG_STATE_HOME nor HOME is set; name one with --data-dir")
    })?;
    Ok(state.join("kvd"))
}

/// For a server without data on disk: only the pid file and the log need a place, and none that outlives the machine's
/// run.
fn default_runtime_dir() -> Result<PathBuf, ConfigError> {
    if let Some(dir) = absolute_var("XDG_RUNTIME_DIR") {
        return Ok(dir.join("kvd"));
    }
    if is_root() {
        return Ok(PathBuf::from("/run"));
    }
    // Private to the user, which /tmp is not, and apart from the directory of a server that keeps data.
    Ok(default_state_dir()?.join("in-memory"))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory of the XDG base directory specification, which has relative ones ignored.
fn base_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    absolute_var(variable).or_else(|| absolute_var("HOME").map(|home| home.join(below_home)))
}

fn absolute_var(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| Path::is_absolute(path))
}

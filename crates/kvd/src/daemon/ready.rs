//! What a server that has become ready says of itself: the startup line for whoever started it, and the file by which
//! `kvd status` finds it. Knows nothing of how it is doing now.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Home;
use crate::server::Started;

/// One server, ready. Its JSON is the startup line of `--log-format json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// Where it serves, with the ports as they really are.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where it serves the Redis protocol, likewise.
    #[serde(default)]
    pub(crate) resp: Vec<SocketAddr>,
    pub(crate) data_dir: String,
    pub(crate) policy: String,
    /// Keys that were there when it began.
    #[serde(default)]
    pub(crate) keys: u64,
    /// The log; none when it goes to the standard error of whoever runs the server.
    pub(crate) log: Option<String>,
    /// By the system's clock, since the Unix epoch.
    pub(crate) ready_at_ms: u64,
}

impl Ready {
    /// Describes this process, which serves from now on.
    pub(crate) fn new(started: &Started, policy: &str, home: &Home, daemon: bool) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ready {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            listen: started.listen.clone(),
            resp: started.resp.clone(),
            data_dir: home.dir().display().to_string(),
            policy: policy.to_owned(),
            keys: started.keys,
            log: daemon.then(|| home.log_file().display().to_string()),
            ready_at_ms: now.as_millis() as u64,
        }
    }

    /// Every address as a URL.
    pub(crate) fn urls(&self) -> String {
        let rest = self.listen.iter().map(|address| format!("http://{address}"));
        let urls: Vec<String> = rest.chain(self.resp.iter().map(|address| format!("redis://{address}"))).collect();
        urls.join(" ")
    }

    /// How long ago that was; none when the system's clock was put back since.
    pub(crate) fn age(&self) -> Option<Duration> {
        let ready_at = SystemTime::UNIX_EPOCH + Duration::from_millis(self.ready_at_ms);
        let age = ready_at.elapsed().ok()?;
        Some(Duration::from_secs(age.as_secs()))
    }

    /// Leaves it where [`Ready::read`] finds it: all of it or nothing.
    pub(crate) fn write(&self, home: &Home) -> anyhow::Result<()> {
        let path = home.ready_file();
        let written = path.with_extension("ready.new");
        fs::write(&written, serde_json::to_string(self)?)
            .and_then(|()| fs::rename(&written, &path))
            .with_context(|| format!("can't write {}", path.display()))
    }

    /// What the server of this data directory said; none before it is ready.
    pub(crate) fn read(home: &Home) -> anyhow::Result<Option<Ready>> {
        let path = home.ready_file();
        let context = || format!("can't read {}", path.display());
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map(Some).with_context(context),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(context),
        }
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = match self.policy.as_str() {
            "in-memory" => "data is gone when it stops".to_owned(),
            _ => format!("{} keys loaded", self.keys),
        };
        let (version, urls, dir, policy, pid) = (&self.version, self.urls(), &self.data_dir, &self.policy, self.pid);
        write!(f, "kvd {version} is ready: {urls}, data directory {dir}, policy {policy} ({data}), pid {pid}")
    }
}

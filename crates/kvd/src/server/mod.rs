//! The running server: a store, a thread per core that serves it, the listeners that hand connections out, and an orderly
//! end. Knows nothing of where its configuration comes from or whether it runs as a daemon.

mod background;
mod body;
mod execute;
mod listener;
mod patience;
mod rest_session;
mod shared;
mod shutdown;
mod status;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tracing::{info, warn};

use self::background::Background;
use self::listener::Listeners;
use self::shared::Shared;
use self::worker::Workers;
use crate::config::Config;

/// What is known once the server serves.
pub(crate) struct Started {
    /// The addresses that are listened on, ports as the system gave them.
    pub(crate) listen: Vec<SocketAddr>,
}

/// Serves until it is told to stop by a signal, then ends in order.
///
/// `ready` is called when the store is loaded and every address is listened on.
///
/// # Errors
/// An address can't be listened on, the system refuses threads or randomness, or the end was not in order.
pub(crate) fn run(config: &Config, ready: impl FnOnce(&Started)) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        let mut signals = shutdown::Signals::new()?;
        let listeners = Listeners::bind(&config.listen)?;
        let listen = listeners.addresses()?;
        let shared = Arc::new(Shared::open(config, &listen)?);
        let background = Background::start(&shared)?;
        let workers = Workers::start(config.workers, &shared)?;
        let accepting = listeners.accept(&workers, connections_max(config));

        shared.set_ready();
        ready(&Started { listen });
        let reason = tokio::select! {
            reason = signals.stop() => reason,
            error = accepting => return Err(error),
        };

        info!(reason, "stopping: no new connections, requests under way finish");
        shared.set_stopping();
        let drained = tokio::select! {
            drained = workers.drain(config.stop_timeout) => drained,
            reason = signals.stop() => anyhow::bail!("told to stop again ({reason}): ended with requests under way"),
        };
        shared.engine.close();
        background.end()?;
        let stats = shared.engine.stats();
        info!(keys = stats.totals.keys, revision = stats.revision.0, "stopped");
        drained
    })
}

/// As many connections as configured, if the system gives us as many file descriptors.
fn connections_max(config: &Config) -> usize {
    /// For everything that is not a connection: listeners, log, runtimes.
    const OTHER_FILES: u64 = 64;
    let configured = config.limits.connections_max;
    let allowed = match shutdown::raise_open_files_limit() {
        Ok(limit) => usize::try_from(limit.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1),
        Err(error) => {
            warn!(%error, "the limit on open files is not known");
            return configured;
        }
    };
    if allowed < configured {
        warn!(allowed, configured, "the system allows fewer open files than limits.connections_max asks for");
    }
    configured.min(allowed)
}

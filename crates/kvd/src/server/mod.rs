//! The running server: a store, a thread per core that serves it, the listeners that hand connections out, and an orderly
//! end. Knows nothing of where its configuration comes from or whether it runs as a daemon.

mod background;
mod body;
mod clock;
mod delete_prefix;
mod execute;
mod flusher;
mod listener;
mod patience;
mod relay;
mod resp;
mod rest_session;
mod shared;
mod shutdown;
mod snapshots;
mod status;
mod store;
mod transactions;
mod watch;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tracing::{info, warn};

use self::background::Background;
use self::flusher::Keeping;
use self::listener::Listeners;
use self::relay::Relay;
use self::shared::Shared;
use self::worker::{Protocol, Workers};
use crate::config::Config;

/// What is known once the server serves.
pub(crate) struct Started {
    /// Where REST is served, ports as the system gave them.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where RESP is served, likewise; empty where it is not.
    pub(crate) resp: Vec<SocketAddr>,
    /// Keys that were loaded.
    pub(crate) keys: u64,
}

/// Is given a line on the progress of the loading now and then, from any thread; dropped when that is done.
pub(crate) type Show = Box<dyn Fn(&str) + Send + Sync>;

/// Serves until it is told to stop by a signal, then ends in order.
///
/// `ready` is called when the store is loaded and every address is listened on.
///
/// # Errors
/// An address can't be listened on, the system refuses threads or randomness, or the end was not in order.
pub(crate) fn run(config: &Config, show: Show, ready: impl FnOnce(&Started)) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        let mut signals = shutdown::Signals::new()?;
        let listeners = Listeners::bind(&config.listen, &config.resp)?;
        let (listen, resp) = (listeners.addresses(Protocol::Rest)?, listeners.addresses(Protocol::Resp)?);
        let shared = Arc::new(Shared::new(config, &listen, &resp)?);
        let workers = Workers::start(config.workers, &shared)?;
        let mut accepting = Box::pin(listeners.accept(&workers, connections_max(config)));

        // Beside those who serve, so that a probe is told how far it is.
        let opened = tokio::select! {
            opened = beside({
                let (config, shared) = (config.clone(), Arc::clone(&shared));
                move || store::open(&config, &shared, &*show)
            })? => opened??,
            reason = told_to_stop(&mut signals, &shared) => {
                anyhow::bail!("told to stop ({reason}) while loading: nothing was changed")
            }
            error = &mut accepting => return Err(error),
        };
        let keys = opened.loaded.keys;
        shared.set_opened(opened);
        let background = Background::start(&shared)?;
        let keeping = config.durability.map(|durability| Keeping::start(&shared, durability)).transpose()?;
        let relay = if keeping.is_none() { Some(Relay::start(&shared)?) } else { None };
        shared.set_ready();
        ready(&Started { listen, resp, keys });
        let reason = tokio::select! {
            reason = told_to_stop(&mut signals, &shared) => reason,
            error = &mut accepting => return Err(error),
        };
        drop(accepting);

        info!(reason, "stopping: no new connections, requests under way finish");
        shared.set_stopping();
        let engine = &shared.opened().engine;
        engine.end_watches();
        let drained = tokio::select! {
            drained = workers.drain(config.stop_timeout) => drained,
            reason = signals.stop() => anyhow::bail!("told to stop again ({reason}): ended with requests under way"),
        };
        engine.close();
        background.end()?;
        relay.map_or(Ok(()), Relay::end)?;
        if let Some(Keeping { flusher, snapshots }) = keeping {
            snapshots.end()?;
            flusher.end()?;
        }
        let stats = engine.stats();
        info!(keys = stats.totals.keys, revision = stats.revision.0, "stopped");
        drained
    })
}

/// Waits until someone wants the server to end, and names how.
async fn told_to_stop(signals: &mut shutdown::Signals, shared: &Shared) -> &'static str {
    tokio::select! {
        reason = signals.stop() => reason,
        () = shared.stop_is_asked() => "SHUTDOWN",
    }
}

/// Does work on a thread that nobody waits for when the server ends. The outer error is that there is no thread, the inner
/// that it panicked.
fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<impl Future<Output = anyhow::Result<T>>> {
    let (done, result) = tokio::sync::oneshot::channel();
    let work = move || {
        // Nobody listens any more when the server was told to stop meanwhile.
        let _ = done.send(work());
    };
    std::thread::Builder::new().name("kvd-loading".into()).spawn(work).context("starting a thread")?;
    Ok(async move { result.await.context("a thread panicked") })
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

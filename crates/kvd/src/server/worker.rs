//! The threads that serve: one per core, each with a single-threaded runtime of its own, so that a connection never leaves
//! its thread. Owns their start, the handing over of sockets and their end; what a connection says is the session's.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::LocalSet;
use tracing::{debug, warn};

use super::patience::Patience;
use super::rest_session::Session;
use super::shared::Shared;

/// A connection on its way to a worker.
pub(super) struct Incoming {
    /// Belongs to no runtime yet.
    pub(super) socket: std::net::TcpStream,
    /// One of the connections that may be open; given back when this one ends.
    pub(super) permit: OwnedSemaphorePermit,
}

/// All workers of a server.
pub(super) struct Workers {
    shared: Arc<Shared>,
    workers: Vec<Handle>,
}

/// A worker, as the main thread sees it.
struct Handle {
    /// Not bounded itself: what is in it is bounded by the permits.
    sockets: UnboundedSender<Incoming>,
    /// Tells the worker to end within a time.
    drain: oneshot::Sender<Duration>,
    /// Number of connections that had to be cut; dropped without an answer if the worker panicked.
    drained: oneshot::Receiver<usize>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub(super) fn start(count: usize, shared: &Arc<Shared>) -> anyhow::Result<Workers> {
        let workers = (0..count).map(|index| Handle::start(index, shared)).collect::<anyhow::Result<_>>()?;
        Ok(Workers { shared: Arc::clone(shared), workers })
    }

    /// Gives a connection to the worker that has the fewest.
    ///
    /// # Errors
    /// The worker is gone.
    pub(super) fn hand_over(&self, incoming: Incoming) -> anyhow::Result<()> {
        let index = self.shared.least_loaded();
        self.shared.connections[index].opened();
        self.workers[index].sockets.send(incoming).map_err(|_| anyhow!("worker {index} is gone"))
    }

    /// Lets requests under way finish for at most `timeout`, then cuts what is left, and ends the threads.
    ///
    /// # Errors
    /// Connections had to be cut, or a worker panicked.
    pub(super) async fn drain(self, timeout: Duration) -> anyhow::Result<()> {
        let mut waiting = Vec::new();
        for worker in self.workers {
            // A worker that is gone can't be told; it is noticed below.
            let _ = worker.drain.send(timeout);
            waiting.push((worker.drained, worker.thread));
        }
        let mut cut = 0;
        for (drained, thread) in waiting {
            cut += drained.await.map_err(|_| anyhow!("a worker panicked"))?;
            thread.join().map_err(|_| anyhow!("a worker panicked"))?;
        }
        if cut > 0 {
            anyhow::bail!("{cut} connections were still busy after {timeout:?} and were cut");
        }
        Ok(())
    }
}

impl Handle {
    fn start(index: usize, shared: &Arc<Shared>) -> anyhow::Result<Handle> {
        let (sockets, incoming) = unbounded_channel();
        let (drain, told_to_drain) = oneshot::channel();
        let (has_drained, drained) = oneshot::channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
        let shared = Arc::clone(shared);
        let work = move || {
            let cut = LocalSet::new().block_on(&runtime, serve(index, shared, incoming, told_to_drain));
            // The main thread has given up waiting if it no longer listens.
            let _ = has_drained.send(cut);
        };
        let name = format!("kvd-worker-{index}");
        let thread = std::thread::Builder::new().name(name).spawn(work).context("starting a thread")?;
        Ok(Handle { sockets, drain, drained, thread })
    }
}

/// Serves connections until told to drain. Returns how many had to be cut.
async fn serve(
    index: usize,
    shared: Arc<Shared>,
    mut incoming: UnboundedReceiver<Incoming>,
    mut told_to_drain: oneshot::Receiver<Duration>,
) -> usize {
    let mut patience = Patience::new(&shared.limits);
    let session = Rc::new(Session::new(index, shared));
    let graceful = GracefulShutdown::new();
    let timeout = loop {
        tokio::select! {
            Some(connection) = incoming.recv() => serve_connection(connection, &session, &mut patience, &graceful),
            now = patience.sweep() => session.watches.sweep(now),
            timeout = &mut told_to_drain => break timeout,
        }
    };
    let Ok(timeout) = timeout else {
        // The main thread is gone without a word, and the process with it.
        return graceful.count();
    };
    let sweeping = async {
        loop {
            session.watches.sweep(patience.sweep().await);
        }
    };
    tokio::select! {
        () = graceful.shutdown() => 0,
        never = sweeping => never,
        () = tokio::time::sleep(timeout) => session.connections_open(),
    }
}

/// Begins to serve one connection on this thread.
fn serve_connection(incoming: Incoming, session: &Rc<Session>, patience: &mut Patience, graceful: &GracefulShutdown) {
    let Incoming { socket, permit } = incoming;
    let socket = match TcpStream::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            session.connection_closed();
            return warn!(%error, "a connection could not be taken over");
        }
    };
    let (watched, watch) = patience.watch(socket);
    let connection = graceful.watch(session.connection(watched, Rc::clone(&watch)));
    let session = Rc::clone(session);
    let task = tokio::task::spawn_local(async move {
        let _ended = Ended { session, _permit: permit };
        if let Err(error) = connection.await {
            debug!(%error, "a connection ended early");
        }
    });
    patience.can_end(&watch, task.abort_handle());
}

/// Counts a connection as closed however it ends: also when it is cut, or its task panics.
struct Ended {
    session: Rc<Session>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.session.connection_closed();
    }
}

//! The threads that serve: one per core, each with a single-threaded runtime of its own, so that a connection never leaves
//! its thread. Owns their start, the handing over of sockets and their end; what is said on a connection is a session's.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::future::join;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::task::LocalSet;
use tracing::{debug, warn};

use super::execute::Executor;
use super::patience::{Patience, Watched};
use super::shared::Shared;
use super::{resp, rest_session};

/// What a client and the server speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Rest,
    Resp,
}

/// A connection on its way to a worker.
pub(super) struct Incoming {
    /// Belongs to no runtime yet.
    pub(super) socket: std::net::TcpStream,
    /// What is spoken on it.
    pub(super) protocol: Protocol,
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

/// What one thread serves its connections with.
struct Services {
    index: usize,
    shared: Arc<Shared>,
    rest: Rc<rest_session::Session>,
    resp: Rc<resp::Session>,
    graceful: GracefulShutdown,
    /// Tells RESP connections to end; each has a receiver as long as it is there.
    stopping: watch::Sender<bool>,
}

/// Serves connections until told to drain. Returns how many had to be cut.
async fn serve(
    index: usize,
    shared: Arc<Shared>,
    mut incoming: UnboundedReceiver<Incoming>,
    mut told_to_drain: oneshot::Receiver<Duration>,
) -> usize {
    let mut patience = Patience::new(&shared.limits);
    let executor = Rc::new(Executor::new(&shared));
    let services = Services {
        index,
        rest: Rc::new(rest_session::Session::new(index, &shared, &executor)),
        resp: Rc::new(resp::Session::new(&shared, &executor)),
        shared,
        graceful: GracefulShutdown::new(),
        stopping: watch::Sender::new(false),
    };
    let timeout = loop {
        tokio::select! {
            Some(connection) = incoming.recv() => services.begin(connection, &mut patience),
            now = patience.sweep() => services.rest.watches.sweep(now),
            timeout = &mut told_to_drain => break timeout,
        }
    };
    let (shared, rest) = (Arc::clone(&services.shared), Rc::clone(&services.rest));
    let open = || shared.connections[index].open();
    let Ok(timeout) = timeout else {
        // The main thread is gone without a word, and the process with it.
        return open();
    };
    let sweeping = async {
        loop {
            rest.watches.sweep(patience.sweep().await);
        }
    };
    tokio::select! {
        () = services.end() => 0,
        never = sweeping => never,
        () = tokio::time::sleep(timeout) => open(),
    }
}

impl Services {
    /// Begins to serve one connection on this thread.
    fn begin(&self, incoming: Incoming, patience: &mut Patience) {
        let Incoming { socket, protocol, permit } = incoming;
        let ended = Ended { shared: Arc::clone(&self.shared), index: self.index, _permit: permit };
        let socket = match TcpStream::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => return warn!(%error, "a connection could not be taken over"),
        };
        let watch = patience.watch();
        let task = match protocol {
            Protocol::Rest => {
                let socket = Watched::new(socket, &watch);
                let connection = self.graceful.watch(self.rest.connection(socket, Rc::clone(&watch)));
                tokio::task::spawn_local(async move {
                    let _ended = ended;
                    if let Err(error) = connection.await {
                        debug!(%error, "a connection ended early");
                    }
                })
            }
            Protocol::Resp => {
                let (session, watch, stopping) = (Rc::clone(&self.resp), Rc::clone(&watch), self.stopping.subscribe());
                tokio::task::spawn_local(async move {
                    let _ended = ended;
                    session.connection(socket, watch, stopping).await;
                })
            }
        };
        patience.can_end(&watch, task.abort_handle());
    }

    /// Lets what is under way finish.
    async fn end(self) {
        self.stopping.send_replace(true);
        join(self.graceful.shutdown(), self.stopping.closed()).await;
    }
}

/// Counts a connection as closed however it ends: also when it is cut, or its task panics.
struct Ended {
    shared: Arc<Shared>,
    index: usize,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.shared.connections[self.index].closed();
    }
}

//! What all threads share: the store once it is open, the limits, the state of the process, and the figures about it that
//! /v1/stats and /v1/info report. Knows nothing of sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::Context;
use kvd_engine::{Buffers, Engine};
use kvd_types::Limits;
use kvd_wire::rest::access::Access;
use tokio::sync::Notify;

use super::body::Budget;
use super::resp::Clients;
use super::snapshots::Asked;
use super::store::Opened;
use super::transactions::Transactions;
use crate::config::Config;

/// Shared by all threads of one server.
pub(super) struct Shared {
    /// The store; none while it is loading.
    opened: OnceLock<Opened>,
    /// How far the loading is, for people.
    progress: Mutex<String>,
    /// What becomes of the data, in a word.
    pub(super) policy: &'static str,
    /// Who asks for snapshots, and what became of them.
    pub(super) snapshots: Asked,
    /// A client has asked for the server's end.
    stop_asked: Notify,
    /// Who is connected by RESP.
    pub(super) clients: Clients,
    /// Where RESP is served.
    resp: Vec<SocketAddr>,
    /// What is allowed to come in.
    pub(super) limits: Limits,
    /// Who may ask.
    pub(super) access: Access,
    /// Memory of bodies on their way in and out, which is inside the store's limit.
    pub(super) buffers: Buffers,
    /// Memory for request bodies.
    pub(super) inbound: Budget,
    /// Those that clients hold open.
    pub(super) transactions: Arc<Transactions>,
    /// Time to live of what is set without one, in milliseconds.
    pub(super) default_ttl_ms: Option<u64>,
    /// How long the key that waited longest had been due when the last sweep found it, in milliseconds.
    expiry_lag_ms: AtomicU64,
    /// Open connections of each worker: the listener counts up, the end of a connection down.
    pub(super) connections: Box<[Connections]>,
    /// For the uptime.
    pub(super) started: Instant,
    state: AtomicU8,
}

/// One worker's open connections, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Connections(AtomicUsize);

const LOADING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

/// What a readiness probe is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Loading,
    Ready,
    Stopping,
}

impl Shared {
    /// Before the store is open.
    ///
    /// # Errors
    /// A host in the configuration is none.
    pub(super) fn new(config: &Config, listen: &[SocketAddr], resp: &[SocketAddr]) -> anyhow::Result<Shared> {
        let buffers = Buffers::default();
        let hosts = listen.iter().map(ToString::to_string).chain(config.allowed_hosts.iter().cloned());
        Ok(Shared {
            opened: OnceLock::new(),
            progress: Mutex::new("the store is still loading".to_owned()),
            policy: config.policy(),
            snapshots: Asked::new(),
            stop_asked: Notify::new(),
            clients: Clients::default(),
            resp: resp.to_vec(),
            limits: config.limits.clone(),
            access: Access::new(hosts).context("http.allowed_hosts")?,
            inbound: Budget::new(config.limits.inbound_bytes_max, buffers.clone()),
            buffers,
            transactions: Arc::new(Transactions::new(&config.limits)),
            default_ttl_ms: config.default_ttl_ms,
            expiry_lag_ms: AtomicU64::new(0),
            connections: (0..config.workers).map(|_| Connections::default()).collect(),
            started: Instant::now(),
            state: AtomicU8::new(LOADING),
        })
    }

    /// The store is open.
    pub(super) fn set_opened(&self, opened: Opened) {
        assert!(self.opened.set(opened).is_ok(), "the store is opened once");
    }

    /// The store and what goes with it, for who comes after it was opened.
    pub(super) fn opened(&self) -> &Opened {
        self.opened.get().expect("the store is open")
    }

    /// The store; none while it is loading.
    pub(super) fn engine(&self) -> Option<&Engine> {
        self.opened.get().map(|opened| &opened.engine)
    }

    pub(super) fn set_progress(&self, progress: String) {
        *locked(&self.progress) = progress;
    }

    pub(super) fn progress(&self) -> String {
        locked(&self.progress).clone()
    }

    /// A sweep is done: how far it was behind.
    pub(super) fn set_expiry_lag_ms(&self, lag_ms: u64) {
        self.expiry_lag_ms.store(lag_ms, Ordering::Relaxed); // no partner: a figure that stands for nothing but itself
    }

    /// How far the last sweep was behind.
    pub(super) fn expiry_lag_ms(&self) -> u64 {
        self.expiry_lag_ms.load(Ordering::Relaxed) // no partner, as above
    }

    /// The port where RESP is served; 0 where it is not.
    pub(super) fn resp_port(&self) -> u16 {
        self.resp.first().map_or(0, SocketAddr::port)
    }

    /// Has the server end in order.
    pub(super) fn ask_to_stop(&self) {
        self.stop_asked.notify_one();
    }

    /// Waits until someone does.
    pub(super) async fn stop_is_asked(&self) {
        self.stop_asked.notified().await;
    }

    pub(super) fn set_ready(&self) {
        // Release: pairs with the load in `state`.
        self.state.store(READY, Ordering::Release);
    }

    pub(super) fn set_stopping(&self) {
        // Release: pairs with the load in `state`.
        self.state.store(STOPPING, Ordering::Release);
    }

    pub(super) fn state(&self) -> State {
        // Acquire: pairs with the stores in `set_ready` and `set_stopping`.
        match self.state.load(Ordering::Acquire) {
            LOADING => State::Loading,
            READY => State::Ready,
            _ => State::Stopping,
        }
    }

    /// Open connections of all workers.
    pub(super) fn connections_open(&self) -> usize {
        self.connections.iter().map(Connections::open).sum()
    }

    /// The worker with the fewest open connections.
    pub(super) fn least_loaded(&self) -> usize {
        let loads = self.connections.iter().map(Connections::open).enumerate();
        loads.min_by_key(|(_, open)| *open).map_or(0, |(worker, _)| worker)
    }
}

/// What is guarded here is whole between any two statements.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    // Relaxed, all three: a count that stands for nothing but itself.

    pub(super) fn opened(&self) {
        self.0.fetch_add(1, Ordering::Relaxed); // no partner, see above
    }

    pub(super) fn closed(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed); // no partner, see above
    }

    pub(super) fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed) // no partner, see above
    }
}

//! What all workers share: the store, the limits, the state of the process, and the figures about it that /v1/stats and
//! /v1/info report. Knows nothing of sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context;
use kvd_engine::Engine;
use kvd_types::{Epoch, Limits};
use kvd_wire::rest::access::Access;

use super::body::Budget;
use crate::config::Config;

/// Shared by all threads of one server.
pub(super) struct Shared {
    /// The store.
    pub(super) engine: Engine,
    /// What is allowed to come in.
    pub(super) limits: Limits,
    /// Who may ask.
    pub(super) access: Access,
    /// Memory for request bodies.
    pub(super) inbound: Budget,
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
    /// Opens the store.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn open(config: &Config, listen: &[SocketAddr]) -> anyhow::Result<Shared> {
        let hosts = listen.iter().map(ToString::to_string).chain(config.allowed_hosts.iter().cloned());
        let random = || getrandom::u64().context("the system gives no random numbers");
        let engine = Engine::open(kvd_engine::Config {
            epoch: Epoch(getrandom::u32().context("the system gives no random numbers")?),
            hash_key: [random()?, random()?],
            limits: config.limits.clone(),
            ..kvd_engine::Config::default()
        });
        Ok(Shared {
            engine,
            limits: config.limits.clone(),
            access: Access::new(hosts).context("http.allowed_hosts")?,
            inbound: Budget::new(config.limits.inbound_bytes_max),
            connections: (0..config.workers).map(|_| Connections::default()).collect(),
            started: Instant::now(),
            state: AtomicU8::new(LOADING),
        })
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

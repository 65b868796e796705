//! The Redis protocol on connections: `kvd-wire` knows what the bytes mean, `execute` what they do; here is what a connection
//! remembers, and what only a server can answer.
//!
//! | file | what it owns |
//! |---|---|
//! | `connection` | one connection: its bytes in and out, and how long it waits for whom |
//! | `batch` | what has arrived together, run together |
//! | `transaction` | MULTI, EXEC, WATCH |
//! | `walk` | KEYS, SCAN, RANDOMKEY |
//! | `actions`, `info`, `settings` | what is asked about the connection and the server |
//! | `clients` | who is connected |

mod actions;
mod batch;
mod clients;
mod connection;
mod info;
mod settings;
mod transaction;
mod walk;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use kvd_wire::resp::encode::Output;
use kvd_wire::resp::parse::Requests;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use super::execute::Executor;
use super::patience::Watch;
use super::shared::Shared;

pub(super) use clients::Clients;

/// What all RESP connections of one worker share.
pub(super) struct Session {
    shared: Arc<Shared>,
    executor: Rc<Executor>,
    /// Buffers that no connection needs now.
    buffers: RefCell<Vec<Buffers>>,
}

/// What a connection needs while something of it is under way; an idle one has none.
#[derive(Default)]
struct Buffers {
    /// What was read and not parsed.
    input: BytesMut,
    requests: Requests,
    output: Output,
}

/// Buffers kept for connections that wake up: more than are awake at one time on one thread.
const BUFFERS_MAX: usize = 64;

/// What a kept buffer may have, in bytes.
const KEPT_BYTES_MAX: usize = 256 << 10;

impl Session {
    pub(super) fn new(shared: &Arc<Shared>, executor: &Rc<Executor>) -> Session {
        Session { shared: Arc::clone(shared), executor: Rc::clone(executor), buffers: RefCell::default() }
    }

    /// Serves a connection until either side ends it, or the server stops.
    pub(super) async fn connection(&self, socket: TcpStream, watch: Rc<Watch>, stopping: watch::Receiver<bool>) {
        if let Err(error) = connection::serve(self, socket, &watch, stopping).await {
            debug!(%error, "a connection ended early");
        }
    }

    fn lend(&self) -> Buffers {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes buffers back that have nothing in them.
    fn take_back(&self, buffers: Buffers) {
        let mut kept = self.buffers.borrow_mut();
        if kept.len() < BUFFERS_MAX
            && buffers.input.capacity() <= KEPT_BYTES_MAX
            && buffers.output.capacity() <= KEPT_BYTES_MAX
        {
            kept.push(buffers);
        }
    }
}

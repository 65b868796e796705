//! Who is connected: what CLIENT LIST tells of every connection. A connection notes what it does in an entry of its own; the list
//! of all is locked when one begins or ends, and when someone asks.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvd_wire::resp::commands::Record;
use kvd_wire::resp::encode::Protocol;
use tokio::time::Instant;

use crate::server::shared::Shared;

/// All RESP connections of a server.
#[derive(Default)]
pub(in crate::server) struct Clients {
    /// By their number.
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// How many there ever were: numbers them.
    count: AtomicU64,
}

/// One connection, as others see it.
pub(super) struct Client {
    address: SocketAddr,
    local: SocketAddr,
    since: Instant,
    about: Mutex<About>,
}

/// What changes while it is open.
pub(super) struct About {
    /// Given by the client; empty without.
    pub(super) name: String,
    pub(super) lib_name: String,
    pub(super) lib_version: String,
    pub(super) protocol: Protocol,
    /// The newest command.
    pub(super) command: Option<&'static Record>,
    /// When that was; as coarse as the clock of connections.
    pub(super) active: Instant,
    /// Commands since MULTI.
    pub(super) queued: Option<usize>,
}

/// A connection in the list, until it is dropped.
pub(super) struct Registered {
    shared: Arc<Shared>,
    client: Arc<Client>,
    /// Its number.
    pub(super) id: u64,
}

impl Client {
    pub(super) fn new(address: SocketAddr, local: SocketAddr, now: Instant) -> Client {
        let about = About {
            name: String::new(),
            lib_name: String::new(),
            lib_version: String::new(),
            protocol: Protocol::default(),
            command: None,
            active: now,
            queued: None,
        };
        Client { address, local, since: now, about: Mutex::new(about) }
    }

    /// As CLIENT LIST has it.
    fn line(&self, id: u64, now: Instant) -> String {
        let about = locked(&self.about);
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
        let multi = about.queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
        let flags = if about.queued.is_some() { "x" } else { "N" };
        format!(
            "id={id} addr={} laddr={} name={} age={} idle={} flags={flags} db=0 sub=0 psub=0 ssub=0 multi={multi} cmd={} \
             user=default redir=-1 resp={} lib-name={} lib-ver={}",
            self.address,
            self.local,
            about.name,
            seconds(self.since),
            seconds(about.active),
            about.command.map_or("NULL", |record| record.name),
            about.protocol.number(),
            about.lib_name,
            about.lib_version,
        )
    }
}

impl Clients {
    /// Connections that were ever opened.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed) // no partner: a count that stands for nothing but itself
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        locked(&self.open).len()
    }

    /// A line for each, in order of their numbers; of all, or of these.
    pub(super) fn list(&self, ids: Option<&[i64]>, now: Instant) -> String {
        let mut list = String::new();
        for (id, client) in locked(&self.open).iter() {
            if ids.is_none_or(|ids| ids.iter().any(|wanted| u64::try_from(*wanted) == Ok(*id))) {
                writeln!(list, "{}", client.line(*id, now)).expect("a string takes everything");
            }
        }
        list
    }
}

impl Shared {
    /// Puts a connection into the list.
    pub(super) fn register(self: Arc<Self>, client: Client) -> Registered {
        let client = Arc::new(client);
        let id = self.clients.count.fetch_add(1, Ordering::Relaxed) + 1; // no partner, see `Clients::count`
        locked(&self.clients.open).insert(id, Arc::clone(&client));
        Registered { shared: self, client, id }
    }
}

impl Registered {
    /// What changes.
    pub(super) fn about(&self) -> MutexGuard<'_, About> {
        locked(&self.client.about)
    }

    /// As CLIENT INFO has it.
    pub(super) fn line(&self, now: Instant) -> String {
        self.client.line(self.id, now)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        locked(&self.shared.clients.open).remove(&self.id);
    }
}

/// What is guarded here is whole between any two statements.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

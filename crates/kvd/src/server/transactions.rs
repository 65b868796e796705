//! The transactions that clients hold open from request to request: their names, who is using one, when one ends by itself, and
//! for a while what a commit came to. Locked only for requests that name a transaction, and only to look one up or put it back:
//! while a request uses one, it belongs to that request. What happens in it is the engine's.
//!
//! ```text
//!  begin --> idle --lease--> busy --commit--> ended: its outcome is kept for a minute
//!             ^ |               |
//!             | |<---put back---'
//!             | '--> left alone or open for too long, rolled back: forgotten
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kvd_engine::{Engine, Update, View, Worker};
use kvd_types::{Command, Error, Limit, LimitExceeded, Limits, Reply, Revision, Transaction};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::transaction::{Mode, TransactionId};

/// How long a commit that is repeated gets the answer of the first.
const OUTCOME_KEPT: Duration = Duration::from_secs(60);

/// Most bytes of outcomes that are kept; above it the oldest go sooner. A quarter of a million commits a minute fit.
const OUTCOME_BYTES_MAX: usize = 64 << 20;

/// What an entry of a table takes beside its keys, in bytes: for the bounds.
const OVERHEAD_BYTES: usize = 256;

/// All open transactions of a server.
pub(super) struct Transactions {
    table: Mutex<Table>,
    bytes_max: usize,
    idle_timeout: Duration,
    age_max: Duration,
}

#[derive(Default)]
struct Table {
    open: HashMap<TransactionId, Slot>,
    /// What all open ones remember together.
    bytes: usize,
    outcomes: HashMap<TransactionId, Arc<Outcome>>,
    /// When each outcome came about, the oldest first.
    ended: VecDeque<(Instant, TransactionId)>,
    outcome_bytes: usize,
}

enum Slot {
    Idle {
        open: Open,
        since: Instant,
    },
    /// A request has it.
    Busy,
}

struct Open {
    kind: Kind,
    begun: Instant,
    /// What it remembers, in bytes.
    bytes: usize,
}

enum Kind {
    ReadOnly(View),
    ReadWrite(Update),
}

/// A transaction that was begun.
pub(super) struct Begun {
    pub(super) id: TransactionId,
    pub(super) revision: Revision,
    /// What the answer waits for.
    pub(super) position: Revision,
}

/// What a commit came to.
pub(super) struct Outcome {
    pub(super) result: Result<Revision, Error>,
    /// What the answer waits for.
    pub(super) position: Revision,
}

/// A transaction that is to be committed.
pub(super) enum Committing {
    /// Not yet.
    Leased(Lease),
    /// It was, and the answer may not have arrived.
    Ended(Arc<Outcome>),
}

/// An open transaction, for one request alone. Put back when dropped.
pub(super) struct Lease {
    transactions: Arc<Transactions>,
    id: TransactionId,
    /// None once it has ended.
    open: Option<Open>,
    /// What it remembers, in bytes, with what the request may add.
    bytes: usize,
}

impl Transactions {
    pub(super) fn new(limits: &Limits) -> Transactions {
        Transactions {
            table: Mutex::default(),
            bytes_max: limits.transactions_bytes_max,
            idle_timeout: limits.transaction_idle_timeout,
            age_max: limits.transaction_age_max,
        }
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.table().open.len()
    }

    /// Opens one.
    ///
    /// # Errors
    /// As many are open as there may be; the store is closed.
    pub(super) fn begin(&self, engine: &Engine, mode: Mode) -> Result<Begun, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system gave random numbers when the server started");
        let id = TransactionId(u128::from_be_bytes(bytes));
        let begin = || match mode {
            Mode::ReadOnly => engine.view().map(|view| (view.revision(), Revision(0), Kind::ReadOnly(view))),
            Mode::ReadWrite => {
                engine.update().map(|update| (update.revision(), update.position(), Kind::ReadWrite(update)))
            }
        };
        let begun = begin().or_else(|error| match error {
            Error::TooManyTransactions { .. } => {
                // Some may have ended that nobody has looked at since.
                self.sweep(Instant::now());
                begin()
            }
            other => Err(other),
        });
        let (revision, position, kind) = begun?;
        let now = Instant::now();
        let open = Open { kind, begun: now, bytes: OVERHEAD_BYTES };
        let mut table = self.table();
        table.bytes += open.bytes;
        table.open.insert(id, Slot::Idle { open, since: now });
        Ok(Begun { id, revision, position })
    }

    /// Takes one for a request, which may add `bytes` to what it remembers.
    ///
    /// # Errors
    /// 410 when there is no such one, 409 when another request has it, 429 when all together remember too much.
    pub(super) fn lease(self: &Arc<Self>, id: TransactionId, bytes: usize) -> Result<Lease, Problem> {
        self.lease_from(&mut self.table(), id, bytes)
    }

    fn lease_from(self: &Arc<Self>, table: &mut Table, id: TransactionId, bytes: usize) -> Result<Lease, Problem> {
        let mut open = self.take(table, id)?;
        if matches!(open.kind, Kind::ReadWrite(_)) {
            // What asks for nothing is always let through: a commit gives memory back.
            if bytes > 0 && table.bytes + bytes > self.bytes_max {
                let actual = Some((table.bytes + bytes) as u64);
                table.open.insert(id, Slot::Idle { open, since: Instant::now() });
                let (limit, max) = (Limit::TransactionsBytes, self.bytes_max as u64);
                return Err(Problem::transactions_full(LimitExceeded { limit, max, actual, item: None }));
            }
            table.bytes += bytes;
            open.bytes += bytes;
        }
        let bytes = open.bytes;
        Ok(Lease { transactions: Arc::clone(self), id, open: Some(open), bytes })
    }

    /// Takes one to be committed, or tells what its commit came to.
    ///
    /// # Errors
    /// As `lease`.
    pub(super) fn commit(self: &Arc<Self>, id: TransactionId) -> Result<Committing, Problem> {
        let mut table = self.table();
        match table.outcomes.get(&id) {
            Some(outcome) => Ok(Committing::Ended(Arc::clone(outcome))),
            None => self.lease_from(&mut table, id, 0).map(Committing::Leased),
        }
    }

    /// Gives one up.
    ///
    /// # Errors
    /// As `lease`.
    pub(super) fn roll_back(self: &Arc<Self>, id: TransactionId) -> Result<(), Problem> {
        self.lease(id, 0).map(Lease::end)
    }

    /// Ends those that were left alone or open for too long, and forgets old outcomes.
    pub(super) fn sweep(&self, now: Instant) {
        let mut table = self.table();
        let overdue = table.open.extract_if(|_, slot| match slot {
            Slot::Idle { open, since } => self.is_overdue(open, *since, now),
            Slot::Busy => false,
        });
        // Dropped without the lock: each gives its read point up.
        let overdue: Vec<Slot> = overdue.map(|(_, slot)| slot).collect();
        table.bytes -= overdue.iter().map(Slot::bytes).sum::<usize>();
        while table.ended.front().is_some_and(|(ended, _)| now.duration_since(*ended) > OUTCOME_KEPT) {
            table.forget_oldest();
        }
        drop(table);
        drop(overdue);
    }

    /// Takes one out of the table for as long as a request needs it.
    fn take(&self, table: &mut Table, id: TransactionId) -> Result<Open, Problem> {
        let slot = table.open.get_mut(&id).ok_or_else(Problem::transaction_ended)?;
        match std::mem::replace(slot, Slot::Busy) {
            Slot::Busy => Err(Problem::transaction_busy()),
            Slot::Idle { open, since } if self.is_overdue(&open, since, Instant::now()) => {
                table.open.remove(&id);
                table.bytes -= open.bytes;
                Err(Problem::transaction_ended())
            }
            Slot::Idle { open, .. } => Ok(open),
        }
    }

    fn is_overdue(&self, open: &Open, since: Instant, now: Instant) -> bool {
        now.duration_since(since) > self.idle_timeout || now.duration_since(open.begun) > self.age_max
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // What is guarded is whole between any two statements.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remember(&mut self, id: TransactionId, outcome: Arc<Outcome>) {
        self.outcome_bytes += outcome.bytes();
        self.outcomes.insert(id, outcome);
        self.ended.push_back((Instant::now(), id));
        while self.outcome_bytes > OUTCOME_BYTES_MAX && self.ended.len() > 1 {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.ended.pop_front().and_then(|(_, id)| self.outcomes.remove(&id));
        self.outcome_bytes -= oldest.map_or(0, |outcome| outcome.bytes());
    }
}

impl Slot {
    fn bytes(&self) -> usize {
        match self {
            Slot::Idle { open, .. } => open.bytes,
            Slot::Busy => 0,
        }
    }
}

impl Outcome {
    fn bytes(&self) -> usize {
        let keys = match &self.result {
            Err(Error::Conflict { keys }) => keys.iter().map(|key| key.len() + size_of_val(key)).sum(),
            _ => 0,
        };
        OVERHEAD_BYTES + keys
    }
}

impl Lease {
    /// What the transaction remembers, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// The engine's refusal; nothing of the command has happened, and the transaction goes on.
    pub(super) fn execute(
        &mut self,
        engine: &Engine,
        worker: &mut Worker,
        command: &Command<'_>,
    ) -> Result<Reply, Error> {
        let open = self.open.as_mut().expect("a lease that was not ended");
        let Command::Transaction(Transaction { commands, .. }) = command else {
            return open.kind.execute(engine, worker, command);
        };
        // A write and the read that its answer shows: nobody comes between, and the read changes nothing.
        let mut replies = Vec::with_capacity(commands.len());
        for (index, command) in commands.iter().enumerate() {
            let reply = open.kind.execute(engine, worker, command);
            replies.push(Ok(reply.map_err(|error| Error::OperationFailed { index, error: Box::new(error) })?));
        }
        Ok(Reply::Transaction { revision: open.kind.revision(), failed_checks: Vec::new(), replies })
    }

    /// Commits, and keeps the outcome for who asks again.
    pub(super) fn commit(mut self, engine: &Engine, worker: &mut Worker) -> Arc<Outcome> {
        let open = self.open.take().expect("a lease that was not ended");
        let (result, position) = match open.kind {
            Kind::ReadOnly(view) => (Ok(view.revision()), Revision(0)),
            Kind::ReadWrite(update) => {
                let result = update.commit(engine, worker);
                (result, worker.position())
            }
        };
        let outcome = Arc::new(Outcome { result, position });
        // Before the lease is dropped: who asks meanwhile finds the transaction busy, or this.
        self.transactions.table().remember(self.id, Arc::clone(&outcome));
        outcome
    }

    /// Ends it; nothing of it happens.
    fn end(mut self) {
        // Its read point is given up without the lock.
        drop(self.open.take());
    }
}

impl Kind {
    fn execute(&mut self, engine: &Engine, worker: &mut Worker, command: &Command<'_>) -> Result<Reply, Error> {
        match self {
            Kind::ReadOnly(view) => view.execute(engine, worker, command),
            Kind::ReadWrite(update) => update.execute(engine, worker, command),
        }
    }

    fn revision(&self) -> Revision {
        match self {
            Kind::ReadOnly(view) => view.revision(),
            Kind::ReadWrite(update) => update.revision(),
        }
    }

    /// What it remembers, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Kind::ReadOnly(_) => OVERHEAD_BYTES,
            Kind::ReadWrite(update) => OVERHEAD_BYTES + update.bytes() + update.keys() * OVERHEAD_BYTES,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = self.transactions.table();
        match self.open.take() {
            Some(open) => {
                // What was made room for may be more or less than is remembered in the end.
                let bytes = open.kind.bytes();
                table.bytes = table.bytes - self.bytes + bytes;
                table.open.insert(self.id, Slot::Idle { open: Open { bytes, ..open }, since: Instant::now() });
            }
            None => {
                table.open.remove(&self.id);
                table.bytes -= self.bytes;
            }
        }
    }
}

/// What a command may add to what its transaction remembers, in bytes: its keys, and the values it brings.
pub(super) fn remembered_bytes(command: &Command<'_>) -> usize {
    match command {
        Command::MultiGet { keys, .. } => keys.iter().map(|key| key.len() + OVERHEAD_BYTES).sum(),
        Command::Set(set) => set.key.len() + set.value.len() + OVERHEAD_BYTES,
        Command::MultiSet { sets } => sets.iter().map(|set| set.key.len() + set.value.len() + OVERHEAD_BYTES).sum(),
        Command::MultiDelete { deletes, .. } => deletes.iter().map(|delete| delete.key.len() + OVERHEAD_BYTES).sum(),
        Command::Transaction(Transaction { commands, .. }) => commands.iter().map(remembered_bytes).sum(),
        other => other.single_key().map_or(0, |key| key.len() + OVERHEAD_BYTES),
    }
}

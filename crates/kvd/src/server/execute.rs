//! The one place where a command meets the engine: runs it, by itself or in an open transaction, turns the reply into an
//! answer, and lets that leave when readers see what it tells of. What takes long is done on a thread beside the serving one.
//! Knows nothing of sockets or of how a request was read.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use kvd_engine::{Engine, Found, Worker};
use kvd_types::{Command, Error, Key, Modify, Reply, Revision, Rule, Ttl};
use kvd_wire::resp::error::Refusal;
use kvd_wire::rest::batch::BeginAnswer;
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::{Batch, Begin};
use kvd_wire::rest::response::{Answer, Store};
use kvd_wire::rest::transaction::TransactionId;
use tracing::error;

use super::delete_prefix::delete_prefix;
use super::shared::Shared;
use super::transactions::{Committing, remembered_bytes};

/// From this size on, in bytes, reading a batch or writing its answer would hold up the worker's other connections: a
/// millisecond or so of parsing.
pub(super) const LONG_WORK_BYTES: usize = 256 << 10;

/// Runs commands for one worker.
pub(super) struct Executor {
    shared: Arc<Shared>,
    /// None before the first command.
    worker: RefCell<Option<Worker>>,
}

impl Executor {
    pub(super) fn new(shared: &Arc<Shared>) -> Executor {
        Executor { shared: Arc::clone(shared), worker: RefCell::new(None) }
    }

    /// Runs one command, in `transaction` if it names one.
    ///
    /// # Errors
    /// The engine's refusal, in HTTP's words; a precondition of a read that did not hold; the transaction is not to be had; the
    /// store is still loading, or its disk has failed.
    pub(super) async fn run(
        &self,
        command: Command<'_>,
        answer: Answer,
        transaction: Option<TransactionId>,
    ) -> Result<Response<Bytes>, Problem> {
        let engine = self.engine()?;
        if matches!(command, Command::ListSorted(_)) {
            // It looks at every key there is.
            let command = command.into_owned();
            return self
                .run_beside(move |engine, shared| run_here(engine, shared, transaction, &command, &answer))
                .await;
        }
        let (result, position) = self.with_worker(engine, |worker| {
            let result = carry_out(engine, &self.shared, worker, transaction, &command);
            (result, worker.position())
        });
        let result = result?;
        reach(engine, position).await?;
        let reply = result.map_err(|error| answer.refuse(&command, error))?;
        let store = store(engine);
        if batch_bytes(&reply) < LONG_WORK_BYTES {
            return answer.respond(store, &command, reply);
        }
        let command = command.into_owned();
        beside(move || answer.respond(store, &command, reply)).await
    }

    /// Reads and runs a batch.
    ///
    /// # Errors
    /// As `run`, and whatever is wrong with the body.
    pub(super) async fn run_batch(
        &self,
        batch: Batch,
        body: Bytes,
        mut answer: Answer,
        transaction: Option<TransactionId>,
    ) -> Result<Response<Bytes>, Problem> {
        if body.len() < LONG_WORK_BYTES {
            let command = batch.command(&body, &mut answer)?;
            return self.run(command, answer, transaction).await;
        }
        self.run_beside(move |engine, shared| {
            let command = batch.command(&body, &mut answer)?;
            run_here(engine, shared, transaction, &command, &answer)
        })
        .await
    }

    /// Deletes all keys that begin with `prefix`.
    ///
    /// # Errors
    /// As `run`; then some are gone, and the problem says how many.
    pub(super) async fn delete_prefix(&self, prefix: Key<'_>, answer: Answer) -> Result<Response<Bytes>, Problem> {
        let engine = self.engine()?;
        let (on_thread, prefix, refusing) = (engine.clone(), prefix.into_owned(), answer.clone());
        let deletion = beside(move || Ok(delete_prefix(&on_thread, &prefix, &refusing))).await?;
        reach(engine, deletion.position).await?;
        match deletion.failure {
            Some(problem) => Err(problem),
            None => Ok(answer.deleted_all(deletion.revision, deletion.deleted)),
        }
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// As many are open as there may be, or whatever is wrong with the body.
    pub(super) async fn begin(&self, begin: Begin, body: Bytes, answer: Answer) -> Result<Response<Bytes>, Problem> {
        let engine = self.engine()?;
        let mode =
            if body.len() < LONG_WORK_BYTES { begin.mode(&body) } else { beside(move || begin.mode(&body)).await }?;
        let begun = self.shared.transactions.begin(engine, mode);
        let begun = begun.map_err(|error| answer.refuse_whole(error))?;
        // It reads the newest commits, and a power cut could take them back.
        reach(engine, begun.position).await?;
        let idle_timeout_ms = self.shared.limits.transaction_idle_timeout.as_millis() as u64;
        Ok(answer.begun(&BeginAnswer { id: begun.id.to_string(), mode, revision: begun.revision, idle_timeout_ms }))
    }

    /// Commits a transaction, or tells again what its commit came to.
    ///
    /// # Errors
    /// A key that it has read was changed since, or as a batch of writes; it is not to be had.
    pub(super) async fn commit(&self, id: TransactionId, answer: Answer) -> Result<Response<Bytes>, Problem> {
        let engine = self.engine()?;
        // What it gives a time to live counts from the commit on.
        engine.tick(self.shared.opened().clock.now_ms());
        let outcome = match self.shared.transactions.commit(id)? {
            Committing::Ended(outcome) => outcome,
            Committing::Leased(lease) if lease.bytes() < LONG_WORK_BYTES => {
                self.with_worker(engine, |worker| lease.commit(engine, worker))
            }
            Committing::Leased(lease) => {
                let on_thread = engine.clone();
                beside(move || Ok(lease.commit(&on_thread, &mut on_thread.worker()))).await?
            }
        };
        reach(engine, outcome.position).await?;
        match &outcome.result {
            Ok(revision) => Ok(answer.committed(*revision)),
            Err(error) => Err(answer.refuse_whole(error.clone())),
        }
    }

    /// Gives a transaction up.
    ///
    /// # Errors
    /// It is not to be had.
    pub(super) fn roll_back(&self, id: TransactionId, answer: &Answer) -> Result<Response<Bytes>, Problem> {
        self.shared.transactions.roll_back(id)?;
        Ok(answer.rolled_back())
    }

    /// Does all of a request's work on a thread that serves no connections.
    async fn run_beside(
        &self,
        work: impl FnOnce(&Engine, &Shared) -> Result<Done, Problem> + Send + 'static,
    ) -> Result<Response<Bytes>, Problem> {
        let engine = self.engine()?;
        let (on_thread, shared) = (engine.clone(), Arc::clone(&self.shared));
        let Done { answer, position } = beside(move || work(&on_thread, &shared)).await?;
        reach(engine, position).await?;
        answer
    }

    /// Runs many commands of one client in order, each by itself, and hands each answer out with its position. Those that read
    /// see what the client wrote before, also where its answers, up to position `unanswered`, have not left yet.
    pub(super) fn run_many(
        &self,
        engine: &Engine,
        commands: &[Command<'_>],
        unanswered: Revision,
        mut answer: impl FnMut(Result<Reply, Error>, Revision),
    ) {
        self.with_worker(engine, |worker| {
            engine.execute_batch(worker, commands, unanswered, |_, result, position| answer(result, position));
        });
    }

    /// Looks many keys up as readers see them, each by itself, and shows what they hold.
    pub(super) fn get_many(&self, engine: &Engine, keys: &[&[u8]], mut take: impl FnMut(Option<Found<'_>>)) {
        self.with_worker(engine, |worker| engine.get_many(worker, keys, |_, found| take(found)));
    }

    /// Runs one command that takes long: on a thread that serves no connections.
    ///
    /// # Errors
    /// The thread failed, in RESP's words.
    pub(super) async fn run_command_beside(
        &self,
        engine: &Engine,
        command: Command<'static>,
        unanswered: Revision,
    ) -> Result<(Result<Reply, Error>, Revision), Refusal> {
        self.work_beside(engine, move |engine, worker| {
            let mut answered = None;
            engine.execute_batch(worker, &[command], unanswered, |_, result, position| {
                answered = Some((result, position));
            });
            answered.expect("a command is answered")
        })
        .await
    }

    /// Does work with the engine on a thread that serves no connections.
    ///
    /// # Errors
    /// The thread failed, in RESP's words.
    pub(super) async fn work_beside<T: Send + 'static>(
        &self,
        engine: &Engine,
        work: impl FnOnce(&Engine, &mut Worker) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let engine = engine.clone();
        let done = tokio::task::spawn_blocking(move || work(&engine, &mut engine.worker())).await;
        done.map_err(|error| {
            error!(%error, "a request failed");
            "ERR internal error; the server's log has more".into()
        })
    }

    /// Does work with the engine's worker of this thread.
    pub(super) fn with_worker<R>(&self, engine: &Engine, work: impl FnOnce(&mut Worker) -> R) -> R {
        work(self.worker.borrow_mut().get_or_insert_with(|| engine.worker()))
    }

    fn engine(&self) -> Result<&Engine, Problem> {
        self.shared.engine().ok_or_else(|| Problem::loading(self.shared.progress()))
    }
}

/// What a request came to, and what its answer waits for.
struct Done {
    answer: Result<Response<Bytes>, Problem>,
    position: Revision,
}

/// Carries a command out by a worker of its own, and answers it.
fn run_here(
    engine: &Engine,
    shared: &Shared,
    transaction: Option<TransactionId>,
    command: &Command<'_>,
    answer: &Answer,
) -> Result<Done, Problem> {
    let mut worker = engine.worker();
    let result = carry_out(engine, shared, &mut worker, transaction, command)?;
    let result = result.map_err(|error| answer.refuse(command, error));
    let answer = result.and_then(|reply| answer.respond(store(engine), command, reply));
    Ok(Done { answer, position: worker.position() })
}

/// Carries a command out: by itself, or in an open transaction. The inner error is the store's.
fn carry_out(
    engine: &Engine,
    shared: &Shared,
    worker: &mut Worker,
    transaction: Option<TransactionId>,
    command: &Command<'_>,
) -> Result<Result<Reply, Error>, Problem> {
    if counts_from_now(command, shared.default_ttl_ms.is_some()) {
        // The store's time moves in steps: a time to live must not lose what has passed of the last one.
        engine.tick(shared.opened().clock.now_ms());
    }
    match transaction {
        None => Ok(engine.execute(worker, command)),
        Some(id) => {
            let mut lease = shared.transactions.lease(id, remembered_bytes(command))?;
            Ok(lease.execute(engine, worker, command))
        }
    }
}

/// Whether a command gives a key a time to live, which begins when it is carried out. `has_default`: all that are set have one.
fn counts_from_now(command: &Command<'_>, has_default: bool) -> bool {
    let counts = |ttl: &Ttl| matches!(ttl, Ttl::Ms(_)) || has_default && *ttl == Ttl::Default;
    match command {
        Command::Set(set) => counts(&set.ttl),
        Command::MultiSet { sets } => sets.iter().any(|set| counts(&set.ttl)),
        Command::Modify(Modify { rule: Rule::Expire { ttl, .. }, .. }) => counts(ttl),
        Command::Modify(_) => has_default,
        Command::Transaction(transaction) => {
            let mut all = transaction.commands.iter().chain(transaction.otherwise.iter().flatten());
            all.any(|command| counts_from_now(command, has_default))
        }
        _ => false,
    }
}

fn store(engine: &Engine) -> Store {
    Store { epoch: engine.epoch(), now_ms: engine.now_ms() }
}

/// Waits until an answer at `position` may leave. What a thread serves meanwhile does not wait.
async fn reach(engine: &Engine, position: Revision) -> Result<(), Problem> {
    if engine.revision() >= position {
        return Ok(());
    }
    engine.reached(position).await.map_err(|_| Problem::outcome_unknown())
}

/// Does work on a thread that serves no connections.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        error!(%error, "a request failed");
        Err(Problem::internal())
    })
}

/// Bytes of values that have to be written into a batch's answer. A single value is sent as it lies in the store.
fn batch_bytes(reply: &Reply) -> usize {
    match reply {
        Reply::MultiGot { entries, .. } => entries.iter().flatten().map(|entry| entry.value.len()).sum(),
        Reply::Page(page) => page.items.iter().map(|item| item.key.len() + item.entry.value.len()).sum(),
        Reply::Transaction { replies, .. } => replies.iter().flatten().map(value_bytes).sum(),
        _ => 0,
    }
}

/// Bytes of a value that a part of a transaction's answer shows.
fn value_bytes(reply: &Reply) -> usize {
    match reply {
        Reply::Got { entry: Some(entry), .. } => entry.value.len(),
        _ => 0,
    }
}

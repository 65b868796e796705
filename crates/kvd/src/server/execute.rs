//! The one place where a command meets the engine: runs it, turns the reply into an answer, and lets that leave when readers
//! see what it tells of. What takes long is done on a thread beside the serving one. Knows nothing of sockets or of how a
//! request was read.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use kvd_engine::{Engine, Found, Worker};
use kvd_types::{Command, Error, Reply, Revision};
use kvd_wire::resp::error::Refusal;
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::Batch;
use kvd_wire::rest::response::Answer;
use tracing::error;

use super::shared::Shared;

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

    /// Runs one command.
    ///
    /// # Errors
    /// The engine's refusal, in HTTP's words; a precondition of a read that did not hold; the store is still loading, or its disk
    /// has failed.
    pub(super) async fn run(&self, command: Command<'_>, answer: Answer) -> Result<Response<Bytes>, Problem> {
        let engine = self.engine()?;
        let epoch = engine.epoch();
        let (result, position) = self.with(engine, |worker| (engine.execute(worker, &command), worker.position()));
        reach(engine, position).await?;
        let reply = result.map_err(|error| answer.refuse(&command, error))?;
        if batch_bytes(&reply) < LONG_WORK_BYTES {
            return answer.respond(epoch, &command, reply);
        }
        let command = command.into_owned();
        beside(move || answer.respond(epoch, &command, reply)).await
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
    ) -> Result<Response<Bytes>, Problem> {
        if body.len() < LONG_WORK_BYTES {
            let command = batch.command(&body, &mut answer)?;
            return self.run(command, answer).await;
        }
        let engine = self.engine()?;
        let on_thread = engine.clone();
        let (answer, position) = beside(move || {
            let engine = on_thread;
            let command = batch.command(&body, &mut answer)?;
            let mut worker = engine.worker();
            let result = engine.execute(&mut worker, &command).map_err(|error| answer.refuse(&command, error));
            let answer = result.and_then(|reply| answer.respond(engine.epoch(), &command, reply));
            Ok((answer, worker.position()))
        })
        .await?;
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
        self.with(engine, |worker| {
            engine.execute_batch(worker, commands, unanswered, |_, result, position| answer(result, position));
        });
    }

    /// Looks many keys up as readers see them, each by itself, and shows what they hold.
    pub(super) fn get_many(&self, engine: &Engine, keys: &[&[u8]], mut take: impl FnMut(Option<Found<'_>>)) {
        self.with(engine, |worker| engine.get_many(worker, keys, |_, found| take(found)));
    }

    /// Runs one command that takes long: on a thread that serves no connections.
    ///
    /// # Errors
    /// The thread failed, in RESP's words.
    pub(super) async fn run_beside(
        &self,
        engine: &Engine,
        command: Command<'static>,
        unanswered: Revision,
    ) -> Result<(Result<Reply, Error>, Revision), Refusal> {
        self.beside(engine, move |engine, worker| {
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
    pub(super) async fn beside<T: Send + 'static>(
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
    pub(super) fn with<R>(&self, engine: &Engine, work: impl FnOnce(&mut Worker) -> R) -> R {
        work(self.worker.borrow_mut().get_or_insert_with(|| engine.worker()))
    }

    fn engine(&self) -> Result<&Engine, Problem> {
        self.shared.engine().ok_or_else(|| Problem::loading(self.shared.progress()))
    }
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
        _ => 0,
    }
}

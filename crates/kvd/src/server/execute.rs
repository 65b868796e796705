//! The one place where a command meets the engine: runs it, and turns the reply into an answer. What takes long is done on a
//! thread beside the serving one. Knows nothing of sockets or of how a request was read.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use kvd_engine::Worker;
use kvd_types::{Command, Reply};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::Batch;
use kvd_wire::rest::response::Answer;
use tracing::error;

use super::shared::Shared;

/// From this size on, in bytes, reading a batch or writing its answer would hold up the worker's other connections: a
/// millisecond or so of parsing.
const LONG_WORK_BYTES: usize = 256 << 10;

/// Runs commands for one worker.
pub(super) struct Executor {
    shared: Arc<Shared>,
    worker: RefCell<Worker>,
}

impl Executor {
    pub(super) fn new(shared: &Arc<Shared>) -> Executor {
        Executor { shared: Arc::clone(shared), worker: RefCell::new(shared.engine.worker()) }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// The engine's refusal, in HTTP's words; a precondition of a read that did not hold.
    pub(super) async fn run(&self, command: Command<'_>, answer: Answer) -> Result<Response<Bytes>, Problem> {
        let epoch = self.shared.engine.epoch();
        let result = self.shared.engine.execute(&mut self.worker.borrow_mut(), &command);
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
        let shared = Arc::clone(&self.shared);
        beside(move || {
            let command = batch.command(&body, &mut answer)?;
            let result = shared.engine.execute(&mut shared.engine.worker(), &command);
            let reply = result.map_err(|error| answer.refuse(&command, error))?;
            answer.respond(shared.engine.epoch(), &command, reply)
        })
        .await
    }
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

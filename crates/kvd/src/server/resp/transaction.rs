//! MULTI, EXEC, DISCARD, WATCH: commands that wait to be run as one transaction of the store. What is queued is kept as it came,
//! copied out of the read buffer, and means something only at EXEC, as in Redis.

use std::collections::BTreeMap;

use kvd_types::{
    Check, Command, Condition, Error, Key, Limit, LimitExceeded, Limits, OnFailure, Reply, Revision, Transaction,
};
use kvd_wire::resp::commands::{Action, Commands, Flags, Plan, Record};
use kvd_wire::resp::error::{self, Refusal, refusal};
use kvd_wire::resp::parse::{Request, Requests};
use kvd_wire::resp::reply::{self, Shape};

use super::connection::{Connection, OUTPUT_BYTES_MAX};
use crate::server::body::{Budget, Reserved};
use crate::server::execute::LONG_WORK_BYTES;

/// There is no memory for more.
const OVER_BUDGET: &str = "ERR the requests of all clients together are more than limits.inbound_bytes_max, or than memory.max \
     leaves to them; try again";

/// EXEC's answers are made in one go: what tells of the server alone has no part in them when there is much already.
const TOO_MUCH_TOLD: &str =
    "ERR the answers of this transaction about connection and server come to more than 1 MiB; ask outside of MULTI";

/// What came since MULTI.
pub(super) struct Queue<'s> {
    requests: Requests,
    records: Vec<&'static Record>,
    bytes: usize,
    /// One was refused: EXEC is, too.
    is_spoilt: bool,
    /// What it takes of the memory for all.
    held: Reserved<'s>,
}

/// What must be true for EXEC.
pub(super) struct Watched<'s> {
    /// Of each key.
    conditions: BTreeMap<Key<'static>, Condition>,
    /// Lengths of their keys.
    bytes: usize,
    /// What they take of the memory for all.
    held: Reserved<'s>,
}

impl<'s> Watched<'s> {
    pub(super) fn new(budget: &'s Budget) -> Watched<'s> {
        Watched { conditions: BTreeMap::new(), bytes: 0, held: budget.reserve() }
    }

    /// Forgets them, and gives them out.
    fn take(&mut self) -> Vec<Check<'static>> {
        self.bytes = 0;
        self.held.hold(0);
        let conditions = std::mem::take(&mut self.conditions);
        conditions.into_iter().map(|(key, condition)| Check { key, condition }).collect()
    }
}

/// One answer of EXEC.
enum Element<'q> {
    /// Told from the transaction's replies.
    Data(Shape),
    /// What does not belong to the store is answered in its place.
    Action(Action<'q>),
    Refused(Refusal),
}

/// Whether a transaction may become so long: asked before more is kept, and by the store again.
fn check_ops(limits: &Limits, ops: usize) -> Result<(), LimitExceeded> {
    let max = limits.transaction_ops_max;
    let over = LimitExceeded { limit: Limit::TransactionOps, max: max as u64, actual: Some(ops as u64), item: None };
    if ops <= max { Ok(()) } else { Err(over) }
}

impl<'s> Connection<'s> {
    pub(super) fn multi(&mut self) {
        if self.queue.is_some() {
            return self.refuse(error::NESTED_MULTI);
        }
        let held = self.session.shared.inbound.reserve();
        let queue = Queue { requests: Requests::default(), records: Vec::new(), bytes: 0, is_spoilt: false, held };
        self.queue = Some(queue);
        self.client.about().queued = Some(0);
        self.ok();
    }

    /// Something that was to be queued was refused.
    pub(super) fn spoil_queue(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.is_spoilt = true;
        }
    }

    pub(super) fn enqueue(&mut self, record: &'static Record, request: &Request<'_>) {
        if record.flags.has(Flags::NO_MULTI) {
            self.spoil_queue();
            return self.refuse(error::NOT_IN_MULTI);
        }
        match self.add(record, request) {
            Ok(()) => {
                self.begin_answer(Revision(0));
                self.output.simple("QUEUED");
            }
            Err(text) => {
                self.spoil_queue();
                self.refuse(&text);
            }
        }
    }

    fn add(&mut self, record: &'static Record, request: &Request<'_>) -> Result<(), Refusal> {
        let limits = &self.session.shared.limits;
        let over = |error: LimitExceeded| refusal(&Error::LimitExceeded(error));
        let Some(queue) = &mut self.queue else { unreachable!("asked for between MULTI and EXEC alone") };
        if queue.is_spoilt {
            // It will never be run: nothing more is kept.
            return Ok(());
        }
        check_ops(limits, queue.records.len() + 1).map_err(over)?;
        let bytes = queue.bytes + request.bytes();
        limits.check_batch_bytes(bytes).map_err(over)?;
        if !queue.held.hold(bytes) {
            return Err(OVER_BUDGET.into());
        }
        queue.bytes = bytes;
        queue.requests.push(request);
        queue.records.push(record);
        self.client.about().queued = Some(queue.records.len());
        Ok(())
    }

    /// Ends the queue, and what was watched with it.
    fn end_transaction(&mut self) -> Option<Queue<'s>> {
        self.client.about().queued = None;
        self.watched.take();
        self.queue.take()
    }

    pub(super) fn discard(&mut self) {
        if self.queue.is_none() {
            return self.refuse(error::DISCARD_WITHOUT_MULTI);
        }
        self.end_transaction();
        self.ok();
    }

    /// An EXEC with arguments, which it has none of: it ends the transaction all the same.
    pub(super) fn abort_exec(&mut self, reason: &str) {
        self.end_transaction();
        self.refuse(&error::exec_abort(reason));
    }

    /// Forgets all that a connection remembers between requests.
    pub(super) fn forget_transaction(&mut self) {
        self.end_transaction();
    }

    /// What waits for EXEC, in bytes.
    pub(super) fn transaction_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes) + self.watched.bytes
    }

    pub(super) fn unwatch(&mut self) {
        self.watched.take();
        self.ok();
    }

    /// Remembers the version that each key has now. One that is watched already keeps the version it had then.
    pub(super) fn watch(&mut self, keys: Vec<Key<'_>>) {
        if self.queue.is_some() {
            return self.refuse(error::WATCH_IN_MULTI);
        }
        let session = self.session;
        let Some(engine) = session.shared.engine() else { return self.refuse(error::LOADING) };
        let limits = &session.shared.limits;
        let mut position = self.unanswered;
        for key in keys {
            if self.watched.conditions.contains_key(key.as_bytes()) {
                continue;
            }
            let bytes = self.watched.bytes + key.len();
            let is_within = check_ops(limits, self.watched.conditions.len() + 1).and(limits.check_batch_bytes(bytes));
            if let Err(error) = is_within {
                return self.refuse(&refusal(&Error::LimitExceeded(error)));
            }
            if !self.watched.held.hold(bytes) {
                return self.refuse(OVER_BUDGET);
            }
            self.watched.bytes = bytes;
            let peek = Command::Peek { key: key.borrow() };
            let mut version = None;
            session.executor.run_many(engine, &[peek], position, |result, waits_for| {
                position = position.max(waits_for);
                version = Some(result);
            });
            let condition = match version {
                Some(Ok(Reply::Got { entry: Some(entry), .. })) => Condition::Revision(entry.revision),
                Some(Ok(_)) => Condition::Absent,
                Some(Err(error)) => return self.refuse(&refusal(&error)),
                None => unreachable!("a command is answered"),
            };
            self.watched.conditions.insert(key.into_owned(), condition);
        }
        self.begin_answer(position);
        self.output.simple("OK");
    }

    /// Runs what was queued as one transaction.
    pub(super) async fn exec(&mut self) {
        // What is watched outlasts a misplaced EXEC.
        if self.queue.is_none() {
            return self.refuse(error::EXEC_WITHOUT_MULTI);
        }
        let checks = self.watched.take();
        let Some(queue) = self.end_transaction() else { unreachable!("asked for just now") };
        if queue.is_spoilt {
            return self.refuse(error::EXEC_ABORT);
        }
        let session = self.session;
        let Some(engine) = session.shared.engine() else { return self.refuse(error::LOADING) };
        let mut commands = Vec::new();
        let mut elements = Vec::with_capacity(queue.records.len());
        for (record, request) in queue.records.iter().zip(queue.requests.iter()) {
            elements.push(match record.plan(&request) {
                Ok(Plan::Data(planned, shape)) => {
                    let planned = match planned {
                        Commands::One(command) => vec![command],
                        Commands::Several(several) => several,
                    };
                    // One above a limit is refused by itself, as one that fails: the store would refuse all of them.
                    match planned.iter().try_for_each(|command| session.shared.limits.check(command)) {
                        Ok(()) => {
                            commands.extend(planned);
                            Element::Data(shape)
                        }
                        Err(error) => Element::Refused(refusal(&Error::LimitExceeded(error))),
                    }
                }
                Ok(Plan::Action(action)) => Element::Action(action),
                Err(refusal) => Element::Refused(refusal),
            });
        }
        let transaction = Transaction { checks, commands, otherwise: None, on_failure: OnFailure::Continue };
        let is_long = queue.requests.iter().map(|request| request.short_bytes()).sum::<usize>() >= LONG_WORK_BYTES;
        let command = Command::Transaction(transaction);
        let (result, position) = if is_long {
            match session.executor.run_command_beside(engine, command.into_owned(), self.unanswered).await {
                Ok(ran) => ran,
                Err(failed) => return self.refuse(&failed),
            }
        } else {
            let mut ran = None;
            let answer = |result, position| ran = Some((result, position));
            session.executor.run_many(engine, &[command], self.unanswered, answer);
            ran.expect("a command is answered")
        };
        self.begin_answer(position);
        match result {
            Ok(Reply::Transaction { replies, .. }) => self.tell(elements, replies, engine.now_ms()),
            Ok(_) => unreachable!("a transaction is answered as one"),
            Err(Error::PreconditionFailed { .. }) => self.output.null_array(),
            Err(error) => self.output.error(&refusal(&error)),
        }
    }

    fn tell(&mut self, elements: Vec<Element<'_>>, replies: Vec<Result<Reply, Error>>, now_ms: u64) {
        let mut replies = replies.into_iter();
        self.output.array(elements.len());
        let mut told_bytes = 0;
        for element in elements {
            match element {
                Element::Data(shape) => {
                    let next = || replies.next().expect("a transaction has a reply to each of its commands");
                    reply::write(&mut self.output, shape, now_ms, next);
                }
                Element::Action(_) if told_bytes >= OUTPUT_BYTES_MAX => self.output.error(TOO_MUCH_TOLD),
                Element::Action(action) => {
                    let before = self.output.len();
                    self.tell_action(&action);
                    told_bytes += self.output.len() - before;
                }
                Element::Refused(refusal) => self.output.error(&refusal),
            }
        }
    }
}

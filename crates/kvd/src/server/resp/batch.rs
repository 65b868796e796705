//! What has arrived together is run together: commands for the store in chunks, so that it asks for their memory ahead, and
//! whatever is none in its place between them. Owns the order of answers and what each waits for.

use std::io;

use kvd_engine::Engine;
use kvd_types::{Command, Error, Modify, OnFailure, Reply, Revision, Rule, Transaction};
use kvd_wire::resp::commands::{self, Commands, Flags, Plan};
use kvd_wire::resp::error::{LOADING, refusal};
use kvd_wire::resp::parse::{LARGE_BYTES, Request, Requests};
use kvd_wire::resp::reply::{self, Shape};

use super::connection::{Connection, OUTPUT_BYTES_MAX};
use crate::server::execute::LONG_WORK_BYTES;

/// Commands of a chunk.
const CHUNK: usize = 16;

/// Commands for the store that were not run yet.
pub(super) struct Chunk<'r> {
    commands: Vec<Command<'r>>,
    told: Vec<Told>,
}

/// What is told of a command's reply.
#[derive(Clone, Copy)]
enum Told {
    /// What the shape says.
    One(Shape),
    /// The same of the replies to a transaction's commands.
    Several(Shape),
}

impl<'r> Chunk<'r> {
    fn new() -> Chunk<'r> {
        Chunk { commands: Vec::new(), told: Vec::new() }
    }

    fn push(&mut self, commands: Commands<'r>, shape: Shape) {
        let (command, told) = match commands {
            Commands::One(command) => (command, Told::One(shape)),
            Commands::Several(commands) => (together(commands), Told::Several(shape)),
        };
        self.commands.push(command);
        self.told.push(told);
    }

    /// Whether all of them are plain gets.
    fn is_of_gets(&self) -> bool {
        let is_get = |(command, told): (&Command<'_>, &Told)| {
            matches!((command, told), (Command::Get { .. }, Told::One(Shape::Value)))
        };
        self.commands.iter().zip(&self.told).all(is_get)
    }
}

/// Whether it would hold up the thread's other connections: keys and short values by the thousand, or a value that is written at
/// a far place. A large value alone is only handed on.
fn is_long(request: &Request<'_>, commands: &Commands<'_>) -> bool {
    if let Commands::One(Command::Modify(Modify { rule: Rule::SetRange { offset, .. }, .. })) = commands {
        return *offset >= LONG_WORK_BYTES;
    }
    request.len() > CHUNK && request.short_bytes() >= LONG_WORK_BYTES
}

/// Commands that take effect together, each answered by itself.
fn together(commands: Vec<Command<'_>>) -> Command<'_> {
    Command::Transaction(Transaction { checks: Vec::new(), commands, otherwise: None, on_failure: OnFailure::Continue })
}

impl Connection<'_> {
    /// Runs requests in order. Their answers are in the output then, or sent.
    pub(super) async fn run(&mut self, requests: &Requests) -> io::Result<()> {
        let mut chunk = Chunk::new();
        for request in requests.iter() {
            self.step(&mut chunk, request).await?;
            if self.is_ending {
                break;
            }
        }
        self.run_chunk(&mut chunk);
        self.note();
        Ok(())
    }

    /// One request more.
    async fn step<'r>(&mut self, chunk: &mut Chunk<'r>, request: Request<'r>) -> io::Result<()> {
        let record = match commands::find(&request) {
            Ok(record) => record,
            Err(refusal) => {
                self.run_chunk(chunk);
                if request.get(0).eq_ignore_ascii_case(b"exec") {
                    self.abort_exec(&refusal);
                } else {
                    self.spoil_queue();
                    self.refuse(&refusal);
                }
                return Ok(());
            }
        };
        self.newest = Some(record);
        if self.queue.is_some() && !record.flags.has(Flags::NOW) {
            self.run_chunk(chunk);
            self.enqueue(record, &request);
            return Ok(());
        }
        if self.session.shared.engine().is_none() && !record.flags.has(Flags::LOADING) {
            self.refuse(LOADING);
            return Ok(());
        }
        match record.plan(&request) {
            Err(refusal) => {
                self.run_chunk(chunk);
                self.refuse(&refusal);
            }
            Ok(Plan::Data(commands, shape)) => {
                let is_long = is_long(&request, &commands);
                if is_long {
                    self.run_chunk(chunk);
                }
                chunk.push(commands, shape);
                if is_long {
                    self.run_beside(chunk).await;
                } else if chunk.commands.len() == CHUNK {
                    self.run_chunk(chunk);
                }
            }
            Ok(Plan::Action(action)) => {
                self.run_chunk(chunk);
                self.act(action).await?;
            }
        }
        if self.output.len() >= OUTPUT_BYTES_MAX {
            self.send().await?;
        }
        Ok(())
    }

    /// An answer that is a refusal.
    pub(super) fn refuse(&mut self, text: &str) {
        self.begin_answer(Revision(0));
        self.output.error(text);
    }

    /// The store, for who comes when it is loaded.
    pub(super) fn engine(&self) -> Result<&Engine, &'static str> {
        self.session.shared.engine().ok_or(LOADING)
    }

    /// Runs what is in the chunk, and empties it.
    fn run_chunk(&mut self, chunk: &mut Chunk<'_>) {
        if chunk.commands.is_empty() {
            return;
        }
        let session = self.session;
        let engine = session.shared.engine().expect("commands for the store are refused while it is loading");
        // What is read as readers see it must not be behind this client's own writes.
        let is_current = engine.revision() >= self.unanswered;
        if is_current && chunk.is_of_gets() {
            self.run_gets(engine, &chunk.commands);
        } else {
            let now_ms = engine.now_ms();
            let mut told = chunk.told.iter();
            session.executor.run_many(engine, &chunk.commands, self.unanswered, |result, position| {
                let told = *told.next().expect("there is one for each command");
                self.answer_command(told, now_ms, result, position);
            });
        }
        chunk.commands.clear();
        chunk.told.clear();
    }

    /// Plain gets: small values are copied from the store to the output, and nowhere else.
    fn run_gets(&mut self, engine: &Engine, commands: &[Command<'_>]) {
        let limits = &self.session.shared.limits;
        let mut keys: [&[u8]; CHUNK] = [&[]; CHUNK];
        let session = self.session;
        for (at, command) in commands.iter().enumerate() {
            if limits.check(command).is_err() {
                // What is wrong with one is no matter of the others: each by itself.
                return session.executor.run_many(engine, commands, self.unanswered, |result, position| {
                    self.answer_command(Told::One(Shape::Value), 0, result, position);
                });
            }
            if let Command::Get { key } = command {
                keys[at] = key.as_bytes();
            }
        }
        session.executor.get_many(engine, &keys[..commands.len()], |found| {
            self.begin_answer(Revision(0));
            match found {
                Some(found) => match found.value() {
                    short if short.len() < LARGE_BYTES => self.output.bulk(short),
                    long => match found.shared_value() {
                        Some(shared) => self.output.value(shared),
                        None => self.output.bulk(long),
                    },
                },
                None => self.output.null(),
            }
        });
    }

    /// The same for one that takes long: on a thread beside.
    async fn run_beside(&mut self, chunk: &mut Chunk<'_>) {
        let (Some(command), Some(told)) = (chunk.commands.pop(), chunk.told.pop()) else { return };
        let session = self.session;
        let engine = session.shared.engine().expect("commands for the store are refused while it is loading");
        let ran = session.executor.run_command_beside(engine, command.into_owned(), self.unanswered).await;
        match ran {
            Ok((result, position)) => self.answer_command(told, engine.now_ms(), result, position),
            Err(failed) => self.refuse(&failed),
        }
    }

    fn answer_command(&mut self, told: Told, now_ms: u64, result: Result<Reply, Error>, position: Revision) {
        self.begin_answer(position);
        match told {
            Told::One(shape) => {
                let mut result = Some(result);
                reply::write(&mut self.output, shape, now_ms, || result.take().expect("one reply is asked for once"));
            }
            Told::Several(shape) => match result {
                Ok(Reply::Transaction { replies, .. }) => {
                    let mut replies = replies.into_iter();
                    let next = || replies.next().expect("a transaction has a reply to each of its commands");
                    reply::write(&mut self.output, shape, now_ms, next);
                }
                Ok(_) => unreachable!("a transaction is answered as one"),
                Err(error) => self.output.error(&refusal(&error)),
            },
        }
    }
}

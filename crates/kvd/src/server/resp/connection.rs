//! One RESP connection: bytes in, requests run as they arrived together, answers out in one write. Owns the order of these, what
//! is held in memory for the client, and when it has had enough; what a request does is `batch`'s.

use std::io;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use bytes::Buf;
use kvd_engine::{Engine, Worker};
use kvd_types::{Error, Revision};
use kvd_wire::resp::commands::Record;
use kvd_wire::resp::encode::{Output, Protocol};
use kvd_wire::resp::error::{Refusal, refusal};
use kvd_wire::resp::parse::{Parser, ProtocolError};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::clients::{Client, Registered};
use super::transaction::{Queue, Watched};
use super::{Buffers, Session};
use crate::server::body::{Counted, Reserved};
use crate::server::patience::Watch;

/// Bytes asked for in one read.
const READ_BYTES: usize = 16 << 10;

/// Requests that are run before their answers are sent: what one client sends doesn't keep others waiting for longer.
const REQUESTS_MAX: usize = 1_024;

/// Answers that wait to be sent, in bytes, before more requests are run: a client that does not read is not served either.
pub(super) const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What an idle client may have waiting for EXEC, in bytes. Who has more is to go on, as one amid a request.
const IDLE_BYTES_MAX: usize = 64 << 10;

/// Parts of an answer given to the system at once.
const SLICES: usize = 32;

/// What a connection is and remembers.
pub(super) struct Connection<'s> {
    pub(super) session: &'s Session,
    socket: TcpStream,
    watch: &'s Rc<Watch>,
    /// As others see it.
    pub(super) client: Registered,
    pub(super) output: Output,
    /// The newest command.
    pub(super) newest: Option<&'static Record>,
    /// Between MULTI and EXEC.
    pub(super) queue: Option<Queue<'s>>,
    /// What must be true for EXEC.
    pub(super) watched: Watched<'s>,
    /// The highest position of an answer that was not sent.
    pub(super) unanswered: Revision,
    /// The first answer that has to wait, if any.
    waiting: Option<Waiting>,
    /// It ends when what is to be sent was sent.
    pub(super) is_ending: bool,
    /// What the request under way takes of the memory for all.
    held: Reserved<'s>,
}

/// Whether someone still waits for what is done on a thread beside.
pub(super) struct Awaited(Weak<()>);

impl Awaited {
    pub(super) fn is_awaited(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// Answers that must not leave before readers see what they tell of.
struct Waiting {
    /// Where the first begins in the output.
    begin: usize,
    /// How many there are from there on.
    answers: usize,
}

/// Serves until either side ends it, or the server stops: then what has arrived whole is answered.
pub(super) async fn serve(
    session: &Session,
    socket: TcpStream,
    watch: &Rc<Watch>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let client = Client::new(socket.peer_addr()?, socket.local_addr()?, watch.now());
    let client = Arc::clone(&session.shared).register(client);
    let mut connection = Connection {
        session,
        socket,
        watch,
        client,
        output: Output::default(),
        newest: None,
        queue: None,
        watched: Watched::new(&session.shared.inbound),
        unanswered: Revision(0),
        waiting: None,
        is_ending: false,
        held: session.shared.inbound.reserve(),
    };
    watch.request_begins();
    let mut parser = Parser::new(&session.shared.limits);
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return Ok(()),
            ready = connection.socket.readable() => ready?,
        }
        let mut buffers = connection.lend();
        // As long as part of a request has come, the buffers stay.
        loop {
            let read = async {
                match parser.large() {
                    Some(mut rest) => connection.socket.read_buf(&mut rest).await,
                    None => {
                        buffers.input.reserve(READ_BYTES);
                        connection.socket.read_buf(&mut buffers.input).await
                    }
                }
            };
            let bytes = tokio::select! {
                biased;
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return Ok(()),
                read = read => read?,
            };
            if bytes == 0 {
                return Ok(());
            }
            watch.request_begins();
            connection.serve_input(&mut parser, &mut buffers).await?;
            if connection.is_ending {
                return Ok(());
            }
            if !parser.is_amid_request(&buffers.input) {
                break;
            }
            watch.rest_is_due();
        }
        connection.give_back(buffers);
        if connection.transaction_bytes() > IDLE_BYTES_MAX {
            watch.rest_is_due();
        }
    }
}

impl Connection<'_> {
    /// Gets what it needs to be awake.
    fn lend(&mut self) -> Buffers {
        let mut buffers = self.session.lend();
        let protocol = self.output.protocol();
        std::mem::swap(&mut self.output, &mut buffers.output);
        self.output.set_protocol(protocol);
        buffers
    }

    /// Goes back to sleep: nothing is in the buffers.
    fn give_back(&mut self, mut buffers: Buffers) {
        let protocol = self.output.protocol();
        buffers.output = std::mem::replace(&mut self.output, Output::new(protocol));
        self.session.take_back(buffers);
    }

    /// The time of connections: as coarse as their limits allow.
    pub(super) fn now(&self) -> Instant {
        self.watch.now()
    }

    /// The shapes that the client understands, from the next answer on.
    pub(super) fn set_protocol(&mut self, protocol: Protocol) {
        self.output.set_protocol(protocol);
    }

    /// Runs all that has arrived whole.
    async fn serve_input(&mut self, parser: &mut Parser, buffers: &mut Buffers) -> io::Result<()> {
        loop {
            let parsed = parser.parse(&buffers.input, REQUESTS_MAX);
            parser.take(&mut buffers.input, &mut buffers.requests);
            self.run(&buffers.requests).await?;
            buffers.requests.clear();
            match &parsed {
                _ if self.is_ending => {}
                Ok(needs_more) => self.hold_rest(*needs_more, parser, &buffers.input),
                Err(error) => {
                    if let ProtocolError::Malformed(_) = error {
                        self.refuse(&error.to_string());
                    }
                    self.is_ending = true;
                }
            }
            self.send().await?;
            if self.is_ending || parsed == Ok(true) {
                return Ok(());
            }
            // Others have their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Counts what the request under way has in memory, if there is one.
    fn hold_rest(&mut self, needs_more: bool, parser: &Parser, input: &[u8]) {
        let is_amid = needs_more && parser.is_amid_request(input);
        if !self.held.hold(if is_amid { input.len() + parser.kept_bytes() } else { 0 }) {
            self.refuse(
                "ERR the requests of all clients together are more than limits.inbound_bytes_max, or than memory.max \
                 leaves to them; the connection is closed, try again",
            );
            self.is_ending = true;
        }
    }

    /// Does work on a thread beside that may take very long: it is to end early when it is no longer awaited, since the client is
    /// gone or the server has waited long enough to stop.
    ///
    /// # Errors
    /// The client is gone. Inside: the thread failed, in RESP's words.
    pub(super) async fn beside<T: Send + 'static>(
        &self,
        engine: &Engine,
        work: impl FnOnce(&Engine, &mut Worker, &Awaited) -> T + Send + 'static,
    ) -> io::Result<Result<T, Refusal>> {
        // Dropped with this future, however it ends.
        let waiting = Arc::new(());
        let awaited = Awaited(Arc::downgrade(&waiting));
        let work = move |engine: &Engine, worker: &mut Worker| work(engine, worker, &awaited);
        tokio::select! {
            biased;
            done = self.session.executor.work_beside(engine, work) => Ok(done),
            // Who has only said that nothing more will be sent still reads.
            ready = self.socket.ready(Interest::ERROR) => {
                ready?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }

    /// An answer is about to be written that may leave when readers see `position`.
    #[inline]
    pub(super) fn begin_answer(&mut self, position: Revision) {
        if let Some(waiting) = &mut self.waiting {
            waiting.answers += 1;
        } else if position > Revision(0) {
            let is_visible = self.session.shared.engine().is_some_and(|engine| engine.revision() >= position);
            if !is_visible {
                self.waiting = Some(Waiting { begin: self.output.len(), answers: 1 });
            }
        }
        self.unanswered = self.unanswered.max(position);
    }

    /// Sends all answers, when they may leave.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        self.reach().await;
        // What a slow reader leaves with us is counted; what leaves at once is not worth a store that all workers share.
        let mut _counted = None;
        while self.output.has_remaining() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.output.chunks_vectored(&mut slices);
            let written = match filled {
                1 => self.socket.try_write(self.output.chunk()),
                _ => self.socket.try_write_vectored(&slices[..filled]),
            };
            match written {
                Ok(bytes) => {
                    self.output.advance(bytes);
                    self.watch.request_begins();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.watch.reading_is_due();
                    let buffers = &self.session.shared.buffers;
                    _counted = Some(Counted::new(buffers, self.output.own_len()));
                    self.socket.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until readers see what the answers tell of. If they never will, the answers that wait are taken back: each says so
    /// instead.
    pub(super) async fn reach(&mut self) {
        let Some(waiting) = self.waiting.take() else { return };
        let Some(engine) = self.session.shared.engine() else { return };
        if engine.reached(self.unanswered).await.is_err() {
            self.output.truncate(waiting.begin);
            for _ in 0..waiting.answers {
                self.output.error(&refusal(&Error::OutcomeUnknown));
            }
            // The client has been told; its reads go on as everyone's.
            self.unanswered = Revision(0);
        }
    }
}

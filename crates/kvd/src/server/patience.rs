//! How long a connection may take. Each one is always in a phase with a limit of its own; a sweep on its worker, a few times
//! a minute to a few times a second, ends those that have overstayed. So no request arms a timer or reads a clock.
//! Knows nothing of what is spoken: the session says when a request begins and ends, the socket shows the rest.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use kvd_types::Limits;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::debug;

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client's next request. Limit: `keep_alive_timeout`.
    Idle,
    /// The rest of a request's head, of which something has come. Limit: `header_timeout`.
    Head,
    /// Us; a body, which is timed by who reads it; or the next request of a RESP client, which may take its time. No limit here.
    Request,
    /// The client, to read what we have sent. Limit: `body_idle_timeout`.
    Unread,
    /// The rest of a RESP request, of which part has come. Limit: `body_idle_timeout`.
    Rest,
    /// What an answer without an end is to show next, while the client reads it. No limit.
    Stream,
}

/// One connection's phase, shared by its socket, its session and the sweep; all on one thread.
pub(super) struct Watch {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    clock: Rc<Cell<Instant>>,
    /// The answer has no end of its own: with nothing to read or to write the connection is not idle.
    is_streaming: Cell<bool>,
    /// To wake who writes it, when the client has read some.
    unblocked: Cell<Option<Waker>>,
}

/// Held for as long as an answer without an end goes on.
pub(super) struct Streaming(Rc<Watch>);

impl Watch {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.clock.get());
    }

    /// A whole head has come; the request is ours now.
    pub(super) fn request_begins(&self) {
        self.enter(Phase::Request);
    }

    /// The answer is decided; what remains is to write it.
    pub(super) fn request_ends(&self) {
        self.enter(self.at_rest());
    }

    /// The answer is one without an end.
    pub(super) fn stream_begins(self: &Rc<Self>) -> Streaming {
        self.is_streaming.set(true);
        Streaming(Rc::clone(self))
    }

    /// The phase with nothing to read or to write.
    fn at_rest(&self) -> Phase {
        if self.is_streaming.get() { Phase::Stream } else { Phase::Idle }
    }

    /// Part of a request has come, and the client owes the rest.
    pub(super) fn rest_is_due(&self) {
        self.enter(Phase::Rest);
    }

    /// The client does not read what we have sent.
    pub(super) fn reading_is_due(&self) {
        self.enter(Phase::Unread);
    }

    /// The time, as coarse as the sweep.
    pub(super) fn now(&self) -> Instant {
        self.clock.get()
    }

    fn has_read(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn has_written(&self) {
        if self.phase.get() == Phase::Unread {
            self.enter(self.at_rest());
            if let Some(waker) = self.unblocked.take() {
                waker.wake();
            }
        }
    }

    fn cannot_write(&self) {
        if matches!(self.phase.get(), Phase::Idle | Phase::Head | Phase::Stream) {
            self.enter(Phase::Unread);
        }
    }
}

impl Streaming {
    /// Whether what was written waits for the client to read. Then it wakes when some of it was read.
    pub(super) fn is_blocked(&self, context: &Context<'_>) -> bool {
        let is_blocked = self.0.phase.get() == Phase::Unread;
        if is_blocked {
            self.0.unblocked.set(Some(context.waker().clone()));
        }
        is_blocked
    }

    /// The time, at most one sweep old.
    pub(super) fn now(&self) -> Instant {
        self.0.clock.get()
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.is_streaming.set(false);
        if self.0.phase.get() == Phase::Stream {
            self.0.enter(Phase::Idle);
        }
    }
}

/// The connections of one worker, and how long each phase may last.
pub(super) struct Patience {
    idle: Duration,
    head: Duration,
    unread: Duration,
    ticks: Interval,
    /// The time of the last tick: what `since` is measured by. At most one tick old.
    clock: Rc<Cell<Instant>>,
    connections: Vec<(Weak<Watch>, AbortHandle)>,
}

impl Patience {
    pub(super) fn new(limits: &Limits) -> Patience {
        let (idle, head, unread) = (limits.keep_alive_timeout, limits.header_timeout, limits.body_idle_timeout);
        // Fine enough for the shortest limit, and never a busy loop.
        let tick = (idle.min(head).min(unread) / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut ticks = interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // `since` may be a tick too early, so each phase gets one more.
        let (idle, head, unread) = (idle + tick, head + tick, unread + tick);
        Patience { idle, head, unread, ticks, clock: Rc::new(Cell::new(Instant::now())), connections: Vec::new() }
    }

    /// Begins to watch a connection.
    pub(super) fn watch(&self) -> Rc<Watch> {
        let clock = Rc::clone(&self.clock);
        let (phase, since) = (Cell::new(Phase::Idle), Cell::new(clock.get()));
        let (is_streaming, unblocked) = (Cell::new(false), Cell::new(None));
        Rc::new(Watch { phase, since, clock, is_streaming, unblocked })
    }

    /// Says how to end it.
    pub(super) fn can_end(&mut self, watch: &Rc<Watch>, connection: AbortHandle) {
        self.connections.push((Rc::downgrade(watch), connection));
    }

    /// Waits for the next tick, then ends the connections that have overstayed. Returns the time.
    pub(super) async fn sweep(&mut self) -> Instant {
        let now = self.ticks.tick().await;
        self.clock.set(now);
        let (idle, head, unread) = (self.idle, self.head, self.unread);
        self.connections.retain(|(watch, connection)| {
            let Some(watch) = watch.upgrade() else { return false };
            let limit = match watch.phase.get() {
                Phase::Idle => idle,
                Phase::Head => head,
                Phase::Unread | Phase::Rest => unread,
                Phase::Request | Phase::Stream => return true,
            };
            let overstayed = now.saturating_duration_since(watch.since.get()) > limit;
            if overstayed {
                debug!(phase = ?watch.phase.get(), "a connection took too long and was closed");
                connection.abort();
            }
            !overstayed
        });
        now
    }
}

/// A socket that tells its watch what it sees.
pub(super) struct Watched {
    socket: TokioIo<TcpStream>,
    watch: Rc<Watch>,
}

impl Watched {
    pub(super) fn new(socket: TcpStream, watch: &Rc<Watch>) -> Watched {
        Watched { socket: TokioIo::new(socket), watch: Rc::clone(watch) }
    }

    fn after_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_pending() {
            self.watch.cannot_write();
        } else {
            self.watch.has_written();
        }
        result
    }
}

impl Read for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if result.is_ready() {
            self.watch.has_read();
        }
        result
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.after_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, pieces);
        self.after_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

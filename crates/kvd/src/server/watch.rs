//! Watches: commits from the store as server-sent events, no faster than the client reads. Owns when a watch says that it is
//! alive, and when it ends; how an event is written is `kvd-wire`'s, which commits there are the engine's.
//!
//! A watch has no queue and no timer. It keeps its place, and what the socket has not taken yet of one frame; when that is gone
//! it looks its commit up again. One that was overtaken ends with `lagged`, or without a word in the middle of an event.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use kvd_engine::{Change, NotKept, Place};
use kvd_types::{Epoch, Etag};
use kvd_wire::rest::batch::WatchLagged;
use kvd_wire::rest::watch::{CommitText, Filter, write_lagged, write_place};
use tokio::time::Instant;

use super::patience::Streaming;

/// When nothing was shown for so long, a comment is.
const QUIET_MAX: Duration = Duration::from_secs(15);

/// Bytes from which on a frame is handed to the socket.
const FRAME_BYTES: usize = 64 << 10;

/// Commits taken at once.
const COMMITS_AT_ONCE: usize = 64;

/// Effects looked at before others have their turn: about a millisecond.
const EFFECTS_AT_ONCE: usize = 10_000;

/// Of the bytes that are kept, the part that passes a watch by before its client is told the new place.
const PASSED_SHARE: u64 = 8;

/// The watches of one worker, for the one sweep that looks which have been quiet for too long.
#[derive(Default)]
pub(super) struct Watches(RefCell<Vec<Weak<Quiet>>>);

/// How long a watch has shown nothing.
struct Quiet {
    since: Cell<Instant>,
    /// Since long: a comment is to be shown.
    is_long: Cell<bool>,
    /// To wake it for that.
    waker: Cell<Option<Waker>>,
}

impl Watches {
    /// Has those say something that have been quiet for long.
    pub(super) fn sweep(&self, now: Instant) {
        self.0.borrow_mut().retain(|quiet| {
            let Some(quiet) = quiet.upgrade() else { return false };
            if now.saturating_duration_since(quiet.since.get()) >= QUIET_MAX {
                quiet.is_long.set(true);
                if let Some(waker) = quiet.waker.take() {
                    waker.wake();
                }
            }
            true
        });
    }

    /// Begins to show what `watch` sees.
    pub(super) fn begin(&self, watch: kvd_engine::Watch, shown: Shown, streaming: Streaming) -> Events {
        let since = Cell::new(streaming.now());
        let quiet = Rc::new(Quiet { since, is_long: Cell::new(false), waker: Cell::new(None) });
        self.0.borrow_mut().push(Rc::downgrade(&quiet));
        Events { watch, shown, state: State::Beginning, passed_bytes: 0, gives_way: false, quiet, streaming }
    }
}

/// What of the commits is shown, and how.
pub(super) struct Shown {
    pub(super) filter: Filter<'static>,
    /// Values always in base64.
    pub(super) base64: bool,
    /// The store's.
    pub(super) epoch: Epoch,
}

/// The body of an answer that shows commits.
pub(super) struct Events {
    watch: kvd_engine::Watch,
    shown: Shown,
    state: State,
    /// Bytes of commits that had nothing to show, since the client was last told its place.
    passed_bytes: u64,
    /// A frame was handed on: the socket has its turn before the next one.
    gives_way: bool,
    quiet: Rc<Quiet>,
    /// Keeps the connection from being taken for an idle one.
    streaming: Streaming,
}

enum State {
    /// Nothing was written yet.
    Beginning,
    /// Between two commits.
    Waiting,
    /// Within a commit, which is not shown as a whole yet.
    Writing(Writing),
    /// Nothing follows.
    Over,
}

/// A commit that is being written.
struct Writing {
    text: CommitText,
    /// Before the effect that is being written.
    place: Place,
}

/// A watch was overtaken in the middle of an event, which can't be ended in order any more.
#[derive(Debug, thiserror::Error)]
#[error("a watch was slower than the commits")]
pub(super) struct Overtaken;

/// Why a frame is handed on, or none.
enum Pause {
    /// There is nothing to show until commits come.
    Nothing,
    /// The frame is full, or others have their turn.
    Turn,
}

impl Events {
    /// Writes what there is, as far as it fits one frame.
    fn fill(&mut self, context: &mut Context<'_>, to: &mut Vec<u8>) -> Result<Pause, Overtaken> {
        let mut effects = 0;
        loop {
            let commits = match self.watch.poll_commits(context, COMMITS_AT_ONCE) {
                Poll::Pending => return Ok(Pause::Nothing),
                Poll::Ready(Ok(commits)) => commits,
                Poll::Ready(Err(gone)) => return self.end_overtaken(gone, to).map(|()| Pause::Turn),
            };
            if commits.is_empty() {
                write_place("the server is stopping", self.watch.place(), to);
                self.state = State::Over;
                return Ok(Pause::Turn);
            }
            for commit in commits {
                if !self.show(&commit, to) || to.len() >= FRAME_BYTES {
                    return Ok(Pause::Turn);
                }
                effects += commit.effects_count();
                if effects >= EFFECTS_AT_ONCE {
                    return Ok(Pause::Turn);
                }
            }
        }
    }

    /// Writes one commit, or some more of it. Returns whether that was all.
    fn show(&mut self, commit: &Change, to: &mut Vec<u8>) -> bool {
        let mut writing = match std::mem::replace(&mut self.state, State::Waiting) {
            State::Writing(writing) => writing,
            _ => {
                let etag = Etag { epoch: self.shown.epoch, revision: commit.revision() };
                Writing { text: CommitText::new(etag, self.shown.base64), place: Place::default() }
            }
        };
        let mut place = writing.place;
        while let Some(effect) = commit.next_effect(&mut place, |key| self.shown.filter.matches(key)) {
            // A full frame ends before an effect, not after the last one: then the event is whole.
            if to.len() >= FRAME_BYTES || !writing.text.write(&effect, to) {
                self.state = State::Writing(writing);
                return false;
            }
            writing.place = place;
        }
        self.watch.saw(commit.revision());
        if writing.text.has_begun() {
            writing.text.end(to);
            self.passed_bytes = 0;
        } else {
            self.passed_bytes += commit.bytes();
            // Who is shown little must not lose its place by that.
            if self.passed_bytes >= self.watch.kept_bytes_min() / PASSED_SHARE {
                self.write_place("nothing for this watch", to);
            }
        }
        true
    }

    fn end_overtaken(&mut self, gone: NotKept, to: &mut Vec<u8>) -> Result<(), Overtaken> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Writing(writing) if writing.text.has_begun() => Err(Overtaken),
            _ => {
                write_lagged(WatchLagged { revision: self.watch.place(), oldest: gone.oldest }, to);
                Ok(())
            }
        }
    }

    fn write_place(&mut self, comment: &str, to: &mut Vec<u8>) {
        write_place(comment, self.watch.place(), to);
        self.passed_bytes = 0;
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Overtaken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Overtaken>>> {
        let this = &mut *self;
        if matches!(this.state, State::Over) {
            return Poll::Ready(None);
        }
        // Else hyper would ask for frames until it has some 400 KiB of them, for each client that doesn't read.
        if std::mem::take(&mut this.gives_way) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.streaming.is_blocked(context) {
            return Poll::Pending;
        }
        let mut frame = Vec::new();
        match this.state {
            State::Beginning => {
                this.state = State::Waiting;
                this.write_place(&format!("store {}", this.shown.epoch), &mut frame);
            }
            State::Waiting | State::Writing(_) | State::Over => {}
        }
        let pause = match this.fill(context, &mut frame) {
            Ok(pause) => pause,
            Err(overtaken) => return Poll::Ready(Some(Err(overtaken))),
        };
        if frame.is_empty() && this.quiet.is_long.get() && matches!(this.state, State::Waiting) {
            this.write_place("quiet", &mut frame);
        }
        if !frame.is_empty() {
            this.quiet.since.set(this.streaming.now());
            this.quiet.is_long.set(false);
            this.gives_way = true;
            return Poll::Ready(Some(Ok(Frame::data(frame.into()))));
        }
        match pause {
            Pause::Turn => context.waker().wake_by_ref(),
            Pause::Nothing => this.quiet.waker.set(Some(context.waker().clone())),
        }
        Poll::Pending
    }
}

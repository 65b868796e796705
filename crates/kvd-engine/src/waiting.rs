//! Answers that wait until readers see what they tell of, and a flusher that waits for commits. Owns who waits and who wakes
//! them; knows nothing of what is waited for but its revision.
//!
//! | no wake-up is lost, because | |
//! |---|---|
//! | who waits looks at VISIBLE and registers under one lock | the flusher stores VISIBLE, then takes that lock |
//! | the flusher says that it sleeps, then looks at the queue in SEQ | a commit is queued in SEQ, then looks whether it sleeps |

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kvd_types::{Error, Revision};

use crate::engine::Engine;
use crate::planted::{self, Bug};
use crate::sequence::Sequence;
use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, lock};

/// Everyone who waits.
#[derive(Default)]
pub(crate) struct Waiting {
    answers: Mutex<Answers>,
    /// Threads that wait for an answer; with `answers`.
    reached: Condvar,
    /// The flusher is asleep, or about to be. Stored before it looks at the queue, loaded after a commit was queued.
    is_asleep: AtomicBool,
    /// The flusher is to wake; with `rung`.
    bell: Mutex<bool>,
    rung: Condvar,
}

#[derive(Default)]
struct Answers {
    /// By position; the ticket tells those of one position apart.
    waiting: BTreeMap<(Revision, u64), Waker>,
    /// The next ticket.
    next: u64,
    /// VISIBLE moves no more: who waits beyond it is told so.
    is_over: bool,
}

impl Answers {
    /// What an answer at `position` has come to, if anything.
    fn outcome(&self, sequence: &Sequence, position: Revision) -> Option<Result<(), Error>> {
        if sequence.visible() >= position {
            return Some(Ok(()));
        }
        self.is_over.then_some(Err(Error::OutcomeUnknown))
    }
}

impl Waiting {
    /// Blocks until readers see `position`.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when they never will.
    pub(crate) fn wait(&self, sequence: &Sequence, position: Revision) -> Result<(), Error> {
        if sequence.visible() >= position {
            return Ok(());
        }
        let mut answers = lock(&self.answers);
        let mut is_first = true;
        loop {
            // The mistake: to look only before the lock.
            if !(is_first && planted::is(Bug::CheckedThenRegistered))
                && let Some(outcome) = answers.outcome(sequence, position)
            {
                return outcome;
            }
            is_first = false;
            answers = self.reached.wait(answers).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// VISIBLE has moved, or moves no more.
    pub(crate) fn wake(&self, sequence: &Sequence, is_over: bool) {
        let mut answers = lock(&self.answers);
        answers.is_over |= is_over;
        let rest = match sequence.visible().0.checked_add(1).filter(|_| !answers.is_over) {
            Some(next) => answers.waiting.split_off(&(Revision(next), 0)),
            None => BTreeMap::new(),
        };
        let reached = std::mem::replace(&mut answers.waiting, rest);
        drop(answers);
        self.reached.notify_all();
        reached.into_values().for_each(Waker::wake);
    }

    /// A commit was queued: wakes the flusher if it sleeps. One load while it doesn't.
    pub(crate) fn ring(&self) {
        // Acquire: pairs with the store in `wait_for_commits`. SEQ, in which both were, makes one of them see the other.
        if self.is_asleep.load(Ordering::Acquire) {
            self.ring_anyway();
        }
    }

    /// Wakes the flusher, now or when it next wants to sleep.
    pub(crate) fn ring_anyway(&self) {
        *lock(&self.bell) = true;
        self.rung.notify_one();
    }

    /// The flusher sleeps until commits are queued or someone rings, for `timeout` at most. Returns whether it was woken.
    pub(crate) fn wait_for_commits(&self, sequence: &Sequence, timeout: Duration) -> bool {
        self.is_asleep.store(true, Ordering::Release); // pairs with the load in `ring`
        let mut is_woken = sequence.has_queued();
        let mut bell = lock(&self.bell);
        while !is_woken && !*bell {
            let (guard, waited) =
                self.rung.wait_timeout(bell, timeout).unwrap_or_else(std::sync::PoisonError::into_inner);
            bell = guard;
            if waited.timed_out() {
                break;
            }
        }
        is_woken |= std::mem::take(&mut *bell);
        self.is_asleep.store(false, Ordering::Release); // pairs with the load in `ring`
        is_woken
    }
}

/// An answer that waits, for who has many and no thread for each.
///
/// # Errors
/// [`Error::OutcomeUnknown`] when readers will never see its position.
pub struct Reached {
    engine: Engine,
    position: Revision,
    /// Under which it is registered.
    ticket: Option<u64>,
}

impl Reached {
    pub(crate) fn new(engine: Engine, position: Revision) -> Reached {
        Reached { engine, position, ticket: None }
    }
}

impl Future for Reached {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let store = this.engine.parts();
        if store.sequence.visible() >= this.position {
            return Poll::Ready(Ok(()));
        }
        let mut answers = lock(&store.waiting.answers);
        if let Some(outcome) = answers.outcome(&store.sequence, this.position) {
            return Poll::Ready(outcome);
        }
        let ticket = this.ticket.unwrap_or(answers.next);
        answers.next = answers.next.max(ticket + 1);
        this.ticket = Some(ticket);
        answers.waiting.insert((this.position, ticket), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            lock(&self.engine.parts().waiting.answers).waiting.remove(&(self.position, ticket));
        }
    }
}

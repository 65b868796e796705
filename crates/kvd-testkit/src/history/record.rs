//! Recording: operations with the instants of their invocation and response, by one logical clock. Knows nothing of
//! what an operation is, and takes no lock and no system call between the two instants.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that orders the instants of all processes as they happened. A tick is a full barrier between the operations
/// around it, so a recorded history can hide what only a weakly ordered machine would do: that is for loom to find.
#[derive(Debug, Default)]
pub struct LogicalClock {
    /// The next instant; every process increments it.
    next: AtomicU64,
}

impl LogicalClock {
    /// A clock that starts at 0.
    pub fn new() -> LogicalClock {
        LogicalClock::default()
    }

    /// An instant, later than all that were given before.
    pub fn tick(&self) -> u64 {
        // SeqCst, paired with the ticks of all processes: one order, in which no operation of a store moves across a tick.
        self.next.fetch_add(1, Ordering::SeqCst)
    }
}

/// An operation that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T> {
    /// Who asked.
    pub process: u32,
    /// The instant just before the operation was handed to the store.
    pub invoked: u64,
    /// The instant just after the answer; none when the outcome is unknown, and then the operation may take effect at
    /// any time after its invocation, or never.
    pub responded: Option<u64>,
    /// What was asked and answered.
    pub operation: T,
}

impl<T: fmt::Display> fmt::Display for Record<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let responded = self.responded.map_or("?".to_owned(), |instant| instant.to_string());
        write!(f, "process {} [{}..{responded}] {}", self.process, self.invoked, self.operation)
    }
}

/// The beginning of an operation, to be handed back at its end.
#[derive(Debug)]
#[must_use = "an operation that is not recorded may be one whose effect others see"]
pub struct Invocation {
    invoked: u64,
}

/// One client: a thread, a task or a connection. Its operations take effect in the order of their invocations; it may
/// have several open at once only where the store promises that, as for pipelined requests on one connection.
#[derive(Debug)]
pub struct Process<T, C> {
    id: u32,
    /// Shared by all processes of a history.
    clock: C,
    /// In the order of the responses.
    records: Vec<Record<T>>,
}

impl<T, C: Fn() -> u64> Process<T, C> {
    /// A process without operations. The clock's instants must order the operations of all processes as they happened,
    /// and no two may be equal: `|| clock.tick()` with a shared [`LogicalClock`], or a counter that a model checker's
    /// scheduler knows.
    pub fn new(id: u32, clock: C) -> Process<T, C> {
        Process { id, clock, records: Vec::new() }
    }

    /// To be called just before an operation is handed to the store.
    pub fn invoke(&mut self) -> Invocation {
        Invocation { invoked: (self.clock)() }
    }

    /// To be called when the operation was answered; makes `operation` of the answer afterwards, so that nothing but
    /// the operation lies between the instants.
    pub fn respond(&mut self, invocation: Invocation, operation: T) {
        let responded = Some((self.clock)());
        self.records.push(Record { process: self.id, invoked: invocation.invoked, responded, operation });
    }

    /// To be called when there is no answer, or none that says whether it was done: the connection broke, the server was
    /// killed, the outcome was reported as unknown.
    pub fn give_up(&mut self, invocation: Invocation, operation: T) {
        self.records.push(Record { process: self.id, invoked: invocation.invoked, responded: None, operation });
    }

    /// What was recorded.
    pub fn into_records(self) -> Vec<Record<T>> {
        self.records
    }
}

/// One history of what several processes recorded, by instants of invocation.
pub fn merge<T>(processes: impl IntoIterator<Item = Vec<Record<T>>>) -> Vec<Record<T>> {
    let mut history: Vec<Record<T>> = processes.into_iter().flatten().collect();
    history.sort_by_key(|record| record.invoked);
    history
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::thread;

    use super::*;

    #[test]
    fn instants_of_threads_are_all_different_and_grow_in_each() {
        let clock = LogicalClock::new();
        let record = |id| {
            let mut process = Process::new(id, || clock.tick());
            for round in 0..1_000 {
                let invocation = process.invoke();
                process.respond(invocation, round);
            }
            process.into_records()
        };
        let history = thread::scope(|scope| {
            let record = &record;
            let threads: Vec<_> = (0..4).map(|id| scope.spawn(move || record(id))).collect();
            merge(threads.into_iter().map(|thread| thread.join().unwrap()))
        });
        let mut instants: Vec<u64> =
            history.iter().flat_map(|record| [record.invoked, record.responded.unwrap()]).collect();
        instants.sort_unstable();
        assert_eq!(instants, (0..8_000).collect::<Vec<_>>());
        for id in 0..4 {
            let rounds: Vec<i32> =
                history.iter().filter(|record| record.process == id).map(|record| record.operation).collect();
            assert_eq!(rounds, (0..1_000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_closure_is_a_clock_and_an_operation_may_have_no_response() {
        let now = Cell::new(10);
        let mut process = Process::new(3, || now.replace(now.get() + 5));
        let (first, second) = (process.invoke(), process.invoke());
        process.respond(second, "answered");
        process.give_up(first, "lost");
        let history = merge([process.into_records()]);
        let record = |invoked, responded, operation| Record { process: 3, invoked, responded, operation };
        assert_eq!(history, [record(10, None, "lost"), record(15, Some(20), "answered")]);
        assert_eq!(history[0].to_string(), "process 3 [10..?] lost");
    }
}

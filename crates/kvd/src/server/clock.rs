//! The clock that drives the store: the time it begins at, and from there on one that nobody can set.

use std::time::Instant;

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    begin_ms: u64,
    begun: Instant,
}

impl Clock {
    /// Begins at this time.
    pub(super) fn new(begin_ms: u64) -> Clock {
        Clock { begin_ms, begun: Instant::now() }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.begin_ms.saturating_add(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

//! When to try again: a bounded number of times, after pauses that grow and are random, so that those who got in each other's
//! way don't meet again in step. Knows nothing of what is tried.

use std::time::Duration;

/// How often something is tried again, and after which pauses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Attempts after the first one.
    retries_max: u32,
    /// Bound of the first pause; each further one is twice that of the one before.
    pause_first: Duration,
    /// Bound of every pause.
    pause_max: Duration,
}

impl Policy {
    /// After a conflict: the other commit is done already. At most 3 s in all.
    pub(crate) const CONFLICT: Policy =
        Policy { retries_max: 20, pause_first: Duration::from_millis(1), pause_max: Duration::from_millis(250) };
    /// After an answer got lost: the server keeps it for a minute. At most 7 s in all, and the time of the attempts.
    pub(crate) const LOST_ANSWER: Policy =
        Policy { retries_max: 8, pause_first: Duration::from_millis(50), pause_max: Duration::from_millis(2_000) };
    /// After a stream broke: a server that is restarted is back after some seconds. At most a minute in all.
    pub(crate) const LOST_STREAM: Policy =
        Policy { retries_max: 16, pause_first: Duration::from_millis(100), pause_max: Duration::from_millis(5_000) };
}

/// What is left of a policy.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: Policy,
    /// Attempts after the first one, so far.
    retries: u32,
}

impl Attempts {
    pub(crate) fn new(policy: Policy) -> Self {
        Attempts { policy, retries: 0 }
    }

    /// Waits until it is time for another attempt; false, at once, when none is left.
    pub(crate) async fn again(&mut self) -> bool {
        let Some(bound) = self.next_bound() else { return false };
        tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
        true
    }

    fn next_bound(&mut self) -> Option<Duration> {
        if self.retries == self.policy.retries_max {
            return None;
        }
        let doubled = self.policy.pause_first.saturating_mul(1 << self.retries.min(16));
        self.retries += 1;
        Some(doubled.min(self.policy.pause_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_attempts_end() {
        for (policy, total_ms) in
            [(Policy::CONFLICT, 3_255), (Policy::LOST_ANSWER, 7_150), (Policy::LOST_STREAM, 56_300)]
        {
            let mut attempts = Attempts::new(policy);
            let bounds: Vec<Duration> = std::iter::from_fn(|| attempts.next_bound()).collect();
            assert_eq!((bounds.len() as u32, bounds[0]), (policy.retries_max, policy.pause_first));
            assert!(bounds.is_sorted() && bounds.last() == Some(&policy.pause_max), "{bounds:?}");
            assert_eq!(bounds.iter().sum::<Duration>(), Duration::from_millis(total_ms));
        }
    }
}

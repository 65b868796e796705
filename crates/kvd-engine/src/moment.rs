//! The store's time as one command sees it, and what a time to live comes to then. Knows nothing of keys.

use kvd_types::Ttl;

use crate::engine::Store;
use crate::index::EXPIRES_AT_MS_MAX;

/// A time, and what is given to values that come without a time to live.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now_ms: u64,
    default_ttl_ms: Option<u64>,
}

impl Moment {
    pub(crate) fn new(store: &Store, now_ms: u64) -> Moment {
        Moment { now_ms, default_ttl_ms: store.default_ttl_ms }
    }

    /// When a value goes that comes with `ttl`. `before` is the expiry of the value that it replaces, if there is one.
    pub(crate) fn expires_at_ms(self, ttl: Ttl, before: Option<Option<u64>>) -> Option<u64> {
        let at = match (ttl, before) {
            (Ttl::Keep, Some(before)) => before,
            // What is to be kept where nothing is: the same as for a key that is new.
            (Ttl::Keep | Ttl::Default, _) => self.default_ttl_ms.map(|ms| self.now_ms.saturating_add(ms)),
            (Ttl::None, _) => None,
            (Ttl::Ms(ms), _) => Some(self.now_ms.saturating_add(ms)),
            (Ttl::At(at), _) => Some(at),
        };
        at.map(|at| at.min(EXPIRES_AT_MS_MAX))
    }

    /// Whether what goes at `expires_at_ms` is still there.
    pub(crate) fn is_before(self, expires_at_ms: Option<u64>) -> bool {
        expires_at_ms.is_none_or(|at| at > self.now_ms)
    }
}

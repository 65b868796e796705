//! Memory around a store that its limit counts, too: what brings bytes in and out. Owns the sum; whoever takes memory says so
//! here, and when it is given back. Knows nothing of what it is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of what surrounds a store. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<AtomicU64>);

impl Buffers {
    /// So many bytes more are in use. Returns how many were before.
    pub fn add(&self, bytes: u64) -> u64 {
        self.0.fetch_add(bytes, Ordering::Relaxed) // a figure that stands for nothing else
    }

    /// So many bytes of those are not in use any more.
    pub fn remove(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed); // as above
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed) // as above
    }
}

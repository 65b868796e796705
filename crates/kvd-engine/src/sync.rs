//! The one place where the engine takes its locks and atomics from: the standard library's, or those of a model checker when
//! it is built for one (`--cfg kvd_loom`, `--cfg kvd_shuttle`). Knows nothing of what they are used for.

#[cfg(kvd_loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
};
#[cfg(kvd_shuttle)]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
};
#[cfg(not(any(kvd_loom, kvd_shuttle)))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
};

/// Lets other threads run while this one waits for something that a running thread is about to do.
pub(crate) fn yield_now() {
    #[cfg(kvd_loom)]
    loom::thread::yield_now();
    #[cfg(kvd_shuttle)]
    shuttle::thread::yield_now();
    #[cfg(not(any(kvd_loom, kvd_shuttle)))]
    std::thread::yield_now();
}

/// Locks `mutex`. Every critical section of the engine leaves its data whole between any two statements that can panic, so
/// a panic elsewhere does not make it unusable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A value on cache lines of its own: its neighbours' writers don't slow its readers (128: lines are fetched in pairs).
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

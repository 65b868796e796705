//! When memory that readers may still be looking at is freed: epochs. Owns pins, retired memory and its accounting; knows
//! nothing of what the memory holds.
//!
//! # The rules
//!
//! A reader *pins* the epoch before its first load from the index and unpins after its last. Who unlinks something *retires*
//! it instead of freeing it. The epoch moves on only when every pinned reader has pinned the present one, and what was
//! retired in epoch `e` is freed when the epoch is `e + 2`: by then every reader that was pinned when it was unlinked is gone.
//!
//! ```text
//!  epoch          7            8            9
//!  reader A   [ pinned 7 ......... ]                     holds back 8 -> 9
//!  reader B               [ pinned 8 ......... ]         began after the unlink was visible, or holds back 9 -> 10
//!  retired in 7 ^                               ^ freed
//! ```
//!
//! **A pin is one store.** On x86 and ARM a store may be delayed past later loads, so who moves the epoch could miss a pin that
//! the reader believes in. Usually the reader pays for a fence, each time. Here the rare side pays for both: before it looks at
//! the pins it asks the kernel to run a full barrier on every thread of the process (`membarrier`, Linux 4.14). Then either the
//! pin is seen, or the reader's loads come after the barrier and so after everything that was unlinked before it. Where the
//! system has no such call the reader pays, in a cold function.
//!
//! **Exact epochs.** Retired memory is stamped under the mutex under which the epoch moves, so the stamp is never older than
//! the epoch at which it was unlinked.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::planted::{self, Bug};
use crate::sync::{AtomicU64, Mutex, Ordering, Padded, fence, lock};

/// Things a worker retires before it hands them over.
const BAG_ITEMS: usize = 256;

/// Bytes a worker retires before it hands them over.
const BAG_BYTES: u64 = 256 << 10;

/// Bags that are freed in one go.
const BAGS_AT_ONCE: usize = 4;

/// From this size on, in bytes, freeing takes long enough to stall a serving thread: `free_heavy` does it.
const HEAVY_BYTES: u64 = 4 << 20;

/// Frees what a pointer leads to, or a piece of it: then it returns the bytes that went and is called again; none at the end.
type Free = unsafe fn(*mut ()) -> Option<u64>;

/// Something that is unlinked, and how to free it.
pub(crate) struct Garbage {
    /// What `free` takes.
    pointer: *mut (),
    free: Free,
    /// What it counts for as retired memory, less what went in pieces.
    bytes: u64,
}

// SAFETY: what it points to is unlinked, so this is the only owner; records, nodes and tables may be freed on any thread.
unsafe impl Send for Garbage {}

impl Garbage {
    /// # Safety
    /// `pointer` is unlinked: no thread that pins from now on can reach it. `free` frees it, on any thread, and is not called
    /// again once it has returned none.
    pub(crate) unsafe fn new(pointer: *mut (), free: Free, bytes: u64) -> Garbage {
        Garbage { pointer, free, bytes }
    }

    /// Frees all of it.
    fn free(mut self) {
        while let Some(rest) = self.free_piece() {
            self = rest;
        }
    }

    /// Frees a piece. Returns what is left.
    fn free_piece(mut self) -> Option<Garbage> {
        // SAFETY: as `new` demands; two epochs have passed, so no reader holds it any more.
        let freed = unsafe { (self.free)(self.pointer) }?;
        self.bytes = self.bytes.saturating_sub(freed);
        Some(self)
    }
}

/// Retired memory that was handed over together.
struct Bag {
    /// The epoch when it was handed over.
    epoch: u64,
    garbage: Vec<Garbage>,
}

/// One store's epochs.
pub(crate) struct Collector {
    /// Only moved under `state`.
    epoch: Padded<AtomicU64>,
    /// Bytes in the bags, without what workers still hold.
    retired: AtomicU64,
    /// Whether pins are one store, see above.
    asymmetric: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// One of each reader.
    pins: Vec<Arc<Padded<AtomicU64>>>,
    /// Oldest first.
    bags: VecDeque<Bag>,
    /// What is past its epochs and big.
    heavy: Vec<Garbage>,
}

impl State {
    /// Whether no reader can hold what is in the oldest bag.
    fn is_ready(&self, epoch: u64) -> bool {
        let epochs = if planted::is(Bug::FreedEarly) { 1 } else { 2 };
        self.bags.front().is_some_and(|bag| bag.epoch + epochs <= epoch)
    }

    /// Takes the oldest bag if it is ready.
    fn take_ready(&mut self, epoch: u64) -> Option<Bag> {
        if self.is_ready(epoch) { self.bags.pop_front() } else { None }
    }
}

/// A worker's place among the readers.
pub(crate) struct Reader {
    /// 0 when not pinned, else the epoch. Stored by its worker alone, loaded by who moves the epoch.
    pin: Arc<Padded<AtomicU64>>,
    collector: Arc<Collector>,
}

/// Proof that the epoch is pinned: what is reachable while it lives stays allocated.
pub(crate) struct Guard<'a> {
    pin: &'a AtomicU64,
}

/// What a worker has retired and not yet handed over.
pub(crate) struct Trash {
    garbage: Vec<Garbage>,
    /// What all of it counts for.
    bytes: u64,
    collector: Arc<Collector>,
}

impl Collector {
    pub(crate) fn new() -> Arc<Collector> {
        Arc::new(Collector {
            epoch: Padded(AtomicU64::new(1)),
            retired: AtomicU64::new(0),
            asymmetric: barrier::register(),
            state: Mutex::default(),
        })
    }

    /// A reader and the place for what it retires.
    pub(crate) fn join(self: &Arc<Self>) -> (Reader, Trash) {
        let pin = Arc::new(Padded(AtomicU64::new(0)));
        lock(&self.state).pins.push(Arc::clone(&pin));
        let trash = Trash { garbage: Vec::with_capacity(BAG_ITEMS), bytes: 0, collector: Arc::clone(self) };
        (Reader { pin, collector: Arc::clone(self) }, trash)
    }

    /// Bytes that are retired and not freed, without what workers still hold (at most a bag each).
    pub(crate) fn retired_bytes(&self) -> u64 {
        self.retired.load(Ordering::Relaxed) // a count that stands for nothing but itself
    }

    /// Frees what no reader can hold any more, a slice of it that no serving thread minds. Big things are left for `free_heavy`.
    /// Returns whether more is ready.
    pub(crate) fn collect(&self) -> bool {
        let (ready, more) = {
            let mut state = lock(&self.state);
            // Twice, so that without readers everything goes at once.
            for _ in 0..2 {
                if state.bags.is_empty() || !self.advance(&state) {
                    break;
                }
            }
            // Relaxed: only moved under the lock that is held.
            let epoch = self.epoch.load(Ordering::Relaxed);
            let ready: Vec<Bag> = (0..BAGS_AT_ONCE).map_while(|_| state.take_ready(epoch)).collect();
            (ready, state.is_ready(epoch))
        };
        let (mut freed, mut heavy) = (0, Vec::new());
        for garbage in ready.into_iter().flat_map(|bag| bag.garbage) {
            if garbage.bytes >= HEAVY_BYTES {
                heavy.push(garbage);
            } else {
                freed += garbage.bytes;
                garbage.free();
            }
        }
        if !heavy.is_empty() {
            lock(&self.state).heavy.extend(heavy);
        }
        self.retired.fetch_sub(freed, Ordering::Relaxed); // a count, see `retired_bytes`
        more
    }

    /// Frees one of the big things that are ready, or a piece of it. Returns the bytes that went; none if none is ready.
    pub(crate) fn free_heavy(&self) -> Option<u64> {
        let garbage = lock(&self.state).heavy.pop()?;
        let before = garbage.bytes;
        let rest = garbage.free_piece();
        let freed = before - rest.as_ref().map_or(0, |rest| rest.bytes);
        if let Some(rest) = rest {
            lock(&self.state).heavy.push(rest);
        }
        self.retired.fetch_sub(freed, Ordering::Relaxed); // a count, see `retired_bytes`
        Some(freed)
    }

    /// Moves the epoch if every pinned reader has pinned the present one.
    fn advance(&self, state: &State) -> bool {
        if self.asymmetric {
            barrier::everywhere();
        } else {
            // SeqCst: pairs with the fence in `fence_without_membarrier`.
            fence(Ordering::SeqCst);
        }
        let epoch = self.epoch.load(Ordering::Relaxed); // only moved under the lock that is held
        let behind = |pin: &Arc<Padded<AtomicU64>>| {
            // Acquire: pairs with the store in `Guard::drop`: what the reader did comes before its memory is freed.
            let pinned = pin.load(Ordering::Acquire);
            pinned != 0 && pinned != epoch
        };
        if state.pins.iter().any(behind) {
            return false;
        }
        // Release: pairs with the load in `pin`.
        self.epoch.store(epoch + 1, Ordering::Release);
        true
    }

    #[cold]
    #[inline(never)]
    fn fence_without_membarrier() {
        // SeqCst: pairs with the fence in `advance`.
        fence(Ordering::SeqCst);
    }
}

impl Reader {
    /// Pins the epoch: one load, one store, no fence.
    #[inline]
    pub(crate) fn pin(&mut self) -> Guard<'_> {
        // Acquire: pairs with the store in `advance`, so that what was unlinked two epochs ago is unlinked for us.
        let epoch = self.collector.epoch.load(Ordering::Acquire);
        // Relaxed: ordered before the loads that follow by the barrier in `advance`, or by the fence below.
        self.pin.store(epoch, Ordering::Relaxed);
        if self.collector.asymmetric {
            // The compiler must keep the order too; this emits nothing.
            std::sync::atomic::compiler_fence(Ordering::SeqCst); // pairs with the barrier in `advance`
        } else {
            Collector::fence_without_membarrier();
        }
        Guard { pin: &self.pin }
    }
}

impl Guard<'_> {
    /// A guard that protects nothing, to walk through what nobody else can reach.
    pub(crate) fn unprotected<T>(walk: impl FnOnce(&Guard<'_>) -> T) -> T {
        let pin = AtomicU64::new(0);
        walk(&Guard { pin: &pin })
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the load in `advance`.
        self.pin.store(0, Ordering::Release);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.collector.state).pins.retain(|pin| !Arc::ptr_eq(pin, &self.pin));
    }
}

impl Trash {
    /// Takes what was unlinked, to be freed later.
    pub(crate) fn retire(&mut self, garbage: Garbage) {
        self.bytes += garbage.bytes;
        self.garbage.push(garbage);
    }

    /// Hands over what was retired if it is enough. Call it unpinned, or this very thread holds the epoch back.
    #[inline]
    pub(crate) fn tidy(&mut self) {
        if self.garbage.len() >= BAG_ITEMS || self.bytes >= BAG_BYTES {
            self.hand_over();
            self.collector.collect();
        }
    }

    /// Hands over everything.
    pub(crate) fn hand_over(&mut self) {
        if self.garbage.is_empty() {
            return;
        }
        let garbage = std::mem::replace(&mut self.garbage, Vec::with_capacity(BAG_ITEMS));
        let bytes = std::mem::take(&mut self.bytes);
        self.collector.retired.fetch_add(bytes, Ordering::Relaxed); // a count, see `retired_bytes`
        let mut state = lock(&self.collector.state);
        // Relaxed: only moved under the lock that is held.
        let epoch = self.collector.epoch.load(Ordering::Relaxed);
        state.bags.push_back(Bag { epoch, garbage });
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Drop for Collector {
    /// All workers are gone, and with them all readers.
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        let bags = std::mem::take(&mut state.bags);
        bags.into_iter().flat_map(|bag| bag.garbage).for_each(Garbage::free);
        std::mem::take(&mut state.heavy).into_iter().for_each(Garbage::free);
    }
}

/// The barrier that runs on all threads of the process, where the system has it.
#[cfg(all(target_os = "linux", not(any(kvd_loom, kvd_shuttle, miri))))]
mod barrier {
    use rustix::thread::{MembarrierCommand, membarrier};

    /// Whether `everywhere` can be used.
    pub(super) fn register() -> bool {
        membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    }

    pub(super) fn everywhere() {
        membarrier(MembarrierCommand::PrivateExpedited).expect("it was registered, and then it can't fail");
    }
}

#[cfg(not(all(target_os = "linux", not(any(kvd_loom, kvd_shuttle, miri)))))]
mod barrier {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn everywhere() {
        unreachable!("only called where it was registered");
    }
}

//! mimalloc as the global allocator, without the detour that its Rust crate takes: there every allocation asks for its
//! alignment, and mimalloc 3 answers that with a larger block unless the size is a power of 2, 112 bytes where 96 are asked for.
//! Owns the choice of the call; knows nothing of who allocates.
//!
//! # Source
//! mimalloc 3, `src/alloc-aligned.c`; measured: docs/BENCHMARKS.md, allocators.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// What every block of mimalloc is aligned to, whatever its size.
const ALWAYS_ALIGNED: usize = 8;

/// mimalloc.
pub struct Mimalloc;

// SAFETY: mimalloc's functions do what `GlobalAlloc` asks: blocks of at least the size, aligned, disjoint; null when there is no
// memory; freed and resized by the address alone. Blocks are aligned to a word without being asked.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: both take any size, and a power of 2.
        unsafe {
            if layout.align() <= ALWAYS_ALIGNED {
                mi_malloc(layout.size()).cast()
            } else {
                mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            if layout.align() <= ALWAYS_ALIGNED {
                mi_zalloc(layout.size()).cast()
            } else {
                mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
        // SAFETY: the caller's word: it came from here.
        unsafe { mi_free(pointer.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's word: it came from here, with this alignment.
        unsafe {
            if layout.align() <= ALWAYS_ALIGNED {
                mi_realloc(pointer.cast(), size).cast()
            } else {
                mi_realloc_aligned(pointer.cast(), size, layout.align()).cast()
            }
        }
    }
}

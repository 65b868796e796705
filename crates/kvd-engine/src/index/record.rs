//! One version of one key, as it lies in memory: a single allocation, immutable once it is published but for the revision,
//! which its commit fills in. Owns the layout; knows nothing of where records are found or when they are freed.
//!
//! ```text
//!  bytes  8: revision << 8 | flags    1 or 4: key length    1, 2, 4 or 8: value length
//!         6: expiry, if it has one    6: when it was written, where that is kept
//!         1 + n: content type, if it has one    key    value
//! ```
//!
//! So a key and value of up to 255 bytes take 10 bytes beside their own, 16 with an expiry. A value of [`SHARED_BYTES`] or
//! more is not copied: the record ends with a `Bytes`, aligned, that shares it with who brought it and with who reads it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

use bytes::Bytes;
use kvd_types::{ContentType, Entry, Revision};

use crate::reclaim::Garbage;
use crate::sync::{AtomicU64, Ordering};

/// From this length on, in bytes, a value is shared instead of copied: a copy would cost more than counting its users.
pub(crate) const SHARED_BYTES: usize = 16 << 10;

/// 48 bits: the year 10889. Later is never.
pub(crate) const EXPIRES_AT_MS_MAX: u64 = (1 << 48) - 1;

const EXPIRES: u64 = 1 << 0;
const TYPED: u64 = 1 << 1;
const SHARED: u64 = 1 << 2;
const LONG_KEY: u64 = 1 << 3;
/// Two bits: the value length takes 2 to this power bytes.
const VALUE_WIDTH_SHIFT: u32 = 4;
const TIMED: u64 = 1 << 6;
const REVISION_SHIFT: u32 = 8;
const FLAGS: u64 = (1 << REVISION_SHIFT) - 1;

const HEAD: usize = size_of::<AtomicU64>();
/// Of an expiry, and of the time at which it was written.
const TIME_BYTES: usize = 6;

/// A record that is allocated for as long as `'g`.
#[derive(Clone, Copy)]
pub(crate) struct Record<'g>(NonNull<u8>, PhantomData<&'g ()>);

/// A record that nobody else can reach: not published yet.
pub(crate) struct Draft(Record<'static>);

// SAFETY: the only owner of plain memory and of a `Bytes`, which may be used on any thread.
unsafe impl Send for Draft {}

/// Where the parts of a record lie.
struct Parts {
    expiry: usize,
    written: usize,
    content_type: usize,
    content_type_len: usize,
    key: usize,
    key_len: usize,
    value: usize,
    value_len: usize,
}

impl<'g> Record<'g> {
    pub(super) fn address(self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    /// The record at the address that `address` gave.
    #[inline]
    pub(super) fn from_address(address: usize) -> Record<'g> {
        let pointer: *mut u8 = std::ptr::with_exposed_provenance_mut(address);
        debug_assert!(!pointer.is_null(), "a record's word has its address");
        // SAFETY: only `Word::record` packs a record's word, from the address of one; it is looked for on every get.
        Record(unsafe { NonNull::new_unchecked(pointer) }, PhantomData)
    }

    pub(crate) fn is_same(self, other: Record<'_>) -> bool {
        self.0 == other.0
    }

    fn head(self) -> &'g AtomicU64 {
        // SAFETY: a record begins with its head and is allocated for as long as `'g`.
        unsafe { self.0.cast::<AtomicU64>().as_ref() }
    }

    fn flags(self) -> u64 {
        self.head().load(Ordering::Relaxed) // the flags never change; the revision is published by the slot or the node
    }

    /// The bytes `at..at + len` of the record.
    #[inline]
    fn bytes_at(self, at: usize, len: usize) -> &'g [u8] {
        // SAFETY: `at` and `len` come from `parts`, which describes what `Draft::new` has allocated and filled in; the bytes
        // after the head never change while the record is allocated.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    #[inline]
    fn byte_at(self, at: usize) -> usize {
        usize::from(self.bytes_at(at, 1)[0])
    }

    /// A number of 1 to 8 bytes.
    fn number_at(self, at: usize, width: usize) -> usize {
        self.bytes_at(at, width).iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    #[inline]
    fn parts(self) -> Parts {
        let flags = self.flags();
        if flags & FLAGS == 0 { self.parts_plain() } else { self.parts_by_flags(flags) }
    }

    /// Where key and value lie in nearly every record: short, without expiry or content type.
    #[inline]
    fn parts_plain(self) -> Parts {
        let (key_len, value_len) = (self.byte_at(HEAD), self.byte_at(HEAD + 1));
        let key = HEAD + 2;
        let value = key + key_len;
        Parts { expiry: key, written: key, content_type: key, content_type_len: 0, key, key_len, value, value_len }
    }

    #[inline(never)]
    fn parts_by_flags(self, flags: u64) -> Parts {
        let key_width = if flags & LONG_KEY == 0 { 1 } else { 4 };
        let value_width = 1 << (flags >> VALUE_WIDTH_SHIFT & 0b11);
        let key_len = self.number_at(HEAD, key_width);
        let value_len = self.number_at(HEAD + key_width, value_width);
        let expiry = HEAD + key_width + value_width;
        let written = expiry + if flags & EXPIRES == 0 { 0 } else { TIME_BYTES };
        let mut key = written + if flags & TIMED == 0 { 0 } else { TIME_BYTES };
        let (mut content_type, mut content_type_len) = (key, 0);
        if flags & TYPED != 0 {
            content_type_len = self.byte_at(key);
            content_type = key + 1;
            key = content_type + content_type_len;
        }
        let value = key + key_len;
        let value = if flags & SHARED == 0 { value } else { value.next_multiple_of(align_of::<Bytes>()) };
        Parts { expiry, written, content_type, content_type_len, key, key_len, value, value_len }
    }

    fn layout(self) -> Layout {
        let parts = self.parts();
        let tail = if self.flags() & SHARED == 0 { parts.value_len } else { size_of::<Bytes>() };
        layout(parts.value + tail)
    }

    /// Bytes the record takes: its allocation, and the value if that lies elsewhere.
    pub(crate) fn bytes(self) -> u64 {
        let parts = self.parts();
        let reference = if self.flags() & SHARED == 0 { 0 } else { size_of::<Bytes>() };
        (parts.value + reference + parts.value_len) as u64
    }

    #[inline]
    pub(crate) fn key(self) -> &'g [u8] {
        let parts = self.parts();
        self.bytes_at(parts.key, parts.key_len)
    }

    /// Whether it is a version of `key`.
    #[inline]
    pub(super) fn has_key(self, key: &[u8]) -> bool {
        let own = self.key();
        if own.len() != key.len() {
            return false;
        }
        // Most keys are this long, and two words compared in place cost less than a call.
        if (8..=16).contains(&key.len()) {
            let last = key.len() - 8;
            return word_of(own, 0) == word_of(key, 0) && word_of(own, last) == word_of(key, last);
        }
        own == key
    }

    #[inline]
    pub(crate) fn value(self) -> &'g [u8] {
        if self.flags() & FLAGS != 0 {
            return self.value_by_flags();
        }
        let parts = self.parts_plain();
        self.bytes_at(parts.value, parts.value_len)
    }

    #[inline(never)]
    fn value_by_flags(self) -> &'g [u8] {
        let parts = self.parts();
        match self.shared(&parts) {
            None => self.bytes_at(parts.value, parts.value_len),
            Some(bytes) => bytes,
        }
    }

    /// A value that is shared instead of copied.
    pub(crate) fn shared_value(self) -> Option<&'g Bytes> {
        self.shared(&self.parts())
    }

    fn shared(self, parts: &Parts) -> Option<&'g Bytes> {
        if self.flags() & SHARED == 0 {
            return None;
        }
        // SAFETY: where the flag is set `Draft::new` has placed a `Bytes` there, aligned; it is dropped with the record.
        Some(unsafe { self.0.add(parts.value).cast::<Bytes>().as_ref() })
    }

    pub(crate) fn value_len(self) -> usize {
        self.parts().value_len
    }

    /// In milliseconds of the store's time.
    #[inline]
    pub(crate) fn expires_at_ms(self) -> Option<u64> {
        (self.flags() & EXPIRES != 0).then(|| self.number_at(self.parts().expiry, TIME_BYTES) as u64)
    }

    /// When it was written, in milliseconds of the store's time, where that is kept.
    pub(crate) fn written_at_ms(self) -> Option<u64> {
        (self.flags() & TIMED != 0).then(|| self.number_at(self.parts().written, TIME_BYTES) as u64)
    }

    #[inline]
    pub(crate) fn is_expired(self, now_ms: u64) -> bool {
        self.expires_at_ms().is_some_and(|at| at <= now_ms)
    }

    pub(crate) fn content_type(self) -> Option<ContentType> {
        let parts = self.parts();
        let text = self.bytes_at(parts.content_type, parts.content_type_len);
        (!text.is_empty()).then(|| ContentType::new(text).expect("was a content type when it was stored"))
    }

    /// The commit that wrote it. Only meaningful once that is known: in a plain slot, or behind a node that has it.
    #[inline]
    pub(crate) fn revision(self) -> Revision {
        // Relaxed: filled in before the slot's Release store that made it plain.
        Revision(self.head().load(Ordering::Relaxed) >> REVISION_SHIFT)
    }

    /// Fills in the revision. By the commit inside SEQ, or by who makes the slot plain under the bucket's lock.
    pub(super) fn set_revision(self, revision: Revision) {
        let flags = self.flags() & FLAGS;
        // Relaxed: published by the Release store of the slot that follows.
        self.head().store(revision.0 << REVISION_SHIFT | flags, Ordering::Relaxed);
    }

    /// What a reader is given: a small value is copied, a large one shared.
    pub(crate) fn entry(self, revision: Revision) -> Entry {
        let value = match self.shared(&self.parts()) {
            None => Bytes::copy_from_slice(self.value()),
            Some(bytes) => bytes.clone(),
        };
        Entry { value, content_type: self.content_type(), expires_at_ms: self.expires_at_ms(), revision }
    }

    /// The record as garbage, for who has unlinked it.
    pub(crate) fn into_garbage(self) -> Garbage {
        // SAFETY: the caller has unlinked it, and `free` is right for what `Draft::new` allocates.
        unsafe { Garbage::new(self.0.as_ptr().cast(), free, self.bytes()) }
    }
}

impl Draft {
    pub(crate) fn new(
        key: &[u8],
        value: &Bytes,
        content_type: Option<&ContentType>,
        expires_at_ms: Option<u64>,
        written_at_ms: Option<u64>,
    ) -> Draft {
        let is_shared = value.len() >= SHARED_BYTES;
        let value_width_log2 = match value.len() {
            0..=0xff => 0,
            0x100..=0xffff => 1,
            0x1_0000..=0xffff_ffff => 2,
            _ => 3,
        };
        let key_width = if key.len() <= 0xff { 1 } else { 4 };
        let flags = if expires_at_ms.is_some() { EXPIRES } else { 0 }
            | if written_at_ms.is_some() { TIMED } else { 0 }
            | if content_type.is_some() { TYPED } else { 0 }
            | if is_shared { SHARED } else { 0 }
            | if key_width == 1 { 0 } else { LONG_KEY }
            | value_width_log2 << VALUE_WIDTH_SHIFT;
        let expiry = HEAD + key_width + (1 << value_width_log2);
        let written_at = expiry + if expires_at_ms.is_some() { TIME_BYTES } else { 0 };
        let content_type_at = written_at + if written_at_ms.is_some() { TIME_BYTES } else { 0 };
        let key_at = content_type_at + content_type.map_or(0, |text| 1 + text.as_bytes().len());
        let mut value_at = key_at + key.len();
        if is_shared {
            value_at = value_at.next_multiple_of(align_of::<Bytes>());
        }
        let layout = layout(value_at + if is_shared { size_of::<Bytes>() } else { value.len() });
        // SAFETY: the size is not 0.
        let pointer = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        let write = |at: usize, bytes: &[u8]| {
            // SAFETY: all parts lie one after the other inside the layout that was just computed from their lengths.
            unsafe { pointer.add(at).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) }
        };
        // SAFETY: the head lies at the beginning, aligned to 8 by the layout.
        unsafe { pointer.cast::<AtomicU64>().write(AtomicU64::new(flags)) };
        write(HEAD, &(key.len() as u64).to_le_bytes()[..key_width]);
        write(HEAD + key_width, &(value.len() as u64).to_le_bytes()[..1 << value_width_log2]);
        for (place, time) in [(expiry, expires_at_ms), (written_at, written_at_ms)] {
            if let Some(at) = time {
                // Later than that is never.
                write(place, &at.min(EXPIRES_AT_MS_MAX).to_le_bytes()[..TIME_BYTES]);
            }
        }
        if let Some(text) = content_type {
            let text = text.as_bytes();
            write(content_type_at, &[u8::try_from(text.len()).expect("a content type has at most 255 bytes")]);
            write(content_type_at + 1, text);
        }
        write(key_at, key);
        if is_shared {
            // SAFETY: `value_at` is aligned for it, and the layout ends after it.
            unsafe { pointer.add(value_at).cast::<Bytes>().write(value.clone()) };
        } else {
            write(value_at, value);
        }
        Draft(Record(pointer, PhantomData))
    }

    pub(crate) fn record(&self) -> Record<'_> {
        self.0
    }

    /// Gives up ownership: the record is published, and whoever unlinks it retires it.
    pub(super) fn publish(self) -> Record<'static> {
        let record = self.0;
        std::mem::forget(self);
        record
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // SAFETY: nobody else can reach it.
        unsafe { free(self.0.0.as_ptr().cast()) };
    }
}

#[inline]
fn word_of(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, align_of::<AtomicU64>()).expect("a record is smaller than the address space")
}

/// # Safety
/// `pointer` is a record that `Draft::new` allocated and that nobody can reach any more.
unsafe fn free(pointer: *mut ()) -> Option<u64> {
    let record = Record::<'static>(NonNull::new(pointer.cast()).expect("a record has an address"), PhantomData);
    let (layout, parts) = (record.layout(), record.parts());
    if record.flags() & SHARED != 0 {
        // SAFETY: placed there by `Draft::new`, dropped only here.
        unsafe { record.0.add(parts.value).cast::<Bytes>().drop_in_place() };
    }
    // SAFETY: allocated with this layout, which the record's lengths still say.
    unsafe {
        record.0.cast::<AtomicU64>().drop_in_place();
        dealloc(record.0.as_ptr(), layout);
    }
    None
}

/// Frees a record that was in an index which nobody can reach any more.
///
/// # Safety
/// Nobody can reach the record.
pub(super) unsafe fn free_record(record: Record<'_>) {
    // SAFETY: the caller's word.
    unsafe { free(record.0.as_ptr().cast()) };
}

//! Which slots of a bucket have a tag: the one step of a get that is worth more than a loop. Owns that comparison and nothing
//! else; what is in the slots is for who asks.
//!
//! The answer is a hint. Whoever follows it loads the slot again, with Acquire, and looks at its tag.

use super::bucket::{Bucket, SLOTS};

/// Bits of the slots, lowest first, whose words have this tag.
#[cfg(all(target_arch = "x86_64", not(any(kvd_loom, kvd_shuttle, miri))))]
#[inline(always)]
pub(super) fn slots_with_tag(bucket: &Bucket, tag: u16) -> u32 {
    const { assert!(SLOTS == 7) };
    let found: u32;
    // SAFETY: loads the 64 bytes of one bucket, which end with the seven slots and begin with its header: `Bucket` is aligned to
    // 64 and laid out in this order, and the assertion in `bucket` says so. The processor loads each aligned eight bytes at
    // once, so no word is torn, and in program order, as Acquire asks for. Nothing is stored.
    unsafe {
        std::arch::asm!(
            "movd {tags}, {tag:e}",
            "pshuflw {tags}, {tags}, 0",
            "pshufd {tags}, {tags}, 0",
            "movdqa {a}, {tags}",
            "movdqa {b}, {tags}",
            "movdqa {c}, {tags}",
            "pcmpeqw {a}, [{line}]",
            "pcmpeqw {b}, [{line} + 16]",
            "pcmpeqw {c}, [{line} + 32]",
            "pcmpeqw {tags}, [{line} + 48]",
            // The upper half of each word, of which the sign is that of the tag's comparison; then the signs.
            "shufps {a}, {b}, 0xdd",
            "shufps {c}, {tags}, 0xdd",
            "packssdw {a}, {c}",
            "packsswb {a}, {a}",
            "pmovmskb {found:e}, {a}",
            line = in(reg) std::ptr::from_ref(bucket),
            tag = in(reg) u32::from(tag),
            tags = out(xmm_reg) _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            found = lateout(reg) found,
            options(nostack, preserves_flags),
        );
    }
    // The first is the header. Eight bits, twice.
    (found & 0xff) >> 1
}

/// Bits of the slots, lowest first, whose words have this tag.
#[cfg(not(all(target_arch = "x86_64", not(any(kvd_loom, kvd_shuttle, miri)))))]
#[inline]
pub(super) fn slots_with_tag(bucket: &Bucket, tag: u16) -> u32 {
    use super::word::Word;
    use crate::sync::{AtomicU64, Ordering};

    let has_tag = |slot: &AtomicU64| Word(slot.load(Ordering::Acquire)).tag() == tag; // pairs with the store in `Slot::store`
    bucket.slots.iter().enumerate().map(|(at, slot)| u32::from(has_tag(slot)) << at).sum()
}

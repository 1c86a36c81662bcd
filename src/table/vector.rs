//! Comparisons of many bytes at once: the tags of a line's slots, and what a lookup must match.

use super::bucket::SLOTS;
use super::slot::Slot;

/// One bit for each slot whose word has this tag, be it live, frozen or empty.
#[cfg(all(target_arch = "x86_64", not(miri), not(fuzzing), not(resumption_loom)))]
#[inline(always)]
pub(super) fn candidates(slots: &[Slot; SLOTS], tag: u16) -> u32 {
    use std::arch::asm;
    use std::arch::x86_64::{__m128i, _mm_castsi128_pd, _mm_cmpeq_epi16, _mm_movemask_pd, _mm_set1_epi16};
    const { assert!(SLOTS == 6) };
    let (first, second, third): (__m128i, __m128i, __m128i);
    // Two slots a load. Rust has no atomic load of 16 bytes, so the instruction is spelled out: the processor reads at
    // least the aligned words in it one by one and whole, as six relaxed loads would.
    // SAFETY: reads the 48 bytes of the slots and nothing else.
    unsafe {
        asm!(
            "movdqu {first}, [{slots}]",
            "movdqu {second}, [{slots} + 16]",
            "movdqu {third}, [{slots} + 32]",
            slots = in(reg) slots.as_ptr(),
            first = out(xmm_reg) first,
            second = out(xmm_reg) second,
            third = out(xmm_reg) third,
            options(nostack, preserves_flags, readonly),
        );
    }
    // A slot's tag is its highest 16 bits, and the mask takes the highest bit of each slot.
    // SAFETY: SSE2 is part of x86-64.
    let bits = |pair: __m128i| unsafe {
        let equal = _mm_cmpeq_epi16(pair, _mm_set1_epi16(tag.cast_signed()));
        _mm_movemask_pd(_mm_castsi128_pd(equal)).cast_unsigned()
    };
    bits(first) | bits(second) << 2 | bits(third) << 4
}

/// As above, for other processors, and for whoever watches each access.
#[cfg(not(all(target_arch = "x86_64", not(miri), not(fuzzing), not(resumption_loom))))]
#[inline(always)]
pub(super) fn candidates(slots: &[Slot; SLOTS], tag: u16) -> u32 {
    use super::slot::SlotWord;
    use crate::sync::Ordering;
    let bit = |(i, slot): (usize, &Slot)| u32::from(SlotWord(slot.load(Ordering::Relaxed)).tag() == tag) << i;
    slots.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
}

/// Whether both pairs are equal: one branch, where two comparisons would be two.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(super) fn both_equal(first: (&[u8; 32], &[u8; 32]), second: (&[u8; 32], &[u8; 32])) -> bool {
    use std::arch::x86_64::{_mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8};
    // SAFETY: SSE2 is part of x86-64; each load is of 16 bytes of an array of 32, at any alignment.
    unsafe {
        let half = |(a, b): (&[u8; 32], &[u8; 32]), at: usize| {
            let load = |bytes: &[u8; 32]| _mm_loadu_si128(bytes.as_ptr().add(at).cast());
            _mm_cmpeq_epi8(load(a), load(b))
        };
        let equal = _mm_and_si128(
            _mm_and_si128(half(first, 0), half(first, 16)),
            _mm_and_si128(half(second, 0), half(second, 16)),
        );
        _mm_movemask_epi8(equal) == 0xffff
    }
}

/// As above, for other processors.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
pub(super) fn both_equal(first: (&[u8; 32], &[u8; 32]), second: (&[u8; 32], &[u8; 32])) -> bool {
    first.0 == first.1 && second.0 == second.1
}

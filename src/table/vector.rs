//! Comparisons of many bytes at once: the tags of a line's slots, and what a lookup must match.

use super::bucket::Line;

/// One bit for each slot whose word has this tag, be it live, frozen or empty.
#[cfg(all(target_arch = "x86_64", not(miri), not(fuzzing), not(resumption_loom)))]
#[inline(always)]
pub(super) fn candidates(line: &Line, tag: u16) -> u32 {
    use std::arch::asm;
    use std::arch::x86_64::_mm_set1_epi16;
    const { assert!(super::bucket::SLOTS == 6 && Line::SLOTS_AT == 16) };
    // SAFETY: SSE2 is part of x86-64.
    let tags = unsafe { _mm_set1_epi16(tag.cast_signed()) };
    let (four, two): (u32, u32);
    // Rust has no atomic load of 16 bytes, so the instructions are spelled out: two slots a load, of which the processor
    // reads at least the aligned words one by one and whole, as six relaxed loads would. A slot's tag is its highest 16
    // bits. The upper halves of the first four slots are put side by side; the masks take the highest bit of each half,
    // and of the last two slots.
    macro_rules! compare {
        ($($instruction:literal)*) => {
            // SAFETY: reads the 48 bytes of the slots and nothing else. A line is aligned to 64 bytes and its slots are the
            // last 48, so each load is aligned. SSE2 is part of x86-64, and AVX is asked for where it is used.
            unsafe {
                asm!(
                    $($instruction,)*
                    line = in(reg) line,
                    upper = out(xmm_reg) _,
                    tags = inout(xmm_reg) tags => _,
                    four = out(reg) four,
                    two = out(reg) two,
                    options(nostack, preserves_flags, readonly),
                );
            }
        };
    }
    #[cfg(not(target_feature = "avx"))]
    compare!(
        "movaps {upper}, [{line} + 16]"
        "shufps {upper}, [{line} + 32], 0xdd"
        "pcmpeqw {upper}, {tags}"
        "pcmpeqw {tags}, [{line} + 48]"
        "movmskps {four:e}, {upper}"
        "movmskpd {two:e}, {tags}"
    );
    // The same, as everything around it is encoded then: some processors take long to go from one encoding to the other.
    #[cfg(target_feature = "avx")]
    compare!(
        "vmovaps {upper}, [{line} + 16]"
        "vshufps {upper}, {upper}, [{line} + 32], 0xdd"
        "vpcmpeqw {upper}, {upper}, {tags}"
        "vpcmpeqw {tags}, {tags}, [{line} + 48]"
        "vmovmskps {four:e}, {upper}"
        "vmovmskpd {two:e}, {tags}"
    );
    four | two << 4
}

/// As above, for other processors, and for whoever watches each access.
#[cfg(not(all(target_arch = "x86_64", not(miri), not(fuzzing), not(resumption_loom))))]
#[inline(always)]
pub(super) fn candidates(line: &Line, tag: u16) -> u32 {
    use super::slot::{Slot, SlotWord};
    use crate::sync::Ordering;
    let bit = |(i, slot): (usize, &Slot)| u32::from(SlotWord(slot.load(Ordering::Relaxed)).tag() == tag) << i;
    line.slots().iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
}

/// Whether both pairs are equal: one branch, where two comparisons would be two.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2", not(miri)))]
#[inline(always)]
pub(super) fn both_equal(first: (&[u8; 32], &[u8; 32]), second: (&[u8; 32], &[u8; 32])) -> bool {
    use std::arch::x86_64::{_mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8};
    let equal = |(a, b): (&[u8; 32], &[u8; 32])| {
        // SAFETY: the crate is compiled for processors that have AVX2; each load is of an array of 32 bytes, at any
        // alignment.
        unsafe {
            let load = |bytes: &[u8; 32]| _mm256_loadu_si256(bytes.as_ptr().cast());
            _mm256_cmpeq_epi8(load(a), load(b))
        }
    };
    // SAFETY: as above, AVX2.
    unsafe { _mm256_movemask_epi8(_mm256_and_si256(equal(first), equal(second))) == -1 }
}

/// As above, for x86-64 of which no more is known.
#[cfg(all(target_arch = "x86_64", not(target_feature = "avx2"), not(miri)))]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pairs_must_be_equal_in_every_bit() {
        let (a, b) = ([7; 32], [9; 32]);
        assert!(both_equal((&a, &a.clone()), (&b, &b.clone())));
        for bit in 0..256 {
            let mut other = a;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!both_equal((&a, &other), (&b, &b)), "bit {bit} of the first");
            assert!(!both_equal((&b, &b), (&other, &a)), "bit {bit} of the second");
        }
    }
}

//! Two rows of mask words and signs as weights of two bits, 128 inputs at a time.

use core::arch::x86_64::*;

use crate::kernel::processor::vector::lanes::{Inputs, Masks};
use crate::random::PAIR_ROTATION;

/// Products of a block in lanes of 16 bits: those of weights in the lowest bits, and four times those of
/// weights two bits above.
#[derive(Clone, Copy)]
struct Products {
    once: __m256i,
    four_times: __m256i,
}

/// See [`crate::kernel::processor::vector::Vector::pair_of_sums`].
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn pair_of_sums(
    masks: &[Masks],
    index: u32,
    key: u32,
    inputs: &[Inputs],
) -> [i32; 2] {
    // SAFETY: as for this function.
    unsafe {
        // Unpacked as below, these are words 0 to 3 and 4 to 7.
        let order = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
        let mut indices = _mm256_add_epi32(_mm256_set1_epi32(index as i32), order);
        let key = _mm256_set1_epi32(key as i32);
        let zero = _mm256_setzero_si256();
        let mut sums = zero;
        let count = masks.len().min(inputs.len());
        let (masks, inputs) = (masks.as_ptr(), inputs.as_ptr());
        for block in (0..count).step_by(2) {
            let even = words(indices, key);
            let odd = rotated(even);
            indices = _mm256_add_epi32(indices, _mm256_set1_epi32(8));
            // A block adds 16 products of at most 254, and a quarter of four times 16.
            let mut products = Products { once: zero, four_times: zero };
            let signs = _mm256_unpacklo_epi32(even, odd);
            products.add(&*masks.add(block), signs, &*inputs.add(block));
            if block + 1 < count {
                let signs = _mm256_unpackhi_epi32(even, odd);
                products.add(&*masks.add(block + 1), signs, &*inputs.add(block + 1));
            }
            let quarter = _mm256_srli_epi16::<2>(products.four_times);
            let lanes = _mm256_add_epi16(products.once, quarter);
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(lanes, _mm256_set1_epi16(1)));
        }
        // Even words are of the first row.
        let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
        [_mm_cvtsi128_si32(two), _mm_extract_epi32::<1>(two)]
    }
}

/// As [`crate::random::Generator::word`], the start being part of the indices.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn words(indices: __m256i, key: __m256i) -> __m256i {
    // SAFETY: as for this function.
    unsafe {
        let x = _mm256_xor_si256(indices, _mm256_srli_epi32::<16>(indices));
        let x = _mm256_mullo_epi32(x, _mm256_set1_epi32(0x7feb_352d));
        let x = _mm256_xor_si256(x, key);
        let x = _mm256_xor_si256(x, _mm256_srli_epi32::<15>(x));
        let x = _mm256_mullo_epi32(x, _mm256_set1_epi32(0x846c_a68b_u32 as i32));
        _mm256_xor_si256(x, _mm256_srli_epi32::<16>(x))
    }
}

/// The words of an odd row.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn rotated(words: __m256i) -> __m256i {
    const LEFT: i32 = PAIR_ROTATION as i32;
    // SAFETY: as for this function.
    unsafe {
        let left = _mm256_slli_epi32::<LEFT>(words);
        _mm256_or_si256(left, _mm256_srli_epi32::<{ 32 - LEFT }>(words))
    }
}

impl Products {
    /// Adds a block.
    ///
    /// # Safety
    /// The processor has AVX2.
    #[inline(always)]
    unsafe fn add(&mut self, masks: &Masks, signs: __m256i, inputs: &Inputs) {
        // SAFETY: as for this function; masks and the inputs beside a bit are 32 bytes.
        unsafe {
            let masks = _mm256_loadu_si256(masks.as_ptr().cast());
            let plus = _mm256_andnot_si256(signs, masks);
            // Weights of two bits: the upper one of a plus, the lower one of what is masked. Those of
            // odd bits, then those of even ones.
            let (upper, lower) = (_mm256_set1_epi8(0xaa_u8 as i8), _mm256_set1_epi8(0x55));
            let odd = _mm256_or_si256(
                _mm256_and_si256(plus, upper),
                _mm256_andnot_si256(_mm256_srli_epi16::<1>(masks), lower),
            );
            let even = _mm256_or_si256(
                _mm256_and_si256(_mm256_add_epi8(plus, plus), upper),
                _mm256_andnot_si256(masks, lower),
            );
            for (weights, bit) in [
                (even, 0),
                (odd, 1),
                (_mm256_srli_epi16::<4>(even), 4),
                (_mm256_srli_epi16::<4>(odd), 5),
            ] {
                let weights_above = _mm256_and_si256(weights, _mm256_set1_epi8(0b1100));
                let weights = _mm256_and_si256(weights, _mm256_set1_epi8(0b0011));
                self.once = _mm256_add_epi16(self.once, product(weights, &inputs[bit]));
                let product = product(weights_above, &inputs[bit + 2]);
                self.four_times = _mm256_add_epi16(self.four_times, product);
            }
        }
    }
}

/// Sums of two products of `weights` and inputs.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn product(weights: __m256i, inputs: &[u64; 4]) -> __m256i {
    // SAFETY: as for this function; the inputs are 32 bytes.
    unsafe { _mm256_maddubs_epi16(weights, _mm256_loadu_si256(inputs.as_ptr().cast())) }
}

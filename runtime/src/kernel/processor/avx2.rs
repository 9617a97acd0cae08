//! AVX2, on x86-64 where it is detected.

mod lanes;

use core::arch::x86_64::*;

use super::vector::lanes::{Inputs, Masks};
use super::vector::positions;
use super::vector::{self, Vector};
use crate::epilogue::{Epilogue, Narrow};
use crate::kernel::{Channelwise, Convolution, Placed, Sink, Source, Target};
use crate::layer::{Add, Pool};
use crate::mask::LayerWeights;

cpufeatures::new!(detected, "avx2", "bmi1", "bmi2", "popcnt");

/// Kernels that give `false`, and do nothing, where there is no AVX2.
macro_rules! kernels {
    ($(fn $name:ident($($argument:ident: $type:ty),*) = $kernel:path;)*) => {$(
        #[doc = concat!("See [`", stringify!($kernel), "`].")]
        pub(super) fn $name($($argument: $type),*) -> bool {
            #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
            fn detected($($argument: $type),*) -> bool {
                // SAFETY: this function is for processors with AVX2.
                unsafe { $kernel($($argument),*) }
            }
            // SAFETY: called only where its instructions were detected.
            detected::get() && unsafe { detected($($argument),*) }
        }
    )*};
}

vector::each_kernel!(kernels);

/// 32 bytes. Instructions that pack or unpack do so in each half on its own.
#[derive(Clone, Copy)]
struct Bytes(__m256i);

/// Scale, shift and clamping of a channel.
#[derive(Clone, Copy)]
struct Rule {
    /// `m` in the even lanes of 16 bits, 0 in the odd ones.
    even: __m256i,
    odd: __m256i,
    shift: __m256i,
    right: __m128i,
    low: __m256i,
}

/// Scales of left and right in turns.
#[derive(Clone, Copy)]
struct Pair {
    scales: __m256i,
    shift: __m256i,
    right: __m128i,
    low: __m256i,
}

/// The bit of each of 32 inputs in its byte of a broadcast word: see [`crate::random::bit_of`].
const BITS: [u8; 32] = {
    let (mut bits, mut i) = ([0; 32], 0);
    while i < 32 {
        bits[i] = 1 << (crate::random::bit_of(i) % 8);
        i += 1;
    }
    bits
};

/// All bits of the bytes whose bit in `word` is set.
#[inline(always)]
unsafe fn spread(word: u32) -> __m256i {
    // SAFETY: the caller has AVX2; `BITS` has 32 bytes.
    unsafe {
        let bits = _mm256_loadu_si256(BITS.as_ptr().cast());
        _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_set1_epi32(word as i32), bits), bits)
    }
}

/// Sum of eight.
#[inline(always)]
unsafe fn total(sums: __m256i) -> i32 {
    // SAFETY: the caller has AVX2.
    unsafe {
        let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
    }
}

/// Of each of the sixteens of `table` the byte at `at`, of which the upper bits of the bytes of `bits`
/// choose one.
#[inline(always)]
unsafe fn of_64(table: &[[u8; 16]; 4], at: __m128i, [bit4, bit5, _]: [__m128i; 3]) -> __m128i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let t0 = _mm_shuffle_epi8(_mm_loadu_si128(table[0].as_ptr().cast()), at);
        let t1 = _mm_shuffle_epi8(_mm_loadu_si128(table[1].as_ptr().cast()), at);
        let t2 = _mm_shuffle_epi8(_mm_loadu_si128(table[2].as_ptr().cast()), at);
        let t3 = _mm_shuffle_epi8(_mm_loadu_si128(table[3].as_ptr().cast()), at);
        let low = _mm_blendv_epi8(t0, t1, bit4);
        _mm_blendv_epi8(low, _mm_blendv_epi8(t2, t3, bit4), bit5)
    }
}

/// `(sum of the two products of each pair of lanes + shift) >> right`.
#[inline(always)]
unsafe fn scaled(lanes: __m256i, scales: __m256i, shift: __m256i, right: __m128i) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let products = _mm256_madd_epi16(lanes, scales);
        _mm256_sra_epi32(_mm256_add_epi32(products, shift), right)
    }
}

/// Functions of the trait: bodies that may use AVX2 and the pointers that they are given.
macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $output:ty)? $body:block)*) => {$(
        #[inline(always)]
        unsafe fn $name($($argument: $type),*) $(-> $output)? {
            // SAFETY: the caller has AVX2, and pointers that are good for what is read and written.
            unsafe { $body }
        }
    )*};
}

impl Vector for Bytes {
    const BYTES: usize = 32;

    type Rule = Rule;
    type Sum = __m128i;
    type Few = __m128i;
    type Pair = Pair;

    functions! {
        fn zero() -> Self {
            Self(_mm256_setzero_si256())
        }

        fn load(from: *const u8) -> Self {
            Self(_mm256_loadu_si256(from.cast()))
        }

        fn store(self: Self, to: *mut u8) {
            _mm256_storeu_si256(to.cast(), self.0);
        }

        fn add_bytes(self: Self, other: Self) -> Self {
            Self(_mm256_add_epi8(self.0, other.0))
        }

        fn splat(byte: u8) -> Self {
            Self(_mm256_set1_epi8(byte as i8))
        }

        fn splat_lane(lane: i16) -> Self {
            Self(_mm256_set1_epi16(lane))
        }

        fn and(self: Self, other: Self) -> Self {
            Self(_mm256_and_si256(self.0, other.0))
        }

        fn xor(self: Self, other: Self) -> Self {
            Self(_mm256_xor_si256(self.0, other.0))
        }

        fn max_bytes(self: Self, other: Self) -> Self {
            Self(_mm256_max_epu8(self.0, other.0))
        }

        fn add(self: Self, other: Self) -> Self {
            Self(_mm256_add_epi16(self.0, other.0))
        }

        fn sub(self: Self, other: Self) -> Self {
            Self(_mm256_sub_epi16(self.0, other.0))
        }

        fn odd(self: Self) -> Self {
            Self(_mm256_srli_epi16::<8>(self.0))
        }

        fn even(self: Self) -> Self {
            Self(_mm256_and_si256(self.0, _mm256_set1_epi16(0xff)))
        }

        fn to_odd(self: Self) -> Self {
            Self(_mm256_slli_epi16::<8>(self.0))
        }

        fn evens(self: Self, next: Self) -> Self {
            let halves = _mm256_packus_epi16(self.even().0, next.even().0);
            Self(_mm256_permute4x64_epi64::<0b11_01_10_00>(halves))
        }

        fn even_words(self: Self, next: Self) -> Self {
            let (first, next) = (_mm256_castsi256_ps(self.0), _mm256_castsi256_ps(next.0));
            Self(_mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(first, next)))
        }

        fn odd_words(self: Self, next: Self) -> Self {
            let (first, next) = (_mm256_castsi256_ps(self.0), _mm256_castsi256_ps(next.0));
            Self(_mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(first, next)))
        }

        fn sort_words(self: Self) -> Self {
            Self(_mm256_permute4x64_epi64::<0b11_01_10_00>(self.0))
        }

        fn rule(narrow: Narrow, low: u8) -> Rule {
            Rule {
                even: _mm256_set1_epi32(narrow.scale & 0xffff),
                odd: _mm256_set1_epi32(narrow.scale << 16),
                shift: _mm256_set1_epi32(narrow.shift),
                right: _mm_cvtsi32_si128(narrow.right as i32),
                low: _mm256_set1_epi8(low as i8),
            }
        }

        fn activations(even: Self, odd: Self, rule: &Rule) -> Self {
            // Bytes 0, 2, 1 and 3 of each word.
            let b0 = scaled(even.0, rule.even, rule.shift, rule.right);
            let b2 = scaled(even.0, rule.odd, rule.shift, rule.right);
            let b1 = scaled(odd.0, rule.even, rule.shift, rule.right);
            let b3 = scaled(odd.0, rule.odd, rule.shift, rule.right);
            let bytes =
                _mm256_packus_epi16(_mm256_packs_epi32(b0, b2), _mm256_packs_epi32(b1, b3));
            // Of each half: four bytes 0, four bytes 2, four bytes 1, four bytes 3.
            let order = _mm_setr_epi8(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15);
            let bytes = _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order));
            let bytes = _mm256_max_epu8(bytes, rule.low);
            Self(_mm256_min_epu8(bytes, _mm256_set1_epi8(127)))
        }

        fn no_sum() -> __m128i {
            _mm_setzero_si128()
        }

        fn add_word(sum: __m128i, from: *const u32) -> __m128i {
            _mm_add_epi32(sum, _mm_loadu_si128(from.cast()))
        }

        fn first_word(sum: __m128i) -> u32 {
            _mm_cvtsi128_si32(sum) as u32
        }

        fn pair_of_sums(masks: &[Masks], index: u32, key: u32, inputs: &[Inputs]) -> [i32; 2] {
            lanes::pair_of_sums(masks, index, key, inputs)
        }

        fn add_products(self: Self, x: *const u8, weights: *const u8, mask: u32) -> Self {
            let weights = _mm256_and_si256(_mm256_loadu_si256(weights.cast()), spread(mask));
            // Two products of 127 and −128 are within 16 bits.
            let products = _mm256_maddubs_epi16(_mm256_loadu_si256(x.cast()), weights);
            Self(_mm256_add_epi32(self.0, _mm256_madd_epi16(products, _mm256_set1_epi16(1))))
        }

        fn total_of_products(self: Self) -> i32 {
            total(self.0)
        }

        fn no_few() -> __m128i {
            _mm_setzero_si128()
        }

        fn add_positions(
            few: __m128i,
            from: *const u8,
            count: usize,
            table: &positions::Table
        ) -> __m128i {
            let positions = _mm_loadu_si128(from.cast());
            let at = _mm_and_si128(positions, _mm_set1_epi8(15));
            // The inputs of each sixteen, of which bits 4, 5 and 6 choose one: as bits 7 of bytes.
            let bits = [
                _mm_slli_epi16::<3>(positions),
                _mm_slli_epi16::<2>(positions),
                _mm_slli_epi16::<1>(positions),
            ];
            let low = of_64(&table[0], at, bits);
            let high = of_64(&table[1], at, bits);
            let inputs = _mm_blendv_epi8(low, high, bits[2]);
            // Signs, and 0 behind the last position.
            let signs = _mm_or_si128(positions, _mm_set1_epi8(1));
            let first = _mm_loadu_si128(positions::first(count).cast());
            let signed = _mm_sign_epi8(inputs, _mm_and_si128(signs, first));
            let pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), signed);
            _mm_add_epi32(few, _mm_madd_epi16(pairs, _mm_set1_epi16(1)))
        }

        fn total_of_few(few: __m128i) -> i32 {
            let two = _mm_add_epi32(few, _mm_shuffle_epi32::<0b01_00_11_10>(few));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
        }

        fn sums_of_positions(rows: &mut positions::Rows, sums: &mut [i32]) {
            #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
            #[inline(never)]
            fn detected(rows: &mut positions::Rows, sums: &mut [i32]) {
                // SAFETY: this function is for processors with AVX2.
                unsafe { rows.sums::<Bytes>(sums) }
            }
            detected(rows, sums)
        }

        fn pair(scales: [i16; 2], shift: i32, right: u32, low: u8) -> Pair {
            let [left, right_scale] = scales.map(|scale| i32::from(scale as u16));
            Pair {
                scales: _mm256_set1_epi32(left | right_scale << 16),
                shift: _mm256_set1_epi32(shift),
                right: _mm_cvtsi32_si128(right as i32),
                low: _mm256_set1_epi8(low as i8),
            }
        }

        fn sum_of_two(left: Self, right: Self, pair: &Pair) -> Self {
            let zero = _mm256_setzero_si256();
            let [first, second] =
                [_mm256_unpacklo_epi8(left.0, right.0), _mm256_unpackhi_epi8(left.0, right.0)];
            let (scales, shift, by) = (pair.scales, pair.shift, pair.right);
            let first = _mm256_packs_epi32(
                scaled(_mm256_unpacklo_epi8(first, zero), scales, shift, by),
                scaled(_mm256_unpackhi_epi8(first, zero), scales, shift, by),
            );
            let second = _mm256_packs_epi32(
                scaled(_mm256_unpacklo_epi8(second, zero), scales, shift, by),
                scaled(_mm256_unpackhi_epi8(second, zero), scales, shift, by),
            );
            let bytes = _mm256_max_epu8(_mm256_packus_epi16(first, second), pair.low);
            Self(_mm256_min_epu8(bytes, _mm256_set1_epi8(127)))
        }
    }
}

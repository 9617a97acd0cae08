//! NEON, which every aarch64 with floats has: there is nothing to detect.

mod lanes;

use core::arch::aarch64::*;

use super::vector::lanes::{Inputs, Masks};
use super::vector::positions;
use super::vector::{self, Vector};
use crate::epilogue::{Epilogue, Narrow};
use crate::kernel::{Channelwise, Convolution, Placed, Sink, Source, Target};
use crate::layer::{Add, Pool};
use crate::mask::LayerWeights;
use crate::random::bit_of;

/// Kernels that give `false`, and do nothing, where a layer is not for them.
macro_rules! kernels {
    ($(fn $name:ident($($argument:ident: $type:ty),*) = $kernel:path;)*) => {$(
        #[doc = concat!("See [`", stringify!($kernel), "`].")]
        pub(super) fn $name($($argument: $type),*) -> bool {
            // SAFETY: `seedmask_vectors` is set where all code of the target may use NEON.
            unsafe { $kernel($($argument),*) }
        }
    )*};
}

vector::each_kernel!(kernels);

/// 16 bytes.
#[derive(Clone, Copy)]
struct Bytes(uint8x16_t);

/// Scale, shift and clamping of a channel.
#[derive(Clone, Copy)]
struct Rule {
    scale: i16,
    shift: int32x4_t,
    /// How far to shift to the left: the negative of how far to the right.
    left: int32x4_t,
    low: uint8x16_t,
}

/// Scales of left and right.
#[derive(Clone, Copy)]
struct Pair {
    scales: [i16; 2],
    shift: int32x4_t,
    /// As in [`Rule`].
    left: int32x4_t,
    low: uint8x16_t,
}

/// The bit of each of 32 inputs in its byte of a broadcast word: see [`bit_of`].
const BITS: [[u8; 16]; 2] = {
    let (mut bits, mut i) = ([[0; 16]; 2], 0);
    while i < 32 {
        bits[i / 16][i % 16] = 1 << (bit_of(i) % 8);
        i += 1;
    }
    bits
};

impl Bytes {
    #[target_feature(enable = "neon")]
    #[inline]
    fn lanes(self) -> uint16x8_t {
        vreinterpretq_u16_u8(self.0)
    }

    #[target_feature(enable = "neon")]
    #[inline]
    fn words(self) -> uint32x4_t {
        vreinterpretq_u32_u8(self.0)
    }

    #[target_feature(enable = "neon")]
    #[inline]
    fn of_lanes(lanes: uint16x8_t) -> Self {
        Self(vreinterpretq_u8_u16(lanes))
    }

    #[target_feature(enable = "neon")]
    #[inline]
    fn of_words(words: uint32x4_t) -> Self {
        Self(vreinterpretq_u8_u32(words))
    }
}

/// `(sum·scale + shift) >> right` in 0..=65535.
#[target_feature(enable = "neon")]
#[inline]
fn scaled(sums: uint16x8_t, rule: &Rule) -> uint16x8_t {
    let sums = vreinterpretq_s16_u16(sums);
    narrowed(
        vmlal_n_s16(rule.shift, vget_low_s16(sums), rule.scale),
        vmlal_high_n_s16(rule.shift, sums, rule.scale),
        rule.left,
    )
}

/// Both shifted, in 0..=65535.
#[target_feature(enable = "neon")]
#[inline]
fn narrowed(first: int32x4_t, next: int32x4_t, left: int32x4_t) -> uint16x8_t {
    vqmovun_high_s32(vqmovun_s32(vshlq_s32(first, left)), vshlq_s32(next, left))
}

/// `(left·scales[0] + right·scales[1] + shift) >> right` in 0..=65535.
#[target_feature(enable = "neon")]
#[inline]
fn scaled_two(left: uint16x8_t, right: uint16x8_t, pair: &Pair) -> uint16x8_t {
    let [left, right] = [left, right].map(|lanes| vreinterpretq_s16_u16(lanes));
    let [left_scale, right_scale] = pair.scales;
    let first = vmlal_n_s16(pair.shift, vget_low_s16(left), left_scale);
    let next = vmlal_high_n_s16(pair.shift, left, left_scale);
    narrowed(
        vmlal_n_s16(first, vget_low_s16(right), right_scale),
        vmlal_high_n_s16(next, right, right_scale),
        pair.left,
    )
}

/// At least `low`, at most 127.
#[target_feature(enable = "neon")]
#[inline]
fn clamped(bytes: uint8x16_t, low: uint8x16_t) -> Bytes {
    Bytes(vminq_u8(vmaxq_u8(bytes, low), vdupq_n_u8(127)))
}

/// Functions of the trait: bodies that may use NEON and the pointers that they are given.
macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $output:ty)? $body:block)*) => {$(
        #[inline(always)]
        unsafe fn $name($($argument: $type),*) $(-> $output)? {
            // SAFETY: the caller has NEON, and pointers that are good for what is read and written.
            unsafe { $body }
        }
    )*};
}

impl Vector for Bytes {
    const BYTES: usize = 16;

    type Rule = Rule;
    // Registers for numbers are as many as those for vectors.
    type Sum = u32;
    type Few = int32x4_t;
    type Pair = Pair;

    #[inline(always)]
    unsafe fn sort_words(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn no_sum() -> u32 {
        0
    }

    #[inline(always)]
    unsafe fn first_word(sum: u32) -> u32 {
        sum
    }

    functions! {
        fn zero() -> Self {
            Self(vdupq_n_u8(0))
        }

        fn load(from: *const u8) -> Self {
            Self(vld1q_u8(from))
        }

        fn store(self: Self, to: *mut u8) {
            vst1q_u8(to, self.0)
        }

        fn add_bytes(self: Self, other: Self) -> Self {
            Self(vaddq_u8(self.0, other.0))
        }

        fn splat(byte: u8) -> Self {
            Self(vdupq_n_u8(byte))
        }

        fn splat_lane(lane: i16) -> Self {
            Self::of_lanes(vdupq_n_u16(lane as u16))
        }

        fn and(self: Self, other: Self) -> Self {
            Self(vandq_u8(self.0, other.0))
        }

        fn xor(self: Self, other: Self) -> Self {
            Self(veorq_u8(self.0, other.0))
        }

        fn max_bytes(self: Self, other: Self) -> Self {
            Self(vmaxq_u8(self.0, other.0))
        }

        fn add(self: Self, other: Self) -> Self {
            Self::of_lanes(vaddq_u16(self.lanes(), other.lanes()))
        }

        fn sub(self: Self, other: Self) -> Self {
            Self::of_lanes(vsubq_u16(self.lanes(), other.lanes()))
        }

        fn odd(self: Self) -> Self {
            Self::of_lanes(vshrq_n_u16::<8>(self.lanes()))
        }

        fn even(self: Self) -> Self {
            Self::of_lanes(vandq_u16(self.lanes(), vdupq_n_u16(0xff)))
        }

        fn to_odd(self: Self) -> Self {
            Self::of_lanes(vshlq_n_u16::<8>(self.lanes()))
        }

        fn evens(self: Self, next: Self) -> Self {
            Self(vuzp1q_u8(self.0, next.0))
        }

        fn even_words(self: Self, next: Self) -> Self {
            Self::of_words(vuzp1q_u32(self.words(), next.words()))
        }

        fn odd_words(self: Self, next: Self) -> Self {
            Self::of_words(vuzp2q_u32(self.words(), next.words()))
        }

        fn rule(narrow: Narrow, low: u8) -> Rule {
            Rule {
                scale: narrow.scale as i16,
                shift: vdupq_n_s32(narrow.shift),
                left: vdupq_n_s32(-(narrow.right as i32)),
                low: vdupq_n_u8(low),
            }
        }

        fn activations(even: Self, odd: Self, rule: &Rule) -> Self {
            let most = vdupq_n_u16(127);
            let [even, odd] =
                [even, odd].map(|sums| vminq_u16(scaled(sums.lanes(), rule), most));
            // Odd bytes above even ones.
            let bytes = vreinterpretq_u8_u16(vsliq_n_u16::<8>(even, odd));
            Self(vmaxq_u8(bytes, rule.low))
        }

        fn add_word(sum: u32, from: *const u32) -> u32 {
            sum.wrapping_add(*from)
        }

        fn pair_of_sums(masks: &[Masks], index: u32, key: u32, inputs: &[Inputs]) -> [i32; 2] {
            lanes::pair_of_sums(masks, index, key, inputs)
        }

        fn add_products(self: Self, x: *const u8, weights: *const u8, mask: u32) -> Self {
            let mask = vreinterpretq_u8_u32(vdupq_n_u32(mask));
            let mut sums = vreinterpretq_s32_u8(self.0);
            for (half, bits) in BITS.iter().enumerate() {
                let (x, weights) =
                    (vld1q_u8(x.add(16 * half)), vld1q_u8(weights.add(16 * half)));
                let kept = vtstq_u8(mask, vld1q_u8(bits.as_ptr()));
                let x = vreinterpretq_s8_u8(vandq_u8(x, kept));
                let weights = vreinterpretq_s8_u8(weights);
                // Two products of 127 and −128 are within 16 bits.
                let products = vmull_s8(vget_low_s8(x), vget_low_s8(weights));
                let products = vaddq_s16(products, vmull_high_s8(x, weights));
                sums = vpadalq_s16(sums, products);
            }
            Self(vreinterpretq_u8_s32(sums))
        }

        fn total_of_products(self: Self) -> i32 {
            vaddvq_s32(vreinterpretq_s32_u8(self.0))
        }

        fn no_few() -> int32x4_t {
            vdupq_n_s32(0)
        }

        fn add_positions(
            few: int32x4_t,
            from: *const u8,
            count: usize,
            table: &positions::Table
        ) -> int32x4_t {
            let positions = vld1q_u8(from);
            let at = vandq_u8(positions, vdupq_n_u8(127));
            let low = vld1q_u8_x4(table[0].as_ptr().cast());
            let high = vld1q_u8_x4(table[1].as_ptr().cast());
            // What is beyond a table leaves what was there.
            let inputs = vqtbl4q_u8(low, at);
            let inputs = vqtbx4q_u8(inputs, high, vsubq_u8(at, vdupq_n_u8(64)));
            let inputs = vandq_u8(inputs, vld1q_u8(positions::first(count)));
            let minus = vreinterpretq_s8_u8(vcltzq_s8(vreinterpretq_s8_u8(positions)));
            let signed = vsubq_s8(veorq_s8(vreinterpretq_s8_u8(inputs), minus), minus);
            vpadalq_s16(few, vpaddlq_s8(signed))
        }

        fn total_of_few(few: int32x4_t) -> i32 {
            vaddvq_s32(few)
        }

        fn sums_of_positions(rows: &mut positions::Rows, sums: &mut [i32]) {
            #[inline(never)]
            unsafe fn alone(rows: &mut positions::Rows, sums: &mut [i32]) {
                // SAFETY: as for this function.
                unsafe { rows.sums::<Bytes>(sums) }
            }
            alone(rows, sums)
        }

        fn pair(scales: [i16; 2], shift: i32, right: u32, low: u8) -> Pair {
            Pair {
                scales,
                shift: vdupq_n_s32(shift),
                left: vdupq_n_s32(-(right as i32)),
                low: vdupq_n_u8(low),
            }
        }

        fn sum_of_two(left: Self, right: Self, pair: &Pair) -> Self {
            let [low_left, low_right] =
                [left, right].map(|bytes| vmovl_u8(vget_low_u8(bytes.0)));
            let [high_left, high_right] = [left, right].map(|bytes| vmovl_high_u8(bytes.0));
            let low = vqmovn_u16(scaled_two(low_left, low_right, pair));
            let bytes = vqmovn_high_u16(low, scaled_two(high_left, high_right, pair));
            clamped(bytes, pair.low)
        }
    }
}

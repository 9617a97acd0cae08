//! Two rows of mask words and signs as weights of two bits, 128 inputs at a time.

use core::arch::aarch64::*;

use crate::kernel::processor::vector::lanes::{Inputs, Masks};
use crate::random::PAIR_ROTATION;

/// Products of at most two blocks in lanes of 16 bits, which are four of the even row and four of the
/// odd one: those of weights in the lowest or highest bits, four times those of weights two bits above
/// the lowest, and 16 times those of weights four bits above. At most 16 products are added to a
/// lane of each, of 2·127 times 1, 4 and 16.
#[derive(Clone, Copy)]
struct Products {
    once: uint16x8_t,
    four_times: uint16x8_t,
    sixteen_times: uint16x8_t,
}

/// See [`crate::kernel::processor::vector::Vector::pair_of_sums`].
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn pair_of_sums(masks: &[Masks], index: u32, key: u32, inputs: &[Inputs]) -> [i32; 2] {
    // SAFETY: four words are 16 bytes.
    let order = unsafe { vld1q_u32([0, 1, 2, 3].as_ptr()) };
    let mut indices = vaddq_u32(vdupq_n_u32(index), order);
    let key = vdupq_n_u32(key);
    let mut sums = vdupq_n_u32(0);
    let mut add = |masks: &[Masks], inputs: &[Inputs]| {
        let mut products = Products::new();
        for (masks, inputs) in masks.iter().zip(inputs) {
            let even = words(indices, key);
            let odd = rotated(even);
            indices = vaddq_u32(indices, vdupq_n_u32(4));
            products.add(masks, [vzip1q_u32(even, odd), vzip2q_u32(even, odd)], inputs);
        }
        sums = vpadalq_u16(sums, products.total());
    };
    let count = masks.len().min(inputs.len());
    let (masks, last_masks) = masks[..count].as_chunks::<2>();
    let (inputs, last_inputs) = inputs[..count].as_chunks::<2>();
    masks.iter().zip(inputs).for_each(|(masks, inputs)| add(masks, inputs));
    add(last_masks, last_inputs);
    let sums = vpaddq_u32(sums, sums);
    [vgetq_lane_u32::<0>(sums), vgetq_lane_u32::<1>(sums)].map(|sum| sum as i32)
}

/// As [`crate::random::Generator::word`], the start being part of the indices.
#[target_feature(enable = "neon")]
#[inline]
fn words(indices: uint32x4_t, key: uint32x4_t) -> uint32x4_t {
    let x = veorq_u32(indices, vshrq_n_u32::<16>(indices));
    let x = vmulq_u32(x, vdupq_n_u32(0x7feb_352d));
    let x = veorq_u32(x, key);
    let x = veorq_u32(x, vshrq_n_u32::<15>(x));
    let x = vmulq_u32(x, vdupq_n_u32(0x846c_a68b));
    veorq_u32(x, vshrq_n_u32::<16>(x))
}

/// The words of an odd row.
#[target_feature(enable = "neon")]
#[inline]
fn rotated(words: uint32x4_t) -> uint32x4_t {
    const LEFT: i32 = PAIR_ROTATION as i32;
    vsriq_n_u32::<{ 32 - LEFT }>(vshlq_n_u32::<LEFT>(words), words)
}

impl Products {
    #[target_feature(enable = "neon")]
    #[inline]
    fn new() -> Self {
        let zero = vdupq_n_u16(0);
        Self { once: zero, four_times: zero, sixteen_times: zero }
    }

    /// Adds a block.
    #[target_feature(enable = "neon")]
    #[inline]
    fn add(&mut self, masks: &Masks, signs: [uint32x4_t; 2], inputs: &Inputs) {
        for (half, (masks, signs)) in masks.as_chunks::<16>().0.iter().zip(signs).enumerate() {
            // SAFETY: a chunk is 16 bytes.
            let masks = unsafe { vld1q_u8(masks.as_ptr()) };
            let plus = vbicq_u8(masks, vreinterpretq_u8_u32(signs));
            // Weights of two bits: the upper one of a plus, the lower one of what is masked. Those of
            // odd bits, then those of even ones.
            let (upper, masked) = (vdupq_n_u8(0xaa), vmvnq_u8(masks));
            let odd = vbslq_u8(upper, plus, vshrq_n_u8::<1>(masked));
            let even = vbslq_u8(upper, vaddq_u8(plus, plus), masked);
            for (bit, weights) in [even, odd].into_iter().enumerate() {
                let at = |above: usize| {
                    // SAFETY: the inputs beside a bit are 32 bytes.
                    unsafe { vld1q_u8(inputs[bit + above][2 * half..].as_ptr().cast()) }
                };
                let part = |bits: u8| vandq_u8(weights, vdupq_n_u8(bits));
                self.once = product(self.once, part(0b11), at(0));
                self.four_times = product(self.four_times, part(0b1100), at(2));
                self.sixteen_times = product(self.sixteen_times, part(0b11_0000), at(4));
                self.once = product(self.once, vshrq_n_u8::<6>(weights), at(6));
            }
        }
    }

    /// The sums of each lane.
    #[target_feature(enable = "neon")]
    #[inline]
    fn total(self) -> uint16x8_t {
        let once = vsraq_n_u16::<2>(self.once, self.four_times);
        vsraq_n_u16::<4>(once, self.sixteen_times)
    }
}

/// Adds the products of `weights` and `inputs`.
#[target_feature(enable = "neon")]
#[inline]
fn product(sums: uint16x8_t, weights: uint8x16_t, inputs: uint8x16_t) -> uint16x8_t {
    let sums = vmlal_u8(sums, vget_low_u8(weights), vget_low_u8(inputs));
    vmlal_high_u8(sums, weights, inputs)
}

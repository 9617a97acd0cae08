//! Kernels for processors with vectors of bytes, written once for all of them: [`Vector`] is what an
//! instruction set has to offer.
//!
//! `lists` turns a row of weights into offsets, `conv2d` sums those over vectors of outputs, `dense`
//! sums rows, by `lanes` or `gaps`, `positions` those of positions, `depthwise` has a list of taps for
//! each channel, `maps` pools and adds.
//!
//! Every function here is `unsafe` for one reason: it may be called only where the processor has the
//! instructions of its `V`. They are all inlined into functions of `avx2` that enable these, or of
//! `neon`.

pub(super) mod conv2d;
pub(super) mod dense;
pub(super) mod depthwise;
mod gaps;
pub(super) mod lanes;
mod lists;
pub(super) mod maps;
pub(super) mod positions;
mod set;

pub use set::Vectors;

use crate::epilogue::{Epilogue, Narrow};
use crate::kernel::Target;

/// A vector of bytes, and what kernels do with one. A *lane* is 16 bits wide: the even bytes of a
/// vector are the low halves of its lanes, the odd ones the high halves.
///
/// # Safety
/// All functions: the processor has the instructions of this type. `load` and `store`: the pointer
/// is good for [`Vector::BYTES`] bytes, at any alignment.
pub(super) trait Vector: Copy {
    /// Bytes of a vector: 16 or 32.
    const BYTES: usize;

    /// Scale, shift and clamping of one output channel.
    type Rule: Copy;
    /// A sum of 32 bits in a register for vectors.
    type Sum: Copy;

    unsafe fn zero() -> Self;
    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    /// All bytes alike.
    unsafe fn splat(byte: u8) -> Self;
    /// All lanes alike.
    unsafe fn splat_lane(lane: i16) -> Self;
    /// Bit by bit.
    unsafe fn and(self, other: Self) -> Self;
    /// Bit by bit.
    unsafe fn xor(self, other: Self) -> Self;
    /// Byte by byte.
    unsafe fn add_bytes(self, other: Self) -> Self;
    /// The larger of each two bytes.
    unsafe fn max_bytes(self, other: Self) -> Self;
    /// Lane by lane; wraps.
    unsafe fn add(self, other: Self) -> Self;
    /// Lane by lane; wraps.
    unsafe fn sub(self, other: Self) -> Self;
    /// The odd bytes, as lanes.
    unsafe fn odd(self) -> Self;
    /// The even bytes, as lanes.
    unsafe fn even(self) -> Self;
    /// The low bytes of all lanes in the places of the odd bytes, zeros in those of the even ones.
    unsafe fn to_odd(self) -> Self;
    /// The even bytes of `self`, then those of `next`.
    unsafe fn evens(self, next: Self) -> Self;
    /// The 32-bit words 0, 2, 4, ... of `self`, then those of `next`, in the order that
    /// [`Vector::sort_words`] mends.
    unsafe fn even_words(self, next: Self) -> Self;
    /// The words 1, 3, 5, ... in the same order.
    unsafe fn odd_words(self, next: Self) -> Self;
    /// Puts what became of [`Vector::even_words`] in order.
    unsafe fn sort_words(self) -> Self;

    /// What [`Vector::activations`] wants of a channel.
    unsafe fn rule(narrow: Narrow, low: u8) -> Self::Rule;
    /// The activations of sums that fit 16 bits: those of `even` in the even bytes, those of `odd`
    /// in the odd ones.
    unsafe fn activations(even: Self, odd: Self, rule: &Self::Rule) -> Self;

    /// Nothing yet.
    unsafe fn no_sum() -> Self::Sum;
    /// Adds the word at `from`, which is good for four.
    unsafe fn add_word(sum: Self::Sum, from: *const u32) -> Self::Sum;
    /// What was added; wraps.
    unsafe fn first_word(sum: Self::Sum) -> u32;

    /// The sums of two rows over as many blocks as `inputs` are, masked weights and signs as
    /// [`lanes`] counts them. `index` (start of the generator included) is that of the generator
    /// word beside the first mask words, `key` the generator's.
    unsafe fn pair_of_sums(
        masks: &[lanes::Masks],
        index: u32,
        key: u32,
        inputs: &[lanes::Inputs],
    ) -> [i32; 2];

    /// Adds the products of 32 activations at `x` and 32 weights at `weights`, where `mask` has a
    /// bit, in the order of [`crate::random::bit_of`], to sums of 32 bits. Both pointers are good
    /// for 32 bytes.
    unsafe fn add_products(self, x: *const u8, weights: *const u8, mask: u32) -> Self;
    /// The total of sums of 32 bits.
    unsafe fn total_of_products(self) -> i32;

    /// Sums of 32 bits.
    type Few: Copy;
    /// Nothing yet.
    unsafe fn no_few() -> Self::Few;
    /// Adds the inputs of `table` that the first `count` of the [`positions::RUN`] positions at `from`
    /// name, or their negatives. `count` may be larger, up to what a section says.
    unsafe fn add_positions(
        few: Self::Few,
        from: *const u8,
        count: usize,
        table: &positions::Table,
    ) -> Self::Few;
    /// Their total.
    unsafe fn total_of_few(few: Self::Few) -> i32;
    /// [`positions::Rows::sums`] in a function of its own, whose loop has the registers to itself.
    unsafe fn sums_of_positions(rows: &mut positions::Rows, sums: &mut [i32]);

    /// What [`Vector::sum_of_two`] wants of a layer.
    type Pair: Copy;
    /// Scales, shift, how far to shift right, smallest output.
    unsafe fn pair(scales: [i16; 2], shift: i32, right: u32, low: u8) -> Self::Pair;
    /// `clamp((left·scales[0] + right·scales[1] + shift) >> right, low, 127)`, byte by byte.
    unsafe fn sum_of_two(left: Self, right: Self, pair: &Self::Pair) -> Self;
}

/// Gives `$define` the signature of every kernel and its body for the caller's vector `Bytes`.
macro_rules! each_kernel {
    ($define:ident) => {
        $define! {
            fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: &mut Target)
                = vector::dense::dense::<Bytes>;
            fn positions(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: &mut Target)
                = vector::positions::positions::<Bytes>;
            fn conv2d(conv: &mut Convolution, x: Source, y: &mut Sink)
                = vector::conv2d::conv2d::<Bytes>;
            fn depthwise(conv: &mut Convolution, memory: &mut [u8], maps: &Channelwise)
                = vector::depthwise::depthwise::<Bytes>;
            fn pool(pool: &Pool, memory: &mut [u8], x: Placed, y: Placed)
                = vector::maps::pool::<Bytes>;
            fn add(add: &Add, memory: &mut [u8], left: Placed, right: Placed, y: Placed)
                = vector::maps::add::<Bytes>;
        }
    };
}
pub(super) use each_kernel;

/// Rows of a dense layer whose sums go through the epilogue at once.
const AT_ONCE: usize = 32;

/// Makes outputs of the `sums` of the rows from `first` on.
#[inline(always)]
fn write_rows(first: usize, sums: &[i32], epilogue: &Epilogue, target: &mut Target) {
    let rows = sums.iter().zip(epilogue.from(first));
    match target {
        Target::Activations { low, bytes } => {
            let bytes = bytes.get_mut(first..).unwrap_or(&mut []);
            for (byte, (sum, affine)) in bytes.iter_mut().zip(rows) {
                *byte = affine.activation(*sum, *low);
            }
        }
        Target::Logits(logits) => {
            let logits = logits.get_mut(first..).unwrap_or(&mut []);
            for (logit, (sum, affine)) in logits.iter_mut().zip(rows) {
                *logit = affine.logit(*sum);
            }
        }
    }
}

//! Dense layers: rows of sums from the assembly, then the epilogue.

use core::arch::asm;

use super::{gaps, lanes};
use crate::epilogue::Epilogue;
use crate::family::Family;
use crate::kernel::{Kernels, Target, Words};
use crate::layer::Source;
use crate::mask::{Encoding, LayerWeights, Row, Rows};
use crate::random::{Generator, Stream, WORD};

/// Rows whose sums are held at a time.
const ROWS: usize = 32;

pub(super) fn dense(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    x: &[u8],
    target: Target,
    scratch: &mut [u32],
) {
    let signs = weights.weights.source == Source::SeededSigns;
    match weights.encoding {
        Encoding::Raw | Encoding::CountedRaw
            if signs && let Some(mut rows) = Pairs::new(weights, x) =>
        {
            blocks(weights, epilogue, target, |sums| rows.sums(sums));
        }
        Encoding::SignedGaps
            if Family::Gaps.is_linked() && x.len() >= weights.weights.inputs as usize =>
        {
            let mut rows = Lists { section: weights.bytes, x };
            blocks(weights, epilogue, target, |sums| rows.sums(sums));
        }
        _ => Words::dense(weights, epilogue, x, target, scratch),
    }
}

/// Puts the sums that `next` gives for as many rows as it is asked for through the epilogue.
#[inline(always)]
fn blocks(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    mut target: Target,
    mut next: impl FnMut(&mut [i32]),
) {
    let rows = weights.weights.rows as usize;
    let mut sums = [0; ROWS];
    for first in (0..rows).step_by(ROWS) {
        let count = (rows - first).min(ROWS);
        let sums = sums.get_mut(..count).unwrap_or_default();
        next(sums);
        let rows = epilogue.words_from(first).zip(sums);
        match &mut target {
            Target::Activations { low, bytes } => {
                let bytes = bytes.get_mut(first..).unwrap_or_default();
                for (byte, (channel, sum)) in bytes.iter_mut().zip(rows) {
                    *byte = activation(channel, *sum, *low);
                }
            }
            Target::Logits(logits) => {
                let logits = logits.get_mut(first..).unwrap_or_default();
                for (to, (channel, sum)) in logits.iter_mut().zip(rows) {
                    *to = logit(channel, *sum);
                }
            }
        }
    }
}

/// `sum·S + B` in `{f}:{t}`, of the two f16 in `{w}`, both decoded at once; it uses `{e}` and `{g}`.
macro_rules! affine {
    () => {
        concat!(
            // Fractions with their hidden bit, where the exponent is not 0; exponents less one.
            "bic {f}, {w}, #0xfc00fc00\n",
            "lsr {e}, {w}, #10\n",
            "and {e}, {e}, #0x001f001f\n",
            "orr {g}, {f}, #0x04000400\n",
            "uqsub16 {t}, {e}, {ones}\n",
            "usub16 {e}, {e}, {ones}\n",
            "sel {f}, {g}, {f}\n",
            // Negated where the sign says so.
            "mvn {g}, {f}\n",
            "uadd16 {g}, {g}, {ones}\n",
            "sadd16 {e}, {w}, {w}\n",
            "sel {f}, {f}, {g}\n",
            // S, then B as a product with a power of two.
            "sxth {g}, {f}\n",
            "uxth {e}, {t}\n",
            "lsl {g}, {g}, {e}\n",
            "asr {f}, {f}, #16\n",
            "lsr {t}, {t}, #16\n",
            "mov {e}, #1\n",
            "lsl {e}, {e}, {t}\n",
            "smull {t}, {f}, {f}, {e}\n",
            "smlal {t}, {f}, {sum}, {g}\n",
        )
    };
}

const ONES: u32 = 0x0001_0001;

/// [`crate::epilogue::Affine::activation`] of a channel's bytes; sums have less than 24 bits.
#[inline(always)]
fn activation(channel: u32, sum: i32, low: u8) -> u8 {
    let activation: u32;
    // SAFETY: registers only.
    unsafe {
        asm!(
            cpu!(),
            affine!(),
            "adds {t}, {t}, #0x800000",
            "adc {f}, {f}, #0",
            "lsr {t}, {t}, #24",
            "orr {t}, {t}, {f}, lsl #8",
            "usat {t}, #7, {t}",
            "usub8 {e}, {t}, {low}",
            "sel {t}, {t}, {low}",
            w = in(reg) channel,
            sum = in(reg) sum,
            ones = in(reg) ONES,
            low = in(reg) u32::from(low),
            e = out(reg) _,
            f = out(reg) _,
            g = out(reg) _,
            t = out(reg) activation,
            options(pure, nomem, nostack),
        );
    }
    activation as u8
}

/// [`crate::epilogue::Affine::logit`] of a channel's bytes.
#[inline(always)]
fn logit(channel: u32, sum: i32) -> i32 {
    let logit;
    // SAFETY: registers only.
    unsafe {
        asm!(
            cpu!(),
            affine!(),
            "lsr {t}, {t}, #8",
            "orr {t}, {t}, {f}, lsl #24",
            "asr {f}, {f}, #8",
            // What was shifted out of reach must be copies of the sign.
            "cmp {f}, {t}, asr #31",
            "mvn {e}, #0x80000000",
            "it ne",
            "eorne {t}, {e}, {f}, asr #31",
            w = in(reg) channel,
            sum = in(reg) sum,
            ones = in(reg) ONES,
            e = out(reg) _,
            f = out(reg) _,
            g = out(reg) _,
            t = out(reg) logit,
            options(pure, nomem, nostack),
        );
    }
    logit
}

/// How many kept weights of each row are −1.
enum Counts<'a> {
    /// What the mask says.
    Stored(&'a [[u8; 2]]),
    /// Rows to be counted, which takes about as long as the sums.
    Walked(Rows<'a>),
}

/// Rows of raw masks and seeded signs.
struct Pairs<'a> {
    /// Whole blocks.
    x: &'a [u8],
    /// Inputs of a row.
    inputs: usize,
    masks: &'a [[u8; 4]],
    counts: Counts<'a>,
    generator: Generator,
    /// Index of the next pair's first generator word.
    index: u32,
    words: usize,
}

impl<'a> Pairs<'a> {
    /// `None` where the inputs are not whole blocks of 32 at a multiple of 4, or a mask is missing.
    fn new(weights: &LayerWeights<'a>, x: &'a [u8]) -> Option<Self> {
        let words = weights.weights.words() as usize;
        let bytes = (weights.weights.rows as usize).checked_mul(4 * words)?;
        let (masks, counts) = weights.bytes.split_at_checked(bytes)?;
        let masks = masks.as_chunks().0;
        let counts = match weights.encoding {
            Encoding::CountedRaw => Counts::Stored(counts.as_chunks().0),
            _ => Counts::Walked(weights.rows()),
        };
        let x = x.get(..words * WORD)?;
        let fits = words > 0 && x.as_ptr().align_offset(4) == 0;
        let generator = Generator::new(weights.seed, Stream::Signs);
        let inputs = weights.weights.inputs as usize;
        fits.then_some(Self { x, inputs, masks, counts, generator, index: weights.first, words })
    }

    /// The sums of the next rows: an even count of at most [`ROWS`], but for the last rows.
    fn sums(&mut self, sums: &mut [i32]) {
        let rows = sums.len();
        match &mut self.counts {
            Counts::Stored(stored) => {
                let (counts, rest) = stored.split_at_checked(rows).unwrap_or_default();
                *stored = rest;
                self.counted(counts, sums);
            }
            Counts::Walked(walked) => {
                let mut counts = [[0; 2]; ROWS];
                for to in counts.iter_mut().take(rows) {
                    if let Some(Row::Words(row)) = walked.next_row() {
                        *to = (row.minus_count() as u16).to_le_bytes();
                    }
                }
                self.counted(counts.get(..rows).unwrap_or_default(), sums);
            }
        }
    }

    /// The same, given the little-endian counts of kept weights −1.
    #[inline(never)]
    fn counted(&mut self, counts: &[[u8; 2]], sums: &mut [i32]) {
        let (pairs, lone) = sums.as_chunks_mut::<2>();
        let of_pairs = 2 * self.words * pairs.len();
        let (masks, after) = self.masks.split_at_checked(of_pairs).unwrap_or_default();
        self.pairs(self.x, self.inputs, masks, counts, self.index, pairs.as_flattened_mut());
        self.index = self.index.wrapping_add((self.words * pairs.len()) as u32);
        self.masks = after;
        if let ([sum], Some(minus)) = (lone, counts.last()) {
            *sum = self.lone() - 128 * i32::from(u16::from_le_bytes(*minus));
        }
    }

    /// The sums of pairs of rows of `inputs` inputs: see [`lanes`].
    fn pairs(
        &self,
        x: &[u8],
        inputs: usize,
        masks: &[[u8; 4]],
        counts: &[[u8; 2]],
        index: u32,
        sums: &mut [i32],
    ) {
        let words = x.len() / WORD;
        let room = words > 0 && masks.len() >= words * sums.len() && counts.len() >= sums.len();
        if sums.is_empty() || !room {
            return;
        }
        let (start, key) = self.generator.parts();
        let sums = sums.as_mut_ptr_range();
        let mut pairs = lanes::Pairs {
            x: x.as_ptr(),
            words: words as u32,
            long_tail: u32::from(inputs.wrapping_sub(1) % WORD >= WORD / 2),
            masks: masks.as_ptr().cast(),
            counts: counts.as_ptr().cast(),
            sums: sums.start,
            sums_end: sums.end,
            counter: start.wrapping_add(index).wrapping_sub(x.as_ptr().addr() as u32 >> 5),
            key,
        };
        // SAFETY: `new` saw to whole blocks at a multiple of 4; `masks` and `counts` hold those of all
        // rows that `sums` has room for, an even count.
        unsafe { lanes::sums(&mut pairs) };
    }

    /// What a last row without a partner adds up to, block by block beside one that keeps nothing;
    /// 128 too much for each kept minus.
    fn lone(&self) -> i32 {
        const BLOCKS: usize = 4;
        let mut total = 0;
        let mut index = self.index;
        for (x, masks) in self.x.chunks(BLOCKS * WORD).zip(self.masks.chunks(BLOCKS)) {
            let mut paired = [[0; 4]; 2 * BLOCKS];
            paired.iter_mut().step_by(2).zip(masks).for_each(|(to, mask)| *to = *mask);
            let mut sums = [0; 2];
            self.pairs(x, x.len(), &paired, &[[0; 2]; 2], index, &mut sums);
            total += sums[0];
            index = index.wrapping_add(BLOCKS as u32);
        }
        total
    }
}

/// Rows of signed gaps.
struct Lists<'a> {
    section: &'a [u8],
    x: &'a [u8],
}

impl Lists<'_> {
    /// The sums of the next rows.
    fn sums(&mut self, sums: &mut [i32]) {
        if sums.is_empty() {
            return;
        }
        let start = self.section.as_ptr();
        let before = self.x.as_ptr().wrapping_sub(1);
        let sums = sums.as_mut_ptr_range();
        // SAFETY: `LayerWeights` was checked when it was made: its rows are whole, name inputs of the
        // layer only, of which `x` has all, and end with two words of 0.
        let next = unsafe { gaps::sums(start, before, sums.start, sums.end) };
        self.section = self.section.get(next.addr() - start.addr()..).unwrap_or_default();
    }
}

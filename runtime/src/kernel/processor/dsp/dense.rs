//! Dense layers: chooses the assembly, which makes the outputs of all rows.

use super::finish::Outputs;
use super::{gaps, lanes, positions};
use crate::epilogue::Epilogue;
use crate::family::Family;
use crate::kernel::{Target, general};
use crate::layer::Source;
use crate::mask::{Counts, Encoding, LayerWeights};
use crate::random::{Generator, Stream, WORD};

/// Rows that are counted at a time.
const ROWS: usize = 32;

pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], mut target: Target) {
    let [rows, inputs] = [weights.weights.rows, weights.weights.inputs].map(|size| size as usize);
    let Some(mut outputs) = Outputs::new(rows, epilogue, &mut target) else { return };
    match weights.encoding {
        Encoding::Raw | Encoding::CountedRaw
            if let Some(mut pairs) = Pairs::new(weights, x, outputs) =>
        {
            if let Some(sum) = pairs.run(weights) {
                target.write(rows - 1, epilogue.row(rows - 1), sum);
            }
        }
        Encoding::SignedGaps if Family::Gaps.is_linked() && x.len() >= inputs => {
            outputs.expect(rows);
            let before = x.as_ptr().wrapping_sub(1);
            // SAFETY: the form of a mask was checked before it comes here: its rows are whole, and name
            // inputs of the layer only. `Outputs::new` saw to room for all rows.
            unsafe { gaps::rows(weights.bytes.as_ptr(), before, &outputs) };
        }
        Encoding::SignedPositions { base }
            if Family::Gaps.is_linked() && x.len() >= inputs.next_multiple_of(4) =>
        {
            let (counts, lists) = Counts::new(weights.bytes, weights.weights.rows, base);
            // SAFETY: as above; whole words were asked for.
            unsafe { positions::rows(counts, lists, x, [rows, inputs], outputs) };
        }
        _ => general::dense(weights, epilogue, x, target),
    }
}

/// Rows of raw masks and seeded signs.
struct Pairs<'a> {
    /// Whole blocks.
    x: &'a [u8],
    masks: &'a [[u8; 4]],
    /// How many kept weights of each row are −1, where the mask says so.
    counts: &'a [[u8; 2]],
    generator: Generator,
    next: lanes::Pairs,
}

impl<'a> Pairs<'a> {
    /// `None` for other sources, where the inputs are not whole blocks of 32 at a multiple of 4, and
    /// where a mask is missing.
    fn new(weights: &LayerWeights<'a>, x: &'a [u8], outputs: Outputs) -> Option<Self> {
        let (words, inputs) = (weights.weights.words() as usize, weights.weights.inputs as usize);
        let bytes = (weights.weights.rows as usize).checked_mul(4 * words)?;
        let (masks, counts) = weights.bytes.split_at_checked(bytes)?;
        let x = x.get(..words * WORD)?;
        let signs = weights.weights.source == Source::SeededSigns;
        if !signs || words == 0 || x.as_ptr().align_offset(4) != 0 {
            return None;
        }
        let generator = Generator::new(weights.seed, Stream::Signs);
        let mut next = lanes::Pairs {
            x: x.as_ptr(),
            words: words as u32,
            long_tail: u32::from((inputs - 1) % WORD >= WORD / 2),
            masks: masks.as_ptr(),
            counts: counts.as_ptr(),
            outputs,
            counter: 0,
            key: generator.parts().1,
        };
        next.counter = next.counter_at(&generator, weights.first);
        Some(Self { x, masks: masks.as_chunks().0, counts: counts.as_chunks().0, generator, next })
    }

    /// Makes the outputs of all rows but a last one without a partner, whose sum this gives.
    fn run(&mut self, weights: &LayerWeights) -> Option<i32> {
        let rows = weights.weights.rows as usize;
        let last = if weights.encoding == Encoding::CountedRaw {
            self.pairs(self.counts.get(..rows)?);
            self.counts.last().copied()
        } else {
            // Counting takes about as long as the sums.
            let mut walked = weights.rows();
            let mut counts = [[0; 2]; ROWS];
            for first in (0..rows).step_by(ROWS) {
                let counts = counts.get_mut(..(rows - first).min(ROWS))?;
                for to in counts.iter_mut() {
                    *to = (walked.next_minus_count() as u16).to_le_bytes();
                }
                self.pairs(counts);
            }
            counts.get((rows - 1) % ROWS).copied()
        };
        let minus = last.filter(|_| rows % 2 == 1)?;
        Some(self.lone(weights) - 128 * i32::from(u16::from_le_bytes(minus)))
    }

    /// Makes the outputs of as many pairs as there are counts of, which are those of the next rows.
    fn pairs(&mut self, counts: &[[u8; 2]]) {
        let rows = counts.len() & !1;
        if rows > 0 {
            self.next.counts = counts.as_ptr().cast();
            self.next.outputs.expect(rows);
            // SAFETY: `new` saw to whole blocks at a multiple of 4, and to the masks of all rows, which
            // no caller exceeds; `Outputs::new` to room for all rows. `counts` holds those of `rows`.
            unsafe { lanes::pairs(&mut self.next) };
        }
    }

    /// What a last row without a partner adds up to, block by block beside one that keeps nothing;
    /// 128 too much for each kept minus.
    fn lone(&self, weights: &LayerWeights) -> i32 {
        const BLOCKS: usize = 4;
        let words = self.next.words as usize;
        let pairs = weights.weights.rows / 2;
        let masks = self.masks.get(2 * words * pairs as usize..).unwrap_or_default();
        let mut index = weights.first.wrapping_add(pairs * self.next.words);
        let mut total = 0;
        for (x, masks) in self.x.chunks(BLOCKS * WORD).zip(masks.chunks(BLOCKS)) {
            let mut paired = [[0; 4]; 2 * BLOCKS];
            paired.iter_mut().step_by(2).zip(masks).for_each(|(to, mask)| *to = *mask);
            let mut sums = [0; 2];
            let mut next = lanes::Pairs {
                x: x.as_ptr(),
                words: (x.len() / WORD) as u32,
                long_tail: 1,
                masks: paired.as_ptr().cast(),
                counts: [[0_u8; 2]; 2].as_ptr().cast(),
                outputs: Outputs::sums(&mut sums),
                ..self.next
            };
            next.counter = next.counter_at(&self.generator, index);
            // SAFETY: two rows of at most `BLOCKS` blocks, with masks, counts and room for both.
            unsafe { lanes::pairs(&mut next) };
            total += sums[0];
            index = index.wrapping_add(BLOCKS as u32);
        }
        total
    }
}

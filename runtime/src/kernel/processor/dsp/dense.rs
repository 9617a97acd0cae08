//! Dense layers: chooses the assembly, which makes the sums of all rows, or their activations.

use super::finish;
use super::positions::{self, Positions, Tables};
use super::{gaps, lanes};
use crate::epilogue::Epilogue;
use crate::family::Family;
use crate::kernel::{Target, general};
use crate::layer::Source;
use crate::mask::positions::{BLOCK, Counts, MOST_BLOCKS};
use crate::mask::{Encoding, LayerWeights, Rows};
use crate::random::{Generator, Stream, WORD};

/// Most inputs of a row of signed positions.
const MOST_INPUTS: usize = BLOCK * MOST_BLOCKS;

/// Rows whose sums are made at a time; an even count.
const ROWS: usize = 64;

/// Where the sums of rows come from.
enum Sums<'s, 'a> {
    Pairs(&'s mut Pairs<'a>),
    Gaps {
        /// The byte before the first input.
        before: *const u8,
        /// The lists of the rows to come.
        lists: *const u8,
    },
}

impl Sums<'_, '_> {
    /// Those of the next rows, one at least, and multiples of [`ROWS`] but for the last ones.
    fn next(&mut self, sums: &mut [i32]) {
        match self {
            Sums::Pairs(pairs) => pairs.next(sums),
            Sums::Gaps { before, lists } if Family::Gaps.is_linked() => {
                // SAFETY: the form of a mask was checked before it comes here: its rows are whole, and
                // name inputs of the layer only. No row is asked for twice.
                *lists = unsafe { gaps::rows(*lists, *before, sums.as_mut_ptr(), sums.len()) };
            }
            Sums::Gaps { .. } => (),
        }
    }
}

pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: Target) {
    let inputs = weights.weights.inputs as usize;
    match weights.encoding {
        Encoding::Raw | Encoding::CountedRaw => {
            // By reference, as neither is small.
            let mut rows = weights.rows();
            match &mut Pairs::new(weights, &mut rows, x) {
                Some(pairs) => run(weights, epilogue, target, Sums::Pairs(pairs)),
                None => general::dense(weights, epilogue, x, target),
            }
        }
        Encoding::SignedGaps if Family::Gaps.is_linked() && x.len() >= inputs => {
            let (before, lists) = (x.as_ptr().wrapping_sub(1), weights.bytes.as_ptr());
            run(weights, epilogue, target, Sums::Gaps { before, lists });
        }
        Encoding::SignedPositions { base }
            if Family::Gaps.is_linked()
                && (1..=MOST_INPUTS).contains(&inputs)
                && x.len() >= inputs =>
        {
            positions(weights, base, epilogue, x.get(..inputs).unwrap_or_default(), target);
        }
        _ => general::dense(weights, epilogue, x, target),
    }
}

/// A function of its own, which alone needs memory for tables.
#[inline(never)]
fn positions(weights: &LayerWeights, base: u8, epilogue: &Epilogue, x: &[u8], target: Target) {
    let mut tables = Tables::new();
    let section = Counts::new(weights.bytes, weights.weights, base);
    let Some(positions) = Positions::new(&mut tables, x, section) else { return };
    let rows = weights.weights.rows as usize;
    match target {
        Target::Activations { low, bytes } => {
            let bytes = bytes.get_mut(..rows).unwrap_or_default();
            let rows = positions::Rows::Activations(&mut *bytes, epilogue.bytes_from(0));
            if positions.run(rows).is_none() {
                // What was there before may be anything.
                bytes.fill(low);
            }
            finish::raise(bytes, low);
        }
        Target::Logits(logits) => {
            let logits = logits.get_mut(..rows).unwrap_or_default();
            if positions.run(positions::Rows::Sums(&mut *logits)).is_none() {
                logits.fill(0);
            }
            finish::logits(epilogue.bytes_from(0), logits);
        }
    }
}

/// Makes outputs of sums.
fn run(weights: &LayerWeights, epilogue: &Epilogue, target: Target, mut from: Sums) {
    let rows = weights.weights.rows as usize;
    match target {
        Target::Activations { low, bytes } => {
            let bytes = bytes.get_mut(..rows).unwrap_or_default();
            // Of anything: a loop where zeros would be a call.
            let mut block = [low.into(); ROWS];
            for (bytes, first) in bytes.chunks_mut(ROWS).zip((0..).step_by(ROWS)) {
                let sums = block.get_mut(..bytes.len()).unwrap_or_default();
                from.next(sums);
                finish::activations(epilogue.bytes_from(first), sums, low, bytes);
            }
        }
        Target::Logits(logits) => {
            let logits = logits.get_mut(..rows).unwrap_or_default();
            logits.chunks_mut(ROWS).for_each(|sums| from.next(sums));
            finish::logits(epilogue.bytes_from(0), logits);
        }
    }
}

/// Rows of raw masks and seeded signs.
struct Pairs<'a> {
    /// Whole blocks.
    x: &'a [u8],
    masks: &'a [[u8; 4]],
    /// How many kept weights of each row to come are −1, where the mask says so.
    counts: &'a [[u8; 2]],
    /// The rows to come, where these are to be counted.
    rows: Option<&'a mut Rows<'a>>,
    generator: Generator,
    /// Index of the generator word after those of all pairs.
    end: u32,
    next: lanes::Pairs,
}

impl<'a> Pairs<'a> {
    /// `None` for other sources, where the inputs are not whole blocks of 32 at a multiple of 4, and
    /// where a mask is missing.
    #[inline(always)]
    fn new(weights: &LayerWeights<'a>, rows: &'a mut Rows<'a>, x: &'a [u8]) -> Option<Self> {
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
            sums: core::ptr::null_mut(),
            pairs: 0,
            counter: 0,
            key: generator.parts().1,
        };
        next.counter = next.counter_at(&generator, weights.first);
        let rows = (weights.encoding != Encoding::CountedRaw).then_some(rows);
        let end = weights.first.wrapping_add(weights.weights.rows / 2 * next.words);
        let (masks, counts) = (masks.as_chunks().0, counts.as_chunks().0);
        Some(Self { x, masks, counts, rows, generator, end, next })
    }

    /// The sums of the next rows, at most [`ROWS`].
    fn next(&mut self, sums: &mut [i32]) {
        let mut counted = [[0; 2]; ROWS];
        let counts = match &mut self.rows {
            None => {
                let (counts, rest) = self.counts.split_at_checked(sums.len()).unwrap_or_default();
                self.counts = rest;
                counts
            }
            Some(rows) => {
                // Counting takes about as long as the sums.
                let counts = counted.get_mut(..sums.len()).unwrap_or_default();
                for to in counts.iter_mut() {
                    *to = (rows.next_minus_count() as u16).to_le_bytes();
                }
                counts
            }
        };
        let (pairs, lone) = sums.as_chunks_mut::<2>();
        if !pairs.is_empty() && counts.len() >= 2 * pairs.len() {
            self.next.counts = counts.as_ptr().cast();
            self.next.sums = pairs.as_mut_ptr().cast();
            self.next.pairs = pairs.len() as u32;
            // SAFETY: `new` saw to whole blocks at a multiple of 4, and to the masks of all rows, which
            // no caller exceeds. There are counts and room for all pairs.
            unsafe { lanes::pairs(&mut self.next) };
        }
        if let ([sum], Some(minus)) = (lone, counts.last()) {
            *sum = self.lone() - 128 * i32::from(u16::from_le_bytes(*minus));
        }
    }

    /// What a last row without a partner adds up to, block by block beside one that keeps nothing;
    /// 128 too much for each kept minus.
    fn lone(&self) -> i32 {
        const BLOCKS: usize = 4;
        let words = self.next.words as usize;
        let masks = self.masks.len().checked_sub(words).and_then(|first| self.masks.get(first..));
        let masks = masks.unwrap_or_default();
        let mut index = self.end;
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
                sums: sums.as_mut_ptr(),
                pairs: 1,
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

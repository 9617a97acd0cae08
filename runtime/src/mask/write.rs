//! Making mask sections, on the host. The mask here is what a trainer sees: a bit a weight,
//! row-major `[rows][inputs]`, without padding.

use alloc::vec::Vec;
use core::fmt;

use bitvec::prelude::*;

use super::{Encoding, LayerWeights, MAX_RICE_PARAMETER, MaskError, positions, rice};
use crate::layer::{Source, Weights};
use crate::random::{Generator, Stream, WORD, bit_of};

/// Why a mask cannot be written in an encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// The mask has not one bit a weight.
    Bits {
        /// Bits found.
        found: usize,
        /// Bits expected.
        expected: usize,
    },
    /// [`Encoding::Full`] or [`Encoding::Seeded`] for a mask that is another one.
    OtherMask,
    /// A parameter that no reader takes.
    Parameter(MaskError),
    /// An encoding with signs of its own for weights that are not ±1 from the seed.
    Source {
        /// The source found.
        found: Source,
    },
    /// A distance of more than 255 in `row` with no masked weight to bridge it.
    Unbridgeable {
        /// The row.
        row: u32,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Bits { found, expected } => {
                write!(f, "mask of {found} bits; expected {expected}")
            }
            EncodeError::Parameter(error) => error.fmt(f),
            EncodeError::OtherMask => write!(f, "the mask is not the one that the encoding means"),
            EncodeError::Source { found } => {
                write!(f, "a mask that knows signs over {found:?}; expected SeededSigns")
            }
            EncodeError::Unbridgeable { row } => {
                write!(f, "row {row} has a gap of more than 255 that no masked weight can bridge")
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// The section of `bits` in `encoding`, for a layer whose generator words begin at `first`.
///
/// # Errors
/// Where this encoding cannot express this mask.
pub fn encode(
    encoding: Encoding,
    bits: &BitSlice,
    weights: Weights,
    seed: u64,
    first: u32,
) -> Result<Vec<u8>, EncodeError> {
    let expected = weights.len() as usize;
    if bits.len() != expected {
        return Err(EncodeError::Bits { found: bits.len(), expected });
    }
    match encoding {
        Encoding::Full if bits.all() => Ok(Vec::new()),
        Encoding::Full => Err(EncodeError::OtherMask),
        Encoding::Raw => Ok(raw(bits, weights)),
        Encoding::CountedRaw | Encoding::SignedGaps | Encoding::SignedPositions { .. }
            if weights.source != Source::SeededSigns =>
        {
            Err(EncodeError::Source { found: weights.source })
        }
        Encoding::CountedRaw => Ok(counted_raw(bits, weights, seed, first)),
        Encoding::RiceGaps { parameter: found } if found > MAX_RICE_PARAMETER => {
            Err(EncodeError::Parameter(MaskError::Parameter { found }))
        }
        Encoding::RiceGaps { parameter } => Ok(rice(bits, parameter)),
        Encoding::Seeded { density: 0 } => Err(EncodeError::Parameter(MaskError::ZeroDensity)),
        Encoding::SignedGaps => signed_gaps(bits, weights, seed, first),
        Encoding::SignedPositions { base } => {
            Ok(signed_positions(bits, weights, seed, first, base))
        }
        Encoding::Seeded { .. } => {
            let drawn = decode(&LayerWeights {
                weights: Weights { source: Source::SeededSigns, ..weights },
                seed,
                first,
                encoding,
                bytes: &[],
                stored: &[],
            });
            if drawn == bits { Ok(Vec::new()) } else { Err(EncodeError::OtherMask) }
        }
    }
}

/// The mask of a checked layer: which weights its task keeps.
pub fn decode(layer: &LayerWeights) -> BitVec {
    let inputs = layer.weights.inputs as usize;
    let mut bits = bitvec![0; layer.weights.len() as usize];
    let mut rows = layer.rows();
    for kept in bits.chunks_mut(inputs) {
        let Some(row) = rows.next_row() else { break };
        // An index that a row gives twice is a bridge: it keeps nothing.
        for (index, _) in row {
            let index = index as usize;
            let twice = kept[index];
            kept.set(index, !twice);
        }
    }
    bits
}

/// The encoding that takes the fewest bytes, and its section.
///
/// # Panics
/// Where `bits` has not one bit a weight.
pub fn smallest(bits: &BitSlice, weights: Weights, seed: u64, first: u32) -> (Encoding, Vec<u8>) {
    let candidates = [Encoding::Full, best_rice(bits), Encoding::SignedGaps, Encoding::Raw];
    candidates
        .into_iter()
        .filter_map(|encoding| Some((encoding, encode(encoding, bits, weights, seed, first).ok()?)))
        .min_by_key(|(_, bytes)| bytes.len())
        .expect("raw takes every mask of the layer's size")
}

/// The encoding that runs fastest in a dense layer on Cortex-M4, and its section: below density .4
/// signed positions, or gaps where rows are too long for its routine; words above, counted where signs
/// come from the seed.
///
/// # Panics
/// Where `bits` has not one bit a weight.
pub fn fastest(bits: &BitSlice, weights: Weights, seed: u64, first: u32) -> (Encoding, Vec<u8>) {
    fastest_of_blocks(positions::MOST_BLOCKS, bits, weights, seed, first)
}

/// [`fastest`] where signed positions are quick for rows of up to `most` blocks.
fn fastest_of_blocks(
    most: usize,
    bits: &BitSlice,
    weights: Weights,
    seed: u64,
    first: u32,
) -> (Encoding, Vec<u8>) {
    let sparse = bits.count_ones() * 5 < bits.len() * 2;
    let lists = sparse.then(|| match weights.inputs as usize > positions::BLOCK * most {
        true => Encoding::SignedGaps,
        false => best_positions(bits, weights),
    });
    [Encoding::Full]
        .into_iter()
        .chain(lists)
        .chain([Encoding::CountedRaw, Encoding::Raw])
        .find_map(|encoding| Some((encoding, encode(encoding, bits, weights, seed, first).ok()?)))
        .expect("raw takes every mask of the layer's size")
}

/// The encoding that runs fastest in a convolution on Cortex-M4, and its section: below density ⅛ signed
/// positions, or gaps where rows are too long for these. Above it is not worth their bytes: what two
/// rows share is found in words.
///
/// # Panics
/// Where `bits` has not one bit a weight.
pub fn fastest_in_convolutions(
    bits: &BitSlice,
    weights: Weights,
    seed: u64,
    first: u32,
) -> (Encoding, Vec<u8>) {
    if bits.count_ones() * 8 < bits.len() && weights.source == Source::SeededSigns {
        fastest_of_blocks(1, bits, weights, seed, first)
    } else {
        smallest(bits, weights, seed, first)
    }
}

/// Rice gaps with the parameter that takes the fewest bytes.
fn best_rice(bits: &BitSlice) -> Encoding {
    let code_bits = |parameter: u8| -> u64 {
        gaps(bits).map(|gap| (gap >> parameter) as u64 + 1 + u64::from(parameter)).sum()
    };
    let parameter = (0..=MAX_RICE_PARAMETER).min_by_key(|parameter| code_bits(*parameter));
    Encoding::RiceGaps { parameter: parameter.unwrap_or(0) }
}

/// Signed positions with the base that takes the fewest bytes.
fn best_positions(bits: &BitSlice, weights: Weights) -> Encoding {
    let mut blocks = [0_u32; 1 + positions::BLOCK];
    let rows = bits.chunks(weights.inputs as usize);
    for block in rows.flat_map(|row| row.chunks(positions::BLOCK)) {
        blocks[block.count_ones()] += 1;
    }
    let halves = |base: u8| -> u32 {
        blocks.iter().skip(base.into()).take(positions::ELSEWHERE.into()).sum()
    };
    let base = (0..positions::BLOCK as u8).rev().max_by_key(|base| halves(*base));
    Encoding::SignedPositions { base: base.unwrap_or(0) }
}

/// Masked weights before each kept one.
fn gaps(bits: &BitSlice) -> impl Iterator<Item = usize> {
    let mut next = 0;
    bits.iter_ones().map(move |flat| {
        let gap = flat - next;
        next = flat + 1;
        gap
    })
}

fn raw(bits: &BitSlice, weights: Weights) -> Vec<u8> {
    let (inputs, words) = (weights.inputs as usize, weights.words());
    let mut section = alloc::vec![0_u32; weights.rows as usize * words as usize];
    for (row, kept) in bits.chunks(inputs).enumerate() {
        for index in kept.iter_ones() {
            let word = (index / WORD) as u32;
            let at = super::row::raw_index(weights.rows, words, row as u32, word);
            section[at as usize] |= 1 << bit_of(index % WORD);
        }
    }
    section.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn counted_raw(bits: &BitSlice, weights: Weights, seed: u64, first: u32) -> Vec<u8> {
    let words = raw(bits, weights);
    let encoding = Encoding::Raw;
    let layer = LayerWeights { weights, seed, first, encoding, bytes: &words, stored: &[] };
    let mut rows = layer.rows();
    let mut counts = Vec::new();
    while let Some(row) = rows.next_row() {
        let minus = row.filter(|(_, weight)| *weight < 0).count();
        counts.extend((minus as u16).to_le_bytes());
    }
    [words, counts].concat()
}

fn rice(bits: &BitSlice, parameter: u8) -> Vec<u8> {
    let count = bits.count_ones() as u32;
    let mut stream = BitVec::<u8, Lsb0>::new();
    for gap in gaps(bits) {
        stream.resize(stream.len() + (gap >> parameter), false);
        stream.push(true);
        stream.extend((0..parameter).map(|bit| gap >> bit & 1 == 1));
    }
    stream.set_uninitialized(false);
    let mut section = Vec::with_capacity(rice::HEADER + stream.len() / 8 + 1);
    section.extend(count.to_le_bytes());
    section.extend(stream.into_vec());
    section
}

fn signed_gaps(
    bits: &BitSlice,
    weights: Weights,
    seed: u64,
    first: u32,
) -> Result<Vec<u8>, EncodeError> {
    let (inputs, words) = (weights.inputs as usize, weights.words());
    let signs = Generator::new(seed, Stream::Signs);
    let mut section = Vec::new();
    for (row, kept) in (0..).zip(bits.chunks(inputs)) {
        let signs = signs.row(first, row, words);
        let minus =
            |index: usize| signs.word((index / WORD) as u32) >> bit_of(index % WORD) & 1 == 1;
        let bridges = bridges(kept, minus).ok_or(EncodeError::Unbridgeable { row })?;
        let list = |sign: bool| -> Vec<u8> {
            let mut indices: Vec<usize> =
                kept.iter_ones().filter(|index| minus(*index) == sign).collect();
            indices.extend(&bridges);
            indices.sort_unstable();
            let mut previous = -1;
            indices
                .into_iter()
                .map(|index| {
                    let gap = index as i64 - previous;
                    previous = index as i64;
                    gap as u8
                })
                .collect()
        };
        let lists = [list(false), list(true)];
        if lists.iter().map(Vec::len).sum::<usize>() > inputs {
            return Err(EncodeError::Unbridgeable { row });
        }
        for list in &lists {
            section.extend((list.len() as u16).to_le_bytes());
        }
        for list in &lists {
            section.extend(list);
            section.resize(section.len().next_multiple_of(4), 0);
        }
    }
    section.extend([0; super::gaps::END]);
    Ok(section)
}

fn signed_positions(bits: &BitSlice, weights: Weights, seed: u64, first: u32, base: u8) -> Vec<u8> {
    const GROUP: usize = positions::GROUP;
    let signs = Generator::new(seed, Stream::Signs);
    let (mut counts, mut lists, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    for (row, kept) in (0..).zip(bits.chunks(weights.inputs as usize)) {
        let signs = signs.row(first, row, weights.words());
        lists.extend(kept.iter_ones().map(|index| {
            let minus = signs.word((index / WORD) as u32) >> bit_of(index % WORD) & 1;
            (index % positions::BLOCK) as u8 | (minus as u8) << 7
        }));
        counts.extend(kept.chunks(positions::BLOCK).map(|block| block.count_ones() as u8));
    }
    let mut halves = alloc::vec![0_u8; GROUP / 2 * counts.len().div_ceil(GROUP)];
    for (block, count) in counts.into_iter().enumerate() {
        let half = match count.checked_sub(base) {
            Some(half) if half < positions::ELSEWHERE => half,
            _ => {
                elsewhere.push(count);
                positions::ELSEWHERE
            }
        };
        let (group, block) = (block / GROUP, block % GROUP);
        halves[group * GROUP / 2 + block % 4] |= half << (block / 4 * 4);
    }
    elsewhere.reverse();
    [halves, lists, elsewhere].concat()
}

/// Masked weights of a row that stand in both lists, so that no distance in either is beyond 255;
/// `None` where there is no masked weight within reach.
fn bridges(kept: &BitSlice, minus: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    const REACH: i64 = 255;
    let mut bridges = Vec::new();
    // Where the plus list and the minus list stand.
    let mut at = [-1_i64; 2];
    for index in kept.iter_ones() {
        let list = usize::from(minus(index));
        while index as i64 - at[list] > REACH {
            // A bridge stands in both lists, so the one that is behind must reach it too.
            let behind = at[0].min(at[1]);
            let (nearest, farthest) = ((behind + 1) as usize, (behind + REACH) as usize);
            let bridge = (nearest..=farthest).rev().find(|index| !kept[*index])?;
            bridges.push(bridge);
            at = at.map(|at| at.max(bridge as i64));
        }
        at[list] = index as i64;
    }
    Some(bridges)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 7;
    const FIRST: u32 = 1000;

    /// A mask with each bit set with probability `density`/2¹⁶.
    fn random_mask(weights: Weights, density: u32, channel: u16) -> BitVec {
        let random = Generator::new(SEED, Stream::Host(channel));
        (0..weights.len() as u32).map(|flat| random.word(flat) >> 16 < density).collect()
    }

    fn layer(weights: Weights, encoding: Encoding, bytes: &[u8]) -> LayerWeights<'_> {
        LayerWeights { weights, seed: SEED, first: FIRST, encoding, bytes, stored: &[] }
    }

    fn signed(rows: u32, inputs: u32) -> Weights {
        Weights { rows, inputs, source: Source::SeededSigns }
    }

    /// All weights of a layer, row-major.
    fn dense(layer: &LayerWeights) -> Vec<i32> {
        let mut all = Vec::new();
        let mut rows = layer.rows();
        while let Some(row) = rows.next_row() {
            let start = all.len();
            all.resize(start + layer.weights.inputs as usize, 0);
            row.for_each(|(index, weight)| all[start + index as usize] += weight);
        }
        all
    }

    #[test]
    fn every_encoding_gives_the_mask_back_and_the_same_weights() {
        let shapes = [(1, 1), (2, 31), (3, 32), (5, 33), (4, 288), (7, 1000), (1, 2000)];
        for (rows, inputs) in shapes {
            for density in [0, 50, 655, 6554, 32768, 60000, 65536] {
                let weights = signed(rows, inputs);
                let mask = random_mask(weights, density, 1);
                let mut plain = None;
                for encoding in [
                    Encoding::Raw,
                    Encoding::CountedRaw,
                    Encoding::RiceGaps { parameter: 0 },
                    Encoding::RiceGaps { parameter: 3 },
                    Encoding::RiceGaps { parameter: 15 },
                    Encoding::SignedGaps,
                    Encoding::SignedPositions { base: 0 },
                    Encoding::SignedPositions { base: 9 },
                    Encoding::Full,
                ] {
                    let bytes = match encode(encoding, &mask, weights, SEED, FIRST) {
                        Ok(bytes) => bytes,
                        Err(EncodeError::OtherMask) if !mask.all() => continue,
                        Err(error) => panic!("{encoding:?} at {density}: {error}"),
                    };
                    let layer = layer(weights, encoding, &bytes);
                    layer.check().unwrap();
                    assert_eq!(decode(&layer), mask, "{encoding:?} {rows}x{inputs} {density}");
                    let found = dense(&layer);
                    assert_eq!(&found, plain.get_or_insert_with(|| found.clone()));
                }
            }
        }
    }

    #[test]
    fn rice_is_within_three_percent_of_the_entropy() {
        let weights = signed(256, 784);
        for density in [0.01, 0.02, 0.05, 0.1, 0.15] {
            let mask = random_mask(weights, (density * 65536.0) as u32, 2);
            let (encoding, bytes) = smallest(&mask, weights, SEED, FIRST);
            assert!(matches!(encoding, Encoding::RiceGaps { .. }), "{encoding:?}");
            let p = mask.count_ones() as f64 / mask.len() as f64;
            let entropy = -p * p.log2() - (1.0 - p) * (1.0 - p).log2();
            let bits = 8.0 * bytes.len() as f64 / mask.len() as f64;
            assert!(bits < 1.03 * entropy, "{bits} bits a weight at {p}, entropy {entropy}");
        }
    }

    #[test]
    fn sections_that_are_cut_longer_or_flipped_are_refused_or_another_mask() {
        let weights = signed(5, 37);
        let mask = random_mask(weights, 16000, 3);
        for encoding in [
            Encoding::Raw,
            Encoding::CountedRaw,
            Encoding::RiceGaps { parameter: 1 },
            Encoding::SignedGaps,
            Encoding::SignedPositions { base: 7 },
        ] {
            let bytes = encode(encoding, &mask, weights, SEED, FIRST).unwrap();
            for end in 0..bytes.len() {
                assert!(layer(weights, encoding, &bytes[..end]).check().is_err(), "{encoding:?}");
            }
            let longer = [&bytes[..], &[0]].concat();
            let error = layer(weights, encoding, &longer).check().unwrap_err();
            assert!(matches!(error, MaskError::Length { .. }), "{encoding:?}: {error}");
            for bit in 0..8 * bytes.len() {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let layer = layer(weights, encoding, &flipped);
                // What is not refused still stays inside of its rows: `dense` indexes by it.
                let _ = layer.check().map(|()| dense(&layer));
            }
        }
    }

    #[test]
    fn unchecked_bytes_give_rows_without_a_panic() {
        let random = Generator::new(SEED, Stream::Host(4));
        let noise: Vec<u8> = (0..4000).map(|index| random.word(index) as u8).collect();
        for encoding in [
            Encoding::Raw,
            Encoding::RiceGaps { parameter: 200 },
            Encoding::SignedGaps,
            Encoding::SignedPositions { base: 250 },
        ] {
            for start in 0..200 {
                let layer = layer(signed(9, 70), encoding, &noise[start..]);
                assert!(layer.check().is_err());
                let mut rows = layer.rows();
                while let Some(row) = rows.next_row() {
                    assert!(row.count() <= 4000);
                }
            }
        }
    }

    #[test]
    fn seeded_masks_have_their_density() {
        for density in [1, 26, 128, 255] {
            let weights = signed(64, 1000);
            let encoding = Encoding::Seeded { density };
            let mask = decode(&layer(weights, encoding, &[]));
            let expected = f64::from(density) / 256.0;
            let found = mask.count_ones() as f64 / mask.len() as f64;
            let deviation = (expected * (1.0 - expected) / mask.len() as f64).sqrt();
            assert!((found - expected).abs() < 5.0 * deviation, "{found} for {expected}");
            assert_eq!(encode(encoding, &mask, weights, SEED, FIRST), Ok(Vec::new()));
        }
    }

    #[test]
    fn stored_weights_and_magnitudes_follow_their_source() {
        let stored: Vec<u8> = (0..=255).collect();
        let weights = Weights { rows: 4, inputs: 64, source: Source::StoredInt8 };
        let full = LayerWeights { stored: &stored, ..layer(weights, Encoding::Full, &[]) };
        full.check().unwrap();
        let expected: Vec<i32> = stored.iter().map(|byte| i32::from(*byte as i8)).collect();
        assert_eq!(dense(&full), expected);

        let weights = Weights { rows: 64, inputs: 500, source: Source::SeededMagnitudes };
        let seeded = dense(&layer(weights, Encoding::Full, &[]));
        let signs = dense(&layer(signed(64, 500), Encoding::Full, &[]));
        assert!(seeded.iter().zip(&signs).all(|(weight, sign)| weight.signum() == *sign));
        for (magnitude, expected) in [(1, 16000.0), (2, 8000.0), (4, 8000.0)] {
            let found = seeded.iter().filter(|weight| weight.abs() == magnitude).count();
            assert!((found as f64 - expected).abs() < 400.0, "{found} of {magnitude}");
        }
    }
}

//! Is the generator good enough for weights? Sign matrices as layers use them, measured against
//! what independent fair coins give.
//!
//! Correlations are in units of their standard deviation: the dot product of two sign vectors of
//! length `n` over `√n`. The largest of `m` such numbers is about `√(2·ln m)`.

use std::collections::BTreeSet;

use seedmask::random::{Generator, Stream};

/// How much to draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Seconds.
    Test,
    /// A minute or so.
    Report,
}

/// One number and what it may be.
#[derive(Clone, Debug)]
pub struct Measure {
    /// What was measured, and over how much.
    pub name: String,
    /// What was found.
    pub found: f64,
    /// What independent coins give, but for one time in ten thousand or less.
    pub range: [f64; 2],
}

impl Measure {
    /// Whether it is what independent coins give.
    pub fn passes(&self) -> bool {
        (self.range[0]..=self.range[1]).contains(&self.found)
    }
}

/// A sign matrix: `words` words a row.
struct Matrix {
    rows: Vec<Vec<u32>>,
}

const ROWS: u32 = 128;
const WORDS: u32 = 25;
const COLUMNS: usize = 32 * WORDS as usize;

impl Matrix {
    /// As a layer draws it: neighbouring rows share their words.
    fn new(seed: u64, stream: Stream, first: u32) -> Self {
        let generator = Generator::new(seed, stream);
        let row = |row| {
            let words = generator.row(first, row, WORDS);
            (0..WORDS).map(|word| words.word(word)).collect()
        };
        Self { rows: (0..ROWS).map(row).collect() }
    }

    fn sign(&self, row: usize, column: usize) -> f32 {
        let bit = self.rows[row][column / 32] >> (column % 32) & 1;
        1.0 - 2.0 * bit as f32
    }

    fn transposed(&self) -> Self {
        let column = |column: usize| {
            let mut words = vec![0; self.rows.len() / 32];
            for (row, from) in self.rows.iter().enumerate() {
                words[row / 32] |= (from[column / 32] >> (column % 32) & 1) << (row % 32);
            }
            words
        };
        Self { rows: (0..COLUMNS).map(column).collect() }
    }

    /// The largest singular value over `√rows + √columns`, which a random matrix comes close to.
    fn largest_singular_value(&self) -> f64 {
        let rows = self.rows.len();
        let dense: Vec<f32> = (0..rows)
            .flat_map(|row| (0..COLUMNS).map(move |column| self.sign(row, column)))
            .collect();
        let mut left: Vec<f32> = (0..rows).map(|row| (row * 7919 % 101) as f32 - 50.0).collect();
        let mut value = 0.0;
        for _ in 0..60 {
            let norm = left.iter().map(|x| x * x).sum::<f32>().sqrt();
            left.iter_mut().for_each(|x| *x /= norm);
            let mut right = vec![0.0_f32; COLUMNS];
            for (row, scale) in dense.chunks(COLUMNS).zip(&left) {
                right.iter_mut().zip(row).for_each(|(sum, sign)| *sum += scale * sign);
            }
            value = right.iter().map(|x| x * x).sum::<f32>().sqrt();
            for (row, out) in dense.chunks(COLUMNS).zip(&mut left) {
                *out = row.iter().zip(&right).map(|(sign, x)| sign * x).sum();
            }
        }
        f64::from(value) / ((rows as f64).sqrt() + (COLUMNS as f64).sqrt())
    }
}

/// Correlations as they come in.
#[derive(Default)]
struct Correlations {
    count: f64,
    squares: f64,
    largest: f64,
}

impl Correlations {
    fn add(&mut self, a: &[u32], b: &[u32]) {
        let differ: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
        let length = 32.0 * a.len() as f64;
        self.add_deviation((length - 2.0 * f64::from(differ)) / length.sqrt());
    }

    fn add_deviation(&mut self, deviation: f64) {
        self.count += 1.0;
        self.squares += deviation * deviation;
        self.largest = self.largest.max(deviation.abs());
    }

    /// All rows of one matrix with all of another, or with each other.
    fn add_pairs(&mut self, a: &Matrix, b: Option<&Matrix>) {
        for (index, row) in a.rows.iter().enumerate() {
            let others = b.map_or(&a.rows[..index], |b| &b.rows[..]);
            others.iter().for_each(|other| self.add(row, other));
        }
    }

    fn measures(&self, name: &str) -> [Measure; 2] {
        // Rows that share words repeat correlations of their neighbours: half are independent.
        let spread = 5.0 * (2.0 / (self.count / 2.0)).sqrt();
        [
            Measure {
                name: format!("{name}: largest of {}", self.count),
                found: self.largest,
                range: [0.0, (2.0 * (self.count / 1e-4).ln()).sqrt()],
            },
            Measure {
                name: format!("{name}: variance"),
                found: self.squares / self.count,
                range: [1.0 - spread, 1.0 + spread],
            },
        ]
    }
}

/// Seeds as people choose them, and a few that differ in high bits.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| if n % 4 == 3 { n << 32 | n } else { n })
}

/// Every measure, in the order of the report.
pub fn measure(effort: Effort) -> Vec<Measure> {
    let count = match effort {
        Effort::Test => 6,
        Effort::Report => 96,
    };
    let mut measures = Vec::new();
    measures.extend(bias(count).measures("bias of a bit"));
    measures.extend(rows(count).measures("rows of a layer"));
    measures.extend(shared_words(count).measures("rows that share words"));
    measures.extend(columns(count / 6).measures("columns of a layer"));
    measures.extend(layers(count).measures("rows of two layers"));
    measures.extend(neighbouring_seeds(count).measures("rows of neighbouring seeds"));
    measures.extend(streams(count).measures("streams at equal indices"));
    measures.extend(steps(count).measures("index steps of a power of two"));
    measures.extend(avalanche(count).measures("flips of a seed bit"));
    measures.push(singular_value(count));
    measures.push(collisions(count));
    measures
}

fn bias(count: u64) -> Correlations {
    let mut all = Correlations::default();
    for seed in seeds(count) {
        let generator = Generator::new(seed, Stream::Signs);
        let words = 1 << 16;
        let mut ones = [0_u32; 32];
        for word in (0..words).map(|index| generator.word(index)) {
            ones.iter_mut().enumerate().for_each(|(bit, sum)| *sum += word >> bit & 1);
        }
        let words = f64::from(words);
        ones.iter()
            .for_each(|&ones| all.add_deviation((2.0 * f64::from(ones) - words) / words.sqrt()));
    }
    all
}

fn rows(count: u64) -> Correlations {
    let mut all = Correlations::default();
    seeds(count).for_each(|seed| all.add_pairs(&Matrix::new(seed, Stream::Signs, 0), None));
    all
}

fn shared_words(count: u64) -> Correlations {
    let mut all = Correlations::default();
    for seed in seeds(10 * count) {
        let matrix = Matrix::new(seed, Stream::Signs, 0);
        matrix.rows.chunks(2).for_each(|pair| all.add(&pair[0], &pair[1]));
    }
    all
}

fn columns(count: u64) -> Correlations {
    let mut all = Correlations::default();
    for seed in seeds(count) {
        all.add_pairs(&Matrix::new(seed, Stream::Signs, 0).transposed(), None);
    }
    all
}

fn layers(count: u64) -> Correlations {
    let mut all = Correlations::default();
    for seed in seeds(count) {
        let [first, second] = [0, ROWS / 2 * WORDS].map(|f| Matrix::new(seed, Stream::Signs, f));
        all.add_pairs(&first, Some(&second));
    }
    all
}

fn neighbouring_seeds(count: u64) -> Correlations {
    let mut all = Correlations::default();
    for seed in seeds(count) {
        let here = Matrix::new(seed, Stream::Signs, 0);
        for other in [seed + 1, seed ^ 1 << 32, seed ^ 1 << 63] {
            all.add_pairs(&here, Some(&Matrix::new(other, Stream::Signs, 0)));
        }
    }
    all
}

fn streams(count: u64) -> Correlations {
    let named = [Stream::Signs, Stream::MagnitudeHigh, Stream::MagnitudeLow];
    let planes = (0..8).map(Stream::MaskPlane);
    let streams: Vec<Stream> =
        named.into_iter().chain(planes).chain((0..4).map(Stream::Host)).collect();
    let mut all = Correlations::default();
    for seed in seeds(count) {
        let drawn: Vec<Vec<u32>> = streams
            .iter()
            .map(|stream| Generator::new(seed, *stream))
            .map(|generator| (0..8192).map(|index| generator.word(index)).collect())
            .collect();
        for (index, stream) in drawn.iter().enumerate() {
            drawn[..index].iter().for_each(|other| all.add(stream, other));
        }
    }
    all
}

/// Whether each bit of a word differs from that of the word a power of two further on half of the
/// time. Indices of a backbone stay below 2²⁴.
fn steps(count: u64) -> Correlations {
    const WORDS: u32 = 1 << 14;
    let mut all = Correlations::default();
    for seed in seeds(count) {
        let generator = Generator::new(seed, Stream::Signs);
        for step in (0..24).map(|power| 1 << power) {
            let mut differ = [0_u32; 32];
            // Each index once: no word is compared twice.
            for index in (0..WORDS).map(|n| n / step * 2 * step + n % step) {
                let change = generator.word(index) ^ generator.word(index + step);
                differ.iter_mut().enumerate().for_each(|(bit, sum)| *sum += change >> bit & 1);
            }
            let words = f64::from(WORDS);
            differ
                .iter()
                .for_each(|&n| all.add_deviation((2.0 * f64::from(n) - words) / words.sqrt()));
        }
    }
    all
}

fn avalanche(count: u64) -> Correlations {
    let mut all = Correlations::default();
    for bit in 0..64 {
        let word = |seed| Generator::new(seed, Stream::Signs).word(77);
        let (here, there): (Vec<u32>, Vec<u32>) =
            (0..200 * count).map(|seed| (word(seed), word(seed ^ 1 << bit))).unzip();
        all.add(&here, &there);
    }
    all
}

fn singular_value(count: u64) -> Measure {
    let values =
        seeds(count).map(|seed| Matrix::new(seed, Stream::Signs, 0).largest_singular_value());
    Measure {
        name: format!("largest singular value of {count} matrices"),
        found: values.fold(0.0, f64::max),
        range: [0.95, 1.04],
    }
}

/// A stream is a permutation of its indices, so no word comes twice; between two streams words meet
/// as often as by chance.
fn collisions(count: u64) -> Measure {
    let words = 1 << 16;
    let mut shared = 0;
    for seed in seeds(count) {
        let draw = |stream| {
            let generator = Generator::new(seed, stream);
            (0..words).map(move |index| generator.word(index))
        };
        let signs: BTreeSet<u32> = draw(Stream::Signs).collect();
        shared += draw(Stream::MagnitudeHigh).filter(|word| signs.contains(word)).count();
    }
    let expected = count as f64 * f64::from(words) * f64::from(words) / 2_f64.powi(32);
    Measure {
        name: format!("words in two streams of {words}, {count} seeds"),
        found: shared as f64,
        range: [0.0, expected + 5.0 * expected.sqrt() + 2.0],
    }
}

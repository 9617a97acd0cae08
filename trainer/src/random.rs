//! The trainer's own random numbers: for initial scores, the order of images, augmentation.
//!
//! Counter-based, so that a resumed training needs no generator state: the numbers of an epoch or
//! an image are found from its index. They come from the runtime's generator, which is frozen, in
//! its host channels, which no artifact uses.

use seedmask::random::{Generator, Stream as Words};

/// What a stream is for: streams of one seed and different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Initial scores or weights of a layer.
    Initial = 1,
    /// The order of the images of an epoch.
    Order = 2,
    /// The variation of an image.
    Augment = 3,
    /// Made-up data of tests and benchmarks.
    Synthetic = 4,
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Stream {
    generator: Generator,
    next: u32,
}

impl Stream {
    /// The stream for `purpose` under `seed`; `index` tells apart layers, epochs or images.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        // The generator hashes its seed, so neighbouring sums are as good as any.
        let seed = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { generator: Generator::new(seed, Words::Host(purpose as u16)), next: 0 }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        let word = self.generator.word(self.next);
        self.next = self.next.wrapping_add(1);
        word
    }

    /// A number in [0, 1), a multiple of 2⁻²⁴.
    pub fn unit(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// A number in [-bound, bound).
    pub fn symmetric(&mut self, bound: f32) -> f32 {
        (self.unit() * 2.0 - 1.0) * bound
    }

    /// A number below `limit`, which is at least 1 (multiply and shift: biased by at most `limit`/2³²).
    pub fn below(&mut self, limit: usize) -> usize {
        ((u64::from(self.next_u32()) * limit as u64) >> 32) as usize
    }

    /// A normally distributed number: mean 0, variance 1 (twelve uniform numbers summed, so that
    /// no library's logarithm decides the bits).
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    /// The numbers below `count` in random order (Fisher–Yates).
    pub fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut order = Stream::new(7, Purpose::Order, 3).permutation(1000);
        assert_ne!(order[..5], [0, 1, 2, 3, 4]);
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(index, &value)| index == value as usize));
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_index() {
        let first = |seed, purpose, index| Stream::new(seed, purpose, index).next_u32();
        let all = [
            first(1, Purpose::Order, 0),
            first(2, Purpose::Order, 0),
            first(1, Purpose::Augment, 0),
            first(1, Purpose::Order, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = Stream::new(1, Purpose::Initial, 0);
        let values: Vec<f32> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert!((0..1000).all(|_| stream.below(3) < 3));
    }
}

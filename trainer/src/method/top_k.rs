//! The largest `k` of many numbers, exactly `k`, ties by index: the same set on every machine.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

/// Which scores are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ranking {
    /// Those of largest magnitude (Ramanujan 2020).
    #[default]
    Magnitude,
    /// Those of largest value.
    Value,
}

impl Ranking {
    /// An integer that orders as the ranking does.
    #[inline(always)]
    fn key(self, score: f32) -> u32 {
        let bits = score.to_bits();
        match self {
            Ranking::Magnitude => bits & 0x7fff_ffff,
            // Negative numbers order backwards and below the positive ones.
            Ranking::Value => bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000),
        }
    }
}

thread_local! {
    /// A thread's counters, which outlive a step.
    static COUNTS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// How many of `count` weights a density keeps: at least 1.
pub fn kept(density: f32, count: usize) -> usize {
    ((f64::from(density) * count as f64).round() as usize).clamp(1.min(count), count)
}

/// Calls `visit(index, kept)` for every score in order; exactly `k` are kept.
pub fn select(ranking: Ranking, scores: &[f32], k: usize, mut visit: impl FnMut(usize, bool)) {
    let (threshold, mut ties) = threshold(ranking, scores, k);
    for (index, &score) in scores.iter().enumerate() {
        let key = ranking.key(score);
        let tie = key == threshold && ties > 0;
        ties -= usize::from(tie);
        visit(index, key > threshold || tie);
    }
}

/// The `k`-th largest key and how many scores of that key are kept. Two counting passes, over the
/// upper and the lower half of the keys' bits.
fn threshold(ranking: Ranking, scores: &[f32], k: usize) -> (u32, usize) {
    if k == 0 {
        return (u32::MAX, 0);
    }
    COUNTS.with_borrow_mut(|counts| {
        counts.clear();
        counts.resize(1 << 16, 0);
        for &score in scores {
            counts[(ranking.key(score) >> 16) as usize] += 1;
        }
        let (upper, remaining) = descend(counts, k);
        counts.fill(0);
        for &score in scores {
            let key = ranking.key(score);
            if key >> 16 == upper {
                counts[(key & 0xffff) as usize] += 1;
            }
        }
        let (lower, ties) = descend(counts, remaining);
        (upper << 16 | lower, ties)
    })
}

/// The bin, from the top, in which the `k`-th number lies, and its place within that bin.
fn descend(counts: &[u32], k: usize) -> (u32, usize) {
    let mut remaining = k;
    for (bin, &count) in counts.iter().enumerate().rev() {
        if remaining <= count as usize {
            return (bin as u32, remaining);
        }
        remaining -= count as usize;
    }
    (0, remaining)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    fn mask(ranking: Ranking, scores: &[f32], k: usize) -> Vec<bool> {
        let mut mask = vec![];
        select(ranking, scores, k, |_, kept| mask.push(kept));
        mask
    }

    #[test]
    fn agrees_with_sorting() {
        let mut stream = Stream::new(3, Purpose::Synthetic, 0);
        let scores: Vec<f32> =
            (0..500).map(|_| (stream.symmetric(1.0) * 40.0).round() / 40.0).collect();
        for ranking in [Ranking::Magnitude, Ranking::Value] {
            let rank = |i: usize| match ranking {
                Ranking::Magnitude => scores[i].abs(),
                Ranking::Value => scores[i] + 0.0,
            };
            let mut order: Vec<usize> = (0..500).collect();
            order.sort_by(|&a, &b| rank(b).total_cmp(&rank(a)).then(a.cmp(&b)));
            for k in [0, 1, 7, 250, 499, 500] {
                let mut expected = vec![false; 500];
                order[..k].iter().for_each(|&i| expected[i] = true);
                let found = mask(ranking, &scores.iter().map(|s| s + 0.0).collect::<Vec<_>>(), k);
                assert_eq!(found, expected, "{ranking:?} {k}");
            }
        }
    }

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(mask(Ranking::Magnitude, &[1.0, -1.0, 1.0], 2), [true, true, false]);
    }

    #[test]
    fn densities_round_and_keep_something() {
        assert_eq!([kept(0.5, 5), kept(0.001, 10), kept(1.0, 7), kept(0.3, 0)], [3, 1, 7, 0]);
    }
}

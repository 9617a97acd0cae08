//! Variations of the training images: shifts and horizontal flips.

use crate::random::{Purpose, Stream};

/// Which variations are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Augmentation {
    /// Largest shift in pixels, up, down, left or right; what moves in is 0.
    pub shift: usize,
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
}

impl Augmentation {
    /// Writes a variation of `image` (`[channel][row][column]`, `height` × `width`) to `output`.
    /// The same `seed`, `epoch` and `index` give the same variation.
    pub fn apply(
        self,
        image: &[u8],
        output: &mut [u8],
        [height, width]: [usize; 2],
        seed: u64,
        epoch: u64,
        index: u32,
    ) {
        let mut stream = Stream::new(seed, Purpose::Augment, (epoch << 32) | u64::from(index));
        let span = 2 * self.shift + 1;
        let down = stream.below(span) as isize - self.shift as isize;
        let right = stream.below(span) as isize - self.shift as isize;
        let mirrored = self.flip && stream.below(2) == 1;
        let planes = image.chunks_exact(height * width);
        for (source, target) in planes.zip(output.chunks_exact_mut(height * width)) {
            for y in 0..height {
                let row = &mut target[y * width..][..width];
                let from_y = y as isize - down;
                if from_y < 0 || from_y >= height as isize {
                    row.fill(0);
                    continue;
                }
                let from = &source[from_y as usize * width..][..width];
                for (x, value) in row.iter_mut().enumerate() {
                    let from_x = x as isize - right;
                    *value = match usize::try_from(from_x) {
                        Ok(from_x) if from_x < width => {
                            from[if mirrored { width - 1 - from_x } else { from_x }]
                        }
                        _ => 0,
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

    fn variations(augmentation: Augmentation) -> Vec<[u8; 9]> {
        let vary = |index| {
            let mut output = [0; 9];
            augmentation.apply(&IMAGE, &mut output, [3, 3], 1, 0, index);
            output
        };
        let mut found: Vec<_> = (0..200).map(vary).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn nothing_asked_is_nothing_done() {
        assert_eq!(variations(Augmentation::default()), [IMAGE]);
    }

    #[test]
    fn a_flip_gives_the_image_or_its_mirror() {
        let both = variations(Augmentation { shift: 0, flip: true });
        assert_eq!(both, [IMAGE, [3, 2, 1, 6, 5, 4, 9, 8, 7]]);
    }

    #[test]
    fn shifts_reach_every_offset_and_fill_with_zero() {
        let all = variations(Augmentation { shift: 1, flip: false });
        assert_eq!(all.len(), 9);
        assert!(all.contains(&[0, 0, 0, 0, 1, 2, 0, 4, 5]), "one down, one right");
        assert!(all.contains(&[5, 6, 0, 8, 9, 0, 0, 0, 0]), "one up, one left");
    }
}

//! The images that a firmware carries, in one small file, little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 2 | number of images |
//! | 2 | bytes of each |
//! | 2 each | index of the task that the image belongs to, and its label |
//! | the rest | the images, seven bits a byte: the network's input as it is |

/// Bytes before the labels.
const HEADER: usize = 4;

/// A view of such a file.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// Task and label of each image.
    labels: &'a [u8],
    /// The images one after another.
    pixels: &'a [u8],
    /// Bytes of an image, at least 1.
    size: usize,
}

/// One of the images.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// Index of the task that it belongs to.
    pub task: u8,
    /// The class that it shows.
    pub label: u8,
    /// The network's input.
    pub pixels: &'a [u8],
}

impl<'a> Images<'a> {
    /// Reads the header; `None` where the length is not what the header says.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[a, b, c, d], rest) = bytes.split_first_chunk::<HEADER>()?;
        let count = usize::from(u16::from_le_bytes([a, b]));
        let size = usize::from(u16::from_le_bytes([c, d]));
        let (labels, pixels) = rest.split_at_checked(2 * count)?;
        (size > 0 && pixels.len() == count * size).then_some(Self { labels, pixels, size })
    }

    /// Number of images.
    pub fn count(self) -> usize {
        self.labels.len() / 2
    }

    /// The images in their order.
    pub fn iter(self) -> impl Iterator<Item = Image<'a>> {
        let (labels, _) = self.labels.as_chunks::<2>();
        labels
            .iter()
            .zip(self.pixels.chunks_exact(self.size))
            .map(|(&[task, label], pixels)| Image { task, label, pixels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_the_table_says() {
        let images = Images::parse(&[2, 0, 3, 0, 0, 7, 1, 9, 1, 2, 3, 4, 5, 6]).unwrap();
        let mut all = images.iter().map(|image| (image.task, image.label, image.pixels));
        assert_eq!(images.count(), 2);
        assert_eq!(all.next(), Some((0, 7, &[1, 2, 3][..])));
        assert_eq!(all.next(), Some((1, 9, &[4, 5, 6][..])));
        assert_eq!(all.next(), None);
    }

    #[test]
    fn a_length_that_differs_is_refused() {
        assert!(Images::parse(&[2, 0, 3]).is_none());
        assert!(Images::parse(&[1, 0, 3, 0, 0, 7, 1, 2]).is_none());
        assert!(Images::parse(&[1, 0, 3, 0, 0, 7, 1, 2, 3, 4]).is_none());
        assert!(Images::parse(&[0, 0, 0, 0]).is_none());
    }
}

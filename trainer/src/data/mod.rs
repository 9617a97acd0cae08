//! Images to learn from: where they lie, how they are read, how they are varied.
//!
//! `catalog` names the data sets; `locate` finds their folders in one of the `places`; `idx` reads the
//! files; `fetch` downloads them; `augment` varies the training images.

pub mod augment;
pub mod catalog;
pub mod fashion_mnist;
pub mod fetch;
pub mod idx;
pub mod locate;
pub mod mnist;
pub mod places;

use std::path::PathBuf;

pub use catalog::{load, names};
pub use idx::IdxError;
pub use locate::Place;

/// The part of a data set that is learned from, or the part that is only ever tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Training images.
    Train,
    /// Test images.
    Test,
}

/// Labelled images of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Channels of an image.
    pub channels: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Device bytes 0..=127 (camera byte >> 1), image after image, each `[channel][row][column]`.
    pub pixels: Vec<u8>,
    /// The class of each image, below `classes.len()`.
    pub labels: Vec<u8>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The device bytes of image `index`. Panics when there is no such image.
    pub fn image(&self, index: usize) -> &[u8] {
        let length = self.image_len();
        &self.pixels[index * length..][..length]
    }

    /// The images `range`, copied.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Images {
        let length = self.image_len();
        Images {
            pixels: self.pixels[range.start * length..range.end * length].to_vec(),
            labels: self.labels[range].to_vec(),
            classes: self.classes.clone(),
            ..*self
        }
    }
}

/// Why images could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// No data set has this name.
    #[error("unknown data set `{found}`; known: {}", known.join(", "))]
    UnknownName {
        /// The name asked for.
        found: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// The files are nowhere.
    #[error(
        "data set `{name}`: {} (or .gz) are not together in any of:\n{}\n{how}",
        files.join(", "),
        places.iter().map(|place| format!("  {place}")).collect::<Vec<_>>().join("\n")
    )]
    Missing {
        /// The data set.
        name: &'static str,
        /// The files looked for.
        files: Vec<&'static str>,
        /// Every folder looked at.
        places: Vec<Place>,
        /// How to get the data.
        how: String,
    },
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be read, or is no IDX file as expected.
    #[error("{}: {source}", path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdxError,
    },
    /// The files are another data set's.
    #[error(
        "{}: labels of {found}, but the data set `{name}` is {expected}; name the folder that \
         holds it, or another data set", path.display()
    )]
    OtherSet {
        /// The file of labels.
        path: PathBuf,
        /// The data set asked for.
        name: &'static str,
        /// The folder's name of the set that the labels belong to.
        found: &'static str,
        /// The folder's name of the set that was asked for.
        expected: &'static str,
    },
    /// Images and labels differ in number.
    #[error("{}: {images} images, but {labels} labels", path.display())]
    CountMismatch {
        /// The file of images.
        path: PathBuf,
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// Images of another size than the data set's.
    #[error("{}: images of {found:?}, expected {expected:?}", path.display())]
    WrongImageSize {
        /// The file.
        path: PathBuf,
        /// Rows and columns found.
        found: [usize; 2],
        /// Rows and columns expected.
        expected: [usize; 2],
    },
    /// A label beyond the classes.
    #[error("{}: label {found} at {index}, expected one below {classes}", path.display())]
    WrongLabel {
        /// The file.
        path: PathBuf,
        /// The label found.
        found: u8,
        /// Where.
        index: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A download failed.
    #[error("{url}: {reason}")]
    Download {
        /// What was asked for.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// A downloaded file is not the published one.
    #[error("{url}: sha256 of the expanded contents is {found}, expected {expected}")]
    WrongChecksum {
        /// What was asked for.
        url: String,
        /// The checksum found.
        found: String,
        /// The checksum expected.
        expected: String,
    },
}

//! The data sets by name, and how to load one.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{DataError, Images, Split, fashion_mnist, idx, locate, mnist};

/// A file of a data set.
#[derive(Debug, Clone, Copy)]
pub struct SourceFile {
    /// Its name without `.gz`.
    pub name: &'static str,
    /// SHA-256 of its expanded contents, which outlive any recompression.
    pub sha256: &'static str,
}

/// A data set of two IDX files a split.
#[derive(Debug, Clone, Copy)]
pub struct IdxSet {
    /// Its folder's name wherever data sets lie.
    pub folder: &'static str,
    /// The address that its gzip files are downloaded from, with a trailing slash.
    pub home: &'static str,
    /// The Debian package that brings it.
    pub package: Option<&'static str>,
    /// Images to learn from.
    pub train_images: SourceFile,
    /// Their labels.
    pub train_labels: SourceFile,
    /// Images to test on.
    pub test_images: SourceFile,
    /// Their labels.
    pub test_labels: SourceFile,
    /// SHA-256 of the labels, to train and to test, of the sample in `tests/data`.
    pub sample_labels: [&'static str; 2],
    /// Rows and columns of an image.
    pub size: [usize; 2],
    /// Names of the classes, in the order of the labels.
    pub classes: &'static [&'static str],
}

impl IdxSet {
    /// The four files.
    pub fn files(&self) -> [SourceFile; 4] {
        [self.train_images, self.train_labels, self.test_images, self.test_labels]
    }

    /// Whether labels with this SHA-256 are known to be of this set.
    fn has_labels(&self, sha256: &str) -> bool {
        [self.train_labels.sha256, self.test_labels.sha256].contains(&sha256)
            || self.sample_labels.contains(&sha256)
    }
}

/// What is done to every image of a set to make another task of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// The images as they are.
    AsIs,
    /// Turned by 90° clockwise.
    Rotated,
}

/// A name that recipes use.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// The files behind it.
    pub set: &'static IdxSet,
    /// What is done to the images.
    pub derivation: Derivation,
}

/// Every data set that can be loaded.
pub const ENTRIES: &[Entry] = &[
    Entry { name: "clothes", set: &fashion_mnist::SET, derivation: Derivation::AsIs },
    Entry { name: "clothes-rotated", set: &fashion_mnist::SET, derivation: Derivation::Rotated },
    Entry { name: "digits", set: &mnist::SET, derivation: Derivation::AsIs },
];

/// The names, in the order of the catalog.
pub fn names() -> Vec<&'static str> {
    ENTRIES.iter().map(|entry| entry.name).collect()
}

/// The entry called `name`.
///
/// # Errors
/// [`DataError::UnknownName`].
pub fn entry(name: &str) -> Result<&'static Entry, DataError> {
    ENTRIES
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| DataError::UnknownName { found: name.to_owned(), known: names() })
}

/// Loads one split of the data set `name`; `folder` is the folder that the user named, if any.
///
/// # Errors
/// Every variant of [`DataError`] but those of downloads.
pub fn load(name: &str, split: Split, folder: Option<&Path>) -> Result<Images, DataError> {
    let entry = entry(name)?;
    let found = locate::find(entry, folder)?;
    load_from(entry, split, &found)
}

/// Loads one split of `entry` from the folder that holds its files.
///
/// # Errors
/// As [`load`].
pub fn load_from(entry: &Entry, split: Split, folder: &Path) -> Result<Images, DataError> {
    let set = entry.set;
    let (images, labels) = match split {
        Split::Train => (set.train_images, set.train_labels),
        Split::Test => (set.test_images, set.test_labels),
    };
    let images_path = idx::existing(folder, images.name);
    let labels_path = idx::existing(folder, labels.name);
    let read = |path: &Path, rank| {
        idx::read(path, rank).map_err(|source| DataError::Idx { path: path.to_owned(), source })
    };
    let images = read(&images_path, 3)?;
    let labels = read(&labels_path, 1)?;
    let found = [images.dimensions[1], images.dimensions[2]];
    if found != set.size {
        return Err(DataError::WrongImageSize { path: images_path, found, expected: set.size });
    }
    if images.dimensions[0] != labels.dimensions[0] {
        return Err(DataError::CountMismatch {
            path: images_path,
            images: images.dimensions[0],
            labels: labels.dimensions[0],
        });
    }
    check_set(entry, &labels_path, &idx::to_bytes(&labels))?;
    let classes = set.classes.len();
    if let Some(index) = labels.values.iter().position(|&label| label as usize >= classes) {
        let found = labels.values[index];
        return Err(DataError::WrongLabel { path: labels_path, found, index, classes });
    }
    let mut pixels = images.values;
    pixels.iter_mut().for_each(|pixel| *pixel >>= 1);
    let [height, width] = set.size;
    if entry.derivation == Derivation::Rotated {
        pixels.chunks_exact_mut(height * width).for_each(|image| rotate(image, height));
    }
    Ok(Images {
        channels: 1,
        height,
        width,
        pixels,
        labels: labels.values,
        classes: set.classes.iter().map(|class| class.to_string()).collect(),
    })
}

/// Refuses labels that are known to be another set's: names, sizes and classes of files can be the
/// same in several sets, and a folder can be named by mistake.
fn check_set(entry: &Entry, path: &Path, labels: &[u8]) -> Result<(), DataError> {
    let hash = Sha256::digest(labels).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let other = ENTRIES.iter().map(|other| other.set).find(|set| set.has_labels(&hash));
    match other {
        Some(found) if found.folder != entry.set.folder => Err(DataError::OtherSet {
            path: path.to_owned(),
            name: entry.name,
            found: found.folder,
            expected: entry.set.folder,
        }),
        _ => Ok(()),
    }
}

/// Turns a square image by 90° clockwise.
fn rotate(image: &mut [u8], side: usize) {
    let before = image.to_vec();
    for y in 0..side {
        for x in 0..side {
            image[x * side + (side - 1 - y)] = before[y * side + x];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::idx::{IdxArray, to_bytes};

    fn write(folder: &Path, name: &str, dimensions: Vec<usize>, value: u8) {
        let values = vec![value; dimensions.iter().product()];
        std::fs::write(folder.join(name), to_bytes(&IdxArray { dimensions, values })).unwrap();
    }

    #[test]
    fn the_top_row_goes_to_the_right() {
        let mut image = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        rotate(&mut image, 3);
        assert_eq!(image, [7, 4, 1, 8, 5, 2, 9, 6, 3]);
    }

    #[test]
    fn camera_bytes_are_shifted_and_counts_checked() {
        let folder = tempfile::tempdir().unwrap();
        let set = fashion_mnist::SET;
        write(folder.path(), set.test_images.name, vec![3, 28, 28], 255);
        write(folder.path(), set.test_labels.name, vec![3], 9);
        let load = || load_from(entry("clothes").unwrap(), Split::Test, folder.path());
        let images = load().unwrap();
        assert_eq!((images.len(), images.image(2)[0]), (3, 127));
        write(folder.path(), set.test_labels.name, vec![4], 9);
        let error = load().unwrap_err();
        assert!(matches!(error, DataError::CountMismatch { images: 3, labels: 4, .. }));
        write(folder.path(), set.test_labels.name, vec![3], 10);
        let error = load().unwrap_err();
        assert!(matches!(error, DataError::WrongLabel { found: 10, index: 0, .. }));
    }

    #[test]
    fn the_shipped_sample_loads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        for name in names() {
            for split in [Split::Train, Split::Test] {
                let images = load(name, split, Some(&folder)).unwrap();
                assert!(images.len() >= 200, "{name} {split:?}");
                assert!(images.pixels.iter().all(|&pixel| pixel < 128));
            }
        }
    }

    #[test]
    fn files_of_another_set_are_refused_by_name() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        for (name, folder, expected) in [
            ("clothes", "mnist", "fashion-mnist"),
            ("clothes-rotated", "mnist", "fashion-mnist"),
            ("digits", "fashion-mnist", "mnist"),
        ] {
            for split in [Split::Train, Split::Test] {
                let error = load(name, split, Some(&sample.join(folder))).unwrap_err();
                let DataError::OtherSet { found, expected: wanted, .. } = error else {
                    panic!("{name} {split:?}: {error}")
                };
                assert_eq!((found, wanted), (folder, expected), "{name} {split:?}");
            }
        }
        let official = mnist::SET.test_labels.sha256;
        assert!(mnist::SET.has_labels(official) && !fashion_mnist::SET.has_labels(official));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = load("cats", Split::Test, None).unwrap_err().to_string();
        assert!(message.contains("`cats`") && message.contains("clothes, clothes-rotated, digits"));
    }
}

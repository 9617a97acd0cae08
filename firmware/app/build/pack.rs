//! From a data set's files to the file of images that a firmware carries (`src/images.rs`).

use std::{io, path::Path};

// The trainer's reader.
use crate::idx;

/// The first `count` test images of the data set in `folder`, with their labels: seven bits a
/// pixel. A missing or malformed file is an error that names it.
pub fn test_images(folder: &Path, count: usize) -> io::Result<Vec<(u8, Vec<u8>)>> {
    let read = |name, rank| {
        let path = idx::existing(folder, name);
        let fault = |error| invalid(format!("{}: {error}", path.display()));
        idx::read(&path, rank).map_err(fault)
    };
    let [_, _, images, labels] = idx::FILES;
    let (pixels, labels) = (read(images, 3)?, read(labels, 1)?);
    let size: usize = pixels.dimensions.iter().skip(1).product();
    let images: Vec<_> = labels
        .values
        .iter()
        .zip(pixels.values.chunks_exact(size.max(1)))
        .take(count)
        .map(|(&label, image)| (label, image.iter().map(|pixel| pixel >> 1).collect()))
        .collect();
    if images.len() < count {
        let found = images.len();
        let text = format!("{}: {found} images found, {count} expected", folder.display());
        return Err(invalid(text));
    }
    Ok(images)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The file of images: those of the first task, then those of the second, and so on.
///
/// # Panics
/// When the images differ in size, or there are more than 65,535.
pub fn pack(tasks: &[Vec<(u8, Vec<u8>)>]) -> Vec<u8> {
    let all =
        || (0u8..).zip(tasks).flat_map(|(task, images)| images.iter().map(move |i| (task, i)));
    let size = all().next().map_or(1, |(_, (_, pixels))| pixels.len());
    let mut bytes = Vec::new();
    for number in [all().count(), size] {
        bytes.extend(u16::try_from(number).expect("fits the header").to_le_bytes());
    }
    for (task, (label, _)) in all() {
        bytes.extend([task, *label]);
    }
    for (_, (_, pixels)) in all() {
        assert_eq!(pixels.len(), size, "images of one size");
        bytes.extend(pixels);
    }
    bytes
}

//! From IDX files, plain or gzipped, to the file of images that a firmware carries
//! (`src/images.rs`).

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

/// The first `count` test images of the data set in `folder`, with their labels: seven bits a
/// pixel. A missing or malformed file is an error that names it.
pub fn test_images(folder: &Path, count: usize) -> io::Result<Vec<(u8, Vec<u8>)>> {
    let (shape, pixels) = read(&find(folder, "t10k-images-idx3-ubyte")?)?;
    let (_, labels) = read(&find(folder, "t10k-labels-idx1-ubyte")?)?;
    let size: usize = shape.iter().skip(1).product();
    let images: Vec<_> = labels
        .iter()
        .zip(pixels.chunks_exact(size.max(1)))
        .take(count)
        .map(|(&label, image)| (label, image.iter().map(|pixel| pixel >> 1).collect()))
        .collect();
    if images.len() < count {
        let found = images.len();
        let text = format!("{}: {found} images found, {count} expected", folder.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(images)
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

/// The file `name` in `folder`, gzipped or not.
fn find(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let plain = folder.join(name);
    let gzipped = folder.join(format!("{name}.gz"));
    if gzipped.is_file() {
        Ok(gzipped)
    } else if plain.is_file() {
        Ok(plain)
    } else {
        let text = format!("{} or {} not found", plain.display(), gzipped.display());
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}

/// Shape and bytes of an IDX file of `u8`.
fn read(path: &Path) -> io::Result<(Vec<usize>, Vec<u8>)> {
    let bad = |text: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {text}", path.display()))
    };
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.read_to_end(&mut bytes)?;
    }
    let (&[0, 0, 8, dimensions], mut rest) =
        bytes.split_first_chunk::<4>().ok_or_else(|| bad("shorter than a header".to_owned()))?
    else {
        return Err(bad(format!("magic {:?} found, [0, 0, 8, _] expected", &bytes[..4])));
    };
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let (size, tail) =
            rest.split_first_chunk().ok_or_else(|| bad("shorter than its shape".to_owned()))?;
        shape.push(u32::from_be_bytes(*size) as usize);
        rest = tail;
    }
    let expected = shape.iter().product::<usize>();
    if rest.len() != expected {
        return Err(bad(format!("{} bytes of data found, {expected} expected", rest.len())));
    }
    Ok((shape, rest.to_vec()))
}

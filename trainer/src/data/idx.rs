//! IDX files: big-endian, two zero bytes, a type code, the number of dimensions, then one 32-bit
//! size per dimension, then the values. Plain or gzip-compressed, told apart by their first bytes.
//!
//! Needs `flate2` and nothing else of this crate: the firmware's build script and the repository's chores
//! read with it too.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// No data set that we read is larger once expanded: a gzip bomb stops here.
pub const MAX_EXPANDED_BYTES: usize = 1 << 30;

/// The type code of unsigned bytes.
const UNSIGNED_BYTE: u8 = 0x08;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The files of a data set in MNIST's form: images and labels to train, images and labels to test.
pub const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// An IDX array of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// Size of each dimension, outermost first.
    pub dimensions: Vec<usize>,
    /// The values, row-major; their number is the product of `dimensions`.
    pub values: Vec<u8>,
}

/// Why a file gives no array.
#[derive(Debug)]
#[non_exhaustive]
pub enum IdxError {
    /// It could not be read.
    Io(io::Error),
    /// Its gzip stream is damaged or ends early.
    Gzip(io::Error),
    /// More than [`MAX_EXPANDED_BYTES`] once expanded.
    TooLarge,
    /// Not the type or number of dimensions expected.
    WrongMagic {
        /// The four bytes found.
        found: u32,
        /// The four bytes expected.
        expected: u32,
    },
    /// It ends within its header.
    Truncated {
        /// Bytes of the header.
        needed: usize,
        /// Bytes found.
        found: usize,
    },
    /// The sizes in the header do not multiply to the bytes that follow.
    WrongLength {
        /// Sizes in the header.
        dimensions: Vec<usize>,
        /// Bytes after the header.
        found: usize,
    },
}

impl fmt::Display for IdxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Gzip(error) => write!(f, "damaged or truncated gzip: {error}"),
            Self::TooLarge => write!(f, "more than {MAX_EXPANDED_BYTES} bytes once expanded"),
            Self::WrongMagic { found, expected } => {
                write!(f, "IDX magic {found:#010x}, expected {expected:#010x}")
            }
            Self::Truncated { needed, found } => {
                write!(f, "{found} bytes, but the IDX header needs {needed}")
            }
            Self::WrongLength { dimensions, found } => {
                write!(f, "sizes {dimensions:?} in the header, but {found} bytes follow")
            }
        }
    }
}

impl Error for IdxError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) | Self::Gzip(error) => Some(error),
            _ => None,
        }
    }
}

/// The file `name` in `folder` where it is there, else its gzip form (there or not).
pub fn existing(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    if plain.is_file() { plain } else { folder.join(format!("{name}.gz")) }
}

/// Reads an IDX file of bytes with exactly `rank` dimensions.
///
/// # Errors
/// [`IdxError`].
pub fn read(path: &Path, rank: usize) -> Result<IdxArray, IdxError> {
    let mut stored = Vec::new();
    let file = File::open(path).map_err(IdxError::Io)?;
    file.take(LIMIT).read_to_end(&mut stored).map_err(IdxError::Io)?;
    parse(expand(stored)?, rank)
}

/// One byte more than is allowed.
const LIMIT: u64 = MAX_EXPANDED_BYTES as u64 + 1;

/// The contents of a file: of its gzip stream, where it is one.
fn expand(stored: Vec<u8>) -> Result<Vec<u8>, IdxError> {
    let bytes = if stored.starts_with(&GZIP_MAGIC) {
        let mut expanded = Vec::new();
        let mut decoder = MultiGzDecoder::new(stored.as_slice()).take(LIMIT);
        decoder.read_to_end(&mut expanded).map_err(IdxError::Gzip)?;
        expanded
    } else {
        stored
    };
    if bytes.len() > MAX_EXPANDED_BYTES { Err(IdxError::TooLarge) } else { Ok(bytes) }
}

/// Takes the bytes of an expanded IDX file apart. Nothing is allocated on the word of the header: the values
/// are the bytes that are there.
fn parse(mut bytes: Vec<u8>, rank: usize) -> Result<IdxArray, IdxError> {
    let header = 4 + 4 * rank;
    let expected = u32::from_be_bytes([0, 0, UNSIGNED_BYTE, rank as u8]);
    let found = match bytes.first_chunk::<4>() {
        Some(magic) => u32::from_be_bytes(*magic),
        None => return Err(IdxError::Truncated { needed: header, found: bytes.len() }),
    };
    if found != expected {
        return Err(IdxError::WrongMagic { found, expected });
    }
    if bytes.len() < header {
        return Err(IdxError::Truncated { needed: header, found: bytes.len() });
    }
    let dimensions: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let expected = dimensions.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let found = bytes.len() - header;
    if expected != Some(found) {
        return Err(IdxError::WrongLength { dimensions, found });
    }
    bytes.drain(..header);
    Ok(IdxArray { dimensions, values: bytes })
}

/// Writes `array` as the bytes of an IDX file, uncompressed.
pub fn to_bytes(array: &IdxArray) -> Vec<u8> {
    let mut bytes = vec![0, 0, UNSIGNED_BYTE, array.dimensions.len() as u8];
    for &size in &array.dimensions {
        bytes.extend((size as u32).to_be_bytes());
    }
    bytes.extend(&array.values);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn sample() -> IdxArray {
        IdxArray { dimensions: vec![3, 2], values: vec![1, 2, 3, 4, 5, 6] }
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(parse(to_bytes(&sample()), 2).unwrap(), sample());
    }

    #[test]
    fn a_wrong_magic_names_found_and_expected() {
        let error = parse(to_bytes(&sample()), 3).unwrap_err();
        assert!(matches!(error, IdxError::WrongMagic { found: 0x802, expected: 0x803 }));
        assert_eq!(error.to_string(), "IDX magic 0x00000802, expected 0x00000803");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = to_bytes(&sample());
        for length in 0..bytes.len() {
            assert!(parse(bytes[..length].to_vec(), 2).is_err(), "length {length}");
        }
    }

    #[test]
    fn sizes_that_overflow_are_an_error() {
        let mut bytes = vec![0, 0, UNSIGNED_BYTE, 3];
        bytes.extend([0xff; 12]);
        assert!(matches!(parse(bytes, 3), Err(IdxError::WrongLength { .. })));
    }

    #[test]
    fn gzip_is_expanded_and_a_truncated_one_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&to_bytes(&sample())).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(expand(packed.clone()).unwrap(), to_bytes(&sample()));
        assert_eq!(expand(to_bytes(&sample())).unwrap(), to_bytes(&sample()));
        let truncated = packed[..packed.len() - 5].to_vec();
        assert!(matches!(expand(truncated), Err(IdxError::Gzip(_))));
    }
}

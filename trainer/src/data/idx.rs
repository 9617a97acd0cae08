//! IDX files: big-endian, two zero bytes, a type code, the number of dimensions, then one 32-bit
//! size per dimension, then the values. Plain or gzip-compressed, told apart by their first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::DataError;

/// No data set that we read is larger once expanded: a gzip bomb stops here.
pub const MAX_EXPANDED_BYTES: usize = 1 << 30;

/// The type code of unsigned bytes.
const UNSIGNED_BYTE: u8 = 0x08;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An IDX array of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// Size of each dimension, outermost first.
    pub dimensions: Vec<usize>,
    /// The values, row-major; their number is the product of `dimensions`.
    pub values: Vec<u8>,
}

/// Reads the file and expands it where it is gzip-compressed.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Gzip`] (damaged or truncated), [`DataError::TooLarge`].
pub fn read_expanded(path: &Path) -> Result<Vec<u8>, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let mut stored = Vec::new();
    let limit = MAX_EXPANDED_BYTES as u64 + 1;
    File::open(path).map_err(io)?.take(limit).read_to_end(&mut stored).map_err(io)?;
    let bytes = if stored.starts_with(&GZIP_MAGIC) {
        let mut expanded = Vec::new();
        MultiGzDecoder::new(stored.as_slice())
            .take(limit)
            .read_to_end(&mut expanded)
            .map_err(|source| DataError::Gzip { path: path.to_owned(), source })?;
        expanded
    } else {
        stored
    };
    if bytes.len() > MAX_EXPANDED_BYTES {
        return Err(DataError::TooLarge { path: path.to_owned(), limit: MAX_EXPANDED_BYTES });
    }
    Ok(bytes)
}

/// Reads an IDX file of bytes with exactly `rank` dimensions.
///
/// # Errors
/// As [`read_expanded`] and [`parse`].
pub fn read(path: &Path, rank: usize) -> Result<IdxArray, DataError> {
    parse(read_expanded(path)?, rank, path)
}

/// Takes the bytes of an expanded IDX file apart; `path` only names the file in errors.
/// Nothing is allocated on the word of the header: the values are the bytes that are there.
///
/// # Errors
/// [`DataError::WrongMagic`], [`DataError::Truncated`], [`DataError::WrongLength`].
pub fn parse(mut bytes: Vec<u8>, rank: usize, path: &Path) -> Result<IdxArray, DataError> {
    let header = 4 + 4 * rank;
    let expected = u32::from_be_bytes([0, 0, UNSIGNED_BYTE, rank as u8]);
    let found = match bytes.first_chunk::<4>() {
        Some(magic) => u32::from_be_bytes(*magic),
        None => {
            return Err(DataError::Truncated {
                path: path.to_owned(),
                needed: header,
                found: bytes.len(),
            });
        }
    };
    if found != expected {
        return Err(DataError::WrongMagic { path: path.to_owned(), found, expected });
    }
    if bytes.len() < header {
        let found = bytes.len();
        return Err(DataError::Truncated { path: path.to_owned(), needed: header, found });
    }
    let dimensions: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let expected = dimensions.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let found = bytes.len() - header;
    if expected != Some(found) {
        return Err(DataError::WrongLength { path: path.to_owned(), dimensions, found });
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

    fn parse_here(bytes: Vec<u8>, rank: usize) -> Result<IdxArray, DataError> {
        parse(bytes, rank, Path::new("here"))
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(parse_here(to_bytes(&sample()), 2).unwrap(), sample());
    }

    #[test]
    fn a_wrong_magic_names_found_and_expected() {
        let error = parse_here(to_bytes(&sample()), 3).unwrap_err();
        assert!(matches!(error, DataError::WrongMagic { found: 0x802, expected: 0x803, .. }));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = to_bytes(&sample());
        for length in 0..bytes.len() {
            assert!(parse_here(bytes[..length].to_vec(), 2).is_err(), "length {length}");
        }
    }

    #[test]
    fn sizes_that_overflow_are_an_error() {
        let mut bytes = vec![0, 0, UNSIGNED_BYTE, 3];
        bytes.extend([0xff; 12]);
        assert!(matches!(parse_here(bytes, 3), Err(DataError::WrongLength { .. })));
    }

    #[test]
    fn gzip_is_expanded_and_a_truncated_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.gz");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&to_bytes(&sample())).unwrap();
        let packed = encoder.finish().unwrap();
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(read(&path, 2).unwrap(), sample());
        std::fs::write(&path, &packed[..packed.len() - 5]).unwrap();
        assert!(matches!(read(&path, 2), Err(DataError::Gzip { .. })));
    }
}

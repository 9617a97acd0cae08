//! Downloads of data sets from their homes into the user's cache. Plain HTTP: the SHA-256 in the
//! catalogue, not the connection, vouches for what arrives.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::DataError;
use super::catalog::{IdxSet, SourceFile};
use super::idx::{MAX_EXPANDED_BYTES, existing};
use crate::replace::replace;

/// Downloads every file of `set` that is not yet in `folder/<set>`, as it comes (gzip), and returns
/// that folder. `progress` is told each file's name before it is fetched. A file appears under its
/// name only when it is complete and its checksum is right.
///
/// # Errors
/// [`DataError::Download`], [`DataError::WrongChecksum`], [`DataError::Io`].
pub fn fetch(
    set: &IdxSet,
    folder: &Path,
    mut progress: impl FnMut(&str),
) -> Result<PathBuf, DataError> {
    let target = folder.join(set.folder);
    let io = |source| DataError::Io { path: target.clone(), source };
    std::fs::create_dir_all(&target).map_err(io)?;
    for file in set.files() {
        let name = format!("{}.gz", file.name);
        if !existing(&target, file.name).is_file() {
            progress(&name);
            fetch_file(&format!("{}{name}", set.home), file, &target.join(&name))?;
        }
    }
    Ok(target)
}

/// Downloads one gzip file to `path`: to a temporary file beside it first, renamed at the end.
fn fetch_file(url: &str, file: SourceFile, path: &Path) -> Result<(), DataError> {
    let failed = |reason: String| DataError::Download { url: url.to_owned(), reason };
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let mut response = ureq::get(url).call().map_err(|error| failed(error.to_string()))?;
    let packed = response
        .body_mut()
        .with_config()
        .limit(MAX_EXPANDED_BYTES as u64)
        .read_to_vec()
        .map_err(|error| failed(error.to_string()))?;
    let found = expanded_sha256(&packed).map_err(|error| failed(error.to_string()))?;
    if found != file.sha256 {
        let expected = file.sha256.to_owned();
        return Err(DataError::WrongChecksum { url: url.to_owned(), found, expected });
    }
    replace(path, &[&packed]).map_err(io)
}

/// SHA-256 of the gzip stream's contents, in lower-case hexadecimal.
fn expanded_sha256(packed: &[u8]) -> std::io::Result<String> {
    let mut decoder = MultiGzDecoder::new(packed).take(MAX_EXPANDED_BYTES as u64);
    let mut hash = Sha256::new();
    let mut block = [0; 1 << 16];
    loop {
        match decoder.read(&mut block)? {
            0 => break,
            count => hash.update(&block[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    use std::net::TcpListener;

    /// Answers one request on the loopback interface with `body`; returns the address.
    fn serve_once(body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        });
        format!("http://{address}/sample.gz")
    }

    fn gzip(contents: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    /// SHA-256 of "abc" (FIPS 180-4, appendix B.1).
    const ABC: SourceFile = SourceFile {
        name: "sample",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    #[test]
    fn a_file_with_the_right_checksum_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.gz");
        fetch_file(&serve_once(gzip(b"abc")), ABC, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), gzip(b"abc"));
    }

    #[test]
    fn a_file_with_a_wrong_checksum_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.gz");
        let error = fetch_file(&serve_once(gzip(b"abd")), ABC, &path).unwrap_err();
        assert!(matches!(error, DataError::WrongChecksum { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_truncated_download_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.gz");
        let mut packed = gzip(b"abc");
        packed.truncate(packed.len() - 4);
        let error = fetch_file(&serve_once(packed), ABC, &path).unwrap_err();
        assert!(matches!(error, DataError::Download { .. }), "{error}");
        assert!(!path.exists());
    }
}

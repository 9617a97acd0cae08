//! Files that are written whole or not at all.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Puts `parts`, one behind the other, at `path`. What was there stays until all bytes are on the
/// disk.
///
/// # Errors
/// Where the folder cannot be written to, or the disk is full.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = beside(path)?;
    for part in parts {
        file.as_file_mut().write_all(part)?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file in the folder of `path` that goes away unless it gets a name. Others may read it then, as
/// the user's mask says.
///
/// # Errors
/// Where the folder is missing or cannot be written to; names the folder.
pub(crate) fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".seedmask-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let folder = folder(path);
    builder.tempfile_in(folder).map_err(|error| {
        // The error itself has the name of the temporary file, which nobody knows.
        let (kind, name) = (error.kind(), folder.display());
        let missing = kind == io::ErrorKind::NotFound && !folder.exists();
        let reason = match missing {
            true => format!("there is no folder {name}"),
            false => format!("no new file in the folder {name}: {kind}"),
        };
        io::Error::new(kind, reason)
    })
}

/// The folder that a file is or will be in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_missing_folder_is_named_and_the_temporary_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = replace(&missing.join("a.smk"), &[b"one"]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), format!("there is no folder {}", missing.display()));
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.smk");
        replace(&path, &[b"one"]).unwrap();
        replace(&path, &[b"tw", b"o"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

//! Where a data set may lie on this computer.

use std::path::{Path, PathBuf};

use super::DataError;
use super::catalog::Entry;

/// The environment variable that names a folder of data sets.
pub const VARIABLE: &str = "SEEDMASK_DATA";

/// The user's cache folder, where downloads go: `$XDG_CACHE_HOME/seedmask` or `~/.cache/seedmask`.
/// `None` where neither variable is set.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("seedmask"))
}

/// The folder that holds the files of `entry`. Looked at, in this order: `folder` (then nothing
/// else), the folder in `SEEDMASK_DATA`, the user's cache, `../shared/data` beside the workspace,
/// `/usr/share/datasets`; in each of them the set's own subfolder, then the folder itself.
///
/// # Errors
/// [`DataError::Missing`] with every place looked at and how to get the data.
pub fn find(entry: &Entry, folder: Option<&Path>) -> Result<PathBuf, DataError> {
    let places = places(entry.set.folder, folder);
    let file = entry.set.test_images.name;
    let holds =
        |place: &&PathBuf| place.join(file).is_file() || place.join(format!("{file}.gz")).is_file();
    if let Some(place) = places.iter().find(holds) {
        return Ok(place.clone());
    }
    let mut how = format!("get it with `seedmask data fetch {}`", entry.name);
    if let Some(package) = entry.set.package {
        how += &format!(" or `apt install {package}`");
    }
    how += &format!(", or name its folder with `--data DIR` or {VARIABLE}");
    Err(DataError::Missing { name: entry.name.to_owned(), file: file.to_owned(), places, how })
}

fn places(set: &str, folder: Option<&Path>) -> Vec<PathBuf> {
    let roots = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => [
            std::env::var_os(VARIABLE).map(PathBuf::from),
            cache_folder(),
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data")),
            Some(PathBuf::from("/usr/share/datasets")),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    roots.into_iter().flat_map(|root| [root.join(set), root]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::catalog;

    #[test]
    fn a_missing_set_names_the_places_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let entry = catalog::entry("clothes").unwrap();
        let message = find(entry, Some(folder.path())).unwrap_err().to_string();
        assert!(message.contains(&*folder.path().join("fashion-mnist").to_string_lossy()));
        assert!(message.contains("seedmask data fetch clothes"));
        assert!(message.contains("apt install dataset-fashion-mnist"));
    }

    #[test]
    fn a_subfolder_of_the_named_folder_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let set = folder.path().join("mnist");
        std::fs::create_dir(&set).unwrap();
        std::fs::write(set.join("t10k-images-idx3-ubyte.gz"), b"").unwrap();
        let entry = catalog::entry("digits").unwrap();
        assert_eq!(find(entry, Some(folder.path())).unwrap(), set);
    }
}

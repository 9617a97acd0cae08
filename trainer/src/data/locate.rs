//! Where a data set lies on this computer.

use std::fmt;
use std::path::{Path, PathBuf};

use super::DataError;
use super::catalog::Entry;
use super::idx::existing;
use super::places::{VARIABLE, places};

/// A folder where a data set was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// The set's files that it does not hold, without `.gz`.
    pub lacks: Vec<&'static str>,
}

impl fmt::Display for Place {
    /// The folder; and what it lacks, where it holds a part of the set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.folder.display())?;
        match self.lacks.len() {
            1..=3 => write!(f, " (lacks {})", self.lacks.join(", ")),
            _ => Ok(()),
        }
    }
}

/// The folder that holds the files of `entry`: the first of its [`places`] that has all of them. Where
/// `folder` is named, it is looked for nowhere else.
///
/// # Errors
/// [`DataError::Missing`] with every place looked at and how to get the data.
pub fn find(entry: &Entry, folder: Option<&Path>) -> Result<PathBuf, DataError> {
    let files = entry.set.files().map(|file| file.name);
    let place = |folder: PathBuf| {
        let lacks = files.into_iter().filter(|file| !existing(&folder, file).is_file()).collect();
        Place { folder, lacks }
    };
    let places: Vec<Place> = places(entry.set.folder, folder).into_iter().map(place).collect();
    if let Some(place) = places.iter().find(|place| place.lacks.is_empty()) {
        return Ok(place.folder.clone());
    }
    let mut how = format!("get it with `seedmask data fetch {}`", entry.name);
    if let Some(package) = entry.set.package {
        how += &format!(" or `apt install {package}`");
    }
    how += &format!(", or name its folder with `--data DIR` or {VARIABLE}");
    Err(DataError::Missing { name: entry.name, files: files.to_vec(), places, how })
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
        let entry = catalog::entry("digits").unwrap();
        for file in entry.set.files() {
            std::fs::write(set.join(format!("{}.gz", file.name)), b"").unwrap();
        }
        assert_eq!(find(entry, Some(folder.path())).unwrap(), set);
    }

    #[test]
    fn half_a_set_is_not_found_and_what_it_lacks_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let entry = catalog::entry("digits").unwrap();
        for name in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let message = find(entry, Some(folder.path())).unwrap_err().to_string();
        let lacks = "(lacks train-images-idx3-ubyte, train-labels-idx1-ubyte)";
        assert!(message.contains(lacks), "{message}");
        assert_eq!(message.matches("lacks").count(), 1, "{message}");
    }
}

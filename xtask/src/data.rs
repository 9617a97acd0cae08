//! Where the demo's data sets lie on this computer: the places that `seedmask` looks at too.

use std::path::PathBuf;

use crate::{idx, places};

/// The folder of Fashion-MNIST, if it is anywhere.
pub fn clothes() -> Option<PathBuf> {
    find("fashion-mnist")
}

/// The folder of MNIST, if it is anywhere.
pub fn digits() -> Option<PathBuf> {
    find("mnist")
}

/// The first folder of this name that holds a whole data set. One of another name may hold another.
fn find(name: &str) -> Option<PathBuf> {
    let whole =
        |folder: &PathBuf| idx::FILES.iter().all(|file| idx::existing(folder, file).is_file());
    let places = places::places(name, None).into_iter();
    places.filter(|folder| folder.ends_with(name)).find(whole)
}

//! Where the demo's data sets lie on this computer: the places that `seedmask` looks at too.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::paths;

/// The folder of Fashion-MNIST, if it is anywhere.
pub fn clothes() -> Option<PathBuf> {
    find("fashion-mnist")
}

/// The folder of MNIST, if it is anywhere.
pub fn digits() -> Option<PathBuf> {
    find("mnist")
}

/// `SEEDMASK_DATA`, the user's cache, `../shared/data`, Debian's packages; in that order.
fn find(name: &str) -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let roots = [
        env::var_os("SEEDMASK_DATA").map(PathBuf::from),
        cache.map(|cache| cache.join("seedmask")),
        Some(paths::root().join("../shared/data")),
        Some(PathBuf::from("/usr/share/datasets")),
    ];
    roots.into_iter().flatten().map(|root| root.join(name)).find(|folder| holds_test_images(folder))
}

fn holds_test_images(folder: &Path) -> bool {
    ["t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte"]
        .iter()
        .any(|file| folder.join(file).is_file())
}

//! The folders of this computer where data sets may lie. Needs nothing else of this crate: the repository's
//! chores look there too.

use std::env;
use std::path::{Path, PathBuf};

/// The environment variable that names a folder of data sets.
pub const VARIABLE: &str = "SEEDMASK_DATA";

/// The user's cache folder, where downloads go: `$XDG_CACHE_HOME/seedmask` or `~/.cache/seedmask`.
/// `None` where neither variable is set.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("seedmask"))
}

/// Where the data set whose own folder is called `set` may lie, in the order in which to look: `folder`
/// (then nowhere else), the folder in `SEEDMASK_DATA`, the user's cache, `../shared/data` beside the workspace
/// where there is one, `/usr/share/datasets`; in each of them the set's own subfolder, then the folder itself.
pub fn places(set: &str, folder: Option<&Path>) -> Vec<PathBuf> {
    let roots = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => [
            env::var_os(VARIABLE).map(PathBuf::from),
            cache_folder(),
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"))
                .filter(|folder| folder.is_dir()),
            Some(PathBuf::from("/usr/share/datasets")),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    roots.into_iter().flat_map(|root| [root.join(set), root]).collect()
}

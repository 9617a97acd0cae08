//! Chooses what the firmware carries:
//!
//! | variable | what | default |
//! |---|---|---|
//! | `SEEDMASK_ARTIFACT` | the model | the demo's model of the repository |
//! | `SEEDMASK_IMAGES` | the images (`src/images.rs`) | 100 a task of `tests/data` |
//! | `SEEDMASK_CASES` | a folder of small artifacts for the bin `cases` | none |

#[allow(dead_code, reason = "the trainer uses the rest")]
#[path = "../../trainer/src/data/idx.rs"]
mod idx;
#[path = "build/pack.rs"]
mod pack;

use std::{
    env,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// The model of a plain `cargo run`, seen from the repository's root.
const DEFAULT_ARTIFACT: &str = "trainer/models/demo.smk";

/// The data sets of its tasks, in their order.
const DEFAULT_IMAGES: [&str; 2] = ["tests/data/fashion-mnist", "tests/data/mnist"];

/// How many images of each.
const IMAGES_A_TASK: usize = 100;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/pack.rs");
    println!("cargo:rerun-if-changed=../../trainer/src/data/idx.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));

    let artifact = chosen("SEEDMASK_ARTIFACT").unwrap_or_else(|| root.join(DEFAULT_ARTIFACT));
    hand_over("SEEDMASK_ARTIFACT", &artifact)?;

    let images = match chosen("SEEDMASK_IMAGES") {
        Some(images) => images,
        None => {
            let tasks: io::Result<Vec<_>> = DEFAULT_IMAGES
                .iter()
                .map(|folder| pack::test_images(&root.join(folder), IMAGES_A_TASK))
                .collect();
            let images = out.join("images.bin");
            fs::write(&images, pack::pack(&tasks?))?;
            images
        }
    };
    hand_over("SEEDMASK_IMAGES", &images)?;

    fs::write(out.join("cases.rs"), cases(chosen("SEEDMASK_CASES").as_deref())?)
}

/// The path in an environment variable, which rebuilds the firmware when it changes.
fn chosen(variable: &str) -> Option<PathBuf> {
    println!("cargo:rerun-if-env-changed={variable}");
    env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Passes the path of a file on to the compiler.
fn hand_over(variable: &str, path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path).map_err(|error| {
        io::Error::new(error.kind(), format!("{variable}: {}: {error}", path.display()))
    })?;
    println!("cargo:rerun-if-changed={}", path.display());
    println!("cargo:rustc-env={variable}={}", path.display());
    Ok(())
}

/// The table of cases as Rust: name and bytes of each artifact in `folder`, in the order of names.
fn cases(folder: Option<&Path>) -> io::Result<String> {
    let mut paths = Vec::new();
    if let Some(folder) = folder {
        println!("cargo:rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(folder)? {
            paths.push(fs::canonicalize(entry?.path())?);
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "smk"));
        paths.sort();
    }
    let mut table = String::from("&[\n");
    for path in paths {
        let name = path.file_stem().unwrap_or_default();
        writeln!(table, "    ({name:?}, include_bytes!({path:?})),").expect("a string grows");
    }
    Ok(table + "]\n")
}

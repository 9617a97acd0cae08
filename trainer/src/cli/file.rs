//! Artifacts and recipes on disk: read whole, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use seedmask::artifact::{Model, ParseError, Prologue, Task};

use super::Failure;
use crate::recipe::{Recipe, RecipeError};
use crate::replace::{beside, folder, replace};

/// The largest file that is read: far beyond any microcontroller's flash.
pub const MAX_FILE: u64 = 256 << 20;

/// The bytes of a file, not looked at yet.
pub struct ArtifactFile {
    /// Where they came from.
    pub path: PathBuf,
    /// The whole file.
    pub bytes: Vec<u8>,
}

impl ArtifactFile {
    /// Reads the whole file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = read(path)?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// The fixed bytes that the file begins with.
    pub fn prologue(&self) -> Result<Prologue, Failure> {
        Prologue::parse(&self.bytes).map_err(|error| self.fault(error))
    }

    /// Whether a patch is undamaged, as far as can be told without its backbone.
    pub fn check_whole(&self) -> Result<(), Failure> {
        match Model::parse(&self.bytes) {
            Ok(_) | Err(ParseError::Kind { .. }) => Ok(()),
            Err(error) => Err(self.fault(error)),
        }
    }

    /// The backbone in the file, everything checked.
    pub fn model(&self) -> Result<Model<'_>, Failure> {
        Model::parse(&self.bytes).map_err(|error| self.fault(error))
    }

    /// The task in the file, which is a patch for `model`.
    pub fn patch<'a>(&'a self, model: &Model<'a>) -> Result<Task<'a>, Failure> {
        Task::parse(model, &self.bytes).map_err(|error| match error {
            ParseError::Fingerprint { found, expected } => Failure::Input(format!(
                "{}: a patch for backbone {found:016x}, but this backbone is {expected:016x}; a \
                 patch runs only on the backbone that it was trained on",
                self.path.display()
            )),
            error => self.fault(error),
        })
    }

    fn fault(&self, error: ParseError) -> Failure {
        let remedy = match error {
            ParseError::Magic { .. } => "; expected an artifact, as `seedmask train` makes",
            ParseError::Version { .. } => "; use the release of seedmask that wrote it",
            ParseError::Truncated { .. } | ParseError::Checksum { .. } => "; copy it again",
            ParseError::Kind { found: 1 } => "; name its backbone first",
            _ => "",
        };
        Failure::Input(format!("{}: {error}{remedy}", self.path.display()))
    }
}

/// The bytes of the file at `path`, at most [`MAX_FILE`].
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let fault = |reason: String| Failure::Input(format!("{}: {reason}", path.display()));
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(fault(format!("more than {MAX_FILE} bytes; expected an artifact or an image")));
    }
    Ok(bytes)
}

/// The recipe in the file at `path`.
pub fn recipe(path: &Path) -> Result<Recipe, Failure> {
    Recipe::read(path).map_err(|error| {
        let hint = match &error {
            RecipeError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                meant(path)
            }
            _ => String::new(),
        };
        let error = error.to_string() + &hint;
        let path = path.display().to_string();
        // Some faults name the file already.
        let named = error.starts_with(&path);
        Failure::Input(if named { error } else { format!("{path}: {}", error.trim_end()) })
    })
}

/// Which recipes there are, where there is none at `path`: one of the same name that ends in
/// `.toml`, there or among those that come with Seedmask, or else all of these.
fn meant(path: &Path) -> String {
    let expected = "; expected a recipe, which is a TOML file";
    let shipped = Path::new("trainer/recipes");
    let name = path.with_extension("toml");
    let there = name.file_name().map(|name| shipped.join(name));
    if let Some(found) = [Some(name), there].into_iter().flatten().find(|path| path.is_file()) {
        return format!("{expected}: {} is there", found.display());
    }
    let files = fs::read_dir(shipped).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| file.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    match names.is_empty() {
        true => expected.to_owned(),
        false => format!("{expected}; {} has {}", shipped.display(), names.join(", ")),
    }
}

/// Puts `bytes` at `path`. What was there stays until all bytes are on the disk. A device or pipe
/// is written to as it is.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fault =
        |error: io::Error| Failure::Input(format!("{}: not written: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|data| !data.is_file() && !data.is_dir()) {
        return File::create(path).and_then(|mut file| file.write_all(bytes)).map_err(fault);
    }
    replace(path, &[bytes]).map_err(fault)
}

/// Whether [`write`] could begin to write to `path`.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    let fault = |error: io::Error| Failure::Input(format!("{}: {error}", path.display()));
    match fs::metadata(path) {
        Ok(data) if data.is_dir() => Err(fault(io::ErrorKind::IsADirectory.into())),
        Ok(data) if !data.is_file() => Ok(()),
        _ => beside(path).map(|_| ()).map_err(fault),
    }
}

/// Refuses an output that would replace an input or another output. Every path comes with what it
/// is called in the message; devices and pipes hold nothing that could be lost.
pub fn check_outputs(
    outputs: &[(&str, Option<&Path>)],
    inputs: &[(&str, Option<&Path>)],
) -> Result<(), Failure> {
    let place = |&(name, path): &(&'_ str, Option<&Path>)| Some((name.to_owned(), place(path?)?));
    let mut taken: Vec<(String, PathBuf)> = inputs.iter().filter_map(place).collect();
    for (name, path) in outputs.iter().filter_map(place) {
        if let Some((other, _)) = taken.iter().find(|(_, other)| *other == path) {
            let path = path.display();
            return Err(Failure::Input(format!(
                "{path}: {name} would replace {other}; name another file"
            )));
        }
        taken.push((name, path));
    }
    Ok(())
}

/// Where a file is or will be, whatever way leads there; `None` of what is no file.
fn place(path: &Path) -> Option<PathBuf> {
    match fs::metadata(path) {
        Ok(data) => data.is_file().then(|| fs::canonicalize(path).ok())?,
        Err(_) => Some(fs::canonicalize(folder(path)).ok()?.join(path.file_name()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("a.smk");
        for failure in [read(&path).unwrap_err(), write(&path, b"").unwrap_err()] {
            assert!(failure.to_string().starts_with(&path.display().to_string()), "{failure}");
            assert_eq!(failure.code(), 2);
        }
        assert!(write(folder.path(), b"").is_err());
    }

    #[test]
    fn an_output_is_no_input_and_no_other_output() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.smk"), folder.path().join("b.smk"));
        fs::write(&a, b"one").unwrap();
        let again = folder.path().join(".").join("a.smk");
        let check = |output: &Path, other: Option<&Path>, input: &Path| {
            check_outputs(&[("-o", Some(output)), ("--rest", other)], &[("it", Some(input))])
                .map_err(|failure| failure.to_string())
        };
        check(&b, None, &a).unwrap();
        let message = check(&again, None, &a).unwrap_err();
        assert!(message.contains("a.smk: -o would replace it"), "{message}");
        let message = check(&b, Some(&folder.path().join(".").join("b.smk")), &a).unwrap_err();
        assert!(message.contains("b.smk: --rest would replace -o"), "{message}");
        #[cfg(unix)]
        check(Path::new("/dev/null"), Some(Path::new("/dev/null")), &a).unwrap();
    }
}

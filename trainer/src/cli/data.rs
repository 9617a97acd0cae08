//! `seedmask data`: which data sets there are, and how to get them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::Failure;
use super::output::Output;
use super::table::Table;
use crate::data::catalog::{self, Derivation, Entry};
use crate::data::{DataError, fetch, locate, places};

/// List the data sets, or download one
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Every data set that recipes and commands can name, and where it was found
    List {
        /// Look here only
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Download a data set from its home and check it; one that is there already is kept
    Fetch {
        /// As `seedmask data list` has it
        name: String,
        /// Put it here [default: the user's cache folder]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct Report {
    name: &'static str,
    classes: usize,
    /// Rows and columns of an image.
    size: [usize; 2],
    /// Where its files are, if anywhere.
    folder: Option<PathBuf>,
    home: &'static str,
    debian_package: Option<&'static str>,
    derivation: Option<&'static str>,
}

impl Data {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        match self {
            Data::List { data } => {
                let report = |entry| report(entry, locate::find(entry, data.as_deref()).ok());
                let reports: Vec<Report> = catalog::ENTRIES.iter().map(report).collect();
                output.report(&reports, |reports| text(reports))?;
            }
            Data::Fetch { name, data } => {
                let entry = catalog::entry(name)?;
                let folder = match locate::find(entry, data.as_deref()) {
                    Ok(folder) => folder,
                    Err(_) => download(entry, data.clone())?,
                };
                output.report(&report(entry, Some(folder)), |report| {
                    text(std::slice::from_ref(report))
                })?;
            }
        }
        Ok(())
    }
}

fn download(entry: &Entry, folder: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let folder = folder.or_else(places::cache_folder).ok_or_else(|| {
        Failure::Input("no cache folder: HOME is not set; name a folder with --data".to_owned())
    })?;
    let told = |name: &str| {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("downloading {}{name}\n", entry.set.home),
        );
    };
    fetch::fetch(entry.set, &folder, told).map_err(|error| match error {
        DataError::Download { .. } => {
            Failure::Input(format!("{error}\n{}", by_hand(entry, &folder)))
        }
        error => error.into(),
    })
}

/// What can be done where nothing can be downloaded; `folder` is that of all data sets.
fn by_hand(entry: &Entry, folder: &Path) -> String {
    let files = entry.set.files().map(|file| format!("{}.gz", file.name)).join(", ");
    let folder = folder.join(entry.set.folder);
    let mut text =
        format!("by hand: put {files}, as they are or unpacked, into {}", folder.display());
    if let Some(package) = entry.set.package {
        text += &format!("; or `apt install {package}`");
    }
    text
}

fn report(entry: &Entry, folder: Option<PathBuf>) -> Report {
    Report {
        name: entry.name,
        classes: entry.set.classes.len(),
        size: entry.set.size,
        folder,
        home: entry.set.home,
        debian_package: entry.set.package,
        derivation: match entry.derivation {
            Derivation::AsIs => None,
            Derivation::Rotated => Some("every image turned by 90°"),
        },
    }
}

fn text(reports: &[Report]) -> String {
    let mut table = Table::new(&["name", "classes", "size", "files"], &[0, 3]);
    for report in reports {
        let [rows, columns] = report.size;
        let files = match &report.folder {
            Some(folder) => folder.display().to_string(),
            None => format!("not found; `seedmask data fetch {}`", report.name),
        };
        let note = report.derivation.map(|note| format!(" ({note})")).unwrap_or_default();
        let size = format!("{rows}×{columns}");
        table.row(vec![report.name.to_owned(), report.classes.to_string(), size, files + &note]);
    }
    table.to_string()
}

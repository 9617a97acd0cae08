//! What a linked firmware takes: flash, RAM, and the functions in it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use object::{
    Object, ObjectSymbol, SymbolKind,
    read::elf::{ElfFile32, ProgramHeader},
};

/// Statics that hold content rather than program: what a user brings along.
pub const CONTENT: [&str; 3] = ["SEEDMASK_ARTIFACT", "SEEDMASK_IMAGES", "SEEDMASK_CASES"];

/// A linked program.
pub struct Elf {
    /// Bytes that are loaded into flash: code, constants, initial values.
    pub loaded: u64,
    /// Size of each defined function and static, by its name.
    pub symbols: BTreeMap<String, u64>,
}

impl Elf {
    /// Reads a 32-bit little-endian ELF file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = ElfFile32::<object::LittleEndian>::parse(&*bytes)
            .with_context(|| format!("{} is no 32-bit ELF file", path.display()))?;
        let endian = file.endian();
        let loaded = file
            .elf_program_headers()
            .iter()
            .filter(|header| header.p_type(endian) == object::elf::PT_LOAD)
            .map(|header| u64::from(header.p_filesz(endian)))
            .sum();
        let symbols = file
            .symbols()
            .filter(|symbol| {
                symbol.is_definition()
                    && matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data)
            })
            .filter_map(|symbol| Some((symbol.name().ok()?.to_owned(), symbol.size())))
            .collect();
        Ok(Self { loaded, symbols })
    }

    /// Bytes in flash without the artifact, images and cases that it carries.
    pub fn program(&self) -> u64 {
        let content: u64 = CONTENT.iter().filter_map(|name| self.symbols.get(*name)).sum();
        self.loaded - content
    }

    /// Names, in their order, that contain any of `parts`.
    pub fn matching(&self, parts: &[&str]) -> Vec<&str> {
        self.symbols
            .keys()
            .filter(|name| parts.iter().any(|part| name.contains(part)))
            .map(String::as_str)
            .collect()
    }
}

//! A program's instructions, as far as their timing depends on them.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use capstone::arch::arm::{self, ArmOperandType, ArmReg};
use capstone::prelude::*;
use capstone::{Insn, InsnDetail, RegId};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind};

/// A set of core registers: bit `n` is `r<n>`, with sp, lr and pc as 13, 14 and 15.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers(u16);

impl Registers {
    const PC: Self = Self(1 << 15);

    /// Whether the two sets share a register.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn of(id: RegId) -> Self {
        let id = u32::from(id.0);
        let (first, last) = (ArmReg::ARM_REG_R0, ArmReg::ARM_REG_R12);
        match id {
            ArmReg::ARM_REG_SP => Self(1 << 13),
            ArmReg::ARM_REG_LR => Self(1 << 14),
            ArmReg::ARM_REG_PC => Self::PC,
            id if (first..=last).contains(&id) => Self(1 << (id - first)),
            _ => Self(0),
        }
    }

    fn all(ids: impl IntoIterator<Item = RegId>) -> Self {
        Self(ids.into_iter().fold(0, |set, id| set | Self::of(id).0))
    }
}

/// What an instruction is to the core's timing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Arithmetic of any kind, multiplications included.
    Data,
    /// A division: its time depends on the numbers.
    Divide,
    /// IT: the core may fold it away.
    IfThen,
    /// A load of one register.
    Load {
        /// The register.
        to: Registers,
    },
    /// A store of one register.
    Store {
        /// Addressed by two registers.
        indexed: bool,
    },
    /// A load or store of two registers.
    Pair,
    /// A load or store of several registers, PUSH and POP.
    Multiple {
        /// How many.
        registers: u32,
    },
    /// A branch to an address that stands in the instruction; BL among them.
    Branch {
        /// BL.
        link: bool,
    },
    /// A branch to an address in a register.
    BranchRegister,
    /// TBB, TBH.
    Table,
    /// Moves between core and floating-point registers.
    FloatMove,
    /// A load or store of floating-point registers.
    FloatMemory {
        /// Words moved.
        words: u32,
    },
    /// DMB, DSB, ISB.
    Barrier,
    /// Has no timing here: floating-point arithmetic, which the runtime does not use, and what
    /// cannot be decoded.
    Unknown,
}

/// An instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// What it is.
    pub kind: Kind,
    /// Bytes: 2 or 4.
    pub size: u32,
    /// Registers that its address is made of.
    pub address: Registers,
    /// Registers that it writes.
    pub writes: Registers,
    /// As in assembly.
    pub text: String,
}

impl Instruction {
    /// Whether it writes the program counter.
    pub fn jumps(&self) -> bool {
        self.writes.meets(Registers::PC)
    }
}

/// A function of a program.
struct Function {
    start: u32,
    name: String,
}

/// The code of a linked program.
pub struct Code {
    decoder: Capstone,
    /// Address and bytes of each section that can be executed.
    sections: Vec<(u32, Vec<u8>)>,
    /// By address.
    functions: Vec<Function>,
    known: HashMap<u32, Instruction>,
}

impl Code {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(elf: &[u8]) -> Result<Self> {
        let file = object::File::parse(elf).context("no ELF file")?;
        let mut sections = Vec::new();
        for section in file.sections() {
            if let SectionFlags::Elf { sh_flags } = section.flags()
                && sh_flags & u64::from(object::elf::SHF_EXECINSTR) != 0
            {
                sections.push((section.address() as u32, section.data()?.to_vec()));
            }
        }
        let mut functions: Vec<Function> = file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
            .filter_map(|symbol| {
                let name = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
                Some(Function { start: symbol.address() as u32 & !1, name })
            })
            .collect();
        functions.sort_by_key(|function| function.start);
        Ok(Self { sections, functions, ..Self::of_bytes(0, &[])? })
    }

    /// Bare instructions at `address`.
    ///
    /// # Errors
    /// Where the decoder cannot be made.
    pub fn of_bytes(address: u32, bytes: &[u8]) -> Result<Self> {
        let decoder = Capstone::new()
            .arm()
            .mode(arm::ArchMode::Thumb)
            .extra_mode([arm::ArchExtraMode::MClass].into_iter())
            .detail(true)
            .build()
            .map_err(|error| anyhow!("no decoder: {error}"))?;
        let sections = vec![(address, bytes.to_vec())];
        Ok(Self { decoder, sections, functions: Vec::new(), known: HashMap::new() })
    }

    /// The instruction at `address`.
    pub fn at(&mut self, address: u32) -> &Instruction {
        if !self.known.contains_key(&address) {
            let instruction = self.decode(address);
            self.known.insert(address, instruction);
        }
        &self.known[&address]
    }

    /// Name of the function that `address` lies in.
    pub fn function(&self, address: u32) -> &str {
        let after = self.functions.partition_point(|function| function.start <= address);
        after.checked_sub(1).map_or("?", |index| &self.functions[index].name)
    }

    fn decode(&self, address: u32) -> Instruction {
        let bytes = self.sections.iter().find_map(|(start, bytes)| {
            let offset = address.checked_sub(*start)? as usize;
            bytes.get(offset..bytes.len().min(offset + 4))
        });
        let bytes = bytes.unwrap_or_default();
        let unknown = || Instruction {
            kind: Kind::Unknown,
            // The five bits that tell halfwords that begin a longer instruction.
            size: if bytes.get(1).is_some_and(|&high| high >= 0xe8) { 4 } else { 2 },
            address: Registers::default(),
            writes: Registers::default(),
            text: "?".to_owned(),
        };
        let Ok(decoded) = self.decoder.disasm_count(bytes, address.into(), 1) else {
            return unknown();
        };
        let Some(decoded) = decoded.first() else { return unknown() };
        match self.decoder.insn_detail(decoded) {
            Ok(detail) => instruction(decoded, &detail),
            Err(_) => unknown(),
        }
    }
}

fn instruction(decoded: &Insn, detail: &InsnDetail) -> Instruction {
    let words = decoded.mnemonic().unwrap_or_default();
    // Without a suffix of size or type: `.w`, `.f32`.
    let mnemonic = words.split('.').next().unwrap_or_default();
    let operands: Vec<ArmOperandType> = match detail.arch_detail().arm() {
        Some(arm) => arm.operands().map(|operand| operand.op_type).collect(),
        None => Vec::new(),
    };
    let writes = Registers::all(detail.regs_write().iter().copied());
    let (mut address, mut indexed) = (Registers::default(), false);
    let mut registers = Vec::new();
    for operand in &operands {
        match operand {
            ArmOperandType::Mem(memory) => {
                address = Registers::all([memory.base(), memory.index()]);
                indexed = memory.index() != RegId::INVALID_REG;
            }
            ArmOperandType::Reg(register) => registers.push(*register),
            _ => {}
        }
    }
    let starts = |beginnings: &[&str]| beginnings.iter().any(|start| mnemonic.starts_with(start));
    let first = registers.first().map_or(Registers::default(), |&register| Registers::of(register));
    let kind = if starts(&["tbb", "tbh"]) {
        Kind::Table
    } else if starts(&["it"]) {
        Kind::IfThen
    } else if starts(&["vldr", "vstr"]) {
        Kind::FloatMemory {
            words: if decoded.op_str().is_some_and(|s| s.starts_with('d')) { 2 } else { 1 },
        }
    } else if starts(&["vldm", "vstm", "vpush", "vpop"]) {
        let based = usize::from(starts(&["vldm", "vstm"]));
        let double = decoded.op_str().is_some_and(|text| text.contains("{d"));
        let count = registers.len().saturating_sub(based) as u32;
        Kind::FloatMemory { words: count * if double { 2 } else { 1 } }
    } else if starts(&["vmov", "vmrs", "vmsr"]) {
        Kind::FloatMove
    } else if starts(&["v"]) {
        Kind::Unknown
    } else if starts(&["ldrd", "strd"]) {
        Kind::Pair
    } else if starts(&["push", "pop"]) {
        address = Registers(1 << 13);
        Kind::Multiple { registers: registers.len() as u32 }
    } else if starts(&["ldm", "stm"]) {
        address = first;
        Kind::Multiple { registers: registers.len().saturating_sub(1) as u32 }
    } else if starts(&["ldr"]) {
        Kind::Load { to: first }
    } else if starts(&["str"]) {
        Kind::Store { indexed }
    } else if starts(&["sdiv", "udiv"]) {
        Kind::Divide
    } else if starts(&["bx", "blx"]) {
        Kind::BranchRegister
    } else if is_direct_branch(mnemonic) {
        Kind::Branch { link: mnemonic == "bl" }
    } else if starts(&["dmb", "dsb", "isb"]) {
        Kind::Barrier
    } else if writes.meets(Registers::PC) {
        Kind::BranchRegister
    } else {
        Kind::Data
    };
    let text = format!("{words} {}", decoded.op_str().unwrap_or_default());
    Instruction { kind, size: decoded.len() as u32, address, writes, text }
}

/// CBZ, CBNZ, BL, B with or without a condition; not BIC, BFI and the like.
fn is_direct_branch(mnemonic: &str) -> bool {
    const CONDITIONS: [&str; 17] = [
        "", "l", "eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt",
        "le", "al",
    ];
    matches!(mnemonic, "cbz" | "cbnz")
        || mnemonic.strip_prefix('b').is_some_and(|rest| CONDITIONS.contains(&rest))
}

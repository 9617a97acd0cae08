//! How long instructions take, without wait states.
//!
//! Cortex-M4: "Cortex-M4 Technical Reference Manual" r0p1 (ARM DDI 0439), §3.3.1 (table of
//! instructions), §3.3.2 (load and store timings).
//!
//! | instruction | cycles |
//! |---|---|
//! | arithmetic, multiplications of any kind, moves to and from the floating-point unit | 1 |
//! | LDR and its kin | 2; 1 right after another, unless that loads a register of this one's address |
//! | STR, address of one register | 1 (the write buffer) |
//! | STR, address of two registers | 2; 1 right after an LDR |
//! | LDRD, STRD, LDM, STM, PUSH, POP, VLDR, VLDM … of N words | 1 + N |
//! | … each of these right after arithmetic that wrote a register of its address | 1 more |
//! | branch not taken | 1 |
//! | branch taken | 1 + P; POP and LDR to pc, TBB: their own + P |
//! | SDIV, UDIV | 2 to 12, taken as 7 |
//! | IT | 1; may be folded away |
//! | halfword or word that crosses its natural border once / word at an odd address | 1 / 2 more |
//! | load that a condition skips | 1 |
//!
//! P, the refill of the pipeline, is 1 to 3: taken as 1 for an address in the instruction, 2 for
//! one from a register or memory, and 1 more where the target is a four-byte instruction that is
//! not at a multiple of four.
//!
//! Cortex-M0 and M0+ with the one-cycle multiplier: their manuals (ARM DDI 0432, DDI 0484), §3.3.
//! LDR, STR 2; LDM, STM, PUSH 1 + N; POP to pc 4 + N (M0+: 3 + N); branch taken 3 (2); BL 4 (3);
//! BX, BLX 3 (2); barriers 3; else 1.

use crate::code::{Instruction, Kind};

/// A core whose timings are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Core {
    /// Cortex-M4.
    M4,
    /// Cortex-M0.
    M0,
    /// Cortex-M0+.
    M0Plus,
}

/// Cycles: the least, those that are taken as true, and the most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cycles {
    /// If everything that depends goes well.
    pub low: i64,
    /// The figure to quote.
    pub nominal: i64,
    /// If it goes badly.
    pub high: i64,
}

impl Cycles {
    /// The same, whatever it depends on.
    pub const fn exactly(cycles: i64) -> Self {
        Self { low: cycles, nominal: cycles, high: cycles }
    }

    /// Adds `cycles`, `times` over.
    pub fn add(&mut self, cycles: Self, times: u64) {
        let times = times as i64;
        self.low += cycles.low * times;
        self.nominal += cycles.nominal * times;
        self.high += cycles.high * times;
    }
}

impl Core {
    /// Cycles of `this` right after `before`, branches as if not taken.
    pub fn executed(self, before: Option<&Instruction>, this: &Instruction) -> Cycles {
        match self {
            Self::M4 => executed_by_m4(before, this),
            Self::M0 | Self::M0Plus => Cycles::exactly(match this.kind {
                Kind::Load { .. } | Kind::Store { .. } => 2,
                Kind::Multiple { registers } => 1 + i64::from(registers),
                Kind::Barrier => 3,
                _ => 1,
            }),
        }
    }

    /// Cycles that `branch` takes longer when the next instruction is `target`, at `address`.
    pub fn taken(self, branch: &Instruction, target: &Instruction, address: u32) -> Cycles {
        let late = |kind| matches!(kind, Kind::Branch { link: true } | Kind::Multiple { .. });
        match self {
            Self::M4 => {
                let direct = matches!(branch.kind, Kind::Branch { .. });
                let crossing = target.size == 4 && !address.is_multiple_of(4);
                let refill = if direct { 1 } else { 2 } + i64::from(crossing);
                Cycles { low: 1, nominal: refill, high: 3 }
            }
            Self::M0 => Cycles::exactly(2 + i64::from(late(branch.kind))),
            Self::M0Plus => Cycles::exactly(1 + i64::from(late(branch.kind))),
        }
    }
}

fn executed_by_m4(before: Option<&Instruction>, this: &Instruction) -> Cycles {
    // A load right before, whose address phase this one's may overlap.
    let pipelined = before.is_some_and(|before| match before.kind {
        Kind::Load { to } => !before.jumps() && !to.meets(this.address),
        _ => false,
    });
    let cycles = match this.kind {
        Kind::Load { .. } if pipelined && !this.jumps() => 1,
        Kind::Load { .. } => 2,
        Kind::Store { indexed } => 1 + i64::from(indexed && !pipelined),
        Kind::Pair => 3,
        Kind::Multiple { registers: words } | Kind::FloatMemory { words } => 1 + i64::from(words),
        Kind::Table => 2,
        Kind::Divide => return Cycles { low: 2, nominal: 7, high: 12 },
        Kind::IfThen => return Cycles { low: 0, nominal: 1, high: 1 },
        Kind::Data
        | Kind::Branch { .. }
        | Kind::BranchRegister
        | Kind::FloatMove
        | Kind::Barrier
        | Kind::Unknown => 1,
    };
    let accesses = matches!(
        this.kind,
        Kind::Load { .. }
            | Kind::Store { .. }
            | Kind::Pair
            | Kind::Multiple { .. }
            | Kind::FloatMemory { .. }
    );
    let stalls = accesses
        && before.is_some_and(|before| {
            let arithmetic =
                matches!(before.kind, Kind::Data | Kind::Divide | Kind::IfThen | Kind::FloatMove);
            arithmetic && before.writes.meets(this.address)
        });
    Cycles::exactly(cycles + i64::from(stalls))
}

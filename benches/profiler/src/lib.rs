//! Counts the instructions of an emulated Cortex-M one by one, and models its cycles.
//!
//! A program sets marks around what is to be measured and is run in QEMU with a plugin
//! ([`plugin`]) that writes down how often each instruction followed each other one. That record
//! ([`record`]), the program's code ([`code`]) and the cores' timings ([`model`]) make a
//! [`Profile`].
//!
//! Instructions are exact and repeat. Cycles are those of zero wait states: real flash adds its
//! own. Against published counts of a real M4 (pqm4) the model is 2 to 6 % optimistic; the M0's is
//! not checked against silicon.

pub mod code;
pub mod model;
pub mod plugin;
mod profile;
pub mod record;

pub use code::Code;
pub use model::Core;
pub use profile::{Hot, Profile};

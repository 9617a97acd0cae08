//! The artifact: prologue, manifest, sections. FORMAT.md has it byte by byte.
//!
//! The file is hostile until parsed: [`Model::parse`] and [`Task::parse`] check everything, and
//! what they return can neither fail for reasons of content nor panic. [`Model::open`] and
//! [`Task::open`] check what memory safety wants, for bytes that were parsed before.

mod error;
mod manifest;
mod model;
mod prologue;
mod task;
#[cfg(feature = "write")]
pub mod write;

pub use error::{Limited, ParseError, Part};
pub(crate) use manifest::Node;
pub use manifest::{Labels, MAX_LAYERS, MAX_TASKS, MAX_TENSORS, Placement};
pub use model::{Model, Step, Steps};
pub use prologue::{Kind, MAGIC, PROLOGUE, Prologue, VERSION};
pub(crate) use task::Work;
pub use task::{Op, Program, Task, Tasks};

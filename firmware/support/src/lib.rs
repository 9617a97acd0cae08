//! What every Cortex-M board of this folder needs beside its memory map: a counter of
//! instructions, marks for the profiler, the peak of the stack, and the end of the program with an
//! exit code.
#![no_std]

pub mod counter;
pub mod exit;
pub mod marks;
pub mod plain;
pub mod stack;

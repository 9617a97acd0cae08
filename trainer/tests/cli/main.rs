//! The `seedmask` command as a user has it: the real binary, its output and its exit codes.

mod artifacts;
mod faults;
mod support;
mod train;

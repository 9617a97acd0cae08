//! Seedmask.

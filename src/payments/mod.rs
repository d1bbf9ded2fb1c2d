//! The workflows.
pub mod ports;

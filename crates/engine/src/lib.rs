//! Delegation inside a module's process.
pub mod error;
pub mod record;
pub mod registry;
pub mod runtime;
#[cfg(test)]
mod scratch;

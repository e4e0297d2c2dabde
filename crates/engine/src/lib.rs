//! Delegation inside a module's process.
pub mod apply;
pub mod census;
pub mod control;
pub mod error;
pub mod janitor;
mod pidfd;
pub mod procs;
pub mod record;
pub mod registry;
pub mod runtime;
#[cfg(test)]
mod scratch;
pub mod users;

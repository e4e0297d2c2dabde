//! Delegation inside a module's process.

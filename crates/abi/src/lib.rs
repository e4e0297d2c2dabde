//! What crosses a process boundary in ModNet, and nothing else.
//!
//! | file | holds |
//! | --- | --- |
//! | [`name`] | what a module may be called |
//! | [`record`] | `processes/<pid>`: the chain applied to a process, mapped by its shim |
//! | [`steal`] | the messages of a steal queue |
//! | [`pool`] | the memory that two processes share for pairs that outlive a flow |
//! | [`sockstate`] | the TCP state of one socket, written by the kernel, mapped by modules |
//! | [`counter`] | the named counters that the shim keeps in the record |
//! | [`fault`] | the error that ended a connection, left on the real socket |
//! | [`path`] | where the registry's files are, built without allocation |
//!
//! Rules: `no_std`, no dependency, no allocation, no system call; every struct is `repr(C)` and made of
//! integers, so that any bytes received are a valid value and only need checking, never trusting.
//! It must not decide anything: policy is the engine's and the shim's.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod counter;
pub mod fault;
pub mod name;
pub mod path;
pub mod pool;
pub mod record;
pub mod sockstate;
pub mod steal;

//! Late binding: the kernel is given what it is about to send, everything else stays where it can be taken back.
//!
//! | module | job |
//! | --- | --- |
//! | [`segments`] | the bytes: in at the end without a copy, out at the front, back from the end |
//! | [`outlet`] | one flow's queue as several threads see it: yank, peek, lock |
//! | [`pace`] | how much the kernel is given, and when it is asked again |
//!
//! Must not make a system call: who owns the socket does.

pub mod outlet;
pub mod pace;
pub mod segments;

//! Revocation: bytes that have not been sent are taken back (*yank*), looked at (*peek*), held (*lock*).
//!
//! | module | where the bytes lie |
//! | --- | --- |
//! | [`queue`] | late binding: in a queue of ours, which is the socket buffer; no privilege |
pub mod queue;

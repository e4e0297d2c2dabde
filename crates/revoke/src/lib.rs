//! Revocation: bytes that have not been sent are taken back (*yank*), looked at (*peek*), held (*lock*).
//!
//! | module | where the bytes lie |
//! | --- | --- |
//! | [`queue`] | late binding: in a queue of ours, which is the socket buffer; no privilege |
//! | [`release`] | from there to the kernel, when it can send them |
//! | [`kernel`] | the kernel yank: in the kernel's own send buffer; CAP_NET_ADMIN |

pub mod kernel;
pub mod queue;
pub mod release;

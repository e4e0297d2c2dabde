//! Revocation: bytes that TCP has not sent yet, taken back out of a live connection.
//!
//! | module | job |
//! | --- | --- |
//! | [`kernel`] | the kernel yank: bytes in the kernel's own send buffer, with CAP_NET_ADMIN |

pub mod kernel;

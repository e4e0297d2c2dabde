//! Bytes to bytes: HTTP/1.x framing and content codings.
//!
//! | module | holds |
//! | --- | --- |
//! | [`http`] | one connection's requests and responses, found in its bytes and changed on the way |
//! | [`encode`] | gzip, zstd and br, with a level that changes in mid-stream |
//! | [`spent`] | what a coding takes, from a part of its pieces |
//!
//! Pure: no system call, no clock, no thread; nothing of ours is used here. The same bytes in give the same bytes out,
//! however they are cut ([`http`] says what a flush changes). Memory is bounded by constants that each file names.

pub mod encode;
pub mod http;
pub mod spent;

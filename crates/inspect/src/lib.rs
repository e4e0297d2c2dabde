//! Inspection: the TCP state of sockets, read from memory.
//!
//! | module | job |
//! | --- | --- |
//! | [`watch`] | one socket that somebody reads: the way it is read, its state, its end |
//! | [`access`] | the maps that `modnet inspect enable` has pinned, as a reader uses them |
//! | [`attend`] | programs stand at their places while somebody reads |
//! | [`chosen`] | which socket has which slot |
//! | [`answers`] | which slot a socket has got, told without a system call |
//! | [`mapped`] | reading a state that the kernel writes |
//! | [`sample`] | the same state from `TCP_INFO` |
//! | [`mode`], [`reason`] | which way is wanted, and why it is not the better one |
//! | [`bpf`] | the owner of the system call bpf(2), also for `crates/revoke` |
//! | [`place`] | where the pins are |
//! | `load` (feature `loader`) | `modnet inspect enable` and `disable` |
//!
//! `bpf/` holds the programs; the head of `sockstate.bpf.c` says how slots and writers work.
//!
//! Rules: one interface for both ways of reading; which one it is, and why, can always be asked. It must not move bytes
//! of a flow, nor change a socket.

pub mod access;
pub mod answers;
pub mod attend;
pub mod bpf;
pub mod chosen;
#[cfg(feature = "loader")]
pub mod load;
pub mod mapped;
pub mod mode;
pub mod place;
pub mod reason;
pub mod sample;
pub mod watch;

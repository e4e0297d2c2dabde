//! The kernel yank: unsent bytes come back out of the kernel's send buffer. Same descriptor, same connection.
//!
//! The kernel has no call for it. `TCP_REPAIR` (made for moving containers) can read a connection's queues and put a
//! connection together from them, so it is taken apart and put together again without its last bytes:
//!
//! | step | file |
//! | --- | --- |
//! | look: what cannot be rebuilt is refused | [`facts`], [`refuse`] |
//! | guard: nothing that arrives may change the socket from here on, nor be answered with a reset | [`guard`], [`tuple`] |
//! | freeze and read: window shut, both queues, everything that was negotiated | [`snapshot`], [`memory`] |
//! | rebuild: disconnect, sequence numbers, reconnect, options, queues; the congestion window | [`rebuild`], [`carrier`] |
//! | open: leave repair, which asks the peer what was missed; the peer's FIN again; bytes that stay unsent | [`rebuild`], [`replay`] |
//!
//! [`yank`] is the order of these. [`options`] owns the system calls on the socket, [`info`] is `TCP_INFO`, [`btf`] is for the carrier, [`probe`]
//! tries all of it on a connection of its own. [`journal`] is written meanwhile, [`rescue`] reads it for sockets whose yanker was killed,
//! [`holder`] finds those. [`own`] has the yankers of this process.
//!
//! Rules: refused or failed before the disconnect, a connection is as it was. After it, it is whole or it is dead: never a
//! wrong byte. Only who owns the socket may call it: other threads that poll it may see a hang-up during the gap, and
//! what they write meanwhile is lost. It must not wait for the peer.

pub mod btf;
#[cfg(feature = "loader")]
pub mod carrier;
pub mod facts;
pub mod failure;
#[cfg(feature = "loader")]
pub mod guard;
#[cfg(feature = "loader")]
pub mod holder;
pub mod info;
#[cfg(feature = "loader")]
pub mod journal;
pub mod memory;
pub mod options;
#[cfg(feature = "loader")]
pub mod own;
#[cfg(feature = "loader")]
pub mod probe;
pub mod rebuild;
pub mod refuse;
pub mod replay;
#[cfg(feature = "loader")]
pub mod rescue;
pub mod snapshot;
pub mod tuple;
#[cfg(feature = "loader")]
pub mod yank;

#[cfg(test)]
#[cfg_attr(not(feature = "loader"), allow(dead_code))]
mod testing;

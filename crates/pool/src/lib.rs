//! Pairs that outlive a flow: the protocol of the words that two processes share, and the client's half of it.
//!
//! A pair is made once and carries one flow after another. Its *near* end is the client's (the shim, or a module towards
//! the next one), its *left* end the module's. Whose it is, a word in shared memory tells:
//!
//! | word | whose | next | by whom, when |
//! | --- | --- | --- | --- |
//! | `DONE` | client, idle | `0` | client ([`word::again`]): a new flow, whose BEGIN follows |
//! | | | `FREE` | module ([`word::withdraw`]): it needs the descriptor |
//! | `0` | flow | `CLOSED` | client ([`word::close`]): all was written, nothing more will be read |
//! | | | `ORDINARY` | client ([`word::ordinary`]): near was duplicated, half-closed, or is to be reset |
//! | | | `DIRTY` | module ([`word::half_close`]): the network's end has to be shown on left, or the close be heard from it |
//! | | | `DIRTY FREE` | module ([`word::free`]): left is closed |
//! | `CLOSED` | module | `DONE` | module ([`word::done`]): everything was read from left, and nothing written lies unread |
//! | | | `DIRTY FREE` | module: otherwise; left is closed |
//! | `ORDINARY`, `DIRTY` | flow | … `FREE` | module: left is closed, when near is (the end that every socket has) |
//! | … `FREE` | client | `0` | client ([`word::begin`]): a new pair, whose NEW follows; near was closed before |
//!
//! Who is first where both may move: `CLOSED` and `DIRTY` are set by read-modify-write, and each side looks at what was there:
//! the client that finds `DIRTY` closes near; the module that finds `CLOSED` shows nothing, the flow is over.
//!
//! No close is lost: the module looks for `CLOSED` after each read that found less than it asked for; the client looks,
//! after `CLOSED`, whether everything was read. One of them sees the other. If the client sees that nothing waits it
//! rings ([`bell`]).
//!
//! What was read, the kernel tells (SIOCOUTQ), or memory: the module adds what it reads of left to `taken`, and a client that
//! counts what it reads of near and writes to it says so with `COUNTED`, `heard` and `sent` ([`book::Tally`]). A module towards the next one
//! counts, so that three look-ups in the kernel a flow are none; the shim cannot, since not every read goes through it. Where either process dies the kernel hangs the sockets up, which needs no word.
//!
//! | file | holds |
//! | --- | --- |
//! | [`word`] | the transitions of one word |
//! | [`bell`] | how the module hears of closes, and of bytes in an area |
//! | [`inline`] | small writes that no socket carries |
//! | [`set`] | sets of slots that threads take from without a lock |
//! | [`book`] | the client's half: take, close, make ordinary, harvest, trim |
//!
//! Rules: `no_std`, no allocation, no lock, no panic, no system call of its own ([`book::System`]). Whatever stands in shared
//! memory only decides which flow ends how: slots are checked, descriptors are kept in memory of one's own. A peer that
//! writes rubbish hurts flows of that client, nobody else's.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(loom, allow(clippy::modulo_one))] // one word of slots

mod atomic;
pub mod bell;
pub mod book;
pub mod inline;
#[cfg(all(test, loom))]
mod inline_models;
#[cfg(test)]
mod memory;
#[cfg(all(test, loom))]
mod models;
pub mod set;
pub mod shared;
pub mod word;

pub use book::{Book, Fate, Lease, System, Taken, Tally};
pub use shared::{Shared, AREAS, SLOTS};

//! The memory that a client (the shim, or a module towards the next one) and a module share, so that their pairs outlive a flow.
//!
//! One page per connection to a steal queue: a memfd of [`POOL_BYTES`] bytes, sealed against shrinking, which the HELLO
//! with the flag `POOLED` brings, with an eventfd. What the bits mean and who may set which, when, is `modnet-pool`'s
//! table. Everything here is written by two processes that need not trust each other: whatever it holds may only
//! decide about flows of that client, never about memory.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Pairs of one connection. More flows than that at one time go over fresh pairs: it holds what accept bursts bring.
pub const SLOTS: usize = 4096;
/// Slots of which one word of [`PoolPage::closed`] tells.
pub const SLOTS_PER_WORD: usize = 64;
/// Bytes of the memfd.
pub const POOL_BYTES: usize = size_of::<PoolPage>();
/// Pairs that have an [`Area`]: the first ones, which are taken first. (Memory is used as far as it is written to.)
pub const AREAS: usize = 256;
/// Bytes of an area: a header and a small file; what is larger costs more to copy than a call does.
pub const AREA_BYTES: usize = 16 * 1024;
/// What the module writes into [`PoolPage::accepted`]; changes with every change of layout or meaning.
pub const ACCEPTED: u32 = 4;

/// Client: nothing more will be written into the pair or read from it.
pub const CLOSED: u32 = 1;
/// Client: taken out of the pool; the flow ends by the end of its near socket, and the pair with it.
pub const ORDINARY: u32 = 2;
/// Module: left was half-closed or closed, since the network's end had to be shown, or the client's close is to be heard from left.
pub const DIRTY: u32 = 4;
/// Module: everything was read, nothing more will be written: the pair is the client's.
pub const DONE: u32 = 8;
/// Module: left is closed; the slot may get a new pair.
pub const FREE: u32 = 16;
/// Client, with [`CLOSED`]: it has said in [`Slot::heard`] how much it has read, and in [`Slot::sent`] how much it has written.
pub const COUNTED: u32 = 32;

/// Module, in [`Slot::area`]: it is reading, or wants nothing there.
pub const TAKING: u32 = 1 << 30;
/// Client, in [`Slot::filling`]: a thread of it is writing to the area, behind what is published.
pub const FILLING: u32 = 1;
/// Client, in [`Slot::filling`]: no flow has the slot.
pub const LOCKED: u32 = 2;
/// The published bytes in [`Slot::area`].
pub const LENGTH: u32 = TAKING - 1;

/// A word with a cache line of its own: the two sides write on different cores.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Line(pub AtomicU32);

/// What both sides know of one pair. Counts are of all bytes of the socket since the pair was made, and wrap.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Slot {
    /// Whose the pair is.
    pub word: AtomicU32,
    /// Module: bytes read from left.
    pub taken: AtomicU32,
    /// Client: bytes read from near, said before it closes with [`COUNTED`].
    pub heard: AtomicU32,
    /// Client: bytes written to near, said likewise.
    pub sent: AtomicU32,
    /// What is in the pair's [`Area`]: [`TAKING`], [`LENGTH`]. 0: nothing.
    pub area: AtomicU32,
    /// Client: how many bytes of the socket come before those in the area.
    pub stamp: AtomicU32,
    /// Client: [`FILLING`] or [`LOCKED`].
    pub filling: AtomicU32,
    /// Module: odd while it reads from left.
    pub reading: AtomicU32,
}

/// Bytes from the client that no socket carries. The two processes take turns by [`Slot::area`]; nobody may rely on that for
/// more than the bytes' values.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Area([AtomicU64; AREA_BYTES / 8]);

impl Area {
    /// Where the bytes are: [`AREA_BYTES`] of them.
    #[must_use]
    pub const fn bytes(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut().cast()
    }
}

/// The shared memory. All zeroes is where it begins.
#[repr(C)]
#[derive(Debug)]
pub struct PoolPage {
    /// [`ACCEPTED`] once the module has taken the offer; before, and for ever where it does not, every pair is fresh.
    pub accepted: Line,
    /// Not 0: the eventfd has been written to since the module last looked at `closed`.
    pub bell: Line,
    /// One bit per slot: something is to be seen there of which no event of its own tells: a close with nothing left to read, bytes in its area.
    pub closed: [AtomicU64; SLOTS / SLOTS_PER_WORD],
    /// The pairs.
    pub slots: [Slot; SLOTS],
    /// The areas of the first of them.
    pub areas: [Area; AREAS],
}

const _: () = assert!(SLOTS.is_multiple_of(SLOTS_PER_WORD));
const _: () = assert!(AREAS <= SLOTS && AREA_BYTES < LENGTH as usize);
const _: () = assert!(core::mem::offset_of!(PoolPage, slots) == 128 + SLOTS / 8);
const _: () =
    assert!(POOL_BYTES == (128 + SLOTS / 8 + 64 * SLOTS).next_multiple_of(4096) + AREAS * AREA_BYTES);

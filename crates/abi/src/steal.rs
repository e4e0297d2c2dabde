//! The messages of a steal queue (a SEQPACKET socket; descriptors travel by SCM_RIGHTS).
//!
//! A message is an array of [`Entry`]; the descriptors that its entries bring stand in the same order.
//!
//! | kind | descriptors | then |
//! | --- | --- | --- |
//! | HELLO | memfd and eventfd if the flag POOLED is set, else none | always alone in its message, followed by one [`Hello`] |
//! | NEW | left, right | a fresh pair; `slot` names it from now on, or is [`NO_SLOT`] |
//! | BEGIN | right | a new flow on the pair that `slot` names |
//! | YIELD | left, right, real socket and memfd where [`Yielded::flags`] says so | always alone in its message, followed by one [`Yielded`]: a flow that has carried bytes already |
//!
//! The first message of a connection is a HELLO. A later one says that the chain has changed: it counts for the
//! entries after it. A receiver that does not understand an entry closes what came with it and counts it.
//!
//! POOLED is an offer, made at most once on a connection. A receiver that takes it says so in the shared memory
//! ([`crate::pool`]); until it has, and for ever where it does not, only NEW with [`NO_SLOT`] is sent.
//!
//! The sockets of a YIELD are ordinary ones, in no pool. Bytes of the flow that lie in no socket any more, since the module
//! that yields has read them, stand in the memfd, in the order of [`Yielded::lengths`].

use crate::name::Name;
use crate::record::MAX_CHAIN;

/// Who is there, and which chain its sockets take.
pub const HELLO: u32 = 1;
/// A new pair and its first flow.
pub const NEW: u32 = 2;
/// A new flow on a pair that the module has already.
pub const BEGIN: u32 = 3;
/// A flow that another module, or the application, has yielded.
pub const YIELD: u32 = 4;

/// The slot of a pair that is not pooled.
pub const NO_SLOT: u32 = u32::MAX;
/// Most entries in one message: two descriptors each stay well under the kernel's SCM_MAX_FD of 253.
pub const MAX_ENTRIES: usize = 64;
/// Most descriptors in one message.
pub const MAX_FDS: usize = 2 * MAX_ENTRIES;
/// Changes with every change of these messages.
pub const STEAL_VERSION: u32 = 2;

/// `Hello::flags`: a memfd and an eventfd come along, see [`crate::pool`].
pub const POOLED: u32 = 1;
/// `Hello::flags`: a flow whose remaining chain cannot be reached is reset instead of passed on.
pub const HELLO_FAIL_CLOSED: u32 = 2;

/// `Yielded::flags`: the real socket comes along, to be inspected; right is a pair to a module that has it.
pub const WITH_REAL: u32 = 1;
/// `Yielded::flags`: a memfd comes along.
pub const WITH_BYTES: u32 = 2;
/// `Yielded::flags`: the application has closed and left bytes unread: its close was a reset.
pub const LEFT_UNREAD: u32 = 4;

/// One element of a message.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which pair.
    pub slot: u32,
    /// [`HELLO`], [`NEW`], [`BEGIN`] or [`YIELD`].
    pub kind: u32,
}

/// What follows the entry of a HELLO.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    /// [`STEAL_VERSION`].
    pub version: u32,
    /// [`POOLED`], [`HELLO_FAIL_CLOSED`].
    pub flags: u32,
    /// Name of the record in `processes/`, to check the token against.
    pub record: u32,
    /// The application's process; through a chain it stays the application's.
    pub pid: u32,
    /// The receiver's place in `chain`, from 0.
    pub position: u32,
    /// Modules in `chain`.
    pub length: u32,
    /// How far in `chain` flows are still to be passed on: the modules from here on have them already, or were passed over.
    pub until: u32,
    /// The record's token. A module that passes flows on sends it along.
    pub token: [u8; 16],
    /// The whole chain, nearest to the application first.
    pub chain: [Name; MAX_CHAIN],
}

/// What follows the entry of a YIELD.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Yielded {
    /// [`WITH_REAL`], [`WITH_BYTES`], [`LEFT_UNREAD`].
    pub flags: u32,
    /// 0.
    pub reserved: u32,
    /// Bytes in the memfd: read from left, to be written to left, read from right, to be written to right; and those that came from
    /// the network and have passed already, which the new modules are shown.
    pub lengths: [u64; 5],
}

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = size_of::<Entry>();
/// Bytes of a HELLO message.
pub const HELLO_BYTES: usize = ENTRY_BYTES + size_of::<Hello>();
/// Bytes of a YIELD message.
pub const YIELD_BYTES: usize = ENTRY_BYTES + size_of::<Yielded>();

const _: () = assert!(ENTRY_BYTES == 8);
const _: () = assert!(size_of::<Hello>() == 44 + 32 * MAX_CHAIN);
const _: () = assert!(size_of::<Yielded>() == 48);

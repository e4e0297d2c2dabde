//! A client's bandwidth, from snapshots of its connection's state: what `modnet.estimate` gives to Python.
//!
//! | estimator | from |
//! | --- | --- |
//! | [`PacketPair`] | the last two packets acknowledged: the paper's |
//! | [`DeliveryRate`] | how fast acknowledgements have come of late, and at most: the slope of a [`train`] |
//! | [`Bandwidth`] | both and the kernel's own; which to believe, and how far |
//!
//! Each tells in its file what fools it; `tests/estimate` shows each case. An estimate is of payload: a link of 1 Mbit/s of Ethernet
//! frames carries 119,551 bytes/s of it (1448 of 1514).
//!
//! Native, since a policy asks between two pieces of a body, when the caches are full of what a coding has left there: what is
//! touched is 0.4 KB and some fifty points, and nothing is allocated once a train has its points.
//!
//! Rules: no I/O, no clock, no thread; one object a connection. Nothing is checked: rubbish gives rubbish, and no index depends on
//! it. Must not: know of flows or modules, or use anything of ours.
#![forbid(unsafe_code)]
// Nanoseconds of hours and bytes of terabytes: what a float holds exactly.
#![allow(clippy::cast_precision_loss)]

pub mod bandwidth;
pub mod delivery_rate;
#[cfg(test)]
mod link;
pub mod packet_pair;
pub mod snapshot;
pub mod train;

pub use bandwidth::{Bandwidth, Measure, Source};
pub use delivery_rate::{DeliveryRate, Judged};
pub use packet_pair::PacketPair;
pub use snapshot::{Packet, Snapshot};

//! The four numbers that name a connection on the wire, as the guard's program sees them.
//!
//! Rule: an IPv4 connection is one also on a socket of IPv6 (`::ffff:1.2.3.4`).

use super::options::Address;

/// `struct tuple` in `bpf/guard.bpf.c`: network order, an IPv4 address in the first word.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple {
    peer: [[u8; 4]; 4],
    local: [[u8; 4]; 4],
    peer_port: [u8; 2],
    local_port: [u8; 2],
}

/// A connection's name, and which IP it runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// For the guard.
    pub tuple: Tuple,
    /// IPv4 on the wire.
    pub is_ipv4: bool,
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

fn words(host: &[u8]) -> [[u8; 4]; 4] {
    let mut found = [[0; 4]; 4];
    for (word, bytes) in found.iter_mut().zip(host.chunks_exact(4)) {
        word.copy_from_slice(bytes);
    }
    found
}

impl Connection {
    /// Of two addresses of one socket.
    #[must_use]
    pub fn new(local: &Address, peer: &Address) -> Self {
        let mapped = peer.host().strip_prefix(&MAPPED).zip(local.host().strip_prefix(&MAPPED));
        let (peer_host, local_host) = mapped.unwrap_or((peer.host(), local.host()));
        let tuple = Tuple {
            peer: words(peer_host),
            local: words(local_host),
            peer_port: peer.port(),
            local_port: local.port(),
        };
        Self { tuple, is_ipv4: peer_host.len() == 4 }
    }

    /// (peer, local): the bytes of their addresses, 4 or 16.
    #[must_use]
    pub fn hosts(&self) -> (&[u8], &[u8]) {
        let length = if self.is_ipv4 { 4 } else { 16 };
        (&self.tuple.peer.as_flattened()[..length], &self.tuple.local.as_flattened()[..length])
    }

    /// (peer, local), network order.
    #[must_use]
    pub fn ports(&self) -> ([u8; 2], [u8; 2]) {
        (self.tuple.peer_port, self.tuple.local_port)
    }
}

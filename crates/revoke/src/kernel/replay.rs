//! Segments that the peer has sent, or could have, which we send to ourselves over loopback, as CRIU does when it moves a
//! container.
//!
//! *FIN*: a rebuilt connection is ESTABLISHED, and a peer whose FIN was acknowledged never sends it again.
//!
//! *Acknowledgement*: of the byte in front of the queue that [`super::rebuild`] puts there to measure with. It has to come
//! alone: one that covers what was put back in repair too measures nothing.

use super::snapshot::Snapshot;
use super::tuple::Connection;

const TCP_BYTES: usize = 20;
const FIN: u8 = 0x01;
const ACK: u8 = 0x10;

/// The peer's FIN, IP header included.
#[must_use]
pub fn fin(snapshot: &Snapshot, connection: &Connection) -> Vec<u8> {
    segment(snapshot, connection, FIN | ACK, snapshot.receive_seq.wrapping_sub(1))
}

/// An acknowledgement of all before the first byte of the queue, before the FIN is there.
#[must_use]
pub fn acknowledgement(snapshot: &Snapshot, connection: &Connection) -> Vec<u8> {
    segment(snapshot, connection, ACK, snapshot.receive_seq.wrapping_sub(snapshot.is_half_closed))
}

fn segment(snapshot: &Snapshot, connection: &Connection, flags: u8, seq: u32) -> Vec<u8> {
    let (peer, local) = connection.hosts();
    let (from, to) = connection.ports();
    let window = (snapshot.window.snd_wnd >> snapshot.snd_scale).min(65535) as u16;
    let mut tcp = Vec::with_capacity(TCP_BYTES);
    tcp.extend(from);
    tcp.extend(to);
    tcp.extend(seq.to_be_bytes());
    tcp.extend(snapshot.send_seq().to_be_bytes());
    tcp.extend([(TCP_BYTES as u8 / 4) << 4, flags]);
    tcp.extend(window.to_be_bytes());
    tcp.extend([0; 4]);
    let pseudo: Vec<u8> =
        [peer, local, &[0, 0, 0, TCP_BYTES as u8], &[0, 0, 0, libc::IPPROTO_TCP as u8]].concat();
    let sum = checksum(&[&pseudo, &tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut made = if connection.is_ipv4 {
        // Version and header length; length and checksum are the kernel's.
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, libc::IPPROTO_TCP as u8, 0, 0];
        ip[2..4].copy_from_slice(&(20 + TCP_BYTES as u16).to_be_bytes());
        ip
    } else {
        vec![0x60, 0, 0, 0, 0, TCP_BYTES as u8, libc::IPPROTO_TCP as u8, 64]
    };
    made.extend(peer);
    made.extend(local);
    made.extend(tcp);
    made
}

/// The Internet's checksum over parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;

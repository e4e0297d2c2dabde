//! The peer's FIN, once more. A rebuilt connection is ESTABLISHED, and a peer whose FIN was acknowledged never sends it
//! again; so we send it to ourselves, over loopback, as CRIU does when it moves a container.

use super::snapshot::Snapshot;
use super::tuple::Connection;

const TCP_BYTES: usize = 20;
const FIN_ACK: u8 = 0x11;

/// The packet, IP header included.
#[must_use]
pub fn packet(snapshot: &Snapshot, connection: &Connection) -> Vec<u8> {
    let (peer, local) = connection.hosts();
    let (from, to) = connection.ports();
    let window = (snapshot.window.snd_wnd >> snapshot.snd_scale).min(65535) as u16;
    let mut tcp = Vec::with_capacity(TCP_BYTES);
    tcp.extend(from);
    tcp.extend(to);
    tcp.extend(snapshot.receive_seq.wrapping_sub(1).to_be_bytes());
    tcp.extend(snapshot.send_seq().to_be_bytes());
    tcp.extend([(TCP_BYTES as u8 / 4) << 4, FIN_ACK]);
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

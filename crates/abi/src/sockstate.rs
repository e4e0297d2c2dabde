//! The TCP state of one socket as it stands in shared memory: what DESIGN §4 calls a `SockState`.
//!
//! `bpf/sockstate.bpf.c` in `crates/inspect` writes it with the same layout, `crates/inspect/c/layout.c` and
//! `tests/inspect` hold both against this file. Rules: a writer makes [`SockState::sequence`] odd, writes, and makes it
//! even; whoever reads copies all [`WORDS`] words between two looks at an even, unchanged sequence. Every other field is as
//! `TCP_INFO` has it, in the unit that stands beside it.

/// Bytes of a [`SockState`]: four cache lines.
pub const STATE_BYTES: usize = 256;
/// The same in 64-bit words, which is how it is copied.
pub const WORDS: usize = STATE_BYTES / 8;
/// [`SockState::version`]; changes with every change of layout or meaning. 0: nothing was written yet.
pub const STATE_VERSION: u32 = 1;
/// Which word holds [`SockState::check`].
pub const CHECK_WORD: usize = 17;

/// [`SockState::source`]: nobody has written it.
pub const SOURCE_NONE: u32 = 0;
/// [`SockState::source`]: the kernel wrote it at the latest event.
pub const SOURCE_BPF: u32 = 1;
/// [`SockState::source`]: taken from `TCP_INFO` at `updated_ns`. Sequence numbers then count from the connection's first
/// byte, since `TCP_INFO` has no others; `packets` stays empty.
pub const SOURCE_SAMPLED: u32 = 2;

/// A packet that was received.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// When it was received, in nanoseconds of CLOCK_MONOTONIC; 0: there was none.
    pub arrival_ns: u64,
    /// When the newest of the data that it acknowledged had been sent, on the same clock (the kernel keeps microseconds);
    /// 0: it acknowledged no whole packet.
    pub sent_ns: u64,
    /// Its sequence number.
    pub seq: u32,
    /// Its acknowledgement number.
    pub ack_seq: u32,
    /// Bytes that it acknowledged and that no packet before it had.
    pub acked_bytes: u32,
    /// Packets (segments) that it acknowledged, selectively or not, and that none before it had.
    pub acked_packets: u32,
}

/// The state of a TCP socket after the latest packet or send.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SockState {
    /// Odd while it is being written.
    pub sequence: u32,
    /// [`STATE_VERSION`], or 0 as long as nothing was written.
    pub version: u32,
    /// The socket's cookie (`SO_COOKIE`): whose state this is, since a slot outlives its socket.
    pub cookie: u64,
    /// When it was written, in nanoseconds of CLOCK_MONOTONIC.
    pub updated_ns: u64,
    /// [`SOURCE_BPF`] or [`SOURCE_SAMPLED`].
    pub source: u32,
    /// TCP state: 1 ESTABLISHED, 4 FIN_WAIT1, 7 CLOSE, 8 CLOSE_WAIT and so on, as in `netinet/tcp.h`.
    pub state: u32,
    /// Congestion window, in packets.
    pub cwnd: u32,
    /// Slow start threshold, in packets; 2147483647: none yet.
    pub ssthresh: u32,
    /// Smoothed round-trip time, in microseconds.
    pub srtt_us: u32,
    /// Mean deviation of the round-trip time, in microseconds.
    pub rttvar_us: u32,
    /// Least round-trip time of late, in microseconds; 4294967295: none was measured.
    pub min_rtt_us: u32,
    /// Bytes of payload in a full packet, as sent.
    pub mss: u32,
    /// Packets sent and not acknowledged cumulatively.
    pub packets_out: u32,
    /// Of those: retransmitted and still out.
    pub retrans_out: u32,
    /// Of those: believed lost.
    pub lost_out: u32,
    /// Of those: acknowledged selectively.
    pub sacked_out: u32,
    /// First sequence number that is not acknowledged.
    pub snd_una: u32,
    /// Sequence number that will be sent next.
    pub snd_nxt: u32,
    /// Sequence number after the last byte that was written.
    pub write_seq: u32,
    /// Sequence number that is expected next from the peer.
    pub rcv_nxt: u32,
    /// Packets delivered to the peer, modulo 2^32.
    pub delivered: u32,
    /// Retransmissions in the connection's life.
    pub retransmits: u32,
    /// Bytes acknowledged in the connection's life.
    pub bytes_acked: u64,
    /// The latest delivery rate, in bytes per second; 0: none was measured.
    pub delivery_rate: u64,
    /// Rate at which the kernel paces packets, in bytes per second; 2^64-1: it does not.
    pub pacing_rate: u64,
    /// 1: `delivery_rate` was measured while the application had nothing to send, else 0.
    pub app_limited: u32,
    /// Bytes of kernel memory that the send queue takes.
    pub wmem_queued: u32,
    /// Limit of the same (`SO_SNDBUF`), in bytes.
    pub snd_buf: u32,
    /// The peer's receive window, in bytes.
    pub snd_wnd: u32,
    /// [`check_of`] of the other words, where the writer is a debug build; else 0.
    pub check: u64,
    /// The two packets received last, newest first.
    pub packets: [Packet; 2],
    /// Zero.
    pub reserved: [u64; 6],
}

const _: () = assert!(size_of::<Packet>() == 32 && size_of::<SockState>() == STATE_BYTES);
const _: () = assert!(core::mem::offset_of!(SockState, check) == 8 * CHECK_WORD);

/// What a writer in a debug build puts into [`SockState::check`]: never 0, and another one for nearly every other state.
#[must_use]
pub fn check_of(words: &[u64; WORDS]) -> u64 {
    let mut check = 0u64;
    for (index, word) in words.iter().enumerate().skip(1) {
        if index != CHECK_WORD {
            check = check.wrapping_mul(31).wrapping_add(*word);
        }
    }
    check | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_notices_each_word_but_itself_and_the_sequence() {
        let words = core::array::from_fn(|index| index as u64);
        for index in 0..WORDS {
            let mut other: [u64; WORDS] = words;
            other[index] += 2;
            let is_seen = check_of(&other) != check_of(&words);
            assert_eq!(is_seen, index != 0 && index != CHECK_WORD, "{index}");
        }
    }
}

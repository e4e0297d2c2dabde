//! [`Snapshot`] and [`Packet`]: what the estimators read of a connection, and nothing else.
//!
//! Sequence numbers are 32 bits wide and wrap; times are nanoseconds of CLOCK_MONOTONIC. What is subtracted is signed: an earlier
//! one may be the larger.

/// One packet that was received, and what it acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// When it came; 0 where there is none (a young or a sampled connection).
    pub arrival_ns: i64,
    /// When the last of the data that it acknowledged was sent; 0: unknown, or part of a large packet.
    pub sent_ns: i64,
    /// How much it acknowledged for the first time; 0: nothing, such as a request.
    pub acked_bytes: i64,
}

/// A connection's state at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// When the state was as it says.
    pub updated_ns: i64,
    /// The first byte that is not acknowledged.
    pub snd_una: u32,
    /// The next byte to send.
    pub snd_nxt: u32,
    /// The next byte that the application will write: up to here there is something to send.
    pub write_seq: u32,
    /// Bytes that a full packet carries.
    pub mss: i64,
    /// The smoothed round trip time; 0 before the first.
    pub srtt_us: i64,
    /// The shortest round trip of late; 4294967295 before the first.
    pub min_rtt_us: i64,
    /// Packets that have arrived, those acknowledged out of order included; modulo 2^32.
    pub delivered: u32,
    /// Bytes acknowledged in order.
    pub bytes_acked: i64,
    /// The kernel's own latest estimate, in bytes/s; 0 where there is none.
    pub delivery_rate: f64,
    /// Packets sent again, in all.
    pub retransmits: u32,
    /// The last two packets that were received, the newest first.
    pub packets: [Packet; 2],
}

/// Bytes from one sequence number to another; negative if `later` is the earlier one.
#[must_use]
pub fn seq_diff(later: u32, earlier: u32) -> i64 {
    i64::from(later.wrapping_sub(earlier).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_sequence_numbers() {
        assert_eq!((seq_diff(10, 4_294_967_290), seq_diff(0, 1)), (16, -1));
        for start in [0, 1, 1 << 31, u32::MAX] {
            for distance in [i32::MIN, -1, 0, 1, i32::MAX] {
                assert_eq!(seq_diff(start.wrapping_add_signed(distance), start), i64::from(distance));
            }
        }
    }
}

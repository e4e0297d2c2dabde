//! The state of a socket from `TCP_INFO`: the same struct, where no program writes it.
//!
//! What `TCP_INFO` has not is taken from SIOCOUTQ and SO_MEMINFO, three calls in all (about 1 µs). Sequence numbers
//! are counted from the connection's first byte: their differences are the true ones. The packets received last are unknown.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};

use modnet_abi::sockstate::{SockState, SOURCE_SAMPLED, STATE_VERSION};

const SO_MEMINFO: i32 = 55;
const SO_COOKIE: i32 = 57;
const MEM_SNDBUF: usize = 3;
const MEM_WMEM_QUEUED: usize = 5;

/// `struct tcp_info` of Linux 5.4 and later; older kernels leave the rest 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the kernel's names
pub struct TcpInfo {
    pub state: u8,
    pub ca_state: u8,
    pub retransmits: u8,
    pub probes: u8,
    pub backoff: u8,
    pub options: u8,
    pub wscale: u8,
    /// Bit 0: the delivery rate is limited by the application.
    pub flags: u8,
    pub rto: u32,
    pub ato: u32,
    pub snd_mss: u32,
    pub rcv_mss: u32,
    pub unacked: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retrans: u32,
    pub fackets: u32,
    pub last_data_sent: u32,
    pub last_ack_sent: u32,
    pub last_data_recv: u32,
    pub last_ack_recv: u32,
    pub pmtu: u32,
    pub rcv_ssthresh: u32,
    pub rtt: u32,
    pub rttvar: u32,
    pub snd_ssthresh: u32,
    pub snd_cwnd: u32,
    pub advmss: u32,
    pub reordering: u32,
    pub rcv_rtt: u32,
    pub rcv_space: u32,
    pub total_retrans: u32,
    pub pacing_rate: u64,
    pub max_pacing_rate: u64,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub segs_out: u32,
    pub segs_in: u32,
    pub notsent_bytes: u32,
    pub min_rtt: u32,
    pub data_segs_in: u32,
    pub data_segs_out: u32,
    pub delivery_rate: u64,
    pub busy_time: u64,
    pub rwnd_limited: u64,
    pub sndbuf_limited: u64,
    pub delivered: u32,
    pub delivered_ce: u32,
    pub bytes_sent: u64,
    pub bytes_retrans: u64,
    pub dsack_dups: u32,
    pub reord_seen: u32,
    pub rcv_ooopack: u32,
    pub snd_wnd: u32,
}

fn option<T: Copy>(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<T> {
    // SAFETY: `T` is made of integers (this function is private), for which zeroes are a value.
    let mut value: T = unsafe { zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: `value` has `length` bytes and lives through the call.
    let answer = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, std::ptr::from_mut(&mut value).cast(), &mut length)
    };
    if answer == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `TCP_INFO`.
///
/// # Errors
/// What the system says: EOPNOTSUPP or EINVAL for a socket that is not TCP.
pub fn info(socket: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    option(socket, libc::IPPROTO_TCP, libc::TCP_INFO)
}

/// `SO_COOKIE`: which socket it is, whatever its descriptor.
///
/// # Errors
/// What the system says.
pub fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    option(socket, libc::SOL_SOCKET, SO_COOKIE)
}

/// Now, in nanoseconds of CLOCK_MONOTONIC.
#[must_use]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The state as it is now.
///
/// # Errors
/// As [`info`].
pub fn take(socket: BorrowedFd<'_>) -> io::Result<SockState> {
    let info = info(socket)?;
    let memory: [u32; 9] = option(socket, libc::SOL_SOCKET, SO_MEMINFO)?;
    let mut unacked: i32 = 0;
    // SAFETY: SIOCOUTQ writes one int.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut unacked) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Modulo 2^32, as sequence numbers are.
    #[allow(clippy::cast_possible_truncation)]
    let (snd_una, rcv_nxt) = (info.bytes_acked as u32, info.bytes_received as u32);
    let write_seq = snd_una.wrapping_add(unacked.unsigned_abs());
    Ok(SockState {
        version: STATE_VERSION,
        cookie: cookie(socket)?,
        updated_ns: now(),
        source: SOURCE_SAMPLED,
        state: info.state.into(),
        cwnd: info.snd_cwnd,
        ssthresh: info.snd_ssthresh,
        srtt_us: info.rtt,
        rttvar_us: info.rttvar,
        min_rtt_us: info.min_rtt,
        mss: info.snd_mss,
        packets_out: info.unacked,
        retrans_out: info.retrans,
        lost_out: info.lost,
        sacked_out: info.sacked,
        snd_una,
        snd_nxt: write_seq.wrapping_sub(info.notsent_bytes),
        write_seq,
        rcv_nxt,
        delivered: info.delivered,
        retransmits: info.total_retrans,
        bytes_acked: info.bytes_acked,
        delivery_rate: info.delivery_rate,
        pacing_rate: info.pacing_rate,
        app_limited: (info.flags & 1).into(),
        wmem_queued: memory[MEM_WMEM_QUEUED],
        snd_buf: memory[MEM_SNDBUF],
        snd_wnd: info.snd_wnd,
        ..SockState::default()
    })
}

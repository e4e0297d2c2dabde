//! Freezing a connection and reading all of it that a rebuilt one has to have.
//!
//! Repair alone does not freeze: with the send queue selected the kernel marks bytes as sent and sends nothing, whenever an
//! acknowledgement or a timer lets it. Rejected: counting what was only marked, from two readings of `TCP_INFO`, as the
//! prototype did; a thread that lost its processor in between had to give up. Here the peer's window is shut first, as
//! if the peer had shut it: nothing more is marked or sent, and what `TCP_INFO` calls unsent is so until the end.
//!
//! Rules: [`freeze`] is undone by [`thaw`], whatever happened in between. It must not run without the guard's filter: an
//! acknowledgement opens the window again ([`read`] finds that, and answers `None`).

use std::io;
use std::os::fd::BorrowedFd;

use super::info::{negotiated, state, Info};
use super::memory::Memory;
use super::options::{self, name, Address, Queue, Repair, Window};

/// Options that a disconnect sets back, and that setting brings back.
pub const CARRIED: [i32; 3] = [name::WINDOW_CLAMP, name::RTO_MIN_US, name::DELACK_MAX_US];

/// A round trip that is well below the least timer, 200 ms.
const SHORT_US: u32 = 150_000;

/// Whether a measured round trip of next to nothing does no harm: not to a congestion control that models the path by its
/// shortest one, nor where the least timer is shorter than the path.
#[must_use]
pub fn measures(control: &[u8; 16], rtt_us: u32) -> bool {
    !is_model_based(control) && (1..SHORT_US).contains(&rtt_us)
}

fn is_model_based(control: &[u8; 16]) -> bool {
    control.starts_with(b"bbr")
}

/// A connection: all but the bytes in its queues.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Our address.
    pub local: Address,
    /// The peer's.
    pub peer: Address,
    /// Nanoseconds of CLOCK_MONOTONIC at which `timestamp` was right.
    pub timestamp_at: u64,
    /// Bytes a second that were sent at most.
    pub pacing_rate: u64,
    /// The clock in our segments; bit 0: it counts microseconds.
    pub timestamp: u32,
    /// What the peer is to send next, its FIN counted.
    pub receive_seq: u32,
    /// The end of the send queue.
    pub write_seq: u32,
    /// The peer's largest segment.
    pub peer_mss: u32,
    /// Ours at this moment, without options.
    pub snd_mss: u32,
    /// Bits of [`negotiated`].
    pub negotiated: u32,
    /// Shift of the peer's windows.
    pub snd_scale: u32,
    /// Shift of ours.
    pub rcv_scale: u32,
    /// Windows before they were shut.
    pub window: Window,
    /// The congestion window.
    pub snd_cwnd: u32,
    /// The slow start threshold.
    pub snd_ssthresh: u32,
    /// The smoothed round trip in µs.
    pub rtt_us: u32,
    /// `SO_REUSEADDR`, which repair overwrites.
    pub reuse: u32,
    /// The congestion control's name.
    pub control: [u8; 16],
    /// 1: the peer has sent its FIN.
    pub is_half_closed: u32,
    /// 1: this side has shut reading.
    pub is_read_shut: u32,
    /// `TCP_RTO_MAX_MS`; 0: the kernel (before 6.15) has none.
    pub rto_max: u32,
    /// [`CARRIED`]'s values.
    pub carried: [u32; CARRIED.len()],
    /// Bytes read into the memory for output: sent and not acknowledged, then unsent.
    pub output: u64,
    /// How many of them are unsent.
    pub unsent: u64,
    /// Bytes read into the memory for input.
    pub input: u64,
}

impl Snapshot {
    /// The sequence number of the first byte in the send queue. Not what `TIOCOUTQ` says: the head may be acknowledged in
    /// part.
    #[must_use]
    pub fn send_seq(&self) -> u32 {
        self.write_seq.wrapping_sub(self.output as u32)
    }

    /// The number that the rebuilt queue begins with.
    #[must_use]
    pub fn first_seq(&self) -> u32 {
        self.send_seq().wrapping_sub(u32::from(self.begins_early()))
    }

    /// Bytes sent and not acknowledged.
    #[must_use]
    pub fn sent(&self) -> usize {
        (self.output - self.unsent) as usize
    }

    /// Whether the congestion control models the path by its shortest round trip.
    #[must_use]
    pub fn is_model_based(&self) -> bool {
        is_model_based(&self.control)
    }

    /// Whether the queue is to begin one byte early; [`super::rebuild`] says what for.
    #[must_use]
    pub fn begins_early(&self) -> bool {
        let blind = !self.has(negotiated::TIMESTAMPS) && !self.has(negotiated::SACK);
        self.sent() > 0 && blind && measures(&self.control, self.rtt_us)
    }

    /// Whether `bits` of [`negotiated`] were.
    #[must_use]
    pub fn has(&self, bits: u8) -> bool {
        self.negotiated & u32::from(bits) == u32::from(bits)
    }
}

/// What [`thaw`] puts back.
#[derive(Clone, Copy, Debug)]
pub struct Frozen {
    window: Window,
    reuse: u32,
}

/// Why nothing was read, with the connection still as it was.
#[derive(Debug)]
pub enum Unread {
    /// A segment came in; try again.
    Late,
    /// A queue does not fit; try again with more memory, if there may be more.
    Full,
    /// The system said no to this.
    System(&'static str, io::Error),
}

fn no(what: &'static str) -> impl FnOnce(io::Error) -> Unread {
    move |error| Unread::System(what, error)
}

/// Enters repair and shuts the peer's window.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN; then nothing was changed.
pub fn freeze(fd: BorrowedFd<'_>) -> io::Result<Frozen> {
    let reuse = options::socket(fd, libc::SO_REUSEADDR)?;
    options::repair(fd, Repair::On)?;
    let shut = options::window(fd).and_then(|window| {
        options::set_window(fd, Window { snd_wnd: 0, ..window })?;
        Ok(Frozen { window, reuse })
    });
    if shut.is_err() {
        leave(fd, reuse)?;
    }
    shut
}

/// Leaves repair, which sends a window probe, and puts back what that overwrites. No queue may be selected then.
///
/// # Errors
/// The system's.
pub fn leave(fd: BorrowedFd<'_>, reuse: u32) -> io::Result<()> {
    options::repair(fd, Repair::Off)?;
    // A listener that is started anew needs it on the connections that its predecessor left.
    options::set_socket(fd, libc::SO_REUSEADDR, reuse)
}

/// Opens the window again and leaves repair. The guard's filter has to be gone: the probe's answer is to be heard.
///
/// # Errors
/// The system's.
pub fn thaw(fd: BorrowedFd<'_>, frozen: Frozen) -> io::Result<()> {
    options::select(fd, Queue::No)?;
    // An acknowledgement may have opened it: then it knows better.
    if options::window(fd)?.snd_wnd == 0 {
        options::set_window(fd, frozen.window)?;
    }
    leave(fd, frozen.reuse)
}

/// Reads a frozen connection.
///
/// # Errors
/// The connection is still frozen.
pub fn read(
    fd: BorrowedFd<'_>,
    frozen: Frozen,
    output: &mut Memory,
    input: &mut Memory,
) -> Result<Snapshot, Unread> {
    options::select(fd, Queue::Send).map_err(no("select the send queue"))?;
    let write_seq = options::tcp(fd, name::QUEUE_SEQ).map_err(no("read a sequence number"))?;
    let output = options::peek(fd, output.bytes_mut()).map_err(|error| match error.raw_os_error() {
        Some(libc::EFAULT) => Unread::Full,
        _ => Unread::System("read the send queue", error),
    })?;
    options::select(fd, Queue::Receive).map_err(no("select the receive queue"))?;
    let receive_seq = options::tcp(fd, name::QUEUE_SEQ).map_err(no("read a sequence number"))?;
    let room = input.bytes().len();
    let input = options::peek(fd, input.bytes_mut()).map_err(no("read the receive queue"))?;
    if input == room {
        return Err(Unread::Full);
    }
    let mut carried = [0; CARRIED.len()];
    for (value, option) in carried.iter_mut().zip(CARRIED) {
        // Kernels that do not know one have nothing to lose.
        *value = options::tcp(fd, option).unwrap_or(0);
    }
    // In repair this is the peer's; `tcpi_snd_mss` is less by the length of options.
    let peer_mss = options::tcp(fd, name::MAXSEG).map_err(no("read the segment size"))?;
    let local = Address::local(fd).map_err(no("read the address"))?;
    let peer = Address::peer(fd).map_err(no("read the peer's address"))?;
    let events = options::poll(fd, libc::POLLRDHUP).map_err(no("poll"))?;
    let mut control = [0u8; 16];
    options::get(fd, libc::IPPROTO_TCP, name::CONGESTION, &mut control)
        .map_err(no("read the congestion control"))?;
    let timestamp = options::tcp(fd, name::TIMESTAMP).map_err(no("read the timestamp"))?;
    let timestamp_at = now();
    let info = Info::read(fd).map_err(no("read TCP_INFO"))?;
    if !matches!(info.state(), state::ESTABLISHED | state::CLOSE_WAIT) {
        return Err(Unread::Late);
    }
    let still = options::window(fd).map_err(no("read the window"))?;
    let seq = options::tcp(fd, name::QUEUE_SEQ).map_err(no("read a sequence number"))?;
    if still.snd_wnd != 0 || seq != receive_seq || info.notsent() > output {
        return Err(Unread::Late);
    }
    let (snd_scale, rcv_scale) = info.scales();
    let bits = [negotiated::TIMESTAMPS, negotiated::SACK, negotiated::SCALE];
    Ok(Snapshot {
        local,
        peer,
        timestamp_at,
        pacing_rate: info.pacing_rate(),
        timestamp,
        receive_seq,
        write_seq,
        peer_mss,
        snd_mss: info.snd_mss(),
        negotiated: bits.into_iter().filter(|bit| info.has(*bit)).map(u32::from).sum(),
        snd_scale,
        rcv_scale,
        window: frozen.window,
        snd_cwnd: info.snd_cwnd(),
        snd_ssthresh: info.snd_ssthresh(),
        rtt_us: info.rtt_us(),
        reuse: frozen.reuse,
        control,
        is_half_closed: u32::from(info.state() == state::CLOSE_WAIT),
        is_read_shut: u32::from(events & libc::POLLRDHUP != 0),
        rto_max: options::tcp(fd, name::RTO_MAX_MS).unwrap_or(0),
        carried,
        output: output as u64,
        unsent: info.notsent() as u64,
        input: input as u64,
    })
}

/// CLOCK_MONOTONIC in nanoseconds, as the kernel's programs read it.
#[must_use]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
